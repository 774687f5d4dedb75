//! Buckets, objects and their versions, in memory.

use crate::aws::random;
use crate::clock::Clock;
use crate::hold;
use bytes::Bytes;
use jiff::Timestamp;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::Checksum;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// One version of an object.
#[derive(Clone, Debug)]
pub struct Version {
    /// The version id.
    pub id: String,
    /// The bytes; `None` for a delete marker.
    pub body: Option<Bytes>,
    /// The MD5 of the bytes in hex; the ETag without its quotes.
    pub etag: String,
    /// When it was put.
    pub modified: Timestamp,
    /// The Content-Type that it was put with.
    pub content_type: Option<String>,
    /// The `x-amz-meta-...` headers that it was put with.
    pub metadata: BTreeMap<String, String>,
    /// The checksum that it was put with.
    pub(super) checksum: Checksum,
}

impl Version {
    /// These bytes, with nothing around them. Id and time come when it is stored.
    pub(super) fn new(body: Bytes) -> Self {
        let md5 = Md5::checksum(&body);
        let etag = crate::aws::sigv4::hex(md5.as_ref());
        Self { etag, body: Some(body), ..Self::deleted() }
    }

    /// A delete marker.
    pub(super) fn deleted() -> Self {
        Self {
            id: String::new(),
            body: None,
            etag: String::new(),
            modified: Timestamp::UNIX_EPOCH,
            content_type: None,
            metadata: BTreeMap::new(),
            checksum: Checksum::default(),
        }
    }
}

/// All buckets. Clones share them.
#[derive(Clone)]
pub(super) struct Store {
    clock: Clock,
    buckets: Arc<Mutex<BTreeMap<String, Bucket>>>,
}

struct Bucket {
    owner: String,
    /// Versions by key, oldest first.
    objects: BTreeMap<String, Vec<Version>>,
}

/// What a conditional write found instead of what it asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unmet {
    /// There is no object to match.
    Absent,
    /// The object is another.
    Differs,
}

impl Store {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, buckets: Arc::default() }
    }

    pub(super) fn add_bucket(&self, name: &str, owner: &str) {
        let bucket = Bucket { owner: owner.to_owned(), objects: BTreeMap::new() };
        hold(&self.buckets).insert(name.to_owned(), bucket);
    }

    /// The account that a bucket belongs to.
    pub(super) fn owner(&self, bucket: &str) -> Option<String> {
        Some(hold(&self.buckets).get(bucket)?.owner.clone())
    }

    pub(super) fn keys(&self, bucket: &str) -> Vec<String> {
        let buckets = hold(&self.buckets);
        let Some(bucket) = buckets.get(bucket) else { return Vec::new() };
        let there = bucket.objects.iter().filter(|(_, v)| v.last().is_some_and(|v| v.body.is_some()));
        there.map(|(key, _)| key.clone()).collect()
    }

    pub(super) fn versions(&self, bucket: &str, key: &str) -> Vec<Version> {
        let buckets = hold(&self.buckets);
        let versions = buckets.get(bucket).and_then(|b| b.objects.get(key));
        versions.cloned().unwrap_or_default()
    }

    /// The current version, a delete marker too.
    pub(super) fn latest(&self, bucket: &str, key: &str) -> Option<Version> {
        let buckets = hold(&self.buckets);
        buckets.get(bucket)?.objects.get(key)?.last().cloned()
    }

    /// Stores a version, whatever is there.
    pub(super) fn put(&self, bucket: &str, key: &str, version: Version) -> Version {
        self.put_if(bucket, key, version, |_| Ok(())).expect("a write without a condition")
    }

    /// Stores a version if the condition holds of the ETag that is there, with nobody between.
    ///
    /// # Panics
    /// If there is no such bucket; requests are refused before they come here.
    pub(super) fn put_if(
        &self,
        bucket: &str,
        key: &str,
        version: Version,
        condition: impl FnOnce(Option<&str>) -> Result<(), Unmet>,
    ) -> Result<Version, Unmet> {
        let mut buckets = hold(&self.buckets);
        let bucket = buckets.get_mut(bucket).expect("a bucket that was added");
        let versions = bucket.objects.entry(key.to_owned()).or_default();
        let current = versions.last().filter(|v| v.body.is_some());
        condition(current.map(|v| v.etag.as_str()))?;
        let id = random(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._", 32);
        let version = Version { id, modified: self.clock.now(), ..version };
        versions.push(version.clone());
        Ok(version)
    }
}

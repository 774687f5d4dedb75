//! Objects in one bucket: get, and put under a condition. Nothing is ever put without one.

use super::{Clock, Error, TIMEOUT};
use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use std::fmt;
use std::future::Future;

/// A bucket, and the account that must own it.
#[derive(Clone, Debug)]
pub struct Bucket {
    client: Client,
    clock: Clock,
    name: String,
    owner: Option<String>,
}

/// What was read, with the tag that a later put may be tied to.
#[derive(Clone, Debug)]
pub struct Object {
    /// No more of them than were asked for.
    pub bytes: Vec<u8>,
    /// The version's tag.
    pub etag: ETag,
}

/// S3's tag of an object's content, quotes included.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ETag(String);

/// Under which condition to put.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Only {
    /// Nothing is there (`If-None-Match: *`).
    IfAbsent,
    /// What is there is still what was read (`If-Match`).
    IfMatch(ETag),
}

impl Bucket {
    pub(super) fn new(client: Client, clock: Clock, name: &str, owner: Option<&str>) -> Self {
        Self { client, clock, name: name.to_owned(), owner: owner.map(str::to_owned) }
    }

    /// `s3:GetObject`: a whole object of at most `most` bytes, which are a megabyte at most but in a bucket of
    /// [`super::Aws::bucket_reading`].
    ///
    /// # Errors
    /// See [`Error`]; [`Error::is_absent`] when there is none, or the role may not know.
    pub async fn get(&self, key: &str, most: usize) -> Result<Object, Error> {
        let operation = "s3:GetObject";
        let request = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .set_expected_bucket_owner(self.owner.clone());
        self.within(operation, key, async {
            let call = self.clock.signed(operation, async || request.clone().send().await);
            let reply = call.await.map_err(|e| Error::of(operation, self.resource(key), e))?;
            let etag = self.etag(operation, key, reply.e_tag)?;
            // Said before it is read, so that the connection's own cap has no other words for it.
            let told = reply.content_length.and_then(|length| usize::try_from(length).ok());
            if told.is_some_and(|length| length > most) {
                return Err(Error::TooLarge { operation, resource: self.resource(key), most });
            }
            let mut body = reply.body;
            let mut bytes = Vec::new();
            while let Some(part) = body.next().await {
                let part = part.map_err(|source| Error::Unreachable {
                    operation,
                    resource: self.resource(key),
                    source: source.into(),
                })?;
                if bytes.len() + part.len() > most {
                    return Err(Error::TooLarge { operation, resource: self.resource(key), most });
                }
                bytes.extend_from_slice(&part);
            }
            Ok(Object { bytes, etag })
        })
        .await
    }

    /// `s3:PutObject` under a condition.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::is_conflict`] when the condition does not hold any more.
    pub async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, Error> {
        let operation = "s3:PutObject";
        let request = async || {
            let request = self
                .client
                .put_object()
                .bucket(&self.name)
                .key(key)
                .set_expected_bucket_owner(self.owner.clone())
                .content_type("application/json")
                .body(ByteStream::from(bytes.clone()));
            let request = match only {
                Only::IfAbsent => request.if_none_match("*"),
                Only::IfMatch(etag) => request.if_match(&etag.0),
            };
            request.send().await
        };
        self.within(operation, key, async {
            let reply = self.clock.signed(operation, request).await;
            let reply = reply.map_err(|e| Error::of(operation, self.resource(key), e))?;
            self.etag(operation, key, reply.e_tag)
        })
        .await
    }

    fn resource(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.name)
    }

    fn etag(&self, operation: &'static str, key: &str, etag: Option<String>) -> Result<ETag, Error> {
        let resource = || self.resource(key);
        etag.map(ETag).ok_or_else(|| Error::Incomplete { operation, resource: resource(), what: "ETag" })
    }

    async fn within<T>(
        &self,
        operation: &'static str,
        key: &str,
        call: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let late = |_| Error::TimedOut { operation, resource: self.resource(key), within: TIMEOUT };
        tokio::time::timeout(TIMEOUT, call).await.map_err(late)?
    }
}

impl ETag {
    /// A tag from its text, for tests of what is built on it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

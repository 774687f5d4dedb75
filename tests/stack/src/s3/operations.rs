//! The operations: get, head, put and delete an object, head a bucket.

use super::access::MayList;
use super::store::{Store, Unmet, Version};
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use http::HeaderMap;
use s3s::checksum::ChecksumHasher;
use s3s::dto::{
    Checksum, ChecksumMode, DeleteObjectInput, DeleteObjectOutput, ETag, ETagCondition, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, PutObjectInput,
    PutObjectOutput, ServerSideEncryption, StreamingBlob, Timestamp,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use std::time::SystemTime;

/// s3s's view of the store.
pub(super) struct Operations(pub(super) Store);

/// What a read asks for.
struct Wanted<'a> {
    bucket: &'a str,
    key: &'a str,
    version: Option<&'a str>,
    if_match: Option<&'a ETagCondition>,
    if_none_match: Option<&'a ETagCondition>,
    may_list: bool,
}

impl Operations {
    /// The version that a GET or a HEAD is about.
    fn find(&self, wanted: &Wanted<'_>) -> S3Result<(Version, Bytes)> {
        let found = match wanted.version {
            None => self.0.latest(wanted.bucket, wanted.key),
            Some(id) => {
                let versions = self.0.versions(wanted.bucket, wanted.key);
                let found = versions.into_iter().find(|v| v.id == id);
                Some(found.ok_or_else(|| s3_error!(NoSuchVersion, "The specified version does not exist."))?)
            }
        };
        let Some((version, body)) = found.and_then(|v| v.body.clone().map(|b| (v, b))) else {
            return Err(absent(wanted.may_list));
        };
        if wanted.if_match.is_some_and(|c| !matches(c, &version.etag)) {
            return Err(unmet(Unmet::Differs));
        }
        if wanted.if_none_match.is_some_and(|c| matches(c, &version.etag)) {
            return Err(s3_error!(NotModified, "Not Modified"));
        }
        Ok((version, body))
    }
}

fn absent(may_list: bool) -> S3Error {
    if may_list {
        s3_error!(NoSuchKey, "The specified key does not exist.")
    } else {
        s3_error!(AccessDenied, "Access Denied")
    }
}

fn unmet(why: Unmet) -> S3Error {
    match why {
        Unmet::Absent => s3_error!(NoSuchKey, "The specified key does not exist."),
        Unmet::Differs => {
            s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
        }
    }
}

fn matches(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(wanted) => wanted.as_strong() == Some(etag),
    }
}

fn may_list<T>(request: &S3Request<T>) -> bool {
    request.extensions.get::<MayList>().is_some_and(|m| m.0)
}

fn quoted(version: &Version) -> Option<ETag> {
    Some(ETag::Strong(version.etag.clone()))
}

fn encryption() -> Option<ServerSideEncryption> {
    Some(ServerSideEncryption::from_static(ServerSideEncryption::AES256))
}

fn modified(version: &Version) -> Option<Timestamp> {
    Some(Timestamp::from(SystemTime::from(version.modified)))
}

/// The checksum that goes with a read, if it was asked for.
fn checksum(version: &Version, mode: Option<&ChecksumMode>) -> Checksum {
    match mode {
        Some(mode) if mode.as_str() == ChecksumMode::ENABLED => version.checksum.clone(),
        Some(_) | None => Checksum::default(),
    }
}

/// The checksum of the kind that the headers or trailers give; CRC-64/NVME, as S3 does, if none.
///
/// # Errors
/// `BadDigest` if it is not the one of the body.
fn verified(body: &[u8], headers: &HeaderMap, trailers: Option<&HeaderMap>) -> S3Result<Checksum> {
    let given = |name: &str| {
        let value = headers.get(name).or_else(|| trailers?.get(name))?;
        value.to_str().ok().map(str::to_owned)
    };
    let claimed = Checksum {
        checksum_crc32: given("x-amz-checksum-crc32"),
        checksum_crc32c: given("x-amz-checksum-crc32c"),
        checksum_crc64nvme: given("x-amz-checksum-crc64nvme"),
        checksum_sha1: given("x-amz-checksum-sha1"),
        checksum_sha256: given("x-amz-checksum-sha256"),
        ..Checksum::default()
    };
    let none = claimed == Checksum::default();
    let mut hasher = ChecksumHasher {
        crc32: claimed.checksum_crc32.as_ref().map(|_| Default::default()),
        crc32c: claimed.checksum_crc32c.as_ref().map(|_| Default::default()),
        crc64nvme: (none || claimed.checksum_crc64nvme.is_some()).then(Default::default),
        sha1: claimed.checksum_sha1.as_ref().map(|_| Default::default()),
        sha256: claimed.checksum_sha256.as_ref().map(|_| Default::default()),
    };
    hasher.update(body);
    let actual = hasher.finalize();
    if none || actual == claimed {
        Ok(actual)
    } else {
        Err(s3_error!(BadDigest, "The checksum you specified did not match the calculated checksum."))
    }
}

#[async_trait::async_trait]
impl S3 for Operations {
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = &request.input;
        let (version, body) = self.find(&Wanted {
            bucket: &input.bucket,
            key: &input.key,
            version: input.version_id.as_deref(),
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            may_list: may_list(&request),
        })?;
        let whole = body.len();
        let (body, content_range, sums) = match &input.range {
            None => (body, None, checksum(&version, input.checksum_mode.as_ref())),
            Some(range) => {
                let range = range
                    .check(whole as u64)
                    .map_err(|_| s3_error!(InvalidRange, "The requested range is not satisfiable"))?;
                let text = format!("bytes {}-{}/{whole}", range.start, range.end - 1);
                let part = body.slice(range.start as usize..range.end as usize);
                (part, Some(text), Checksum::default())
            }
        };
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(body.len() as i64),
            body: Some(StreamingBlob::from(s3s::Body::from(body))),
            content_range,
            checksum_crc32: sums.checksum_crc32,
            checksum_crc32c: sums.checksum_crc32c,
            checksum_crc64nvme: sums.checksum_crc64nvme,
            checksum_sha1: sums.checksum_sha1,
            checksum_sha256: sums.checksum_sha256,
            content_type: version.content_type.clone().or(Some("binary/octet-stream".to_owned())),
            e_tag: quoted(&version),
            last_modified: modified(&version),
            metadata: Some(version.metadata.clone().into_iter().collect()),
            server_side_encryption: encryption(),
            version_id: Some(version.id),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let input = &request.input;
        let (version, body) = self.find(&Wanted {
            bucket: &input.bucket,
            key: &input.key,
            version: input.version_id.as_deref(),
            if_match: input.if_match.as_ref(),
            if_none_match: input.if_none_match.as_ref(),
            may_list: may_list(&request),
        })?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some(body.len() as i64),
            content_type: version.content_type.clone().or(Some("binary/octet-stream".to_owned())),
            e_tag: quoted(&version),
            last_modified: modified(&version),
            metadata: Some(version.metadata.clone().into_iter().collect()),
            server_side_encryption: encryption(),
            version_id: Some(version.id),
            ..Default::default()
        }))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let PutObjectInput { bucket, key, body, if_match, if_none_match, content_type, metadata, .. } =
            request.input;
        if if_none_match.as_ref().is_some_and(|c| *c != ETagCondition::Any) {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented"
            ));
        }
        let mut bytes = BytesMut::new();
        if let Some(mut body) = body {
            let incomplete = |e| S3Error::with_source(S3ErrorCode::IncompleteBody, e);
            while let Some(part) = body.try_next().await.map_err(incomplete)? {
                bytes.extend_from_slice(&part);
            }
        }
        let trailers = request.trailing_headers.and_then(|t| t.take());
        let checksum = verified(&bytes, &request.headers, trailers.as_ref())?;
        let version = Version {
            content_type,
            metadata: metadata.unwrap_or_default().into_iter().collect(),
            checksum,
            ..Version::new(bytes.freeze())
        };
        let stored = self.0.put_if(&bucket, &key, version, |current| {
            if if_none_match.is_some() && current.is_some() {
                return Err(Unmet::Differs);
            }
            match (&if_match, current) {
                (Some(_), None) => Err(Unmet::Absent),
                (Some(wanted), Some(etag)) if !matches(wanted, etag) => Err(Unmet::Differs),
                (Some(_), Some(_)) | (None, _) => Ok(()),
            }
        });
        let stored = stored.map_err(unmet)?;
        Ok(S3Response::new(PutObjectOutput {
            checksum_crc32: stored.checksum.checksum_crc32.clone(),
            checksum_crc64nvme: stored.checksum.checksum_crc64nvme.clone(),
            e_tag: quoted(&stored),
            server_side_encryption: encryption(),
            version_id: Some(stored.id),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let DeleteObjectInput { bucket, key, if_match, version_id, .. } = request.input;
        if version_id.is_some() {
            return Err(s3_error!(NotImplemented, "versions of this stand-in cannot be deleted"));
        }
        let marker = self.0.put_if(&bucket, &key, Version::deleted(), |current| match (&if_match, current) {
            (Some(_), None) => Err(Unmet::Absent),
            (Some(wanted), Some(etag)) if !matches(wanted, etag) => Err(Unmet::Differs),
            (Some(_), Some(_)) | (None, _) => Ok(()),
        });
        let marker = marker.map_err(unmet)?;
        Ok(S3Response::new(DeleteObjectOutput {
            delete_marker: Some(true),
            version_id: Some(marker.id),
            ..Default::default()
        }))
    }

    async fn head_bucket(&self, _: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        Ok(S3Response::new(HeadBucketOutput::default()))
    }
}

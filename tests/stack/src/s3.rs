//! S3: versioned buckets with conditional writes, checked signatures and roles.
//!
//! The protocol is the crate s3s; what an object is, who may touch it, and the answers that a
//! rotator must tell apart (404, 403, 409, 412) are here. Path style only.

mod access;
mod operations;
mod store;

pub use store::Version;

use crate::aws::Credentials;
use crate::clock::http_date;
use crate::fault::FaultKind;
use crate::server::{Request, Response, Service};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use std::sync::Arc;
use store::Store;

/// The stand-in for S3.
pub struct S3 {
    store: Store,
    credentials: Credentials,
    service: S3Service,
}

impl S3 {
    /// An S3 without buckets, for the holders of these credentials.
    #[must_use]
    pub fn new(credentials: Credentials) -> Self {
        let store = Store::new(credentials.clock().clone());
        let mut builder = S3ServiceBuilder::new(operations::Operations(store.clone()));
        builder.set_auth(access::Secrets(credentials.clone()));
        builder.set_access(access::Access { credentials: credentials.clone(), store: store.clone() });
        // The time of a request is judged by our own clock, which a test may have moved.
        let mut config = S3Config::default();
        config.presigned_url_max_skew_time_secs = u32::MAX;
        builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
        Self { store, credentials, service: builder.build() }
    }

    /// Makes an empty bucket that belongs to this AWS account.
    pub fn add_bucket(&self, name: &str, owner: &str) {
        self.store.add_bucket(name, owner);
    }

    /// The object as a GET would give it; `None` if it is absent or deleted.
    #[must_use]
    pub fn object(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.store.latest(bucket, key)?.body
    }

    /// The keys of the objects that are there, in order.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.store.keys(bucket)
    }

    /// All that was ever at a key, oldest first.
    #[must_use]
    pub fn versions(&self, bucket: &str, key: &str) -> Vec<Version> {
        self.store.versions(bucket, key)
    }

    /// Puts an object behind everybody's back; returns its version id.
    pub fn put_raw(&self, bucket: &str, key: &str, body: impl Into<Bytes>) -> String {
        self.store.put(bucket, key, Version::new(body.into())).id
    }

    /// Deletes an object behind everybody's back (a delete marker; old versions stay).
    pub fn delete_raw(&self, bucket: &str, key: &str) {
        self.store.put(bucket, key, Version::deleted());
    }

    /// Makes an old version the current one again, as a restore from the console does.
    /// Returns whether there is such a version.
    pub fn restore(&self, bucket: &str, key: &str, version: &str) -> bool {
        let Some(old) = self.versions(bucket, key).into_iter().find(|v| v.id == version) else {
            return false;
        };
        self.store.put(bucket, key, old);
        true
    }
}

/// S3's answer with this error code, for [`crate::fault::Fault`].
///
/// # Panics
/// On a code that the stand-in does not know a status for.
#[must_use]
pub fn failure(code: &str) -> FaultKind {
    let code = s3s::S3ErrorCode::from_bytes(code.as_bytes()).expect("an error code of S3");
    let status = code.status_code().expect("an error code with a status");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{}</Code><Message>Injected.</Message>\
         <RequestId>TX0000000000000000</RequestId></Error>",
        code.as_str()
    );
    FaultKind::Status {
        code: status.as_u16(),
        headers: vec![("content-type".to_owned(), "application/xml".to_owned())],
        body: body.into(),
    }
}

impl Service for S3 {
    async fn answer(&self, request: Request) -> Response {
        let mut uri = request.path;
        if !request.query.is_empty() {
            uri.push('?');
            uri.push_str(&request.query);
        }
        let mut inner = http::Request::new(s3s::Body::from(request.body));
        *inner.method_mut() = request.method;
        *inner.headers_mut() = request.headers;
        // hyper has parsed it once already.
        *inner.uri_mut() = uri.parse().expect("a URI that was one before");
        let mut reply = match self.service.call(inner).await {
            Ok(reply) => {
                let (head, body) = reply.into_parts();
                match body.collect().await {
                    Ok(body) => Response::from_parts(head, body.to_bytes()),
                    Err(_) => broken(),
                }
            }
            Err(_) => broken(),
        };
        let headers = reply.headers_mut();
        let date = http_date(self.credentials.clock().now());
        headers.insert(header::DATE, HeaderValue::try_from(date).expect("a date is ASCII"));
        headers.insert(header::SERVER, HeaderValue::from_static("AmazonS3"));
        let id = crate::aws::random(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", 16);
        headers.insert("x-amz-request-id", HeaderValue::try_from(id).expect("an id is ASCII"));
        reply
    }

    fn name_of(&self, request: &Request) -> String {
        let object =
            request.path.trim_start_matches('/').split_once('/').is_some_and(|(_, key)| !key.is_empty());
        let action = if object { "Object" } else { "Bucket" };
        match request.method {
            Method::DELETE => format!("s3:Delete{action}"),
            Method::GET if object => "s3:GetObject".to_owned(),
            Method::GET => "s3:List".to_owned(),
            Method::HEAD => format!("s3:Head{action}"),
            Method::PUT => format!("s3:Put{action}"),
            _ => "s3:other".to_owned(),
        }
    }
}

fn broken() -> Response {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    reply
}

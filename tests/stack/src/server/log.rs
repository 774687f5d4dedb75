//! The request log that tests assert on.

use bytes::Bytes;
use http::HeaderMap;

/// One request as a server saw it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// The name that the service gave it.
    pub name: String,
    /// The method.
    pub method: String,
    /// The path as it was sent, without the query.
    pub path: String,
    /// The query as it was sent; empty if there is none.
    pub query: String,
    /// The status of the reply; `None` if the request was left unanswered on purpose.
    pub status: Option<u16>,
    /// The number of the TCP connection it came on, from 1.
    pub connection: u64,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// The body of the request.
    pub body: Bytes,
}

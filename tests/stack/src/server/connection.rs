//! One connection: HTTP by hyper, and the ways to end it that HTTP does not know.

use super::{BODY_LIMIT, Logged, Request, Response, Service, Shared};
use crate::fault::{FaultKind, Then};
use crate::hold;
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How a connection ends when a fault, and not HTTP, ends it.
enum Ending {
    /// FIN.
    Close,
    /// RST.
    Reset,
    /// These bytes, and then the others until the client leaves.
    Endless { first: Bytes, again: Bytes },
    /// These bytes at once.
    Raw { bytes: Bytes, then: Then },
    /// These bytes, so many at a time, with a pause between; then FIN.
    Trickle { bytes: Bytes, chunk: usize, pause: Duration },
}

/// The service gave no reply; the connection's [`Ending`] says what happens instead.
#[derive(Debug)]
struct NoReply;

impl std::fmt::Display for NoReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no reply, on purpose")
    }
}

impl std::error::Error for NoReply {}

/// A socket under TLS or not, that can be told to die by RST.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// What one connection knows.
pub(super) struct Connection<S> {
    pub(super) shared: Arc<Shared<S>>,
    pub(super) number: u64,
    pub(super) peer: SocketAddr,
    pub(super) cut: watch::Receiver<()>,
}

impl<S: Service> Connection<S> {
    /// Serves the socket to its end.
    pub(super) async fn run(mut self, socket: TcpStream, acceptor: Option<TlsAcceptor>) {
        // Replies are small: waiting to fill a segment would only show as 40 ms in the bench.
        drop(socket.set_nodelay(true));
        let Some(acceptor) = acceptor else {
            return self.http(socket).await;
        };
        let mut cut = self.cut.clone();
        let handshake = tokio::select! {
            biased;
            _ = cut.changed() => return,
            done = acceptor.accept(socket) => done,
        };
        self.cut = cut;
        // A client that distrusts the certificate ends here; its own error tells the test.
        if let Ok(socket) = handshake {
            self.http(socket).await;
        }
    }

    async fn http(self, socket: impl Socket) {
        let Self { shared, number, peer, mut cut } = self;
        let ending: Mutex<Option<Ending>> = Mutex::new(None);
        let service = hyper::service::service_fn(|request| {
            let (shared, ending) = (&shared, &ending);
            let reply: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(async move {
                match shared.reply(request, number, peer).await {
                    Ok(reply) => Ok(reply.map(Full::new)),
                    Err(how) => {
                        *hold(ending) = Some(how);
                        Err(NoReply)
                    }
                }
            });
            reply
        });
        let mut http =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service);
        tokio::select! {
            biased;
            _ = cut.changed() => *hold(&ending) = Some(Ending::Reset),
            // hyper's error is what the client did, or the NoReply of above.
            _ = poll_fn(|cx| http.poll_without_shutdown(cx)) => {}
        }
        let mut socket = http.into_parts().io.into_inner();
        let ending = hold(&ending).take();
        let then = match ending {
            Some(Ending::Endless { first, again }) => {
                if write(&mut socket, &first).await {
                    while write(&mut socket, &again).await {}
                }
                Then::Close
            }
            Some(Ending::Raw { bytes, then }) => {
                write(&mut socket, &bytes).await;
                then
            }
            Some(Ending::Reset) => Then::Reset,
            Some(Ending::Trickle { bytes, chunk, pause }) => {
                trickle(&mut socket, &bytes, chunk, pause).await;
                Then::Close
            }
            Some(Ending::Close) | None => Then::Close,
        };
        match then {
            Then::Close => drop(socket.shutdown().await),
            // Dropping a socket with zero linger sends RST.
            Then::Reset => drop(socket.tcp().set_zero_linger()),
            Then::Silence => {
                // Until the client leaves, or the server is told to cut.
                let mut nobody = tokio::io::sink();
                tokio::select! {
                    _ = cut.changed() => {}
                    _ = tokio::io::copy(&mut socket, &mut nobody) => {}
                }
            }
        }
    }
}

/// Writes the bytes piece by piece, until the client leaves.
async fn trickle(socket: &mut impl Socket, bytes: &[u8], chunk: usize, pause: Duration) {
    for (n, piece) in bytes.chunks(chunk.max(1)).enumerate() {
        if n > 0 {
            tokio::time::sleep(pause).await;
        }
        if !write(socket, piece).await {
            return;
        }
    }
}

/// Writes it all; whether the client was there to take it.
async fn write(socket: &mut impl Socket, bytes: &[u8]) -> bool {
    socket.write_all(bytes).await.is_ok() && socket.flush().await.is_ok()
}

impl<S: Service> Shared<S> {
    /// Reads the request, lets faults and service have it, and logs what came of it.
    async fn reply(
        &self,
        request: http::Request<Incoming>,
        connection: u64,
        peer: SocketAddr,
    ) -> Result<Response, Ending> {
        let (head, body) = request.into_parts();
        let (body, whole) = match Limited::new(body, BODY_LIMIT).collect().await {
            Ok(body) => (body.to_bytes(), true),
            Err(_) => (Bytes::new(), false),
        };
        let request = Request {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body,
            peer,
        };
        let name = self.service.name_of(&request);
        let logged = Logged {
            name: name.clone(),
            method: request.method.to_string(),
            path: request.path.clone(),
            query: request.query.clone(),
            status: None,
            connection,
            headers: request.headers.clone(),
            body: request.body.clone(),
        };
        let log = |status: Option<u16>| hold(&self.log).push(Logged { status, ..logged });
        if !whole {
            log(Some(413));
            return Ok(plain(StatusCode::PAYLOAD_TOO_LARGE, Bytes::new()));
        }
        let fault = self.strike(&name);
        // These never reach the service.
        match &fault {
            Some(FaultKind::Close) => {
                log(None);
                return Err(Ending::Close);
            }
            Some(FaultKind::Endless { first, again }) => {
                log(None);
                return Err(Ending::Endless { first: first.clone(), again: again.clone() });
            }
            Some(FaultKind::Hang) => {
                log(None);
                return std::future::pending().await;
            }
            Some(FaultKind::Overtaken) => {
                log(None);
                hold(&self.overtaken).push((name, request));
                return Err(Ending::Reset);
            }
            Some(FaultKind::Raw(bytes)) => {
                log(None);
                return Err(Ending::Raw { bytes: bytes.clone(), then: Then::Close });
            }
            Some(FaultKind::Reset) => {
                log(None);
                return Err(Ending::Reset);
            }
            Some(FaultKind::Status { code, headers, body }) => {
                log(Some(*code));
                return Ok(made_up(*code, headers, body.clone()));
            }
            Some(FaultKind::Delay(time)) => tokio::time::sleep(*time).await,
            Some(
                FaultKind::Body(_)
                | FaultKind::Cut { .. }
                | FaultKind::Drip { .. }
                | FaultKind::LostReply
                | FaultKind::Rewritten(_)
                | FaultKind::Truncate(_),
            )
            | None => {}
        }
        let reply = self.service.answer(request).await;
        let late: Vec<_> = hold(&self.overtaken).extract_if(.., |(other, _)| *other == name).collect();
        for (_, request) in late {
            // Nobody waits for its answer any more.
            let _unread = self.service.answer(request).await;
        }
        let status = reply.status().as_u16();
        match fault {
            Some(FaultKind::Body(body)) => {
                log(Some(status));
                let (mut head, _) = reply.into_parts();
                head.headers.remove(header::CONTENT_LENGTH);
                Ok(Response::from_parts(head, body))
            }
            Some(FaultKind::Cut { kept, then }) => {
                log(Some(status));
                let mut bytes = wire(&reply, usize::MAX);
                bytes.truncate(kept);
                Err(Ending::Raw { bytes, then })
            }
            Some(FaultKind::Drip { chunk, pause }) => {
                log(Some(status));
                Err(Ending::Trickle { bytes: wire(&reply, usize::MAX), chunk, pause })
            }
            Some(FaultKind::LostReply) => {
                log(None);
                Err(Ending::Reset)
            }
            Some(FaultKind::Rewritten(into)) => {
                log(Some(status));
                Err(Ending::Raw { bytes: into(&reply), then: Then::Close })
            }
            Some(FaultKind::Truncate(kept)) => {
                log(Some(status));
                Err(Ending::Raw { bytes: wire(&reply, kept), then: Then::Close })
            }
            Some(
                FaultKind::Close
                | FaultKind::Delay(_)
                | FaultKind::Endless { .. }
                | FaultKind::Hang
                | FaultKind::Overtaken
                | FaultKind::Raw(_)
                | FaultKind::Reset
                | FaultKind::Status { .. },
            )
            | None => {
                log(Some(status));
                Ok(reply)
            }
        }
    }
}

fn plain(status: StatusCode, body: Bytes) -> Response {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply
}

/// The reply that a test described.
fn made_up(code: u16, headers: &[(String, String)], body: Bytes) -> Response {
    let status = StatusCode::from_u16(code).expect("a status between 100 and 999");
    let mut reply = plain(status, body);
    for (name, value) in headers {
        let name: header::HeaderName = name.parse().expect("a header name");
        reply.headers_mut().append(name, value.parse().expect("a header value"));
    }
    reply
}

/// The reply as bytes, with the content-length of the whole body and at most `kept` bytes of it.
fn wire(reply: &Response, kept: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    let status = reply.status();
    let reason = status.canonical_reason().unwrap_or_default();
    bytes.put_slice(format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).as_bytes());
    let mut headers = reply.headers().clone();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(reply.body().len()));
    for (name, value) in &headers {
        bytes.put_slice(name.as_str().as_bytes());
        bytes.put_slice(b": ");
        bytes.put_slice(value.as_bytes());
        bytes.put_slice(b"\r\n");
    }
    bytes.put_slice(b"\r\n");
    bytes.put_slice(&reply.body()[..kept.min(reply.body().len())]);
    bytes.freeze()
}

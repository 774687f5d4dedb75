//! Each way to break, over real sockets, with and without TLS.

use super::*;
use crate::fault::Then;
use rustls::pki_types::{CertificateDer, ServerName};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Answers what it was sent, and remembers how often.
struct Echo(AtomicU64);

impl Service for Echo {
    async fn answer(&self, request: Request) -> Response {
        self.0.fetch_add(1, Ordering::SeqCst);
        let mut reply = Response::new(request.body);
        reply.headers_mut().insert("x-service", "echo".parse().unwrap());
        reply
    }

    fn name_of(&self, request: &Request) -> String {
        request.path.trim_start_matches('/').to_owned()
    }
}

fn echo() -> Server<Echo> {
    Server::start(Echo(AtomicU64::new(0)))
}

fn connect<S: Service>(server: &Server<S>) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap()
}

fn send(socket: &mut impl Write, path: &str, body: &str) {
    let len = body.len();
    write!(socket, "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len}\r\n\r\n{body}").unwrap();
}

/// What one request on a connection of its own got: the bytes, and how the connection ended.
fn exchange(server: &Server<Echo>, body: &str) -> (String, Option<ErrorKind>) {
    let mut socket = connect(server);
    let len = body.len();
    write!(socket, "POST /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n{body}")
        .unwrap();
    let mut bytes = Vec::new();
    let end = socket.read_to_end(&mut bytes).err().map(|e| e.kind());
    (String::from_utf8(bytes).unwrap(), end)
}

/// How the exchange must look from both sides.
struct Seen<'a> {
    starts: &'a str,
    ends: &'a str,
    broke: Option<ErrorKind>,
    /// The status in the log.
    status: Option<u16>,
    /// Whether the service acted on it.
    served: bool,
}

fn check(kind: FaultKind, want: Seen<'_>) {
    let server = echo();
    server.inject(Fault::on("a", kind.clone()));
    let (bytes, broke) = exchange(&server, "hello world");
    assert!(bytes.starts_with(want.starts), "{kind:?}: {bytes:?}");
    assert!(bytes.ends_with(want.ends), "{kind:?}: {bytes:?}");
    assert_eq!(bytes.is_empty(), want.starts.is_empty(), "{kind:?}: {bytes:?}");
    assert_eq!(broke, want.broke, "{kind:?}");
    let log = server.log();
    assert_eq!(log.len(), 1, "{kind:?}");
    assert_eq!(log[0].status, want.status, "{kind:?}");
    assert_eq!(server.service().0.load(Ordering::SeqCst), u64::from(want.served), "{kind:?}");
    // The fault is used up, and the server is well.
    let (bytes, broke) = exchange(&server, "again");
    assert!(bytes.starts_with("HTTP/1.1 200 OK\r\n") && bytes.ends_with("\r\n\r\nagain"), "{bytes:?}");
    assert_eq!(broke, None);
}

const OK: &str = "HTTP/1.1 200 OK\r\n";

#[test]
fn a_status_is_sent_instead_of_the_service() {
    let kind = FaultKind::Status {
        code: 503,
        headers: vec![("retry-after".to_owned(), "3".to_owned())],
        body: Bytes::from_static(b"slow down"),
    };
    let starts = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 3\r\n";
    check(kind, Seen { starts, ends: "\r\n\r\nslow down", broke: None, status: Some(503), served: false });
}

#[test]
fn a_reset_comes_before_the_service() {
    let broke = Some(ErrorKind::ConnectionReset);
    check(FaultKind::Reset, Seen { starts: "", ends: "", broke, status: None, served: false });
}

#[test]
fn a_lost_reply_comes_after_the_service() {
    let broke = Some(ErrorKind::ConnectionReset);
    check(FaultKind::LostReply, Seen { starts: "", ends: "", broke, status: None, served: true });
}

#[test]
fn a_close_is_no_reset() {
    check(FaultKind::Close, Seen { starts: "", ends: "", broke: None, status: None, served: false });
}

#[test]
fn a_truncated_body_keeps_its_content_length() {
    let kind = FaultKind::Truncate(4);
    let starts = "HTTP/1.1 200 OK\r\nx-service: echo\r\ncontent-length: 11\r\n";
    check(kind, Seen { starts, ends: "\r\n\r\nhell", broke: None, status: Some(200), served: true });
}

#[test]
fn a_body_is_replaced_and_the_rest_kept() {
    let kind = FaultKind::Body(Bytes::from_static(b"<html>"));
    check(kind, Seen { starts: OK, ends: "\r\n\r\n<html>", broke: None, status: Some(200), served: true });
}

#[test]
fn a_drip_arrives_whole() {
    let kind = FaultKind::Drip { chunk: 7, pause: Duration::from_millis(1) };
    check(
        kind,
        Seen { starts: OK, ends: "\r\n\r\nhello world", broke: None, status: Some(200), served: true },
    );
}

#[test]
fn a_reply_breaks_off_in_its_head_or_its_body() {
    let cut = |kept, then| FaultKind::Cut { kept, then };
    let seen = |ends, broke| Seen { starts: OK, ends, broke, status: Some(200), served: true };
    check(cut(20, Then::Close), seen("\r\nx-s", None));
    check(cut(20, Then::Reset), seen("\r\nx-s", Some(ErrorKind::ConnectionReset)));
    check(cut(usize::MAX, Then::Close), seen("\r\n\r\nhello world", None));

    let server = echo();
    server.inject(Fault::on("a", cut(20, Then::Silence)));
    let mut socket = connect(&server);
    send(&mut socket, "/a", "");
    socket.read_exact(&mut [0; 20]).unwrap();
    socket.set_nonblocking(true).unwrap();
    assert_eq!(socket.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_reply_is_rewritten() {
    let kind = FaultKind::Rewritten(|reply| {
        Bytes::from(format!("HTTP/1.0 200 OK\r\n\r\n{} bytes", reply.body().len()))
    });
    let starts = "HTTP/1.0 200 OK\r\n";
    check(kind, Seen { starts, ends: "\r\n\r\n11 bytes", broke: None, status: Some(200), served: true });
}

#[test]
fn what_is_endless_ends_with_its_client() {
    let server = echo();
    let (first, again) = (Bytes::from_static(b"HTTP/1.1 200 OK\r\n"), Bytes::from_static(b"a: b\r\n"));
    server.inject(Fault::on("a", FaultKind::Endless { first, again }));
    let mut socket = connect(&server);
    send(&mut socket, "/a", "");
    let mut seen = vec![0; 1 << 20];
    socket.read_exact(&mut seen).unwrap();
    assert!(seen.starts_with(b"HTTP/1.1 200 OK\r\na: b\r\na: b\r\n"));
    drop(socket);
    assert!(exchange(&server, "other").0.ends_with("other"));
}

#[test]
fn a_delay_changes_nothing_else() {
    let kind = FaultKind::Delay(Duration::from_millis(1));
    check(
        kind,
        Seen { starts: OK, ends: "\r\n\r\nhello world", broke: None, status: Some(200), served: true },
    );
}

#[test]
fn raw_bytes_need_not_be_http() {
    let kind = FaultKind::Raw(Bytes::from_static(b"SSH-2.0-x\r\n"));
    check(kind, Seen { starts: "SSH", ends: "x\r\n", broke: None, status: None, served: false });
}

#[test]
fn a_hang_holds_the_connection_and_nobody_else() {
    let server = echo();
    server.inject(Fault::on("hang", FaultKind::Hang));
    let mut socket = connect(&server);
    send(&mut socket, "/hang", "");
    while server.count("hang") == 0 {
        std::thread::yield_now();
    }
    assert!(exchange(&server, "other").0.ends_with("other"));
    assert_eq!(server.log()[0].status, None);
    socket.set_nonblocking(true).unwrap();
    let stuck = socket.read(&mut [0; 1]).unwrap_err();
    assert_eq!(stuck.kind(), ErrorKind::WouldBlock);
}

#[test]
fn a_fault_of_another_name_waits() {
    let server = echo();
    server.inject(Fault::status("b", 500, ""));
    assert!(exchange(&server, "x").0.starts_with(OK));
    server.clear_faults();
}

#[test]
fn the_log_tells_the_connection_and_what_was_sent() {
    let server = echo();
    let mut one = connect(&server);
    let mut reply = [0; 512];
    for body in ["1", "2"] {
        send(&mut one, "/a%2Fb?c=%20d", body);
        assert!(one.read(&mut reply).unwrap() > 0);
    }
    let mut two = connect(&server);
    send(&mut two, "/z", "3");
    assert!(two.read(&mut reply).unwrap() > 0);
    let log = server.log();
    let seen: Vec<_> = log.iter().map(|l| (&*l.name, &*l.path, &*l.query, l.connection, &*l.body)).collect();
    let first = |body: &'static [u8]| ("a%2Fb", "/a%2Fb", "c=%20d", 1, body);
    assert_eq!(seen, [first(b"1"), first(b"2"), ("z", "/z", "", 2, b"3")]);
    assert_eq!((server.connections(), server.count("z"), server.count("a")), (2, 1, 0));
    assert_eq!(log[0].headers["content-length"], "1");
    server.clear_log();
    assert_eq!(server.log().len(), 0);
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let server = echo();
    let mut socket = connect(&server);
    write!(socket, "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", BODY_LIMIT + 1).unwrap();
    let mut reply = [0; 12];
    // Whether the body is still being sent when the reply comes is the network's business.
    drop(socket.write_all(&vec![b'x'; BODY_LIMIT + 1]));
    socket.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 413");
    assert_eq!(server.service().0.load(Ordering::SeqCst), 0);
}

#[test]
fn a_paused_server_refuses_and_comes_back_on_the_same_port() {
    let server = echo();
    let mut idle = connect(&server);
    send(&mut idle, "/a", "x");
    assert!(idle.read(&mut [0; 512]).unwrap() > 0);
    server.pause();
    let end = idle.read(&mut [0; 1]).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::ConnectionReset);
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.resume();
    assert!(exchange(&server, "back").0.ends_with("back"));
}

#[test]
fn a_cut_resets_open_connections_only() {
    let server = echo();
    let mut idle = connect(&server);
    send(&mut idle, "/a", "x");
    assert!(idle.read(&mut [0; 512]).unwrap() > 0);
    server.cut();
    assert_eq!(idle.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(exchange(&server, "new").0.ends_with("new"));
}

#[test]
fn a_dropped_server_frees_its_port() {
    let server = echo();
    let port = server.port();
    drop(server);
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

/// A TLS connection to the server that trusts this authority alone.
fn tls(
    server: &Server<Echo>,
    trusted: &Ca,
    name: &str,
) -> rustls::StreamOwned<rustls::ClientConnection, TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(trusted.der())).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    rustls::StreamOwned::new(client, connect(server))
}

fn tls_echo(ca: &Ca) -> Server<Echo> {
    Server::start_tls(Echo(AtomicU64::new(0)), ca)
}

#[test]
fn tls_serves_who_trusts_its_authority() {
    let ca = Ca::named("one");
    let server = tls_echo(&ca);
    assert_eq!(server.url(), format!("https://localhost:{}", server.port()));
    for name in ["localhost", "127.0.0.1"] {
        let mut socket = tls(&server, &ca, name);
        send(&mut socket, "/a", "secret");
        let mut reply = [0; 15];
        socket.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"HTTP/1.1 200 OK");
    }
    for (trusted, name) in [(&Ca::named("one"), "localhost"), (&ca, "conjur.example.org")] {
        let mut socket = tls(&server, trusted, name);
        assert!(socket.write_all(b"GET / HTTP/1.1\r\n\r\n").is_err(), "{name} was trusted");
    }
    assert_eq!((server.log().len(), server.connections()), (2, 4));
}

#[test]
fn tls_connections_reset_too() {
    let ca = Ca::new();
    let server = tls_echo(&ca);
    for kind in [FaultKind::Reset, FaultKind::LostReply] {
        server.inject(Fault::on("a", kind));
        let mut socket = tls(&server, &ca, "localhost");
        send(&mut socket, "/a", "x");
        assert_eq!(socket.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

#[test]
fn tls_bodies_are_truncated_too() {
    let ca = Ca::new();
    let server = tls_echo(&ca);
    server.inject(Fault::on("a", FaultKind::Truncate(2)));
    let mut socket = tls(&server, &ca, "localhost");
    send(&mut socket, "/a", "hello");
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("content-length: 5\r\n") && reply.ends_with("\r\n\r\nhe"), "{reply}");
}

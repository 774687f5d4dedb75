//! HTTP by hand, since cases ask for what clients do not offer: a body without a content type or in chunks, a header to the letter,
//! a source address. One connection a request, over TLS when the URL says so.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

/// How long one exchange with a server may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where a server is.
#[derive(Clone)]
pub struct Endpoint {
    host: String,
    port: u16,
    /// In front of every path, without a slash at its end.
    prefix: String,
    tls: Option<TlsConnector>,
}

/// One request.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) chunked: bool,
    pub(crate) from: Option<IpAddr>,
}

/// One reply, wholly read.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Incoming {
    /// A header; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body, for a reader.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Endpoint {
    /// Reads `http://host:port/prefix` or `https://..`; `ca` is a PEM file to trust in place of the public authorities.
    pub fn parse(url: &str, ca: Option<&Path>) -> Result<Self, String> {
        let (scheme, rest) = url.split_once("://").ok_or_else(|| format!("{url}: not a URL"))?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (default_port, secure) = match scheme {
            "http" => (80, false),
            "https" => (443, true),
            _ => return Err(format!("{url}: neither http nor https")),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("{url}: no such port"))?)
            }
            _ => (authority, default_port),
        };
        let prefix = path.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        let tls = if secure { Some(connector(ca)?) } else { None };
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port, prefix, tls })
    }

    /// Whether the server sees us come from the loopback network.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    pub(crate) async fn exchange(&self, request: &Outgoing) -> std::io::Result<Incoming> {
        tokio::time::timeout(DEADLINE, self.attempt(request))
            .await
            .map_err(|_| Error::from(ErrorKind::TimedOut))?
    }

    async fn attempt(&self, request: &Outgoing) -> std::io::Result<Incoming> {
        let stream = self.connect(request.from).await?;
        match &self.tls {
            None => converse(stream, self.text(request)).await,
            Some(connector) => {
                let name = ServerName::try_from(self.host.clone()).map_err(Error::other)?;
                converse(connector.connect(name, stream).await?, self.text(request)).await
            }
        }
    }

    async fn connect(&self, from: Option<IpAddr>) -> std::io::Result<TcpStream> {
        let mut last = Error::from(ErrorKind::AddrNotAvailable);
        for address in lookup_host((self.host.as_str(), self.port)).await? {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(from) = from {
                if from.is_ipv4() != address.is_ipv4() {
                    continue;
                }
                socket.bind(SocketAddr::new(from, 0))?;
            }
            match socket.connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn text(&self, request: &Outgoing) -> Vec<u8> {
        let mut head = format!("{} {}{} HTTP/1.1\r\n", request.method, self.prefix, request.target);
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        head.push_str(&format!(
            "Host: {host}:{}\r\nUser-Agent: imprint-contract\r\nConnection: close\r\n",
            self.port
        ));
        for (name, value) in &request.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut text = Vec::new();
        if request.chunked {
            head.push_str("Transfer-Encoding: chunked\r\n\r\n");
            text.extend_from_slice(head.as_bytes());
            for part in request.body.chunks(7) {
                text.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
                text.extend_from_slice(part);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(b"0\r\n\r\n");
        } else {
            if !request.body.is_empty() || ["POST", "PUT", "PATCH"].contains(&request.method.as_str()) {
                head.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
            }
            head.push_str("\r\n");
            text.extend_from_slice(head.as_bytes());
            text.extend_from_slice(&request.body);
        }
        text
    }
}

fn connector(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(path) => {
            let broken = |error: rustls::pki_types::pem::Error| format!("{}: {error}", path.display());
            for certificate in CertificateDer::pem_file_iter(path).map_err(broken)? {
                roots
                    .add(certificate.map_err(broken)?)
                    .map_err(|error| format!("{}: {error}", path.display()))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config =
        builder.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Vec<u8>,
) -> std::io::Result<Incoming> {
    stream.write_all(&request).await?;
    stream.flush().await?;
    let mut all = Vec::new();
    match stream.read_to_end(&mut all).await {
        Ok(_) => {}
        // Servers that leave TLS without a farewell have said everything all the same.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof && !all.is_empty() => {}
        Err(error) => return Err(error),
    }
    parse(&all).ok_or_else(|| Error::new(ErrorKind::InvalidData, "not an HTTP reply"))
}

fn parse(all: &[u8]) -> Option<Incoming> {
    let split = all.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(all.get(..split)?).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<_> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut reply = Incoming { status, headers, body: Vec::new() };
    let rest = all.get(split + 4..)?;
    reply.body = match reply.header("transfer-encoding") {
        Some(coding) if coding.eq_ignore_ascii_case("chunked") => dechunked(rest)?,
        _ => rest.to_vec(),
    };
    Some(reply)
}

fn dechunked(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..end)?).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + size)?);
        rest = rest.get(end + 4 + size..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let check = |url: &str, expected: Result<(&str, u16, &str), &str>| match (
            Endpoint::parse(url, None),
            expected,
        ) {
            (Ok(found), Ok(wanted)) => {
                assert_eq!((found.host.as_str(), found.port, found.prefix.as_str()), wanted, "{url}")
            }
            (Err(found), Err(part)) => assert!(found.contains(part), "{url}: {found}"),
            (found, _) => panic!("{url}: {:?}", found.map(|found| found.host)),
        };
        check("http://127.0.0.1:8080", Ok(("127.0.0.1", 8080, "")));
        check("https://conjur.example.org/", Ok(("conjur.example.org", 443, "")));
        check("https://conjur.example.org/api/", Ok(("conjur.example.org", 443, "/api")));
        check("http://[::1]:81", Ok(("::1", 81, "")));
        check("http://[::1]", Ok(("::1", 80, "")));
        check("ftp://x", Err("neither http nor https"));
        check("http://x:y", Err("no such port"));
        check("x", Err("not a URL"));
    }

    #[test]
    fn chunks_are_joined() {
        let reply = parse(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        )
        .unwrap();
        assert_eq!((reply.status, reply.body.as_slice()), (200, b"abcde".as_slice()));
        assert!(parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc\r\n").is_none());
    }
}

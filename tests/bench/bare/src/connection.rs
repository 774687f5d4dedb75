//! One connection, with TLS or without, and HTTP/1.1 on it: one request after the other, bodies of a known length.

use crate::Failed;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

pub(crate) type Tls = Arc<ClientConfig>;

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

pub(crate) struct Connection {
    host: String,
    stream: Box<dyn Stream>,
}

/// The provider, the versions and the key exchange of the agent; these roots.
pub(crate) fn tls(pem: &str) -> Result<Tls, Failed> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

impl Connection {
    /// To this server; with TLS the handshake is done.
    pub(crate) fn open(url: &str, tls: &Tls) -> Result<Self, Failed> {
        let (scheme, host) = url.split_once("://").ok_or("no URL")?;
        let host = host.trim_end_matches('/');
        let mut tcp = TcpStream::connect(host)?;
        tcp.set_nodelay(true)?;
        let stream: Box<dyn Stream> = if scheme == "https" {
            let (name, _) = host.rsplit_once(':').ok_or("no port")?;
            let mut session = ClientConnection::new(Arc::clone(tls), ServerName::try_from(name.to_owned())?)?;
            session.complete_io(&mut tcp)?;
            Box::new(StreamOwned::new(session, tcp))
        } else {
            Box::new(tcp)
        };
        Ok(Self { host: host.to_owned(), stream })
    }

    /// Host and port.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The answer's body.
    pub(crate) fn text(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<String, Failed> {
        let mut ask = format!("{method} {target} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            ask.push_str(&format!("{name}: {value}\r\n"));
        }
        ask.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        self.stream.write_all(ask.as_bytes())?;
        self.stream.flush()?;
        self.answer().map_err(|why| format!("{method} {target}: {why}").into())
    }

    /// The answer's body, which is JSON.
    pub(crate) fn json(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Value, Failed> {
        Ok(serde_json::from_str(&self.text(method, target, headers, body)?)?)
    }

    fn answer(&mut self) -> Result<String, Failed> {
        let mut bytes = Vec::with_capacity(4096);
        let body = loop {
            self.more(&mut bytes)?;
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = str::from_utf8(&bytes[..body])?.to_ascii_lowercase();
        let status = head.get(9..12).ok_or("no status")?;
        if !status.starts_with('2') {
            return Err(format!("status {status}").into());
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = match (length, status) {
            (Some(length), _) => length.trim().parse()?,
            (None, "204") => 0,
            (None, _) => return Err("a body of unknown length".into()),
        };
        while bytes.len() < body + length {
            self.more(&mut bytes)?;
        }
        Ok(String::from_utf8(bytes.split_off(body))?)
    }

    fn more(&mut self, bytes: &mut Vec<u8>) -> Result<(), Failed> {
        let mut part = [0; 4096];
        match self.stream.read(&mut part)? {
            0 => Err("the server hung up".into()),
            length => {
                bytes.extend_from_slice(&part[..length]);
                Ok(())
            }
        }
    }
}

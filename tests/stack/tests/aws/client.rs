//! A raw HTTP client, and a Signature Version 4 signer of its own.

use hmac::{Hmac, KeyInit, Mac};
use imprint_stack::aws::Keys;
use imprint_stack::ca::Ca;
use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, ServerName};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

/// A request about to be sent to a server on this port of 127.0.0.1.
#[derive(Clone)]
pub struct Call {
    pub port: u16,
    pub method: &'static str,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Call {
    pub fn new(port: u16, method: &'static str, path: &str) -> Self {
        let headers = BTreeMap::from([("host".to_owned(), format!("127.0.0.1:{port}"))]);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        Self { port, method, path: path.to_owned(), query: query.to_owned(), headers, body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Signs every header that it has, for a path that needs no encoding.
    pub fn sign(mut self, keys: &Keys, region: &str, service: &str, at: Timestamp) -> Self {
        let date = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        let day = &date[..8];
        self.headers.insert("x-amz-date".to_owned(), date.clone());
        self.headers.insert("x-amz-content-sha256".to_owned(), sha256(&self.body));
        if let Some(token) = &keys.session_token {
            self.headers.insert("x-amz-security-token".to_owned(), token.clone());
        }
        let names: Vec<&str> = self.headers.keys().map(String::as_str).collect();
        let names = names.join(";");
        let lines: String = self.headers.iter().map(|(n, v)| format!("{n}:{v}\n")).collect();
        let canonical = format!(
            "{}\n{}\n{}\n{lines}\n{names}\n{}",
            self.method,
            self.path,
            self.query,
            sha256(&self.body)
        );
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
        let mut key = format!("AWS4{}", keys.secret).into_bytes();
        for part in [day, region, service, "aws4_request", &text] {
            let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
            mac.update(part.as_bytes());
            key = mac.finalize().into_bytes().to_vec();
        }
        let signature = hex(&key);
        let id = &keys.access_key;
        let value =
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        self.headers.insert("authorization".to_owned(), value);
        self
    }

    /// Sends it in the clear.
    pub fn send(&self) -> Reply {
        self.exchange(TcpStream::connect(("127.0.0.1", self.port)).unwrap())
    }

    /// Sends it over TLS to a server that this authority vouches for.
    pub fn send_tls(&self, ca: &Ca) -> Reply {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(ca.der())).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        self.exchange(rustls::StreamOwned::new(client, socket))
    }

    fn exchange(&self, mut socket: impl Read + Write) -> Reply {
        let question = if self.query.is_empty() { "" } else { "?" };
        let mut text = format!("{} {}{question}{} HTTP/1.1\r\n", self.method, self.path, self.query);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str(&format!("connection: close\r\ncontent-length: {}\r\n\r\n", self.body.len()));
        socket.write_all(text.as_bytes()).unwrap();
        socket.write_all(&self.body).unwrap();
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|l| l.split_once(": ").unwrap())
            .map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()))
            .collect();
        Reply { status, headers, body: body.to_owned() }
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

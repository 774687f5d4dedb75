//! One enrollment with as little as possible: sockets, rustls and nine HTTP requests by hand, on the same
//! connections, opened as early as `imprint enroll` opens them, and four files with one fsync each. A
//! yardstick for the bench: it checks nothing, repeats nothing, locks nothing and wipes nothing.

mod connection;
mod sigv4;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use connection::Connection;
use serde_json::{Map, Value, json};
use sigv4::Keys;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failed> {
    let pem = std::fs::read_to_string(told("CONJUR_CA")?)?;
    let tls = connection::tls(&pem)?;
    thread::scope(|scope| {
        let open = |name: &'static str| {
            let tls = &tls;
            scope.spawn(move || Connection::open(&told(name)?, tls))
        };
        let conjur = open("CONJUR");
        let mut imds = Connection::open(&told("AWS_EC2_METADATA_SERVICE_ENDPOINT")?, &tls)?;
        let six_hours = ("x-aws-ec2-metadata-token-ttl-seconds", "21600");
        let session = imds.text("PUT", "/latest/api/token", &[six_hours], "")?;
        let session = [("x-aws-ec2-metadata-token", session.as_str())];
        // It tells the region, and with it where S3 and KMS are.
        let document = imds.json("GET", "/latest/dynamic/instance-identity/document", &session, "")?;
        let (s3, kms) = (open("AWS_ENDPOINT_URL_S3"), open("AWS_ENDPOINT_URL_KMS"));
        let path = "/latest/meta-data/iam/security-credentials/";
        let role = imds.text("GET", path, &session, "")?;
        let credentials = imds.json("GET", &format!("{path}{role}"), &session, "")?;
        let keys = Keys {
            region: member(&document, "region")?,
            access_key: member(&credentials, "AccessKeyId")?,
            secret: member(&credentials, "SecretAccessKey")?,
            session: member(&credentials, "Token")?,
        };
        let token = unseal(&mut joined(kms)?, &keys, &fetch(&mut joined(s3)?, &keys)?)?;
        enroll(&mut joined(conjur)?, &token, &pem)
    })
}

fn fetch(s3: &mut Connection, keys: &Keys<'_>) -> Result<Value, Failed> {
    let path = format!("/{}/{}", told("BUCKET")?, told("OBJECT")?);
    let signed = keys.signed("s3", s3.host(), "GET", &path, &[], "");
    s3.json("GET", &path, &headers(&signed), "")
}

fn unseal(kms: &mut Connection, keys: &Keys<'_>, sealed: &Value) -> Result<String, Failed> {
    let context: Map<String, Value> = sealed
        .as_object()
        .ok_or("the sealed token is no object")?
        .iter()
        .filter(|(name, _)| !["ciphertext", "key_arn"].contains(&name.as_str()))
        .map(|(name, value)| (format!("imprint:{name}"), plain(value)))
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name, value.into()))
        .collect();
    let ask = json!({ "CiphertextBlob": sealed["ciphertext"], "EncryptionContext": context }).to_string();
    let kind = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "TrentService.Decrypt")];
    let signed = keys.signed("kms", kms.host(), "POST", "/", &kind, &ask);
    let opened = kms.json("POST", "/", &headers(&signed), &ask)?;
    Ok(String::from_utf8(BASE64.decode(member(&opened, "Plaintext")?)?)?)
}

/// Redeem, store, authenticate, proof.
fn enroll(conjur: &mut Connection, token: &str, pem: &str) -> Result<(), Failed> {
    let (account, host) = (told("ACCOUNT")?, told("HOST_ID")?);
    let with = |token: &str| format!("Token token=\"{token}\"");
    let form = format!("id={}&annotations%5Bauthn%2Fapi-key%5D=true", encoded(&host));
    let ask = [("authorization", &*with(token)), ("content-type", "application/x-www-form-urlencoded")];
    let redeemed = conjur.json("POST", "/host_factories/hosts", &ask, &form)?;
    let key = member(&redeemed, "api_key")?;

    let identity = PathBuf::from(told("OUT")?);
    let (conf, ca) = (identity.with_file_name("conjur.conf"), identity.with_file_name("conjur.pem"));
    let url = told("CONJUR")?;
    let text = format!(
        "account: {account}\nappliance_url: {url}\ncert_file: {}\nnetrc_path: {}\n",
        ca.display(),
        identity.display()
    );
    store(&conf, &text)?;
    store(&ca, pem)?;
    store(&identity, &format!("machine {url}/authn\n  login host/{host}\n  password {key}\n"))?;

    let path = format!("/authn/{account}/{}/authenticate", encoded(&format!("host/{host}")));
    let access = conjur.text("POST", &path, &[("content-type", "text/plain")], key)?;
    let (variable, access) = (encoded(&told("VARIABLE")?), with(&BASE64.encode(access)));
    let path = format!("/resources/{account}/variable/{variable}?check=true&privilege=execute");
    conjur.text("GET", &path, &[("authorization", &access)], "")?;
    store(&identity.with_file_name("state.json"), &json!({ "host_id": host }).to_string())
}

/// One fsync, and in one piece.
fn store(path: &Path, text: &str) -> Result<(), Failed> {
    let draft = path.with_extension("new");
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(std::fs::rename(draft, path)?)
}

fn told(name: &str) -> Result<String, Failed> {
    std::env::var(name).map_err(|why| format!("{name}: {why}").into())
}

fn joined(opened: ScopedJoinHandle<'_, Result<Connection, Failed>>) -> Result<Connection, Failed> {
    opened.join().map_err(|_| "a connection's thread died")?
}

fn member<'a>(of: &'a Value, name: &str) -> Result<&'a str, Failed> {
    of[name].as_str().ok_or_else(|| format!("no {name}").into())
}

fn headers<'a>(signed: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    signed.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// A member as the encryption context has it.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(plain).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// All but RFC 3986's unreserved characters.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

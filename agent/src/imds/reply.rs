//! What the metadata service's answers mean. Bytes in, facts out; no error holds a part of them.

use crate::facts::Facts;
use imprint_core::aws::Credentials;
use imprint_core::second::Second;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// What was read, or what is wrong with the answer: words that hold no part of it.
pub type Read<T> = Result<T, &'static str>;

/// What the service says of a role.
pub enum Role {
    /// They are there.
    Credentials(Credentials),
    /// Its `Code`, when that is not `Success`.
    NotReady(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    account_id: String,
    image_id: Option<String>,
    instance_id: String,
    region: String,
    private_ip: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    code: Option<String>,
    access_key_id: Option<String>,
    #[serde(default, deserialize_with = "wiped")]
    secret_access_key: Option<Zeroizing<String>>,
    #[serde(default, deserialize_with = "wiped")]
    token: Option<Zeroizing<String>>,
    expiration: Option<String>,
}

/// A text that is wiped when it goes.
fn wiped<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Zeroizing<String>>, D::Error> {
    Ok(Option::<String>::deserialize(from)?.map(Zeroizing::new))
}

/// The instance identity document.
///
/// # Errors
/// When it is none, or a part of it has a form that AWS never gives.
pub fn document(body: &[u8]) -> Read<Facts> {
    let document: Document = serde_json::from_slice(body).map_err(|_| "is not an identity document")?;
    let account = document.account_id.len() == 12 && document.account_id.bytes().all(|b| b.is_ascii_digit());
    if !account {
        return Err("has an account id that is not twelve digits");
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=32).contains(&document.region.len()) || !document.region.bytes().all(plain) {
        return Err("has a region that is none");
    }
    Ok(Facts {
        instance_id: document.instance_id.parse().map_err(|_| "has an instance-id that is none")?,
        private_ip: match document.private_ip.as_deref() {
            Some(ip) => Some(ip.parse().map_err(|_| "has a private address that is none")?),
            None => None,
        },
        account_id: Some(document.account_id),
        region: Some(document.region),
        hostname: None,
        image_id: document.image_id.filter(|id| is_image(id)),
        tags: BTreeMap::new(),
    })
}

/// `ami-` and 1 to 30 of `[0-9a-z]`. It is told to Conjur and decides nothing, so what looks otherwise is left
/// out.
fn is_image(id: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    id.strip_prefix("ami-").is_some_and(|id| (1..=30).contains(&id.len()) && id.bytes().all(plain))
}

/// A text of any content.
///
/// # Errors
/// When it is not UTF-8.
pub fn text(body: &[u8]) -> Read<&str> {
    std::str::from_utf8(body).map_err(|_| "is not text")
}

/// One line of visible characters.
///
/// # Errors
/// When it is anything else, or longer than 1024 bytes.
pub fn line(body: &[u8]) -> Read<&str> {
    let line = text(body)?;
    let line = line.strip_suffix('\n').unwrap_or(line);
    if line.is_empty() || line.len() > 1024 || !line.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("is not one line of visible characters");
    }
    Ok(line)
}

/// The name of the role; `None` when the list is empty. It goes into a path, so it may hold nothing
/// but what IAM allows.
///
/// # Errors
/// When it holds anything else.
pub fn role(body: &[u8]) -> Read<Option<&str>> {
    let list = text(body)?;
    let Some(name) = list.split('\n').next().filter(|_| !list.is_empty()) else { return Ok(None) };
    let known = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
    if name.len() > 64 || name.is_empty() || !name.bytes().all(known) || matches!(name, "." | "..") {
        return Err("has a role name that IAM does not allow");
    }
    Ok(Some(name))
}

/// A role's credentials.
///
/// # Errors
/// When it is no such answer, or lacks a part of them.
pub fn credentials(body: &[u8]) -> Read<Role> {
    let answer: Answer = serde_json::from_slice(body).map_err(|_| "is not a set of credentials")?;
    if answer.code.as_deref() != Some("Success") {
        let code: String = answer.code.unwrap_or_default();
        let plain: String = code.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
        return Ok(Role::NotReady(if plain.is_empty() { "no code".to_owned() } else { plain }));
    }
    let graphic =
        |text: &str| !text.is_empty() && text.len() <= 8192 && text.bytes().all(|b| b.is_ascii_graphic());
    let (Some(access_key_id), Some(secret_access_key), Some(token), Some(expiration)) =
        (answer.access_key_id, answer.secret_access_key, answer.token, answer.expiration)
    else {
        return Err("lacks a part of the credentials");
    };
    if !graphic(&access_key_id) || !graphic(&secret_access_key) || !graphic(&token) {
        return Err("has credentials of characters that AWS never uses");
    }
    let expires_at = Second::from_rfc3339(&expiration).map_err(|_| "has an expiration that is no time")?;
    Ok(Role::Credentials(Credentials {
        access_key_id,
        secret_access_key,
        session_token: Some(token),
        expires_at: Some(expires_at),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DOCUMENT: &str = r#"{"accountId":"123456789012","architecture":"x86_64","availabilityZone":"eu-west-1a","imageId":"ami-0abcdef0123456789","instanceId":"i-0123456789abcdef0","privateIp":"10.0.0.5","region":"eu-west-1","version":"2017-09-30"}"#;
    const CREDENTIALS: &str = r#"{"Code":"Success","LastUpdated":"2026-11-22T08:00:00Z","Type":"AWS-HMAC","AccessKeyId":"ASIAEXAMPLE","SecretAccessKey":"SECRET/+=","Token":"TOKEN/+=","Expiration":"2026-11-22T14:00:00Z"}"#;

    #[test]
    fn documents() {
        let check = |from: &str, to: &str, expect: Result<(), &str>| {
            let read = document(DOCUMENT.replace(from, to).as_bytes());
            assert_eq!(read.map(|_| ()), expect, "{to}");
        };
        let facts = document(DOCUMENT.as_bytes()).unwrap();
        assert_eq!(
            (facts.instance_id.as_str(), facts.account_id.as_deref(), facts.region.as_deref()),
            ("i-0123456789abcdef0", Some("123456789012"), Some("eu-west-1"))
        );
        assert_eq!(facts.image_id.as_deref(), Some("ami-0abcdef0123456789"));
        for other in ["", "ami-", "ami-0 1", "i-0abcdef0", "ami-A", "ami-0\\n1", &format!("ami-{:031}", 0)] {
            let without = document(DOCUMENT.replace("ami-0abcdef0123456789", other).as_bytes()).unwrap();
            assert_eq!(without.image_id, None, "{other}");
        }
        check("\"imageId\":\"ami-0abcdef0123456789\",", "", Ok(()));
        check("\"privateIp\":\"10.0.0.5\",", "", Ok(()));
        check("10.0.0.5", "2001:db8::5", Ok(()));
        check("10.0.0.5", "10.0.0.5/8", Err("has a private address that is none"));
        check("i-0123456789abcdef0", "i-../x", Err("has an instance-id that is none"));
        check("123456789012", "12345678901", Err("has an account id that is not twelve digits"));
        check("\"123456789012\"", "123456789012", Err("is not an identity document"));
        check("eu-west-1\"", "eu-west-1.example.org/\"", Err("has a region that is none"));
        check("eu-west-1\"", "\"", Err("has a region that is none"));
        check("\"region\"", "\"area\"", Err("is not an identity document"));
        check(DOCUMENT, "", Err("is not an identity document"));
        check(DOCUMENT, "<html>", Err("is not an identity document"));
        check("{\"account", "\u{feff}{\"account", Err("is not an identity document"));
    }

    #[test]
    fn roles_and_lines() {
        let check =
            |body: &str, expect: Read<Option<&str>>| assert_eq!(role(body.as_bytes()), expect, "{body:?}");
        check("web-role", Ok(Some("web-role")));
        check("web-role\n", Ok(Some("web-role")));
        check("a+b=c,d.e@f_g-1", Ok(Some("a+b=c,d.e@f_g-1")));
        check("", Ok(None));
        let bad = Err("has a role name that IAM does not allow");
        for name in ["a/b", "a b", "../x", "..", "a?b", "a%2Fb", "a#", "\n", "é", "a\r\nb", &"a".repeat(65)]
        {
            check(name, bad);
        }
        assert_eq!(role(&[0xff]), Err("is not text"));
        assert_eq!(line(b"token==\n"), Ok("token=="));
        for bad in [&b""[..], b"a\nb", b"a\r", b"a b", b"\n", &[b'a'; 1025]] {
            assert!(line(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn credentials_of_a_role() {
        let good = match credentials(CREDENTIALS.as_bytes()) {
            Ok(Role::Credentials(good)) => good,
            Ok(Role::NotReady(code)) => panic!("{code}"),
            Err(why) => panic!("{why}"),
        };
        assert_eq!(
            (good.access_key_id.as_str(), good.secret_access_key.as_str()),
            ("ASIAEXAMPLE", "SECRET/+=")
        );
        assert_eq!(good.expires_at.map(|at| at.to_string()).as_deref(), Some("2026-11-22T14:00:00Z"));
        let check = |from: &str, to: &str, expect: Result<&str, &str>| match (
            credentials(CREDENTIALS.replace(from, to).as_bytes()),
            expect,
        ) {
            (Ok(Role::NotReady(code)), Ok(expect)) => assert_eq!(code, expect),
            (Err(why), Err(expect)) => assert_eq!(why, expect),
            (Ok(_) | Err(_), _) => panic!("{from} as {to}"),
        };
        check("Success", "AssumeRoleUnauthorizedAccess", Ok("AssumeRoleUnauthorizedAccess"));
        check("\"Success\"", "null", Ok("no code"));
        check("Success", "\\u001b[2J Failed", Ok("2JFailed"));
        check("\"AccessKeyId\"", "\"X\"", Err("lacks a part of the credentials"));
        check("\"Token\"", "\"X\"", Err("lacks a part of the credentials"));
        check("\"ASIAEXAMPLE\"", "7", Err("is not a set of credentials"));
        check("ASIAEXAMPLE", "", Err("has credentials of characters that AWS never uses"));
        check("SECRET", "SEC\\r\\nRET", Err("has credentials of characters that AWS never uses"));
        check("2026-11-22T14", "soon", Err("has an expiration that is no time"));
        check(CREDENTIALS, "", Err("is not a set of credentials"));
        check(CREDENTIALS, "{}", Ok("no code"));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _either = (document(&bytes).is_ok(), role(&bytes).is_ok(), credentials(&bytes).is_ok());
        }
    }
}

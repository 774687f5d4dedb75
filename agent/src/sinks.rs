//! The files beside the identity: `conjur.conf`, and on request an environment file and JSON. The CA bundle
//! is written as it was configured.
//!
//! The environment file has one `NAME=value` a line, in a form that systemd's `EnvironmentFile=` and a
//! shell's `.` read alike. It and the JSON hold the API key.

use crate::identity::Identity;
use imprint_core::name::{Account, ApplianceUrl};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use zeroize::Zeroizing;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// The longest environment file or JSON, in bytes: two URLs, an id, a key and two paths within their caps.
pub const LONGEST: usize = 4096;

/// What a host logs in with, and where.
#[derive(Serialize)]
struct Everything<'a> {
    schema: u32,
    account: &'a str,
    appliance_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cert_file: Option<&'a Path>,
    login: &'a str,
    api_key: &'a str,
}

/// The identity as variables, under the names that Conjur's clients look for.
#[must_use]
pub fn env(account: &Account, pem: Option<&Path>, identity: &Identity) -> Zeroizing<String> {
    // Reserved at once: growing would leave copies of the key behind.
    let mut text = Zeroizing::new(String::with_capacity(LONGEST));
    let login = identity.host_id.login();
    let pem = pem.map(|path| path.display().to_string());
    let lines = [
        ("CONJUR_ACCOUNT", Some(account.as_str())),
        ("CONJUR_APPLIANCE_URL", Some(identity.appliance_url.as_str())),
        ("CONJUR_CERT_FILE", pem.as_deref()),
        ("CONJUR_AUTHN_LOGIN", Some(&login)),
        ("CONJUR_AUTHN_API_KEY", Some(identity.api_key.expose())),
    ];
    for (name, value) in lines {
        let Some(value) = value else { continue };
        text.push_str(name);
        text.push('=');
        push_quoted(&mut text, value);
        text.push('\n');
    }
    text
}

/// The same as JSON.
#[must_use]
pub fn json(account: &Account, pem: Option<&Path>, identity: &Identity) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    let all = Everything {
        schema: SCHEMA,
        account: account.as_str(),
        appliance_url: identity.appliance_url.as_str(),
        cert_file: pem,
        login: &identity.host_id.login(),
        api_key: identity.api_key.expose(),
    };
    // Texts and numbers always serialize.
    let _always = serde_json::to_writer_pretty(&mut *bytes, &all);
    bytes.push(b'\n');
    bytes
}

/// A value in quotes, when a shell or systemd would else change it. Within them, both take a backslash
/// before these four characters and before no other.
fn push_quoted(text: &mut String, value: &str) {
    if value.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._:@%+=,-".contains(&b)) {
        text.push_str(value);
        return;
    }
    text.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('"');
}

/// `conjur.conf`, for clients that ask it where Conjur and the identity are.
///
/// `netrc_path` and `credential_storage` are for the readers in Go, which else look into a keyring
/// and the home directory.
#[must_use]
pub fn conf(account: &Account, url: &ApplianceUrl, pem: Option<&Path>, netrc: &Path) -> String {
    let mut text = format!("account: {}\nappliance_url: {url}\n", scalar(account.as_str()));
    if let Some(pem) = pem {
        // Writing to a String cannot fail.
        let _always = writeln!(text, "cert_file: {}", pem.display());
    }
    let _always = write!(text, "netrc_path: {}\ncredential_storage: file\nplugins: []\n", netrc.display());
    text
}

/// An account as a YAML scalar: in quotes when a reader could take it for a number, a flag or null.
fn scalar(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "inf" | "nan"
    );
    if plain && !word { text.to_owned() } else { format!("\"{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::{KEY, identity};
    use std::process::Command;

    const ID: &str = "app/hosts/123456789012/eu-west-1/i-0123456789abcdef0";

    #[test]
    fn what_the_environment_file_says() {
        let account = "prod".parse().unwrap();
        let identity = identity("https://conjur.example.org", ID, KEY);
        assert_eq!(
            *env(&account, Some(Path::new("/etc/conjur.pem")), &identity),
            format!(
                "CONJUR_ACCOUNT=prod\nCONJUR_APPLIANCE_URL=https://conjur.example.org\nCONJUR_CERT_FILE=/etc/conjur.pem\nCONJUR_AUTHN_LOGIN=host/{ID}\nCONJUR_AUTHN_API_KEY={KEY}\n"
            )
        );
        assert!(!env(&account, None, &identity).contains("CERT"));
    }

    /// As systemd.exec(5) says of `EnvironmentFile=`: within double quotes, a backslash counts before
    /// `"`, `\`, `` ` `` and `$`; nothing is expanded.
    fn as_systemd(line: &str) -> String {
        let value = line.split_once('=').unwrap().1;
        let Some(inside) = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')) else {
            assert!(!value.contains(['\'', '"', '\\', ' ', '#', ';']), "{value}");
            return value.to_owned();
        };
        let (mut read, mut rest) = (String::new(), inside.chars());
        while let Some(c) = rest.next() {
            assert_ne!(c, '"');
            read.push(if c == '\\' { rest.next().filter(|c| "\"\\`$".contains(*c)).unwrap() } else { c });
        }
        read
    }

    #[test]
    fn a_shell_and_systemd_read_the_same() {
        let values = [
            "host/a@b+c=d-e_f.g",
            "https://[2001:db8::1]:8443/a",
            "https://h/$(id)`id`;&|<>'\"\\~*?!#",
            "~root",
            " a  b ",
            "\\n",
            "",
        ];
        for value in values {
            let mut line = "VALUE=".to_owned();
            push_quoted(&mut line, value);
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("env");
            std::fs::write(&path, format!("{line}\n")).unwrap();
            let script = "set -eu; . \"$1\"; printf %s \"$VALUE\"";
            let ran = Command::new("sh").args(["-c", script, "sh"]).arg(&path).output().unwrap();
            assert!(ran.status.success(), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
            assert_eq!(String::from_utf8(ran.stdout).unwrap(), value, "{line}");
            assert_eq!(as_systemd(&line), value, "{line}");
        }
    }

    #[test]
    fn what_the_json_says() {
        let account = "prod".parse().unwrap();
        let longest = identity(&format!("https://{}", "a".repeat(504)), &"a".repeat(512), &"a".repeat(128));
        let pem = format!("/{}", "a".repeat(1023));
        let read = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).unwrap();
        let bytes = json(&account, Some(Path::new(&pem)), &longest);
        assert_eq!(
            (bytes.capacity(), env(&account, Some(Path::new(&pem)), &longest).capacity()),
            (LONGEST, LONGEST)
        );
        let bytes = json(&account, None, &identity("https://conjur.example.org", ID, KEY));
        let expect = serde_json::json!({
            "schema": 1, "account": "prod", "appliance_url": "https://conjur.example.org",
            "login": format!("host/{ID}"), "api_key": KEY,
        });
        assert_eq!(read(&bytes), expect);
        assert_eq!(read(&json(&account, Some(Path::new("/p")), &longest))["cert_file"], "/p");
    }

    #[test]
    fn what_conf_says() {
        let (account, url) = ("prod".parse().unwrap(), "https://conjur.example.org".parse().unwrap());
        assert_eq!(
            conf(&account, &url, Some(Path::new("/etc/conjur.pem")), Path::new("/etc/conjur.identity")),
            "account: prod\nappliance_url: https://conjur.example.org\ncert_file: /etc/conjur.pem\nnetrc_path: /etc/conjur.identity\ncredential_storage: file\nplugins: []\n"
        );
        assert!(!conf(&account, &url, None, Path::new("/run/id")).contains("cert_file"));
        for (account, expect) in [
            ("prod", "prod"),
            ("p-1.x_y", "p-1.x_y"),
            ("007", "\"007\""),
            ("1e3", "\"1e3\""),
            ("0x1F", "\"0x1F\""),
            ("-", "\"-\""),
            ("_", "\"_\""),
            (".inf", "\".inf\""),
            ("Yes", "\"Yes\""),
            ("null", "\"null\""),
            ("2026-11-22", "\"2026-11-22\""),
        ] {
            assert_eq!(scalar(account), expect);
        }
    }
}

//! The files that Conjur's clients read: the identity (a netrc), `conjur.conf` and the CA bundle.
//!
//! They are written in the one form that every known reader takes: three lines, one machine, LF, no
//! quotes, no comments. Only that form is read back: anything else is another tool's, or damaged.

use imprint_core::name::{Account, ApplianceUrl, HostId};
use imprint_core::token::ApiKey;
use imprint_core::{Class, Classified};
use std::fmt::Write as _;
use std::path::Path;
use zeroize::Zeroizing;

/// The largest identity file that is read, in bytes.
pub const LARGEST: usize = 16 * 1024;

/// The longest identity file that is written, in bytes; a test compares it with the names' own caps.
pub const LONGEST: usize = 1300;

/// Host id and API key for one Conjur.
pub struct Identity {
    /// The Conjur that knows the host.
    pub appliance_url: ApplianceUrl,
    /// The host.
    pub host_id: HostId,
    /// Its API key.
    pub api_key: ApiKey,
}

/// Why bytes are not an identity file of our form. Never holds a byte of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// No bytes, or nothing but blanks.
    #[error("it is empty")]
    Empty,
    /// Something is wrong with a line, counted from 1.
    #[error("line {0} is not what imprint writes")]
    Line(usize),
    /// Entries that imprint did not write: of another machine, or more than one.
    #[error("it has entries that imprint did not write")]
    Others,
    /// It ends in the middle.
    #[error("it is cut off")]
    Truncated,
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Empty | Self::Line(_) | Self::Others | Self::Truncated => Class::Tampered,
        }
    }
}

impl Identity {
    /// The file's bytes.
    #[must_use]
    pub fn to_netrc(&self) -> Zeroizing<String> {
        // Reserved at once: growing would leave copies of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(LONGEST));
        let (machine, login) = (self.appliance_url.machine(), self.host_id.login());
        // Writing to a String cannot fail.
        let _always =
            write!(text, "machine {machine}\n    login {login}\n    password {}\n", self.api_key.expose());
        text
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// When they are anything but what [`Self::to_netrc`] writes; other indentation is taken.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Error::Empty);
        }
        // Before any damage is judged: what is damaged is made anew, what is another's never.
        if is_others(bytes) {
            return Err(Error::Others);
        }
        let mut lines = bytes.split_inclusive(|b| *b == b'\n');
        let mut value = |number: usize, keyword: &str| {
            let line = lines.next().ok_or(Error::Truncated)?;
            let text = std::str::from_utf8(line).map_err(|_| Error::Line(number))?;
            // Without its newline, the value itself may be cut.
            let text = text.strip_suffix('\n').ok_or(Error::Truncated)?;
            let text = text.trim_start_matches([' ', '\t']);
            text.strip_prefix(keyword).and_then(|rest| rest.strip_prefix(' ')).ok_or(Error::Line(number))
        };
        let machine = value(1, "machine")?;
        let login = value(2, "login")?;
        let password = value(3, "password")?;
        if lines.next().is_some() {
            return Err(Error::Line(4));
        }
        let url = machine.strip_suffix("/authn").ok_or(Error::Others)?;
        let appliance_url: ApplianceUrl = url.parse().map_err(|_| Error::Line(1))?;
        if appliance_url.as_str() != url {
            return Err(Error::Line(1));
        }
        let id = login.strip_prefix("host/").ok_or(Error::Others)?;
        Ok(Self {
            appliance_url,
            host_id: id.parse().map_err(|_| Error::Line(2))?,
            api_key: ApiKey::new(Zeroizing::new(password.to_owned())).map_err(|_| Error::Line(3))?,
        })
    }
}

/// Whether a netrc has anything that imprint did not write, judged word by word as its readers do: they
/// care neither for lines nor for what a comment hides. A beginning of our own form is none of it.
fn is_others(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // Its last word may be cut, unless a blank follows; then the last word here is empty.
    let mut words: Vec<&[u8]> = bytes.split(u8::is_ascii_whitespace).collect();
    let cut = words.pop().unwrap_or_default();
    words.retain(|word| !word.is_empty());
    let after = |keyword: &'static [u8]| {
        words
            .iter()
            .zip(words.iter().skip(1))
            .filter(move |(word, _)| **word == keyword)
            .map(|(_, next)| *next)
    };
    let machines = words.iter().chain([&cut]).filter(|word| **word == b"machine").count();
    // One line for a whole entry is a form that imprint never writes.
    let first = bytes.split(|b| *b == b'\n').find(|line| !line.iter().all(u8::is_ascii_whitespace));
    let in_one_line = first.is_some_and(|line| {
        line.split(u8::is_ascii_whitespace).any(|word| matches!(word, b"login" | b"password"))
    });
    machines > 1
        || words.iter().chain([&cut]).any(|word| matches!(*word, b"default" | b"macdef" | b"account"))
        || after(b"machine").any(|name| !name.ends_with(b"/authn"))
        || after(b"login").any(|login| !login.starts_with(b"host/"))
        || machines == 1 && in_one_line
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
    use proptest::prelude::*;

    const KEY: &str = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";

    fn identity(url: &str, id: &str, key: &str) -> Identity {
        Identity {
            appliance_url: url.parse().unwrap(),
            host_id: id.parse().unwrap(),
            api_key: ApiKey::new(Zeroizing::new(key.to_owned())).unwrap(),
        }
    }

    fn good() -> String {
        let id = "app/hosts/123456789012/eu-west-1/i-0123456789abcdef0";
        identity("https://conjur.example.org/api", id, KEY).to_netrc().to_string()
    }

    #[test]
    fn the_one_form() {
        assert_eq!(
            good(),
            format!(
                "machine https://conjur.example.org/api/authn\n    login host/app/hosts/123456789012/eu-west-1/i-0123456789abcdef0\n    password {KEY}\n"
            )
        );
        let longest = identity(&format!("https://{}", "a".repeat(504)), &"a".repeat(512), &"a".repeat(128));
        assert!(longest.to_netrc().len() <= LONGEST, "{}", longest.to_netrc().len());
    }

    #[test]
    fn what_is_read_back() {
        let check = |bytes: &[u8], expect: Option<Error>| {
            assert_eq!(Identity::parse(bytes).err(), expect, "{:?}", String::from_utf8_lossy(bytes));
        };
        let good = good();
        check(good.as_bytes(), None);
        check(good.replace("    ", "\t").as_bytes(), None);
        check(good.replace("    ", "").as_bytes(), None);
        check(b"", Some(Error::Empty));
        check(b" \n\n", Some(Error::Empty));
        check(format!("{good}{good}").as_bytes(), Some(Error::Others));
        check(format!("{good}default login x password y\n").as_bytes(), Some(Error::Others));
        check(b"machine github.com\n login me\n password secret\n", Some(Error::Others));
        check(good.replace("host/app", "admin").as_bytes(), Some(Error::Others));
        check(format!("{good}\n").as_bytes(), Some(Error::Line(4)));
        check(format!("# ours\n{good}").as_bytes(), Some(Error::Line(1)));
        check(format!("\u{feff}{good}").as_bytes(), Some(Error::Line(1)));
        check(good.replace('\n', "\r\n").as_bytes(), Some(Error::Others));
        check(good.replace("https", "http").as_bytes(), Some(Error::Line(1)));
        check(good.replace("/api/", "/api//").as_bytes(), Some(Error::Line(1)));
        check(good.replace("host/app", "host/a b").as_bytes(), Some(Error::Line(2)));
        check(good.replace("password ", "password  ").as_bytes(), Some(Error::Line(3)));
        check(good.replace("gh\n", "gh \n").as_bytes(), Some(Error::Line(3)));
        check(b"garbage", Some(Error::Truncated));
        check(&[0xff, 0xfe, b'\n'], Some(Error::Line(1)));
        check(&vec![0; LARGEST], Some(Error::Truncated));
        for end in 1..good.len() {
            assert!(Identity::parse(&good.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_another_program_wrote_is_known_however_it_looks() {
        let check = |text: &str, expect: Error| {
            assert_eq!(Identity::parse(text.as_bytes()).err(), Some(expect), "{text:?}");
        };
        let good = good();
        let conjurs = good.replace('\n', " ");
        for text in [
            "machine github.com login me password secret",
            "machine github.com login me password secret\n",
            "machine github.com\n",
            "machine github.com ",
            "machine\ngithub.com\nlogin me\n",
            "machine github.com # work\n  login me\n",
            "# mine\nmachine github.com\n  login me\n",
            "\n\n  machine github.com\n",
            "\u{feff}machine github.com\r\n",
            "machine \"https://conjur.example.org/authn\" login host/x password y\n",
            "machine https://conjur.example.org/authn login host/x password y\n",
            "machine https://conjur.example.org/authn\n    login admin\n    pass",
            "default login me password secret",
            "default",
            "macdef init\ncd /\n\n",
            "login me account x\n",
            conjurs.as_str(),
            &good.replace("login", "account"),
            &format!("{good}machine"),
            &format!("{good}machine github.com"),
            &format!("{good}macdef init\n"),
            &format!("{good}default"),
        ] {
            check(text, Error::Others);
        }
        // A part of our own form is damage.
        for text in ["machine", "machine ", "machine https://conj", "machine https://conjur.example.org/au"] {
            check(text, Error::Truncated);
        }
        for end in good.find("login").unwrap()..good.len() {
            check(&good[..end], Error::Truncated);
        }
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

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(
            id in "[A-Za-z0-9@+=_-]{1,20}(/[A-Za-z0-9@+=_-]{1,20}){0,4}",
            host in "[a-z0-9]{1,20}(\\.[a-z0-9]{1,10}){0,3}(:[1-9][0-9]{0,3})?(/[a-z]{1,8})?",
            key in "[A-Za-z0-9]{16,128}",
        ) {
            let url = format!("https://{host}");
            prop_assume!(url.parse::<ApplianceUrl>().is_ok() && id.parse::<HostId>().is_ok());
            let text = identity(&url, &id, &key).to_netrc();
            let Ok(again) = Identity::parse(text.as_bytes()) else { panic!("{}", *text) };
            prop_assert_eq!(again.appliance_url.as_str(), url.as_str());
            prop_assert_eq!(again.host_id.as_str(), id.as_str());
            prop_assert_eq!(again.api_key.expose(), key.as_str());
            prop_assert_eq!(text.capacity(), LONGEST);
        }

        #[test]
        fn what_is_read_writes_back_but_for_indentation(bytes in "[ -~\n\t]{0,200}|machine https://[a-z./]{1,20}/authn\n *login host/[a-z/]{1,9}\n *password [a-z]{10,30}\n?") {
            if let Ok(identity) = Identity::parse(bytes.as_bytes()) {
                let lines = |text: &str| text.lines().map(|l| l.trim_start().to_owned()).collect::<Vec<_>>();
                prop_assert_eq!(lines(&identity.to_netrc()), lines(&bytes));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _either = Identity::parse(&bytes);
        }
    }
}

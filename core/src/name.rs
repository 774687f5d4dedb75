//! The names that both programs share: account, host factory, branch, host, instance-id, appliance URL.
//!
//! Each is checked once, where it comes in, so that whatever is built from it (a path, a policy, an
//! S3 key, an IAM pattern, a netrc) needs no quoting and cannot be led astray.

use crate::error::{Class, Classified};
use std::fmt;
use std::net::IpAddr;
use url::{Host, Url};

/// Why a text is not a name of the kind asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} {text:?} {why}")]
pub struct Error {
    what: &'static str,
    text: String,
    why: &'static str,
}

impl Classified for Error {
    fn class(&self) -> Class {
        Class::Config
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(String);

        impl $name {
            /// The text, as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let check: fn(&str) -> Result<String, (&'static str, &'static str)> = $check;
                check(text).map(Self).map_err(|(what, why)| Error {
                    what,
                    // Enough to find it; a whole hostile text has no place in a log line.
                    text: text.chars().take(80).collect(),
                    why,
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A Conjur account, such as `prod`: `[A-Za-z0-9._-]+`, at most 64.
    Account,
    |text| path("account", text, 64, b"._-", "may have only letters, digits and . _ -")
);

name!(
    /// A host factory's identifier without account and kind, such as `app/web`:
    /// `[A-Za-z0-9._/-]+`, at most 256, so that no IAM wildcard can hide in one.
    FactoryId,
    |text| {
        path("host factory", text, 256, b"._/-", "may have only letters, digits and . _ / -")
    }
);

name!(
    /// The policy branch under which enrolled hosts live, such as `app/hosts`.
    Branch,
    |text| path("hosts branch", text, 256, b"._/-", "may have only letters, digits and . _ / -")
);

name!(
    /// A layer's identifier without account and kind, such as `app/nodes`.
    LayerId,
    |text| path("layer", text, 256, b"._/-", "may have only letters, digits and . _ / -")
);

name!(
    /// A host's identifier without account and kind, such as `app/hosts/123456789012/eu-west-1/i-0abc`.
    ///
    /// Conjur takes nearly anything; this takes what every reader of an identity file can carry
    /// (netrc parsers differ on quotes, `#` and spaces; `:` would break a Basic login).
    HostId,
    |text| {
        let (what, why) = ("host id", "may have only letters, digits and . _ / @ + = -");
        let id = path(what, text, 512, b"._/@+=-", why)?;
        if id.starts_with("conjur/") { Err((what, "may not start with conjur/")) } else { Ok(id) }
    }
);

name!(
    /// The id of an EC2 instance: `i-` and 1 to 30 of `[0-9a-z]`; or of a machine elsewhere, `m-` and as many.
    InstanceId,
    |text| {
        let rest = text.strip_prefix("i-").or_else(|| text.strip_prefix("m-")).unwrap_or_default();
        let plain = rest.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
        if (1..=30).contains(&rest.len()) && plain {
            Ok(text.to_owned())
        } else {
            Err(("instance-id", "is not one such as i-0123456789abcdef0"))
        }
    }
);

name!(
    /// Where Conjur answers, such as `https://conjur.example.org` or `https://conjur.example.org/api`.
    ///
    /// Kept byte for byte but for slashes at the end, since readers compare it with the machine of
    /// the identity file. `https` only; plain `http` is taken for a loopback address alone.
    ApplianceUrl,
    |text| {
        let what = "appliance URL";
        let kept = text.trim_end_matches('/');
        let fail = |why| Err((what, why));
        if kept.len() > 512 || !kept.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/[]~-".contains(&b)) {
            return fail("may have only letters, digits and . _ : / [ ] ~ -, at most 512 of them");
        }
        let Ok(url) = Url::parse(kept) else { return fail("is not a URL such as https://conjur.example.org") };
        // Looked for in the text, since the parser has already mended them away: a slash too few or too
        // many, and a port that is none, would be read otherwise by the next reader.
        let Some((_, rest)) = kept.split_once("://") else { return fail("must start with https://") };
        let authority = rest.split('/').next().unwrap_or_default();
        if authority.is_empty() || authority.ends_with(':') {
            return fail("names no server, or a port that is none");
        }
        if rest.contains("//") || rest.contains("/.") {
            return fail("has an empty or a dotted part in its path");
        }
        match (url.scheme(), url.host()) {
            ("https", Some(_)) => Ok(kept.to_owned()),
            ("http", Some(host)) if is_loopback(&host) => Ok(kept.to_owned()),
            ("http", _) => fail("must be https (plain http is taken for a loopback address alone)"),
            _ => fail("must start with https://"),
        }
    }
);

impl ApplianceUrl {
    /// The machine name of the identity file's entry: readers look for exactly this.
    #[must_use]
    pub fn machine(&self) -> String {
        format!("{}/authn", self.0)
    }
}

impl HostId {
    /// The name the host logs in with: `host/<id>`.
    #[must_use]
    pub fn login(&self) -> String {
        format!("host/{}", self.0)
    }
}

/// A full Conjur id: `account:kind:identifier`.
#[must_use]
pub fn full_id(account: &Account, kind: &str, id: &str) -> String {
    format!("{account}:{kind}:{id}")
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => IpAddr::V4(*ip).is_loopback(),
        Host::Ipv6(ip) => IpAddr::V6(*ip).is_loopback(),
    }
}

type Checked = Result<String, (&'static str, &'static str)>;

fn plain(what: &'static str, text: &str, most: usize, also: &[u8], why: &'static str) -> Checked {
    match text.len() {
        0 => Err((what, "is empty")),
        n if n > most => Err((what, "is too long")),
        _ if text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b)) => Ok(text.to_owned()),
        _ => Err((what, why)),
    }
}

fn path(what: &'static str, text: &str, most: usize, also: &[u8], why: &'static str) -> Checked {
    let checked = plain(what, text, most, also, why)?;
    if checked.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err((what, "has an empty, . or .. part between its slashes"));
    }
    Ok(checked)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: std::str::FromStr<Err = Error>>(good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(text.parse::<T>().is_ok(), "{text:?} should be taken");
        }
        for text in bad {
            assert!(text.parse::<T>().is_err(), "{text:?} should be refused");
        }
    }

    #[test]
    fn names() {
        check::<Account>(
            &["prod", "my.org_1-a"],
            &["", "a b", "a:b", "a/b", "é", ".", "..", &"a".repeat(65)],
        );
        check::<InstanceId>(
            &["i-0123456789abcdef0", "i-1a2b3c4d", "m-0123456789abcdef0"],
            &[
                "",
                "i-",
                "m-",
                "i-m-1",
                "i-0123 456",
                "i-../..",
                "i-0ABC",
                "mi-0abc",
                "i-0abc\n",
                &format!("i-{:031}", 0),
            ],
        );
        check::<FactoryId>(
            &["web", "app/web", "a.b/c_d-e"],
            &["", "/a", "a/", "a//b", "a/*", "a?", "../a", "a/./b", "a:b", "${x}"],
        );
        check::<HostId>(
            &["i-0abc", "app/hosts/123456789012/eu-west-1/i-0abc", "web@example.org", "a+b=c"],
            &[
                "",
                "a b",
                "a#b",
                "a\"b",
                "a\\b",
                "a\nb",
                "a:b",
                "é",
                "conjur/x",
                "/x",
                "a/../b",
                "a%2Fb",
                &"a".repeat(513),
            ],
        );
    }

    #[test]
    fn appliance_urls() {
        check::<ApplianceUrl>(
            &[
                "https://conjur.example.org",
                "https://conjur.example.org/api/",
                "https://conjur.example.org:8443",
                "http://127.0.0.1:80",
                "http://[::1]:8080",
                "http://localhost:3000",
                "https://[2001:db8::1]",
            ],
            &[
                "",
                "conjur.example.org",
                "http://conjur.example.org",
                "ftp://x",
                "https://u:p@x",
                "https://x?a",
                "https://x#a",
                "https://x y",
                "https://",
                "http://127.0.0.1.example.org",
                "http://localhost.example.org",
                "https://x/../y",
                "https://x//y",
                "https://x\n",
                "file:///etc",
                "https:x",
                "https:///x",
                "http:127.0.0.1",
                "https://localhost:",
                "https://x/%2e%2e/y",
                "https://x/a%00b",
            ],
        );
        let kept: ApplianceUrl = "https://conjur.example.org/api//".parse().unwrap();
        assert_eq!(
            (kept.as_str(), kept.machine().as_str()),
            ("https://conjur.example.org/api", "https://conjur.example.org/api/authn")
        );
    }

    #[test]
    fn a_refusal_names_the_text_but_not_all_of_it() {
        let error = "x y".repeat(1000).parse::<Account>().unwrap_err();
        assert!(error.to_string().len() < 200, "{error}");
        assert_eq!(
            "a b".parse::<Account>().unwrap_err().to_string(),
            "account \"a b\" may have only letters, digits and . _ -"
        );
    }
}

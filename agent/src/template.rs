//! [`Template`]: a text with placeholders for facts of the instance, for the host id and the
//! annotations.
//!
//! `{instance_id}`, `{account_id}`, `{region}`, `{hostname}`, `{private_ip}` and `{tag:Name}` are
//! known; anything else in braces is refused when the configuration is read, not at first boot.

use crate::facts::{Facts, InstanceId, Needs};
use imprint_core::name::HostId;
use imprint_core::{Class, Classified};
use std::fmt;
use std::str::FromStr;

/// The longest template and the longest annotation, in bytes.
const LONGEST: usize = 1024;

/// A text with placeholders.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Fact(Fact),
    Text(String),
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Fact {
    AccountId,
    Hostname,
    InstanceId,
    PrivateIp,
    Region,
    Tag(String),
}

/// Why a text is no template, or a template has no value on this instance.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The instance lacks a fact.
    #[error("{template:?} needs {fact}, which this instance does not have")]
    Absent {
        /// The template.
        template: String,
        /// The placeholder.
        fact: String,
    },
    /// A brace without its other half, or one inside another.
    #[error("has a brace without its other half")]
    Braces,
    /// The value would be a host id that not every reader of an identity file can carry.
    #[error("{template:?} does not give a usable host id")]
    HostId {
        /// The template.
        template: String,
        /// What is wrong with the id.
        #[source]
        source: imprint_core::name::Error,
    },
    /// Too long.
    #[error("is longer than {LONGEST} bytes")]
    Long,
    /// A placeholder that does not exist.
    #[error(
        "has {{{0}}}, which is none of {{instance_id}}, {{account_id}}, {{region}}, {{hostname}}, {{private_ip}}, {{tag:Name}}"
    )]
    Unknown(String),
    /// A value that an annotation cannot have.
    #[error("{0:?} gives a value with control characters, or one that is longer than {LONGEST} bytes")]
    Value(String),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Absent { .. }
            | Self::Braces
            | Self::HostId { .. }
            | Self::Long
            | Self::Unknown(_)
            | Self::Value(_) => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Absent { .. } => Some(
                "set the tag, and allow tags in instance metadata (InstanceMetadataTags=enabled), or change the template",
            ),
            Self::HostId { .. } => Some(
                "change the tag or host name, or use another placeholder in host_id: ids may have only letters, digits and . _ / @ + = -",
            ),
            Self::Value(_) => Some("change the tag, or leave it out of [annotations]"),
            Self::Braces | Self::Long | Self::Unknown(_) => None,
        }
    }
}

impl Template {
    /// The text as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether there is no placeholder at all, so that every instance would get the same.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        !self.parts.iter().any(|part| matches!(part, Part::Fact(_)))
    }

    /// Whether its own text could stand in a host id, whatever the facts turn out to be.
    ///
    /// # Errors
    /// When no instance at all could have that id.
    pub fn check_host_id(&self) -> Result<(), imprint_core::name::Error> {
        let sample = |part: &Part| match part {
            Part::Text(text) => text.clone(),
            Part::Fact(_) => "x".to_owned(),
        };
        self.parts.iter().map(sample).collect::<String>().parse::<HostId>().map(drop)
    }

    /// The facts that must be asked for.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let mut needs = Needs::default();
        for part in &self.parts {
            match part {
                Part::Fact(Fact::Hostname) => needs.hostname = true,
                Part::Fact(Fact::Tag(name)) => {
                    needs.tags.insert(name.clone());
                }
                Part::Fact(Fact::AccountId | Fact::InstanceId | Fact::PrivateIp | Fact::Region)
                | Part::Text(_) => {}
            }
        }
        needs
    }

    /// The instance that a host id of this template names; `None` when the id is none of this template, or
    /// names no instance. A text beside a placeholder in one part of the id is compared, what other
    /// placeholders stand for is not.
    #[must_use]
    pub fn instance_in(&self, host_id: &str) -> Option<InstanceId> {
        let mut found = None;
        let (ours, theirs) = (self.text.split('/'), host_id.split('/'));
        if ours.clone().count() != theirs.clone().count() {
            return None;
        }
        for (ours, theirs) in ours.zip(theirs) {
            let Some((before, rest)) = ours.split_once('{') else {
                if ours == theirs { continue } else { return None }
            };
            let (name, after) = rest.split_once('}')?;
            let value = theirs.strip_prefix(before)?.strip_suffix(after)?;
            if name == "instance_id" {
                found = Some(value.parse().ok()?);
            }
        }
        found
    }

    /// The host id of the instance with these facts.
    ///
    /// # Errors
    /// When a fact is missing, or the value is not a [`HostId`].
    pub fn host_id(&self, facts: &Facts) -> Result<HostId, Error> {
        // An empty tag is as good as none: every instance without a name would share what is left.
        let id = self.expand(facts, |value| !value.is_empty())?;
        id.parse().map_err(|source| Error::HostId { template: self.text.clone(), source })
    }

    /// The annotation of the instance with these facts.
    ///
    /// # Errors
    /// When a fact is missing, or the value has control characters or is too long.
    pub fn annotation(&self, facts: &Facts) -> Result<String, Error> {
        let value = self.expand(facts, |_| true)?;
        if value.len() > LONGEST || value.chars().any(char::is_control) {
            return Err(Error::Value(self.text.clone()));
        }
        Ok(value)
    }

    fn expand(&self, facts: &Facts, is_taken: fn(&str) -> bool) -> Result<String, Error> {
        let mut value = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Fact(fact) => {
                    value.push_str(&fact.of(facts).filter(|value| is_taken(value)).ok_or_else(|| {
                        Error::Absent { template: self.text.clone(), fact: fact.to_string() }
                    })?)
                }
            }
        }
        Ok(value)
    }
}

impl FromStr for Template {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() > LONGEST {
            return Err(Error::Long);
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, beyond) = after.split_once('}').ok_or(Error::Braces)?;
            if before.contains('}') || name.contains('{') {
                return Err(Error::Braces);
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Fact(name.parse()?));
            rest = beyond;
        }
        if rest.contains('}') {
            return Err(Error::Braces);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl Fact {
    fn of(&self, facts: &Facts) -> Option<String> {
        match self {
            Self::AccountId => facts.account_id.clone(),
            Self::Hostname => facts.hostname.clone(),
            Self::InstanceId => Some(facts.instance_id.to_string()),
            Self::PrivateIp => facts.private_ip.map(|ip| ip.to_string()),
            Self::Region => facts.region.clone(),
            Self::Tag(name) => facts.tags.get(name).cloned(),
        }
    }
}

impl FromStr for Fact {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        // What EC2 allows in the key of a tag that instance metadata shows.
        let tag = |key: &str| {
            (1..=128).contains(&key.len())
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-=._:@".contains(&b))
                && !matches!(key, "." | ".." | "_index")
        };
        match name {
            "account_id" => Ok(Self::AccountId),
            "hostname" => Ok(Self::Hostname),
            "instance_id" => Ok(Self::InstanceId),
            "private_ip" => Ok(Self::PrivateIp),
            "region" => Ok(Self::Region),
            _ => match name.strip_prefix("tag:") {
                Some(key) if tag(key) => Ok(Self::Tag(key.to_owned())),
                Some(_) | None => Err(Error::Unknown(name.chars().take(80).collect())),
            },
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountId => f.write_str("the account id"),
            Self::Hostname => f.write_str("a host name"),
            Self::InstanceId => f.write_str("the instance-id"),
            Self::PrivateIp => f.write_str("a private address"),
            Self::Region => f.write_str("the region"),
            Self::Tag(name) => write!(f, "the tag {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(tag: &str) -> Facts {
        Facts {
            account_id: Some("123456789012".to_owned()),
            hostname: Some("ip-10-0-0-5".to_owned()),
            image_id: None,
            instance_id: "i-0123456789abcdef0".parse().unwrap(),
            private_ip: Some("10.0.0.5".parse().unwrap()),
            region: Some("eu-west-1".to_owned()),
            tags: [("Name".to_owned(), tag.to_owned())].into(),
        }
    }

    #[test]
    fn host_ids() {
        let check = |template: &str, tag: &str, expect: Result<&str, &str>| {
            let id = template.parse::<Template>().and_then(|t| t.host_id(&facts(tag)));
            match (&id, expect) {
                (Ok(id), Ok(expect)) => assert_eq!(id.as_str(), expect),
                (Err(error), Err(say)) => {
                    let text = imprint_core::error::chain(error);
                    assert!(text.contains(say), "{text:?} should say {say:?}");
                    assert_eq!(error.class(), Class::Config);
                }
                (Ok(_), Err(_)) | (Err(_), Ok(_)) => {
                    panic!("{template:?} with {tag:?}: {id:?}, not {expect:?}")
                }
            }
        };
        check(
            "app/hosts/{account_id}/{region}/{instance_id}",
            "",
            Ok("app/hosts/123456789012/eu-west-1/i-0123456789abcdef0"),
        );
        check("app/{tag:Name}", "web-1", Ok("app/web-1"));
        check("app/{hostname}/{private_ip}", "", Ok("app/ip-10-0-0-5/10.0.0.5"));
        check("fixed", "", Ok("fixed"));
        check(
            "app/{tag:Name}-{instance_id}",
            "",
            Err("needs the tag Name, which this instance does not have"),
        );
        // What not every reader of an identity file could carry.
        let bad = [
            " ", "a b", "a\nb", "a\r", "../x", "..", "a/../b", "a#b", "a\"b", "a'b", "a\\b", "a:b", "é",
            "a%2Fb", "/a", "a/", "a//b", "{x}", "$(id)", "a\0b", "\u{202e}",
        ];
        for tag in bad {
            check("app/{tag:Name}", tag, Err("does not give a usable host id: host id \"app/"));
        }
        check("{tag:Name}", &"a".repeat(513), Err("is too long"));
        check("{tag:Name}", "conjur/x", Err("may not start with conjur/"));
        check("app/{tag:Role}", "", Err("needs the tag Role, which this instance does not have"));
        for template in ["a{", "a}", "{a{b}}", "}{", "{instance_id"] {
            check(template, "", Err("has a brace without its other half"));
        }
        for template in ["{}", "{instance-id}", "{tag:}", "{tag:a/b}", "{tag:..}", "{ region }", "{env:HOME}"]
        {
            check(template, "", Err("which is none of {instance_id}"));
        }
        check(&"a".repeat(1025), "", Err("is longer than 1024 bytes"));
    }

    #[test]
    fn whose_host_id_it_is() {
        let check = |template: &str, id: &str, expect: Option<&str>| {
            let instance = template.parse::<Template>().unwrap().instance_in(id);
            assert_eq!(instance.as_ref().map(InstanceId::as_str), expect, "{template:?} and {id:?}");
        };
        let default = "app/hosts/{account_id}/{region}/{instance_id}";
        check(default, "app/hosts/123456789012/eu-west-1/i-1", Some("i-1"));
        // An image may be copied to another region and account.
        check(default, "app/hosts/210987654321/us-east-1/i-1", Some("i-1"));
        check(default, "app/other/123456789012/eu-west-1/i-1", None);
        check(default, "app/hosts/123456789012/eu-west-1/web", None);
        check(default, "app/hosts/eu-west-1/i-1", None);
        check(default, "app/hosts/a/b/i-1/c", None);
        check("a/web-{instance_id}.x", "a/web-i-1.x", Some("i-1"));
        check("a/web-{instance_id}.x", "a/web-i-1", None);
        check("a/web-{instance_id}.x", "a/db-i-1.x", None);
        check("a/{tag:Name}", "a/web", None);
        // Two placeholders in one part cannot be told apart.
        check("a/{region}-{instance_id}", "a/eu-west-1-i-1", None);
        check("a/{instance_id}", "a/", None);
    }

    #[test]
    fn annotations() {
        let check = |template: &str, tag: &str, expect: Option<&str>| {
            let value = template.parse::<Template>().unwrap().annotation(&facts(tag));
            assert_eq!(value.ok().as_deref(), expect, "{template:?} with {tag:?}");
        };
        check("{tag:Name}", "any thing: \"é\" #1", Some("any thing: \"é\" #1"));
        check("{tag:Name}", "", Some(""));
        check("{tag:Name}", "a\nb", None);
        check("{tag:Name}", &"a".repeat(1025), None);
        check("{tag:Other}", "x", None);
        check("ec2 {region}", "x", Some("ec2 eu-west-1"));
    }

    #[test]
    fn only_what_is_named_is_asked_for() {
        let needs = |text: &str| text.parse::<Template>().unwrap().needs();
        assert_eq!(needs("a/{account_id}/{region}/{instance_id}/{private_ip}"), Needs::default());
        let both = needs("{hostname}/{tag:Name}").and(needs("{tag:Role}"));
        assert!(both.hostname);
        assert_eq!(both.tags, ["Name".to_owned(), "Role".to_owned()].into());
        assert!("app/db".parse::<Template>().unwrap().is_fixed());
        assert!(!"app/{hostname}".parse::<Template>().unwrap().is_fixed());
    }

    proptest! {
        #[test]
        fn whatever_a_tag_says_the_id_is_one_or_refused(tag in "\\PC{0,40}|[ -~\n\r\t]{0,40}") {
            if let Ok(id) = "a/{tag:Name}/b".parse::<Template>().unwrap().host_id(&facts(&tag)) {
                prop_assert!(id.as_str().starts_with("a/") && id.as_str().ends_with("/b"));
                prop_assert!(!id.as_str().contains(|c: char| c.is_whitespace() || "\"'#\\:".contains(c)));
                prop_assert!(!id.as_str().split('/').any(|part| part == ".."));
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}|[{}a-z:_]{0,30}") {
            let _either = text.parse::<Template>();
        }
    }
}

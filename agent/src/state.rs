//! What the agent remembers between runs: `state.json` in the state directory.
//!
//! It says for which instance, host id and configuration the identity on disk was made, whether that
//! run came to its end, and how the last verify and the last failure went. It never holds a secret.
//! A state that cannot be read is like none at all: what it told is found out anew.

use crate::facts::InstanceId;
use crate::store::{self, Disk, Target, Writable};
use imprint_core::Classified;
use imprint_core::caller::RunId;
use imprint_core::error::chain;
use imprint_core::name::HostId;
use imprint_core::second::Second;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The format that is written, and the only one that is read.
const VERSION: u32 = 1;

/// The largest state that is read, in bytes.
const LARGEST: usize = 16 * 1024;

/// How far the last enrollment came.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The identity on disk was proved.
    Enrolled,
    /// It began; whether its redeem was carried out is not known.
    Enrolling,
    /// The identity was proved, and its key was about to be replaced by `rotate-key`; whether it was is
    /// not known.
    Rotating,
}

/// The parts of the configuration that an identity is made for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct MadeFor {
    /// Conjur account.
    pub account: String,
    /// Appliance URL.
    pub appliance_url: String,
    /// Host factory id.
    pub host_factory: String,
    /// The template of the host id.
    pub host_id: String,
}

/// A host at a Conjur.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// Appliance URL.
    pub appliance_url: String,
    /// Host id.
    pub host_id: String,
}

/// What an identity is about to become.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Promoting {
    /// The promoted host.
    pub host_id: String,
    /// The configuration that it is made for: that of the promotion.
    pub made_for: MadeFor,
    /// Fingerprint of the token that was redeemed for it.
    pub token: String,
}

/// The last failure of `enroll`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// When.
    #[serde(with = "second")]
    pub at: Second,
    /// Its class.
    pub class: String,
    /// What and why.
    pub what: String,
    /// What to do.
    pub hint: Option<String>,
    /// The run that failed, as servers saw it.
    #[serde(default)]
    pub attempt_id: Option<String>,
}

/// The last time that the identity was shown to Conjur.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Verified {
    /// When.
    #[serde(with = "second")]
    pub at: Second,
    /// `ok`, or the class of what went wrong.
    pub outcome: String,
}

/// The state.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    version: u32,
    /// The instance that the identity is for.
    pub instance_id: String,
    /// The host that was or is to be made.
    pub host_id: String,
    /// The configuration that it is made for.
    pub made_for: MadeFor,
    /// How far it came.
    pub phase: Phase,
    /// The run that came there, as servers saw it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<String>,
    /// When that phase was reached.
    #[serde(with = "second")]
    pub since: Second,
    /// While enrolling: the identity on the disk was made for another configuration, perhaps for another
    /// factory, so that it must not be kept only because it authenticates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_redeem: bool,
    /// While enrolling: the host whose identity lay on the disk and is to be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Replaced>,
    /// Whether the identity came by a promotion. It is then kept whatever `[promotion]` says by now: the token
    /// that made it is gone, and no configuration brings another.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub promoted: bool,
    /// While promoting: what the identity that was proved is about to take the disk for. Which of the two lies
    /// there, its host id tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoting: Option<Promoting>,
    /// When Conjur was first seen not to take the key any more; while enrolling, that it took none of the keys
    /// that it gave.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_second")]
    pub key_died_at: Option<Second>,
    /// When a key that had died was last replaced.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_second")]
    pub re_enrolled_at: Option<Second>,
    /// Fingerprint of the token that was redeemed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When the last token that was used had been sealed: an older one later is worth an event.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_second")]
    pub token_issued_at: Option<Second>,
    /// The last verify.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verify: Option<Verified>,
    /// The last failed enrollment since one ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
}

/// What stands in the place of the state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// A good one.
    Good(Box<State>),
    /// Nothing.
    Missing,
    /// Something that is none, with the reason.
    Unreadable(String),
}

impl Found {
    /// The state, if there is a good one.
    #[must_use]
    pub fn good(&self) -> Option<&State> {
        match self {
            Self::Good(state) => Some(state),
            Self::Missing | Self::Unreadable(_) => None,
        }
    }
}

impl Failure {
    /// Of an error, in this run, at this time.
    #[must_use]
    pub fn of(error: &impl Classified, attempt: &RunId, at: Second) -> Self {
        Self {
            at,
            class: error.class().to_string(),
            what: chain(error).chars().take(500).collect(),
            hint: error.hint().map(ToOwned::to_owned),
            attempt_id: Some(attempt.to_string()),
        }
    }
}

impl State {
    /// The note of an enrollment that is about to begin.
    #[must_use]
    pub fn enrolling(
        instance: &InstanceId,
        host: &HostId,
        made_for: MadeFor,
        attempt: &RunId,
        now: Second,
    ) -> Self {
        Self {
            version: VERSION,
            instance_id: instance.to_string(),
            host_id: host.to_string(),
            made_for,
            phase: Phase::Enrolling,
            attempt_id: Some(attempt.to_string()),
            since: now,
            must_redeem: false,
            replaces: None,
            promoted: false,
            promoting: None,
            key_died_at: None,
            re_enrolled_at: None,
            token: None,
            token_issued_at: None,
            last_verify: None,
            last_failure: None,
        }
    }

    /// Whether an identity of this host at this Conjur is one that imprint made, or was about to replace.
    #[must_use]
    pub fn is_of(&self, host_id: &str, appliance_url: &str) -> bool {
        let made = self.host_id == host_id && self.made_for.appliance_url == appliance_url;
        let replaced = |it: &Replaced| it.host_id == host_id && it.appliance_url == appliance_url;
        made || self.replaces.as_ref().is_some_and(replaced) || self.is_promoting_to(host_id, appliance_url)
    }

    /// Whether an identity of this host at this Conjur is the one of a promotion that was cut off.
    #[must_use]
    pub fn is_promoting_to(&self, host_id: &str, appliance_url: &str) -> bool {
        let it = |to: &Promoting| to.host_id == host_id && to.made_for.appliance_url == appliance_url;
        self.promoting.as_ref().is_some_and(it)
    }

    /// From now on it tells of the promoted identity, which lies on the disk.
    pub fn promote(&mut self, to: Promoting, now: Second) {
        self.promoting = None;
        self.promoted = true;
        (self.host_id, self.made_for, self.token) = (to.host_id, to.made_for, Some(to.token));
        (self.phase, self.since) = (Phase::Enrolled, now);
        // The next token is of the unprivileged factory, and what is known of this one's age says nothing of it.
        self.token_issued_at = None;
        self.key_died_at = None;
    }

    /// Writes it into `directory`, durably.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, disk: &impl Disk, directory: &Path) -> Result<(), store::Error> {
        // Texts, numbers and times always serialize.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        store::put(disk, &target(directory), &bytes)
    }
}

/// Reads the state of `directory`.
///
/// # Errors
/// When the disk cannot be read. What is there and no state is no error but [`Found::Unreadable`].
pub fn read(directory: &Path) -> Result<Found, store::Error> {
    let path = target(directory).path;
    match store::read(&path, LARGEST) {
        Ok(None) => Ok(Found::Missing),
        Ok(Some(bytes)) => Ok(found(&bytes)),
        Err(store::Error::Large { most, .. }) => {
            Ok(Found::Unreadable(format!("it has more than {most} bytes")))
        }
        Err(error) => Err(error),
    }
}

/// What these bytes are: a state, or why they are none, in words that hold no part of them.
#[must_use]
pub fn found(bytes: &[u8]) -> Found {
    match serde_json::from_slice::<State>(bytes) {
        Ok(state) if state.version == VERSION => Found::Good(Box::new(state)),
        Ok(state) => Found::Unreadable(format!("it has version {}, not {VERSION}", state.version)),
        Err(error) => Found::Unreadable(format!(
            "it is not what imprint writes (line {}, column {})",
            error.line(),
            error.column()
        )),
    }
}

/// Proves that `directory` takes a state of any size.
///
/// # Errors
/// When it does not.
pub fn prove_writable<'a, D: Disk>(disk: &'a D, directory: &Path) -> Result<Writable<'a, D>, store::Error> {
    store::prove_writable(disk, &target(directory), LARGEST)
}

/// Where it is, in the state directory.
#[must_use]
pub fn path(directory: &Path) -> PathBuf {
    directory.join("state.json")
}

fn target(directory: &Path) -> Target {
    Target { path: path(directory), mode: 0o600, owner: None, group: None, label: None }
}

mod second {
    use imprint_core::second::Second;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(second: &Second, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(second)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Second, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

mod maybe_second {
    use imprint_core::second::Second;
    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "serde asks for this form")]
    pub(super) fn serialize<S: Serializer>(second: &Option<Second>, to: S) -> Result<S::Ok, S::Error> {
        match second {
            Some(second) => to.collect_str(second),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Second>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let made_for = MadeFor {
            account: "prod".to_owned(),
            appliance_url: "https://conjur.example.org".to_owned(),
            host_factory: "app/web".to_owned(),
            host_id: "app/hosts/{instance_id}".to_owned(),
        };
        let (instance, host) =
            ("i-0123456789abcdef0".parse().unwrap(), "app/hosts/i-0123456789abcdef0".parse().unwrap());
        let now = "2026-11-22T08:00:00Z".parse().unwrap();
        let attempt = RunId::new(now, 1);
        State::enrolling(&instance, &host, made_for, &attempt, now)
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()), Ok(Found::Missing));
        let mut written = state();
        written.write(&store::Real, dir.path()).unwrap();
        assert_eq!(read(dir.path()), Ok(Found::Good(Box::new(written.clone()))));
        written.phase = Phase::Enrolled;
        written.token = Some("ba7816bf8f01".to_owned());
        written.token_issued_at = Some(written.since);
        written.last_verify = Some(Verified { at: written.since, outcome: "ok".to_owned() });
        written.last_failure = Some(Failure {
            at: written.since,
            class: "transient".into(),
            what: "w".into(),
            hint: None,
            attempt_id: None,
        });
        written.write(&store::Real, dir.path()).unwrap();
        assert_eq!(read(dir.path()), Ok(Found::Good(Box::new(written))));
    }

    #[test]
    fn anything_else_is_unreadable_and_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let good = serde_json::to_string(&state()).unwrap();
        let check = |text: &str, say: &str| {
            std::fs::write(dir.path().join("state.json"), text).unwrap();
            match read(dir.path()).unwrap() {
                Found::Unreadable(why) => assert!(why.contains(say), "{why}"),
                other => panic!("{text}: {other:?}"),
            }
        };
        check("", "line 1");
        check("null", "not what imprint writes");
        check(&good[..good.len() / 2], "not what imprint writes");
        check(&good.replace("\"version\":1", "\"version\":2"), "version 2, not 1");
        check(&good.replace("enrolling", "done"), "not what imprint writes");
        check(&good.replace("2026-11-22T08:00:00Z", "soon"), "not what imprint writes");
        check(&good.replace("\"phase\"", "\"phases\""), "not what imprint writes");
        check(&" ".repeat(LARGEST + 1), "more than 16384 bytes");
    }
}

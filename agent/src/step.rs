//! What an enrollment has to do: pure functions of what is known.
//!
//! [`next_step`] decides on what lies on the disk and the instance-id, without asking anybody;
//! [`check_host`] judges the host id once the facts are known, before anything is redeemed.

use crate::config::{Config, ReEnroll};
use crate::facts::InstanceId;
use crate::identity;
use crate::state::{Found, MadeFor, Phase, State};
use crate::template::Template;
use imprint_core::name::HostId;
use imprint_core::second::Second;
use imprint_core::{Class, Classified};
use std::time::Duration;

/// How often a key that died is replaced without a person: once in this time.
const RE_ENROLL_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What stands in the place of the identity file, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OnDisk {
    /// A good one, of this host at this Conjur.
    Good {
        /// The appliance URL.
        appliance_url: String,
        /// The host id.
        host_id: String,
    },
    /// Nothing.
    Missing,
    /// Something that no client could use.
    Unusable(identity::Error),
}

/// All that the first decision is made of.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// This instance; `None` when neither firmware nor metadata service told.
    pub here: Option<&'a InstanceId>,
    /// What the identity shall be made for.
    pub wanted: &'a MadeFor,
    /// What the host shall be called.
    pub template: &'a Template,
    /// What an earlier run left.
    pub state: &'a Found,
    /// What lies at the identity's path.
    pub identity: &'a OnDisk,
    /// What the configuration and the operator say.
    pub rules: Rules,
    /// The wall clock.
    pub now: Second,
}

/// What the configuration and the operator say of the cases that nobody decides for them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rules {
    /// Whether a key that died is replaced without a person.
    pub re_enroll: ReEnroll,
    /// Re-enrollments before this do not count.
    pub lifted_at: Option<Second>,
    /// What the operator says this once.
    pub wishes: Wishes,
}

/// What an operator says on the command line, for one run.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wishes {
    /// Show the identity to Conjur and replace its key if it is dead, however often that was.
    pub again: bool,
    /// Take a host that another instance has, or may have: its key dies.
    pub take_over: bool,
}

impl Rules {
    /// Of a configuration and a command line.
    #[must_use]
    pub const fn new(config: &Config, wishes: Wishes) -> Self {
        Self { re_enroll: config.re_enroll, lifted_at: config.re_enroll_lifted_at, wishes }
    }
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Redeem and store.
    Enroll(Why),
    /// The identity is another instance's: remove it, then enroll as oneself.
    EnrollAsOneself {
        /// The instance it was made for.
        parent: String,
    },
    /// All is well.
    Nothing,
    /// Stop before anything is changed.
    Refuse(Refusal),
}

/// Why an enrollment is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// An operator wants the key shown to Conjur, and replaced if it is dead.
    Asked,
    /// The configuration asks for another host, factory, account or Conjur.
    ConfigChanged,
    /// Neither state nor identity.
    FirstBoot,
    /// The identity is gone or damaged.
    IdentityLost,
    /// An earlier run did not come to its end.
    Interrupted,
    /// Conjur does not take the key any more.
    KeyDied,
    /// A rotation of the key did not come to its end: the new key may be lost, and the old one dead.
    RotationInterrupted,
    /// The state is gone or damaged, so whose identity it is will be seen from its host id.
    StateLost,
}

/// Why nothing may be done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The file holds an identity that imprint did not make for this host.
    #[error("the identity file is of {found}, not of {own}")]
    Foreign {
        /// The host in the file.
        found: String,
        /// The host that it should be.
        own: String,
    },
    /// The key is dead, and the configuration leaves that to a person.
    #[error("Conjur does not take the key of {host} any more, since {since} at the latest")]
    KeyDead {
        /// The id.
        host: String,
        /// When it was seen.
        since: Second,
    },
    /// The host id is the one of the instance that this one was cloned from.
    #[error("the host id {host} is that of {parent}, from whose image this instance was made")]
    ParentsHost {
        /// The id.
        host: String,
        /// The other instance.
        parent: String,
    },
    /// The file holds something of another program, and is not ours to edit.
    #[error("the identity file is left alone: {0}")]
    Shared(identity::Error),
    /// The key died again within a day.
    #[error("two parties hold the host id {host}: its key died again after it was replaced at {replaced}")]
    TwoParties {
        /// The id.
        host: String,
        /// When imprint last replaced it.
        replaced: Second,
    },
    /// Without a state, and with a host id that does not name the instance, the identity may as well be
    /// that of the instance that this one was cloned from.
    #[error(
        "nobody can tell whether the identity of {host} is this instance's or that of one it was cloned from"
    )]
    Unclear {
        /// The id.
        host: String,
    },
}

impl Classified for Refusal {
    fn class(&self) -> Class {
        match self {
            Self::Foreign { .. } | Self::Shared(_) | Self::TwoParties { .. } => Class::Tampered,
            Self::KeyDead { .. } => Class::Refused,
            Self::ParentsHost { .. } | Self::Unclear { .. } => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Foreign { .. } => {
                "if that identity is of no use any more, remove the file and run imprint enroll again"
            }
            Self::KeyDead { .. } => {
                "find out who redeemed or rotated it, or whether the host was removed; then run imprint enroll --again"
            }
            Self::ParentsHost { .. } => {
                "use {instance_id} in host_id; if the other instance is gone for good, run imprint enroll --take-over"
            }
            Self::Shared(_) => "set another path as [files] identity, or mend or remove the file",
            Self::TwoParties { .. } => {
                "find the other party: a clone, a copy of the token, a person; then run imprint enroll --again, or for a fleet set re_enroll_lifted_at"
            }
            Self::Unclear { .. } => {
                "if no other instance uses that host, run imprint enroll --take-over; with {instance_id} in host_id this can be told"
            }
        })
    }
}

impl Why {
    /// For a log line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "--again asks whether the key still works",
            Self::ConfigChanged => "the configuration has changed",
            Self::FirstBoot => "first boot",
            Self::IdentityLost => "the identity is missing or damaged",
            Self::Interrupted => "an earlier run did not come to its end",
            Self::KeyDied => "Conjur does not take the key any more",
            Self::RotationInterrupted => "a rotation of the key did not come to its end",
            Self::StateLost => "the state is missing or damaged",
        }
    }
}

/// Decides what to do. One row for each case:
///
/// | state | instance | configuration | identity | step |
/// |---|---|---|---|---|
/// | any | any | any | another program's | refuse: shared |
/// | none, unreadable | any | any | of this template, names another instance | enroll as oneself |
/// | none | any | any | missing | enroll: first boot |
/// | none | any | any | damaged | enroll: identity lost |
/// | none, unreadable | any | any | good, else missing or damaged | enroll: state lost |
/// | any phase | another | any | any | enroll as oneself |
/// | any phase | same or not known | changed | any | enroll: configuration changed |
/// | enrolling | same or not known | same | any | enroll: interrupted |
/// | rotating | same or not known | same | any | enroll: rotation interrupted |
/// | enrolled | same or not known | same | missing, damaged | enroll: identity lost |
/// | enrolled | same or not known | same | another host's | refuse: foreign |
/// | enrolling, no key authenticated | same or not known | same | good | as enrolled, key dead |
/// | enrolled, key alive | same or not known | same | good | nothing |
/// | enrolled, key alive, `--again` | same or not known | same | good | enroll: asked, so the key is shown to Conjur |
/// | enrolled, key dead | same or not known | same | good | enroll: key died; refuse when replaced within a day, or never to be |
#[must_use]
pub fn next_step(known: &Known<'_>) -> Step {
    // Another program's entries are never overwritten, whatever we remember.
    if let OnDisk::Unusable(error) = known.identity
        && error.is_anothers()
    {
        return Step::Refuse(Refusal::Shared(*error));
    }
    let state = match known.state {
        Found::Good(state) => state,
        Found::Missing | Found::Unreadable(_) => return without_a_state(known),
    };
    if let Some(here) = known.here
        && here.as_str() != state.instance_id
    {
        return Step::EnrollAsOneself { parent: state.instance_id.clone() };
    }
    if state.made_for != *known.wanted {
        return Step::Enroll(Why::ConfigChanged);
    }
    match (state.phase, known.identity) {
        // Its run came to an end, with a key that was dead at once: no run goes on from there by itself.
        (Phase::Enrolling, OnDisk::Good { appliance_url, host_id })
            if state.key_died_at.is_some()
                && *host_id == state.host_id
                && *appliance_url == state.made_for.appliance_url =>
        {
            with_its_key(state, known)
        }
        (Phase::Enrolling, _) => Step::Enroll(Why::Interrupted),
        (Phase::Rotating, _) => Step::Enroll(Why::RotationInterrupted),
        (Phase::Enrolled, OnDisk::Missing | OnDisk::Unusable(_)) => Step::Enroll(Why::IdentityLost),
        (Phase::Enrolled, OnDisk::Good { appliance_url, host_id }) => {
            if *host_id == state.host_id && *appliance_url == state.made_for.appliance_url {
                with_its_key(state, known)
            } else {
                Step::Refuse(foreign(host_id, appliance_url, &state.host_id, &state.made_for.appliance_url))
            }
        }
    }
}

fn without_a_state(known: &Known<'_>) -> Step {
    // An image that was baked without the state, but with its parent's identity.
    if let OnDisk::Good { appliance_url, host_id } = known.identity
        && *appliance_url == known.wanted.appliance_url
        && let Some(parent) = known.template.instance_in(host_id)
        && known.here.is_some_and(|here| *here != parent)
    {
        return Step::EnrollAsOneself { parent: parent.to_string() };
    }
    Step::Enroll(match (known.identity, known.state) {
        (OnDisk::Good { .. }, _) | (_, Found::Unreadable(_)) => Why::StateLost,
        (OnDisk::Missing, _) => Why::FirstBoot,
        (OnDisk::Unusable(_), _) => Why::IdentityLost,
    })
}

/// A key that stops working is a sign that somebody else holds the id: once a day it is replaced
/// without a person, the second time that would only hide it.
fn with_its_key(state: &State, known: &Known<'_>) -> Step {
    let Rules { re_enroll, lifted_at, wishes } = known.rules;
    let Some(since) = state.key_died_at else {
        // Whoever asks wants to know: it is shown to Conjur, and kept if it is taken.
        return if wishes.again { Step::Enroll(Why::Asked) } else { Step::Nothing };
    };
    if wishes.again {
        return Step::Enroll(Why::KeyDied);
    }
    let host = state.host_id.clone();
    let counts = |at: &Second| lifted_at.is_none_or(|lifted| *at > lifted) && is_within_a_day(*at, known.now);
    match (re_enroll, state.re_enrolled_at.filter(counts)) {
        (ReEnroll::Daily, None) => Step::Enroll(Why::KeyDied),
        (ReEnroll::Daily, Some(replaced)) => Step::Refuse(Refusal::TwoParties { host, replaced }),
        (ReEnroll::Never, _) => Step::Refuse(Refusal::KeyDead { host, since }),
    }
}

/// In either direction, since a clock may be set back; a time far ahead is a clock that was wrong.
fn is_within_a_day(at: Second, now: Second) -> bool {
    now.since(at).max(at.since(now)) < RE_ENROLL_AFTER
}

/// Judges the host id that the facts give, against what lies on the disk.
///
/// # Errors
/// When it is the cloned image's parent's, or the identity on disk is somebody else's.
pub fn check_host(step: &Step, own: &HostId, known: &Known<'_>) -> Result<(), Refusal> {
    let OnDisk::Good { appliance_url, host_id } = known.identity else {
        return check_parent(step, own, known);
    };
    let is_own = host_id == own.as_str() && *appliance_url == known.wanted.appliance_url;
    match step {
        Step::Enroll(why) => {
            // What an earlier run made, or was about to replace, is imprint's to replace.
            let is_ours = matches!(known.state, Found::Good(state) if state.is_of(host_id, appliance_url));
            if !is_own && !is_ours {
                return Err(foreign(host_id, appliance_url, own.as_str(), &known.wanted.appliance_url));
            }
            if *why == Why::StateLost
                && !known.wanted.host_id.contains("{instance_id}")
                && !known.rules.wishes.take_over
            {
                return Err(Refusal::Unclear { host: own.to_string() });
            }
            Ok(())
        }
        Step::EnrollAsOneself { .. } | Step::Nothing | Step::Refuse(_) => check_parent(step, own, known),
    }
}

fn check_parent(step: &Step, own: &HostId, known: &Known<'_>) -> Result<(), Refusal> {
    match (step, known.state) {
        (Step::EnrollAsOneself { parent }, Found::Good(state))
            if state.host_id == own.as_str() && !known.rules.wishes.take_over =>
        {
            Err(Refusal::ParentsHost { host: own.to_string(), parent: parent.clone() })
        }
        (Step::Enroll(_) | Step::EnrollAsOneself { .. } | Step::Nothing | Step::Refuse(_), _) => Ok(()),
    }
}

/// Whether the identity on the disk may be kept if it authenticates: it is of exactly this host, and an
/// earlier run, or another tool, may have come far enough to store it. Asked after [`check_host`], which
/// refuses what may be a parent's.
#[must_use]
pub fn may_be_adopted(step: &Step, known: &Known<'_>, own: &HostId) -> bool {
    let is_own = matches!(
        known.identity,
        OnDisk::Good { appliance_url, host_id }
            if host_id == own.as_str() && *appliance_url == known.wanted.appliance_url
    );
    let must_redeem = matches!(known.state, Found::Good(state) if state.must_redeem);
    // Whoever takes a host over wants its other holder's key dead.
    let shared = !known.wanted.host_id.contains("{instance_id}") && known.rules.wishes.take_over;
    match step {
        Step::Enroll(Why::Asked | Why::Interrupted | Why::KeyDied | Why::RotationInterrupted) => {
            is_own && !must_redeem
        }
        Step::Enroll(Why::StateLost) => is_own && !shared,
        Step::Enroll(Why::ConfigChanged | Why::FirstBoot | Why::IdentityLost)
        | Step::EnrollAsOneself { .. }
        | Step::Nothing
        | Step::Refuse(_) => false,
    }
}

/// Whether an identity is there that a missing answer must not cost.
#[must_use]
pub fn is_kept_without_an_answer(known: &Known<'_>) -> bool {
    let enrolled = |state: &State| state.phase == Phase::Enrolled;
    matches!(known.state, Found::Good(state) if enrolled(state)) && next_step(known) == Step::Nothing
}

fn foreign(found: &str, at: &str, own: &str, own_at: &str) -> Refusal {
    Refusal::Foreign { found: format!("{found} at {at}"), own: format!("{own} at {own_at}") }
}

#[cfg(test)]
mod tests;

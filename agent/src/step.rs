//! What an enrollment has to do: pure functions of what is known.
//!
//! [`next_step`] decides on what lies on the disk and the instance-id, without asking anybody;
//! [`check_host`] judges the host id once the facts are known, before anything is redeemed.

mod refusal;

pub use refusal::Refusal;

use crate::config::{Config, ReEnroll};
use crate::facts::InstanceId;
use crate::identity;
use crate::state::{Found, MadeFor, Phase, State};
use crate::template::Template;
use imprint_core::name::HostId;
use imprint_core::second::Second;
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
    /// What it shall be called once it is promoted; `None` without a `[promotion]`.
    pub promotion: Option<&'a Template>,
    /// What an earlier run left.
    pub state: &'a Found,
    /// What lies at the identity's path.
    pub identity: &'a OnDisk,
    /// The instance on which an image is being made, when `imprint forget --bake` has noted one.
    pub baked_on: Option<&'a InstanceId>,
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
    /// Show the promoted identity on the disk to Conjur, and note what it says.
    ShowPromoted,
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
    /// Conjur does not take the promoted key any more, and the token that it came from is gone.
    PromotedKeyDied,
    /// A rotation of the key did not come to its end: the new key may be lost, and the old one dead.
    RotationInterrupted,
    /// The state is gone or damaged, so whose identity it is will be seen from its host id.
    StateLost,
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
            Self::PromotedKeyDied => "Conjur does not take the promoted key any more",
            Self::RotationInterrupted => "a rotation of the key did not come to its end",
            Self::StateLost => "the state is missing or damaged",
        }
    }
}

/// Decides what to do. One row for each case:
///
/// | state | instance | configuration | identity | step |
/// |---|---|---|---|---|
/// | any | an image is being baked on it | any | any | refuse: bake |
/// | any | any | any | another program's | refuse: shared |
/// | none, unreadable | any | any | of this template, names another instance | enroll as oneself |
/// | none | any | any | missing | enroll: first boot |
/// | none | any | any | damaged | enroll: identity lost |
/// | none, unreadable | any | any | good, else missing or damaged | enroll: state lost |
/// | any phase | another | any | any | enroll as oneself |
/// | none, unreadable | this one | any | good, of the promotion's template | show it |
/// | promoting | same or not known | same Conjur | good, the promoted host's | show it |
/// | promoting | same or not known | any | the former host's | as before the promotion |
/// | promoted | same or not known | another Conjur or account | any | enroll: configuration changed |
/// | promoted | same or not known | same Conjur, whatever `[promotion]` says | missing, damaged | enroll: identity lost |
/// | promoted | same or not known | same Conjur | another host's | refuse: foreign |
/// | promoted, key alive | same or not known | same Conjur | good | nothing |
/// | promoted and rotating, or `--again` | same or not known | same Conjur | good | show it |
/// | promoted, key dead | same or not known | same Conjur | good | enroll: promoted key died; refuse as below |
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
    // Before all else, since whatever lies here goes into the image.
    if let (Some(here), Some(baked_on)) = (known.here, known.baked_on)
        && here == baked_on
    {
        return Step::Refuse(Refusal::Bake { instance: here.to_string() });
    }
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
    let is_known_there = |made_for: &MadeFor| {
        made_for.account == known.wanted.account && made_for.appliance_url == known.wanted.appliance_url
    };
    if let OnDisk::Good { appliance_url, host_id } = known.identity
        && state.is_promoting_to(host_id, appliance_url)
        && state.promoting.as_ref().is_some_and(|to| is_known_there(&to.made_for))
    {
        return Step::ShowPromoted;
    }
    if state.promoted && is_known_there(&state.made_for) {
        return with_a_promotion(state, known);
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

/// A promoted identity is as good as any, and dearer: it came by a token that is gone, so no change of the
/// configuration replaces it but another Conjur. What becomes of its host, others decide at Conjur.
fn with_a_promotion(state: &State, known: &Known<'_>) -> Step {
    let OnDisk::Good { appliance_url, host_id } = known.identity else {
        return Step::Enroll(Why::IdentityLost);
    };
    if *host_id != state.host_id || *appliance_url != state.made_for.appliance_url {
        return Step::Refuse(foreign(host_id, appliance_url, &state.host_id, &state.made_for.appliance_url));
    }
    match (state.phase, with_its_key(state, known)) {
        (Phase::Enrolling | Phase::Rotating, _) | (Phase::Enrolled, Step::Enroll(Why::Asked)) => {
            Step::ShowPromoted
        }
        (Phase::Enrolled, Step::Enroll(_)) => Step::Enroll(Why::PromotedKeyDied),
        (Phase::Enrolled, step) => step,
    }
}

fn without_a_state(known: &Known<'_>) -> Step {
    if let OnDisk::Good { appliance_url, host_id } = known.identity
        && *appliance_url == known.wanted.appliance_url
        && let Some(here) = known.here
    {
        let of = |template: &Template| template.instance_in(host_id);
        match (of(known.template), known.promotion.and_then(of)) {
            // An image that was baked without the state, but with its parent's identity.
            (Some(parent), _) | (None, Some(parent)) if parent != *here => {
                return Step::EnrollAsOneself { parent: parent.to_string() };
            }
            (None, Some(_)) => return Step::ShowPromoted,
            (Some(_), _) | (None, None) => {}
        }
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
        Step::EnrollAsOneself { .. } | Step::Nothing | Step::Refuse(_) | Step::ShowPromoted => {
            check_parent(step, own, known)
        }
    }
}

fn check_parent(step: &Step, own: &HostId, known: &Known<'_>) -> Result<(), Refusal> {
    match (step, known.state) {
        (Step::EnrollAsOneself { parent }, Found::Good(state))
            if state.host_id == own.as_str() && !known.rules.wishes.take_over =>
        {
            Err(Refusal::ParentsHost { host: own.to_string(), parent: parent.clone() })
        }
        (
            Step::Enroll(_)
            | Step::EnrollAsOneself { .. }
            | Step::Nothing
            | Step::Refuse(_)
            | Step::ShowPromoted,
            _,
        ) => Ok(()),
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
        Step::Enroll(Why::ConfigChanged | Why::FirstBoot | Why::IdentityLost | Why::PromotedKeyDied)
        | Step::EnrollAsOneself { .. }
        | Step::Nothing
        | Step::Refuse(_)
        | Step::ShowPromoted => false,
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

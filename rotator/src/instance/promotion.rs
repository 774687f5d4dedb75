//! What to do about one instance's promotion: a pure function of who is listed at Conjur, what earlier runs did
//! and the time.
//!
//! Nobody tells a run whether an agent has moved over, and nobody shows it a host that is in none of the layers it
//! lists. So the id of the promoted host is cleared (deleted, which does nothing where nothing is) only when the
//! host is no member of the privileged layer, and either stands in the unprivileged one, which only a holder of a
//! shared token can have brought about, or the last token's time is over in vain. And the old host is deleted only
//! after one more token has waited for the agent since the new host was first seen, and that token is long over.
//! Each of these runs on what this very run has listed.

use crate::policy::CLOCKS;
use imprint_core::second::Second;
use std::time::Duration;

/// What earlier runs did for an instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Known {
    /// When the last token was offered.
    pub offered_at: Second,
    /// No token for this promotion outlives it.
    pub over_at: Second,
    /// How many tokens were offered before the new host was seen.
    pub tries: u32,
    /// When the new host was first seen in its layer.
    pub member_since: Option<Second>,
}

/// What is known of one instance, whose old host is in its layer.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Whether the promoted host is in the privileged layer.
    pub is_member: bool,
    /// Whether a host of its id is in the unprivileged layer.
    pub is_squatted: bool,
    /// What earlier runs did.
    pub known: Option<Known>,
    /// Whether a person asks for just this instance.
    pub asked: bool,
    /// How long a token lives.
    pub life: Duration,
    /// How long this run may still take: its tokens may be minted at its very end.
    pub run: Duration,
    /// How long after a token's end an agent has come to its own.
    pub settle: Duration,
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Delete the old host.
    DeleteOld,
    /// See to it that a token waits for the instance.
    Offer {
        /// Delete whatever has the promoted host's id before.
        clear: bool,
    },
    /// Nothing until then.
    Wait {
        /// When something may be done.
        until: Second,
    },
}

/// A promotion that nobody takes is offered ever less often, up to this far apart.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);

/// Decides.
#[must_use]
pub fn decide(facts: &Facts, now: Second) -> Step {
    let Some(known) = facts.known else {
        return Step::Offer { clear: facts.is_squatted && !facts.is_member };
    };
    if facts.is_member {
        // An agent that was cut off between the redeem and its disk finds one more token.
        let Some(since) = known.member_since.filter(|since| *since <= known.offered_at) else {
            return Step::Offer { clear: false };
        };
        let until = known.over_at.max(since).plus(CLOCKS).plus(facts.settle);
        return if until <= now { Step::DeleteOld } else { Step::Wait { until } };
    }
    if facts.is_squatted {
        return Step::Offer { clear: true };
    }
    let over = known.over_at.plus(CLOCKS);
    // While a token lives, a host of this id may be made by the very agent that it is for.
    if now < over {
        return if facts.asked { Step::Offer { clear: false } } else { Step::Wait { until: over } };
    }
    // The first time it is tried once more at once.
    let pause = if known.tries <= 1 {
        Duration::ZERO
    } else {
        facts.life * 2_u32.saturating_pow(known.tries.min(12))
    };
    let until = over.plus(pause.min(LONGEST_PAUSE));
    if facts.asked || until <= now { Step::Offer { clear: true } } else { Step::Wait { until } }
}

/// What the next run must know after this step; written before the step is taken.
#[must_use]
pub fn remembered(facts: &Facts, step: Step, now: Second) -> Option<Known> {
    let since = |known: Option<Known>| known.and_then(|known| known.member_since).or(Some(now));
    match step {
        // An instance that slept through it all enrolls anew, and must not meet its own past.
        Step::DeleteOld => None,
        Step::Wait { .. } => facts
            .known
            .map(|known| Known { member_since: known.member_since.filter(|_| facts.is_member), ..known }),
        Step::Offer { .. } => Some(Known {
            offered_at: now,
            over_at: now.plus(facts.run).plus(facts.life),
            tries: if facts.is_member {
                0
            } else {
                facts.known.map_or(0, |known| known.tries).saturating_add(1)
            },
            member_since: if facts.is_member { since(facts.known) } else { None },
        }),
    }
}

/// The same where the token could not be offered. It counts as none, but may be published all the same: nobody's id
/// is cleared while it may live.
#[must_use]
pub const fn not_offered(before: Known, remembered: Known) -> Known {
    Known { over_at: remembered.over_at, ..before }
}

#[cfg(test)]
mod tests;

//! What is tried, and the bounds that each wave must hold.
//!
//! A bound is what the code is known to reach, with a little room; the goals of the project are told beside it, also
//! where they cannot be reached. `ARCHITECTURE.md` says why they cannot.

use crate::wave::{Cause, Kind, Scenario, Story};
use crate::world::Model;
use std::time::Duration;

/// How many boot.
pub const HOSTS: u32 = 100_000;

/// Within so many seconds.
const BOOTS: f64 = 30.0;

/// How long Conjur is away, in seconds.
const OUTAGE: f64 = 900.0;

/// Redeems a host, at most: the goal.
pub const FEW: f64 = 1.3;

/// In units of the least time that Conjur needs, outages not counted, at most: the goal.
pub const SOON: f64 = 1.25;

/// After an outage no second has more redeems than so many times what Conjur does in one: no synchronized peak.
pub const PEAK: f64 = 3.0;

/// A wave, and what must hold of it; nothing of a wave that is shown for comparison.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What happens.
    pub scenario: Scenario,
    /// What must hold.
    pub bound: Option<Bound>,
}

/// What must hold of a wave in which all are to be enrolled.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Redeems a host.
    pub redeems: f64,
    /// Until 999 of 1,000 are enrolled, as [`SOON`].
    pub time: f64,
}

/// What came of a wave, in the units of the goals.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Machines that were enrolled.
    pub enrolled: u64,
    /// Redeems a host that came to Conjur.
    pub redeems: f64,
    /// Logins a host.
    pub logins: f64,
    /// Connections a host that Conjur did not take, since it was away.
    pub unreached: f64,
    /// Until 999 of 1,000 were enrolled, in units of the least time, the outage not counted.
    pub most: f64,
    /// The same of the last one.
    pub last: f64,
    /// The most redeems in one second, in units of what Conjur does in one.
    pub peak: f64,
    /// The same after the outage.
    pub peak_after: f64,
    /// The least redeems a host, if the first of each lies in its window; see [`floor`].
    pub floor: f64,
}

impl Figures {
    /// Of a wave that went so.
    #[must_use]
    pub fn of(scenario: &Scenario, story: &Story) -> Self {
        let hosts = f64::from(scenario.hosts);
        let each = |total: u64| total as f64 / hosts;
        let over = |seconds: f64| (seconds - scenario.away()).max(0.0) / scenario.least();
        let a_second = hosts / scenario.least();
        // Steps in which Conjur makes a hundred hosts or more: in shorter ones the most is mere chance.
        let width = (100.0 / a_second).ceil() as usize;
        let back = scenario.model.away.as_ref().map_or(0, |away| away.end as usize);
        Self {
            enrolled: story.enrolled.total(),
            redeems: each(story.tally.redeems.total()),
            logins: each(story.tally.logins.total()),
            unreached: each(story.tally.unreached.total()),
            most: over(story.until(0.999)),
            last: over(story.took),
            peak: story.tally.redeems.peak_from(0, width) / a_second,
            peak_after: story.tally.redeems.peak_from(back, width) / a_second,
            floor: floor(scenario),
        }
    }
}

impl Bound {
    /// What does not hold.
    #[must_use]
    pub fn broken(&self, scenario: &Scenario, is: &Figures) -> Vec<String> {
        let mut broken = Vec::new();
        let mut at_most = |what: &str, is: f64, most: f64| {
            if is > most {
                broken.push(format!("{what}: {is:.2}, more than {most:.2}"));
            }
        };
        at_most("hosts that were not enrolled", f64::from(scenario.hosts) - is.enrolled as f64, 0.0);
        at_most("redeems a host", is.redeems, self.redeems);
        at_most("time", is.most, self.time);
        if scenario.model.away.is_some() {
            at_most("redeems in a second after the outage", is.peak_after, PEAK);
        }
        broken
    }
}

/// The least redeems a host. All ask first before their window is over: Conjur has made so many by then, has its
/// queue full, and turned away all others once.
#[must_use]
pub fn floor(scenario: &Scenario) -> f64 {
    let (Cause::Boot(within) | Cause::Restore(within)) = scenario.cause;
    let a_second = f64::from(scenario.hosts) / scenario.least();
    let first = a_second * (within + scenario.window.as_secs_f64() + 20.0);
    1.0 + (1.0 - first / f64::from(scenario.hosts)).max(0.0)
}

/// So many boots with a window of this part of the least time, and Conjur away in the middle or not.
#[must_use]
pub fn boots(hosts: u32, creations: f64, part: f64, is_away: bool, kind: Kind) -> Scenario {
    let least = f64::from(hosts) / creations;
    let away = is_away.then(|| least / 2.0..least / 2.0 + OUTAGE);
    Scenario {
        name: format!(
            "{}{}",
            if kind == Kind::Naive { "naive back-off" } else { named(part) },
            if is_away { ", Conjur away for 15 min" } else { "" }
        ),
        hosts,
        model: Model { creations, logins: creations * 160.0 / 140.0, away, ..Model::default() },
        cause: Cause::Boot(BOOTS),
        window: Duration::from_secs((least * part).ceil() as u64),
        // Nobody should give up while Conjur is away.
        deadline: Duration::from_secs(if is_away { 3600 } else { 900 }),
        kind,
        seed: 8,
    }
}

fn named(part: f64) -> &'static str {
    match part {
        1.0 => "window right",
        0.5 => "window half of that",
        0.1 => "window a tenth of that",
        _ => "no window",
    }
}

/// All that `make fleet` tries.
#[must_use]
pub fn all() -> Vec<Trial> {
    let must = |redeems, time| Some(Bound { redeems, time });
    let calls = |part, is_away| boots(HOSTS, 140.0, part, is_away, Kind::Calls);
    let naive = |is_away| boots(HOSTS, 140.0, 0.0, is_away, Kind::Naive);
    let restore = Scenario {
        name: "Conjur restored, all keys dead, window right".to_owned(),
        cause: Cause::Restore(900.0),
        ..calls(1.0, false)
    };
    let default_deadline = Scenario {
        name: "the same with the default deadline of 15 min".to_owned(),
        deadline: Duration::from_secs(900),
        ..calls(1.0, true)
    };
    let mut shared = calls(1.0, false);
    shared.model.is_shared = true;
    let shared = Scenario {
        name: "logins on the same two cores, window right".to_owned(),
        window: Duration::from_secs(shared.least().ceil() as u64),
        deadline: Duration::from_secs(3600),
        ..shared
    };
    [
        (calls(1.0, false), must(1.1, 1.25)),
        (calls(0.5, false), must(1.55, 1.25)),
        (calls(0.1, false), must(1.95, 1.25)),
        (calls(0.0, false), must(3.0, 1.25)),
        (naive(false), None),
        (calls(1.0, true), must(1.4, 1.35)),
        (default_deadline, None),
        (calls(0.5, true), must(1.8, 1.35)),
        (calls(0.1, true), must(2.2, 1.35)),
        (calls(0.0, true), must(3.2, 1.35)),
        (naive(true), None),
        // Each host logs in three times, and the check gives up after a minute: what is not through comes an
        // hour later.
        (restore, must(1.1, 15.0)),
        (shared, must(1.2, 1.25)),
    ]
    .map(|(scenario, bound)| Trial { scenario, bound })
    .into()
}

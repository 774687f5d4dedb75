//! What is interrupted: a machine as it is before, a command, and how everything is once the command has
//! been run again.

use crate::promotion;
use imprint_e2e::{Machine, Ran, Site};
use std::path::PathBuf;

/// How a scenario ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// There is an identity of this machine's host.
    Enrolled,
    /// There is none, nor anything that an enrollment leaves; the next `enroll` makes one.
    Forgotten,
    /// There is one of the privileged host.
    Promoted,
}

/// One command on one machine.
#[derive(Clone, Copy)]
pub struct Scenario {
    /// Its name in the report.
    pub name: &'static str,
    /// The command that is interrupted.
    pub command: &'static [&'static str],
    /// What is run plainly after that, as a boot, a timer or a person would; each must end with 0.
    pub again: &'static [&'static [&'static str]],
    /// How it ends.
    pub end: End,
    /// Whether the identity that was there may be gone meanwhile.
    pub may_vanish: bool,
    /// A new machine, as it is before the command.
    pub prepare: fn(&Site) -> Machine,
}

/// Another program's entry in the identity's file.
pub const THEIRS: &str = "machine example.org login me password x\n";

const ENROLL: &[&str] = &["enroll"];
const ONCE_MORE: &[&[&str]] = &[ENROLL];

/// All of them.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "first enroll",
        command: ENROLL,
        again: ONCE_MORE,
        end: End::Enrolled,
        may_vanish: false,
        prepare: |site| site.machine("web"),
    },
    Scenario {
        name: "enroll over a damaged identity",
        command: ENROLL,
        again: ONCE_MORE,
        end: End::Enrolled,
        may_vanish: false,
        prepare: |site| {
            let machine = enrolled(site);
            let text = machine.identity_text().expect("an identity");
            imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, &text[..text.len() / 2]);
            machine
        },
    },
    Scenario {
        name: "enroll beside another program's entry",
        command: ENROLL,
        again: ONCE_MORE,
        end: End::Enrolled,
        may_vanish: false,
        prepare: |site| {
            let machine = site.machine("web");
            imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, THEIRS);
            machine
        },
    },
    Scenario {
        name: "enroll on a clone with its parent's identity",
        command: ENROLL,
        again: ONCE_MORE,
        end: End::Enrolled,
        may_vanish: true,
        prepare: |site| {
            let machine = enrolled(site);
            let (own, parent) = (machine.instance().id, "i-0aaaaaaaaaaaaaaa1");
            for file in ["etc/conjur.identity", "var/lib/imprint/state.json"] {
                let text = std::fs::read_to_string(machine.path(file)).expect("what an enrollment leaves");
                imprint_e2e::write(&machine.path(file), 0o600, &text.replace(&own, parent));
            }
            machine
        },
    },
    Scenario {
        name: "enroll with environment file and JSON",
        command: ENROLL,
        again: ONCE_MORE,
        end: End::Enrolled,
        may_vanish: false,
        prepare: with_sinks,
    },
    Scenario {
        name: "enroll over a damaged identity with sinks",
        command: ENROLL,
        again: ONCE_MORE,
        end: End::Enrolled,
        may_vanish: false,
        prepare: |site| {
            let machine = with_sinks(site);
            let _said = Ran::of(&mut machine.imprint(ENROLL)).expect(0);
            imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, "");
            machine
        },
    },
    Scenario {
        name: "rotate-key",
        command: &["rotate-key"],
        again: &[ENROLL, &["rotate-key"]],
        end: End::Enrolled,
        may_vanish: false,
        prepare: enrolled,
    },
    Scenario {
        name: "rotate-key with sinks",
        command: &["rotate-key"],
        again: ONCE_MORE,
        end: End::Enrolled,
        may_vanish: false,
        prepare: |site| {
            let machine = with_sinks(site);
            let _said = Ran::of(&mut machine.imprint(ENROLL)).expect(0);
            machine
        },
    },
    Scenario {
        name: "promote",
        command: &["promote"],
        again: &[&["promote"]],
        end: End::Promoted,
        may_vanish: false,
        prepare: promotion::awaiting,
    },
    Scenario {
        name: "forget",
        command: &["forget"],
        again: &[&["forget"]],
        end: End::Forgotten,
        may_vanish: true,
        prepare: |site| {
            let machine = with_sinks(site);
            let _said = Ran::of(&mut machine.imprint(ENROLL)).expect(0);
            machine
        },
    },
];

/// The scenario of this name.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn named(name: &str) -> &'static Scenario {
    SCENARIOS.iter().find(|scenario| scenario.name == name).expect("a scenario of this name")
}

fn enrolled(site: &Site) -> Machine {
    let machine = site.machine("web");
    let _said = Ran::of(&mut machine.imprint(ENROLL)).expect(0);
    machine
}

fn with_sinks(site: &Site) -> Machine {
    let machine = site.machine("web");
    let at = |name: &str| -> PathBuf { machine.path("etc").join(name) };
    let files = format!("[files]\nenv = {:?}\njson = {:?}\n", at("conjur.env"), at("conjur.json"));
    machine.set_config(&machine.config().replace("[files]\n", &files));
    machine
}

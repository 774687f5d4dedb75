//! The decision in a table, and a model of an agent, a thief and lost memories against it.

use super::*;
use proptest::prelude::*;

const MINUTE: u64 = 60;
const LIFE: Duration = Duration::from_secs(20 * MINUTE);
const SETTLE: Duration = Duration::from_secs(30 * MINUTE);

fn at(minutes: i64) -> Second {
    Second::from_unix(1_800_000_000 + minutes * 60)
}

#[test]
fn each_step() {
    let known = |offered: i64, tries, since: Option<i64>| {
        Some(Known { offered_at: at(offered), over_at: at(offered + 20), tries, member_since: since.map(at) })
    };
    let check = |is_member, is_squatted, known, asked, now, wanted| {
        let facts =
            Facts { is_member, is_squatted, known, asked, life: LIFE, run: Duration::ZERO, settle: SETTLE };
        assert_eq!(decide(&facts, at(now)), wanted, "{facts:?}");
    };
    let (offer, clear) = (Step::Offer { clear: false }, Step::Offer { clear: true });
    let wait = |until| Step::Wait { until: at(until) };
    check(false, false, None, false, 0, offer);
    check(false, true, None, false, 0, clear);
    // A live token: only what is seen to be squatted is cleared.
    check(false, false, known(0, 1, None), false, 24, wait(25));
    check(false, false, known(0, 1, None), true, 10, offer);
    check(false, true, known(0, 1, None), false, 1, clear);
    // Over in vain: once more at once, then ever later; a person does not wait.
    check(false, false, known(0, 1, None), false, 25, clear);
    check(false, false, known(0, 2, None), false, 104, wait(105));
    check(false, false, known(0, 2, None), true, 25, clear);
    check(false, false, known(0, 2, None), false, 105, clear);
    check(false, false, known(0, 99, None), false, 30, wait(25 + 24 * 60));
    // The new host is there: one more token, its end, and then the old one goes.
    check(true, false, known(0, 1, None), false, 5, offer);
    check(true, true, known(0, 1, None), false, 5, offer);
    check(true, false, known(5, 0, Some(5)), false, 59, wait(60));
    check(true, false, known(5, 0, Some(5)), false, 60, Step::DeleteOld);
    check(true, false, known(5, 0, Some(6)), false, 300, offer);
    // Nothing is remembered: from the beginning.
    check(true, false, None, false, 0, offer);
    check(true, true, None, false, 0, offer);
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Owner {
    Nobody,
    Thief,
    Privileged,
}

/// Which key is on the instance's disk; a number names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Disk {
    Old(u32),
    New(u32),
}

/// Conjur, one instance and the memory.
#[derive(Debug)]
struct World {
    now: i64,
    keys: u32,
    /// The key of the old host, if there is one.
    old: Option<u32>,
    new: (Owner, u32),
    token_ends: i64,
    disk: Disk,
    known: Option<Known>,
    /// When the agent last asked without being cut off.
    asked: i64,
}

impl World {
    fn new() -> Self {
        let disk = Disk::Old(0);
        Self {
            now: 0,
            keys: 0,
            old: Some(0),
            new: (Owner::Nobody, 0),
            token_ends: -1,
            disk,
            known: None,
            asked: -1,
        }
    }

    fn key(&mut self) -> u32 {
        self.keys += 1;
        self.keys
    }

    fn is_good(&self) -> bool {
        match self.disk {
            Disk::Old(key) => self.old == Some(key),
            Disk::New(key) => self.new == (Owner::Privileged, key),
        }
    }

    /// A run; `dies` after the memory was written, or after what was to be deleted is.
    fn run(&mut self, dies: u8) {
        if self.old.is_none() {
            // Nobody is listed: what was remembered goes.
            self.known = None;
            return;
        }
        let facts = Facts {
            is_member: self.new.0 == Owner::Privileged,
            is_squatted: self.new.0 == Owner::Thief,
            known: self.known,
            asked: false,
            life: LIFE,
            run: Duration::ZERO,
            settle: SETTLE,
        };
        let step = decide(&facts, at(self.now));
        self.known = remembered(&facts, step, at(self.now));
        if dies == 1 {
            return;
        }
        match step {
            Step::Offer { clear } => {
                if clear {
                    assert_ne!(self.new.0, Owner::Privileged, "{self:?}");
                    self.new.0 = Owner::Nobody;
                }
                if dies != 2 {
                    self.token_ends = self.now + 20;
                }
            }
            Step::DeleteOld => {
                // Who asked while the last token waited, and was not cut off, has moved over.
                let offered = facts.known.map_or(0, |known| (known.offered_at.unix() - at(0).unix()) / 60);
                let asked = (offered + 1..self.token_ends).contains(&self.asked);
                assert!(
                    !(asked && self.is_good() && matches!(self.disk, Disk::Old(_))),
                    "the old host is in use: {self:?}"
                );
                assert!(self.token_ends < self.now, "{self:?}");
                self.old = None;
            }
            Step::Wait { .. } => {}
        }
    }

    /// The agent's poll; it may be cut off between the redeem and its disk.
    fn poll(&mut self, cut_off: bool) {
        if !cut_off {
            self.asked = self.now;
        }
        if !self.is_good() {
            // It enrolls anew with the shared token.
            let key = self.key();
            (self.old, self.disk) = (Some(key), Disk::Old(key));
        }
        let waits = self.now < self.token_ends && matches!(self.disk, Disk::Old(_));
        if waits && self.new.0 != Owner::Thief {
            let key = self.key();
            self.new = (Owner::Privileged, key);
            if !cut_off {
                self.disk = Disk::New(key);
            }
        }
    }

    /// Whoever holds the shared token may make any new host, and take the old one over.
    fn steal(&mut self) {
        if self.new.0 == Owner::Nobody {
            self.new = (Owner::Thief, self.key());
        }
        self.old = Some(self.key());
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Forget,
    Pass(i64),
    Poll(bool),
    Run(u8),
    Steal,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        1 => Just(Act::Forget),
        6 => (1_i64..40).prop_map(Act::Pass),
        4 => any::<bool>().prop_map(Act::Poll),
        6 => (0_u8..4).prop_map(Act::Run),
        1 => Just(Act::Steal),
    ];
    proptest::collection::vec(act, 0..60)
}

proptest! {
    /// Whatever happened: no promoted host is deleted, no old host of an agent that asked while its last token waited, and in the end the
    /// instance is promoted and nothing else is left.
    #[test]
    fn in_the_end_every_instance_is_promoted_and_the_old_host_is_gone(acts in acts()) {
        let mut world = World::new();
        for act in acts {
            match act {
                Act::Forget => world.known = None,
                Act::Pass(minutes) => world.now += minutes,
                Act::Poll(cut_off) => world.poll(cut_off),
                Act::Run(dies) => world.run(dies),
                Act::Steal => world.steal(),
            }
        }
        // Quiet from now on, for three days: polls every two minutes, runs every five.
        for minute in 0..3 * 24 * 60 {
            world.now += 1;
            if minute % 2 == 0 { world.poll(false); }
            if minute % 5 == 0 { world.run(0); }
        }
        prop_assert!(matches!(world.disk, Disk::New(_)) && world.is_good(), "{:?}", world);
        prop_assert_eq!((world.old, world.known), (None, None));
    }
}

/// A token that is minted at the end of a long run, or whose offer failed after it was put, may be redeemed while it
/// lives: until then an id that was not seen to be squatted is not cleared, or an agent that has moved over would lose
/// its only identity.
#[test]
fn nobodys_id_is_cleared_while_a_token_may_live() {
    let run = Duration::from_secs(15 * 60);
    let facts = |known| Facts {
        is_member: false,
        is_squatted: false,
        known,
        asked: false,
        life: LIFE,
        run,
        settle: SETTLE,
    };
    let clear = |known, now| decide(&facts(Some(known)), at(now)) == Step::Offer { clear: true };
    let offered = remembered(&facts(None), Step::Offer { clear: false }, at(0)).unwrap();
    // Minted at 15, it ends at 35; clocks may be 5 apart.
    assert_eq!([26, 39, 40].map(|now| clear(offered, now)), [false, false, true]);
    let again = remembered(&facts(Some(offered)), Step::Offer { clear: true }, at(40)).unwrap();
    let failed = not_offered(offered, again);
    assert_eq!([41, 79, 80].map(|now| clear(failed, now)), [false, false, true]);
    assert_eq!(failed.tries, offered.tries, "what was not offered is no try");
}

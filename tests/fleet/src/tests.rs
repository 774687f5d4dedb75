//! Small fleets, with everything asserted: all numbers follow from the seeds.

use crate::report::{Ran, proof, row, series};
use crate::scenarios::{Bound, Figures, Trial, boots, floor};
use crate::wave::{Cause, Kind, Scenario, run};
use crate::world::Model;
use proptest::prelude::{ProptestConfig, any, prop_assert, prop_assert_eq, proptest};
use std::time::Duration;

/// As 100,000 at 140 a second.
const SMALL: (u32, f64) = (2_000, 2.8);

fn small(part: f64, is_away: bool, kind: Kind) -> Scenario {
    boots(SMALL.0, SMALL.1, part, is_away, kind)
}

#[test]
fn a_small_fleet_holds_the_bounds_of_the_large_one() {
    let check = |part, is_away, redeems, time| {
        let scenario = small(part, is_away, Kind::Calls);
        let ran = Ran::of(Trial { scenario, bound: Some(Bound { redeems, time }) }).unwrap();
        println!("{}", row(&ran));
        assert!(ran.broken.is_empty(), "{}: {:?}", ran.trial.scenario.name, ran.broken);
        assert!(ran.figures.redeems >= ran.figures.floor, "{:?}", ran.figures);
    };
    check(1.0, false, 1.1, 1.25);
    check(0.5, false, 1.55, 1.25);
    check(0.1, false, 1.95, 1.25);
    check(0.0, false, 3.0, 1.25);
    check(1.0, true, 1.4, 1.4);
    check(0.5, true, 1.8, 1.4);
    check(0.1, true, 2.2, 1.4);
    check(0.0, true, 3.2, 1.4);
}

/// The calls without files are those of the real agent, with the same luck: nothing tells the two apart.
#[test]
fn the_calls_are_those_of_the_real_agent() {
    let check = |part, is_away| {
        let fleet = |kind| {
            let scenario = boots(150, 0.21, part, is_away, kind);
            let story = run(&scenario).unwrap();
            (Figures::of(&scenario, &story).enrolled, story.tally, story.enrolled, story.keys)
        };
        let (real, calls) = (fleet(Kind::Real), fleet(Kind::Calls));
        assert_eq!(real, calls, "{part} {is_away}");
        assert_eq!(real.0, 150);
    };
    check(1.0, false);
    check(0.1, true);
}

#[test]
fn the_same_seed_gives_the_same_wave_and_another_one_another() {
    let with = |seed| run(&Scenario { seed, hosts: 300, ..small(0.1, true, Kind::Calls) }).unwrap();
    let (once, again, other) = (with(1), with(1), with(2));
    assert_eq!((&once.tally, &once.enrolled), (&again.tally, &again.enrolled));
    assert_ne!(once.tally.redeems, other.tally.redeems);
}

#[test]
fn back_off_alone_breaks_the_bounds() {
    let bound = Some(Bound { redeems: 3.0, time: 1.25 });
    let naive = Ran::of(Trial { scenario: small(0.0, false, Kind::Naive), bound }).unwrap();
    assert!(!naive.broken.is_empty(), "{}", row(&naive));
    let proof = proof(std::slice::from_ref(&naive));
    assert_eq!((proof.tried, proof.held), (1, 0));
    assert!(proof.figures.iter().any(|figure| figure.reached == Some(false)));
    assert_eq!(series(&[naive])["waves"][0]["hosts"], 2_000);
}

#[test]
fn a_restore_of_conjur_is_over_once_every_timer_has_found_its_time() {
    let scenario = Scenario { cause: Cause::Restore(900.0), ..small(0.1, false, Kind::Calls) };
    let story = run(&scenario).unwrap();
    let is = Figures::of(&scenario, &story);
    assert_eq!((is.enrolled, story.failed.len()), (2_000, 0));
    assert!(is.redeems < 1.1 && story.took < 3.0 * 3600.0, "{is:?} {}", story.took);
    // The timer's check, a look at what is on the disk, and the proof of the new key; the rest was turned away,
    // since the check keeps to its minute and does not spread itself.
    assert!((3.0..14.0).contains(&is.logins), "{is:?}");
    // One key before, the one that died with the restore, and a new one.
    assert!((6_000..6_100).contains(&story.keys), "{}", story.keys);
}

#[test]
fn a_lone_boot_waits_for_nobody() {
    let check = |hosts, most| {
        let model = Model { no_imds: 0.0, random_5xx: 0.0, ..Model::default() };
        let cause = Cause::Boot(0.0);
        let story = run(&Scenario { hosts, cause, model, ..small(0.0, false, Kind::Calls) }).unwrap();
        assert!(story.took < most, "{}", story.took);
        assert_eq!(story.tally.redeems.total(), u64::from(hosts));
    };
    check(1, 0.2);
    // And as many as Conjur lets wait are through as soon as it can.
    check(2_800, 20.5);
}

#[test]
fn aws_throttles_a_fleet_that_boots_in_one_moment_and_all_are_enrolled() {
    let mut scenario = Scenario { cause: Cause::Boot(0.0), ..small(1.0, false, Kind::Calls) };
    scenario.model.aws = (300.0, 100.0);
    let story = run(&scenario).unwrap();
    assert!(story.tally.gets.1 > 1_000 && story.tally.decrypts.1 > 100, "{:?}", story.tally.decrypts);
    assert_eq!(story.enrolled.total(), 2_000);
    assert!(story.tally.redeems.total() < 2_200);
}

#[test]
fn the_floor_counts_those_who_must_be_told() {
    let check = |part, least: f64| {
        let is = floor(&boots(100_000, 140.0, part, false, Kind::Calls));
        assert!((is - least).abs() < 0.005, "{part}: {is}");
    };
    check(1.0, 1.0);
    check(0.5, 1.43);
    check(0.1, 1.83);
    check(0.0, 1.93);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]
    /// Whatever the size of the fleet, its window, the pace of Conjur and the length of an outage: nobody starves.
    #[test]
    fn nobody_starves(
        hosts in 1_u32..600, least in 1_u32..700, part in 0.0..1.2_f64, outage in 0.0..1_800.0_f64,
        at in 0.0..1.0_f64, seed in any::<u64>(),
    ) {
        let least = f64::from(least);
        // A host must be made well before its agent hangs up.
        let creations = (f64::from(hosts) / least).max(0.2);
        let least = f64::from(hosts) / creations;
        let begins = 30.0 + least * at;
        let scenario = Scenario {
            model: Model { away: Some(begins..begins + outage), ..boots(hosts, creations, 0.0, false, Kind::Calls).model },
            window: Duration::from_secs_f64(least * part),
            deadline: Duration::from_secs(3600),
            seed,
            ..boots(hosts, creations, 0.0, false, Kind::Calls)
        };
        let story = run(&scenario).unwrap();
        prop_assert_eq!(story.enrolled.total(), u64::from(hosts), "{:?}", story.failed);
        // Twice what must be waited for, and a quarter of an hour.
        let most = 2.0 * (30.0 + least.max(scenario.window.as_secs_f64()) + outage) + 900.0;
        prop_assert!(story.took < most.min(3_630.0), "{} of {most}", story.took);
        prop_assert!(story.tally.redeems.total() <= u64::from(hosts) * 12);
    }
}

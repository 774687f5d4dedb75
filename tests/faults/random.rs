//! Faults in combination: one to four of them, at random servers and times, in one run. Whatever they are, the run
//! ends, with a documented code; the identity is absent, the old one, or complete; no secret is told; and once the
//! faults are gone, the next plain run ends well.
//!
//! `IMPRINT_FAULT_SEED=...` draws the same again, `IMPRINT_FAULT_CASES=...` more of them.

use crate::check::{authenticates, leaks, with_room};
use crate::proof;
use crate::row::{At, Row, Run, page, raw, row, status};
use crate::wire::{BROKEN, GOOD, STRANGE};
use crate::world::World;
use imprint_core::Class;
use imprint_e2e::Ran;
use imprint_e2e::peers::aloud;
use imprint_stack::fault::{FaultKind, Then};
use imprint_stack::{kms, s3};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How many are drawn.
const CASES: usize = 40;

const REQUESTS: [(At, &str); 10] = [
    (At::Imds, "imds:token"),
    (At::Imds, "imds:document"),
    (At::Imds, "imds:role"),
    (At::Imds, "imds:credentials"),
    (At::S3, "s3:GetObject"),
    (At::Kms, "kms:Decrypt"),
    (At::Conjur, "redeem"),
    (At::Conjur, "authenticate"),
    (At::Conjur, "resource"),
    (At::Conjur, "rotate_key"),
];

/// One fault of a combination.
#[derive(Clone, Debug)]
struct Drawn {
    request: usize,
    kind: FaultKind,
    skip: u32,
    times: u32,
}

/// What is run.
#[derive(Clone, Copy, Debug)]
enum Scene {
    FirstBoot,
    Lost,
    RotateKey,
    Verify,
}

fn kinds() -> impl Strategy<Value = FaultKind> {
    let frames: Vec<_> = [&GOOD[..], &BROKEN, &STRANGE].concat();
    let codes = [200, 204, 301, 302, 400, 401, 403, 404, 405, 408, 409, 418, 422, 429, 500, 502, 503, 504];
    let ways = prop_oneof![Just(Then::Close), Just(Then::Reset)];
    prop_oneof![
        prop::sample::select(codes.to_vec()).prop_map(page),
        Just(FaultKind::Reset),
        Just(FaultKind::Close),
        Just(FaultKind::LostReply),
        Just(FaultKind::Overtaken),
        (0_u64..400).prop_map(|ms| FaultKind::Delay(Duration::from_millis(ms))),
        (0_usize..600, ways).prop_map(|(kept, then)| FaultKind::Cut { kept, then }),
        (0_usize..300).prop_map(FaultKind::Truncate),
        Just(FaultKind::Drip { chunk: 50, pause: Duration::from_millis(5) }),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(raw),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| FaultKind::Body(bytes.into())),
        prop::sample::select(frames).prop_map(|(_, rewrite)| FaultKind::Rewritten(rewrite)),
        Just(status(503, &[("retry-after", "1")], "")),
        Just(kms::failure("ThrottlingException")),
        Just(kms::failure("AccessDeniedException")),
        Just(s3::failure("SlowDown")),
    ]
}

fn cases() -> impl Strategy<Value = (Scene, Vec<Drawn>)> {
    let drawn = (0..REQUESTS.len(), kinds(), 0_u32..3, prop_oneof![1_u32..4, Just(u32::MAX)])
        .prop_map(|(request, kind, skip, times)| Drawn { request, kind, skip, times });
    let scene = prop_oneof![
        3 => Just(Scene::FirstBoot),
        1 => Just(Scene::Lost),
        2 => Just(Scene::RotateKey),
        1 => Just(Scene::Verify),
    ];
    (scene, prop::collection::vec(drawn, 1..=4))
}

/// Tries one; what does not hold, in words.
fn check(scene: Scene, faults: &[Drawn]) -> String {
    let run = match scene {
        Scene::FirstBoot => Run::Agent("enroll"),
        Scene::Lost => Run::Enrolled("enroll"),
        Scene::RotateKey => Run::Enrolled("rotate-key"),
        Scene::Verify => Run::Enrolled("verify"),
    };
    let row: Row = row("B13", "").command(run).within(3);
    let mut world = World::of(&row);
    if matches!(scene, Scene::Lost) {
        std::fs::remove_file(world.machine.path("etc/conjur.identity")).expect("an identity");
    }
    for fault in faults {
        let (at, name) = REQUESTS[fault.request];
        let it = imprint_stack::fault::Fault::on(name, fault.kind.clone());
        world.inject(at, it.skip(fault.skip).times(fault.times));
    }
    let before = world.machine.identity_text();
    world.clear_logs();
    let ran = Ran::of(&mut world.command(&row));
    let redeems = world.site.stack.conjur.count("redeem");
    let mut wrong = Vec::new();
    let documented =
        |code: i32| code == 0 || Class::ALL.iter().any(|class| i32::from(class.exit_code()) == code);
    if !documented(ran.code) || matches!(ran.code, 64 | 70) {
        wrong.push(format!("exit {}", ran.code));
    }
    let after = world.machine.identity_text();
    let is_whole = |text: &str| {
        let (login, key) = imprint_e2e::client::netrc(text);
        login == format!("host/{}", world.machine.host_id()) && key.len() >= 40 && text.ends_with('\n')
    };
    if let Some(text) = &after {
        if Some(text) != before.as_ref() && !is_whole(text) {
            wrong.push("a part of an identity".to_owned());
        }
    } else if before.is_some() {
        wrong.push("the old identity is gone".to_owned());
    }
    if ran.code == 0 && !matches!(scene, Scene::Verify) {
        wrong.extend(authenticates(&world).err());
    }
    if redeems > 40 {
        wrong.push(format!("{redeems} redeems"));
    }
    wrong.extend(leaks(&world, &[&ran.out, &ran.err]));
    // A late duplicate kills a key after its login: that is for the next proof to see.
    world.clear_faults();
    world.keys.extend(after.iter().map(|text| imprint_e2e::client::netrc(text).1));
    let plain = |arguments: &[&str]| Ran::of(&mut world.bounded(&world.machine.imprint(arguments), 60));
    let proved = plain(&["verify"]);
    let next = plain(&["enroll", "--again"]);
    if next.code != 0 {
        wrong.push(format!(
            "verify then {}, the next plain run {}: {}{}",
            proved.code, next.code, proved.err, next.err
        ));
    } else {
        wrong.extend(authenticates(&world).err());
    }
    wrong.extend(leaks(&world, &[&next.out, &next.err]));
    if !wrong.is_empty() {
        wrong.push(format!("it said ({}): {}{}", ran.code, ran.out, ran.err));
    }
    wrong.join("\n  ")
}

fn held(scene: Scene, faults: &[Drawn]) -> String {
    let tried = catch_unwind(AssertUnwindSafe(|| check(scene, faults)));
    tried.unwrap_or_else(|_| "it could not be tried".to_owned())
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn whatever_is_combined_ends_well_in_the_end() {
    let drawn = std::collections::hash_map::RandomState::new();
    let seed = number("IMPRINT_FAULT_SEED").unwrap_or_else(|| std::hash::BuildHasher::hash_one(&drawn, 0));
    let count = number("IMPRINT_FAULT_CASES").and_then(|count| usize::try_from(count).ok()).unwrap_or(CASES);
    aloud(&format!("random faults: IMPRINT_FAULT_SEED={seed} IMPRINT_FAULT_CASES={count}"));
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let strategy = cases();
    let trees: Vec<_> = (0..count).map(|_| strategy.new_tree(&mut runner).expect("a case")).collect();
    let cases: Vec<_> = trees.iter().map(|tree| tree.current()).collect();
    let ended: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .map(|(scene, faults)| scope.spawn(move || with_room(|| held(*scene, faults))))
            .collect();
        running.into_iter().map(|one| one.join().expect("a thread that catches")).collect()
    });
    for wrong in &ended {
        proof::add("random combinations", wrong.is_empty());
    }
    proof::write();
    let failed = ended.iter().position(|wrong| !wrong.is_empty());
    let Some(first) = failed else { return };
    // The smallest of its kind says most.
    let mut tree = trees.into_iter().nth(first).expect("a tree");
    let (mut least, mut why) = (tree.current(), ended[first].clone());
    for _ in 0..12 {
        if !tree.simplify() {
            break;
        }
        let (scene, faults) = tree.current();
        let wrong = held(scene, &faults);
        if wrong.is_empty() {
            if !tree.complicate() {
                break;
            }
        } else {
            (least, why) = ((scene, faults), wrong);
        }
    }
    panic!("IMPRINT_FAULT_SEED={seed}, case {first} of {count}: {least:#?}\n  {why}");
}

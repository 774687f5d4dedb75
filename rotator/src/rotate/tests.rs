//! The flow over scripted effects: what it calls, and what it leaves behind when any call fails.

mod incident;
mod many;
mod offered;
mod puts;
mod races;
mod storms;
mod sweeps;

use super::*;
use crate::label::{Kind, Label};
use crate::plan::Why;
use crate::world::{Fault, Known, World};
use imprint_core::second::Second;
use std::cell::{Cell, RefCell};
use std::time::Duration;
use zeroize::Zeroizing;

const HOUR: Duration = Duration::from_secs(3600);

fn config_of(factories: &[&str]) -> Config {
    let mut text = "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/rotator\"\n\
                    deployment = \"1f2e3d4c\"\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n"
        .to_owned();
    for id in factories {
        text.push_str(&format!("[[factory]]\nid = \"{id}\"\nhosts_branch = \"hosts\"\n"));
    }
    Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap()
}

fn config() -> Config {
    config_of(&["web"])
}

fn blocking<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(story)
}

async fn run(config: &Config, world: &World, ask: &Ask) -> Result<Report, Error> {
    run_within(config, world, ask, None).await
}

async fn run_within(
    config: &Config,
    world: &World,
    ask: &Ask,
    within: Option<Duration>,
) -> Result<Report, Error> {
    let seed = world.state.borrow().calls.len() as u64 + world.now().unix().unsigned_abs();
    run_of(config, ask, world, within, fastrand::Rng::with_seed(seed)).rotate(world).await
}

/// A run with a name of its own.
fn run_of<'a>(
    config: &'a Config,
    ask: &'a Ask,
    world: &World,
    within: Option<Duration>,
    mut random: fastrand::Rng,
) -> Run<'a> {
    let id = RunId::new(world.now(), random.u32(..));
    Run::new(config, ask, &id, within, random)
}

fn due() -> Ask {
    Ask::default()
}

fn asked() -> Ask {
    Ask { now: true, ..Ask::default() }
}

/// The end of the only factory.
fn only(report: Result<Report, Error>) -> Outcome {
    let mut report = report.unwrap();
    assert_eq!(report.factories.len(), 1);
    report.factories.pop().unwrap()
}

const GOOD: [&str; 6] =
    ["s3:GetObject", "mint", "kms:Encrypt", "s3:PutObject", "s3:GetObject", "kms:Decrypt"];

#[test]
fn the_requests_of_a_good_rotation_and_of_none() {
    blocking(async {
        let config = config();
        let world = World::new(&config);
        let first = only(run(&config, &world, &due()).await);
        assert!(
            matches!(first.result, Ok(Done::Rotated { why: Why::Nothing, superseded: None, .. })),
            "{first}"
        );
        assert_eq!(world.calls(), [&["authenticate", "list_factories"][..], &GOOD].concat());
        assert!(world.is_usable("web") && first.notes.is_empty());

        let kept = only(run(&config, &world, &due()).await);
        assert!(matches!(kept.result, Ok(Done::Kept { .. })), "{kept}");
        assert_eq!(world.calls(), ["authenticate", "list_factories", "s3:GetObject"]);

        tokio::time::advance(4 * HOUR).await;
        let before = world.published("web").unwrap().binding().fingerprint.clone();
        let second = only(run(&config, &world, &due()).await);
        let Ok(Done::Rotated { why: Why::Due, superseded, fingerprint, expires_at }) = second.result else {
            panic!("{second}")
        };
        assert_eq!(superseded, Some(before));
        assert_eq!(expires_at, world.now().plus(8 * HOUR));
        let sealed = world.published("web").unwrap();
        assert_eq!(sealed.binding().fingerprint, fingerprint);
        // Both live: the old one until it expires.
        assert_eq!(world.state.borrow().tokens.len(), 2);
        assert_eq!(world.calls(), [&["authenticate", "list_factories"][..], &GOOD].concat());
        let label = Label::among(&world.state.borrow().tokens[1].cidr).unwrap();
        assert_eq!((label.deployment, label.minted_at), (config.deployment, world.now()));
    });
}

/// Everything that a machine or a person gets to see of a run.
fn seen(report: &Result<Report, Error>) -> String {
    match report {
        Ok(report) => {
            let lines: String = report.factories.iter().map(|o| format!("{o}\n{:?}\n", o.result)).collect();
            format!("{}\n{lines}", report.to_json())
        }
        Err(error) => format!("{error:?} {}", imprint_core::error::chain(error)),
    }
}

/// What must hold however a run went: no secret told; every live token of ours is published, was
/// published, or is named.
fn check_nothing_leaked(world: &World, reports: &[&Result<Report, Error>], what: &str) {
    let said: String = reports.iter().map(|report| seen(report)).collect();
    let state = world.state.borrow();
    let once_published: Vec<_> = state
        .put
        .iter()
        .filter_map(|bytes| imprint_core::sealed::SealedToken::parse(bytes).ok())
        .map(|sealed| sealed.binding().fingerprint.clone())
        .collect();
    for token in &state.tokens {
        assert!(!said.contains(&token.text), "{what}: {said}");
        let fingerprint = Fingerprint::of(token.text.as_bytes());
        let label = Label::among(&token.cidr).unwrap().entry().to_string();
        let known = once_published.contains(&fingerprint)
            || said.contains(fingerprint.as_str())
            || said.contains(&label);
        assert!(known, "{what}: nobody knows {fingerprint} {label}: {said}");
    }
    if let [.., Ok(Report { factories, .. })] = reports
        && let Ok(Done::Rotated { .. } | Done::Kept { .. }) = &factories[0].result
    {
        assert!(world.is_usable("web"), "{what}: {said}");
    }
}

#[test]
fn any_call_may_fail_once_or_from_then_on() {
    let faults = [
        Fault::LostReply,
        Fault::LandsLater,
        Fault::NotDone,
        Fault::Contended,
        Fault::Refused,
        Fault::Unauthorized,
    ];
    let mut ended_well = 0;
    for fault in faults {
        for (number, lasting, before) in
            (1..=12).flat_map(|n| [(n, false, false), (n, true, false), (n, false, true), (n, true, true)])
        {
            let what = format!("{fault:?} at call {number}, lasting {lasting}, published before {before}");
            blocking(async {
                let config = config();
                let mut world = World::new(&config);
                if before {
                    only(run(&config, &world, &due()).await).result.unwrap();
                    tokio::time::advance(4 * HOUR).await;
                    world.calls();
                }
                world.fault = Box::new(move |n, _| (n == number || lasting && n > number).then_some(fault));
                let report = run(&config, &world, &due()).await;
                check_nothing_leaked(&world, &[&report], &what);
                // What agents could use before, or something newer, they can still use.
                assert!(!before || world.is_usable("web"), "{what}: {}", seen(&report));
                let nothing_there = world.published("web").is_none();
                world.land();
                let landed = nothing_there && world.published("web").is_some();
                assert!(!(before || landed) || world.is_usable("web"), "{what}: {}", seen(&report));
                ended_well += u32::from(report.as_ref().is_ok_and(|r| r.class().is_none()));

                // The next run, when all is well again, puts everything right.
                world.fault = Box::new(|_, _| None);
                tokio::time::advance(Duration::from_secs(900)).await;
                let next = run(&config, &world, &due()).await;
                assert_eq!(next.as_ref().unwrap().class(), None, "{what}: {}", seen(&next));
                check_nothing_leaked(&world, &[&report, &next], &what);
                assert!(world.is_usable("web"), "{what}");
            });
        }
    }
    // A single transient failure never fails a run: 12 calls, 4 kinds, 2 beginnings, and more.
    assert!(ended_well >= 96, "{ended_well}");
}

#[test]
fn a_lost_mint_is_named_by_its_label() {
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        world.fault = Box::new(|n, _| (n == 4).then_some(Fault::LostReply));
        let outcome = only(run(&config, &world, &due()).await);
        assert!(outcome.result.is_ok());
        let orphan = Label::among(&world.state.borrow().tokens[0].cidr).unwrap().entry().to_string();
        assert!(outcome.notes[0].contains(&orphan), "{:?}", outcome.notes);
        // The one that was used has a label of its own.
        let used = Label::among(&world.state.borrow().tokens[1].cidr).unwrap().entry().to_string();
        assert_ne!(orphan, used);
    });
}

/// Runs with somebody else acting just before call `at`; gives the end.
fn meanwhile(at: usize, revoke: bool, change: impl Fn(&World) + 'static, check: impl Fn(&World, Outcome)) {
    blocking(async {
        let config = Config { revoke, ..config() };
        let mut world = World::new(&config);
        world.meanwhile = Some((at, Box::new(change)));
        let outcome = only(run(&config, &world, &due()).await);
        check(&world, outcome);
    });
}

const KEY: &str = "factories/prod/web/token.json";

fn overwrite(world: &World, bytes: &[u8]) {
    world.state.borrow_mut().objects.insert(KEY.to_owned(), (bytes.to_vec(), 99));
}

/// What another run would have published.
fn others() -> Vec<u8> {
    let config = config();
    let now = Second::from_unix(1_800_000_000);
    let binding =
        config.binding(&config.factories[0], Fingerprint::of(b"other"), "other", now, now.plus(HOUR));
    imprint_core::sealed::SealedToken::new(binding, b"x".to_vec(), String::new()).unwrap().to_bytes()
}

// The calls of a first rotation: 1 login, 2 list, 3 get, 4 mint, 5 encrypt, 6 put, 7 get, 8 decrypt.

#[test]
fn a_role_that_may_not_read_is_told_so() {
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        world.fault = Box::new(|_, name| (name == "s3:GetObject").then_some(Fault::Refused));
        // The first put is good; after that, every run meets what it cannot see.
        for notes in ["is published, but was not read back", "was not published and is revoked"] {
            let outcome = only(run(&config, &world, &due()).await);
            let error = outcome.result.unwrap_err();
            assert!(matches!(error, Error::Hidden { .. }) && error.class() == Class::Refused, "{error}");
            assert!(outcome.notes[0].contains(notes), "{:?}", outcome.notes);
            assert!(world.is_usable("web") && world.state.borrow().tokens.len() == 1);
        }
    });
}

#[test]
fn a_process_that_was_frozen_does_not_publish() {
    meanwhile(
        5,
        true,
        |world| world.base.set(world.base.get().plus(HOUR)),
        |world, end| {
            let error = end.result.unwrap_err();
            assert!(matches!(error, Error::TooLate { .. }) && error.class() == Class::Transient, "{error}");
            assert!(world.state.borrow().tokens.is_empty() && world.state.borrow().objects.is_empty());
        },
    );
}

#[test]
fn what_is_published_and_no_token_is_replaced_with_a_note() {
    let check = |bytes: &[u8], why: Why| {
        blocking(async {
            let config = config();
            let world = World::new(&config);
            overwrite(&world, bytes);
            let outcome = only(run(&config, &world, &due()).await);
            assert!(outcome.notes[0].contains("is replaced"), "{:?}", outcome.notes);
            let Ok(Done::Rotated { why: got, .. }) = outcome.result else { panic!("{outcome}") };
            assert!(got == why && world.is_usable("web"), "{got}");
        });
    };
    check(b"", Why::Unreadable);
    check(b"<html>", Why::Unreadable);
    check(b"{\"version\":2}", Why::Unreadable);
    check(&others(), Why::Unlisted);
}

#[test]
fn an_access_token_that_is_no_longer_taken_is_renewed_once() {
    blocking(async {
        let config = config_of(&["web", "db"]);
        let mut world = World::new(&config);
        // Both factories mint with the old token; one login serves both.
        world.fault = Box::new(|_, name| (name == "mint").then_some(Fault::Unauthorized));
        let report = run(&config, &world, &due()).await.unwrap();
        assert_eq!(report.class(), Some(Class::Refused));
        let logins = world.calls().into_iter().filter(|name| *name == "authenticate").count();
        assert_eq!(logins, 2);
    });
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        world.fault = Box::new(|n, _| (n == 4).then_some(Fault::Unauthorized));
        assert_eq!(run(&config, &world, &due()).await.unwrap().class(), None);
        assert_eq!(
            world.calls()[..6],
            ["authenticate", "list_factories", "s3:GetObject", "mint", "authenticate", "mint"]
        );
        assert_eq!(world.state.borrow().tokens.len(), 1);
    });
}

#[test]
fn only_what_is_asked_for() {
    blocking(async {
        let config = config_of(&["web", "db"]);
        let world = World::new(&config);
        let ask =
            |ids: &[&str]| Ask { factories: ids.iter().map(|id| id.parse().unwrap()).collect(), ..asked() };
        let report = run(&config, &world, &ask(&["db"])).await.unwrap();
        assert_eq!(report.factories.len(), 1);
        assert!(world.is_usable("db") && !world.is_usable("web"));
        let again = only(run(&config, &world, &ask(&["db"])).await);
        assert!(matches!(again.result, Ok(Done::Rotated { why: Why::Asked, .. })), "{again}");
        world.calls();
        let error = run(&config, &world, &ask(&["db", "no", "nor"])).await.unwrap_err();
        assert_eq!(
            (error.class(), error.to_string().as_str()),
            (Class::Usage, "not in the configuration: no, nor")
        );
        assert!(world.calls().is_empty());
    });
}

#[test]
fn nothing_is_begun_that_cannot_end() {
    // Every call takes `pace` seconds, and the first mint may fail; the calls that were made.
    let calls =
        |pace: u64, within: Option<u64>, mint: Option<Fault>, end: fn(&Result<Done, Error>) -> bool| {
            blocking(async {
                let config = config();
                let mut world = World::new(&config);
                world.pace = Box::new(move || [Duration::from_secs(pace), Duration::ZERO]);
                world.fault = Box::new(move |n, _| if n == 4 { mint } else { None });
                let outcome =
                    only(run_within(&config, &world, &due(), within.map(Duration::from_secs)).await);
                assert!(end(&outcome.result), "{pace} {within:?} {outcome}");
                let put = world.state.borrow().calls.iter().position(|name| *name == "s3:PutObject");
                // The put is done before the run is ended.
                assert!(within.zip(put).is_none_or(|(within, at)| (at as u64 + 1) * pace <= within));
                world.calls()
            })
        };
    let no_time = |end: &Result<Done, Error>| {
        end.as_ref().is_err_and(|e| matches!(e, Error::NoTime { .. }) && e.class() == Class::Transient)
    };
    let none = ["authenticate", "list_factories", "s3:GetObject"];
    let all = [&none[..2], &GOOD].concat();
    assert_eq!(calls(0, Some(0), None, no_time), none[..2]);
    assert_eq!(calls(0, Some(70), None, no_time), none[..2]);
    assert_eq!(calls(0, Some(71), None, Result::is_ok), all);
    // 60 s are gone when the mint begins, and as many are needed.
    assert_eq!(calls(20, Some(130), None, no_time), none);
    assert_eq!(calls(20, Some(131), None, Result::is_ok), all);
    // A repeat that could be cut off is not made, either.
    let transient = |end: &Result<Done, Error>| end.as_ref().is_err_and(|e| e.class() == Class::Transient);
    assert_eq!(calls(20, Some(140), Some(Fault::NotDone), transient), [&none[..], &["mint"]].concat());
    // A command is not ended from outside.
    assert_eq!(calls(150, None, None, Result::is_ok), all);
}

#[test]
fn one_expired_token_of_ours_is_deleted_a_run() {
    blocking(async {
        let config = config();
        let world = World::new(&config);
        only(run(&config, &world, &due()).await).result.unwrap();
        let label = Label::new(config.deployment, world.now(), Kind::Layer, 1);
        let add = |text: char, ours: bool, age: Duration| {
            let cidr = if ours { label.beside(&[]) } else { Vec::new() };
            let (factory, text) = ("web".to_owned(), text.to_string().repeat(50));
            let expires_at = world.now().minus(age);
            world.state.borrow_mut().tokens.push(Known { factory, text, expires_at, cidr });
        };
        add('a', true, HOUR);
        add('b', true, 2 * HOUR);
        add('c', false, 2 * HOUR);
        let left = || {
            let state = world.state.borrow();
            let first = state.tokens.iter().map(|token| token.text.chars().next().unwrap());
            // Those that were minted here begin with 0.
            first.filter(|first| *first != '0').collect::<String>()
        };
        let unrevoking = Config { revoke: false, ..config.clone() };
        // It is worth a warning when a token is minted, and not each time that one is kept.
        for (ask, wanted) in
            [(due(), None), (asked(), Some("2 expired tokens of ours are left, since revoke = false"))]
        {
            let outcome = only(run(&unrevoking, &world, &ask).await);
            assert_eq!((left().as_str(), outcome.notes.first().map(String::as_str)), ("abc", wanted));
        }
        for after in ["ac", "c", "c"] {
            let outcome = only(run(&config, &world, &due()).await);
            assert!(outcome.notes.is_empty() && outcome.result.is_ok(), "{outcome}");
            assert_eq!(left(), after);
        }
    });
}

#[test]
fn the_worst_class() {
    assert_eq!(worst([]), None);
    assert_eq!(worst([Class::Transient, Class::Refused, Class::Absent]), Some(Class::Refused));
    assert_eq!(worst(Class::ALL), Some(Class::Bug));
}

#[test]
fn where_each_instance_has_a_token_of_its_own_none_is_minted() {
    blocking(async {
        let mut config = config_of(&["web", "db"]);
        config.factories[1].shared = false;
        let world = World::new(&config);
        for ask in [due(), asked()] {
            let report = run(&config, &world, &ask).await.unwrap();
            assert_eq!(report.class(), None);
            assert!(matches!(report.factories[0].result, Ok(Done::Rotated { .. })));
            assert!(matches!(report.factories[1].result, Ok(Done::Unshared)), "{:?}", report.factories);
            // Nobody lacks a token, so no metric of an end says so.
            assert_eq!(report.factories[1].offered, Offered::Unknown);
            assert_eq!(report.to_json()["factories"][1]["result"], "unshared");
            assert_eq!(world.calls().iter().filter(|call| **call == "mint").count(), 1);
        }
        assert!(world.published("db").is_none());
    });
}

#[test]
fn a_token_that_was_shared_before_is_left_to_expire_and_then_deleted() {
    blocking(async {
        let mut config = config();
        let world = World::new(&config);
        only(run(&config, &world, &due()).await).result.unwrap();
        config.factories[0].shared = false;
        tokio::time::advance(5 * HOUR).await;
        only(run(&config, &world, &due()).await).result.unwrap();
        assert_eq!(world.state.borrow().tokens.len(), 1, "it lives for those who fetched it");
        tokio::time::advance(4 * HOUR).await;
        only(run(&config, &world, &due()).await).result.unwrap();
        assert!(world.state.borrow().tokens.is_empty());
    });
}

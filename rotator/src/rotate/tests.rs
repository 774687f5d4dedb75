//! The flow over scripted effects: what it calls, and what it leaves behind when any call fails.

mod world;

use super::*;
use crate::label::Label;
use crate::plan::Why;
use std::cell::Cell;
use std::time::Duration;
use world::{Fault, Known, World};
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
    Run::new(config, ask, world.now(), within, fastrand::Rng::with_seed(seed)).rotate(world).await
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

#[test]
fn two_runs_at_once_publish_one_token_and_revoke_the_other() {
    blocking(async {
        let config = config();
        let world = World::new(&config);
        for ask in [due(), asked()] {
            let (one, two) = (
                Run::new(&config, &ask, world.now(), None, fastrand::Rng::with_seed(1)),
                Run::new(&config, &ask, world.now(), None, fastrand::Rng::with_seed(2)),
            );
            let before = world.state.borrow().tokens.len();
            let (one, two) = futures_util::future::join(one.rotate(&world), two.rotate(&world)).await;
            let ends = [only(one), only(two)];
            let count = |wanted: fn(&Done) -> bool| {
                ends.iter().filter(|end| end.result.as_ref().is_ok_and(wanted)).count()
            };
            assert_eq!(count(|done| matches!(done, Done::Rotated { .. })), 1, "{ends:?}");
            assert_eq!(count(|done| matches!(done, Done::LostRace { .. })), 1, "{ends:?}");
            assert_eq!(world.state.borrow().tokens.len(), before + 1);
            assert!(world.is_usable("web"));
        }
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
fn somebody_else_publishes_first() {
    meanwhile(
        6,
        true,
        |world| overwrite(world, &others()),
        |world, end| {
            assert!(matches!(end.result, Ok(Done::LostRace { .. })), "{end}");
            assert!(world.state.borrow().tokens.is_empty(), "ours is revoked");
        },
    );
    meanwhile(
        6,
        false,
        |world| overwrite(world, &others()),
        |world, end| {
            assert!(matches!(end.result, Ok(Done::LostRace { .. })), "{end}");
            assert_eq!(world.state.borrow().tokens.len(), 1);
            assert!(end.notes[0].contains("lives on, since revoke = false"), "{:?}", end.notes);
        },
    );
}

#[test]
fn a_lost_race_whose_token_lives_on_is_a_failure() {
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        world.meanwhile = Some((6, Box::new(|world| overwrite(world, &others()))));
        world.fault = Box::new(|_, name| (name == "revoke").then_some(Fault::Refused));
        let report = run(&config, &world, &due()).await.unwrap();
        assert_eq!(report.class(), Some(Class::Refused));
        assert_eq!((&report.to_json()["failed"], world.state.borrow().tokens.len()), (&1.into(), 1));
        let error = report.factories[0].result.as_ref().unwrap_err();
        assert!(error.hint().unwrap_or_default().contains("permit the rotator's role update"), "{error}");
        check_nothing_leaked(&world, &[&Ok(report)], "a lost race");
    });
}

/// A run of which every put, or those of these numbers alone, fails; gives the end, and the world
/// after a put that was under way was carried out.
fn puts_fail(fault: fn(usize) -> Option<Fault>, before: bool, check: impl Fn(&World, &Outcome)) {
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        if before {
            only(run(&config, &world, &due()).await).result.unwrap();
            tokio::time::advance(4 * HOUR).await;
        }
        let puts = Cell::new(0);
        world.fault = Box::new(move |_, name| {
            puts.set(puts.get() + usize::from(name == "s3:PutObject"));
            if name == "s3:PutObject" { fault(puts.get()) } else { None }
        });
        let report = run(&config, &world, &due()).await;
        world.land();
        check_nothing_leaked(&world, &[&report], "puts fail");
        check(&world, &only(report));
    });
}

#[test]
fn a_put_that_may_still_be_carried_out_leaves_its_token_alive() {
    let left_alive = |fault: fn(usize) -> Option<Fault>, before: bool| {
        puts_fail(fault, before, |world, end| {
            let error = end.result.as_ref().unwrap_err();
            let Error::UnknownFate { fingerprint, .. } = error else { panic!("{end}") };
            assert_eq!(error.class(), Class::Transient);
            assert!(end.to_string().contains(fingerprint.as_str()), "{end}");
            assert!(!world.calls().contains(&"revoke"));
            assert_eq!(world.state.borrow().tokens.len(), 1 + usize::from(before));
        });
    };
    for before in [false, true] {
        left_alive(|_| Some(Fault::LandsLater), before);
        left_alive(|_| Some(Fault::NotDone), before);
        left_alive(|n| Some(if n == 1 { Fault::LandsLater } else { Fault::Refused }), before);
        left_alive(|n| Some(if n == 1 { Fault::LandsLater } else { Fault::Contended }), before);
    }
    // What landed in the end is what the error names, and what agents can use.
    puts_fail(
        |_| Some(Fault::LandsLater),
        true,
        |world, end| {
            let there = world.published("web").unwrap().binding().fingerprint.clone();
            assert!(end.to_string().contains(there.as_str()) && world.is_usable("web"), "{end}");
        },
    );
    // The second attempt is good, and the first then meets it.
    puts_fail(
        |n| (n == 1).then_some(Fault::LandsLater),
        true,
        |world, end| assert!(end.result.is_ok() && world.is_usable("web"), "{end}"),
    );
}

#[test]
fn a_put_that_was_plainly_not_done_is_taken_back() {
    let taken_back = |fault: fn(usize) -> Option<Fault>, before: bool, class: Class| {
        puts_fail(fault, before, |world, end| {
            assert_eq!(end.result.as_ref().unwrap_err().class(), class, "{end}");
            assert_eq!(world.state.borrow().tokens.len(), usize::from(before), "{end}");
        });
    };
    for before in [false, true] {
        taken_back(|_| Some(Fault::Refused), before, Class::Refused);
        // Nobody published: S3 was busy all the time.
        taken_back(|_| Some(Fault::Contended), before, Class::Transient);
        taken_back(|n| Some(if n == 1 { Fault::Contended } else { Fault::Refused }), before, Class::Refused);
        puts_fail(
            |n| (n < 4).then_some(Fault::Contended),
            before,
            |world, end| assert!(matches!(end.result, Ok(Done::Rotated { .. })) && world.is_usable("web")),
        );
    }
    // The object was removed under our If-Match: nobody published either.
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        overwrite(&world, b"garbage");
        world.meanwhile = Some((6, Box::new(|world| world.state.borrow_mut().objects.clear())));
        let outcome = only(run(&config, &world, &due()).await);
        assert_eq!(outcome.result.unwrap_err().class(), Class::Transient);
        assert!(world.state.borrow().tokens.is_empty());
    });
}

#[test]
fn somebody_else_publishes_just_after() {
    meanwhile(
        7,
        true,
        |world| overwrite(world, &others()),
        |world, end| {
            assert!(matches!(end.result, Ok(Done::Rotated { .. })), "{end}");
            // Agents may hold it: it lives until it expires.
            assert_eq!(world.state.borrow().tokens.len(), 1);
            assert!(end.notes[0].contains("superseded at once"), "{:?}", end.notes);
        },
    );
}

#[test]
fn what_does_not_read_back_is_revoked() {
    let check = |change: fn(&World), at: usize, say: &str| {
        let say = say.to_owned();
        meanwhile(at, true, change, move |world, end| {
            let error = end.result.unwrap_err();
            assert_eq!(error.class(), Class::Tampered, "{error}");
            assert!(error.to_string().contains(&say), "{error}");
            assert!(world.state.borrow().tokens.is_empty());
        });
    };
    check(|world| overwrite(world, b"garbage"), 7, "overwritten with something else");
    check(|world| world.state.borrow_mut().objects.clear(), 7, "it is gone");
    check(
        |world| {
            let text = String::from_utf8(world.state.borrow().put[0].clone()).unwrap();
            overwrite(world, text.replace("\"rotation_id\":\"", "\"rotation_id\":\"x").as_bytes());
        },
        7,
        "it was changed",
    );
    check(|world| world.state.borrow_mut().sealed.clear(), 8, "it does not open");
    check(|world| world.state.borrow_mut().sealed[0].0 = b"another".to_vec(), 8, "it opens to another token");
}

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
fn a_process_that_was_frozen_between_two_puts_does_not_publish() {
    let frozen = |fault: Fault, tokens: usize, fits: fn(&Error) -> bool| {
        blocking(async {
            let config = config();
            let mut world = World::new(&config);
            world.meanwhile = Some((6, Box::new(|world| world.base.set(world.base.get().plus(HOUR)))));
            world.fault = Box::new(move |n, _| (n == 6).then_some(fault));
            let error = only(run(&config, &world, &due()).await).result.unwrap_err();
            assert!(fits(&error) && error.class() == Class::Transient, "{error}");
            assert_eq!(world.calls().iter().filter(|name| **name == "s3:PutObject").count(), 1);
            assert_eq!(world.state.borrow().tokens.len(), tokens);
        });
    };
    frozen(Fault::Contended, 0, |error| matches!(error, Error::TooLate { .. }));
    frozen(Fault::LandsLater, 1, |error| matches!(error, Error::UnknownFate { .. }));
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
fn one_factory_s_failure_stops_no_other() {
    blocking(async {
        let ids: Vec<String> = (0..20).map(|i| format!("f{i}")).collect();
        let config = config_of(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        let mut world = World::new(&config);
        // Conjur lists all but one; of the others, one mint is refused.
        world.state.borrow_mut().factories.retain(|id| id != "f7");
        let refused = Cell::new(false);
        world.fault =
            Box::new(move |_, name| (name == "mint" && !refused.replace(true)).then_some(Fault::Refused));
        let report = run(&config, &world, &due()).await.unwrap();
        assert_eq!(report.factories.iter().filter(|o| o.result.is_ok()).count(), 18);
        assert!(matches!(report.factories[7].result, Err(Error::Unseen { .. })));
        assert_eq!(report.class(), Some(Class::Refused));
        assert_eq!(report.to_json()["failed"], 2);
        let order: Vec<String> = report.factories.iter().map(|o| o.factory.to_string()).collect();
        assert_eq!(order, ids);
        assert_eq!(world.most_in_flight.get(), config.concurrency);
        // 2 shared; 6 for each that was rotated, 1 for the refused one after its get.
        assert_eq!(world.calls().len(), 2 + 18 * GOOD.len() + 2);
    });
}

#[test]
fn only_what_is_asked_for() {
    blocking(async {
        let config = config_of(&["web", "db"]);
        let world = World::new(&config);
        let ask =
            |ids: &[&str]| Ask { now: true, factories: ids.iter().map(|id| id.parse().unwrap()).collect() };
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
                world.pace = Duration::from_secs(pace);
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
    assert_eq!(calls(0, Some(0), None, no_time), none);
    assert_eq!(calls(0, Some(70), None, no_time), none);
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
        let label = Label::new(config.deployment, world.now(), 1);
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

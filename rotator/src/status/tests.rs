//! What is shown, as table and as JSON.

use super::*;
use crate::effects;
use crate::label::{Kind, Label};
use crate::rotate::{Ask, Run};
use crate::world::{Fault, World};
use imprint_core::caller::RunId;
use imprint_core::sealed::Binding;
use std::time::Duration;
use zeroize::Zeroizing;

fn config() -> Config {
    config_of(&["app/web"])
}

fn config_of(factories: &[&str]) -> Config {
    let mut text = "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/rotator\"\n\
                deployment = \"1f2e3d4c\"\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n"
        .to_owned();
    for id in factories {
        text.push_str(&format!("[[factory]]\nid = \"{id}\"\nhosts_branch = \"app/hosts\"\n"));
    }
    Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap()
}

fn shown(binding: &Binding, listed: bool) -> Shown {
    Shown {
        fingerprint: binding.fingerprint.clone(),
        issued_at: binding.issued_at,
        expires_at: binding.expires_at,
        listed: Some(listed),
    }
}

fn status() -> Status {
    let config = config();
    let now: Second = "2026-11-22T08:00:00Z".parse().unwrap();
    let (hour, end) = (Duration::from_secs(3600), now.plus(Duration::from_secs(5400)));
    let binding = config.binding(&config.factories[0], Fingerprint::of(b"abc"), "r", now.minus(hour), end);
    let state = |id: &str, published, replace: Option<Why>, due, at_conjur| State {
        factory: id.parse().unwrap(),
        shared: true,
        published,
        replace,
        due: replace.map(|_| now).or(due),
        at_conjur,
    };
    let counts = |superseded, orphans| {
        let (by_hand, client_data) = (orphans, superseded);
        Ok(Counts {
            ours: 6,
            superseded,
            orphans,
            by_hand,
            client_data,
            instance: 0,
            expired: 1,
            foreign: 12,
        })
    };
    let broken = effects::Error::from(imprint_core::aws::Error::NoRegion).into();
    Status {
        now,
        factories: vec![
            state("app/web", Ok(Some(shown(&binding, true))), None, Some(now.plus(hour)), counts(2, 0)),
            state("db", Ok(Some(shown(&binding, false))), Some(Why::Unlisted), None, counts(1, 3)),
            state("new", Ok(None), Some(Why::Nothing), None, Ok(Counts::default())),
            state("odd", Err(broken), None, None, counts(0, 0)),
        ],
    }
}

#[test]
fn the_table() {
    let wanted = "\
FACTORY  TOKEN         AGE  EXPIRES               LEFT   DUE                   IN  NEXT RUN                         AT CONJUR
app/web  ba7816bf8f01  1h   2026-11-22T09:30:00Z  1h30m  2026-11-22T09:00:00Z  1h  keeps it                         6 ours (2 superseded, 2 client data), 1 expired, 12 foreign
db       ba7816bf8f01  1h   2026-11-22T09:30:00Z  1h30m  now                   -   replaces it (unlisted)           6 ours (1 superseded, 3 orphaned, 3 by hand, 1 client data), 1 expired, 12 foreign
new      -             -    -                     -      now                   -   replaces it (nothing published)  0 ours
odd      not known     -    -                     -      -                     -   -                                6 ours, 1 expired, 12 foreign
odd: no AWS region is set
hint: set region in the configuration, or AWS_REGION
4 factories: the next run keeps 1 tokens and replaces 2; 1 not known; 3 orphans";
    assert_eq!(Table(&status()).to_string(), wanted);
}

#[test]
fn the_json() {
    let json = status().to_json();
    assert_eq!(
        json["factories"][0],
        json!({
            "factory": "app/web",
            "shared": true,
            "replace": null,
            "next_rotation": {"at": "2026-11-22T09:00:00Z", "seconds": 3600},
            "published": {
                "fingerprint": "ba7816bf8f01",
                "issued_at": "2026-11-22T07:00:00Z",
                "age_seconds": 3600,
                "expires_at": "2026-11-22T09:30:00Z",
                "seconds_left": 5400,
                "listed": true,
            },
            "at_conjur": {
                "ours": 6, "superseded": 2, "orphans": 0, "by_hand": 0, "client_data": 2, "instance": 0,
                "expired": 1, "foreign": 12,
            },
        })
    );
    let next = |at: usize| json["factories"][at]["next_rotation"].clone();
    assert_eq!(next(1), json!({"at": "2026-11-22T08:00:00Z", "seconds": 0}));
    assert_eq!((next(3), &json["factories"][3]["class"]), (Value::Null, &json!("config")));
}

#[test]
fn the_exit_code() {
    let mut status = status();
    let mut check = |class| {
        assert_eq!(status.class(), class);
        status.factories.pop();
    };
    check(Some(Class::Config)); // odd: not known
    check(Some(Class::Absent)); // new: nothing published
    check(Some(Class::Absent)); // db: unlisted
    check(None);
}

#[test]
fn whose_tokens_there_are() {
    let config = config();
    let now = Second::from_unix(1_800_000_000);
    let token = |deployment: &str, kind: Kind, seconds: i64, standing: Option<Standing>| {
        let label = Label::new(deployment.parse().unwrap(), now, kind, 1);
        let end = Second::from_unix(now.unix() + seconds);
        (Listed::new(Fingerprint::of(b"x"), end, &label.beside(&[])), standing)
    };
    let layer = |seconds, standing| token("1f2e3d4c", Kind::Layer, seconds, standing);
    let tokens = [
        layer(1, Some(Standing::Published)),
        layer(2, Some(Standing::Superseded)),
        layer(2, Some(Standing::Orphan)),
        layer(2, Some(Standing::Coming)),
        // What is published is not known.
        layer(2, None),
        layer(0, Some(Standing::Expired)),
        token("1f2e3d4c", Kind::ByHand, 1, None),
        token("1f2e3d4c", Kind::ByHand, 0, Some(Standing::Expired)),
        token("1f2e3d4c", Kind::ClientData, 1, Some(Standing::ClientData)),
        token("1f2e3d4c", Kind::Instance, 1, Some(Standing::Instance)),
        token("00000000", Kind::Layer, 1, Some(Standing::Foreign)),
        (Listed::new(Fingerprint::of(b"y"), now, &[]), Some(Standing::Foreign)),
    ];
    let wanted = Counts {
        ours: 8,
        superseded: 1,
        orphans: 1,
        by_hand: 1,
        client_data: 1,
        instance: 1,
        expired: 2,
        foreign: 2,
    };
    assert_eq!(count(&config, &tokens, now), wanted);
}

/// Asks a world of two factories, of which both were rotated and then `change`d; the rows of the
/// table that are not the first factory's, the classes of the JSON, and the exit class.
fn asked(change: impl Fn(&mut World)) -> (Vec<String>, Vec<Value>, Option<Class>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        // One after the other, so that calls have their numbers.
        let config = Config { concurrency: 1, ..config_of(&["web", "db"]) };
        let mut world = World::new(&config);
        let ask = Ask::default();
        let mut random = fastrand::Rng::with_seed(1);
        let run = Run::new(&config, &ask, &RunId::new(world.now(), random.u32(..)), None, random);
        assert_eq!(run.rotate(&world).await.unwrap().class(), None);
        world.calls();
        change(&mut world);
        let status = Status::ask(&config, &[], &world).await.unwrap();
        let mut calls = world.calls();
        // A factory that is not on the list is looked for alone.
        calls.retain(|call| *call != "show_factory");
        assert_eq!(calls, ["authenticate", "list_factories", "s3:GetObject", "s3:GetObject"]);
        let rows = Table(&status).to_string();
        let others =
            |row: &&str| !["web ", "FACTORY", "2 factories"].iter().any(|head| row.starts_with(head));
        let rows = rows.lines().filter(others);
        let words = |row: &str| row.split_whitespace().collect::<Vec<_>>().join(" ");
        let json = status.to_json()["factories"].as_array().unwrap().clone();
        (rows.map(words).collect(), json, status.class())
    })
}

const DB: &str = "factories/prod/db/token.json";

#[test]
fn a_good_factory() {
    let (rows, json, class) = asked(|_| ());
    assert!(rows[0].ends_with(" 8h 2027-01-15T12:00:00Z 4h keeps it 1 ours") && rows.len() == 1, "{rows:?}");
    assert_eq!((&json[1]["published"]["listed"], json[1].get("class"), class), (&json!(true), None, None));
}

#[test]
fn only_the_factories_that_are_asked_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let config = config_of(&["web", "db", "mail"]);
        let world = World::new(&config);
        let ask = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect::<Vec<_>>();
        let status = Status::ask(&config, &ask(&["mail", "web"]), &world).await.unwrap();
        let shown: Vec<String> = status.factories.iter().map(|state| state.factory.to_string()).collect();
        assert_eq!(shown, ["web", "mail"]);
        assert_eq!(world.calls().len(), 4);
        let error = Status::ask(&config, &ask(&["web", "no"]), &world).await.unwrap_err();
        assert_eq!((error.class(), world.calls().len()), (Class::Usage, 0));
    });
}

#[test]
fn a_thousand_rows_are_summed_up_below_them() {
    let mut status = status();
    let long = format!("a/{}", "b".repeat(200));
    for id in (0..996).map(|number| format!("f/{number}")).chain([long]) {
        let (factory, due) = (id.parse().unwrap(), Some(status.now));
        let at_conjur = Ok(Counts { orphans: 1, ..Counts::default() });
        status.factories.push(State {
            factory,
            shared: true,
            published: Ok(None),
            replace: None,
            due,
            at_conjur,
        });
    }
    let text = Table(&status).to_string();
    let last = text.lines().last().unwrap();
    assert_eq!(
        last,
        "1001 factories: the next run keeps 998 tokens and replaces 2; 1 not known; 1000 orphans"
    );
    // One long name makes one long row.
    assert_eq!(text.lines().filter(|line| line.len() > 200).count(), 1);
}

#[test]
fn a_factory_that_conjur_does_not_list_is_unseen() {
    let unseen = |change: fn(&mut World)| {
        asked(move |world| {
            world.state.borrow_mut().factories.retain(|id| id != "db");
            change(world);
        })
    };
    let (rows, json, class) = unseen(|_| ());
    assert!(rows[0].ends_with(" 8h - - - unseen"), "{rows:?}");
    assert_eq!(rows[1], "db: host/rotator sees no such host factory");
    assert_eq!((&json[1]["class"], &json[1]["replace"]), (&json!("refused"), &Value::Null));
    let hint = "load the host factory's policy, and permit the rotator execute and update on it";
    assert_eq!(json[1]["hint"], hint);
    assert_eq!((&json[1]["published"]["listed"], &json[1]["at_conjur"]), (&Value::Null, &Value::Null));
    assert_eq!((json[0].get("class"), class), (None, Some(Class::Refused)));
    // Nothing or garbage there changes nothing about that.
    let (rows, json, class) = unseen(|world| world.state.borrow_mut().objects.clear());
    assert_eq!(rows[0], "db - - - - - - - unseen");
    assert_eq!((&json[1]["published"], class), (&Value::Null, Some(Class::Refused)));
}

#[test]
fn an_object_that_may_not_be_read_is_not_known() {
    let (rows, json, class) =
        asked(|world| world.fault = Box::new(|n, _| (n == 4).then_some(Fault::Refused)));
    assert_eq!(rows[0], "db not known - - - - - - 1 ours");
    assert!(rows[1].contains(&format!("S3 does not let {DB} be read")), "{rows:?}");
    assert_eq!((json[1].get("published"), &json[1]["class"]), (None, &json!("refused")));
    assert_eq!(class, Some(Class::Refused));
    let (rows, json, class) =
        asked(|world| world.fault = Box::new(|n, _| (n == 4).then_some(Fault::NotDone)));
    assert!(rows[0].starts_with("db not known"), "{rows:?}");
    assert_eq!((&json[1]["class"], class), (&json!("transient"), Some(Class::Transient)));
}

#[test]
fn what_a_run_would_replace() {
    let check = |change: fn(&mut World), why: &str, wanted| {
        let (rows, json, class) = asked(change);
        assert!(rows[0].contains(&format!(" now - replaces it ({why}) ")), "{rows:?}");
        assert_eq!((&json[1]["replace"], class, rows.len()), (&json!(why), wanted, 1));
    };
    let remove = |world: &mut World| drop(world.state.borrow_mut().objects.remove(DB));
    check(remove, "nothing published", Some(Class::Absent));
    let revoke = |world: &mut World| world.state.borrow_mut().tokens.retain(|token| token.factory != "db");
    check(revoke, "unlisted", Some(Class::Absent));
    let overwrite = |world: &mut World| {
        world.state.borrow_mut().objects.insert(DB.to_owned(), (b"garbage".to_vec(), 9));
    };
    check(overwrite, "unreadable", Some(Class::Tampered));
    let unlabel = |world: &mut World| world.state.borrow_mut().tokens.iter_mut().for_each(|t| t.cidr.clear());
    check(unlabel, "tampered", Some(Class::Tampered));
    let later = |world: &mut World| world.base.set(world.base.get().plus(Duration::from_secs(5 * 3600)));
    check(later, "due", None);
}

#[test]
fn a_factory_that_shares_no_token_lacks_none() {
    let mut config = config_of(&["app/web", "app/db"]);
    config.factories[1].shared = false;
    let world = World::new(&config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let status = runtime.unwrap().block_on(async {
        let ask = Ask::default();
        let run = Run::new(&config, &ask, &RunId::new(world.now(), 1), None, fastrand::Rng::with_seed(1));
        run.rotate(&world).await.unwrap();
        Status::ask(&config, &[], &world).await.unwrap()
    });
    assert_eq!(status.class(), None);
    let text = Table(&status).to_string();
    let row = text.lines().find(|line| line.starts_with("app/db")).unwrap();
    assert!(row.contains("none is shared"), "{text}");
    assert!(
        text.ends_with("2 factories: the next run keeps 1 tokens and replaces 0; 0 not known; 0 orphans"),
        "{text}"
    );
    let json = &status.to_json()["factories"][1];
    assert_eq!(
        (&json["shared"], &json["replace"], &json["next_rotation"]),
        (&false.into(), &Value::Null, &Value::Null)
    );
}

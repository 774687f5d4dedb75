//! What is shown, as table and as JSON.

use super::*;
use crate::label::{Kind, Label};
use crate::rotate::{Ask, Run};
use crate::world::{Fault, World};
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
    let end = now.plus(Duration::from_secs(5400));
    let binding = config.binding(&config.factories[0], Fingerprint::of(b"abc"), "r", now, end);
    let state = |id: &str, published, replace, at_conjur| State {
        factory: id.parse().unwrap(),
        published,
        replace,
        at_conjur,
    };
    let counts = || Ok(Counts { ours: 2, expired: 1, foreign: 12 });
    let broken = effects::Error::from(imprint_core::aws::Error::NoRegion).into();
    Status {
        now,
        factories: vec![
            state("app/web", Ok(Some(shown(&binding, true))), None, counts()),
            state("db", Ok(Some(shown(&binding, false))), Some(Why::Unlisted), counts()),
            state("new", Ok(None), Some(Why::Nothing), Ok(Counts::default())),
            state("odd", Err(broken), None, counts()),
        ],
    }
}

#[test]
fn the_table() {
    let wanted = "\
FACTORY  TOKEN         ISSUED                EXPIRES               LEFT   AT CONJUR   OURS  EXPIRED  FOREIGN  NEXT RUN
app/web  ba7816bf8f01  2026-11-22T08:00:00Z  2026-11-22T09:30:00Z  1h30m  listed      2     1        12       keeps it
db       ba7816bf8f01  2026-11-22T08:00:00Z  2026-11-22T09:30:00Z  1h30m  not listed  2     1        12       replaces it (unlisted)
new      -             -                     -                     -      -           0     0        0        replaces it (nothing published)
odd      not known     -                     -                     -      -           2     1        12       -
odd: no AWS region is set";
    assert_eq!(Table(&status()).to_string(), wanted);
}

#[test]
fn the_json() {
    let json = status().to_json();
    assert_eq!(
        json["factories"][0],
        json!({
            "factory": "app/web",
            "replace": null,
            "published": {
                "fingerprint": "ba7816bf8f01",
                "issued_at": "2026-11-22T08:00:00Z",
                "expires_at": "2026-11-22T09:30:00Z",
                "seconds_left": 5400,
                "listed": true,
            },
            "at_conjur": {"ours": 2, "expired": 1, "foreign": 12},
        })
    );
    assert_eq!(json["factories"][3]["class"], "config");
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
    let token = |deployment: &str, seconds: i64| {
        let label = Label::new(deployment.parse().unwrap(), now, Kind::Layer, 1);
        Listed::new(Fingerprint::of(b"x"), Second::from_unix(now.unix() + seconds), &label.beside(&[]))
    };
    let foreign = Listed::new(Fingerprint::of(b"y"), now, &[]);
    let tokens =
        [token("1f2e3d4c", 1), token("1f2e3d4c", 2), token("1f2e3d4c", 0), token("00000000", 1), foreign];
    assert_eq!(count(&config, &tokens, now), Counts { ours: 2, expired: 1, foreign: 2 });
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
        let run = Run::new(&config, &ask, world.now(), None, fastrand::Rng::with_seed(1));
        assert_eq!(run.rotate(&world).await.unwrap().class(), None);
        world.calls();
        change(&mut world);
        let status = Status::ask(&config, &world).await.unwrap();
        assert_eq!(world.calls(), ["authenticate", "list_factories", "s3:GetObject", "s3:GetObject"]);
        let rows = Table(&status).to_string();
        let rows = rows.lines().filter(|row| !row.starts_with("web ") && !row.starts_with("FACTORY"));
        let words = |row: &str| row.split_whitespace().collect::<Vec<_>>().join(" ");
        let json = status.to_json()["factories"].as_array().unwrap().clone();
        (rows.map(words).collect(), json, status.class())
    })
}

const DB: &str = "factories/prod/db/token.json";

#[test]
fn a_good_factory() {
    let (rows, json, class) = asked(|_| ());
    assert!(rows[0].ends_with("8h listed 1 0 0 keeps it") && rows.len() == 1, "{rows:?}");
    assert_eq!((&json[1]["published"]["listed"], json[1].get("class"), class), (&json!(true), None, None));
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
    assert!(rows[0].ends_with("8h unseen - - - -"), "{rows:?}");
    assert_eq!(rows[1], "db: host/rotator sees no such host factory");
    assert_eq!((&json[1]["class"], &json[1]["replace"]), (&json!("refused"), &Value::Null));
    assert_eq!((&json[1]["published"]["listed"], &json[1]["at_conjur"]), (&Value::Null, &Value::Null));
    assert_eq!((json[0].get("class"), class), (None, Some(Class::Refused)));
    // Nothing or garbage there changes nothing about that.
    let (rows, json, class) = unseen(|world| world.state.borrow_mut().objects.clear());
    assert_eq!(rows[0], "db - - - - unseen - - - -");
    assert_eq!((&json[1]["published"], class), (&Value::Null, Some(Class::Refused)));
}

#[test]
fn an_object_that_may_not_be_read_is_not_known() {
    let (rows, json, class) =
        asked(|world| world.fault = Box::new(|n, _| (n == 4).then_some(Fault::Refused)));
    assert_eq!(rows[0], "db not known - - - - 1 0 0 -");
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
        assert!(rows[0].ends_with(&format!("replaces it ({why})")), "{rows:?}");
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

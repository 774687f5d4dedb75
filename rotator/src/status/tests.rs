//! What is shown, as table and as JSON.

use super::*;
use crate::label::Label;
use imprint_core::sealed::Binding;
use std::time::Duration;
use zeroize::Zeroizing;

fn config() -> Config {
    let text = "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/rotator\"\n\
                deployment = \"1f2e3d4c\"\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n\
                [[factory]]\nid = \"app/web\"\nhosts_branch = \"app/hosts\"\n";
    Config::parse(text, &|_| Ok(Zeroizing::default())).unwrap()
}

fn shown(binding: &Binding, listed: bool) -> Shown {
    Shown {
        fingerprint: binding.fingerprint.clone(),
        issued_at: binding.issued_at,
        expires_at: binding.expires_at,
        listed,
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
    let counts = Some(Counts { ours: 2, expired: 1, foreign: 12 });
    let broken = imprint_core::aws::Error::NoRegion.into();
    Status {
        now,
        factories: vec![
            state("app/web", Ok(Some(shown(&binding, true))), None, counts),
            state("db", Ok(Some(shown(&binding, false))), Some(Why::Unlisted), counts),
            state("new", Ok(None), Some(Why::Nothing), Some(Counts::default())),
            state("odd", Err(broken), None, None),
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
odd      not known     -                     -                     -      -           -     -        -        -
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
        let label = Label::new(deployment.parse().unwrap(), now, 1);
        Listed::new(Fingerprint::of(b"x"), Second::from_unix(now.unix() + seconds), &label.beside(&[]))
    };
    let foreign = Listed::new(Fingerprint::of(b"y"), now, &[]);
    let tokens =
        [token("1f2e3d4c", 1), token("1f2e3d4c", 2), token("1f2e3d4c", 0), token("00000000", 1), foreign];
    assert_eq!(count(&config, &tokens, now), Counts { ours: 2, expired: 1, foreign: 2 });
}

//! The decision in tables.

mod orphans;

use super::*;
use crate::config::{Config, Factory};
use crate::policy::Windows;
use std::time::Duration;
use zeroize::Zeroizing;

const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;

/// The configuration of one factory; its tokens live eight hours and are due after four.
fn config() -> Config {
    let text = "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/rotator\"\n\
                deployment = \"1f2e3d4c\"\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n\
                [[factory]]\nid = \"app/web\"\nhosts_branch = \"app/hosts\"\n";
    Config::parse(text, &|_| Ok(Zeroizing::default())).unwrap()
}

fn named(name: &str) -> Fingerprint {
    Fingerprint::of(name.as_bytes())
}

#[test]
fn programs_are_told_all_reasons_and_standings() {
    use Why::*;
    let document = include_str!("../../../docs/json.md");
    for why in [Asked, Changed, Due, Expired, Nothing, Tampered, Unlisted, Unreadable] {
        assert!(document.contains(&format!("`{why}`")), "{why}");
    }
    use Standing as Is;
    for standing in [
        Is::ByHand,
        Is::ClientData,
        Is::Coming,
        Is::Expired,
        Is::Foreign,
        Is::Instance,
        Is::Orphan,
        Is::Published,
        Is::Superseded,
        Is::Unclear,
    ] {
        assert!(document.contains(&format!("`{standing}`")), "{standing}");
    }
}

/// A token of ours, minted so many hours ago.
fn ours(name: &str, hours_ago: i64) -> Listed {
    of("1f2e3d4c", name, hours_ago)
}

fn of(deployment: &str, name: &str, hours_ago: i64) -> Listed {
    let minted = Second::from_unix(NOW - hours_ago * HOUR);
    let label = Label::new(deployment.parse().unwrap(), minted, Kind::Layer, 7);
    Listed::new(named(name), minted.plus(Duration::from_secs(8 * 3600)), &label.beside(&[]))
}

fn foreign(name: &str, hours_ago: i64) -> Listed {
    let end = Second::from_unix(NOW - hours_ago * HOUR).plus(Duration::from_secs(8 * 3600));
    Listed::new(named(name), end, &[])
}

/// What publishing `token` would have written.
fn binding(config: &Config, token: &Listed) -> Binding {
    let issued = token.expires_at.minus(config.policy.lifetime());
    config.binding(&config.factories[0], token.fingerprint.clone(), "before", issued, token.expires_at)
}

struct Case<'a> {
    published: Option<Listed>,
    change: fn(&mut Binding),
    listed: &'a [Listed],
    asked: bool,
}

const AS_IT_IS: fn(&mut Binding) = |_| ();

fn check(case: &Case<'_>, step: Step, expired: &[&str]) {
    let config = config();
    let published = case.published.as_ref().map(|token| {
        let mut binding = binding(&config, token);
        (case.change)(&mut binding);
        binding
    });
    let now = Second::from_unix(NOW);
    let facts = Facts {
        policy: &config.policy,
        deployment: config.deployment,
        published: published.as_ref().map_or(Published::Nothing, Published::Sealed),
        wanted: &config.binding(&config.factories[0], named(""), "now", now, now),
        listed: case.listed,
        given: false,
        shared: true,
        asked: case.asked,
    };
    let expired = expired.iter().map(|name| named(name)).collect();
    assert_eq!(plan(&facts, now), Plan { step, expired, orphans: vec![] });
}

/// The step for a published token that Conjur lists, too.
fn with(hours_ago: i64, change: fn(&mut Binding), asked: bool) -> impl Fn(Step) {
    move |step| {
        let token = ours("a", hours_ago);
        let listed = [foreign("x", 0), token.clone()];
        let expired: &[&str] = if hours_ago > 8 { &["a"] } else { &[] };
        check(&Case { published: Some(token), change, listed: &listed, asked }, step, expired);
    }
}

#[test]
fn a_published_token_through_its_life() {
    let due = |hours| Step::Keep { until: Second::from_unix(NOW + hours * HOUR) };
    with(0, AS_IT_IS, false)(due(4));
    with(3, AS_IT_IS, false)(due(1));
    with(4, AS_IT_IS, false)(Step::Mint(Why::Due));
    with(7, AS_IT_IS, false)(Step::Mint(Why::Due));
    with(8, AS_IT_IS, false)(Step::Mint(Why::Expired));
    with(9, AS_IT_IS, false)(Step::Mint(Why::Expired));
    with(0, AS_IT_IS, true)(Step::Mint(Why::Asked));
    // What is wrong is worth more than that somebody asked.
    with(9, AS_IT_IS, true)(Step::Mint(Why::Expired));
    // A clock that is a little behind is no changed policy; a longer life than the policy's is.
    check(
        &Case { published: Some(ours("a", -1)), change: AS_IT_IS, listed: &[ours("a", -1)], asked: false },
        Step::Mint(Why::Changed),
        &[],
    );
}

#[test]
fn nothing_and_something_else() {
    let nothing = Case { published: None, change: AS_IT_IS, listed: &[ours("a", 1)], asked: false };
    check(&nothing, Step::Mint(Why::Nothing), &[]);
    let config = config();
    let now = Second::from_unix(NOW);
    let facts = Facts {
        policy: &config.policy,
        deployment: config.deployment,
        published: Published::Unreadable,
        wanted: &config.binding(&config.factories[0], named(""), "now", now, now),
        listed: &[],
        given: false,
        shared: true,
        asked: true,
    };
    let step = Step::Mint(Why::Unreadable);
    assert_eq!(plan(&facts, now), Plan { step, expired: vec![], orphans: vec![] });
}

#[test]
fn what_conjur_no_longer_lists_is_replaced_at_once() {
    let gone = |listed: &[Listed], hours_ago, why, expired: &[&str]| {
        let published = Some(ours("a", hours_ago));
        check(&Case { published, change: AS_IT_IS, listed, asked: false }, Step::Mint(why), expired);
    };
    gone(&[], 1, Why::Unlisted, &[]);
    gone(&[ours("b", 1), foreign("c", 1)], 1, Why::Unlisted, &[]);
    gone(&[], 9, Why::Expired, &[]);
    // Listed with another end: somebody wrote the object's clear fields.
    gone(&[ours("a", 2)], 1, Why::Tampered, &[]);
}

#[test]
fn a_published_token_that_is_not_ours_is_replaced_at_once() {
    let listed_as = |listed: Listed, why, expired: &[&str]| {
        let published = Some(listed.clone());
        check(
            &Case { published, change: AS_IT_IS, listed: &[listed], asked: false },
            Step::Mint(why),
            expired,
        );
    };
    // Somebody sealed a token with other networks and put it in the place of ours.
    listed_as(foreign("a", 1), Why::Tampered, &[]);
    listed_as(of("00000001", "a", 1), Why::Tampered, &[]);
    listed_as(foreign("a", 9), Why::Tampered, &[]);
    listed_as(ours("a", 9), Why::Expired, &["a"]);
}

#[test]
fn what_the_configuration_no_longer_gives_is_replaced() {
    let changed = |change| with(1, change, false)(Step::Mint(Why::Changed));
    changed(|b| b.appliance_url = "https://old.example.org".parse().unwrap());
    changed(|b| b.leader_url = "https://old.example.org".parse().unwrap());
    changed(|b| b.ca_sha256 = vec!["0".repeat(64)]);
    changed(|b| b.cidr = vec!["10.0.0.0/8".parse().unwrap()]);
    changed(|b| b.hosts_branch = "other".parse().unwrap());
    changed(|b| b.spread_s = 60);
    let tampered = |change| with(1, change, false)(Step::Mint(Why::Tampered));
    tampered(|b| b.host_factory = "app/db".parse().unwrap());
    tampered(|b| b.account = "other".parse().unwrap());
    // Its own fields are its own.
    with(1, |b| b.rotation_id = "another".to_owned(), false)(Step::Keep {
        until: Second::from_unix(NOW + 3 * HOUR),
    });
}

#[test]
fn only_expired_tokens_of_ours_are_deleted_oldest_first() {
    let listed = [
        ours("live", 7),
        ours("old", 10),
        foreign("foreign", 99),
        of("00000001", "another deployment's", 99),
        ours("older", 20),
        // Conjur's clock may be behind: within minutes of the end nothing is deleted.
        ours("just ended", 8),
    ];
    let case = Case { published: None, change: AS_IT_IS, listed: &listed, asked: false };
    check(&case, Step::Mint(Why::Nothing), &["older", "old"]);
}

#[test]
fn a_shorter_lifetime_replaces_what_lives_longer() {
    let mut config = config();
    let token = ours("a", 1);
    let published = binding(&config, &token);
    config.policy = Policy::new(Windows {
        period: Duration::from_secs(3600),
        overlap: Duration::ZERO,
        slack: Duration::from_secs(3600),
        ..Windows::default()
    })
    .unwrap();
    let now = Second::from_unix(NOW);
    let factory: &Factory = &config.factories[0];
    let facts = Facts {
        policy: &config.policy,
        deployment: config.deployment,
        published: Published::Sealed(&published),
        wanted: &config.binding(factory, named(""), "now", now, now),
        listed: &[token],
        given: false,
        shared: true,
        asked: false,
    };
    assert_eq!(plan(&facts, now).step, Step::Mint(Why::Changed));
}

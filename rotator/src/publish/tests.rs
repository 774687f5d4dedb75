//! A given token from standard input to what agents find, and what runs then do with it.

use super::*;
use crate::label::Kind;
use crate::plan::Why;
use crate::rotate::{Done, Run};
use crate::world::{Fault, Known, World};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

fn config(mint: bool) -> Config {
    let text = format!(
        "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/rotator\"\n\
         deployment = \"1f2e3d4c\"\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n\
         [[factory]]\nid = \"web\"\nhosts_branch = \"web/hosts\"\nmint = {mint}\n"
    );
    Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap()
}

fn blocking<T>(flow: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(flow)
}

/// A world with a foreign token of this character that ends in so long.
fn world(config: &Config, first: char, left: Duration) -> World {
    let world = World::new(config);
    add(&world, first, left, &["10.9.0.0/16"]);
    world
}

fn add(world: &World, first: char, left: Duration, cidr: &[&str]) {
    let (factory, text) = ("web".to_owned(), first.to_string().repeat(50));
    let cidr = cidr.iter().map(|net| net.parse().unwrap()).collect();
    let expires_at = world.now().plus(left);
    world.state.borrow_mut().tokens.push(Known { factory, text, expires_at, cidr });
}

async fn give(config: &Config, world: &World, text: &str) -> Result<Published, Error> {
    let ask = Ask { factory: "web".parse().unwrap(), token_from: TokenFrom::Stdin, json: false };
    let (id, text) = (RunId::new(world.now(), 1), Zeroizing::new(text.to_owned()));
    publish(config, &ask, &id, world, || Ok(text)).await
}

async fn rotate(config: &Config, world: &World, now: bool) -> Result<Done, rotate::Error> {
    let ask = rotate::Ask { now, ..rotate::Ask::default() };
    let id = RunId::new(world.now(), 2);
    let run = Run::new(config, &ask, &id, None, fastrand::Rng::with_seed(1));
    let mut report = run.rotate(world).await.unwrap();
    report.factories.pop().unwrap().result
}

#[test]
fn a_given_token_is_published_and_kept_until_it_is_due() {
    blocking(async {
        let config = config(false);
        let world = world(&config, 'a', 90 * DAY);
        let text = format!("{}\n", "a".repeat(50));
        let published = give(&config, &world, &text).await.unwrap();
        let calls = [
            "authenticate",
            "show_factory",
            "s3:GetObject",
            "kms:Encrypt",
            "s3:PutObject",
            "s3:GetObject",
            "kms:Decrypt",
        ];
        assert_eq!(world.calls(), calls);
        assert!(world.is_usable("web"));
        assert_eq!(published.binding.cidr, ["10.9.0.0/16".parse().unwrap()], "as Conjur lists it");
        for told in [published.to_string(), published.to_json().to_string()] {
            assert!(!told.contains(text.trim()), "{told}");
        }

        // It has no label, lives long, and has networks of its own: it is kept all the same.
        let due = config.policy.due(world.now().plus(90 * DAY));
        let kept = rotate(&config, &world, false).await;
        assert!(matches!(&kept, Ok(Done::Kept { until, .. }) if *until == due), "{kept:?}");
        // Nothing is minted for it, whoever asks.
        let asked = rotate(&config, &world, true).await.unwrap_err();
        assert!(matches!(asked, rotate::Error::NotGiven { why: Why::Asked, .. }), "{asked}");
        world.base.set(due);
        let late = rotate(&config, &world, false).await.unwrap_err();
        assert_eq!((late.class(), late.hint().is_some()), (Class::Absent, true), "{late}");
        assert!(world.is_usable("web") && !world.calls().contains(&"mint"));
        // The next one takes its place.
        add(&world, 'b', 90 * DAY, &[]);
        let next = give(&config, &world, &"b".repeat(50)).await.unwrap();
        assert_eq!(next.before, Some(published.binding.fingerprint));
        assert!(matches!(rotate(&config, &world, false).await, Ok(Done::Kept { .. })));
        // What Conjur no longer lists is no token for anybody.
        world.state.borrow_mut().tokens.clear();
        let gone = rotate(&config, &world, false).await.unwrap_err();
        assert!(matches!(gone, rotate::Error::NotGiven { why: Why::Unlisted, .. }), "{gone}");
    });
}

#[test]
fn where_runs_mint_it_would_not_stay() {
    blocking(async {
        let minting = config(true);
        let world = world(&minting, 'a', 90 * DAY);
        let error = give(&minting, &world, &"a".repeat(50)).await.unwrap_err();
        assert_eq!((error.class(), world.calls().len()), (Class::Config, 0), "{error}");
        // And one that lies there is still taken for somebody else's work.
        give(&config(false), &world, &"a".repeat(50)).await.unwrap();
        let done = rotate(&minting, &world, false).await;
        assert!(matches!(done, Ok(Done::Rotated { why: Why::Changed | Why::Tampered, .. })), "{done:?}");
    });
}

#[test]
fn what_is_not_published() {
    let check = |text: &str, left: Duration, fault: Option<(&'static str, Fault)>, class, say: &str| {
        blocking(async {
            let config = config(false);
            let mut world = world(&config, 'a', left);
            world.fault =
                Box::new(move |_, name| fault.filter(|(at, _)| *at == name).map(|(_, fault)| fault));
            let error = give(&config, &world, text).await.unwrap_err();
            assert!(error.to_string().contains(say) && error.class() == class, "{error}");
            assert!(world.published("web").is_none());
            assert!(!imprint_core::error::chain(&error).contains("aaaaaaaa"));
        });
    };
    let good = "a".repeat(50);
    check("no token", DAY, None, Class::Usage, "is no host factory token");
    check(&"b".repeat(50), DAY, None, Class::Usage, "Conjur lists no token");
    // Four hours before its end another is due.
    check(&good, Duration::from_secs(4 * 3600), None, Class::Usage, "is due to be replaced already");
    check(&good, DAY, Some(("kms:Encrypt", Fault::Refused)), Class::Refused, "AccessDenied");
    check(&good, DAY, Some(("s3:PutObject", Fault::Refused)), Class::Refused, "AccessDenied");
    check(&good, DAY, Some(("show_factory", Fault::Refused)), Class::Refused, "403");
}

#[test]
fn a_token_by_hand_can_be_given_too() {
    blocking(async {
        let config = config(false);
        let world = World::new(&config);
        let label = Label::new(config.deployment, world.now(), Kind::ByHand, 1);
        let cidr: Vec<String> = label.beside(&[]).iter().map(ToString::to_string).collect();
        add(&world, 'c', 30 * DAY, &cidr.iter().map(String::as_str).collect::<Vec<_>>());
        let published = give(&config, &world, &"c".repeat(50)).await.unwrap();
        assert!(published.binding.cidr.is_empty(), "anywhere, and no label");
        assert!(matches!(rotate(&config, &world, false).await, Ok(Done::Kept { .. })));
    });
}

#[test]
fn nothing_is_published_where_no_token_is_shared() {
    blocking(async {
        let mut config = config(true);
        config.factories[0].shared = false;
        let world = World::new(&config);
        let refused = give(&config, &world, &"a".repeat(50)).await.unwrap_err();
        assert!(matches!(refused, Error::Unshared(_)) && refused.class() == Class::Config, "{refused}");
        assert!(world.calls().is_empty());
    });
}

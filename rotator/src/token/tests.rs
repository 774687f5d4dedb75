//! What tokens by hand ask of Conjur, and what they leave, over the world that every call of can fail.

mod create;
mod revoke;

use super::list::List;
use super::*;
use crate::config::Config;
use crate::label::{Kind, Label};
use crate::rotate::{Ask, Run};
use crate::world::{Known, World};
use imprint_core::caller::RunId;
use imprint_core::second::Second;
use zeroize::Zeroizing;

/// Two factories, of which db has networks; one call after the other.
fn config() -> Config {
    let text = "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/rotator\"\n\
                deployment = \"1f2e3d4c\"\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n\
                [[factory]]\nid = \"web\"\nhosts_branch = \"web/hosts\"\n\
                [[factory]]\nid = \"db\"\nhosts_branch = \"db/hosts\"\ncidr = [\"10.0.0.0/16\"]\n";
    Config { concurrency: 1, ..Config::parse(text, &|_| Ok(Zeroizing::default())).unwrap() }
}

fn blocking<T>(flow: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(flow)
}

async fn rotate(config: &Config, world: &World) {
    let (ask, id) = (Ask { now: true, ..Ask::default() }, RunId::new(world.now(), 1));
    let run = Run::new(config, &ask, &id, None, fastrand::Rng::with_seed(1));
    assert_eq!(run.rotate(world).await.unwrap().class(), None);
    world.calls();
}

/// The text of a token that begins with this character, and no other does.
fn text(first: char) -> String {
    first.to_string().repeat(50)
}

fn named(first: char) -> Fingerprint {
    Fingerprint::of(text(first).as_bytes())
}

fn add(world: &World, factory: &str, first: char, kind: Option<Kind>, minted_ago: i64, left: i64) {
    let now = world.now().unix();
    let label = |kind| Label::new("1f2e3d4c".parse().unwrap(), Second::from_unix(now - minted_ago), kind, 9);
    let cidr = kind.map(|kind| label(kind).beside(&[])).unwrap_or_default();
    let expires_at = Second::from_unix(now + left);
    let known = Known { factory: factory.to_owned(), text: text(first), expires_at, cidr };
    world.state.borrow_mut().tokens.push(known);
}

/// Both rotated twice, an hour ago; then web has one token of each other kind.
async fn world(config: &Config) -> World {
    let world = World::new(config);
    for _ in 0..2 {
        rotate(config, &world).await;
        world.base.set(world.base.get().plus(Duration::from_secs(1)));
    }
    world.base.set(world.base.get().plus(Duration::from_secs(3600)));
    add(&world, "web", 'a', Some(Kind::Layer), 1800, 3600);
    add(&world, "web", 'b', Some(Kind::Layer), 60, 3600);
    add(&world, "web", 'c', Some(Kind::ByHand), 1800, 3600);
    add(&world, "web", 'd', Some(Kind::ClientData), 1800, 3600);
    add(&world, "web", 'e', Some(Kind::ByHand), 9000, -600);
    add(&world, "web", 'f', None, 0, 3600);
    add(&world, "web", 'g', None, 0, -3600);
    world
}

/// The first characters of the tokens that there are, but for those that runs minted.
fn left(world: &World) -> String {
    let state = world.state.borrow();
    state.tokens.iter().filter_map(|token| token.text.chars().next()).filter(|first| *first != '0').collect()
}

#[test]
fn what_a_list_says_of_each() {
    blocking(async {
        let config = config();
        let world = world(&config).await;
        let list = List::ask(&config, &[], &world).await.unwrap();
        assert_eq!(world.calls(), ["authenticate", "list_factories", "s3:GetObject", "s3:GetObject"]);
        let shown: Vec<(&str, String, &str)> = list
            .tokens
            .iter()
            .map(|row| {
                let standing = row.standing.unwrap().as_str();
                (row.factory.as_str(), row.fingerprint.to_string(), standing)
            })
            .collect();
        let of = |first: char, standing| ("web", named(first).to_string(), standing);
        let web = |at: usize| shown[at].clone();
        // By their ends: long over, just over, in an hour, and the published ones.
        assert_eq!([web(0), web(1)], [of('g', "foreign"), of('e', "expired")]);
        let live = [
            of('a', "orphan"),
            of('b', "coming"),
            of('c', "by hand"),
            of('d', "client data"),
            of('f', "foreign"),
        ];
        assert_eq!(shown[2..7], live);
        let ours: Vec<&str> = shown[7..].iter().map(|(_, _, standing)| *standing).collect();
        assert_eq!(ours, ["superseded", "published", "superseded", "published"]);
        let text = list.to_string();
        let row =
            |first: char| text.lines().find(|line| line.contains(named(first).as_str())).unwrap().to_owned();
        assert!(
            row('g').ends_with("  over   any address") && row('c').ends_with("  1h     any address"),
            "{text}"
        );
        let last = text.lines().last().unwrap();
        assert!(last.starts_with("db ") && last.ends_with("  10.0.0.0/16"), "no label is a network: {last}");
        let json = list.to_json();
        assert_eq!(json["tokens"][0]["minted_at"], serde_json::Value::Null);
        assert_eq!(json["tokens"][4]["seconds_left"], 3600);
        assert_eq!((list.class(), json["errors"].as_array().map(Vec::len)), (None, Some(0)));
        // No text of a token stands in either.
        for token in world.state.borrow().tokens.iter().map(|token| &token.text) {
            assert!(!text.contains(token.as_str()) && !json.to_string().contains(token.as_str()));
        }
    });
}

#[test]
fn what_cannot_be_seen_is_told() {
    blocking(async {
        let config = config();
        let mut world = world(&config).await;
        world.state.borrow_mut().factories.retain(|id| id != "db");
        world.fault = Box::new(|n, _| (n == 3).then_some(crate::world::Fault::Refused));
        let list = List::ask(&config, &[], &world).await.unwrap();
        assert!(list.tokens.iter().all(|row| row.standing.is_none()), "{list}");
        assert_eq!((list.tokens.len(), list.errors.len(), list.class()), (9, 2, Some(Class::Refused)));
        assert!(list.to_string().contains("not known"), "{list}");
        assert!(list.to_string().contains("db: host/rotator sees no such host factory\nhint: "), "{list}");
        assert_eq!(list.to_string().matches("\nhint: ").count(), 2, "{list}");
    });
}

//! What is foretold, against what a run then does.

use super::*;
use crate::label::{Kind, Label};
use crate::plan::Why;
use crate::rotate::{Ask, Done, Run};
use crate::world::{Fault, Known, World};
use imprint_core::caller::RunId;
use std::time::Duration;
use zeroize::Zeroizing;

fn config() -> Config {
    let text = "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/rotator\"\n\
                deployment = \"1f2e3d4c\"\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n\
                [[factory]]\nid = \"web\"\nhosts_branch = \"web/hosts\"\n[[factory]]\nid = \"db\"\nhosts_branch = \"db/hosts\"\n";
    Config { concurrency: 1, ..Config::parse(text, &|_| Ok(Zeroizing::default())).unwrap() }
}

fn blocking<T>(flow: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(flow)
}

async fn rotate(config: &Config, world: &World, now: bool) -> Vec<Result<Done, Error>> {
    let ask = Ask { now, ..Ask::default() };
    let run = Run::new(config, &ask, &RunId::new(world.now(), 1), None, fastrand::Rng::with_seed(1));
    let report = run.rotate(world).await.unwrap();
    report.factories.into_iter().map(|outcome| outcome.result).collect()
}

/// Both factories rotated five hours ago, so due; db has an orphan and two expired tokens of ours.
async fn due(config: &Config) -> World {
    let world = World::new(config);
    let minted = rotate(config, &world, false).await;
    assert!(minted.iter().all(Result::is_ok));
    let label = Label::new(config.deployment, world.now(), Kind::Layer, 1);
    world.base.set(world.base.get().plus(Duration::from_secs(5 * 3600)));
    let add = |text: char, seconds: i64| {
        let expires_at = Second::from_unix(world.now().unix() + seconds);
        let (factory, text) = ("db".to_owned(), text.to_string().repeat(50));
        world.state.borrow_mut().tokens.push(Known { factory, text, expires_at, cidr: label.beside(&[]) });
    };
    add('n', 3600);
    add('e', -3600);
    add('f', -7200);
    world.calls();
    world
}

fn token(text: char) -> Fingerprint {
    Fingerprint::of(text.to_string().repeat(50).as_bytes())
}

#[test]
fn what_is_foretold_is_what_a_run_does() {
    blocking(async {
        let config = config();
        let world = due(&config).await;
        let outlook = Outlook::ask(&config, &[], false, &world).await.unwrap();
        assert_eq!(world.calls(), ["authenticate", "list_factories", "s3:GetObject", "s3:GetObject"]);
        assert_eq!(outlook.class(), None);
        let ends = outlook.factories[1].ends.as_ref().unwrap();
        assert_eq!(ends.step, Step::Mint(Why::Due));
        assert_eq!((&ends.revoked[..], &ends.deleted[..]), (&[token('n')][..], &[token('f')][..]));
        assert_eq!(ends.left, [token('e')]);
        let text = outlook.to_string();
        let lines: Vec<&str> = text.lines().collect();
        let published = outlook.factories[1].published.as_ref().unwrap();
        assert_eq!(
            lines[1..],
            [
                format!(
                    "db: mints, seals and publishes a token in the place of {published}, since its period is over"
                ),
                format!("db: revokes token {}, which was minted and never published", token('n')),
                format!("db: deletes token {}, which has expired", token('f')),
                "db: leaves 1 tokens to later runs, since one is deleted a run".to_owned(),
                "2 factories: 2 tokens to mint, 0 not known".to_owned(),
            ]
        );
        // And so it comes.
        let done = rotate(&config, &world, false).await;
        assert!(matches!(done[1], Ok(Done::Rotated { why: Why::Due, .. })), "{done:?}");
        let left = |text: char| world.state.borrow().tokens.iter().any(|t| t.text.starts_with(text));
        assert_eq!(['n', 'e', 'f'].map(left), [false, true, false]);
        let outlook = Outlook::ask(&config, &["db".parse().unwrap()], false, &world).await.unwrap();
        let until = world.now().plus(Duration::from_secs(4 * 3600));
        let json = &outlook.to_json()["factories"][0];
        assert_eq!((&json["step"], &json["until"]), (&json!("keep"), &json!(until.to_string())));
        assert_eq!((&json["seconds"], &json["delete"][0]), (&json!(14400), &json!(token('e').as_str())));
        assert!(outlook.to_string().contains(&format!("until {until}, for 4h")), "{outlook}");
        // As rotate --now would.
        let outlook = Outlook::ask(&config, &[], true, &world).await.unwrap();
        assert_eq!(outlook.to_json()["factories"][0]["why"], "asked");
    });
}

#[test]
fn without_revoking_all_is_left() {
    blocking(async {
        let config = Config { revoke: false, ..config() };
        let world = due(&config).await;
        let outlook = Outlook::ask(&config, &[], false, &world).await.unwrap();
        let ends = outlook.factories[1].ends.as_ref().unwrap();
        assert_eq!((ends.revoked.len(), ends.deleted.len()), (0, 0));
        assert_eq!(ends.left, [token('n'), token('f'), token('e')]);
        assert!(outlook.to_string().contains("db: leaves 3 tokens since revoke = false"), "{outlook}");
    });
}

#[test]
fn what_is_not_known_is_told_and_stops_no_other() {
    blocking(async {
        let config = config();
        let mut world = due(&config).await;
        world.state.borrow_mut().factories.retain(|id| id != "web");
        world.fault = Box::new(|n, _| (n == 5).then_some(Fault::Refused));
        let outlook = Outlook::ask(&config, &[], false, &world).await.unwrap();
        assert_eq!(outlook.class(), Some(Class::Refused));
        let (text, json) = (outlook.to_string(), outlook.to_json());
        assert!(text.contains("web: not known: host/rotator sees no such host factory"), "{text}");
        assert!(
            text.contains("db: not known: S3 does not let factories/prod/db/token.json be read"),
            "{text}"
        );
        assert!(text.contains("\nhint: load the host factory's policy, and permit"), "{text}");
        assert!(text.ends_with("2 factories: 0 tokens to mint, 2 not known"), "{text}");
        assert_eq!(
            (&json["factories"][0]["class"], &json["factories"][0]["step"]),
            (&json!("refused"), &Value::Null)
        );
    });
}

#[test]
fn where_no_token_is_shared_none_is_foretold() {
    blocking(async {
        let mut config = config();
        let world = due(&config).await;
        config.factories[1].shared = false;
        let outlook = Outlook::ask(&config, &[], true, &world).await.unwrap();
        assert_eq!(outlook.class(), None);
        assert!(
            outlook.to_string().contains("db: mints nothing, since each instance has a token of its own"),
            "{outlook}"
        );
        assert_eq!(outlook.to_json()["factories"][1]["step"], "unshared");
    });
}

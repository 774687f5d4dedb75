//! The decision in tables.

use super::*;
use crate::config::Config;
use imprint_core::sealed::Scope;
use zeroize::Zeroizing;

const NOW: i64 = 1_800_000_000;
const MINUTE: i64 = 60;

fn config() -> Config {
    Config::parse(crate::config::tests::GOOD, &|_| Ok(Zeroizing::default())).unwrap()
}

fn at(minutes: i64) -> Second {
    Second::from_unix(NOW + minutes * MINUTE)
}

fn named(name: &str) -> Fingerprint {
    Fingerprint::of(name.as_bytes())
}

/// A token for this instance of this deployment, which ends in so many minutes.
fn seen(name: &str, deployment: &str, instance: &str, ends: i64) -> Seen {
    let label = Label::for_instance(deployment.parse().unwrap(), at(ends - 20), &instance.parse().unwrap());
    let networks = label.beside(&["10.0.0.5/32".parse().unwrap()]);
    let cidr = networks.iter().filter(|net| Label::parse(net).is_none()).copied().collect();
    Seen { listed: Listed::new(named(name), at(ends), &networks), cidr }
}

fn own(name: &str, ends: i64) -> Seen {
    seen(name, "1f2e3d4c", "i-1", ends)
}

fn binding(name: &str, ends: i64) -> Binding {
    let config = config();
    let binding = config.binding(&config.factories[0], named(name), "r", at(ends - 20), at(ends));
    let arn = "arn:aws:ec2:eu-west-1:123456789012:instance/i-1".to_owned();
    Binding { scope: Scope::Instance { arn }, cidr: vec!["10.0.0.5/32".parse().unwrap()], ..binding }
}

fn decide(published: Published<'_>, listed: &[Seen]) -> Step {
    let instance = "i-1".parse().unwrap();
    let wanted = binding("wanted", 0);
    let facts = Facts {
        deployment: "1f2e3d4c".parse().unwrap(),
        instance: &instance,
        life: Duration::from_secs(20 * 60),
        published,
        wanted: &wanted,
        listed,
    };
    plan(&facts, at(0))
}

#[test]
fn what_is_published_is_kept_while_half_of_its_life_is_left() {
    let check = |ends: i64, listed: &[Seen], wanted: Option<Why>| {
        let step = decide(Published::Sealed(&binding("x", ends)), listed);
        let wanted = wanted.map_or(Step::Keep, |why| Step::Publish { minted: None, why });
        assert_eq!(step, wanted, "{ends}");
    };
    check(20, &[own("x", 20)], None);
    check(10, &[own("x", 10)], None);
    check(9, &[own("x", 9)], Some(Why::Due));
    check(0, &[own("x", 0)], Some(Why::Expired));
    check(-1, &[], Some(Why::Expired));
    // Its life was made shorter meanwhile.
    check(26, &[own("x", 26)], Some(Why::Due));
    check(20, &[], Some(Why::Unlisted));
    check(20, &[own("y", 9)], Some(Why::Unlisted));
    check(20, &[own("x", 19)], Some(Why::Tampered));
    check(20, &[seen("x", "00000000", "i-1", 20)], Some(Why::Tampered));
    check(20, &[seen("x", "1f2e3d4c", "i-2", 20)], Some(Why::Tampered));
    let foreign = Seen { listed: Listed { label: None, ..own("x", 20).listed }, ..own("x", 20) };
    check(20, &[foreign], Some(Why::Tampered));
}

#[test]
fn what_is_not_as_it_should_be_is_replaced() {
    let check = |change: &dyn Fn(&mut Binding), why| {
        let mut binding = binding("x", 20);
        change(&mut binding);
        let step = decide(Published::Sealed(&binding), &[own("x", 20)]);
        assert_eq!(step, Step::Publish { minted: None, why });
    };
    let other = "arn:aws:ec2:eu-west-1:123456789012:instance/i-2".to_owned();
    check(&|b| b.scope = Scope::Instance { arn: other.clone() }, Why::Tampered);
    check(&|b| b.scope = Scope::Layer, Why::Tampered);
    check(&|b| b.host_factory = "app/db".parse().unwrap(), Why::Tampered);
    check(&|b| b.hosts_branch = "app/others".parse().unwrap(), Why::Changed);
    check(&|b| b.cidr = vec!["10.0.0.6/32".parse().unwrap()], Why::Changed);
    check(&|b| b.leader_url = "https://other.example.org".parse().unwrap(), Why::Changed);
    let none = |published, why| assert_eq!(decide(published, &[]), Step::Publish { minted: None, why });
    none(Published::Nothing, Why::Nothing);
    none(Published::Unreadable, Why::Unreadable);
}

/// A run minted and died: the next one publishes what it left.
#[test]
fn what_was_minted_and_not_published_is_published() {
    let check = |listed: &[Seen], wanted: Option<&str>| {
        let step = decide(Published::Nothing, listed);
        assert_eq!(step, Step::Publish { minted: wanted.map(named), why: Why::Nothing });
    };
    check(&[own("a", 20)], Some("a"));
    check(&[own("a", 12), own("b", 18), own("c", 9)], Some("b"));
    check(&[own("a", 9)], None);
    check(&[own("a", 26)], None);
    check(&[seen("a", "1f2e3d4c", "i-2", 20)], None);
    check(&[seen("a", "00000000", "i-1", 20)], None);
    let elsewhere = Seen { cidr: ["10.0.0.6/32".parse().unwrap()].into(), ..own("a", 20) };
    check(&[elsewhere], None);
    // What is to be replaced is not taken for it.
    let mut changed = binding("a", 20);
    changed.hosts_branch = "app/others".parse().unwrap();
    let step = decide(Published::Sealed(&changed), &[own("a", 20)]);
    assert_eq!(step, Step::Publish { minted: None, why: Why::Changed });
}

#[test]
fn only_tokens_for_instances_of_ours_are_deleted_when_they_are_over() {
    let layer = Label::new("1f2e3d4c".parse().unwrap(), at(-60), Kind::Layer, 0);
    let layer =
        Seen { listed: Listed::new(named("l"), at(-30), &layer.beside(&[])), cidr: anywhere().into() };
    let all =
        [own("a", -6), own("b", -20), own("c", -4), own("d", 5), seen("e", "00000000", "i-1", -20), layer];
    assert_eq!(expired(&all, "1f2e3d4c".parse().unwrap(), at(0)), [named("b"), named("a")]);
}

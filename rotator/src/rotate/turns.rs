//! Who comes when, and for how long: so that a run which is too short leaves out those who can wait, and
//! not the same ones each time, and so that a few that fail do not hold up the others.

use crate::config::Factory;
use crate::label::{Deployment, Kind, Label};
use imprint_core::conjur::Minted;
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use std::collections::BTreeMap;
use std::time::Duration;

/// What Conjur lists.
pub(super) type Tokens = BTreeMap<FactoryId, Vec<Minted>>;

/// The factories in the order in which they are taken: first those without a live token of ours, then those
/// whose last one ends first. What is published shows only at the get; by the list alone an orphan may
/// pass for it, which costs a place and no more.
pub(super) fn by_urgency<'a>(
    mut chosen: Vec<&'a Factory>,
    listed: &Tokens,
    deployment: Deployment,
    now: Second,
) -> Vec<&'a Factory> {
    let is_layers = |token: &Minted| {
        Label::among(&token.cidr)
            .is_some_and(|label| label.deployment == deployment && label.kind == Kind::Layer)
    };
    // Of equals the configuration's order is kept.
    chosen.sort_by_cached_key(|factory| {
        let ours = listed.get(&factory.id).into_iter().flatten().filter(|token| is_layers(token));
        ours.map(|token| token.expires_at).filter(|end| *end > now).max()
    });
    chosen
}

/// How long one of `waiting` factories may repeat what fails, when `at_once` are worked on at a time: its
/// part of what is left of the run. Whoever needs less leaves more to those behind.
pub(super) fn share(left: Duration, at_once: usize, waiting: usize) -> Duration {
    let of = |count| u32::try_from(count).unwrap_or(u32::MAX).max(1);
    (left / of(waiting)).saturating_mul(of(at_once)).min(left)
}

#[cfg(test)]
mod tests {
    use super::*;
    use imprint_core::token::Token;
    use zeroize::Zeroizing;

    #[test]
    fn who_can_wait_comes_last() {
        let now = Second::from_unix(1_800_000_000);
        let hours = |hours: i64| Second::from_unix(now.unix() + 3600 * hours);
        let (ours, theirs): (Deployment, Deployment) =
            ("1f2e3d4c".parse().unwrap(), "00000001".parse().unwrap());
        let token = |deployment, kind, ends| Minted {
            token: Token::new(Zeroizing::new("0".repeat(50))).unwrap(),
            expires_at: hours(ends),
            cidr: Label::new(deployment, now, kind, 0).beside(&[]),
        };
        let check = |listed: Vec<(&str, Vec<Minted>)>, wanted: &str| {
            let factory = |id: &str| Factory {
                id: id.parse().unwrap(),
                hosts_branch: "hosts".parse().unwrap(),
                layer: "nodes".parse().unwrap(),
                pin: false,
                leader_url: "https://conjur.example.org".parse().unwrap(),
                cidr: Vec::new(),
                mint: true,
                shared: true,
                spread: Duration::ZERO,
            };
            let all = ["a", "b", "c", "d"].map(factory);
            let listed = listed.into_iter().map(|(id, tokens)| (id.parse().unwrap(), tokens)).collect();
            let order = by_urgency(all.iter().collect(), &listed, ours, now);
            let order: Vec<&str> = order.iter().map(|factory| factory.id.as_str()).collect();
            assert_eq!(order.concat(), wanted);
        };
        let layer = |ends| token(ours, Kind::Layer, ends);
        check(vec![], "abcd");
        // The last token of each counts; an expired one is as good as none.
        check(
            vec![
                ("a", vec![layer(1), layer(4)]),
                ("b", vec![layer(3)]),
                ("c", vec![layer(2), layer(-1)]),
                ("d", vec![layer(-1)]),
            ],
            "dcba",
        );
        // Neither are those of others, nor those for other ends.
        check(
            vec![
                ("a", vec![layer(1)]),
                ("b", vec![token(theirs, Kind::Layer, 9)]),
                ("c", vec![token(ours, Kind::ClientData, 9)]),
                ("d", vec![layer(1)]),
            ],
            "bcad",
        );
    }

    #[test]
    fn shares() {
        let check = |left: u64, at_once, waiting, wanted: u64| {
            let found = share(Duration::from_millis(left), at_once, waiting);
            assert_eq!(found, Duration::from_millis(wanted), "{left} {at_once} {waiting}");
        };
        check(200_000, 8, 1000, 1600);
        check(200_000, 8, 100, 16_000);
        // As many as are worked on at once may each take all of it.
        check(200_000, 8, 8, 200_000);
        check(200_000, 8, 1, 200_000);
        check(200_000, 64, 2, 200_000);
        check(0, 8, 1000, 0);
        check(5, 1, 0, 5);
    }
}

//! Which tokens of ours nobody can hold. The windows are the usual ones: a token may come to be
//! published for 6 min 20 s after its mint, and is good for 1 h 30 min after another took its place.

use super::*;

/// A token of a kind, minted so many seconds ago in the place of another.
fn minted(name: &str, kind: Kind, seconds_ago: i64, before: Option<&str>) -> Listed {
    let minted = Second::from_unix(NOW - seconds_ago);
    let before = before.map(named);
    let label = Label::new("1f2e3d4c".parse().unwrap(), minted, kind, 7).after(before.as_ref());
    Listed::new(named(name), minted.plus(Duration::from_secs(8 * 3600)), &label.beside(&[]))
}

fn layer(name: &str, seconds_ago: i64, before: Option<&str>) -> Listed {
    minted(name, Kind::Layer, seconds_ago, before)
}

/// `published` is the first of the list, or nothing is.
fn check(listed: &[Listed], change: Option<fn(&mut Binding)>, orphans: &[&str]) {
    let config = config();
    let published = change.map(|change| {
        let mut binding = binding(&config, &listed[0]);
        change(&mut binding);
        binding
    });
    let now = Second::from_unix(NOW);
    let facts = Facts {
        policy: &config.policy,
        deployment: config.deployment,
        published: published.as_ref().map_or(Published::Nothing, Published::Sealed),
        wanted: &config.binding(&config.factories[0], named(""), "now", now, now),
        listed,
        given: false,
        shared: true,
        asked: false,
    };
    let orphans: Vec<Fingerprint> = orphans.iter().map(|name| named(name)).collect();
    assert_eq!(plan(&facts, now).orphans, orphans, "{listed:?}");
}

const SOME: Option<fn(&mut Binding)> = Some(AS_IT_IS);

#[test]
fn minted_after_what_is_published_and_too_old_to_be_published_yet() {
    let published = || layer("p", 2 * HOUR, Some("gone"));
    check(&[published(), layer("x", 381, Some("p"))], SOME, &["x"]);
    check(&[published(), layer("x", 380, Some("p"))], SOME, &[]);
    check(&[published(), layer("x", -60, Some("p"))], SOME, &[]);
    // Oldest first, whatever they were to replace.
    check(&[published(), layer("x", HOUR, Some("p")), layer("y", 5000, None)], SOME, &["y", "x"]);
    // Nobody publishes what is due, changed or expired again: what is after it is no less an orphan.
    check(&[layer("p", 5 * HOUR, None), layer("x", HOUR, Some("p"))], SOME, &["x"]);
    check(&[layer("p", 8 * HOUR, None), layer("x", HOUR, Some("p"))], SOME, &["x"]);
    check(&[published(), layer("x", HOUR, Some("p"))], Some(|b| b.spread_s = 9), &["x"]);
}

#[test]
fn what_was_published_before_is_left_to_expire() {
    // Each was replaced by the next, the last one a minute ago; x and y are of runs that died.
    let line = [
        layer("p", 60, Some("b")),
        layer("b", 5 * HOUR, Some("c")),
        layer("x", 5 * HOUR, Some("c")),
        layer("c", 6 * HOUR, Some("gone")),
        layer("y", 7 * HOUR, None),
    ];
    check(&line, SOME, &["y", "x"]);
    // Without the middle one nobody can tell what was published before it.
    let broken = [line[0].clone(), line[2].clone(), line[3].clone()];
    check(&broken, SOME, &[]);
}

#[test]
fn where_the_line_ends_older_ones_are_good_for_their_overlap_and_a_boot() {
    // 6 min 20 s, an hour, and half an hour after the oldest that is known.
    let ended = 380 + 5400;
    check(&[layer("p", ended, None), layer("x", ended + 1, None)], SOME, &[]);
    check(&[layer("p", ended + 1, None), layer("x", ended + 2, None)], SOME, &["x"]);
    // Of one second: nobody can tell which was first.
    check(&[layer("p", HOUR, None), layer("x", HOUR, None)], SOME, &[]);
    check(&[layer("p", HOUR, Some("gone")), layer("x", HOUR - 1, None)], SOME, &["x"]);
}

#[test]
fn the_mint_of_a_token_that_a_person_gave_does_not_tell_when_it_was_published() {
    let given = || minted("given", Kind::ByHand, 3 * HOUR, None);
    // It may have taken the place of this one, which was minted after it, a moment ago.
    let superseded = || layer("x", 2 * HOUR, None);
    check(&[given(), superseded()], SOME, &[]);
    check(&[layer("p", 60, Some("given")), given(), superseded()], SOME, &[]);
    // What took its place tells when it was over at the latest.
    let ended = 380 + 5400;
    let line = [layer("p", ended + 1, Some("given")), given(), superseded()];
    check(&line, SOME, &["x"]);
}

#[test]
fn what_is_not_for_a_layer_or_not_ours_is_left_alone() {
    let published = || layer("p", 2 * HOUR, None);
    for kind in [Kind::ByHand, Kind::ClientData, Kind::Other(0), Kind::Other(b'I')] {
        check(&[published(), minted("x", kind, HOUR, Some("p"))], SOME, &[]);
    }
    check(&[published(), of("00000001", "x", 1), foreign("y", 1)], SOME, &[]);
    // One of an earlier version, published: those after it are judged all the same.
    let earlier = minted("p", Kind::Other(3), 2 * HOUR, Some("x"));
    check(&[earlier, layer("x", HOUR, None)], SOME, &["x"]);
}

#[test]
fn nothing_is_told_by_what_is_not_to_be_trusted() {
    let orphan = || layer("x", HOUR, None);
    check(&[layer("p", 2 * HOUR, None), orphan()], None, &[]);
    // Another end than Conjur lists.
    check(&[layer("p", 2 * HOUR, None), orphan()], Some(|b| b.expires_at = Second::from_unix(NOW)), &[]);
    // A token that is not ours.
    check(&[foreign("p", 2), orphan()], SOME, &[]);
    // One that is not listed.
    check(&[orphan()], Some(|b| b.fingerprint = named("p")), &[]);
}

#[test]
fn expired_orphans_are_deleted_as_other_expired_tokens_are() {
    let config = config();
    let listed = [layer("p", 9 * HOUR, None), layer("x", 9 * HOUR - 1, None)];
    let published = binding(&config, &listed[0]);
    let now = Second::from_unix(NOW);
    let facts = Facts {
        policy: &config.policy,
        deployment: config.deployment,
        published: Published::Sealed(&published),
        wanted: &published,
        listed: &listed,
        given: false,
        shared: true,
        asked: false,
    };
    let plan = plan(&facts, now);
    assert_eq!((plan.orphans, plan.expired), (vec![], vec![named("p"), named("x")]));
}

/// The standing of each, when `published` of them is, or nothing is.
fn stand(listed: &[Listed], published: Option<usize>) -> Vec<Standing> {
    let config = config();
    let published = published.map(|at| binding(&config, &listed[at]));
    let now = Second::from_unix(NOW);
    let facts = Facts {
        policy: &config.policy,
        deployment: config.deployment,
        published: published.as_ref().map_or(Published::Unreadable, Published::Sealed),
        wanted: &config.binding(&config.factories[0], named(""), "now", now, now),
        listed,
        given: false,
        shared: true,
        asked: false,
    };
    standings(&facts, now)
}

#[test]
fn what_each_token_is() {
    use Standing::*;
    let listed = [
        layer("p", HOUR, Some("b")),
        layer("b", 5 * HOUR, None),
        // Before the line is known: published before, or perhaps.
        layer("earlier", 6 * HOUR, None),
        layer("x", 2 * HOUR, Some("b")),
        layer("young", 60, Some("p")),
        layer("over", 8 * HOUR, None),
        minted("hand", Kind::ByHand, HOUR, None),
        minted("sealed", Kind::ClientData, HOUR, None),
        minted("one's own", Kind::Instance, HOUR, None),
        minted("of a later version", Kind::Other(b'Z'), HOUR, None),
        of("00000001", "another deployment's", 1),
        foreign("foreign", 1),
        foreign("foreign and over", 9),
        minted("hand, over", Kind::ByHand, 9 * HOUR, None),
    ];
    let others = [ByHand, ClientData, Instance, Unclear, Foreign, Foreign, Foreign, Expired];
    let known = [Published, Superseded, Orphan, Orphan, Coming, Expired];
    assert_eq!(stand(&listed, Some(0)), [&known[..], &others].concat());
    // Just after its put, older ones have their overlap.
    let just = [layer("p", 60, None), layer("earlier", 6 * HOUR, None), layer("young", 60, None)];
    assert_eq!(stand(&just, Some(0)), [Published, Superseded, Coming]);
    // Nothing there tells which of them were published.
    let unclear = [Unclear, Unclear, Unclear, Unclear, Coming, Expired];
    assert_eq!(stand(&listed, None), [&unclear[..], &others].concat());
    // What agents find is published, whoever minted it, and whatever end the object claims.
    assert_eq!(stand(&listed, Some(11))[11], Published);
    assert_eq!(stand(&listed, Some(13))[13], Published);
}

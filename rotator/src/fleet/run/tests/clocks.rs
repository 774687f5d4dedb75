//! Looks are as far apart as Conjur's clock says, wherever they were made; and one account is spoken of.

use super::*;

/// Two machines look after one fleet, and their clocks are an hour apart.
#[test]
fn a_machine_whose_clock_is_off_shortens_no_wait() {
    let start = Second::from_unix(1_800_000_000);
    let hour = 60 * MINUTE;
    for (first, second) in [(start.minus(hour), start), (start, start.plus(hour)), (start.plus(hour), start)]
    {
        let world = World::new();
        world.at_conjur.set(Some(start));
        let look = |clock: Second, since: Duration| {
            world.now.set(clock.plus(since));
            world.at_conjur.set(Some(start.plus(since)));
            swept(&world).unwrap().to_string()
        };
        assert!(look(first, Duration::ZERO).contains("1 waiting"));
        assert!(look(second, MINUTE).contains("0 gone, 1 waiting"), "{first} {second}: a minute is not ten");
        assert!(look(first, 9 * MINUTE).contains("0 gone, 1 waiting"));
        assert!(look(second, 10 * MINUTE).contains("1 gone, 0 waiting"));
        assert_eq!(world.left(), "i-1 i-2 i-9 by-hand");
    }
}

#[test]
fn instances_of_another_account_tell_nothing_of_ours() {
    let world = World::new();
    let of_others = |name: &str| {
        let mut one = instance(name, Life::Terminated, "10.0.0.1");
        one.account_id = "210987654321".to_owned();
        one
    };
    world.instances.borrow_mut().insert("i-1".parse().unwrap(), of_others("i-1"));
    for deed in [Deed::Decommission, Deed::Pin] {
        let error = run(&world, deed, &Ask::default()).unwrap().result.unwrap_err();
        assert!(matches!(error, Error::OtherAccount { .. }), "{error}");
        assert_eq!(error.class(), Class::Config);
    }
    assert_eq!(world.left(), "i-1 i-2 i-3 i-4 i-9 by-hand");
}

/// More than one load of policy: what the first did is told, though the second fails.
#[test]
fn what_was_removed_before_a_failure_is_known() {
    let mut world = World::new();
    world.fault = Box::new(|_, name| (name == "delete_hosts").then_some(Fault::LostReply));
    let outcome = swept(&world).unwrap();
    assert_eq!(outcome.result.unwrap_err().class(), Class::Transient);
    assert_eq!(world.left(), "i-1 i-2 i-4 i-9 by-hand");
    assert_eq!(world.calls().iter().rev().take(2).collect::<Vec<_>>(), [&"s3:PutObject", &"members"]);
}

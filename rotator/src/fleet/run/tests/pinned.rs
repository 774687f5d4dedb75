//! Hosts are tied to addresses: once, anew when that may not hold any more, and none is made.

use super::*;

#[test]
fn hosts_are_tied_once_and_again_when_their_address_changes() {
    let world = World::new();
    let pin = || run(&world, Deed::Pin, &Ask::default()).unwrap();
    let first = pin();
    assert!(
        first.to_string().starts_with("web: 2 to pin, 0 pinned already, 2 without an address"),
        "{first}"
    );
    assert_eq!(world.calls(), [&OPEN[..], &LOOK, &["restrict_hosts", "s3:PutObject"]].concat());
    let again = pin();
    assert!(again.to_string().starts_with("web: 0 to pin, 2 pinned already"), "{again}");
    assert_eq!(world.calls(), [&OPEN[..], &LOOK].concat());
    let moved = instance("i-1", Life::Running, "10.0.0.9");
    world.instances.borrow_mut().insert(moved.id.clone(), moved);
    let moved = pin();
    assert!(moved.to_string().contains("i-1: 10.0.0.9/32"), "{moved}");
    assert_eq!(world.memory().pinned[&id("i-1")].to, ["10.0.0.9/32".parse().unwrap()]);
}

#[test]
fn a_host_that_conjur_made_by_mistake_is_deleted_at_once() {
    let check = |fault: Option<Fault>, class, left: &str| {
        let mut world = World::new();
        world.meanwhile = Some((6, Box::new(|world| drop(world.hosts.borrow_mut().remove(&id("i-1"))))));
        world.fault = Box::new(move |_, name| fault.filter(|_| name == "delete_hosts"));
        let outcome = run(&world, Deed::Pin, &Ask::default()).unwrap();
        let error = outcome.result.unwrap_err();
        assert!(matches!(&error, Error::Made { hosts, .. } if *hosts == [id("i-1")]), "{error}");
        assert_eq!((error.class(), world.left().as_str()), (class, left), "{error}");
        assert!(world.memory().pinned.is_empty());
    };
    check(None, Class::Transient, "i-2 i-3 i-4 i-9 by-hand");
    check(Some(Fault::Refused), Class::Refused, "i-1 i-2 i-3 i-4 i-9 by-hand");
}

/// Nobody who may pin a host may see it: what was tied is only remembered, and may be another host by now.
#[test]
fn a_host_that_came_back_under_its_name_is_tied_again_within_hours() {
    let world = World::new();
    let pin = || run(&world, Deed::Pin, &Ask::default()).unwrap().to_string();
    let _tied = pin();
    let tied = |name: &str| world.hosts.borrow()[&id(name)].len();
    // Deleted by somebody, and enrolled anew, between two looks.
    world.hosts.borrow_mut().insert(id("i-1"), Vec::new());
    world.pass(5 * 60 * MINUTE);
    assert!(pin().starts_with("web: 0 to pin, 2 pinned already"));
    world.pass(60 * MINUTE);
    assert!(pin().starts_with("web: 2 to pin, 0 pinned already"));
    assert_eq!((tied("i-1"), tied("i-2")), (1, 1));
    assert!(pin().starts_with("web: 0 to pin, 2 pinned already"));
    // Planted: it says for ever that all is well.
    let mut memory = world.memory();
    memory.pinned.values_mut().for_each(|pin| pin.at = pin.at.plus(100_000 * MINUTE));
    let key = memory_key(&"prod".parse().unwrap(), &"web".parse().unwrap());
    world.objects.borrow_mut().insert(key, (memory.to_bytes(), 9));
    assert!(pin().starts_with("web: 2 to pin, 0 pinned already"));
}

/// Conjur tells once which host it made: when that reply is lost, the second says of none.
#[test]
fn a_host_that_was_made_in_a_lost_reply_is_deleted_all_the_same() {
    let check = |fault: Fault, left: &str| {
        let mut world = World::new();
        world.meanwhile = Some((6, Box::new(|world| drop(world.hosts.borrow_mut().remove(&id("i-1"))))));
        world.fault = Box::new(move |at, _| (at == 6).then_some(fault));
        let outcome = run(&world, Deed::Pin, &Ask::default()).unwrap();
        let error = outcome.result.unwrap_err();
        assert!(
            matches!(&error, Error::Made { hosts, source: None, .. } if *hosts == [id("i-1")]),
            "{error}"
        );
        assert_eq!(world.left(), left, "{error}");
        // The next run ties who is left.
        assert!(run(&world, Deed::Pin, &Ask::default()).unwrap().to_string().starts_with("web: 1 to pin"));
    };
    check(Fault::LostReply, "i-2 i-3 i-4 i-9 by-hand");
    // Nothing was carried out the first time, and nothing was lost: the second reply tells.
    check(Fault::NotDone, "i-2 i-3 i-4 i-9 by-hand");
}

#[test]
fn hosts_that_all_live_are_all_kept_when_a_reply_is_lost() {
    let mut world = World::new();
    world.fault = Box::new(|at, _| (at == 6).then_some(Fault::LostReply));
    let outcome = run(&world, Deed::Pin, &Ask::default()).unwrap();
    assert!(outcome.to_string().starts_with("web: 2 to pin"), "{outcome}");
    assert_eq!(world.left(), "i-1 i-2 i-3 i-4 i-9 by-hand");
    assert!(!world.calls().contains(&"delete_hosts"));
}

#[test]
fn what_a_run_has_no_time_for_is_left_to_the_next_and_the_rest_is_remembered() {
    let world = World::new();
    for n in 0..250 {
        let one = instance(&format!("i-x{n:03}"), Life::Running, "10.0.1.1");
        world.hosts.borrow_mut().insert(id(one.id.as_str()), Vec::new());
        world.instances.borrow_mut().insert(one.id.clone(), one);
    }
    let within = |time: Duration| {
        blocking(async {
            let (config, ask) = (config(), Ask::default());
            let retry = Retry::with_random(time, 20, fastrand::Rng::with_seed(1));
            let opened = Run::open(&config, &ask, &world, &retry).await.unwrap();
            opened.over_the_fleet(Deed::Pin).await.unwrap().factories.remove(0)
        })
    };
    let late = within(Duration::from_secs(39));
    assert!(late.to_string().starts_with("web: 0 to pin"), "{late}");
    assert!(late.notes[0].starts_with("252 more are for the next run"), "{:?}", late.notes);
    let all = within(MINUTE);
    assert!(all.to_string().starts_with("web: 252 to pin") && all.notes.is_empty(), "{all}");
    assert_eq!(world.memory().pinned.len(), 252);
}

#[test]
fn a_look_that_sees_an_instance_again_forgets_that_it_was_missed() {
    let world = World::new();
    let _missed = swept(&world).unwrap();
    assert_eq!(world.memory().missing.len(), 1);
    let back = instance("i-4", Life::Running, "10.0.0.4");
    world.instances.borrow_mut().insert(back.id.clone(), back.clone());
    let _seen = run(&world, Deed::Pin, &Ask::default()).unwrap();
    assert!(world.memory().missing.is_empty());
    world.instances.borrow_mut().remove(&back.id);
    world.pass(30 * MINUTE);
    assert!(swept(&world).unwrap().to_string().starts_with("web: 0 gone, 1 waiting"));
}

/// Without pin = true of the factory, its hosts are pinned whose instances match a rule that says so.
#[test]
fn a_rule_pins_the_hosts_whose_instances_match() {
    const RULES: &str = "[[rule]]\nname = \"pinned\"\nfactory = \"web\"\nvpc = [\"vpc-00000001\"]\nyounger_than = \"1h\"\npin = true\n\
                         [[rule]]\nname = \"loose\"\nfactory = \"web\"\nvpc = [\"vpc-00000002\"]\n";
    let change =
        |text: &str| text.replace("pin = true", "").replace("[fleet]", "[fleet]\nrules_file = \"r\"");
    let world = World::new();
    let attached_at = Some(world.now.get().minus(120 * MINUTE));
    let launched = |name: &str, vpc: &str| {
        let known = instance(name, Life::Running, "10.0.0.1");
        Instance { vpc: Some(vpc.to_owned()), attached_at, ..known }
    };
    let nothing_known = instance("i-3", Life::Running, "10.0.0.3");
    for one in [launched("i-1", "vpc-00000001"), launched("i-2", "vpc-00000002"), nothing_known] {
        let _before = world.instances.borrow_mut().insert(one.id.clone(), one);
    }
    let pin =
        |config: &Config, ask: &Ask| run_by(config, &world, Deed::Pin, ask).map(|done| done.to_string());
    let tied = || {
        let hosts = world.hosts.borrow();
        let tied = hosts
            .iter()
            .filter(|(_, to)| !to.is_empty())
            .filter_map(|(id, _)| id.as_str().rsplit('/').next());
        tied.collect::<Vec<_>>().join(" ")
    };
    let by_rule = config_with(change, RULES);
    let error = pin(&config_with(|text| text.replace("pin = true", ""), ""), &Ask::default()).unwrap_err();
    assert!(matches!(error, Error::NonePins), "{error}");
    assert!(pin(&by_rule, &Ask::default()).unwrap().starts_with("web: 1 to pin, 0 pinned already"));
    assert_eq!(tied(), "i-1", "matched once, and is looked after although it is too old for more");
    let others = Ask { instances: vec!["i-2".parse().unwrap()], ..Ask::default() };
    assert!(pin(&by_rule, &others).unwrap().starts_with("web: 0 to pin"));
    // Who is asked for by the factory's name is pinned, whatever the rules say.
    let named = Ask { factories: vec!["web".parse().unwrap()], ..Ask::default() };
    assert!(pin(&by_rule, &named).unwrap().starts_with("web: 2 to pin, 1 pinned already"));
    assert_eq!(tied(), "i-1 i-2 i-3");
}

//! A look at the hosts: what it asks, and what it tells when not all can be looked at.

use super::*;
use crate::fleet::status::HostStatus;

const RULES: &str = "[[rule]]\nname = \"web\"\nfactory = \"web\"\nvpc = [\"vpc-00000001\"]\n\
                     [[rule]]\nname = \"db\"\nfactory = \"db\"\npromote_from = \"web\"\nvpc = [\"vpc-00000002\"]\n";

/// `i-1` has a host, `i-5` runs without one, and `i-6` waits for its promotion.
fn world() -> World {
    let world = World::new();
    let launched = world.now.get().minus(60 * MINUTE);
    for (name, vpc) in [("i-1", "vpc-00000001"), ("i-5", "vpc-00000001"), ("i-6", "vpc-00000002")] {
        let known = instance(name, Life::Running, "10.0.0.1");
        let known = Instance { vpc: Some(vpc.to_owned()), attached_at: Some(launched), ..known };
        let _before = world.instances.borrow_mut().insert(known.id.clone(), known);
    }
    let _before = world.hosts.borrow_mut().insert(id("i-6"), Vec::new());
    world
}

fn look(world: &World, rules: &'static str, ask: &Ask) -> Result<HostStatus, Error> {
    let more = "[[factory]]\nid = \"db\"\nhosts_branch = \"db/hosts\"\nlayer = \"app/nodes\"\n";
    let named = if rules.is_empty() { "[fleet]" } else { "[fleet]\nrules_file = \"r\"" };
    let config = config_with(|text| text.replace("[fleet]", named) + more, rules);
    blocking(async {
        let retry = Retry::with_random(MINUTE, 20, fastrand::Rng::with_seed(1));
        Run::open(&config, ask, world, &retry).await?.status().await
    })
}

fn words(status: &HostStatus) -> String {
    let words = status.factories.iter().map(|part| match &part.seen {
        Ok(seen) => {
            let count =
                |list: &Option<Vec<_>>| list.as_ref().map_or("-".to_owned(), |list| list.len().to_string());
            let (gone, loose) = (seen.without_instance.len(), seen.unpinned.len());
            format!(
                "{}: {} {gone} {loose} {}",
                part.factory,
                count(&seen.without_host),
                count(&seen.unpromoted)
            )
        }
        Err(error) => format!("{}: {}", part.factory, error.class()),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn it_asks_what_it_must_and_changes_nothing() {
    let world = world();
    let before = world.hosts.borrow().clone();
    let status = look(&world, RULES, &Ask::default()).unwrap();
    // i-3 is terminated, EC2 does not know i-4; i-1, i-2 and i-6 are not pinned, but nothing is known of when i-2 began.
    assert_eq!(words(&status), "web: 1 2 3 -, db: - 0 0 1");
    let listings = ["ec2:DescribeInstances"; 2];
    // The second factory has no host, so that EC2 need not be asked for any.
    assert_eq!(world.calls(), [&OPEN[..], &LOOK, &["s3:GetObject", "members"], &listings].concat());
    assert_eq!(*world.hosts.borrow(), before);
    assert!(world.objects.borrow().is_empty(), "nothing is put");
    let counts = status.counts();
    assert_eq!((counts.without_host, counts.unpromoted, counts.failed), (Some(1), Some(1), 0));
    assert_eq!(status.class(), None, "whatever is to be seen is an answer");

    let one = Ask { factories: vec!["db".parse().unwrap()], ..Ask::default() };
    assert_eq!(words(&look(&world, RULES, &one).unwrap()), "db: - 0 0 1", "with what is to be known of web");
    let status = look(&world, "", &Ask::default()).unwrap();
    assert_eq!(words(&status), "web: - 2 3 -, db: - 0 0 -");
    assert_eq!((status.counts().without_host, status.counts().unpromoted), (None, None));
    assert!(status.to_string().contains("no rule tells which instances should have a host"), "{status}");
    let other = Ask { factories: vec!["other".parse().unwrap()], ..Ask::default() };
    assert_eq!(look(&world, RULES, &other).unwrap_err().class(), Class::Usage);
}

/// Whichever call is refused: nothing is told of that which was not seen.
#[test]
fn what_cannot_be_looked_at_is_no_zero() {
    let told = |refused: usize| {
        let mut world = world();
        world.fault = Box::new(move |at, _| (at == refused).then_some(Fault::Refused));
        match look(&world, RULES, &Ask::default()) {
            Ok(status) => {
                let text = status.to_string();
                assert_eq!(status.class(), words(&status).contains("refused").then_some(Class::Refused));
                assert!(text.contains("hint: ") || status.class().is_none(), "{text}");
                words(&status)
            }
            Err(error) => format!("{}", error.class()),
        }
    };
    let all: Vec<String> = (1..=10).map(told).collect();
    let neither = "web: refused, db: refused";
    let well = "web: 1 2 3 -, db: - 0 0 1";
    // Whose account, the login; web's memory, hosts and instances; db's memory and hosts; the listings.
    let wanted =
        ["refused", "refused", neither, neither, neither, neither, neither, "refused", "refused", well];
    assert_eq!(all, wanted);
    let world = world();
    world.instances.borrow_mut().values_mut().for_each(|one| one.account_id = "210987654321".to_owned());
    let error = look(&world, RULES, &Ask::default()).unwrap_err();
    assert!(matches!(error, Error::OtherAccount { .. }), "{error}");
}

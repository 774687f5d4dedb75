use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const NOW: i64 = 1_800_000_000;

fn host(name: &str) -> Host {
    Host { id: format!("app/hosts/1/eu/{name}").parse().unwrap(), instance: name.parse().unwrap() }
}

fn limits(most: usize) -> Limits {
    Limits { missing_for: Duration::from_secs(600), most, even_all: false }
}

/// `seen`: what EC2 says, as `i-1 running`. `before`: seconds since each was first missing, as `i-1 600`.
fn swept(hosts: &[&str], seen: &[(&str, Life)], before: &[(&str, i64)], limits: Limits) -> Sweep {
    let hosts: Vec<Host> = hosts.iter().map(|name| host(name)).collect();
    let lives = seen.iter().map(|(name, life)| (name.parse().unwrap(), *life)).collect();
    let missing = before.iter().map(|(name, ago)| (host(name).id, Second::from_unix(NOW - ago))).collect();
    let facts = Facts { hosts: &hosts, lives: &lives, missing: &missing, limits };
    sweep(&facts, Second::from_unix(NOW))
}

#[test]
fn one_host() {
    let check = |seen: Option<Life>, before: Option<i64>, wanted: &str| {
        let seen: Vec<_> = seen.map(|life| ("i-1", life)).into_iter().collect();
        let before: Vec<_> = before.map(|ago| ("i-1", ago)).into_iter().collect();
        let sweep = swept(&["i-1"], &seen, &before, limits(5));
        let found = match (sweep.gone.as_slice(), sweep.waiting.as_slice()) {
            ([(_, Why::Terminated)], []) => "terminated".to_owned(),
            ([(_, Why::Missing(since))], []) => format!("missing for {}", NOW - since.unix()),
            ([], [_]) => format!("waits since {}", NOW - sweep.missing[&host("i-1").id].unix()),
            ([], []) if sweep.missing.is_empty() => "lives".to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(found, wanted, "{seen:?} {before:?}");
    };
    for life in [Life::Pending, Life::Running, Life::Stopping, Life::Stopped, Life::ShuttingDown] {
        check(Some(life), None, "lives");
        check(Some(life), Some(100_000), "lives");
    }
    check(Some(Life::Terminated), None, "terminated");
    check(None, None, "waits since 0");
    check(None, Some(0), "waits since 0");
    check(None, Some(599), "waits since 599");
    check(None, Some(600), "missing for 600");
    // Told by a clock that was ahead.
    check(None, Some(-5), "waits since 0");
}

#[test]
fn not_more_than_so_many_at_once_and_the_surest_first() {
    let hosts = ["i-1", "i-2", "i-3", "i-4", "i-5"];
    let seen = [("i-4", Life::Terminated), ("i-5", Life::Running)];
    let before = [("i-1", 700), ("i-2", 900), ("i-3", 800)];
    let check = |most, wanted: &str, held_back| {
        let sweep = swept(&hosts, &seen, &before, limits(most));
        let gone: Vec<&str> = sweep.gone.iter().map(|(host, _)| host.instance.as_str()).collect();
        assert_eq!((gone.join(" ").as_str(), sweep.held_back), (wanted, held_back));
        assert_eq!(sweep.missing.len(), 3, "what is held back is not forgotten");
    };
    check(5, "i-4 i-2 i-3 i-1", 0);
    check(2, "i-4 i-2", 2);
    check(0, "", 4);
}

#[test]
fn ec2_that_knows_nobody_is_asked_in_the_wrong_place() {
    let names: Vec<String> = (0..MANY).map(|n| format!("i-{n}")).collect();
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let before: Vec<(&str, i64)> = all.iter().map(|name| (*name, 10_000)).collect();
    let sweep = swept(&all, &[], &before, limits(100));
    assert!(sweep.unlikely && sweep.gone.is_empty());
    assert_eq!(sweep.missing.len(), MANY, "what was known stays known");
    let believed = swept(&all, &[], &before, Limits { even_all: true, ..limits(100) });
    assert_eq!((believed.unlikely, believed.gone.len()), (false, MANY));
    let few = swept(&all[1..], &[], &before[1..], limits(100));
    assert_eq!((few.unlikely, few.gone.len()), (false, MANY - 1));
    let one_seen = swept(&all, &[("i-0", Life::Running)], &before, limits(100));
    assert_eq!((one_seen.unlikely, one_seen.gone.len()), (false, MANY - 1));
}

#[test]
fn who_turns_up_at_the_last_look_is_spared() {
    let before = [("i-1", 700), ("i-2", 700)];
    let seen = [("i-3", Life::Terminated)];
    let mut sweep = swept(&["i-1", "i-2", "i-3"], &seen, &before, limits(9));
    assert_eq!(sweep.doubtful(), ["i-1".parse().unwrap(), "i-2".parse().unwrap()]);
    sweep.confirm(&[("i-1".parse().unwrap(), Life::Running)].into());
    let gone: Vec<&str> = sweep.gone.iter().map(|(host, _)| host.instance.as_str()).collect();
    assert_eq!(gone, ["i-3", "i-2"]);
    assert_eq!(sweep.missing.keys().collect::<Vec<_>>(), [&host("i-2").id]);
}

/// What happens in a region, minute by minute.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Instance n is launched, and its host is made at once.
    Launch(usize),
    /// Instance n ends: EC2 shows it for an hour, or forgets it at once.
    End(usize, bool),
    /// A sweep: EC2 leaves this one out of its answer, though it was there before and is there after.
    Sweep { leaves_out: usize },
    /// A sweep that never comes to its end, so that nothing is remembered.
    Lost,
    /// Time passes.
    Minutes(u16),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        2 => (0..6_usize).prop_map(Event::Launch),
        2 => ((0..6_usize), any::<bool>()).prop_map(|(n, shown)| Event::End(n, shown)),
        4 => (0..12_usize).prop_map(|leaves_out| Event::Sweep { leaves_out }),
        1 => Just(Event::Lost),
        4 => (1..90_u16).prop_map(Event::Minutes),
    ];
    proptest::collection::vec(event, 0..60)
}

/// The model: EC2 may not know an instance in the first five minutes, and any single look may leave one
/// out, but not the look that follows at once.
#[derive(Default)]
struct Region {
    minute: i64,
    launched: BTreeMap<usize, i64>,
    ended: BTreeMap<usize, (i64, bool)>,
    hosts: BTreeSet<usize>,
    missing: Missing,
}

impl Region {
    fn name(n: usize) -> String {
        format!("i-{n}")
    }

    fn lives(&self, n: usize) -> bool {
        self.launched.contains_key(&n) && !self.ended.contains_key(&n)
    }

    fn look(&self, leaves_out: Option<usize>) -> BTreeMap<InstanceId, Life> {
        let mut lives = BTreeMap::new();
        for (&n, &launched) in &self.launched {
            let life = match self.ended.get(&n) {
                None => Life::Running,
                Some((at, true)) if self.minute - at <= 60 => Life::Terminated,
                Some(_) => continue,
            };
            let young = self.minute - launched < 5;
            if young || leaves_out == Some(n) {
                continue;
            }
            lives.insert(Self::name(n).parse().unwrap(), life);
        }
        lives
    }

    fn sweep(&self, leaves_out: Option<usize>) -> Sweep {
        let hosts: Vec<Host> = self.hosts.iter().map(|n| host(&Self::name(*n))).collect();
        let lives = self.look(leaves_out);
        let facts = Facts { hosts: &hosts, lives: &lives, missing: &self.missing, limits: limits(100) };
        let mut sweep = sweep(&facts, Second::from_unix(NOW + self.minute * 60));
        let again = self.look(None).into_iter().filter(|(id, _)| sweep.doubtful().contains(id)).collect();
        sweep.confirm(&again);
        sweep
    }

    fn carry_out(&mut self, sweep: Sweep) -> Result<(), TestCaseError> {
        for (gone, why) in sweep.gone {
            let n = gone.instance.as_str()[2..].parse().unwrap();
            prop_assert!(!self.lives(n), "{gone:?} lives and was removed: {why:?}");
            self.hosts.remove(&n);
        }
        self.missing = sweep.missing;
        Ok(())
    }
}

proptest! {
    #[test]
    fn a_living_host_is_never_removed_and_a_dead_one_is_after_two_sweeps(events in events()) {
        let mut region = Region::default();
        for event in events {
            match event {
                // An id is given once.
                Event::Launch(n) if region.launched.contains_key(&n) => {}
                Event::Launch(n) => {
                    region.launched.insert(n, region.minute);
                    region.hosts.insert(n);
                }
                Event::End(n, shown) if region.lives(n) => {
                    region.ended.insert(n, (region.minute, shown));
                }
                Event::End(..) => {}
                Event::Sweep { leaves_out } => {
                    let sweep = region.sweep(Some(leaves_out));
                    region.carry_out(sweep)?;
                }
                Event::Lost => drop(region.sweep(None)),
                Event::Minutes(minutes) => region.minute += i64::from(minutes),
            }
        }
        for _ in 0..2 {
            region.minute += 10;
            let sweep = region.sweep(None);
            region.carry_out(sweep)?;
        }
        let dead: Vec<_> = region.hosts.iter().filter(|n| !region.lives(**n)).collect();
        prop_assert!(dead.is_empty(), "{dead:?} live on");
    }
}

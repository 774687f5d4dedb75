//! The flows over scripted effects: what they call, what they leave behind when any call fails, and that
//! nobody who lives is harmed.

mod clocks;
mod pinned;
mod status;

use super::*;
use crate::fleet::memory::{Memory, memory_key};
use crate::fleet::report::{Done, Outcome};
use crate::fleet::sweep::Why;
use crate::session::LogIn;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use imprint_core::aws::ec2::{Filter, Instance, Life};
use imprint_core::aws::{self, ETag, Object, Only};
use imprint_core::conjur;
use imprint_core::name::{Branch, LayerId};
use imprint_core::second::Second;
use ipnet::IpNet;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use zeroize::Zeroizing;

const MINUTE: Duration = Duration::from_secs(60);

/// How a call fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    /// It is carried out, and its reply lost.
    LostReply,
    /// It is not carried out; the server is busy.
    NotDone,
    /// It is refused.
    Refused,
    /// Conjur no longer takes the access token.
    Unauthorized,
}

type Change = Box<dyn Fn(&World)>;
type Script = Box<dyn Fn(usize, &str) -> Option<Fault>>;

/// A small Conjur, EC2 and S3.
struct World {
    /// Hosts by id, with what they are tied to.
    hosts: RefCell<BTreeMap<HostId, Vec<IpNet>>>,
    instances: RefCell<BTreeMap<InstanceId, Instance>>,
    objects: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    calls: RefCell<Vec<&'static str>>,
    fault: Script,
    /// What somebody else does just before the call of this number.
    meanwhile: Option<(usize, Change)>,
    now: Cell<Second>,
    /// Conjur's clock; it does not tell when `None`.
    at_conjur: Cell<Option<Second>>,
    /// Hosts that a load of policy made: they are in no layer.
    made: RefCell<BTreeSet<HostId>>,
}

fn config() -> Config {
    config_with(str::to_owned, "")
}

/// The usual one with a change, and these rules.
fn config_with(change: impl Fn(&str) -> String, rules: &'static str) -> Config {
    let text = "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/rotator\"\n\
                deployment = \"1f2e3d4c\"\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n\
                [fleet]\nmissing_for = \"10m\"\nmost_removals = 3\n\
                [[factory]]\nid = \"web\"\nhosts_branch = \"app/hosts\"\nlayer = \"app/nodes\"\npin = true\n";
    Config::parse(&change(text), &|_| Ok(Zeroizing::new(rules.to_owned()))).unwrap()
}

fn id(name: &str) -> HostId {
    format!("app/hosts/123456789012/eu-west-1/{name}").parse().unwrap()
}

fn instance(name: &str, life: Life, address: &str) -> Instance {
    Instance {
        id: name.parse().unwrap(),
        account_id: "123456789012".to_owned(),
        life,
        ami: None,
        subnet: None,
        vpc: None,
        instance_profile: None,
        addresses: vec![address.parse().unwrap()],
        attached_at: None,
        tags: BTreeMap::new(),
    }
}

impl World {
    /// `i-1` to `i-4` have hosts and run, but `i-3` is terminated and EC2 does not know `i-4`; two hosts
    /// are nobody's business.
    fn new() -> Self {
        let names = ["i-1", "i-2", "i-3", "i-4"];
        let mut hosts: BTreeMap<HostId, Vec<IpNet>> = names.map(|name| (id(name), Vec::new())).into();
        for other in ["app/hosts/by-hand", "app/hosts/123456789012/us-east-1/i-9"] {
            hosts.insert(other.parse().unwrap(), Vec::new());
        }
        let known = [
            instance("i-1", Life::Running, "10.0.0.1"),
            instance("i-2", Life::Stopped, "10.0.0.2"),
            instance("i-3", Life::Terminated, "10.0.0.3"),
        ];
        Self {
            hosts: RefCell::new(hosts),
            instances: RefCell::new(known.map(|one| (one.id.clone(), one)).into()),
            objects: RefCell::default(),
            calls: RefCell::default(),
            fault: Box::new(|_, _| None),
            meanwhile: None,
            now: Cell::new(Second::from_unix(1_800_000_000)),
            at_conjur: Cell::new(None),
            made: RefCell::default(),
        }
    }

    fn pass(&self, time: Duration) {
        self.now.set(self.now.get().plus(time));
        self.at_conjur.set(self.at_conjur.get().map(|now| now.plus(time)));
    }

    fn calls(&self) -> Vec<&'static str> {
        self.calls.take()
    }

    fn left(&self) -> String {
        let hosts = self.hosts.borrow();
        hosts.keys().filter_map(|id| id.as_str().rsplit('/').next()).collect::<Vec<_>>().join(" ")
    }

    fn memory(&self) -> Memory {
        let key = memory_key(&"prod".parse().unwrap(), &"web".parse().unwrap());
        self.objects.borrow().get(&key).map(|(bytes, _)| Memory::parse(bytes).unwrap()).unwrap_or_default()
    }

    fn call<T>(
        &self,
        name: &'static str,
        act: impl FnOnce() -> Result<T, effects::Error>,
    ) -> Result<T, effects::Error> {
        self.calls.borrow_mut().push(name);
        let number = self.calls.borrow().len();
        if let Some((at, change)) = &self.meanwhile
            && *at == number
        {
            change(self);
        }
        let aws = |code: &str, status| {
            aws::Error::Answered { operation: name, resource: "it".into(), code: code.into(), status }.into()
        };
        let conjur = |status| {
            conjur::Error::Status { operation: name, server: "it".into(), status, retry_after: None }.into()
        };
        match (self.fault)(number, name) {
            None => act(),
            Some(Fault::LostReply) => {
                let _lost = act();
                Err(if name.contains(':') { aws("SlowDown", 503) } else { conjur(500) })
            }
            Some(Fault::NotDone) => Err(if name.contains(':') { aws("SlowDown", 503) } else { conjur(409) }),
            Some(Fault::Refused) if name == "members" => Err(conjur(404)),
            Some(Fault::Refused) if name.starts_with("ec2:") => Err(aws("UnauthorizedOperation", 403)),
            Some(Fault::Refused) => {
                Err(if name.contains(':') { aws("AccessDenied", 403) } else { conjur(403) })
            }
            Some(Fault::Unauthorized) => Err(conjur(401)),
        }
    }
}

impl LogIn for World {
    async fn authenticate(&self) -> Result<AccessToken, effects::Error> {
        let claims = self.at_conjur.get().map(|now| format!("{{\"iat\":{}}}", now.unix()));
        let json = claims.map_or_else(
            || "{}".to_owned(),
            |claims| format!("{{\"payload\":\"{}\"}}", URL_SAFE.encode(claims)),
        );
        self.call("authenticate", || Ok(AccessToken::new(Zeroizing::new(json.into_bytes()))))
    }

    fn now(&self) -> Second {
        self.now.get()
    }
}

impl Effects for World {
    async fn place(&self) -> Result<Place, effects::Error> {
        let place = Place { account_id: "123456789012".to_owned(), region: "eu-west-1".to_owned() };
        self.call("sts:GetCallerIdentity", || Ok(place))
    }

    async fn describe(&self, filters: &[Filter]) -> Result<Vec<Instance>, effects::Error> {
        self.call("ec2:DescribeInstances", || {
            let takes = |instance: &Instance| {
                filters.iter().all(|filter| {
                    let what = match filter.name.as_str() {
                        "instance-id" => Some(instance.id.as_str()),
                        "instance-state-name" => Some(instance.life.as_str()),
                        "vpc-id" => instance.vpc.as_deref(),
                        other => panic!("{other}"),
                    };
                    what.is_some_and(|what| filter.values.iter().any(|value| value == what))
                })
            };
            Ok(self.instances.borrow().values().filter(|one| takes(one)).cloned().collect())
        })
    }

    async fn fetch(&self, key: &str) -> Result<Object, effects::Error> {
        self.call("s3:GetObject", || match self.objects.borrow().get(key) {
            Some((bytes, tag)) => Ok(Object { bytes: bytes.clone(), etag: ETag::new(&tag.to_string()) }),
            None => {
                let (operation, resource, code) = ("s3:GetObject", key.to_owned(), "NoSuchKey".to_owned());
                Err(aws::Error::Answered { operation, resource, code, status: 404 }.into())
            }
        })
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, effects::Error> {
        self.call("s3:PutObject", || {
            let mut objects = self.objects.borrow_mut();
            let tag = objects.get(key).map(|(_, tag)| *tag);
            let holds = match only {
                Only::IfAbsent => tag.is_none(),
                Only::IfMatch(wanted) => tag.is_some_and(|tag| ETag::new(&tag.to_string()) == *wanted),
            };
            if !holds {
                let (operation, resource) = ("s3:PutObject", key.to_owned());
                let code = "PreconditionFailed".to_owned();
                return Err(aws::Error::Answered { operation, resource, code, status: 412 }.into());
            }
            let next = tag.unwrap_or_default() + 1;
            objects.insert(key.to_owned(), (bytes, next));
            Ok(ETag::new(&next.to_string()))
        })
    }

    async fn members(&self, _: &AccessToken, layer: &LayerId) -> Result<BTreeSet<HostId>, effects::Error> {
        assert_eq!(layer.as_str(), "app/nodes");
        let made = |id: &&HostId| self.made.borrow().contains(*id);
        self.call("members", || Ok(self.hosts.borrow().keys().filter(|id| !made(id)).cloned().collect()))
    }

    async fn delete_hosts(
        &self,
        _: &AccessToken,
        branch: &Branch,
        hosts: &[HostId],
    ) -> Result<(), effects::Error> {
        assert_eq!(branch.as_str(), "app/hosts");
        self.call("delete_hosts", || {
            self.hosts.borrow_mut().retain(|id, _| !hosts.contains(id));
            Ok(())
        })
    }

    async fn restrict_hosts(
        &self,
        _: &AccessToken,
        _: &Branch,
        hosts: &BTreeMap<HostId, Vec<IpNet>>,
    ) -> Result<Vec<HostId>, effects::Error> {
        self.call("restrict_hosts", || {
            let mut known = self.hosts.borrow_mut();
            let made: Vec<HostId> = hosts.keys().filter(|id| !known.contains_key(*id)).cloned().collect();
            known.extend(hosts.clone());
            self.made.borrow_mut().extend(made.clone());
            Ok(made)
        })
    }
}

fn blocking<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(story)
}

fn run(world: &World, deed: Deed, ask: &Ask) -> Result<Outcome, Error> {
    run_by(&config(), world, deed, ask)
}

fn run_by(config: &Config, world: &World, deed: Deed, ask: &Ask) -> Result<Outcome, Error> {
    blocking(async {
        let retry = Retry::with_random(MINUTE, 20, fastrand::Rng::with_seed(1));
        let mut report = Run::open(config, ask, world, &retry).await?.over_the_fleet(deed).await?;
        assert_eq!(report.factories.len(), 1);
        Ok(report.factories.remove(0))
    })
}

/// Whoever mistypes an instance is told; it is a failure only where something was to be there afterwards.
#[test]
fn an_instance_without_a_host_is_told() {
    let check =
        |deed: Deed, names: &[&str], fault: Option<Fault>, hostless: &[&str], class: Option<Class>| {
            let mut world = World::new();
            world.fault = Box::new(move |_, name| fault.filter(|_| name == "members"));
            let instances = names.iter().map(|name| name.parse().unwrap()).collect();
            let ask = Ask { instances, ..Ask::default() };
            let (config, retry) = (config(), Retry::with_random(MINUTE, 20, fastrand::Rng::with_seed(1)));
            let report = blocking(async {
                Run::open(&config, &ask, &world, &retry).await?.over_the_fleet(deed).await
            });
            let report = report.unwrap();
            assert_eq!(report.to_json()["without_host"], serde_json::json!(hostless), "{deed:?} {names:?}");
            assert_eq!(report.class(), class, "{deed:?} {names:?}");
        };
    for deed in [Deed::Decommission, Deed::Pin] {
        check(deed, &[], None, &[], None);
        check(deed, &["i-1"], None, &[], None);
        // A host of another region is none of this place.
        let class = (deed == Deed::Pin).then_some(Class::Absent);
        check(deed, &["i-1", "i-9", "i-77"], None, &["i-77", "i-9"], class);
        check(deed, &["i-77"], Some(Fault::Refused), &[], Some(Class::Refused));
    }
}

fn swept(world: &World) -> Result<Outcome, Error> {
    run(world, Deed::Decommission, &Ask::default())
}

const OPEN: [&str; 2] = ["sts:GetCallerIdentity", "authenticate"];
const LOOK: [&str; 3] = ["s3:GetObject", "members", "ec2:DescribeInstances"];

#[test]
fn a_dead_one_leaves_at_once_a_missing_one_after_two_looks_and_nobody_else() {
    let world = World::new();
    let first = swept(&world).unwrap();
    let Ok(Done::Swept(sweep)) = &first.result else { panic!("{first}") };
    assert_eq!((sweep.gone.len(), sweep.waiting.len()), (1, 1));
    assert_eq!(world.left(), "i-1 i-2 i-4 i-9 by-hand");
    let deletes = ["delete_hosts", "members", "s3:PutObject"];
    assert_eq!(world.calls(), [&OPEN[..], &LOOK, &deletes].concat());
    assert_eq!(world.memory().missing.keys().collect::<Vec<_>>(), [&id("i-4")]);

    world.pass(9 * MINUTE);
    let early = swept(&world).unwrap();
    assert!(early.to_string().contains("0 gone, 1 waiting"), "{early}");
    assert_eq!(world.calls(), [&OPEN[..], &LOOK].concat(), "nothing new is remembered");

    world.pass(MINUTE);
    let second = swept(&world).unwrap();
    let Ok(Done::Swept(sweep)) = &second.result else { panic!("{second}") };
    assert!(matches!(sweep.gone.as_slice(), [(host, Why::Missing(_))] if host.id == id("i-4")), "{second}");
    assert_eq!(world.left(), "i-1 i-2 i-9 by-hand");
    let asked_again = ["ec2:DescribeInstances"];
    assert_eq!(world.calls(), [&OPEN[..], &LOOK, &asked_again, &deletes].concat());
    assert_eq!(world.memory(), Memory::default());
}

#[test]
fn a_dry_run_changes_nothing() {
    for deed in [Deed::Decommission, Deed::Pin] {
        let world = World::new();
        let outcome = run(&world, deed, &Ask { dry_run: true, ..Ask::default() }).unwrap();
        assert!(outcome.result.is_ok(), "{outcome}");
        assert_eq!(world.left(), "i-1 i-2 i-3 i-4 i-9 by-hand");
        assert_eq!(world.calls(), [&OPEN[..], &LOOK].concat());
    }
}

#[test]
fn an_event_looks_at_its_own_instance_alone() {
    let world = World::new();
    let ask = |name: &str| Ask { instances: vec![name.parse().unwrap()], ..Ask::default() };
    let _seen = swept(&world).unwrap();
    world.hosts.borrow_mut().insert(id("i-3"), Vec::new());
    let lives = run(&world, Deed::Decommission, &ask("i-1")).unwrap();
    assert!(lives.to_string().contains("0 gone, 0 waiting"), "{lives}");
    assert_eq!(world.memory().missing.len(), 1, "what is known of others is kept");
    let gone = run(&world, Deed::Decommission, &ask("i-3")).unwrap();
    assert!(gone.to_string().contains("1 gone, 0 waiting"), "{gone}");
    // An event alone is no proof.
    world.hosts.borrow_mut().insert(id("i-5"), Vec::new());
    let missing = run(&world, Deed::Decommission, &ask("i-5")).unwrap();
    assert!(missing.to_string().contains("0 gone, 1 waiting"), "{missing}");
    assert_eq!(world.left(), "i-1 i-2 i-4 i-5 i-9 by-hand");
    assert_eq!(world.memory().missing.len(), 2);
}

#[test]
fn wherever_a_run_dies_nobody_who_lives_is_harmed_and_later_runs_come_to_the_end() {
    for fault in [Fault::LostReply, Fault::NotDone, Fault::Refused, Fault::Unauthorized] {
        for deed in [Deed::Decommission, Deed::Pin] {
            for number in 1..=9 {
                let mut world = World::new();
                // From that call on, everything fails: as if the run had died there.
                world.fault = Box::new(move |at, _| (at >= number).then_some(fault));
                let _whatever = run(&world, deed, &Ask::default());
                world.fault = Box::new(|_, _| None);
                world.calls();
                for _ in 0..3 {
                    world.pass(10 * MINUTE);
                    swept(&world).unwrap().result.unwrap();
                    run(&world, Deed::Pin, &Ask::default()).unwrap().result.unwrap();
                }
                assert_eq!(world.left(), "i-1 i-2 i-9 by-hand", "{deed:?} died of {fault:?} at {number}");
                let tied = |name: &str| format!("{:?}", world.hosts.borrow()[&id(name)]);
                assert_eq!((tied("i-1"), tied("i-2")), ("[10.0.0.1/32]".into(), "[10.0.0.2/32]".into()));
            }
        }
    }
}

#[test]
fn one_failed_call_is_repeated_where_that_is_well() {
    for fault in [Fault::LostReply, Fault::NotDone] {
        for number in 1..=7 {
            let mut world = World::new();
            world.fault = Box::new(move |at, _| (at == number).then_some(fault));
            let outcome = swept(&world).unwrap();
            assert!(outcome.result.is_ok(), "{fault:?} at {number}: {outcome}");
            assert_eq!(world.left(), "i-1 i-2 i-4 i-9 by-hand", "{fault:?} at {number}");
        }
    }
    let mut world = World::new();
    world.fault = Box::new(|at, _| (at == 4).then_some(Fault::Unauthorized));
    assert!(swept(&world).unwrap().result.is_ok(), "a new login");
}

#[test]
fn what_is_still_there_is_told() {
    let mut world = World::new();
    // Conjur says that it was done, and it was not: another branch, say.
    world.meanwhile =
        Some((7, Box::new(|world| drop(world.hosts.borrow_mut().insert(id("i-3"), Vec::new())))));
    let outcome = swept(&world).unwrap();
    let error = outcome.result.unwrap_err();
    assert!(matches!(&error, Error::StillThere { hosts, .. } if *hosts == [id("i-3")]), "{error}");
    assert_eq!(error.class(), Class::Refused);
    assert_eq!(world.memory().missing.len(), 1, "and what was missing is remembered all the same");
}

#[test]
fn a_memory_that_another_run_wrote_or_that_nobody_can_read() {
    let mut world = World::new();
    let key = memory_key(&"prod".parse().unwrap(), &"web".parse().unwrap());
    let planted = key.clone();
    let other = move |world: &World| {
        world.objects.borrow_mut().insert(planted.clone(), (Memory::default().to_bytes(), 7));
    };
    world.meanwhile = Some((8, Box::new(other)));
    let outcome = swept(&world).unwrap();
    assert!(outcome.result.is_ok() && outcome.notes[0].contains("another run"), "{outcome}");

    let world = World::new();
    world.objects.borrow_mut().insert(key, (b"{}".to_vec(), 3));
    let outcome = swept(&world).unwrap();
    assert!(outcome.result.is_ok() && outcome.notes[0].contains("begun anew"), "{outcome}");
    assert_eq!(world.memory().missing.len(), 1);

    let mut world = World::new();
    world.fault = Box::new(|_, name| (name == "s3:PutObject").then_some(Fault::Refused));
    let outcome = swept(&world).unwrap();
    assert_eq!(outcome.result.unwrap_err().class(), Class::Refused, "or nobody missing would ever leave");
}

#[test]
fn nothing_can_be_done_for_factories_that_are_not_there() {
    let world = World::new();
    let ask = |id: &str| Ask { factories: vec![id.parse().unwrap()], ..Ask::default() };
    let unknown = run(&world, Deed::Decommission, &ask("nobody")).unwrap_err();
    assert_eq!(
        (unknown.class(), unknown.to_string().as_str()),
        (Class::Usage, "not in the configuration: nobody")
    );
    let pin = run(&world, Deed::Pin, &ask("nobody")).unwrap_err();
    assert_eq!(pin.class(), Class::Usage);
}

#[test]
fn what_may_not_be_seen_is_told_by_its_name() {
    let check = |call: &'static str, say: &str, hint: &str| {
        let mut world = World::new();
        world.fault = Box::new(move |_, name| (name == call).then_some(Fault::Refused));
        let error = swept(&world).unwrap().result.unwrap_err();
        assert_eq!((error.class(), error.to_string().as_str()), (Class::Refused, say));
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        assert_eq!(world.left(), "i-1 i-2 i-3 i-4 i-9 by-hand");
    };
    let hidden = "S3 does not let fleet/prod/web/memory.json be read, so it may be there or not";
    check("s3:GetObject", hidden, "s3:ListBucket");
    check(
        "ec2:DescribeInstances",
        "ec2:DescribeInstances of it: UnauthorizedOperation (HTTP 403)",
        "allow the role",
    );
    check("members", "host/rotator sees no layer app/nodes", "read on the layer");
}

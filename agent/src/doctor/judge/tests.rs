use super::super::found::{Access, Copied, Date, Holder, Input, Place, Room, Server};
use super::super::proxy::Way;
use super::*;
use crate::binding::tests::binding;
use crate::config::tests::config;
use crate::config::{Object, S3};
use crate::facts::Facts;
use crate::identity;
use crate::state::{Found, Verified};
use crate::step::{OnDisk, Refusal, Step};
use imprint_core::Class;
use imprint_core::conjur::{Health, Role};
use imprint_core::sealed::Binding;
use imprint_core::second::Second;

const NOW: &str = "2026-11-22T08:00:00Z";
const HERE: &str = "i-0123456789abcdef0";
const URL: &str = "https://conjur.example.org";
const HOST: &str = "app/hosts/123456789012/eu-west-1/i-0123456789abcdef0";

fn at(text: &str) -> Second {
    text.parse().unwrap()
}

fn trouble(class: Class, code: Option<&str>, status: Option<u16>) -> Trouble {
    let (what, hint) = ("it failed".to_owned(), Some("mend it".to_owned()));
    Trouble { class, what, hint, code: code.map(str::to_owned), status }
}

/// An enrolled machine on which all is well.
fn machine() -> Machine {
    let root = Access { mode: 0o600, owner: 0, group: 0 };
    let room = Room { read_only: false, writable: true, bytes: 1 << 30, inodes: Some(1000) };
    Machine {
        now: at(NOW),
        is_root: true,
        config: Asked::Told(Access { mode: 0o644, ..root }),
        here: Some(HERE.to_owned()),
        state: Asked::Told(Found::Missing),
        identity: Asked::Told(OnDisk::Good { appliance_url: URL.to_owned(), host_id: HOST.to_owned() }),
        next: Some(Step::Nothing),
        access: Some((root, root)),
        inputs: vec![],
        places: vec![Place { path: "/etc/conjur.identity".to_owned(), fit: Ok(()), disk: Some(room) }],
        copies: vec![("/etc/conjur.conf".to_owned(), Copied::Same)],
        lock: Holder::Nobody,
        variables: vec![],
        shadows: vec![],
        aws_variables: vec![],
        plain_endpoints: vec![],
        ways: vec![(URL.to_owned(), Way::Direct)],
    }
}

/// A run of the program.
fn attempt() -> imprint_core::caller::RunId {
    imprint_core::caller::RunId::new(at(NOW), 1)
}

/// Servers that are all well.
fn servers() -> Servers {
    let facts = Facts {
        account_id: Some("123456789012".to_owned()),
        hostname: None,
        image_id: None,
        instance_id: HERE.parse().unwrap(),
        private_ip: Some("10.0.0.5".parse().unwrap()),
        region: Some("eu-west-1".to_owned()),
        tags: Default::default(),
    };
    let server = Server {
        url: URL.to_owned(),
        is_leader: true,
        name: Asked::Told("198.51.100.1".to_owned()),
        connection: Asked::Told(()),
        health: Asked::Told(None),
        login: Asked::Told(()),
    };
    Servers {
        facts: Asked::Told(facts),
        credentials: Asked::Told(Some(at("2026-11-22T14:00:00Z"))),
        aws_names: vec![("s3.eu-west-1.amazonaws.com".to_owned(), Asked::Told("192.0.2.1".to_owned()))],
        object: Asked::Told((700, Ok(binding()))),
        any_owner: Asked::Skipped("it was not needed"),
        unsealed: Asked::Told(Some(binding().fingerprint)),
        opened: Asked::Skipped("no source is sealed with client data"),
        other_buckets: vec![],
        promotion: Asked::Skipped("no promotion is awaited"),
        conjurs: vec![server],
        proof: Asked::Told(true),
        dates: vec![Date { server: "conjur.example.org".to_owned(), said: at(NOW), own: at(NOW) }],
        addresses: vec!["10.0.0.5".parse().unwrap()],
    }
}

fn judged(machine: &Machine, servers: &Servers) -> Vec<Check> {
    let mut config = config("");
    if let [crate::config::Source::S3(s3)] = config.sources.as_mut_slice() {
        s3.bucket_owner = Some("123456789012".to_owned());
    }
    all(&config, machine, Ok(servers))
}

/// Exactly these checks are neither ok nor skipped.
#[track_caller]
fn check(machine: &Machine, servers: &Servers, expect: &[(&str, Outcome)]) {
    let checks = judged(machine, servers);
    let found: Vec<(&str, Outcome)> = checks
        .iter()
        .filter(|check| !matches!(check.outcome, Outcome::Ok | Outcome::Skipped))
        .map(|check| (check.name, check.outcome))
        .collect();
    assert_eq!(found, expect, "{checks:#?}");
    for check in &checks {
        assert!(!check.detail.is_empty(), "{check:?}");
        assert_eq!(
            check.hint.is_some(),
            !matches!(check.outcome, Outcome::Ok | Outcome::Skipped),
            "{check:?}"
        );
    }
}

#[track_caller]
fn on_machine(change: impl Fn(&mut Machine), expect: &[(&str, Outcome)]) {
    let mut changed = machine();
    change(&mut changed);
    check(&changed, &servers(), expect);
}

#[track_caller]
fn at_servers(change: impl Fn(&mut Servers), expect: &[(&str, Outcome)]) {
    let mut changed = servers();
    change(&mut changed);
    check(&machine(), &changed, expect);
}

const fn failure(class: Class) -> Outcome {
    Outcome::Failure(class)
}

#[test]
fn each_name_once_and_the_same_names_whatever_is_known() {
    let names = |checks: Vec<Check>| checks.into_iter().map(|check| check.name).collect::<Vec<_>>();
    let full = names(judged(&machine(), &servers()));
    assert_eq!(full, names(without_config()));
    assert_eq!(full, names(all(&config(""), &machine(), Err("--offline was given"))));
    let mut once = full.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), full.len());
    assert!(full.len() >= 39, "{}", full.len());
}

#[test]
fn all_is_well() {
    check(&machine(), &servers(), &[]);
    assert!(judged(&machine(), &servers()).iter().all(|check| {
        check.outcome == Outcome::Ok
            || ["client-data", "last-verify", "other-buckets", "promotion", "promotion-token"]
                .contains(&check.name)
    }));
}

/// They are for worse days: what is wrong there stops nobody, and is told.
#[test]
fn the_buckets_beside_the_first() {
    let layer = config("").s3().unwrap().clone();
    let s3 = |object| S3 { bucket: "other".to_owned(), object, ..layer.clone() };
    let named = |opened| (s3(Object::Layer("token.json".to_owned())), opened);
    let told = |change: fn(&mut Binding)| {
        let mut binding = binding();
        change(&mut binding);
        named(Asked::Told(binding))
    };
    at_servers(|s| s.other_buckets = vec![told(|_| {})], &[]);
    at_servers(|s| s.other_buckets = vec![named(Asked::Skipped("there are no credentials"))], &[]);
    let wrong: [fn(&mut Binding); 3] = [
        |b| b.account = "other".parse().unwrap(),
        |b| b.expires_at = at("2026-11-22T07:59:00Z"),
        |b| b.ca_sha256 = vec!["0".repeat(64)],
    ];
    for change in wrong {
        let expect = [("other-buckets", Outcome::Warning)];
        at_servers(|s| s.other_buckets = vec![told(|_| {}), told(change)], &expect);
    }
    let mut bad = servers();
    bad.other_buckets = vec![named(Asked::Failed(trouble(Class::Refused, None, None))), told(|_| {})];
    check(&machine(), &bad, &[("other-buckets", Outcome::Warning)]);
    let checks = judged(&machine(), &bad);
    let other = checks.iter().find(|check| check.name == "other-buckets").unwrap();
    assert_eq!(other.detail, "s3://other/token.json: it failed");

    // That nothing waits for one instance is how it should be; what is there must be for it.
    let own = |opened| vec![(s3(Object::Instance("app/web".parse().unwrap())), opened)];
    let absent = || Asked::Failed(trouble(Class::Absent, Some("NoSuchKey"), None));
    at_servers(|s| s.other_buckets = own(absent()), &[]);
    let expect = [("other-buckets", Outcome::Warning)];
    at_servers(|s| s.other_buckets = own(Asked::Told(binding())), &expect);
    at_servers(|s| s.other_buckets = vec![named(absent())], &expect);
}

#[test]
fn the_machine() {
    use Outcome::Warning;
    let access = |mode, owner, group| Asked::Told(Access { mode, owner, group });
    on_machine(|m| m.config = access(0o666, 0, 0), &[("config-access", failure(Class::Config))]);
    on_machine(|m| m.config = access(0o664, 0, 7), &[("config-access", failure(Class::Config))]);
    on_machine(|m| m.config = access(0o664, 0, 0), &[]);
    on_machine(|m| m.config = access(0o644, 7, 0), &[("config-access", Warning)]);
    on_machine(|m| m.is_root = false, &[("user", Warning)]);
    on_machine(|m| m.here = None, &[]);
    on_machine(|m| m.state = Asked::Told(Found::Unreadable("cut".to_owned())), &[("state", Warning)]);
    on_machine(
        |m| m.state = Asked::Failed(trouble(Class::Storage, None, None)),
        &[("state", failure(Class::Storage))],
    );
    on_machine(|m| m.identity = Asked::Told(OnDisk::Missing), &[("identity", Warning)]);
    for error in [identity::Error::Others, identity::Error::Truncated, identity::Error::Empty] {
        let unusable = Asked::Told(OnDisk::Unusable(error));
        on_machine(|m| m.identity = unusable.clone(), &[("identity", failure(Class::Tampered))]);
    }
    let is = |mode, owner| Access { mode, owner, group: 0 };
    on_machine(
        |m| m.access = Some((is(0o644, 0), is(0o600, 0))),
        &[("identity-access", failure(Class::Tampered))],
    );
    on_machine(|m| m.access = Some((is(0o400, 0), is(0o600, 0))), &[("identity-access", Warning)]);
    on_machine(|m| m.access = Some((is(0o600, 7), is(0o600, 0))), &[("identity-access", Warning)]);
    on_machine(|m| m.access = None, &[]);
    let parent = || Some(Step::EnrollAsOneself { parent: "i-1".to_owned() });
    on_machine(|m| m.next = parent(), &[("next-enroll", Warning)]);
    let refused = || Some(Step::Refuse(Refusal::Foreign { found: "a".to_owned(), own: "b".to_owned() }));
    on_machine(|m| m.next = refused(), &[("next-enroll", failure(Class::Tampered))]);
    let input = |input| vec![("/run/token".to_owned(), input)];
    on_machine(|m| m.inputs = input(Input::Ready), &[]);
    on_machine(|m| m.inputs = input(Input::Missing), &[]);
    on_machine(|m| m.inputs = input(Input::Open(0o644)), &[("token-files", Warning)]);
    on_machine(|m| m.inputs = input(Input::Closed), &[("token-files", failure(Class::Config))]);
    let first = |m: &mut Machine| {
        m.inputs = input(Input::Missing);
        m.next = Some(Step::Enroll(crate::step::Why::FirstBoot));
    };
    on_machine(first, &[("token-files", failure(Class::Absent))]);
    on_machine(|m| m.copies[0].1 = Copied::Different, &[("conf-and-pem", Warning)]);
    on_machine(|m| m.copies[0].1 = Copied::Missing, &[("conf-and-pem", Warning)]);
    on_machine(|m| m.lock = Holder::Process(Some(7)), &[("lock", Warning)]);
    on_machine(|m| m.lock = Holder::Process(None), &[("lock", Warning)]);
    on_machine(|m| m.variables = vec!["CONJUR_ACCOUNT".to_owned()], &[("client-variables", Warning)]);
    on_machine(|m| m.shadows = vec!["/opt/conjur/etc/plugins.yml".to_owned()], &[("client-files", Warning)]);
    on_machine(|m| m.aws_variables = vec!["AWS_REGION".to_owned()], &[]);
    let plain = |m: &mut Machine| m.plain_endpoints = vec!["AWS_ENDPOINT_URL".to_owned()];
    on_machine(plain, &[("aws-variables", failure(Class::Config))]);
}

#[test]
fn the_disk() {
    let storage = failure(Class::Storage);
    let room = |change: &dyn Fn(&mut Room)| {
        let mut changed = machine();
        change(changed.places[0].disk.as_mut().unwrap());
        changed
    };
    let disk = |change: &dyn Fn(&mut Room), outcome| check(&room(change), &servers(), &[("disk", outcome)]);
    disk(&|r| r.read_only = true, storage);
    disk(&|r| r.writable = false, storage);
    disk(&|r| r.bytes = 4096, storage);
    disk(&|r| r.bytes = 1 << 20, Outcome::Warning);
    disk(&|r| r.inodes = Some(3), storage);
    check(&room(&|r| r.inodes = None), &servers(), &[]);
    on_machine(|m| m.places[0].disk = None, &[]);
    on_machine(|m| m.places[0].fit = Err(trouble(Class::Storage, None, None)), &[("directories", storage)]);
}

#[test]
fn the_way_to_the_token() {
    let transient = failure(Class::Transient);
    let not = || trouble(Class::Transient, None, None);
    at_servers(
        |s| {
            s.facts = Asked::Failed(not());
            s.credentials = Asked::Skipped("the metadata service does not answer");
            s.object = Asked::Skipped("there are no credentials");
            s.unsealed = Asked::Skipped("there is no sealed token");
        },
        &[("imds", transient)],
    );
    at_servers(
        |s| s.credentials = Asked::Failed(trouble(Class::Config, None, None)),
        &[("profile", failure(Class::Config))],
    );
    at_servers(|s| s.credentials = Asked::Failed(not()), &[("credentials", transient)]);
    at_servers(|s| s.credentials = Asked::Told(Some(at(NOW))), &[("credentials", transient)]);
    at_servers(|s| s.aws_names[0].1 = Asked::Failed(not()), &[("aws-names", transient)]);
    let denied = || Asked::Failed(trouble(Class::Absent, Some("AccessDenied"), None));
    at_servers(|s| s.object = denied(), &[("s3-object", failure(Class::Absent))]);
    at_servers(
        |s| {
            s.object = denied();
            s.any_owner = Asked::Told(());
        },
        &[("bucket-owner", failure(Class::Config))],
    );
    at_servers(
        |s| s.object = Asked::Failed(trouble(Class::Absent, Some("NoSuchKey"), None)),
        &[("s3-object", failure(Class::Absent))],
    );
    at_servers(|s| s.unsealed = Asked::Told(None), &[("kms", failure(Class::Tampered))]);
    at_servers(
        |s| s.unsealed = Asked::Failed(trouble(Class::Refused, Some("AccessDeniedException"), None)),
        &[("kms", failure(Class::Refused))],
    );
    on_machine(|m| m.here = Some("i-1".to_owned()), &[("instance", failure(Class::Tampered))]);
    at_servers(|s| s.opened = Asked::Told(()), &[]);
    at_servers(
        |s| s.opened = Asked::Failed(trouble(Class::Refused, None, None)),
        &[("client-data", failure(Class::Refused))],
    );
}

/// What `enroll` finds out only when it knows its host is found out here too.
#[test]
fn an_identity_that_enroll_would_refuse() {
    let of =
        |host: &str| Asked::Told(OnDisk::Good { appliance_url: URL.to_owned(), host_id: host.to_owned() });
    on_machine(|m| m.identity = of("made/by/another"), &[("host-id", failure(Class::Tampered))]);
    on_machine(
        |m| m.identity = Asked::Failed(trouble(Class::Storage, None, None)),
        &[("identity", failure(Class::Storage))],
    );
}

#[test]
fn off_ec2_the_machine_tells_its_facts() {
    let mut config = config("");
    config.instance = crate::config::InstanceFrom::Machine;
    let outcomes = |facts: Asked<Facts>| {
        let checks = all(&config, &machine(), Ok(&Servers { facts, ..servers() }));
        let of = |name: &str| checks.iter().find(|check| check.name == name).unwrap().outcome;
        [of("imds"), of("instance"), of("host-id")]
    };
    let skipped = Outcome::Skipped;
    assert_eq!(outcomes(servers().facts), [skipped, skipped, Outcome::Ok]);
    let none = Asked::Failed(trouble(Class::Config, None, None));
    assert_eq!(outcomes(none), [skipped, skipped, failure(Class::Config)]);
}

#[test]
fn the_token() {
    let bound = |change: &dyn Fn(&mut imprint_core::sealed::Binding), expect: &[(&str, Outcome)]| {
        let mut binding = binding();
        change(&mut binding);
        at_servers(|s| s.object = Asked::Told((700, Ok(binding.clone()))), expect);
    };
    bound(&|b| b.account = "dev".parse().unwrap(), &[("binding", failure(Class::Tampered))]);
    bound(&|b| b.hosts_branch = "other".parse().unwrap(), &[("binding", Outcome::Warning)]);
    bound(&|b| b.ca_sha256 = vec![], &[("ca", failure(Class::Tampered))]);
    bound(&|b| b.expires_at = at("2026-11-22T07:59:00Z"), &[("token-expiry", failure(Class::Absent))]);
    bound(&|b| b.expires_at = at("2026-11-22T08:10:00Z"), &[("token-expiry", Outcome::Warning)]);
    bound(&|b| b.cidr = vec!["10.0.0.0/8".parse().unwrap()], &[]);
    bound(&|b| b.cidr = vec!["192.0.2.0/24".parse().unwrap()], &[("cidr", Outcome::Warning)]);
    at_servers(
        |s| s.object = Asked::Told((7, Err(trouble(Class::Tampered, None, None)))),
        &[("sealed-token", failure(Class::Tampered))],
    );
}

#[test]
fn the_clock_and_what_it_does_to_the_token() {
    let said = |text: &str| {
        let date = Date { server: "AWS".to_owned(), said: at(text), own: at(NOW) };
        move |s: &mut Servers| s.dates = vec![date.clone()]
    };
    at_servers(said("2026-11-22T08:00:50Z"), &[]);
    at_servers(said("2026-11-22T07:58:00Z"), &[("clock", Outcome::Warning)]);
    at_servers(said("2026-11-22T08:20:00Z"), &[("clock", failure(Class::Config))]);
    // Judged by the server's time, this token is over.
    at_servers(
        said("2026-11-22T11:00:00Z"),
        &[("token-expiry", failure(Class::Absent)), ("clock", failure(Class::Config))],
    );
    at_servers(|s| s.dates.clear(), &[]);
}

#[test]
fn conjur() {
    let transient = failure(Class::Transient);
    let not = || trouble(Class::Transient, None, None);
    let server = |change: &dyn Fn(&mut Server), expect: &[(&str, Outcome)]| {
        at_servers(|s| change(&mut s.conjurs[0]), expect);
    };
    server(&|s| s.name = Asked::Failed(not()), &[("conjur-name", transient)]);
    server(&|s| s.connection = Asked::Failed(not()), &[("conjur-connection", transient)]);
    server(
        &|s| s.health = Asked::Failed(trouble(Class::Refused, None, None)),
        &[("conjur-tls", failure(Class::Refused))],
    );
    server(&|s| s.health = Asked::Failed(not()), &[("conjur-health", transient)]);
    server(
        &|s| s.health = Asked::Failed(trouble(Class::Transient, None, Some(503))),
        &[("conjur-health", transient)],
    );
    let health = |ok, role| Asked::Told(Some(Health { ok, role, position: None, lag_bytes: None }));
    server(&|s| s.health = health(true, Role::Leader), &[]);
    server(&|s| s.health = health(true, Role::Unknown), &[]);
    server(&|s| s.health = health(false, Role::Leader), &[("conjur-health", transient)]);
    server(&|s| s.health = health(true, Role::Follower), &[("leader", failure(Class::Config))]);
    let unauthorized = || Asked::Failed(trouble(Class::Refused, None, Some(401)));
    server(&|s| s.login = unauthorized(), &[("login", failure(Class::Refused))]);
    at_servers(|s| s.proof = Asked::Told(false), &[("proof", failure(Class::Refused))]);
    // A follower that does not know the key yet.
    let follower = |s: &mut Servers| {
        let leader = s.conjurs[0].clone();
        s.conjurs.insert(0, Server { is_leader: false, login: unauthorized(), ..leader });
    };
    at_servers(follower, &[("login", transient)]);
    at_servers(
        |s| {
            follower(s);
            s.conjurs[1].login = unauthorized();
        },
        &[("login", failure(Class::Refused))],
    );
}

#[test]
fn a_promotion() {
    use crate::state::{Phase, Promoting, State};
    let awaiting = config(
        "[promotion]\nhost_factory = \"db/factory\"\nhosts_branch = \"db/hosts\"\nproof_variable = \"db/password\"\n",
    );
    let there = awaiting.promoted().unwrap();
    let host = "db/hosts/123456789012/eu-west-1/i-0123456789abcdef0";
    let mut state = State::enrolling(
        &HERE.parse().unwrap(),
        &HOST.parse().unwrap(),
        crate::enroll::made_for(&awaiting),
        &attempt(),
        at(NOW),
    );
    state.phase = Phase::Enrolled;
    let with =
        |state: &State| Machine { state: Asked::Told(Found::Good(Box::new(state.clone()))), ..machine() };
    let said = |config: &Config, state: &State, servers: &Servers, name: &str| {
        let checks = all(config, &with(state), Ok(servers));
        let check = checks.into_iter().find(|check| check.name == name).unwrap();
        (check.outcome, check.detail)
    };
    let mut waits = binding();
    waits.host_factory = there.host_factory.clone();
    waits.scope = imprint_core::sealed::Scope::Instance {
        arn: format!("arn:aws:ec2:eu-west-1:123456789012:instance/{HERE}"),
    };
    let with_token = |opened| Servers { promotion: opened, ..servers() };
    let token = |opened| said(&awaiting, &state, &with_token(opened), "promotion-token");
    assert_eq!(said(&awaiting, &state, &servers(), "promotion").1, "a host of db/factory is awaited");
    assert_eq!(token(Asked::Failed(trouble(Class::Absent, Some("NoSuchKey"), None))).1, "nothing waits");
    let denied = token(Asked::Failed(trouble(Class::Absent, Some("AccessDenied"), None)));
    assert!(denied.0 == Outcome::Ok && denied.1.contains("may not look"), "{denied:?}");
    assert!(token(Asked::Told(waits.clone())).1.ends_with("waits until 2026-11-22T10:00:00Z"));
    assert_eq!(token(Asked::Told(binding())).0, failure(Class::Tampered));
    assert_eq!(token(Asked::Failed(trouble(Class::Refused, None, None))).0, failure(Class::Refused));
    assert_eq!(said(&config(""), &state, &servers(), "promotion").0, Outcome::Skipped);

    let made_for = crate::enroll::made_for(&there);
    state.promote(Promoting { host_id: host.to_owned(), made_for, token: "0".repeat(12) }, at(NOW));
    assert_eq!(said(&awaiting, &state, &servers(), "promotion").1, "promoted to a host of db/factory");
    assert_eq!(said(&awaiting, &state, &servers(), "proof").1, "the host may read db/password");
    let kept = said(&config(""), &state, &servers(), "promotion");
    assert!(kept.0 == Outcome::Warning && kept.1.ends_with("names none"), "{kept:?}");
}

#[test]
fn what_earlier_runs_left() {
    use crate::state::{Failure, State};
    let host = "app/hosts/i-1".parse().unwrap();
    let made_for = crate::enroll::made_for(&config(""));
    let mut state = State::enrolling(&HERE.parse().unwrap(), &host, made_for, &attempt(), at(NOW));
    state.phase = crate::state::Phase::Enrolled;
    let with = |state: &State| {
        let mut changed = machine();
        changed.state = Asked::Told(Found::Good(Box::new(state.clone())));
        changed
    };
    check(&with(&state), &servers(), &[]);
    state.last_verify = Some(Verified { at: at(NOW), outcome: "refused".to_owned() });
    check(&with(&state), &servers(), &[("last-verify", Outcome::Warning)]);
    state.last_verify = Some(Verified { at: at(NOW), outcome: "ok".to_owned() });
    let what = format!("Conjur does not take the token {}: redeem: 401", binding().fingerprint);
    state.last_failure =
        Some(Failure { at: at(NOW), class: "refused".to_owned(), what, hint: None, attempt_id: None });
    check(&with(&state), &servers(), &[("last-failure", Outcome::Warning)]);
    let hint = |checks: Vec<Check>| checks.into_iter().next_back().unwrap().hint.unwrap();
    assert!(hint(judged(&with(&state), &servers())).contains("the most likely first: it is still published"));
    let offline = all(&config(""), &with(&state), Err("--offline was given"));
    assert!(hint(offline).contains("could not be fetched"));
    state.phase = crate::state::Phase::Rotating;
    state.last_failure = None;
    check(&with(&state), &servers(), &[("state", Outcome::Warning)]);
}

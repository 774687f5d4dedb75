//! What is said of a world that is well, and of one in which each thing in turn is not.

use super::*;
use crate::rotate::{Ask, Run};
use crate::session::LogIn as _;
use crate::world::{Fault, World};
use imprint_core::checks::Outcome;
use imprint_core::conjur::Role;
use std::cell::RefCell;
use zeroize::Zeroizing;

fn config(more: &str) -> Config {
    let text = format!(
        "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/rotator\"\n\
         deployment = \"1f2e3d4c\"\nconcurrency = 1\n{more}\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n\
         [[factory]]\nid = \"web\"\nhosts_branch = \"web/hosts\"\n[[factory]]\nid = \"db\"\nhosts_branch = \"db/hosts\"\n"
    );
    Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap()
}

/// The world, with what a doctor asks of it beside a run.
struct Patient<'a> {
    world: &'a World,
    lacks: RefCell<Vec<(&'static str, &'static str)>>,
    health: fn(At) -> Result<Option<Health>, effects::Error>,
    end: Option<Second>,
    date: Option<Second>,
}

fn refused(operation: &'static str) -> effects::Error {
    let server = "it".to_owned();
    imprint_core::conjur::Error::Status { operation, server, status: 401, retry_after: None }.into()
}

impl Effects for Patient<'_> {
    async fn authenticate(&self) -> Result<AccessToken, effects::Error> {
        self.world.authenticate().await
    }

    async fn list_factories(&self, with: &AccessToken) -> Result<Vec<Listed>, effects::Error> {
        effects::Effects::list_factories(self.world, with).await
    }

    async fn show_factory(
        &self,
        with: &AccessToken,
        id: &FactoryId,
    ) -> Result<Option<Listed>, effects::Error> {
        effects::Effects::show_factory(self.world, with, id).await
    }

    async fn may(
        &self,
        _: &AccessToken,
        privilege: &str,
        factory: &FactoryId,
    ) -> Result<bool, effects::Error> {
        Ok(!self.lacks.borrow().contains(&match (privilege, factory.as_str()) {
            ("execute", "web") => ("execute", "web"),
            ("execute", _) => ("execute", "db"),
            (_, "web") => ("update", "web"),
            _ => ("update", "db"),
        }))
    }

    async fn whoami(&self, _: &AccessToken) -> Result<Whoami, effects::Error> {
        let [account, username, client_ip] = ["prod", "host/rotator", "10.0.0.9"].map(str::to_owned);
        Ok(Whoami { account, username, client_ip })
    }

    async fn health(&self, at: At) -> Result<Option<Health>, effects::Error> {
        (self.health)(at)
    }

    async fn date(&self, _: At) -> Option<Second> {
        self.date
    }

    async fn certificate_end(&self, _: At) -> Option<Second> {
        self.end
    }
}

/// Two factories that were rotated, as `change` and `ill` leave them; all checks.
fn looked(
    config: &Config,
    change: impl Fn(&mut World),
    ill: impl Fn(&mut Patient<'_>),
    aws: Option<effects::Error>,
) -> (Vec<Check>, Vec<&'static str>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let mut world = World::new(config);
        let minted = config.factories.iter().map(|factory| Factory { mint: true, ..factory.clone() });
        let minting = Config { factories: minted.collect(), ..config.clone() };
        let id = RunId::new(world.now(), 1);
        let ask = Ask::default();
        let run = Run::new(&minting, &ask, &id, None, fastrand::Rng::with_seed(1));
        assert_eq!(run.rotate(&world).await.unwrap().class(), None);
        change(&mut world);
        world.calls();
        let now = world.now();
        let (end, date) = (Some(now.plus(Duration::from_secs(90 * 86_400))), Some(now));
        let mut patient =
            Patient { world: &world, lacks: RefCell::default(), health: |_| Ok(None), end, date };
        ill(&mut patient);
        let factories: Vec<&Factory> = config.factories.iter().collect();
        let aws = aws.as_ref().map_or(Ok(&world), Err);
        let tokens = || world.state.borrow().tokens.iter().map(|t| t.text.clone()).collect::<Vec<_>>();
        let (before, objects) = (tokens(), world.state.borrow().objects.clone());
        let report = examine(config, "rotator.toml".as_ref(), &factories, &id, &patient, aws, || now).await;
        // Nothing was changed, and no secret is told.
        assert_eq!((tokens(), &world.state.borrow().objects), (before, &objects));
        for text in tokens() {
            assert!(!report.to_string().contains(&text), "{report}");
        }
        let names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
        assert_eq!(names, NAMES, "always the same checks");
        (report.checks, world.calls())
    })
}

/// This check, with its outcome and words, where all others are well, but for those that are skipped.
#[track_caller]
fn check(
    change: impl Fn(&mut World),
    ill: impl Fn(&mut Patient<'_>),
    name: &str,
    outcome: Outcome,
    say: &str,
) {
    let (checks, _) = looked(&config(""), change, ill, None);
    for check in checks {
        if check.name == name {
            assert_eq!(check.outcome, outcome, "{check:?}");
            assert!(check.detail.contains(say), "{check:?} should say {say:?}");
            assert!(check.hint.is_some() || matches!(outcome, Outcome::Ok | Outcome::Skipped), "{check:?}");
        } else {
            assert!(matches!(check.outcome, Outcome::Ok | Outcome::Skipped), "{check:?}");
        }
    }
}

const AS_IT_IS: fn(&mut World) = |_| ();
const WELL: fn(&mut Patient<'_>) = |_| ();

#[test]
fn all_is_well_and_nothing_is_asked_that_changes_anything() {
    let (checks, calls) = looked(&config(""), AS_IT_IS, WELL, None);
    let skipped: Vec<&str> =
        checks.iter().filter(|check| check.outcome == Outcome::Skipped).map(|check| check.name).collect();
    assert_eq!(skipped, ["appliance", "appliance-certificate"]);
    assert!(
        checks.iter().all(|check| matches!(check.outcome, Outcome::Ok | Outcome::Skipped)),
        "{checks:#?}"
    );
    assert!(!calls.contains(&"mint") && !calls.contains(&"revoke"), "{calls:?}");
    assert_eq!(calls.iter().filter(|call| **call == "s3:PutObject").count(), 1);
    let of = |name: &str| checks.iter().find(|check| check.name == name).unwrap().detail.clone();
    assert_eq!(of("windows"), "tokens live 8h, and a new one is minted after 4h; a run takes 5m at most");
    assert_eq!(of("whoami"), "host/rotator, from 10.0.0.9 as Conjur sees it");
    assert_eq!(of("execute"), "on all 2 factories, to mint");
    assert_eq!(of("published"), "2 factories have a good token; 0 of them are due");
    assert!(of("leader-certificate").ends_with("in 90 days"));
}

#[test]
fn conjur() {
    let failure = Outcome::Failure;
    let role = |_| Ok(Some(Health { ok: true, role: Role::Follower, position: None, lag_bytes: None }));
    check(AS_IT_IS, |patient| patient.health = role, "leader", failure(Class::Config), "is a follower");
    let sick = |_| Ok(Some(Health { ok: false, role: Role::Leader, position: None, lag_bytes: None }));
    check(AS_IT_IS, |patient| patient.health = sick, "leader", failure(Class::Transient), "not well");
    let ends = |patient: &mut Patient<'_>, seconds: u64| {
        patient.end = Some(patient.world.now().plus(Duration::from_secs(seconds)));
    };
    let certificate = "leader-certificate";
    check(AS_IT_IS, |patient| ends(patient, 29 * 86_400), certificate, Outcome::Warning, "in 29 days");
    check(AS_IT_IS, |patient| ends(patient, 31 * 86_400), certificate, Outcome::Ok, "in 31 days");
    check(AS_IT_IS, |patient| ends(patient, 0), certificate, failure(Class::Refused), "it ended ");
    check(AS_IT_IS, |patient| patient.end = None, certificate, Outcome::Skipped, "it shows none");
    let off =
        |patient: &mut Patient<'_>| patient.date = patient.date.map(|at| at.minus(Duration::from_secs(600)));
    check(AS_IT_IS, off, "clock", Outcome::Warning, "is 10m ahead of the leader's");
    let lacks = |patient: &mut Patient<'_>| patient.lacks.borrow_mut().push(("execute", "db"));
    check(AS_IT_IS, lacks, "execute", failure(Class::Refused), "host/rotator lacks it on db");
    let lacks = |patient: &mut Patient<'_>| patient.lacks.borrow_mut().push(("update", "web"));
    check(AS_IT_IS, lacks, "update", failure(Class::Refused), "lacks it on web");
    // Off the pages of the list is not out of sight.
    check(
        |world| world.state.borrow_mut().off_the_pages.push("db".to_owned()),
        WELL,
        "factories",
        Outcome::Ok,
        "all 2",
    );
}

#[test]
fn what_depends_on_a_failure_is_skipped() {
    let of = |checks: &[Check], wanted: Outcome| -> Vec<&'static str> {
        checks.iter().filter(|check| check.outcome == wanted).map(|check| check.name).collect()
    };
    let away = |_| Err(refused("health"));
    let (checks, calls) = looked(&config(""), AS_IT_IS, |patient| patient.health = away, None);
    assert_eq!(of(&checks, Outcome::Failure(Class::Refused)), ["leader"]);
    let skipped = of(&checks, Outcome::Skipped);
    assert_eq!(
        skipped[2..],
        [
            "clock",
            "login",
            "whoami",
            "factories",
            "execute",
            "update",
            "published",
            "kms-published",
            "orphans",
            "expired"
        ]
    );
    assert!(!calls.contains(&"authenticate"));
    // AWS is looked at all the same, and Conjur without AWS.
    assert!(of(&checks, Outcome::Ok).contains(&"kms-decrypt"));
    let no_region = effects::Error::from(imprint_core::aws::Error::NoRegion);
    let (checks, _) = looked(&config(""), AS_IT_IS, WELL, Some(no_region));
    assert_eq!(of(&checks, Outcome::Failure(Class::Config)), ["region"]);
    assert!(of(&checks, Outcome::Ok).contains(&"update"));
    let login = |world: &mut World| {
        world.fault = Box::new(|_, name| (name == "authenticate").then_some(Fault::Unauthorized))
    };
    let (checks, _) = looked(&config(""), login, WELL, None);
    assert_eq!(of(&checks, Outcome::Failure(Class::Refused)), ["login"]);
    let unseen = |world: &mut World| world.state.borrow_mut().factories.retain(|id| id != "db");
    let (checks, _) = looked(&config(""), unseen, WELL, None);
    assert_eq!(of(&checks, Outcome::Failure(Class::Refused)), ["factories", "published"]);
}

#[test]
fn aws() {
    let failure = Outcome::Failure;
    let fails = |at: &'static str, nth: usize, fault: Fault| {
        move |world: &mut World| {
            let seen = std::cell::Cell::new(0);
            world.fault = Box::new(move |_, name| {
                seen.set(seen.get() + usize::from(name == at));
                (name == at && seen.get() == nth).then_some(fault)
            });
        }
    };
    check(
        fails("s3:GetObject", 1, Fault::Refused),
        WELL,
        "s3-object",
        failure(Class::Refused),
        "AccessDenied",
    );
    check(
        fails("s3:GetObject", 2, Fault::Refused),
        WELL,
        "s3-list",
        failure(Class::Refused),
        "looks forbidden",
    );
    check(fails("s3:PutObject", 1, Fault::Refused), WELL, "s3-put", failure(Class::Refused), "AccessDenied");
    check(
        fails("kms:Encrypt", 1, Fault::Refused),
        WELL,
        "kms-encrypt",
        failure(Class::Refused),
        "AccessDenied",
    );
    check(
        fails("kms:Decrypt", 1, Fault::Refused),
        WELL,
        "kms-decrypt",
        failure(Class::Refused),
        "AccessDenied",
    );
    check(
        fails("kms:Decrypt", 2, Fault::Refused),
        WELL,
        "kms-published",
        failure(Class::Refused),
        "AccessDenied",
    );
}

#[test]
fn what_is_published() {
    let failure = Outcome::Failure;
    let drop_object = |world: &mut World| {
        world.state.borrow_mut().objects.remove("factories/prod/db/token.json");
    };
    check(drop_object, WELL, "published", failure(Class::Absent), "nothing to redeem for db");
    let garbage = |world: &mut World| {
        let object = (b"garbage".to_vec(), 9);
        world.state.borrow_mut().objects.insert("factories/prod/db/token.json".to_owned(), object);
    };
    check(garbage, WELL, "published", failure(Class::Tampered), "never wrote what is published for db");
    // Where no run mints, none helps.
    let mut given = config("");
    given.factories[1].mint = false;
    let published = |change: &dyn Fn(&mut World)| {
        let (checks, _) = looked(&given, change, WELL, None);
        checks.into_iter().find(|check| check.name == "published").unwrap()
    };
    assert_eq!(published(&AS_IT_IS).outcome, Outcome::Ok);
    let due = |world: &mut World| world.base.set(world.base.get().plus(Duration::from_secs(5 * 3600)));
    let changes: [&dyn Fn(&mut World); 2] = [&drop_object, &due];
    for change in changes {
        let check = published(change);
        assert_eq!(check.outcome, failure(Class::Absent), "{}", check.detail);
        assert_eq!(check.detail, "a token that is minted elsewhere is needed for db");
        assert!(check.hint.is_some_and(|hint| hint.contains("imprint-rotator publish")));
    }
    // Where none is shared, none is missed, and others mint.
    let mut own = config("");
    own.factories[1].shared = false;
    own.instances.login = Some(("host/minter".to_owned(), config::LoginBy::SealedKey));
    let lacks = |patient: &mut Patient<'_>| patient.lacks.borrow_mut().push(("execute", "db"));
    let (checks, _) = looked(&own, drop_object, lacks, None);
    let of = |name: &str| checks.iter().find(|check| check.name == name).unwrap();
    assert_eq!((of("published").outcome, of("execute").outcome), (Outcome::Ok, Outcome::Ok), "{checks:?}");
    assert!(of("published").detail.starts_with("1 factories have a good token"), "{:?}", of("published"));
    let (checks, _) = looked(&config("revoke = false"), AS_IT_IS, WELL, None);
    let warned: Vec<&str> =
        checks.iter().filter(|check| check.outcome == Outcome::Warning).map(|check| check.name).collect();
    assert_eq!(warned, ["revoke"]);
}

#[test]
fn without_a_configuration_all_else_is_skipped() {
    let report = without_config(&config::Error::None, Second::from_unix(0));
    let names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
    assert_eq!((names.as_slice(), report.worst()), (&NAMES[..], Some(Class::Config)));
    assert!(report.checks[1..].iter().all(|check| check.outcome == Outcome::Skipped));
}

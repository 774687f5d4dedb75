//! The flow over scripted effects: what it calls, and what it leaves behind when any call fails.

use super::*;
use crate::effects::{Context, Effects as OfRotation, Error as EffectError};
use crate::label::{Kind, Label};
use crate::session::LogIn;
use crate::world::{Fault, World};
use imprint_core::aws::{ETag, Encrypted, Object, Only};
use imprint_core::conjur::{Factory as Shown, Mint, Revoked};
use imprint_core::sealed::{Scope, SealedToken};
use imprint_core::second::Second;
use imprint_core::token::Token;
use std::cell::RefCell;
use zeroize::Zeroizing;

const MINUTE: Duration = Duration::from_secs(60);

/// The world of rotation, and an EC2.
struct Cloud {
    world: World,
    instances: RefCell<Vec<Instance>>,
}

impl LogIn for Cloud {
    async fn authenticate(&self) -> Result<AccessToken, EffectError> {
        self.world.authenticate().await
    }
    fn now(&self) -> Second {
        self.world.now()
    }
}

impl Effects for Cloud {
    async fn place(&self) -> Result<Place, EffectError> {
        let place = Place { account_id: "123456789012".to_owned(), region: "eu-west-1".to_owned() };
        self.world.call("sts:GetCallerIdentity", |_| Ok(place)).await
    }
    async fn describe(&self, filters: &[Filter]) -> Result<Vec<Instance>, EffectError> {
        let known = self.instances.borrow().clone();
        let [filter] = filters else { panic!("{filters:?}") };
        let wanted = known.into_iter().filter(|one| filter.values.iter().any(|id| *id == one.id.to_string()));
        let wanted = wanted.collect();
        self.world.call("ec2:DescribeInstances", |_| Ok(wanted)).await
    }
    async fn encrypt(&self, token: &Token, context: &Context) -> Result<Encrypted, EffectError> {
        self.world.encrypt(token, context).await
    }
    async fn decrypt(&self, ciphertext: &[u8], context: &Context) -> Result<Zeroizing<Vec<u8>>, EffectError> {
        self.world.decrypt(ciphertext, context).await
    }
    async fn fetch(&self, key: &str) -> Result<Object, EffectError> {
        OfRotation::fetch(&self.world, key).await
    }
    async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, EffectError> {
        OfRotation::put(&self.world, key, bytes, only).await
    }
    async fn show_factory(&self, with: &AccessToken, id: &FactoryId) -> Result<Option<Shown>, EffectError> {
        self.world.show_factory(with, id).await
    }
    async fn mint(&self, with: &AccessToken, ask: &Mint<'_>) -> Result<Vec<Minted>, EffectError> {
        self.world.mint(with, ask).await
    }
    async fn revoke(&self, with: &AccessToken, token: &Token) -> Result<Revoked, EffectError> {
        self.world.revoke(with, token).await
    }
}

fn instance(id: &str, life: Life) -> Instance {
    Instance {
        id: id.parse().unwrap(),
        account_id: "123456789012".to_owned(),
        life,
        ami: Some("ami-0123456789abcdef1".to_owned()),
        subnet: None,
        vpc: None,
        instance_profile: None,
        addresses: vec!["10.0.0.5".parse().unwrap()],
        attached_at: None,
        tags: BTreeMap::new(),
    }
}

const RULES: &str = "[[rule]]\nname = \"web\"\nfactory = \"app/web\"\nami = [\"ami-0123456789abcdef1\"]\n\
                     [[rule]]\nname = \"db\"\nfactory = \"app/db\"\npromote_from = \"app/web\"\nami = [\"ami-0123456789abcdef1\"]\n";

fn config(more: &str) -> Config {
    let text = format!(
        "{}cidr = [\"10.0.0.0/8\"]\n[[factory]]\nid = \"app/db\"\nhosts_branch = \"db/hosts\"\n\
         [fleet]\nrules_file = \"rules\"\n[instances]\n{more}",
        crate::config::tests::GOOD
    );
    Config::parse(&text, &|_| Ok(Zeroizing::new(RULES.to_owned()))).unwrap()
}

fn cloud(config: &Config) -> Cloud {
    let instances = RefCell::new(vec![instance("i-1", Life::Running)]);
    Cloud { world: World::new(config), instances }
}

fn blocking<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(story)
}

fn ask(instances: &[&str], factories: &[&str]) -> Ask {
    Ask {
        instances: instances.iter().map(|id| id.parse().unwrap()).collect(),
        factories: factories.iter().map(|id| id.parse().unwrap()).collect(),
    }
}

async fn run(config: &Config, judge: Judge<'_>, cloud: &Cloud, ask: &Ask) -> Result<Report, Error> {
    let id = RunId::new(cloud.now(), 7);
    let retry = Retry::with_random(Duration::from_secs(100), 20, fastrand::Rng::with_seed(7));
    Run::open(config, judge, &id, cloud, &retry).await?.mint(ask).await
}

async fn by_rule(config: &Config, cloud: &Cloud, instances: &[&str]) -> Vec<Outcome> {
    run(config, Judge::Rules(&config.fleet.rules), cloud, &ask(instances, &[])).await.unwrap().instances
}

fn sealed(cloud: &Cloud, key: &str) -> SealedToken {
    SealedToken::parse(&cloud.world.state.borrow().objects[key].0).unwrap()
}

const KEY: &str = "instances/i-1/app/web.json";

#[test]
fn the_requests_of_a_mint_and_of_the_same_event_once_more() {
    blocking(async {
        let config = config("");
        let cloud = cloud(&config);
        let first = by_rule(&config, &cloud, &["i-1"]).await;
        let [Outcome { result: Ok(Done::Published { expires_at, cidr, rule, why, .. }), notes, .. }] =
            &first[..]
        else {
            panic!("{first:?}")
        };
        assert_eq!((rule.as_str(), *why, notes.len()), ("web", crate::plan::Why::Nothing, 0));
        assert_eq!(
            (*expires_at, cidr[0].to_string()),
            (cloud.now().plus(20 * MINUTE), "10.0.0.0/8".to_owned())
        );
        let opening = [
            "sts:GetCallerIdentity",
            "authenticate",
            "ec2:DescribeInstances",
            "show_factory",
            "s3:GetObject",
        ];
        let rest = ["mint", "kms:Encrypt", "s3:PutObject", "s3:GetObject", "kms:Decrypt"];
        assert_eq!(cloud.world.calls(), [&opening[..], &rest].concat());
        let binding = sealed(&cloud, KEY).binding().clone();
        let arn = "arn:aws:ec2:eu-west-1:123456789012:instance/i-1".to_owned();
        assert_eq!((binding.scope.clone(), binding.object_key()), (Scope::Instance { arn }, KEY.to_owned()));
        assert_eq!(
            cloud.world.state.borrow().objects.len(),
            1,
            "the rule that promotes gives nothing at birth"
        );

        let again = by_rule(&config, &cloud, &["i-1"]).await;
        assert!(matches!(again[0].result, Ok(Done::Kept { .. })), "{again:?}");
        assert_eq!(cloud.world.calls(), opening);
        tokio::time::advance(11 * MINUTE).await;
        let later = by_rule(&config, &cloud, &["i-1"]).await;
        assert!(
            matches!(later[0].result, Ok(Done::Published { why: crate::plan::Why::Due, .. })),
            "{later:?}"
        );
        // Those that are over are deleted, and nothing else.
        tokio::time::advance(40 * MINUTE).await;
        let layers = Label::new(config.deployment, cloud.now().minus(90 * MINUTE), Kind::Layer, 0);
        let with = AccessToken::new(Zeroizing::new(b"{}".to_vec()));
        let web = config.factories[0].id.clone();
        let ends = cloud.now().minus(30 * MINUTE);
        let cidr = layers.beside(&[]);
        let mint = Mint { factory: &web, expires_at: ends, cidr: &cidr, count: 1, now: ends };
        let _minted = cloud.world.mint(&with, &mint).await.unwrap();
        let _last = by_rule(&config, &cloud, &["i-1"]).await;
        let kinds = |cloud: &Cloud| {
            let state = cloud.world.state.borrow();
            state.tokens.iter().map(|token| Label::among(&token.cidr).unwrap().kind).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&cloud), [Kind::Layer, Kind::Instance]);
    });
}

#[test]
fn who_gets_nothing_and_why() {
    blocking(async {
        let config = config("");
        let say = |outcomes: &[Outcome]| match outcomes {
            [Outcome { result: Ok(Done::Nothing), .. }] => (None, "nothing".to_owned()),
            [Outcome { result: Err(error), .. }] => (Some(error.class()), error.to_string()),
            [Outcome { result: Ok(_), .. }] => (None, "a token".to_owned()),
            other => panic!("{other:?}"),
        };
        let check = async |instances: Vec<Instance>, by_rule: bool, factory: &[&str], class, text: &str| {
            let cloud = cloud(&config);
            *cloud.instances.borrow_mut() = instances;
            let judge = if by_rule { Judge::Rules(&config.fleet.rules) } else { Judge::WithoutRule };
            let report = run(&config, judge, &cloud, &ask(&["i-1"], factory)).await.unwrap();
            let (found, said) = say(&report.instances);
            assert_eq!(found, class, "{said}");
            assert!(said.contains(text), "{said}");
            assert_eq!(cloud.world.state.borrow().objects.is_empty(), text != "a token");
        };
        let running = || instance("i-1", Life::Running);
        let other = || Instance { ami: Some("ami-0123456789abcdef2".to_owned()), ..running() };
        let stranger = || Instance { account_id: "210987654321".to_owned(), ..running() };
        check(vec![], true, &[], Some(Class::Transient), "does not know i-1 yet").await;
        check(vec![stranger()], false, &["app/web"], Some(Class::Transient), "does not know").await;
        check(vec![instance("i-1", Life::Pending)], true, &[], None, "a token").await;
        check(vec![instance("i-1", Life::Terminated)], true, &[], None, "nothing").await;
        check(vec![instance("i-1", Life::Stopped)], true, &["app/web"], Some(Class::Absent), "is stopped")
            .await;
        check(vec![other()], true, &[], None, "nothing").await;
        check(vec![other()], true, &["app/web"], Some(Class::Refused), "no rule matches").await;
        check(vec![other()], false, &["app/web"], None, "a token").await;
        check(vec![running()], true, &["app/db"], Some(Class::Refused), "rule db promotes to it").await;
        check(vec![running()], false, &["app/db"], Some(Class::Config), "has no cidr").await;
        let none = run(&config, Judge::WithoutRule, &cloud(&config), &ask(&["i-1"], &["app/x"])).await;
        assert_eq!(none.unwrap_err().class(), Class::Usage);
    });
}

#[test]
fn from_where_it_may_be_used() {
    blocking(async {
        let check = async |more: &str, factory: &str, addresses: &[&str], wanted: Result<&[&str], &str>| {
            let config = config(more);
            let cloud = cloud(&config);
            cloud.instances.borrow_mut()[0].addresses =
                addresses.iter().map(|ip| ip.parse().unwrap()).collect();
            let report = run(&config, Judge::WithoutRule, &cloud, &ask(&["i-1"], &[factory])).await.unwrap();
            let [Outcome { result, .. }] = &report.instances[..] else { panic!("{report:?}") };
            match (result, wanted) {
                (Ok(Done::Published { cidr, .. }), Ok(wanted)) => {
                    let cidr: Vec<String> = cidr.iter().map(ToString::to_string).collect();
                    assert_eq!(cidr, wanted, "{more}");
                    let binding = sealed(&cloud, &format!("instances/i-1/{factory}.json")).binding().clone();
                    assert_eq!(binding.cidr.len(), wanted.len());
                    let minted = cloud.world.state.borrow().tokens[0].cidr.clone();
                    assert_eq!(minted.len(), if wanted.is_empty() { 3 } else { wanted.len() + 1 });
                }
                (Err(error), Err(say)) => assert!(error.to_string().contains(say), "{error}"),
                other => panic!("{more}: {other:?}"),
            }
        };
        check("", "app/web", &[], Ok(&["10.0.0.0/8"])).await;
        check("", "app/db", &["10.0.0.5"], Err("app/db has no cidr")).await;
        check("any_address = true", "app/db", &["10.0.0.5"], Ok(&[])).await;
        check("any_address = true", "app/web", &["10.0.0.5"], Ok(&["10.0.0.0/8"])).await;
        let own = "cidr = \"private-ip\"";
        check(
            own,
            "app/db",
            &["10.0.0.5", "2001:db9::1", "10.0.0.5"],
            Ok(&["10.0.0.5/32", "2001:db9::1/128"]),
        )
        .await;
        check(own, "app/web", &[], Err("shows no address of i-1 yet")).await;
    });
}

/// Whatever fails and however, the next run ends with one published token, and most of the time with one minted.
#[test]
fn any_call_may_fail_and_the_next_run_converges() {
    let config = config("");
    for fault in [Fault::LostReply, Fault::NotDone, Fault::Refused, Fault::Unauthorized] {
        for number in 1..=10 {
            blocking(async {
                let mut cloud = cloud(&config);
                // From then on to the end of the run.
                cloud.world.fault = Box::new(move |n, _| (n >= number).then_some(fault));
                let judge = Judge::Rules(&config.fleet.rules);
                let _failed = run(&config, judge, &cloud, &ask(&["i-1"], &[])).await;
                cloud.world.fault = Box::new(|_, _| None);
                let next = by_rule(&config, &cloud, &["i-1"]).await;
                assert!(
                    matches!(next[0].result, Ok(Done::Published { .. } | Done::Kept { .. })),
                    "{fault:?} {number}: {next:?}"
                );
                let binding = sealed(&cloud, KEY).binding().clone();
                let state = cloud.world.state.borrow();
                let texts = state.tokens.iter().filter(|token| {
                    imprint_core::token::Fingerprint::of(token.text.as_bytes()) == binding.fingerprint
                });
                assert_eq!(texts.count(), 1, "{fault:?} {number}");
                assert!(!cloud.world.state.borrow().calls.contains(&"revoke"));
                // Where the text was known, it is not minted twice.
                let lost = fault == Fault::LostReply && number <= 6;
                assert!(state.tokens.len() == 1 || lost, "{fault:?} {number}: {}", state.tokens.len());
            });
        }
    }
}

/// Two events of one launch, and one more from a person, at the same moment.
#[test]
fn runs_at_the_same_time_leave_one_published_token_that_lives() {
    blocking(async {
        let config = config("");
        let cloud = cloud(&config);
        let (one, two, three) = tokio::join!(
            by_rule(&config, &cloud, &["i-1"]),
            by_rule(&config, &cloud, &["i-1"]),
            by_rule(&config, &cloud, &["i-1"])
        );
        for outcome in one.iter().chain(&two).chain(&three) {
            assert!(matches!(outcome.result, Ok(Done::Published { .. } | Done::Kept { .. })), "{outcome:?}");
        }
        assert_eq!(cloud.world.state.borrow().objects[KEY].1, 1, "one put was carried out");
        let again = by_rule(&config, &cloud, &["i-1"]).await;
        assert!(matches!(again[0].result, Ok(Done::Kept { .. })), "{again:?}");
    });
}

#[test]
fn a_lost_answer_of_ec2_fails_each_of_them_alike() {
    blocking(async {
        let config = config("");
        let mut cloud = cloud(&config);
        cloud.world.fault = Box::new(|_, name| (name == "ec2:DescribeInstances").then_some(Fault::Refused));
        let judge = Judge::Rules(&config.fleet.rules);
        let report = run(&config, judge, &cloud, &ask(&["i-1", "i-2"], &[])).await.unwrap();
        assert_eq!((report.again().len(), report.class()), (2, Some(Class::Refused)));
    });
}

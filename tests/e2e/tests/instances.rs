//! Tokens for one instance, from the rotator to the agent: minted after a look at EC2, taken by that instance
//! alone, over within minutes.

mod granted;
mod promoted;

use crate::{Place, json, no_secret, published};
use imprint_core::sealed::{SealedToken, context_key};
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use imprint_e2e::{Machine, Ran};
use imprint_stack::aws::Policy;
use imprint_stack::ec2::Ec2Instance;
use ipnet::IpNet;
use serde_json::Value;
use std::time::Duration;

pub(crate) const BUCKET: &str = "imprint-tokens";

/// Web's instances get web's tokens; those of them with a tag are promoted to db.
pub(crate) const RULES: &str = "[[rule]]\nname = \"web\"\nfactory = \"web/factory\"\nsubnet = [\"subnet-0123456789abcdef0\"]\n\
     [[rule]]\nname = \"db\"\nfactory = \"db/factory\"\npromote_from = \"web/factory\"\nsubnet = [\"subnet-0123456789abcdef0\"]\n\
     [rule.tags]\nrole = [\"db\"]\n";

/// What the rotator says, as JSON.
#[track_caller]
pub(crate) fn said(site: &Place, arguments: &[&str], code: i32) -> Value {
    let ran = Ran::of(site.instances(arguments).arg("--json")).expect(code);
    no_secret(site, &[&ran.out, &ran.err]);
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", ran.out, ran.err))
}

pub(crate) fn arn(machine: &Machine) -> String {
    let instance = machine.instance();
    format!("arn:aws:ec2:{}:{}:instance/{}", instance.region, instance.account, instance.id)
}

/// A machine of the layer `web` that takes its own token alone, with the role for it.
fn on_its_own(site: &Place) -> Machine {
    let machine = site.machine("web");
    let (stack, bucket) = (&site.stack, format!("arn:aws:s3:::{BUCKET}"));
    let policy = Policy::none()
        .allow(&["s3:GetObject"], &format!("{bucket}/instances/*/web/factory.json"))
        .allow(&["kms:Decrypt"], &stack.key)
        .when(context_key::HOST_FACTORY, "web/factory")
        .when(context_key::INSTANCE_ARN, &arn(&machine));
    stack.credentials.set_policy(&stack.role("web"), policy);
    machine.set_config(&machine.config().replace("[source]\n", "[source]\nscope = \"instance\"\n"));
    machine
}

pub(crate) fn known(site: &Place, machine: &Machine) -> Ec2Instance {
    let instance = Ec2Instance::running(&machine.instance().id, "127.0.0.1");
    site.stack.ec2.service().put(instance.clone());
    instance
}

fn enroll(machine: &Machine, code: i32) -> Ran {
    Ran::of(&mut machine.imprint(&["enroll", "--deadline", "3s"])).expect(code)
}

#[test]
fn an_instance_enrolls_with_a_token_of_its_own_and_no_other_can_open_it() {
    let site = published();
    site.set_rules(RULES);
    let machine = on_its_own(&site);
    let id = machine.instance().id.clone();
    let nothing = enroll(&machine, 69);
    assert!(nothing.err.contains("instances/"), "{}", nothing.err);

    // EC2 does not know it yet: another try may help.
    let early = said(&site, &["mint", &id], 75);
    assert_eq!(early["instances"][0]["class"], "transient", "{early}");
    let _instance = known(&site, &machine);
    let minted = said(&site, &["mint", &id], 0);
    json::check("imprint-rotator mint --json", &minted.to_string());
    let told = &minted["instances"][0];
    assert_eq!(
        [&told["result"], &told["factory"], &told["rule"]],
        [&Value::from("published"), &"web/factory".into(), &"web".into()]
    );
    let key = format!("instances/{id}/web/factory.json");
    let object = || site.stack.s3.service().object(BUCKET, &key).unwrap();
    let binding = SealedToken::parse(&object()).unwrap().binding().clone();
    assert_eq!(binding.object_key(), key);

    // The same event once more: the same token.
    let before = object();
    let again = said(&site, &["mint", &id], 0);
    assert_eq!((&again["instances"][0]["result"], object()), (&"kept".into(), before.clone()));
    let conjur = site.stack.conjur.service();
    assert_eq!(conjur.live_tokens("web/factory"), 2, "that of the layer, and that of the instance");

    // Another instance of the same layer has the same rights but for its ARN.
    let other = on_its_own(&site);
    let _version = site.stack.s3.service().put_raw(
        BUCKET,
        &format!("instances/{}/web/factory.json", other.instance().id),
        before.clone(),
    );
    let refused = enroll(&other, 65);
    assert!(refused.err.contains("the token is for arn:aws:ec2:"), "{}", refused.err);
    // Whoever takes the object as it is and says to be that instance: the role's session is of the other one.
    let refused = enroll(&machine, 77);
    assert!(refused.err.contains("AccessDenied"), "{}", refused.err);
    let policy = Policy::none()
        .allow(&["s3:GetObject"], &format!("arn:aws:s3:::{BUCKET}/instances/*"))
        .allow(&["kms:Decrypt"], &site.stack.key)
        .when(context_key::INSTANCE_ARN, &arn(&machine));
    site.stack.credentials.set_policy(&site.stack.role("web"), policy);
    let _enrolled = enroll(&machine, 0);
    assert!(machine.identity().0.starts_with("host/web/hosts/"));
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);

    // A rotation leaves it alone, and the mint leaves the layer's alone.
    let layers = site.stack.published("web").unwrap();
    let _rotated = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    let _rotated = Ran::of(&mut site.rotator(&["rotate", "--now", "--revoke-superseded"])).expect(0);
    let listed = Ran::of(&mut site.rotator(&["token", "list"])).expect(0);
    no_secret(&site, &[&listed.out]);
    assert!(
        listed.out.contains(binding.fingerprint.as_str()) && listed.out.contains("instance"),
        "{}",
        listed.out
    );
    assert_ne!(site.stack.published("web").unwrap(), layers);
    assert_eq!(object(), before);
}

#[test]
fn what_is_over_is_deleted_and_nothing_else_is_allowed() {
    let site = published();
    site.set_rules(RULES);
    let machines = [on_its_own(&site), on_its_own(&site)];
    let names = machines.each_ref().map(|machine| machine.instance().id.clone());
    let ids = names.each_ref().map(String::as_str);
    for machine in &machines {
        let _instance = known(&site, machine);
    }
    let two = said(&site, &["mint", ids[0], ids[1]], 0);
    assert_eq!(two["instances"].as_array().unwrap().len(), 2, "{two}");
    let conjur = site.stack.conjur.service();
    let all = || conjur.tokens("web/factory").len();
    assert_eq!(all(), 3);

    // Nobody whom no rule names, and nothing that the role may not.
    let ec2 = site.stack.ec2.service();
    ec2.put(Ec2Instance { subnet: "subnet-0fedcba9876543210".to_owned(), ..known(&site, &machines[0]) });
    let none = said(&site, &["mint", ids[0], "--factory", "web/factory"], 77);
    assert!(none["instances"][0]["error"].as_str().unwrap().contains("no rule matches"), "{none}");
    let none = said(&site, &["mint", ids[0]], 0);
    assert_eq!(none["instances"][0]["result"], "nothing");
    let promotes = said(&site, &["mint", ids[1], "--factory", "db/factory"], 77);
    assert_eq!(promotes["instances"][0]["class"], "refused", "{promotes}");
    let asked = said(&site, &["mint", ids[0], "--factory", "db/factory", "--without-rule"], 0);
    assert_eq!(asked["instances"][0]["rule"], "none, as was asked for");
    let _usage = Ran::of(&mut site.instances(&["mint", ids[0], "--without-rule"])).expect(64);
    let ran = Ran::of(&mut site.rotator(&["mint", ids[1]])).expect(77);
    assert!(ran.err.contains("ec2:DescribeInstances"), "{}", ran.err);
    let ran = Ran::of(&mut site.instances(&["rotate", "--now"])).expect(77);
    assert!(ran.err.contains("kms:Encrypt") || ran.err.contains("s3:"), "{}", ran.err);

    // As if they had been minted an hour ago: the clock of this machine is the rotator's, so Conjur's own past is made.
    let past = Second::now().minus(Duration::from_secs(3600));
    let label = label(past, ids[1]);
    let _token =
        conjur.add_token("web/factory", past.plus(Duration::from_secs(1200)).unix(), &[label]).unwrap();
    assert_eq!(all(), 4);
    let _kept = said(&site, &["mint", ids[1]], 0);
    assert_eq!(all(), 3);
    assert_eq!(conjur.live_tokens("web/factory"), 3);
}

/// The label of a token for this instance, by the document: 2001:db8:<deployment>:<time>:49<mark, 24 bits>.
fn label(minted: Second, instance: &str) -> IpNet {
    let seconds = u32::try_from(minted.unix()).unwrap();
    let mark = Fingerprint::of(instance.as_bytes()).to_string();
    let words = format!("20010db81f2e3d4c{seconds:08x}49{}", &mark[..6]);
    let words: Vec<&str> = (0..8).map(|at| &words[4 * at..4 * at + 4]).collect();
    format!("{}/128", words.join(":")).parse().unwrap()
}

//! From birth to the end of the old host, with the rotator's part played by the rotator.

use super::*;
use imprint_core::caller::{Caller, RunId};
use imprint_core::conjur::Conjur;
use imprint_core::door::{CaBundle, Door, Trust};
use imprint_core::token::Token;
use zeroize::Zeroizing;

/// An enrolled machine of the layer `web`, known to EC2, that awaits a promotion to `db`.
fn awaiting(site: &Place) -> Machine {
    let machine = site.machine("web");
    let promotion = "[promotion]\nhost_factory = \"db/factory\"\nhosts_branch = \"db/hosts\"\nproof_variable = \"db/password\"\n\n[files]";
    machine.set_config(&machine.config().replace("[files]", promotion));
    let (stack, bucket) = (&site.stack, format!("arn:aws:s3:::{BUCKET}"));
    let policy = Policy::none()
        .allow(&["s3:GetObject"], &format!("{bucket}/{}", stack.object_key("web")))
        .allow(&["s3:GetObject"], &format!("{bucket}/instances/*/db/factory.json"))
        .allow(&["kms:Decrypt"], &stack.key)
        .when(context_key::HOST_FACTORY, "web/factory")
        .when(context_key::SCOPE, "layer")
        .allow(&["kms:Decrypt"], &stack.key)
        .when(context_key::HOST_FACTORY, "db/factory")
        .when(context_key::INSTANCE_ARN, &arn(&machine));
    stack.credentials.set_policy(&stack.role("web"), policy);
    let tags = [("role".to_owned(), "db".to_owned())].into();
    stack.ec2.service().put(Ec2Instance { tags, ..known(site, &machine) });
    let _enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    machine
}

fn privileged(machine: &Machine) -> String {
    machine.host_id().replace("web/hosts", "db/hosts")
}

/// What Conjur says when a token is redeemed for this host by somebody who has nothing else: 0 for a key.
fn redeemed_by_a_thief(site: &Place, token: String, host: &str) -> u16 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let ca = CaBundle::from_pem(&site.stack.ca.pem()).unwrap();
        let (url, account) = (site.stack.conjur.url(), site.stack.options().account.clone());
        let caller = Caller::new("thief/0", "redeem", &RunId::draw(Second::now()));
        let door = Door::new(&Trust::Only(ca)).unwrap();
        let conjur = Conjur::new(door, url.parse().unwrap(), account.parse().unwrap(), caller);
        let token = Token::new(Zeroizing::new(token)).unwrap();
        match conjur.redeem(&token, &host.parse().unwrap(), &Default::default()).await {
            Ok(_) => 0,
            Err(error) => error.status().unwrap(),
        }
    })
}

fn lives(site: &Place, host: &str) -> bool {
    site.stack.conjur.service().hosts().iter().any(|one| one.ends_with(host))
}

/// As if everything that the promotions remember had been two hours ago.
fn let_time_pass(site: &Place) {
    let key = "promotions/demo/db/factory/memory.json";
    let s3 = site.stack.s3.service();
    let mut memory: Value = serde_json::from_slice(&s3.object(BUCKET, key).unwrap()).unwrap();
    for known in memory["instances"].as_object_mut().unwrap().values_mut() {
        for name in ["offered_at", "over_at", "member_since"] {
            if let Some(at) = known[name].as_str() {
                let at: Second = at.parse().unwrap();
                known[name] = at.minus(Duration::from_secs(7200)).to_string().into();
            }
        }
    }
    let _tag = s3.put_raw(BUCKET, key, memory.to_string());
}

fn promote(machine: &Machine) -> Value {
    let ran = Ran::of(&mut machine.imprint(&["promote", "--json", "--deadline", "5s"])).expect(0);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn an_instance_is_promoted_by_rule_and_its_old_host_goes_when_all_is_settled() {
    let site = published();
    site.set_rules(RULES);
    let machine = awaiting(&site);
    let (old, new) = (machine.host_id(), privileged(&machine));
    let leaked = site.stack.conjur.service().tokens("web/factory")[0].token.clone();
    let dry = said(&site, &["promote", "--dry-run"], 0);
    json::check("imprint-rotator promote --json", &dry.to_string());
    assert_eq!(
        (&dry["instances"][0]["result"], promote(&machine)["outcome"].as_str()),
        (&"token due".into(), Some("nothing-waits"))
    );

    // A thief of the shared token was there first.
    assert_eq!(redeemed_by_a_thief(&site, leaked.clone(), &new), 0);
    let ran = Ran::of(&mut site.instances(&["promote"])).expect(0);
    no_secret(&site, &[&ran.out, &ran.err]);
    assert!(ran.err.contains("deleted before its promotion"), "{}", ran.err);
    assert!(!lives(&site, &new));
    let again = said(&site, &["promote"], 0);
    assert_eq!(again["instances"][0]["result"], "waits", "{again}");
    assert_eq!(promote(&machine)["outcome"], "promoted");
    assert_eq!(machine.identity().0, format!("host/{new}"));
    assert_eq!(redeemed_by_a_thief(&site, leaked, &new), 403);

    // One more token waits, and then some time; nothing of it concerns the agent.
    let offered = said(&site, &["promote"], 0);
    assert_eq!(offered["instances"][0]["result"], "kept", "{offered}");
    assert_eq!(promote(&machine)["outcome"], "already-promoted");
    assert_eq!(said(&site, &["promote"], 0)["instances"][0]["result"], "waits");
    assert!(lives(&site, &old) && lives(&site, &new));
    let_time_pass(&site);
    let removed = said(&site, &["promote"], 0);
    assert_eq!(
        (&removed["instances"][0]["result"], &removed["instances"][0]["host"]),
        (&"old host removed".into(), &old.as_str().into())
    );
    assert!(!lives(&site, &old) && lives(&site, &new));
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    let none = said(&site, &["promote"], 0);
    assert_eq!(none["instances"], Value::Array(vec![]), "{none}");
    let done = said(&site, &["promote", &machine.instance().id, "--to", "db/factory"], 0);
    assert_eq!(done["instances"][0]["result"], "promoted", "{done}");
}

#[test]
fn who_is_not_promoted_and_a_token_that_was_over_in_vain() {
    let site = published();
    site.set_rules(RULES);
    let machine = awaiting(&site);
    let (id, new) = (machine.instance().id.clone(), privileged(&machine));
    let untagged = site.machine("web");
    let _instance = known(&site, &untagged);
    let _enrolled = Ran::of(&mut untagged.imprint(&["enroll"])).expect(0);
    let by_rule = said(&site, &["promote"], 0);
    assert_eq!(by_rule["instances"].as_array().unwrap().len(), 1, "{by_rule}");
    assert_eq!(by_rule["instances"][0]["instance"], id.as_str());
    let refused = said(&site, &["promote", &untagged.instance().id, "--to", "db/factory"], 77);
    assert!(refused["instances"][0]["error"].as_str().unwrap().contains("no rule matches"), "{refused}");
    let stranger = said(&site, &["promote", "i-0fedcba9876543210", "--to", "db/factory"], 69);
    assert!(
        stranger["instances"][0]["error"].as_str().unwrap().contains("has no host of web/factory"),
        "{stranger}"
    );
    let _usage = Ran::of(&mut site.instances(&["promote", &id, "--to", "web/factory"])).expect(64);
    // Somebody whom no layer shows has the id: nobody takes the token, and then it is cleared unseen.
    let conjur = site.stack.conjur.service();
    let below = new.strip_prefix("db/hosts/").unwrap();
    conjur.load_policy("db/hosts", &format!("- !host {below}\n")).unwrap();
    let squatted = Ran::of(&mut machine.imprint(&["promote", "--deadline", "5s"])).expect(77);
    assert!(squatted.err.contains("is squatted"), "{}", squatted.err);
    assert_eq!(said(&site, &["promote"], 0)["instances"][0]["result"], "waits");
    assert!(lives(&site, &new));
    let_time_pass(&site);
    let cleared = said(&site, &["promote"], 0);
    assert_eq!(cleared["instances"][0]["result"], "kept", "{cleared}");
    assert!(!lives(&site, &new));
    assert_eq!(promote(&machine)["outcome"], "promoted");
    assert!(lives(&site, &new) && lives(&site, &untagged.host_id()));
    // The fleet's role may not promote.
    let ran = Ran::of(&mut site.fleet(&["promote"])).expect(77);
    assert!(ran.err.contains("promotions/"), "{}", ran.err);
}

//! From the unprivileged host to a privileged one, with the real agent: what waits is a token that is sealed
//! for one instance. The rotator's part is played here: it mints nothing for one instance yet.

use crate::{Place, no_secret, published};
use imprint_core::caller::{Caller, RunId};
use imprint_core::conjur::Conjur;
use imprint_core::door::{CaBundle, Door, Trust};
use imprint_core::sealed::{Binding, Scope, SealedToken, context_key};
use imprint_core::second::Second;
use imprint_core::token::{Fingerprint, Token};
use imprint_e2e::{Machine, Ran, Site, client};
use imprint_stack::aws::Policy;
use imprint_stack::fault::{Fault, FaultKind};
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use zeroize::Zeroizing;

const BUCKET: &str = "imprint-tokens";

fn arn(machine: &Machine) -> String {
    let instance = machine.instance();
    format!("arn:aws:ec2:{}:{}:instance/{}", instance.region, instance.account, instance.id)
}

/// What the host becomes.
fn privileged(machine: &Machine) -> String {
    machine.host_id().replace("web/hosts", "db/hosts")
}

/// An enrolled machine of the layer `web` that awaits a promotion to `db`, with the role for it.
fn awaiting(site: &Site) -> Machine {
    let machine = site.machine("web");
    let promotion = "[promotion]\nhost_factory = \"db/factory\"\nhosts_branch = \"db/hosts\"\nproof_variable = \"db/password\"\n\n[files]";
    machine.set_config(&machine.config().replace("[files]", promotion));
    let (stack, bucket) = (&site.stack, format!("arn:aws:s3:::{BUCKET}"));
    // As README.md has it; what IAM makes of ec2:SourceInstanceARN is written out.
    let policy = Policy::none()
        .allow(&["s3:GetObject"], &format!("{bucket}/{}", stack.object_key("web")))
        .allow(&["s3:GetObject"], &format!("{bucket}/instances/*/db/factory.json"))
        .allow(&["kms:Decrypt"], &stack.key)
        .when(context_key::HOST_FACTORY, "web/factory")
        .when(context_key::SCOPE, "layer")
        .allow(&["kms:Decrypt"], &stack.key)
        .when(context_key::HOST_FACTORY, "db/factory")
        .when(context_key::SCOPE, "instance")
        .when(context_key::INSTANCE_ARN, &arn(&machine));
    stack.credentials.set_policy(&stack.role("web"), policy);
    let _enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    machine
}

/// Mints, seals and publishes for one instance, as a binding that was changed says.
fn offer(site: &Site, machine: &Machine, layer: &str, change: impl Fn(&mut Binding)) -> String {
    let (stack, options) = (&site.stack, site.stack.options());
    let now = Second::from_unix(stack.conjur.service().now());
    let expires_at = now.plus(Duration::from_secs(600));
    let token = stack.conjur.service().add_token(&stack.factory(layer), expires_at.unix(), &[]).unwrap();
    let url = stack.conjur.url().parse::<imprint_core::name::ApplianceUrl>().unwrap();
    let mut binding = Binding {
        account: options.account.parse().unwrap(),
        host_factory: stack.factory(layer).parse().unwrap(),
        appliance_url: url.clone(),
        leader_url: url,
        ca_sha256: CaBundle::from_pem(&stack.ca.pem()).unwrap().digests(),
        issued_at: now,
        expires_at,
        cidr: vec![],
        fingerprint: Fingerprint::of(token.as_bytes()),
        rotation_id: "r-1".to_owned(),
        spread_s: 0,
        scope: Scope::Instance { arn: arn(machine) },
        hosts_branch: stack.hosts_branch(layer).parse().unwrap(),
    };
    let key = binding.object_key();
    change(&mut binding);
    let blob = stack.kms.service().seal(&stack.key, token.as_bytes(), &binding.context());
    let bytes = SealedToken::new(binding, blob, stack.key.clone()).unwrap().to_bytes();
    let _version = stack.s3.service().put_raw(BUCKET, &key, bytes);
    key
}

/// What Conjur says when a token is redeemed for this host by somebody who has nothing else: 0 for a key.
fn redeemed_by_a_thief(site: &Site, token: String, host: &str) -> u16 {
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

fn live(site: &Site, factory: &str) -> String {
    site.stack.conjur.service().tokens(factory).pop().unwrap().token
}

fn reads(site: &Site, (login, key): &(String, String), layer: &str) -> Result<String, String> {
    let (url, account) = (site.stack.conjur.url(), &site.stack.options().account);
    client::secret(&url, account, &site.ca_file(), login, key, &site.stack.variable(layer))
}

fn promote(site: &Place, machine: &Machine, code: i32) -> (String, Value) {
    let ran = Ran::of(&mut machine.imprint(&["promote", "--json", "--deadline", "5s"])).expect(code);
    no_secret(site, &[&ran.out, &ran.err]);
    (ran.err, serde_json::from_str(&ran.out).unwrap_or_default())
}

fn delete(site: &Site, branch: &str, host: &str) {
    let id = host.strip_prefix(&format!("{branch}/")).unwrap();
    let _created =
        site.stack.conjur.service().patch_policy(branch, &format!("- !delete\n  record: !host {id}\n"));
    assert!(!site.stack.conjur.service().hosts().iter().any(|is| is.ends_with(host)));
}

#[test]
fn a_host_is_promoted_and_moves_over_in_one_step() {
    let site = published();
    let machine = awaiting(&site);
    let before = machine.identity();
    let (_, said) = promote(&site, &machine, 0);
    assert_eq!((&said["outcome"], &said["host_id"]), (&"nothing-waits".into(), &machine.host_id().into()));
    assert!(reads(&site, &before, "db").is_err());

    let _key = offer(&site, &machine, "db", |_| {});
    let (_, said) = promote(&site, &machine, 0);
    assert_eq!((&said["outcome"], &said["host_id"]), (&"promoted".into(), &privileged(&machine).into()));
    assert_eq!(said["former_host_id"], machine.host_id());
    let after = machine.identity();
    assert_eq!(after.0, format!("host/{}", privileged(&machine)));
    assert_eq!(reads(&site, &after, "db").unwrap(), site.stack.secret("db"));
    assert_eq!(machine.etc(), ["conjur.conf", "conjur.identity", "conjur.pem", "imprint"]);

    // Once more, the next boot, and verify's own look.
    site.stack.clear_logs();
    let (_, said) = promote(&site, &machine, 0);
    assert_eq!(said["outcome"], "already-promoted");
    let ran = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert!(ran.out.contains("is enrolled already"), "{}", ran.out);
    assert_eq!((site.stack.requests(), machine.identity()), (0, after.clone()));
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    let doctor = Ran::of(&mut machine.imprint(&["doctor"])).expect(0);
    assert!(doctor.out.contains("promoted to a host of db/factory"), "{}", doctor.out);
    assert!(doctor.out.contains("the host may read db/password"), "{}", doctor.out);
    let status = Ran::of(&mut machine.imprint(&["status"])).expect(0);
    assert!(status.out.contains("promotion     done"), "{}", status.out);
    let _rotated = Ran::of(&mut machine.imprint(&["rotate-key"])).expect(0);
    assert_eq!(reads(&site, &machine.identity(), "db").unwrap(), site.stack.secret("db"));

    // The old host lives until somebody deletes it, and that costs the instance nothing.
    assert_eq!(reads(&site, &before, "web").unwrap(), site.stack.secret("web"));
    delete(&site, "web/hosts", &machine.host_id());
    assert!(reads(&site, &before, "web").is_err());
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
}

#[test]
fn a_host_is_promoted_whatever_becomes_of_the_replies() {
    let unavailable = FaultKind::Status { code: 503, headers: Vec::new(), body: "".into() };
    for (fault, at) in [
        (FaultKind::LostReply, "redeem"),
        (FaultKind::Reset, "redeem"),
        (FaultKind::Overtaken, "redeem"),
        (unavailable.clone(), "redeem"),
        (unavailable, "authenticate"),
        (FaultKind::Reset, "authenticate"),
    ] {
        let site = published();
        let machine = awaiting(&site);
        let _key = offer(&site, &machine, "db", |_| {});
        site.stack.conjur.inject(Fault::on(at, fault.clone()));
        let ran = Ran::of(&mut machine.imprint(&["promote"])).expect(0);
        no_secret(&site, &[&ran.out, &ran.err]);
        assert_eq!(machine.identity().0, format!("host/{}", privileged(&machine)), "{fault:?}");
        let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    }
}

#[test]
fn one_that_is_killed_leaves_the_old_identity_and_the_next_poll_ends_well() {
    for fault in [FaultKind::Hang, FaultKind::Delay(Duration::from_secs(600))] {
        let site = published();
        let machine = awaiting(&site);
        let _key = offer(&site, &machine, "db", |_| {});
        let before = machine.identity_text();
        site.stack.clear_logs();
        site.stack.conjur.inject(Fault::on("redeem", fault));
        let mut child =
            machine.imprint(&["promote"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // It has the token, and redeems it now or in a moment.
        while site.stack.kms.log().is_empty() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        let _killed = child.wait().unwrap();
        site.stack.conjur.clear_faults();
        assert_eq!(machine.identity_text(), before);
        site.stack.clear_logs();
        let _booted = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        assert_eq!((site.stack.requests(), machine.identity_text()), (0, before));
        let (_, said) = promote(&site, &machine, 0);
        assert_eq!(said["outcome"], "promoted");
        let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    }
}

/// Without a promotion: the first token that an instance takes may be its own.
#[test]
fn an_instance_takes_its_own_token_first_or_only() {
    let site = published();
    let (stack, bucket) = (&site.stack, format!("arn:aws:s3:::{BUCKET}"));
    for also_layer in [true, false] {
        let machine = site.machine("web");
        let policy = Policy::none()
            .allow(&["s3:GetObject"], &format!("{bucket}/factories/*"))
            .allow(&["s3:GetObject"], &format!("{bucket}/instances/*/web/factory.json"))
            .allow(&["kms:Decrypt"], &stack.key)
            .when(context_key::HOST_FACTORY, "web/factory")
            .when(context_key::SCOPE, "layer")
            .allow(&["kms:Decrypt"], &stack.key)
            .when(context_key::HOST_FACTORY, "web/factory")
            .when(context_key::INSTANCE_ARN, &arn(&machine));
        stack.credentials.set_policy(&stack.role("web"), policy);
        let config = machine.config();
        let (before, rest) = config.split_once("[source]").unwrap();
        let (source, after) = rest.split_once("\n\n").unwrap();
        let layer = if also_layer { format!("[[source]]{source}\n") } else { String::new() };
        machine.set_config(&format!("{before}[[source]]\nscope = \"instance\"{source}\n{layer}\n{after}"));
        let enroll = ["enroll", "--deadline", "3s"];
        // Nothing is there: the layer's, or none.
        let ran = Ran::of(&mut machine.imprint(&enroll)).expect(if also_layer { 0 } else { 69 });
        no_secret(&site, &[&ran.out, &ran.err]);
        let _forgotten = Ran::of(&mut machine.imprint(&["forget"])).expect(0);
        let doctor = Ran::of(&mut machine.imprint(&["doctor"]));
        assert_eq!(doctor.code, if also_layer { 0 } else { 69 }, "{}", doctor.out);
        // Its own, whose fingerprint the host carries.
        let key = offer(&site, &machine, "web", |_| {});
        let _enrolled = Ran::of(&mut machine.imprint(&enroll)).expect(0);
        let published = stack.s3.service().object(BUCKET, &key).unwrap();
        let token = SealedToken::parse(&published).unwrap().binding().fingerprint.to_string();
        let status = Ran::of(&mut machine.imprint(&["status"])).expect(0);
        assert!(status.out.contains(&token), "{}", status.out);
        let doctor = Ran::of(&mut machine.imprint(&["doctor"])).expect(0);
        no_secret(&site, &[&doctor.out, &status.out]);
        // The layer's in its place is no replacement.
        let _forgotten = Ran::of(&mut machine.imprint(&["forget"])).expect(0);
        let _version = stack.s3.service().put_raw(BUCKET, &key, stack.published("web").unwrap());
        let ran = Ran::of(&mut machine.imprint(&enroll)).expect(65);
        assert!(ran.err.contains("is of scope layer"), "{}", ran.err);
    }
}

#[test]
fn a_leaked_shared_token_does_not_reach_a_promoted_host() {
    let site = published();
    let machine = awaiting(&site);
    let leaked = live(&site, "web/factory");
    let _key = offer(&site, &machine, "db", |_| {});
    let (_, said) = promote(&site, &machine, 0);
    assert_eq!(said["outcome"], "promoted");
    // Neither of the shared factory, nor the token of the promotion for another's host.
    assert_eq!(redeemed_by_a_thief(&site, leaked.clone(), &privileged(&machine)), 403);
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    assert_eq!(reads(&site, &machine.identity(), "db").unwrap(), site.stack.secret("db"));
    // What it can do: take the unprivileged host over, which nothing uses any more.
    assert_eq!(redeemed_by_a_thief(&site, leaked, &machine.host_id()), 0);
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
}

#[test]
fn a_squatted_id_changes_nothing_until_it_is_deleted() {
    let site = published();
    let machine = awaiting(&site);
    assert_eq!(redeemed_by_a_thief(&site, live(&site, "web/factory"), &privileged(&machine)), 0);
    let _key = offer(&site, &machine, "db", |_| {});
    let files = || (machine.identity_text(), machine.etc());
    let before = files();
    for _ in 0..2 {
        let (err, _) = promote(&site, &machine, 77);
        assert!(err.contains("is squatted") && err.contains("!delete"), "{err}");
        assert_eq!(files(), before);
        let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    }
    let status = Ran::of(&mut machine.imprint(&["status"])).expect(0);
    assert!(status.out.contains("is squatted"), "{}", status.out);
    delete(&site, "db/hosts", &privileged(&machine));
    let (_, said) = promote(&site, &machine, 0);
    assert_eq!(said["outcome"], "promoted");
    assert_eq!(reads(&site, &machine.identity(), "db").unwrap(), site.stack.secret("db"));
}

#[test]
fn what_was_not_sealed_for_this_promotion_is_refused() {
    let site = published();
    let machine = awaiting(&site);
    let before = machine.identity_text();
    let check = |code: i32, change: &dyn Fn(&mut Binding), say: &str| {
        let key = offer(&site, &machine, "db", change);
        site.stack.conjur.clear_log();
        let (err, said) = promote(&site, &machine, code);
        let said = said["why"].as_str().unwrap_or_default();
        assert!(err.contains(say) || said.contains(say), "{err}{said}");
        assert_eq!((site.stack.conjur.count("redeem"), machine.identity_text()), (0, before.clone()));
        key
    };
    let other = arn(&machine).replace("instance/i-", "instance/i-0");
    let _key =
        check(65, &|b| b.scope = Scope::Instance { arn: other.clone() }, "the token is for arn:aws:ec2:");
    let _key = check(65, &|b| b.scope = Scope::Layer, "is of scope layer");
    let _key = check(65, &|b| b.hosts_branch = "web/hosts".parse().unwrap(), "hosts_branch is web/hosts");
    let over = Second::from_unix(site.stack.conjur.service().now() - 60);
    let _key = check(0, &|b| b.expires_at = over, "expired at");
    // Another instance's, moved here with its name changed: KMS says no to what is not as it was sealed.
    let key = offer(&site, &machine, "db", |b| b.scope = Scope::Instance { arn: other.clone() });
    let text = String::from_utf8(site.stack.s3.service().object(BUCKET, &key).unwrap().to_vec()).unwrap();
    let _version = site.stack.s3.service().put_raw(BUCKET, &key, text.replace(&other, &arn(&machine)));
    let (err, _) = promote(&site, &machine, 65);
    assert!(err.contains("InvalidCiphertextException") || err.contains("kms:Decrypt"), "{err}");
    assert_eq!(machine.identity_text(), before);
    // A role of another instance may not even ask.
    let thief = site.machine("web");
    let _enrolled = Ran::of(&mut thief.imprint(&["enroll"])).expect(0);
    thief.set_config(
        &machine
            .config()
            .replace(&machine.instance().id, &thief.instance().id)
            .replace(&machine.imds.url(), &thief.imds.url()),
    );
    let _key = offer(&site, &thief, "db", |_| {});
    let (err, _) = promote(&site, &thief, 77);
    assert!(err.contains("AccessDenied"), "{err}");
}

#[test]
fn a_promoted_key_that_died_leads_back_to_the_beginning() {
    let site = published();
    let machine = awaiting(&site);
    let _key = offer(&site, &machine, "db", |_| {});
    let (_, said) = promote(&site, &machine, 0);
    assert_eq!(said["outcome"], "promoted");
    delete(&site, "db/hosts", &privileged(&machine));
    let _dead = Ran::of(&mut machine.imprint(&["verify"])).expect(77);
    let ran = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert!(ran.err.contains("enrolling without privileges, until the next promotion"), "{}", ran.err);
    assert_eq!(machine.identity().0, format!("host/{}", machine.host_id()));
    let (_, said) = promote(&site, &machine, 0);
    assert_eq!(said["outcome"], "promoted");
    // A clone of it is nobody's heir.
    machine.set_dmi("i-0fedcba9876543210");
    machine.imds.service().change(|instance| instance.id = "i-0fedcba9876543210".to_owned());
    let _cloned = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!(machine.identity().0, format!("host/{}", machine.host_id()));
    assert!(machine.identity().0.starts_with("host/web/hosts/"));
}

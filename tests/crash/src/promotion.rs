//! A machine that waits for its promotion, with a token for it alone under its own key.

use imprint_core::door::CaBundle;
use imprint_core::name::ApplianceUrl;
use imprint_core::sealed::{Binding, Scope, SealedToken, context_key};
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use imprint_e2e::{Machine, Ran, Site};
use imprint_stack::aws::Policy;
use std::time::Duration;

/// The host that the machine's host becomes.
#[must_use]
pub fn privileged(machine: &Machine) -> String {
    machine.host_id().replace("web/hosts", "db/hosts")
}

/// An enrolled machine of the layer `web` that is offered a place in `db`.
///
/// # Panics
/// When it cannot be set up.
#[must_use]
pub fn awaiting(site: &Site) -> Machine {
    let machine = site.machine("web");
    let promotion = "[promotion]\nhost_factory = \"db/factory\"\nhosts_branch = \"db/hosts\"\nproof_variable = \"db/password\"\n\n[files]";
    machine.set_config(&machine.config().replace("[files]", promotion));
    let (stack, options) = (&site.stack, site.stack.options());
    let instance = machine.instance();
    let arn = format!("arn:aws:ec2:{}:{}:instance/{}", instance.region, instance.account, instance.id);
    let bucket = format!("arn:aws:s3:::{}", options.bucket);
    let policy = Policy::none()
        .allow(&["s3:GetObject"], &format!("{bucket}/{}", stack.object_key("web")))
        .allow(&["s3:GetObject"], &format!("{bucket}/instances/*/db/factory.json"))
        .allow(&["kms:Decrypt"], &stack.key)
        .when(context_key::HOST_FACTORY, "web/factory")
        .when(context_key::SCOPE, "layer")
        .allow(&["kms:Decrypt"], &stack.key)
        .when(context_key::HOST_FACTORY, "db/factory")
        .when(context_key::SCOPE, "instance")
        .when(context_key::INSTANCE_ARN, &arn);
    stack.credentials.set_policy(&stack.role("web"), policy);
    let _enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    offer(site, arn);
    machine
}

/// Mints, seals and publishes for one instance.
fn offer(site: &Site, arn: String) {
    let (stack, options) = (&site.stack, site.stack.options());
    let now = Second::from_unix(stack.conjur.service().now());
    let expires_at = now.plus(Duration::from_secs(24 * 3600));
    let token =
        stack.conjur.service().add_token(&stack.factory("db"), expires_at.unix(), &[]).expect("a factory");
    let url: ApplianceUrl = stack.conjur.url().parse().expect("a URL");
    let binding = Binding {
        account: options.account.parse().expect("an account"),
        host_factory: stack.factory("db").parse().expect("a factory"),
        appliance_url: url.clone(),
        leader_url: url,
        ca_sha256: CaBundle::from_pem(&stack.ca.pem()).expect("certificates").digests(),
        issued_at: now,
        expires_at,
        cidr: vec![],
        fingerprint: Fingerprint::of(token.as_bytes()),
        rotation_id: "r-1".to_owned(),
        spread_s: 0,
        scope: Scope::Instance { arn },
        hosts_branch: stack.hosts_branch("db").parse().expect("a branch"),
    };
    let key = binding.object_key();
    let blob = stack.kms.service().seal(&stack.key, token.as_bytes(), &binding.context());
    let sealed = SealedToken::new(binding, blob, stack.key.clone()).expect("a sealed token");
    let _version = stack.s3.service().put_raw(&options.bucket, &key, sealed.to_bytes());
}

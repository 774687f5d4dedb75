//! What a fleet relies on, drilled at a Conjur that nobody prepared: who cannot reach a promoted host, what a pin is
//! worth, what is deleted and what is not. EC2, S3, KMS and metadata come from the stack.
//!
//! Conjur tells under which address it sees this machine, so the drills need not know: an instance that is pinned has
//! that one, and "elsewhere" is an instance of another address, whose key is shown from here. Where Conjur is on
//! loopback, a second address of this machine is elsewhere too.

use super::server::{Scene, Server, stranger};
use imprint_core::caller::{Caller, RunId};
use imprint_core::conjur::Conjur;
use imprint_core::door::{CaBundle, Door, Trust};
use imprint_core::sealed::{Binding, Scope, SealedToken, context_key};
use imprint_core::second::Second;
use imprint_core::token::{ApiKey, Fingerprint};
use imprint_e2e::{Machine, Ran, web};
use imprint_stack::aws::Policy;
use imprint_stack::conjur::{Conjur as StandIn, Version};
use imprint_stack::ec2::Ec2Instance;
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::server::Server as Served;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use zeroize::Zeroizing;

/// From the documentation's networks: nobody comes from there.
const ELSEWHERE: &str = "203.0.113.7";

impl Scene<'_> {
    /// Factories of the layers `web` and `db`, with a published token each.
    fn fleet(server: &'_ Server) -> Scene<'_> {
        let scene = Scene::load(server, &["web", "db"]);
        let _said = Ran::of(&mut scene.site.rotator(&["rotate"])).expect(0);
        scene
    }

    fn web(&self) -> String {
        self.site.stack.factory(&self.layer("web"))
    }

    /// An enrolled instance that EC2 knows, at this address.
    fn enrolled(&self, address: &str) -> Machine {
        let machine = self.machine("web");
        self.site.stack.ec2.service().put(Ec2Instance::running(&machine.instance().id, address));
        let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        machine
    }

    /// What a run over the hosts of `web` says.
    #[track_caller]
    fn over_the_fleet(&self, arguments: &[&str]) -> Value {
        let web = self.web();
        let ran = Ran::of(self.site.fleet(arguments).args(["--factory", web.as_str(), "--json"])).expect(0);
        for secret in [&self.rotator_key, &self.reaper_key, &self.server.key] {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "a secret is told");
        }
        serde_json::from_str::<Value>(&ran.out).unwrap()["factories"][0].clone()
    }

    fn access(&self, who: &str, key: &str) -> String {
        self.server.authenticate(&format!("host/{}/{who}", self.name), key).unwrap()
    }

    /// The shared token of a layer, as somebody has it to whom it leaked.
    fn leaked(&self, layer: &str) -> String {
        let factory = web::part(&self.site.stack.factory(&self.layer(layer)));
        let path = format!("/resources/{}/host_factory/{factory}", self.server.account);
        let (status, said) =
            self.server.send("GET", &path, Some(&self.access("rotator", &self.rotator_key)), "");
        assert_eq!(status, 200, "{said}");
        let factory: Value = serde_json::from_str(&said).unwrap();
        factory["tokens"][0]["token"].as_str().unwrap().to_owned()
    }

    /// What becomes of a token that is redeemed for a host by somebody who has nothing else.
    fn redeem(&self, token: &str, host: &str) -> Result<String, u16> {
        let with = format!("Token token=\"{token}\"");
        let form = [("Content-Type", "application/x-www-form-urlencoded"), ("Authorization", with.as_str())];
        let trust = web::trust(self.server.ca.as_deref()).unwrap();
        let body = format!("id={}&annotations%5Bauthn%2Fapi-key%5D=true", web::part(host));
        let url = format!("{}/host_factories/hosts", self.server.url);
        match web::send(&trust, "POST", &url, &form, &body).unwrap() {
            (201, said) => {
                let host: Value = serde_json::from_str(&said).unwrap();
                Ok(host["api_key"].as_str().unwrap().to_owned())
            }
            (status, _) => Err(status),
        }
    }

    /// The hosts of the layer `web`, as the reaper sees them.
    fn members(&self) -> BTreeSet<String> {
        let layer = web::part(&self.site.stack.nodes(&self.layer("web")));
        let path = format!("/roles/{}/layer/{layer}?members&kind[]=host", self.server.account);
        let (status, said) =
            self.server.send("GET", &path, Some(&self.access("reaper", &self.reaper_key)), "");
        assert_eq!(status, 200, "{said}");
        let rows: Vec<Value> = serde_json::from_str(&said).unwrap();
        let id = |row: &Value| row["member"].as_str().unwrap().splitn(3, ':').nth(2).unwrap().to_owned();
        rows.iter().map(id).collect()
    }

    fn delete(&self, branch: &str, host: &str) {
        let id = host.strip_prefix(branch).unwrap().trim_start_matches('/');
        let path = format!("/policies/{}/policy/{}", self.server.account, web::part(branch));
        let text = format!("- !delete\n  record: !host {id}\n");
        let reaper = self.access("reaper", &self.reaper_key);
        assert_eq!(self.server.send("PATCH", &path, Some(&reaper), &text).0, 201);
    }

    fn reads(&self, machine: &Machine, layer: &str) -> bool {
        let (login, key) = machine.identity();
        let token = self.server.authenticate(&login, &key).expect("the identity is good");
        let variable = self.server.variable(&self.site.stack.variable(&self.layer(layer)));
        self.server.send("GET", &variable, Some(&token), "") == (200, self.secret(&self.layer(layer)))
    }

    /// Under which address Conjur sees this machine.
    fn here(&self) -> String {
        let (status, said) = self.server.send("GET", "/whoami", Some(&self.server.admin()), "");
        assert_eq!(status, 200, "{said}");
        serde_json::from_str::<Value>(&said).unwrap()["client_ip"].as_str().unwrap().to_owned()
    }

    /// What Conjur says to a login that comes from another address of this machine; `None` where it has none.
    fn log_in_elsewhere(&self, login: &str, key: &str) -> Option<String> {
        if self.here() != "127.0.0.1" {
            return None;
        }
        let url =
            format!("{}/authn/{}/{}/authenticate", self.server.url, self.server.account, web::part(login));
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        curl.args([
            "--interface",
            "127.0.0.2",
            "--header",
            "Content-Type: text/plain",
            "--data-raw",
            key,
            &url,
        ]);
        if let Some(ca) = &self.server.ca {
            curl.arg("--cacert").arg(ca);
        }
        Some(Ran::of(&mut curl).expect(0).out)
    }

    /// What the rotator publishes for one instance: minted at this server, sealed for this instance alone.
    fn offer(&self, machine: &Machine, layer: &str) {
        let (stack, layer) = (&self.site.stack, self.layer(layer));
        let expires_at = Second::now().plus(Duration::from_secs(600));
        let factory = format!("{}:host_factory:{}", self.server.account, stack.factory(&layer));
        let form =
            format!("host_factory={}&expiration={}", web::part(&factory), web::part(&expires_at.to_string()));
        let with = self.access("rotator", &self.rotator_key);
        let headers =
            [("Content-Type", "application/x-www-form-urlencoded"), ("Authorization", with.as_str())];
        let trust = web::trust(self.server.ca.as_deref()).unwrap();
        let url = format!("{}/host_factory_tokens", self.server.url);
        let (status, said) = web::send(&trust, "POST", &url, &headers, &form).unwrap();
        assert_eq!(status, 200, "{said}");
        let token = serde_json::from_str::<Value>(&said).unwrap()[0]["token"].as_str().unwrap().to_owned();
        let published = stack.published(&layer).unwrap();
        let shared = SealedToken::parse(&published).unwrap();
        let binding = Binding {
            expires_at,
            fingerprint: Fingerprint::of(token.as_bytes()),
            scope: Scope::Instance { arn: arn(machine) },
            ..shared.binding().clone()
        };
        let (key, options) = (binding.object_key(), stack.options());
        let blob = stack.kms.service().seal(&stack.key, token.as_bytes(), &binding.context());
        let bytes = SealedToken::new(binding, blob, stack.key.clone()).unwrap().to_bytes();
        let _version = stack.s3.service().put_raw(&options.bucket, &key, bytes);
    }

    /// An enrolled machine of the layer `web` that awaits a promotion to `db`, with the role for it.
    fn awaiting(&self) -> Machine {
        let (stack, web, db) = (&self.site.stack, self.layer("web"), self.layer("db"));
        let machine = self.enrolled("10.0.0.5");
        let promotion = format!(
            "[promotion]\nhost_factory = {:?}\nhosts_branch = {:?}\nproof_variable = {:?}\n\n[files]",
            stack.factory(&db),
            stack.hosts_branch(&db),
            stack.variable(&db)
        );
        machine.set_config(&machine.config().replace("[files]", &promotion));
        let bucket = format!("arn:aws:s3:::{}", stack.options().bucket);
        let policy = Policy::none()
            .allow(&["s3:GetObject"], &format!("{bucket}/{}", stack.object_key(&web)))
            .allow(&["s3:GetObject"], &format!("{bucket}/instances/*/{}.json", stack.factory(&db)))
            .allow(&["kms:Decrypt"], &stack.key)
            .when(context_key::HOST_FACTORY, &stack.factory(&web))
            .when(context_key::SCOPE, "layer")
            .allow(&["kms:Decrypt"], &stack.key)
            .when(context_key::HOST_FACTORY, &stack.factory(&db))
            .when(context_key::SCOPE, "instance")
            .when(context_key::INSTANCE_ARN, &arn(&machine));
        stack.credentials.set_policy(&stack.role(&web), policy);
        machine
    }

    fn privileged(&self, machine: &Machine) -> String {
        machine.host_id().replace(&self.layer("web"), &self.layer("db"))
    }

    fn promote(&self, machine: &Machine, code: i32) -> (String, Value) {
        let ran = Ran::of(&mut machine.imprint(&["promote", "--json", "--deadline", "5s"])).expect(code);
        (ran.err, serde_json::from_str::<Value>(&ran.out).unwrap_or_default()["outcome"].clone())
    }
}

fn arn(machine: &Machine) -> String {
    let instance = machine.instance();
    format!("arn:aws:ec2:{}:{}:instance/{}", instance.region, instance.account, instance.id)
}

/// A leaked shared token against a promoted host, and one that was there first.
fn promotion(server: &Server) {
    let scene = Scene::fleet(server);
    let (machine, leaked) = (scene.awaiting(), scene.leaked("web"));
    let (before, promoted) = (machine.host_id(), scene.privileged(&machine));
    assert_eq!(scene.promote(&machine, 0).1, "nothing-waits");

    // Squatted: whoever has any factory's token makes an id that is free. Nothing changes until it is deleted.
    assert!(scene.redeem(&leaked, &promoted).is_ok());
    scene.offer(&machine, "db");
    let files = (machine.identity_text(), machine.etc());
    let (err, _) = scene.promote(&machine, 77);
    assert!(err.contains("is squatted"), "{err}");
    assert_eq!((machine.identity_text(), machine.etc()), files);
    scene.delete(&scene.site.stack.hosts_branch(&scene.layer("db")), &promoted);

    // It moves over in one step.
    assert!(scene.reads(&machine, "web") && !scene.reads(&machine, "db"));
    assert_eq!(scene.promote(&machine, 0).1, "promoted");
    assert_eq!(machine.identity().0, format!("host/{promoted}"));
    assert!(scene.reads(&machine, "db") && !scene.reads(&machine, "web"));

    // The leaked token reaches the host that it was, and not the one that it is.
    assert_eq!(scene.redeem(&leaked, &promoted), Err(403));
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    assert!(scene.redeem(&leaked, &before).is_ok());
    scene.delete(&scene.site.stack.hosts_branch(&scene.layer("web")), &before);
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    assert!(scene.reads(&machine, "db"));
    assert_eq!(scene.remove(), [], "left behind");
}

/// A key that a thief of the token has rotated logs in where the instance is, and from nowhere else.
fn pin(server: &Server) {
    let scene = Scene::fleet(server);
    let here = scene.here();
    let machine = scene.enrolled(&here);
    let (id, host, ec2) = (machine.instance().id, machine.host_id(), scene.site.stack.ec2.service());
    let (login, leaked) = (format!("host/{host}"), scene.leaked("web"));
    let takes = |key: &str| server.authenticate(&login, key).is_ok();
    assert!(takes(&scene.redeem(&leaked, &host).unwrap()), "without a pin the thief is the host");
    let _mine_again = Ran::of(&mut machine.imprint(&["enroll", "--again"])).expect(0);

    let pinned = scene.over_the_fleet(&["pin"]);
    let network = format!("{here}/{}", if here.contains(':') { 128 } else { 32 });
    assert_eq!(pinned["pinned"], json!([{"host": host.as_str(), "restricted_to": [network]}]), "{pinned}");
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    assert!(scene.reads(&machine, "web"), "a pin takes no privilege");
    assert_eq!(scene.over_the_fleet(&["pin"])["already"], 1);
    let stolen = scene.redeem(&leaked, &host).unwrap();
    assert!(takes(&stolen), "the key itself is a good one");
    if let Some(status) = scene.log_in_elsewhere(&login, &stolen) {
        assert_eq!(status, "401", "from elsewhere");
    }

    // The instance has another address now, so here is elsewhere: for its old key, and for one that a thief rotates.
    let _mine_again = Ran::of(&mut machine.imprint(&["enroll", "--again"])).expect(0);
    ec2.put(Ec2Instance::running(&id, ELSEWHERE));
    let moved = scene.over_the_fleet(&["pin", &id]);
    assert_eq!(moved["pinned"][0]["restricted_to"], json!([format!("{ELSEWHERE}/32")]), "{moved}");
    assert!(!takes(&machine.identity().1));
    let stolen = scene.redeem(&leaked, &host).unwrap();
    assert!(!takes(&stolen), "rotated by a thief, and shown from here");

    // Back, and stopped in between: nothing is lost.
    let mut back = Ec2Instance::running(&id, &here);
    back.state = "stopped".to_owned();
    ec2.put(back);
    let _pinned = scene.over_the_fleet(&["pin"]);
    assert!(takes(&stolen));
    assert_eq!(scene.remove(), [], "left behind");
}

/// A pin of a host that is not there makes one; it is in no layer, it is told, and it goes without a trace.
fn mistake(server: &Server) {
    let scene = Scene::fleet(server);
    let web = scene.layer("web");
    let (hosts, nodes) = (scene.site.stack.hosts_branch(&web), scene.site.stack.nodes(&web));
    let absent: imprint_core::name::HostId =
        format!("{hosts}/123456789012/eu-west-1/i-0absent").parse().unwrap();
    let there = scene.enrolled("10.0.0.5").host_id().parse::<imprint_core::name::HostId>().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let trust = server.ca.as_ref().map_or(Trust::Public, |ca| {
        Trust::Only(CaBundle::from_pem(&std::fs::read_to_string(ca).unwrap()).unwrap())
    });
    let caller = Caller::new("imprint-e2e/0", "drill", &RunId::draw(Second::now()));
    let (url, account) = (server.url.parse().unwrap(), server.account.parse().unwrap());
    let conjur = Conjur::new(Door::new(&trust).unwrap(), url, account, caller);
    let (login, key) = (format!("host/{}/reaper", scene.name), Zeroizing::new(scene.reaper_key.clone()));
    let with = runtime.block_on(conjur.authenticate(&login, &ApiKey::new(key).unwrap())).unwrap();
    let branch = hosts.parse().unwrap();

    let to = vec!["203.0.113.7/32".parse().unwrap(), "2001:db8::7/128".parse().unwrap()];
    let both = [(absent.clone(), to.clone()), (there.clone(), to)].into();
    let made = || runtime.block_on(conjur.restrict_hosts(&with, &branch, &both)).unwrap();
    assert_eq!(made(), std::slice::from_ref(&absent));
    assert_eq!(made(), [], "the second time tells of none, so where a reply is lost the layer is asked");
    let members = runtime.block_on(conjur.members(&with, &nodes.parse().unwrap())).unwrap();
    assert_eq!(members, [there.clone()].into(), "what policy made is in no layer");
    let leaked = scene.leaked("web");
    assert_eq!(scene.redeem(&leaked, absent.as_str()), Err(403), "it is squatted");
    for _again in 0..2 {
        runtime.block_on(conjur.delete_hosts(&with, &branch, std::slice::from_ref(&absent))).unwrap();
    }
    assert!(scene.redeem(&leaked, absent.as_str()).is_ok(), "its id is free");
    assert_eq!(scene.members(), [absent.to_string(), there.to_string()].into());
    assert_eq!(scene.remove(), [], "left behind");
}

/// Hosts leave when their instances have left, and no others; also while somebody else loads policy.
fn decommission(server: &Server, busy: &dyn Fn(&dyn Fn() -> Value) -> Value) {
    let scene = Scene::fleet(server);
    let [gone, missing, stays] = [(); 3].map(|()| scene.enrolled("10.0.0.5"));
    let (ec2, leaked) = (scene.site.stack.ec2.service(), scene.leaked("web"));
    let hosts = scene.site.stack.hosts_branch(&scene.layer("web"));
    let others = ["by-hand", "123456789012/us-east-1/i-9", "210987654321/eu-west-1/i-9"];
    for other in others {
        assert!(scene.redeem(&leaked, &format!("{hosts}/{other}")).is_ok());
    }
    let all = scene.members();
    assert_eq!(all.len(), 6);
    let nobody = scene.over_the_fleet(&["decommission"]);
    assert_eq!((&nobody["removed"], &nobody["waiting"]), (&json!([]), &json!([])));

    ec2.set_state(&gone.instance().id, "terminated");
    ec2.forget(&missing.instance().id);
    let dry = scene.over_the_fleet(&["decommission", "--dry-run"]);
    assert_eq!(dry["removed"][0]["host"], gone.host_id().as_str(), "{dry}");
    assert_eq!(scene.members(), all);
    let first = busy(&|| scene.over_the_fleet(&["decommission"]));
    assert_eq!(first["removed"][0]["host"], gone.host_id().as_str(), "{first}");
    assert_eq!(first["waiting"], json!([missing.host_id()]), "{first}");
    let _dead = Ran::of(&mut gone.imprint(&["verify"])).expect(77);

    // As if the first look had been eleven minutes ago.
    let (bucket, s3) = (&scene.site.stack.options().bucket, scene.site.stack.s3.service());
    let key = format!("fleet/{}/{}/memory.json", server.account, scene.web());
    let mut memory: Value = serde_json::from_slice(&s3.object(bucket, &key).unwrap()).unwrap();
    for since in memory["missing"].as_object_mut().unwrap().values_mut() {
        let at: Second = since.as_str().unwrap().parse().unwrap();
        *since = at.minus(Duration::from_secs(11 * 60)).to_string().into();
    }
    let _tag = s3.put_raw(bucket, &key, memory.to_string());
    let second = while_another_loads(&scene, || scene.over_the_fleet(&["decommission"]));
    assert_eq!(second["removed"][0]["host"], missing.host_id().as_str(), "{second}");
    let left: BTreeSet<String> =
        others.map(|other| format!("{hosts}/{other}")).into_iter().chain([stays.host_id()]).collect();
    assert_eq!(scene.members(), left);
    let _proved = Ran::of(&mut stays.imprint(&["verify"])).expect(0);
    assert_eq!(scene.remove(), [], "left behind");
}

/// The deed while somebody else loads policy over and over: Conjur may take one load at a time, and says 409.
fn while_another_loads(scene: &Scene<'_>, deed: impl FnOnce() -> Value) -> Value {
    let printed = Ran::of(&mut scene.site.rotator(&["policy"])).expect(0).out;
    let (server, over) = (scene.server, AtomicBool::new(false));
    thread::scope(|threads| {
        let others = threads.spawn(|| {
            let mut statuses = BTreeMap::<u16, u32>::new();
            while !over.load(Ordering::Relaxed) {
                *statuses.entry(server.policy("POST", &printed).0).or_default() += 1;
            }
            statuses
        });
        let end = catch_unwind(AssertUnwindSafe(deed));
        over.store(true, Ordering::Relaxed);
        let statuses = others.join().unwrap();
        assert!(statuses.keys().all(|status| [201, 409].contains(status)), "{statuses:?}");
        end.unwrap_or_else(|failed| resume_unwind(failed))
    })
}

/// While another load runs, a server says 409 and when to come again. The stand-in is made to.
fn busy_once(stand_in: &Served<StandIn>, deed: &dyn Fn() -> Value) -> Value {
    let headers = vec![("Retry-After".to_owned(), "1".to_owned())];
    let body = r#"{"error":{"code":"policy_conflict","message":"Concurrent policy load in progress, please retry"}}"#;
    stand_in.inject(Fault::on("policy", FaultKind::Status { code: 409, headers, body: body.into() }));
    let before = stand_in.count("policy");
    let end = deed();
    assert_eq!(stand_in.count("policy") - before, 2, "refused once, and loaded then");
    end
}

#[test]
fn the_promotion_at_the_stand_in() {
    for version in [Version::V1_24_0, Version::V1_22_3] {
        stranger(version, |server, _| promotion(server));
    }
}

#[test]
fn the_pin_at_the_stand_in() {
    for version in [Version::V1_24_0, Version::V1_22_3] {
        stranger(version, |server, _| pin(server));
    }
}

#[test]
fn the_mistake_at_the_stand_in() {
    for version in [Version::V1_24_0, Version::V1_22_3] {
        stranger(version, |server, _| mistake(server));
    }
}

#[test]
fn the_decommission_at_the_stand_in() {
    for version in [Version::V1_24_0, Version::V1_22_3] {
        stranger(version, |server, stand_in| decommission(server, &|deed| busy_once(stand_in, deed)));
    }
}

#[test]
fn the_drills_at_the_server_that_the_environment_names() {
    let Some(server) = Server::of_the_environment() else { return };
    promotion(&server);
    pin(&server);
    mistake(&server);
    decommission(&server, &|deed| deed());
}

//! The main path against a Conjur of which only the address, the account, an administrator's key and
//! the certificate are known: nobody prepared anything in it, and nothing is left behind.
//!
//! The stand-in is treated so always. A genuine server is too when `IMPRINT_CONTRACT_URL`, `_ACCOUNT`
//! and `_ADMIN_KEY` (and, as it needs them, `_CA` and `_LOGIN`) name one.

use crate::{folder, programs};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imprint_core::sealed::{SealedToken, context_key};
use imprint_e2e::peers::{Peers, aloud};
use imprint_e2e::{Ran, Site, web, write};
use imprint_stack::ca::Ca;
use imprint_stack::conjur::{Conjur, Version};
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::server::Server as StandIn;
use imprint_stack::{Options, Stack};
use serde_json::Value;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

/// A server, and who may change its root policy.
#[derive(Debug)]
struct Server {
    url: String,
    account: String,
    login: String,
    key: String,
    ca: Option<PathBuf>,
}

impl Server {
    /// The one that the environment names; `None` when there is no URL.
    fn named(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let given = |name: &str| variable(&format!("IMPRINT_CONTRACT_{name}")).filter(|v| !v.is_empty());
        let need = |name: &str| {
            given(name).ok_or_else(|| format!("IMPRINT_CONTRACT_URL is set, IMPRINT_CONTRACT_{name} is not"))
        };
        let Some(url) = given("URL") else { return Ok(None) };
        Ok(Some(Self {
            url: url.trim_end_matches('/').to_owned(),
            account: need("ACCOUNT")?,
            login: given("LOGIN").unwrap_or_else(|| "admin".to_owned()),
            key: need("ADMIN_KEY")?,
            ca: given("CA").map(PathBuf::from),
        }))
    }

    fn send(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let trust = web::trust(self.ca.as_deref()).unwrap();
        let mut headers = vec![("Content-Type", "text/plain")];
        headers.extend(token.map(|token| ("Authorization", token)));
        web::send(&trust, method, &format!("{}{path}", self.url), &headers, body).unwrap()
    }

    /// An `Authorization` of this login, or the status of the refusal.
    fn authenticate(&self, login: &str, key: &str) -> Result<String, u16> {
        let path = format!("/authn/{}/{}/authenticate", self.account, web::part(login));
        match self.send("POST", &path, None, key) {
            (200, token) => Ok(format!("Token token=\"{}\"", STANDARD.encode(token))),
            (status, _) => Err(status),
        }
    }

    fn admin(&self) -> String {
        self.authenticate(&self.login, &self.key).expect("the administrator's key is good")
    }

    fn policy(&self, method: &str, text: &str) -> (u16, String) {
        self.send(method, &format!("/policies/{}/policy/root", self.account), Some(&self.admin()), text)
    }

    fn variable(&self, id: &str) -> String {
        format!("/secrets/{}/variable/{}", self.account, web::part(id))
    }

    /// Kind and id of everything that is named after a branch.
    fn left(&self, branch: &str) -> Vec<(String, String)> {
        const PAGE: usize = 1000;
        let token = self.admin();
        let mut found = Vec::new();
        for page in 0.. {
            let path = format!("/resources/{}?limit={PAGE}&offset={}", self.account, page * PAGE);
            let (status, said) = self.send("GET", &path, Some(&token), "");
            assert_eq!(status, 200, "{said}");
            let rows: Vec<Value> = serde_json::from_str(&said).unwrap();
            for id in rows.iter().filter_map(|row| row["id"].as_str()) {
                let mut parts = id.splitn(3, ':').skip(1);
                let (kind, id) = (parts.next().unwrap(), parts.next().unwrap());
                if id == branch || id.starts_with(&format!("{branch}/")) {
                    found.push((kind.to_owned(), id.to_owned()));
                }
            }
            if rows.len() < PAGE {
                break;
            }
        }
        found
    }
}

/// A policy branch of a random name; what is in it goes when this does.
struct Branch<'a> {
    server: &'a Server,
    name: String,
    rotator_key: String,
    reaper_key: String,
    secret: String,
}

impl<'a> Branch<'a> {
    fn load(server: &'a Server) -> Self {
        let random = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let name = format!("imprint-journey-{random}");
        let (rotator_key, reaper_key) = (String::new(), String::new());
        let mut branch = Self { server, name, rotator_key, reaper_key, secret: format!("of {random}") };
        let printed = branch.printed();
        let (status, said) = server.policy("POST", &printed);
        assert_eq!(status, 201, "{said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        let key = |host: &str| {
            let host = format!("{}:host:{}/{host}", server.account, branch.name);
            said["created_roles"][host]["api_key"].as_str().expect("a key").to_owned()
        };
        (branch.rotator_key, branch.reaper_key) = (key("rotator"), key("reaper"));
        let (status, said) = server.policy("POST", &printed);
        let again: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((status, &again["created_roles"]), (201, &Value::Object(serde_json::Map::new())));
        let (status, said) = server.policy("POST", &branch.variable());
        assert_eq!(status, 201, "{said}");
        let variable = server.variable(&format!("{}/password", branch.name));
        let (status, said) = server.send("POST", &variable, Some(&server.admin()), &branch.secret);
        assert_eq!(status, 201, "{said}");
        branch
    }

    /// What `imprint-rotator policy` prints for one factory with its names as the stack has them.
    fn printed(&self) -> String {
        let name = &self.name;
        let config = format!(
            "account = {:?}\nappliance_url = {:?}\nlogin = \"host/{name}/rotator\"\ndeployment = \"1f2e3d4c\"\n\
             [aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n\
             [[factory]]\nid = \"{name}/factory\"\nhosts_branch = \"{name}/hosts\"\n",
            self.server.account, self.server.url
        );
        let folder = folder();
        let file = folder.path().join("rotator.toml");
        write(&file, 0o644, &config);
        let mut command = std::process::Command::new(programs().rotator);
        command.env_clear().args(["policy", "--config"]).arg(&file);
        Ran::of(&mut command).expect(0).out
    }

    /// What the layer's hosts may read: the one thing that an operator adds.
    fn variable(&self) -> String {
        let name = &self.name;
        format!(
            "\
- !variable {name}/password
- !permit
  role: !layer {name}/factory
  privileges: [ read, execute ]
  resource: !variable {name}/password
"
        )
    }

    /// Deletes it; what is still there, if anything.
    fn remove(&self) -> Vec<(String, String)> {
        // What owns others goes last, and a host has its own deletion: it outlives its factory.
        let order = ["host", "host_factory", "variable", "layer", "policy"];
        let mut records = self.server.left(&self.name);
        records.sort_by_key(|(kind, id)| {
            (order.iter().position(|one| one == kind), std::cmp::Reverse(id.len()))
        });
        let delete =
            |(kind, id): (String, String)| format!("- !delete\n  record: !{} {id}\n", kind.replace('_', "-"));
        let text: String = records.into_iter().map(delete).collect();
        if !text.is_empty() {
            let (status, said) = self.server.policy("PATCH", &text);
            assert_eq!(status, 201, "{said}");
        }
        self.server.left(&self.name)
    }
}

impl Drop for Branch<'_> {
    fn drop(&mut self) {
        // After a failure this may fail too, and must not end the whole program then.
        let left = catch_unwind(AssertUnwindSafe(|| self.remove()));
        if !left.is_ok_and(|left| left.is_empty()) {
            let (name, url) = (&self.name, &self.server.url);
            assert!(std::thread::panicking(), "{name} is left at {url}");
            aloud(&format!("{name} is left at {url}"));
        }
    }
}

/// The whole story at this server, with S3, KMS and metadata of a stack whose own Conjur stays idle.
fn journey(server: &Server) {
    let folder = folder();
    let branch = Branch::load(server);
    let layer = branch.name.as_str();
    let stack = Stack::start(Options {
        account: server.account.clone(),
        layers: vec![layer.to_owned()],
        ..Options::new(context_key::HOST_FACTORY)
    });
    let site = Site::with(folder.path(), programs(), stack);
    let there = |text: &str| {
        let text = text.replace(&site.stack.conjur.url(), &server.url);
        let text = text.replace("host/imprint/rotator", &format!("host/{layer}/rotator"));
        let lines = text.lines().filter(|line| server.ca.is_some() || !line.starts_with("ca_file"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    if let Some(ca) = &server.ca {
        write(&site.ca_file(), 0o644, &fs::read_to_string(ca).unwrap());
    }
    write(&folder.path().join("rotator.key"), 0o600, &branch.rotator_key);
    write(&folder.path().join("rotator.toml"), 0o644, &there(&site.rotator_config()));

    let rotated = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    let published = site.stack.published(layer).unwrap();
    let again = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    assert_eq!(site.stack.published(layer).as_ref(), Some(&published), "nothing was due");
    assert_eq!(SealedToken::parse(&published).unwrap().binding().appliance_url.as_str(), server.url);
    let rotator_status = Ran::of(&mut site.rotator(&["status"])).expect(0);

    let machine = site.machine(layer);
    machine.set_config(&there(&machine.config()));
    let enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let (login, key) = machine.identity();
    assert_eq!(login, format!("host/{}", machine.host_id()));
    let verified = Ran::of(&mut machine.imprint(&["verify"])).expect(0);

    let token = server.authenticate(&login, &key).expect("the identity is good");
    let variable = format!("{layer}/password");
    let read = server.send("GET", &server.variable(&variable), Some(&token), "");
    assert_eq!(read, (200, branch.secret.clone()));
    let peers = Peers::here().filter(|_| server.ca.is_some());
    if let Some(peers) = peers {
        assert_eq!(peers.read_with_sdk(&machine, &variable).expect(0).out, format!("{}\n", branch.secret));
        let ran = peers.read_with_ansible(&machine, &variable).expect(0);
        assert_eq!(ran.out, format!("{}\n", branch.secret));
    }

    let before = machine.identity_text();
    machine.imds.clear_log();
    site.stack.s3.clear_log();
    let nothing = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!(machine.identity_text(), before);
    assert_eq!((machine.imds.log().len(), site.stack.s3.log().len()), (0, 0), "a second enroll");

    assert_eq!(site.stack.conjur.log().len(), 0, "another Conjur was asked");
    for ran in [&rotated, &again, &rotator_status, &enrolled, &verified, &nothing] {
        for secret in [&key, &branch.rotator_key, &branch.reaper_key, &server.key, &branch.secret] {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "a secret is told");
        }
    }
    // The reaper finds the host and removes it, and reaches nothing else.
    let reaper = server.authenticate(&format!("host/{layer}/reaper"), &branch.reaper_key).unwrap();
    let (account, id) = (&server.account, machine.host_id());
    let layer_id = web::part(&format!("{layer}/factory"));
    let members = format!("/roles/{account}/layer/{layer_id}?members&kind[]=host");
    let (status, said) = server.send("GET", &members, Some(&reaper), "");
    assert!(status == 200 && said.contains(&id), "{status} {said}");
    let patch = |branch: &str, record: &str| {
        let path = format!("/policies/{account}/policy/{}", web::part(branch));
        server.send("PATCH", &path, Some(&reaper), &format!("- !delete\n  record: {record}\n")).0
    };
    assert_eq!(patch(layer, "!host rotator"), 404);
    let (hosts, id) = (format!("{layer}/hosts"), id.as_str());
    assert_eq!(patch(&hosts, &format!("!host {}", id.strip_prefix(&format!("{hosts}/")).unwrap())), 201);
    assert!(server.authenticate(&login, &key).is_err(), "the host is still there");
    assert_eq!(branch.remove(), [], "left behind");
}

/// A stand-in in a process of strangers: its address and files are all that is handed on.
fn stranger(version: Version, check: impl Fn(&Server, &StandIn<Conjur>)) {
    let folder = folder();
    let ca = Ca::named("somebody else's CA");
    let stand_in = StandIn::start_tls(Conjur::new(version, "acme"), &ca);
    let ca_file = folder.path().join("ca.pem");
    write(&ca_file, 0o644, &ca.pem());
    let server = Server::named(|name| match name {
        "IMPRINT_CONTRACT_URL" => Some(stand_in.url()),
        "IMPRINT_CONTRACT_ACCOUNT" => Some("acme".to_owned()),
        "IMPRINT_CONTRACT_ADMIN_KEY" => Some(stand_in.service().admin_key()),
        "IMPRINT_CONTRACT_CA" => Some(ca_file.display().to_string()),
        _ => None,
    });
    let server = server.unwrap().unwrap();
    let before = stand_in.service().everything();
    check(&server, &stand_in);
    assert_eq!(stand_in.service().everything(), before, "the server is not as it was");
}

#[test]
fn the_journey_at_the_stand_in_as_1_24_0() {
    stranger(Version::V1_24_0, |server, _| journey(server));
}

#[test]
fn the_journey_at_the_stand_in_as_1_22_3() {
    stranger(Version::V1_22_3, |server, _| journey(server));
}

#[test]
fn a_journey_that_breaks_off_leaves_nothing_either() {
    stranger(Version::V1_24_0, |server, stand_in| {
        let no = FaultKind::Status { code: 403, headers: Vec::new(), body: "".into() };
        stand_in.inject(Fault::on("authenticate", no).skip(8));
        let ended = catch_unwind(AssertUnwindSafe(|| journey(server)));
        assert!(ended.is_err(), "the journey came to its end");
        assert!(stand_in.count("redeem") > 0, "it broke off before there was a host");
    });
}

#[test]
fn the_journey_at_the_server_that_the_environment_names() {
    match Server::named(|name| std::env::var(name).ok()).unwrap() {
        Some(server) => journey(&server),
        None => eprintln!("IMPRINT_CONTRACT_URL is not set: the stand-in is all there is"),
    }
}

#[test]
fn the_environment_names_all_or_nothing() {
    let named = |given: &[&str]| {
        Server::named(|name| given.contains(&name).then(|| "https://conjur.example.org/".into()))
    };
    let (url, account) = ("IMPRINT_CONTRACT_URL", "IMPRINT_CONTRACT_ACCOUNT");
    assert!(named(&[]).unwrap().is_none() && named(&[account]).unwrap().is_none());
    assert_eq!(named(&[url]).unwrap_err(), "IMPRINT_CONTRACT_URL is set, IMPRINT_CONTRACT_ACCOUNT is not");
    assert!(named(&[url, account]).unwrap_err().ends_with("_ADMIN_KEY is not"));
    let server = named(&[url, account, "IMPRINT_CONTRACT_ADMIN_KEY"]).unwrap().unwrap();
    assert_eq!((server.url.as_str(), server.login.as_str()), ("https://conjur.example.org", "admin"));
}

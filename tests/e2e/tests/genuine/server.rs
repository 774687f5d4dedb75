//! A Conjur of which only the address, the account, an administrator's key and the certificate are known; and what
//! a test loads there, and takes away again.

use crate::{folder, programs};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imprint_core::sealed::context_key;
use imprint_e2e::peers::aloud;
use imprint_e2e::{Machine, Ran, Site, web, write};
use imprint_stack::ca::Ca;
use imprint_stack::conjur::{Conjur, Version};
use imprint_stack::server::Server as StandIn;
use imprint_stack::{Options, Stack};
use serde_json::Value;
use std::fs;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use tempfile::TempDir;

/// A server, and who may change its root policy.
#[derive(Debug)]
pub struct Server {
    pub url: String,
    pub account: String,
    pub login: String,
    pub key: String,
    pub ca: Option<PathBuf>,
}

impl Server {
    /// The one that the environment names; `None` when there is no URL.
    pub fn named(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
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

    /// The same of this process; says so when there is none, and the stand-in is all there is.
    pub fn of_the_environment() -> Option<Self> {
        let server = Self::named(|name| std::env::var(name).ok()).unwrap();
        if server.is_none() {
            aloud("IMPRINT_CONTRACT_URL is not set: the stand-in is all there is");
        }
        server
    }

    pub fn send(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let trust = web::trust(self.ca.as_deref()).unwrap();
        let mut headers = vec![("Content-Type", "text/plain")];
        headers.extend(token.map(|token| ("Authorization", token)));
        web::send(&trust, method, &format!("{}{path}", self.url), &headers, body).unwrap()
    }

    /// An `Authorization` of this login, or the status of the refusal.
    pub fn authenticate(&self, login: &str, key: &str) -> Result<String, u16> {
        let path = format!("/authn/{}/{}/authenticate", self.account, web::part(login));
        match self.send("POST", &path, None, key) {
            (200, token) => Ok(format!("Token token=\"{}\"", STANDARD.encode(token))),
            (status, _) => Err(status),
        }
    }

    pub fn admin(&self) -> String {
        self.authenticate(&self.login, &self.key).expect("the administrator's key is good")
    }

    pub fn policy(&self, method: &str, text: &str) -> (u16, String) {
        self.send(method, &format!("/policies/{}/policy/root", self.account), Some(&self.admin()), text)
    }

    pub fn variable(&self, id: &str) -> String {
        format!("/secrets/{}/variable/{}", self.account, web::part(id))
    }

    /// Kind and id of everything that is named after a branch, and of what lies beside it under a longer name.
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
                if id.strip_prefix(branch).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '-']))
                {
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

/// Policy branches of a random name: one for who looks after the hosts, and one for each layer. What is in them goes
/// when this does.
pub struct Scene<'a> {
    pub server: &'a Server,
    /// The branch of rotator and reaper, with which the layers' names begin.
    pub name: String,
    pub rotator_key: String,
    pub reaper_key: String,
    /// S3, KMS, EC2 and metadata; the Conjur of this stack stays idle.
    pub site: Site,
    _folder: TempDir,
}

impl<'a> Scene<'a> {
    /// Loads what `imprint-rotator policy` prints for factories of these layers, and a variable for each.
    pub fn load(server: &'a Server, layers: &[&str]) -> Self {
        let random = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let name = format!("imprint-journey-{random}");
        let folder = folder();
        let stack = Stack::start(Options {
            account: server.account.clone(),
            layers: layers.iter().map(|layer| format!("{name}-{layer}")).collect(),
            ..Options::new(context_key::HOST_FACTORY)
        });
        let site = Site::with(folder.path(), programs(), stack);
        let (rotator_key, reaper_key) = (String::new(), String::new());
        let mut scene = Self { server, name, rotator_key, reaper_key, site, _folder: folder };
        scene.prepare();
        scene
    }

    /// A layer of this scene by its short name.
    pub fn layer(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// What the hosts of a layer may read.
    pub fn secret(&self, layer: &str) -> String {
        format!("kept-for-{layer}-alone")
    }

    /// A configuration of the site, for this server.
    pub fn there(&self, text: &str) -> String {
        let text = text.replace(&self.site.stack.conjur.url(), &self.server.url);
        let text = text.replace("host/imprint/", &format!("host/{}/", self.name));
        let lines = text.lines().filter(|line| self.server.ca.is_some() || !line.starts_with("ca_file"));
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// A new instance of a layer that belongs to this server.
    pub fn machine(&self, layer: &str) -> Machine {
        let machine = self.site.machine(&self.layer(layer));
        machine.set_config(&self.there(&machine.config()));
        machine
    }

    fn prepare(&mut self) {
        let (server, name) = (self.server, self.name.clone());
        if let Some(ca) = &server.ca {
            write(&self.site.ca_file(), 0o644, &fs::read_to_string(ca).unwrap());
        }
        write(&self.site.folder().join("rotator.toml"), 0o644, &self.there(&self.site.rotator_config()));
        let printed = Ran::of(&mut self.site.rotator(&["policy"])).expect(0).out;
        let (status, said) = server.policy("POST", &printed);
        assert_eq!(status, 201, "{said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        let key = |host: &str| {
            let host = format!("{}:host:{name}/{host}", server.account);
            said["created_roles"][host]["api_key"].as_str().expect("a key").to_owned()
        };
        (self.rotator_key, self.reaper_key) = (key("rotator"), key("reaper"));
        write(&self.site.folder().join("rotator.key"), 0o600, &self.rotator_key);
        write(&self.site.folder().join("reaper.key"), 0o600, &self.reaper_key);
        let (status, said) = server.policy("POST", &printed);
        let again: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((status, &again["created_roles"]), (201, &Value::Object(serde_json::Map::new())));
        for layer in &self.site.stack.options().layers {
            let (status, said) = server.policy("POST", &self.variable(layer));
            assert_eq!(status, 201, "{said}");
            let variable = server.variable(&self.site.stack.variable(layer));
            let (status, said) = server.send("POST", &variable, Some(&server.admin()), &self.secret(layer));
            assert_eq!(status, 201, "{said}");
        }
    }

    /// What a layer's hosts may read: the one thing that an operator adds.
    fn variable(&self, layer: &str) -> String {
        let (variable, nodes) = (self.site.stack.variable(layer), self.site.stack.nodes(layer));
        format!(
            "\
- !variable {variable}
- !permit
  role: !layer {nodes}
  privileges: [ read, execute ]
  resource: !variable {variable}
"
        )
    }

    /// Deletes all of it; what is still there, if anything.
    pub fn remove(&self) -> Vec<(String, String)> {
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

impl Drop for Scene<'_> {
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

/// A stand-in in a process of strangers: its address and files are all that is handed on.
pub fn stranger(version: Version, check: impl Fn(&Server, &StandIn<Conjur>)) {
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

//! What `imprint-rotator policy` prints, loaded into Conjur: for whatever configuration, the rotator and the
//! reaper may do what they are for, and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use imprint_rotator::config::Config;
use imprint_rotator::conjur_policy::{Ask, policy};
use imprint_stack::conjur::{Conjur, Version};
use imprint_stack::server::Request;
use proptest::prelude::*;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use zeroize::Zeroizing;

/// What is at Conjur before, and none of the rotator's business.
const ELSEWHERE: &str = "
- !user ops
- !policy
  id: elsewhere
  body:
    - !layer nodes
    - !host-factory
      id: factory
      layers: [ !layer nodes ]
    - !variable secret
    - !host machine
";

/// A Conjur that is asked without sockets.
struct Lab {
    conjur: Conjur,
    ops_key: String,
}

impl Lab {
    fn new(version: Version) -> Self {
        let conjur = Conjur::new(version, "prod");
        let ops_key = conjur.load_policy("root", ELSEWHERE).unwrap().remove("prod:user:ops").unwrap();
        assert!(conjur.set_secret("elsewhere/secret", b"of others"));
        Self { conjur, ops_key }
    }

    fn send(&self, method: Method, target: &str, authorization: &str, body: &str) -> (u16, String) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers.insert(CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
        let reply = self.conjur.reply(&Request {
            method,
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: body.to_owned().into(),
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        });
        (reply.status().as_u16(), String::from_utf8_lossy(reply.body()).into_owned())
    }

    fn login(&self, login: &str, key: &str) -> String {
        let path = format!("/authn/prod/{}/authenticate", part(login));
        let (status, token) = self.send(Method::POST, &path, "", key);
        assert_eq!(status, 200, "{login}");
        format!("Token token=\"{}\"", STANDARD.encode(token))
    }

    /// A new token of a factory, or the status of the refusal.
    fn mint(&self, with: &str, factory: &str) -> Result<String, u16> {
        let form = format!(
            "host_factory={}&expiration=2099-01-01T00:00:00Z",
            part(&format!("prod:host_factory:{factory}"))
        );
        match self.send(Method::POST, "/host_factory_tokens", with, &form) {
            (200, said) => {
                Ok(said.split("\"token\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned())
            }
            (status, _) => Err(status),
        }
    }

    fn revoke(&self, with: &str, token: &str) -> u16 {
        self.send(Method::DELETE, &format!("/host_factory_tokens/{token}"), with, "").0
    }

    fn redeem(&self, token: &str, host: &str) -> u16 {
        let with = format!("Token token=\"{token}\"");
        let form = format!("id={}&annotations[authn/api-key]=true", part(host));
        self.send(Method::POST, "/host_factories/hosts", &with, &form).0
    }

    fn patch(&self, with: &str, branch: &str, text: &str) -> u16 {
        self.send(Method::PATCH, &format!("/policies/prod/policy/{}", part(branch)), with, text).0
    }
}

fn part(text: &str) -> String {
    imprint_e2e::web::part(text)
}

/// Names, some of which YAML would take for something else.
fn name() -> impl Strategy<Value = String> {
    let names = ["app", "web", "db", "x.y", "1", "1e3", "true", "No", "-z", "2026-11-22", "a_b"];
    prop::sample::select(names.map(str::to_owned).to_vec())
}

/// The end of the login of a rotator that logs in with an IAM role.
const ROLE: &str = "/123456789012/rotator";

fn id() -> impl Strategy<Value = String> {
    prop::collection::vec(name(), 1..4).prop_map(|parts| parts.join("/"))
}

#[derive(Clone, Debug)]
struct Given {
    login: String,
    factories: Vec<(String, String)>,
    revoke: bool,
    unprivileged: bool,
}

fn given() -> impl Strategy<Value = Given> {
    let host = id().prop_map(|id| format!("host/{id}"));
    let role = id().prop_map(|id| format!("host/{id}{ROLE}"));
    let one = |login: &str| Just(login.to_owned());
    let login = prop_oneof![4 => host, 2 => role, 1 => one("host/a/reaper"), 1 => one("ops")];
    let factories = prop::collection::btree_map(id(), id(), 1..6);
    (login, factories, any::<bool>(), any::<bool>()).prop_map(|(login, factories, revoke, unprivileged)| {
        Given { login, factories: factories.into_iter().collect(), revoke, unprivileged }
    })
}

impl Given {
    fn config(&self) -> Config {
        let mut text = format!(
            "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = {:?}\ndeployment = \"1f2e3d4c\"\n\
             revoke = {}\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n",
            self.login, self.revoke
        );
        if self.login.ends_with(ROLE) {
            text = format!("authn_iam = \"prod\"\n{text}region = \"eu-west-1\"\n");
        }
        for (id, hosts) in &self.factories {
            text.push_str(&format!("[[factory]]\nid = {id:?}\nhosts_branch = {hosts:?}\n"));
        }
        Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap_or_else(|e| panic!("{e}\n{text}"))
    }

    fn hold(&self, version: Version) {
        let lab = Lab::new(version);
        let config = self.config();
        let ask = Ask { unprivileged: self.unprivileged, ..Ask::default() };
        let text = policy(&config, &ask).unwrap();
        let before: BTreeSet<String> = lab.conjur.everything().into_iter().collect();
        // Where hosts must say that they have an API key, and where not.
        lab.conjur.configure(|settings| settings.api_key_default = self.revoke);
        let created = lab.conjur.load_policy("root", &text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        // A second time changes nothing.
        let loaded = lab.conjur.everything();
        assert!(lab.conjur.load_policy("root", &text).unwrap().is_empty());
        assert_eq!(lab.conjur.everything(), loaded);
        assert!(before.iter().all(|id| loaded.contains(id)));

        let (reaper, reaper_key) =
            created.iter().find(|(id, _)| id.ends_with("reaper") && *id != &self.full_login()).unwrap();
        let reaper = lab.login(&format!("host/{}", reaper.trim_start_matches("prod:host:")), reaper_key);
        let rotator_key = match self.login.as_str() {
            "ops" => lab.ops_key.clone(),
            _ => created.get(&self.full_login()).unwrap().clone(),
        };
        assert_eq!(created.len(), if self.login == "ops" { 1 } else { 2 });
        let rotator = lab.login(&self.login, &rotator_key);
        let service =
            "/resources/prod/webservice/conjur%2Fauthn-iam%2Fprod?check=true&privilege=authenticate";
        let may_log_in = lab.send(Method::GET, service, &rotator, "").0 == 204;
        assert_eq!(may_log_in, self.login.ends_with(ROLE));

        for (at, (factory, hosts)) in self.factories.iter().enumerate() {
            let token =
                lab.mint(&rotator, factory).unwrap_or_else(|status| panic!("{status}: {factory}\n{text}"));
            let host = format!("{hosts}/123456789012/i-{at}");
            assert_eq!(lab.redeem(&token, &host), 201);
            assert_eq!(lab.conjur.layers_of(&host), std::slice::from_ref(factory));
            assert_eq!(lab.revoke(&rotator, &token), if self.revoke { 204 } else { 403 });

            let members = format!("/roles/prod/layer/{}?members&kind[]=host", part(factory));
            let (status, said) = lab.send(Method::GET, &members, &reaper, "");
            assert!(status == 200 && said.contains(&host), "{status} {said}");
            let delete = format!("- !delete\n  record: !host 123456789012/i-{at}\n");
            assert_eq!(lab.patch(&rotator, hosts, &delete), 404, "the rotator deletes a host");
            assert_eq!(lab.mint(&reaper, factory), Err(404), "the reaper mints");
            assert_eq!(lab.patch(&reaper, hosts, &delete), 201);
            assert_eq!(lab.conjur.key_of(&host), None);
        }
        let foreign = lab.conjur.add_token("elsewhere/factory", 4_000_000_000, &[]).unwrap();
        for who in [&rotator, &reaper] {
            assert_eq!(lab.send(Method::GET, "/secrets/prod/variable/elsewhere%2Fsecret", who, "").0, 404);
            assert_eq!(lab.mint(who, "elsewhere/factory"), Err(404));
            assert_eq!(lab.revoke(who, &foreign), 404);
            for branch in ["root", "elsewhere"] {
                assert_eq!(lab.patch(who, branch, "- !variable planted\n"), 404);
                assert_eq!(lab.patch(who, branch, "- !delete\n  record: !host machine\n"), 404);
            }
            let members = "/roles/prod/layer/elsewhere%2Fnodes?members";
            assert_ne!(lab.send(Method::GET, members, who, "").0, 200);
        }
    }

    fn full_login(&self) -> String {
        format!("prod:host:{}", self.login.trim_start_matches("host/"))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_loads_and_permits_what_is_needed_and_no_more(given in given()) {
        for version in [Version::V1_22_3, Version::V1_24_0] {
            given.hold(version);
        }
    }
}

/// The contract suite loads it into a genuine server, and asks what it permits there.
#[test]
fn the_contract_suite_has_what_is_printed() {
    let given = Given {
        login: "host/BRANCH/printed/rotator".to_owned(),
        factories: vec![("BRANCH/printed/web".to_owned(), "BRANCH/printed/hosts".to_owned())],
        revoke: true,
        unprivileged: false,
    };
    let ask = Ask { branch: Some("BRANCH".parse().unwrap()), ..Ask::default() };
    let cases = crate::docs::document("tests/contract/cases/14-printed.toml");
    let case = cases.split("body = '''\n").nth(1).unwrap().split("'''").next().unwrap();
    let case = case.replace("${branch}", "BRANCH").replace("${account}", "prod");
    assert_eq!(case, policy(&given.config(), &ask).unwrap());
}

#[test]
fn the_parts_of_two_branches_make_the_whole() {
    let given = Given {
        login: "host/imprint/rotator".to_owned(),
        factories: vec![
            ("app/web".to_owned(), "app/hosts".to_owned()),
            ("app/db".to_owned(), "app/hosts".to_owned()),
        ],
        revoke: true,
        unprivileged: false,
    };
    let config = given.config();
    let whole = Lab::new(Version::V1_24_0);
    whole.conjur.load_policy("root", &policy(&config, &Ask::default()).unwrap()).unwrap();
    let parts = Lab::new(Version::V1_24_0);
    parts.conjur.load_policy("root", "- !policy app\n- !policy imprint\n").unwrap();
    let mut keys = std::collections::BTreeMap::new();
    for branch in ["imprint", "app"] {
        let ask = Ask { branch: Some(branch.parse().unwrap()), ..Ask::default() };
        keys.extend(parts.conjur.load_policy(branch, &policy(&config, &ask).unwrap()).unwrap());
    }
    assert_eq!(parts.conjur.everything(), whole.conjur.everything());
    let rotator = parts.login("host/imprint/rotator", &keys["prod:host:imprint/rotator"]);
    let token = parts.mint(&rotator, "app/db").unwrap();
    assert_eq!((parts.redeem(&token, "app/hosts/i-1"), parts.revoke(&rotator, &token)), (201, 204));
    let reaper = parts.login("host/imprint/reaper", &keys["prod:host:imprint/reaper"]);
    assert_eq!(parts.patch(&reaper, "app/hosts", "- !delete\n  record: !host i-1\n"), 201);
    assert_eq!(parts.patch(&reaper, "app", "- !delete\n  record: !host-factory web\n"), 404);
}

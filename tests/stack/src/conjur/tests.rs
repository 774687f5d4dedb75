//! The stand-in by itself, without a socket: what the recordings show of concurrency and of time, and what tests may do to it.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::Value;

use super::{Conjur, Version};
use crate::server::{Request, Response};

const POLICY: &str = "
- !policy
  id: app
  body:
  - !policy hosts
  - !layer
  - !variable password
  - !host-factory { id: web, layers: [ !layer ] }
  - !host-factory { id: other, layers: [ !layer ] }
  - !host rotator
  - !permit { role: !host rotator, privileges: [ execute ], resource: !host-factory web }
  - !permit { role: !layer , privileges: [ read, execute ], resource: !variable password }
";

struct Lab {
    conjur: Conjur,
}

impl Lab {
    fn new() -> Self {
        let conjur = Conjur::new(Version::V1_24_0, "dev");
        conjur.load_policy("root", POLICY).unwrap();
        assert!(conjur.set_secret("app/password", b"s3cret"));
        Self { conjur }
    }

    fn send(&self, method: Method, target: &str, authorization: &str, body: &str) -> (u16, String) {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
        if !authorization.is_empty() {
            headers.insert("authorization", authorization.parse().unwrap());
        }
        let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let (path, query) = (path.to_owned(), query.to_owned());
        let response: Response = self.conjur.reply(&Request {
            method,
            path,
            query,
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
            peer,
        });
        (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned())
    }

    /// The `Authorization` value of a login, or the status of the refusal.
    fn authenticate(&self, login: &str, key: &str) -> Result<String, u16> {
        let path = format!("/authn/dev/{}/authenticate", login.replace('/', "%2F"));
        let (status, token) = self.send(Method::POST, &path, "", key);
        if status == 200 { Ok(format!("Token token=\"{}\"", STANDARD.encode(token))) } else { Err(status) }
    }

    fn admin(&self) -> String {
        self.authenticate("admin", &self.conjur.admin_key()).unwrap()
    }

    fn mint(&self, factory: &str, seconds: i64) -> String {
        let until = super::calendar::zulu(self.conjur.now() + seconds);
        let body = format!("host_factory=dev:host_factory:{factory}&expiration={until}");
        let (status, body) = self.send(Method::POST, "/host_factory_tokens", &self.admin(), &body);
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).unwrap();
        body[0]["token"].as_str().unwrap().to_owned()
    }

    fn redeem(&self, token: &str, id: &str) -> Result<String, u16> {
        let header = format!("Token token=\"{token}\"");
        let (status, body) = self.send(Method::POST, "/host_factories/hosts", &header, &format!("id={id}"));
        if status != 201 {
            return Err(status);
        }
        let body: Value = serde_json::from_str(&body).unwrap();
        Ok(body["api_key"].as_str().unwrap().to_owned())
    }
}

#[test]
fn of_many_redeems_at_once_one_key_works() {
    let lab = Lab::new();
    let token = lab.mint("app/web", 60);
    let keys: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..50).map(|_| scope.spawn(|| lab.redeem(&token, "app/hosts/same"))).collect();
        clients.into_iter().filter_map(|client| client.join().unwrap().ok()).collect()
    });
    assert!(keys.len() >= 43, "{}", keys.len());
    let working = keys.iter().filter(|key| lab.authenticate("host/app/hosts/same", key).is_ok()).count();
    assert_eq!(working, 1);
}

#[test]
fn a_second_redeem_kills_the_first_key_but_not_its_access_token() {
    let lab = Lab::new();
    let token = lab.mint("app/web", 60);
    let first = lab.redeem(&token, "app/hosts/a").unwrap();
    let access = lab.authenticate("host/app/hosts/a", &first).unwrap();
    let second = lab.redeem(&token, "app/hosts/a").unwrap();
    assert_eq!(lab.authenticate("host/app/hosts/a", &first), Err(401));
    assert!(lab.authenticate("host/app/hosts/a", &second).is_ok());
    assert_eq!(
        lab.send(Method::GET, "/secrets/dev/variable/app%2Fpassword", &access, ""),
        (200, "s3cret".into())
    );
}

#[test]
fn the_clock_expires_both_kinds_of_token() {
    let lab = Lab::new();
    let token = lab.mint("app/web", 60);
    let key = lab.redeem(&token, "app/hosts/a").unwrap();
    let access = lab.authenticate("host/app/hosts/a", &key).unwrap();
    assert_eq!(lab.conjur.live_tokens("app/web"), 1);
    lab.conjur.advance(Duration::from_secs(61));
    assert_eq!(lab.redeem(&token, "app/hosts/a"), Err(401));
    assert_eq!(lab.conjur.live_tokens("app/web"), 0);
    assert_eq!(lab.conjur.tokens("app/web").len(), 1, "an expired token stays until somebody deletes it");
    assert_eq!(lab.send(Method::GET, "/whoami", &access, "").0, 200);
    lab.conjur.advance(Duration::from_secs(420));
    assert_eq!(lab.send(Method::GET, "/whoami", &access, ""), (401, "Unauthorized: Invalid token".into()));
}

#[test]
fn deleting_a_factory_takes_its_tokens_and_the_use_of_its_hosts() {
    let lab = Lab::new();
    let token = lab.mint("app/web", 60);
    let key = lab.redeem(&token, "app/hosts/a").unwrap();
    lab.conjur.patch_policy("app", "- !delete { record: !host-factory web }").unwrap();
    assert_eq!(lab.redeem(&token, "app/hosts/b"), Err(401));
    assert_eq!(lab.authenticate("host/app/hosts/a", &key), Err(401));
    assert_eq!(lab.conjur.hosts(), ["app/rotator"]);
    let other = lab.mint("app/other", 60);
    assert_eq!(lab.redeem(&other, "app/hosts/a"), Err(403), "the role is left without its resource");
    lab.conjur.patch_policy("app/hosts", "- !delete { record: !host a }").unwrap();
    assert!(lab.redeem(&other, "app/hosts/a").is_ok());
}

#[test]
fn hosts_of_one_factory_are_out_of_reach_of_the_tokens_of_another() {
    let lab = Lab::new();
    let (web, other) = (lab.mint("app/web", 60), lab.mint("app/other", 60));
    let key = lab.redeem(&web, "app/hosts/a").unwrap();
    assert_eq!(lab.redeem(&other, "app/hosts/a"), Err(403));
    assert_eq!(lab.redeem(&web, "app/rotator"), Err(403));
    assert!(lab.authenticate("host/app/hosts/a", &key).is_ok());
}

#[test]
fn a_factory_made_host_can_be_pinned_to_an_address() {
    let lab = Lab::new();
    let token = lab.mint("app/web", 60);
    let key = lab.redeem(&token, "app/hosts/a").unwrap();
    let pin = "- !host { id: a, restricted_to: [ 10.0.0.5/32 ] }";
    assert_eq!(lab.conjur.patch_policy("app/hosts", pin), Ok(std::collections::BTreeMap::new()));
    assert_eq!(lab.authenticate("host/app/hosts/a", &key), Err(401));
    let key = lab.redeem(&token, "app/hosts/a").unwrap();
    assert_eq!(lab.authenticate("host/app/hosts/a", &key), Err(401), "a rotated key is pinned too");
    lab.conjur.patch_policy("app/hosts", "- !host a").unwrap();
    assert!(lab.authenticate("host/app/hosts/a", &key).is_ok());
    let created = lab
        .conjur
        .patch_policy("app/hosts", "- !host { id: absent, restricted_to: [ 10.0.0.5/32 ] }")
        .unwrap();
    assert_eq!(created.keys().collect::<Vec<_>>(), ["dev:host:app/hosts/absent"], "an absent id is created");
}

#[test]
fn a_backup_brings_the_old_world_back() {
    let lab = Lab::new();
    let token = lab.mint("app/web", 60);
    let key = lab.redeem(&token, "app/hosts/a").unwrap();
    let backup = lab.conjur.backup();
    let newer = lab.redeem(&token, "app/hosts/a").unwrap();
    lab.redeem(&token, "app/hosts/b").unwrap();
    lab.conjur.restore(&backup);
    assert!(lab.authenticate("host/app/hosts/a", &key).is_ok());
    assert_eq!(lab.authenticate("host/app/hosts/a", &newer), Err(401));
    assert_eq!(lab.conjur.hosts(), ["app/hosts/a", "app/rotator"]);
    assert_eq!(lab.conjur.drop_tokens("app/web"), 1);
    assert_eq!(lab.redeem(&token, "app/hosts/b"), Err(401));
}

#[test]
fn an_outage_is_500_and_never_401() {
    let lab = Lab::new();
    let token = lab.mint("app/web", 60);
    let admin = lab.admin();
    lab.conjur.configure(|settings| settings.database_down = true);
    assert_eq!(lab.redeem(&token, "app/hosts/a"), Err(500));
    assert_eq!(lab.authenticate("admin", "wrong"), Err(500));
    assert_eq!(lab.send(Method::GET, "/whoami", "", "").0, 500);
    assert_eq!(lab.send(Method::GET, "/whoami", &admin, "").0, 500);
    lab.conjur.configure(|settings| settings.database_down = false);
    assert!(lab.redeem(&token, "app/hosts/a").is_ok());
}

#[test]
fn a_dry_run_changes_nothing() {
    let lab = Lab::new();
    let admin = lab.admin();
    let load =
        |text: &str| lab.send(Method::POST, "/policies/dev/policy/app%2Fhosts?dryRun=true", &admin, text).0;
    assert_eq!(load("- !host a"), 200);
    assert_eq!(load("- !hots a"), 422);
    assert_eq!(lab.conjur.hosts(), ["app/rotator"]);
}

#[test]
fn requests_have_names() {
    let check = |method: Method, target: &str, name: &str| {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let request = Request {
            method,
            path: path.into(),
            query: query.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            peer,
        };
        assert_eq!(super::routes::name(&request), name, "{target}");
    };
    check(Method::GET, "/authn/dev/login", "login");
    check(Method::POST, "/authn/dev/host%2Fa/authenticate", "authenticate");
    check(Method::PUT, "/authn/dev/api_key?role=host:a", "rotate_key");
    check(Method::POST, "/host_factory_tokens", "mint");
    check(Method::DELETE, "/host_factory_tokens/abc", "revoke");
    check(Method::POST, "/host_factories/hosts", "redeem");
    check(Method::PATCH, "/policies/dev/policy/app%2Fhosts", "policy");
    check(Method::GET, "/resources/dev/host_factory", "list_factories");
    check(Method::GET, "/resources/dev/host_factory/app%2Fweb", "resource");
    check(Method::GET, "/roles/dev/layer/app?members", "roles");
    check(Method::GET, "/secrets/dev/variable/a", "secret");
    check(Method::GET, "/secrets?variable_ids=a", "secrets_batch");
    check(Method::GET, "/whoami", "whoami");
    check(Method::GET, "/", "info");
    check(Method::GET, "/nope", "other");
}

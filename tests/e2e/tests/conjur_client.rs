//! core's Conjur client against the stand-in, over TLS: the good path, each refusal, each fault.

use imprint_core::caller::{Caller, RunId};
use imprint_core::conjur::{Conjur, Error, Mint, Revoked, Role};
use imprint_core::door::{CaBundle, Door, Trust};
use imprint_core::error::chain;
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, ApiKey, Token};
use imprint_core::{Class, Classified};
use imprint_stack::ca::Ca;
use imprint_stack::conjur::Health;
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::{Options, Stack};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn stack() -> Stack {
    Stack::start(Options::new("imprint:host_factory"))
}

fn client(stack: &Stack, ca: &str) -> Conjur {
    let trust = Trust::Only(CaBundle::from_pem(ca).unwrap());
    let caller = Caller::new("imprint-e2e/0.1.0", "client", &RunId::draw(Second::now()));
    let (url, account) = (stack.conjur.url().parse().unwrap(), "demo".parse().unwrap());
    Conjur::new(Door::new(&trust).unwrap(), url, account, caller)
}

fn key(text: &str) -> ApiKey {
    ApiKey::new(Zeroizing::new(text.to_owned())).unwrap()
}

fn ok<T>(result: Result<T, Error>) -> T {
    result.unwrap_or_else(|e| panic!("{}", chain(&e)))
}

async fn rotator(stack: &Stack, conjur: &Conjur) -> AccessToken {
    let (login, api_key) = stack.rotator_login();
    ok(conjur.authenticate(&login, &key(&api_key)).await)
}

async fn minted(conjur: &Conjur, with: &AccessToken, factory: &FactoryId, cidr: &[IpNet]) -> Token {
    let now = Second::now();
    let expires_at = now.plus(Duration::from_secs(3600));
    let mut tokens = ok(conjur.mint(with, &Mint { factory, expires_at, cidr, count: 1, now }).await);
    tokens.remove(0).token
}

#[test]
fn the_health_of_an_enterprise_server_and_of_one_that_tells_none() {
    let stack = stack();
    let conjur = client(&stack, &stack.ca.pem());
    let ask = || ok(block_on(conjur.health()));
    assert_eq!(ask(), None);
    stack
        .conjur
        .service()
        .configure(|s| s.health = Some(Health::Leader { position: 5000, lags: vec![0, 120] }));
    let leader = ask().unwrap();
    assert_eq!((leader.ok, leader.role, leader.lag_bytes), (true, Role::Leader, Some(120)));
    stack.conjur.service().configure(|s| s.health = Some(Health::Follower { position: 4000 }));
    let follower = ask().unwrap();
    assert_eq!((follower.role, follower.behind(&leader)), (Role::Follower, Some(1000)));
    stack.conjur.service().configure(|s| s.health = Some(Health::Unwell));
    assert_eq!(ask().map(|health| (health.ok, health.role)), Some((false, Role::Unknown)));
}

#[test]
fn the_whole_life_of_a_token_and_a_host() {
    let stack = stack();
    let conjur = client(&stack, &stack.ca.pem());
    block_on(async {
        conjur.open().await;
        let session = rotator(&stack, &conjur).await;
        assert_eq!(ok(conjur.whoami(&session).await).username, "host/imprint/rotator");

        let factory: FactoryId = "web/factory".parse().unwrap();
        let cidr = ["0.0.0.0/0", "::/0", "2001:db8:1:2:3:4:5:6/128"].map(|net| net.parse().unwrap());
        let token = minted(&conjur, &session, &factory, &cidr).await;
        let listed = ok(conjur.list_factories(&session, |_| true).await);
        let web = listed.iter().find(|f| f.id == factory).expect("the factory is listed");
        assert_eq!(web.tokens.len(), 1);
        assert_eq!(
            (web.tokens[0].token.expose(), web.tokens[0].cidr.as_slice()),
            (token.expose(), cidr.as_slice())
        );

        let id = "web/hosts/123456789012/eu-west-1/i-0abc".parse().unwrap();
        let annotations = BTreeMap::from([("instance [x]".to_owned(), "a&b=c é".to_owned())]);
        let first = ok(conjur.redeem(&token, &id, &annotations).await);
        assert_eq!(first.id, "demo:host:web/hosts/123456789012/eu-west-1/i-0abc");
        assert_eq!(first.owner, "demo:host_factory:web/factory");
        let second = ok(conjur.redeem(&token, &id, &BTreeMap::new()).await);
        assert!(!first.api_key.same_as(&second.api_key), "a second redeem gives a new key");
        assert!(ok_err(conjur.authenticate(&id.login(), &first.api_key).await).is_unauthorized());

        let session_of_host = ok(conjur.authenticate(&id.login(), &second.api_key).await);
        assert!(ok(conjur.may(&session_of_host, "execute", "variable", "web/password").await));
        assert!(!ok(conjur.may(&session_of_host, "execute", "variable", "db/password").await));
        let third = ok(conjur.rotate_own_key(&id.login(), &second.api_key).await);
        assert!(ok_err(conjur.rotate_own_key(&id.login(), &second.api_key).await).is_unauthorized());
        ok(conjur.authenticate(&id.login(), &third).await);

        assert_eq!(ok(conjur.revoke(&session, &token).await), Revoked::Now);
        assert_eq!(ok(conjur.revoke(&session, &token).await), Revoked::WasGone);
        let dead = ok_err(conjur.redeem(&token, &id, &BTreeMap::new()).await);
        assert_eq!((dead.status(), dead.class()), (Some(401), Class::Refused));
    });
    let annotations = stack.conjur.service().annotations_of("web/hosts/123456789012/eu-west-1/i-0abc");
    assert_eq!(annotations.get("authn/api-key").map(String::as_str), Some("true"));
    for request in stack.conjur.log().iter().filter(|r| matches!(r.method.as_str(), "POST" | "PUT")) {
        assert!(request.headers.contains_key("content-type"), "{} has no Content-Type", request.name);
    }
    assert_eq!(stack.conjur.connections(), 1, "the connection opened ahead serves every call");
}

fn ok_err<T>(result: Result<T, Error>) -> Error {
    result.err().expect("it should have failed")
}

/// One fault at `redeem`: the class it has, whether the server may have acted, what it says.
fn check(fault: FaultKind, class: Class, unknown: bool, say: &str) {
    let stack = stack();
    let conjur = client(&stack, &stack.ca.pem());
    block_on(async {
        let session = rotator(&stack, &conjur).await;
        let token = minted(&conjur, &session, &"web/factory".parse().unwrap(), &[]).await;
        stack.conjur.inject(Fault::on("redeem", fault.clone()));
        let error = ok_err(conjur.redeem(&token, &"web/hosts/x".parse().unwrap(), &BTreeMap::new()).await);
        let text = format!("{} {error:?}", chain(&error));
        assert_eq!((error.class(), error.is_unknown_outcome()), (class, unknown), "{fault:?}: {text}");
        assert!(text.contains(say), "{fault:?}: {text} should say {say:?}");
        assert!(!text.contains(token.expose()) && !text.contains("SECRET"), "{text}");
        // The connection is usable, or a new one is made: the next call is not harmed.
        ok(conjur.redeem(&token, &"web/hosts/x".parse().unwrap(), &BTreeMap::new()).await);
    });
}

#[test]
fn faults_of_a_redeem() {
    let status = |code, headers: &[(&str, &str)], body: &'static str| FaultKind::Status {
        code,
        headers: headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        body: body.into(),
    };
    check(FaultKind::Reset, Class::Transient, true, "broke before the answer");
    check(FaultKind::LostReply, Class::Transient, true, "broke before the answer");
    check(FaultKind::Truncate(40), Class::Transient, true, "broke before the answer");
    check(FaultKind::Body("<html>SECRET".into()), Class::Protocol, true, "not the JSON");
    check(FaultKind::Body(vec![b'x'; 70_000].into()), Class::Protocol, true, "more than 65536 bytes");
    check(FaultKind::Raw("SSH-2.0-OpenSSH_9.2\r\n".into()), Class::Transient, true, "broke");
    check(status(503, &[("retry-after", "7")], "<html>SECRET"), Class::Transient, true, "503");
    check(status(302, &[("location", "http://127.0.0.1:1/")], ""), Class::Protocol, false, "302");
    check(status(403, &[], ""), Class::Refused, false, "403");
    check(status(200, &[], "{}"), Class::Protocol, false, "200");
}

#[test]
fn a_server_of_another_authority_never_sees_the_token() {
    let stack = stack();
    let conjur = client(&stack, &Ca::named("somebody else").pem());
    let error = block_on(conjur.authenticate("host/x", &key("0123456789abcdef"))).err().expect("refused");
    assert_eq!((error.class(), error.is_unknown_outcome()), (Class::Refused, false), "{}", chain(&error));
    assert!(error.hint().is_some_and(|h| h.contains("ca_file")), "{:?}", error.hint());
    assert!(stack.conjur.log().is_empty(), "a request reached the server");
}

#[test]
fn nobody_listens() {
    let stack = stack();
    let conjur = client(&stack, &stack.ca.pem());
    stack.conjur.pause();
    let error = block_on(conjur.authenticate("host/x", &key("0123456789abcdef"))).err().expect("refused");
    assert_eq!((error.class(), error.is_unknown_outcome()), (Class::Transient, false), "{}", chain(&error));
}

#[test]
fn version_1_22_3_answers_200_to_a_mint_that_it_should_refuse() {
    let options = Options { version: imprint_stack::conjur::Version::V1_22_3, ..Options::new("x") };
    let stack = Stack::start(options);
    let conjur = client(&stack, &stack.ca.pem());
    block_on(async {
        let session = rotator(&stack, &conjur).await;
        let (factory, now) = ("web/factory".parse().unwrap(), Second::now());
        let ask = |count, expires_at| Mint { factory: &factory, expires_at, cidr: &[], count, now };
        let none = ok_err(conjur.mint(&session, &ask(0, now.plus(Duration::from_secs(60)))).await);
        let dead = ok_err(conjur.mint(&session, &ask(1, now.minus(Duration::from_secs(60)))).await);
        assert_eq!((dead.class(), dead.is_unknown_outcome()), (Class::Protocol, true), "{dead}");
        assert!(none.to_string().contains("has 0 tokens"), "{none}");
    });
}

//! The whole story by hand: mint, seal, publish; then session, fetch, unseal, redeem, log in.

use crate::client::{Call, Reply};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use imprint_stack::aws::Keys;
use imprint_stack::imds::Imds;
use imprint_stack::server::Server;
use imprint_stack::{Options, Stack};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

const CONTEXT_KEY: &str = "test:factory";

fn json_of(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn conjur(stack: &Stack, method: &'static str, path: &str, token: Option<&str>, body: &str) -> Reply {
    let mut call = Call::new(stack.conjur.port(), method, path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    if let Some(token) = token {
        call = call.header("authorization", &format!("Token token=\"{token}\""));
    }
    call.send_tls(&stack.ca)
}

/// An access token in base64, as the Authorization header wants it.
fn log_in(stack: &Stack, login: &str, key: &str) -> String {
    let login = login.replace('/', "%2F");
    let reply = conjur(stack, "POST", &format!("/authn/demo/{login}/authenticate"), None, key);
    assert_eq!(reply.status, 200, "{reply:?}");
    BASE64_STANDARD.encode(reply.body)
}

fn kms(stack: &Stack, keys: &Keys, operation: &str, body: &Value) -> Reply {
    Call::new(stack.kms.port(), "POST", "/")
        .header("x-amz-target", &format!("TrentService.{operation}"))
        .body(body.to_string())
        .sign(keys, "eu-west-1", "kms", stack.credentials.clock().now())
        .send()
}

fn s3(stack: &Stack, keys: &Keys, method: &'static str, layer: &str, body: &str) -> Reply {
    let path = format!("/imprint-tokens/{}", stack.object_key(layer));
    Call::new(stack.s3.port(), method, &path)
        .body(body)
        .sign(keys, "eu-west-1", "s3", stack.credentials.clock().now())
        .send()
}

/// What the rotator does.
fn publish(stack: &Stack, layer: &str) {
    let (login, key) = stack.rotator_login();
    let access = log_in(stack, &login, &key);
    let expires = stack.credentials.clock().now() + SignedDuration::from_hours(1);
    let body = format!(
        "expiration={}&host_factory=demo%3Ahost_factory%3A{}",
        expires.strftime("%Y-%m-%dT%H%%3A%M%%3A%SZ"),
        stack.factory(layer).replace('/', "%2F")
    );
    let minted = conjur(stack, "POST", "/host_factory_tokens", Some(&access), &body);
    assert_eq!(minted.status, 200, "{minted:?}");
    let token = text(&json_of(&minted)[0]["token"]);
    let keys = stack.session("rotator");
    let body = json!({
        "KeyId": "alias/imprint",
        "Plaintext": BASE64_STANDARD.encode(token),
        "EncryptionContext": { CONTEXT_KEY: stack.factory(layer) },
    });
    let sealed = text(&json_of(&kms(stack, &keys, "Encrypt", &body))["CiphertextBlob"]);
    assert_eq!(s3(stack, &keys, "PUT", layer, &sealed).status, 200);
}

/// The session that an instance gets from its IMDS.
fn session(imds: &Server<Imds>, role: &str) -> Keys {
    let token = Call::new(imds.port(), "PUT", "/latest/api/token")
        .header("x-aws-ec2-metadata-token-ttl-seconds", "60")
        .send()
        .body;
    let path = format!("/latest/meta-data/iam/security-credentials/{role}");
    let reply = Call::new(imds.port(), "GET", &path).header("x-aws-ec2-metadata-token", &token).send();
    let document = json_of(&reply);
    Keys {
        access_key: text(&document["AccessKeyId"]),
        secret: text(&document["SecretAccessKey"]),
        session_token: Some(text(&document["Token"])),
        expires: None::<Timestamp>,
    }
}

fn unseal(stack: &Stack, keys: &Keys, layer: &str, blob: &str) -> Reply {
    let context = json!({ CONTEXT_KEY: stack.factory(layer) });
    kms(stack, keys, "Decrypt", &json!({ "CiphertextBlob": blob, "EncryptionContext": context }))
}

#[test]
fn an_instance_enrolls_into_its_own_layer_alone() {
    let stack = Stack::start(Options::new(CONTEXT_KEY));
    publish(&stack, "web");
    publish(&stack, "db");
    let imds = stack.instance("web");
    let keys = session(&imds, &stack.role("web"));

    // The other layer's token is out of reach, both where it lies and where it is sealed.
    assert_eq!(s3(&stack, &keys, "GET", "db", "").status, 403);
    let other = String::from_utf8(stack.published("db").unwrap().to_vec()).unwrap();
    let denied = unseal(&stack, &keys, "db", &other);
    assert_eq!(json_of(&denied)["__type"], "AccessDeniedException");
    assert_eq!(s3(&stack, &keys, "PUT", "web", "planted").status, 403);

    let blob = s3(&stack, &keys, "GET", "web", "").body;
    let opened = text(&json_of(&unseal(&stack, &keys, "web", &blob))["Plaintext"]);
    let token = String::from_utf8(BASE64_STANDARD.decode(opened).unwrap()).unwrap();
    let host = format!("{}/{}", stack.hosts_branch("web"), imds.service().instance().id);
    let body = format!("id={}", host.replace('/', "%2F"));
    let redeemed = conjur(&stack, "POST", "/host_factories/hosts", Some(&token), &body);
    assert_eq!(redeemed.status, 201, "{redeemed:?}");
    assert_eq!(stack.conjur.service().layers_of(&host), ["web/nodes"]);

    let key = text(&json_of(&redeemed)["api_key"]);
    let access = log_in(&stack, &format!("host/{host}"), &key);
    let read = |layer: &str| {
        let variable = stack.variable(layer).replace('/', "%2F");
        conjur(&stack, "GET", &format!("/secrets/demo/variable/{variable}"), Some(&access), "")
    };
    assert_eq!(read("web").body, stack.secret("web"));
    assert_ne!(read("db").status, 200);
}

#[test]
fn time_moves_for_all_servers_together() {
    let stack = Stack::start(Options::new(CONTEXT_KEY));
    publish(&stack, "web");
    let factory = stack.factory("web");
    let imds = stack.instance("web");
    let role = stack.role("web");
    let before = session(&imds, &role);
    assert_eq!(stack.conjur.service().live_tokens(&factory), 1);
    stack.advance(Duration::from_secs(7 * 3600));
    assert_eq!(stack.conjur.service().live_tokens(&factory), 0);
    assert_eq!(s3(&stack, &before, "GET", "web", "").status, 400);
    assert_eq!(s3(&stack, &session(&imds, &role), "GET", "web", "").status, 200);
    publish(&stack, "web");
    assert_eq!(stack.conjur.service().live_tokens(&factory), 1);
}

#[test]
fn the_environment_leads_an_sdk_here() {
    let stack = Stack::start(Options::new(CONTEXT_KEY));
    let keys = stack.session("operator");
    let names = |keys| stack.environment(keys).into_iter().map(|(n, _)| n).collect::<Vec<_>>();
    assert_eq!(
        names(None),
        [
            "AWS_ENDPOINT_URL_S3",
            "AWS_ENDPOINT_URL_KMS",
            "AWS_ENDPOINT_URL_EC2",
            "AWS_ENDPOINT_URL_STS",
            "AWS_REGION"
        ]
    );
    assert_eq!(names(Some(&keys))[5..], ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]);
    assert_eq!(stack.environment(None)[0].1, stack.s3.url());
    assert_eq!(s3(&stack, &keys, "PUT", "web", "x").status, 200);
    assert_eq!(stack.published("web").unwrap(), "x");
}

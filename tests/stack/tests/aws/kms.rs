//! KMS: seal, unseal, and each way to be refused.

use crate::client::{Call, Reply};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use imprint_stack::aws::{Credentials, Keys, Policy};
use imprint_stack::clock::Clock;
use imprint_stack::fault::Fault;
use imprint_stack::kms::{Kms, failure};
use imprint_stack::server::Server;
use jiff::SignedDuration;
use serde_json::{Value, json};

const REGION: &str = "eu-west-1";

struct Bench {
    kms: Server<Kms>,
    clock: Clock,
    credentials: Credentials,
    root: Keys,
    key: String,
}

fn bench() -> Bench {
    let clock = Clock::new();
    let credentials = Credentials::new("123456789012", clock.clone());
    credentials.set_policy("root", Policy::everything());
    let root = credentials.user("root");
    let kms = Kms::new(credentials.clone(), REGION);
    let key = kms.add_key();
    kms.add_alias("alias/imprint", &key);
    Bench { kms: Server::start(kms), clock, credentials, root, key }
}

impl Bench {
    fn call(&self, operation: &str, body: &Value) -> Call {
        Call::new(self.kms.port(), "POST", "/")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", &format!("TrentService.{operation}"))
            .body(body.to_string())
    }

    fn send_as(&self, keys: &Keys, operation: &str, body: Value) -> Reply {
        self.call(operation, &body).sign(keys, REGION, "kms", self.clock.now()).send()
    }

    fn send(&self, operation: &str, body: Value) -> Reply {
        self.send_as(&self.root, operation, body)
    }

    /// A blob of `hello` for this factory.
    fn sealed(&self, factory: &str) -> String {
        let reply = self.send(
            "Encrypt",
            json!({ "KeyId": self.key, "Plaintext": HELLO, "EncryptionContext": { "factory": factory } }),
        );
        assert_eq!(reply.status, 200, "{reply:?}");
        json_of(&reply)["CiphertextBlob"].as_str().unwrap().to_owned()
    }
}

const HELLO: &str = "aGVsbG8=";

fn json_of(reply: &Reply) -> Value {
    serde_json::from_str(&reply.body).unwrap()
}

fn check(reply: &Reply, code: &str, says: &str) {
    assert_eq!(reply.status, 400, "{reply:?}");
    let body = json_of(reply);
    assert_eq!(body["__type"], code, "{body}");
    let message = body.get("message").or(body.get("Message")).and_then(Value::as_str).unwrap_or_default();
    assert!(message.contains(says), "{message} lacks {says}");
}

#[test]
fn what_is_sealed_is_unsealed_with_its_context_alone() {
    let bench = bench();
    let blob = bench.sealed("web");
    assert!(blob.starts_with("AQICAH"), "{blob}");
    assert_ne!(blob, bench.sealed("web"), "two blobs of one plaintext are equal");
    let open = |blob: &str, context: Value| {
        bench.send(
            "Decrypt",
            json!({ "KeyId": "alias/imprint", "CiphertextBlob": blob, "EncryptionContext": context }),
        )
    };
    let good = open(&blob, json!({ "factory": "web" }));
    let body = json_of(&good);
    assert_eq!((&body["Plaintext"], &body["KeyId"]), (&json!(HELLO), &json!(bench.key)));
    let lies = [
        json!({ "factory": "db" }),
        json!({}),
        json!({ "factory": "web", "more": "" }),
        json!({ "factoryw": "eb" }),
    ];
    for lie in lies {
        check(&open(&blob, lie), "InvalidCiphertextException", "");
    }
    let names: Vec<String> = bench.kms.log().into_iter().map(|l| l.name).take(3).collect();
    assert_eq!(names, ["kms:Encrypt", "kms:Encrypt", "kms:Decrypt"]);
}

#[test]
fn a_flipped_bit_anywhere_spoils_the_blob() {
    let bench = bench();
    let blob = BASE64_STANDARD.decode(bench.sealed("web")).unwrap();
    let open = |bytes: &[u8]| {
        let blob = BASE64_STANDARD.encode(bytes);
        bench.send("Decrypt", json!({ "CiphertextBlob": blob, "EncryptionContext": { "factory": "web" } }))
    };
    assert_eq!(open(&blob).status, 200);
    for at in 0..blob.len() {
        let mut bad = blob.clone();
        bad[at] ^= 1;
        check(&open(&bad), "InvalidCiphertextException", "");
    }
    for length in [1, 5, 41, 50, blob.len() - 1] {
        check(&open(&blob[..length]), "InvalidCiphertextException", "");
    }
}

#[test]
fn a_key_has_four_names() {
    let bench = bench();
    let id = bench.key.rsplit('/').next().unwrap().to_owned();
    let alias = "arn:aws:kms:eu-west-1:123456789012:alias/imprint";
    for name in [bench.key.as_str(), &id, "alias/imprint", alias] {
        let body = json_of(&bench.send("DescribeKey", json!({ "KeyId": name })));
        let about = &body["KeyMetadata"];
        assert_eq!((&about["Arn"], &about["KeyState"]), (&json!(bench.key), &json!("Enabled")), "{name}");
    }
    for (name, says) in [
        ("alias/none", "alias/none is not found"),
        ("00000000-0000-4000-a000-000000000000", "does not exist"),
        ("arn:aws:kms:us-east-1:123456789012:alias/imprint", "Invalid arn"),
    ] {
        check(&bench.send("DescribeKey", json!({ "KeyId": name })), "NotFoundException", says);
        check(
            &bench.send("Encrypt", json!({ "KeyId": name, "Plaintext": HELLO })),
            "NotFoundException",
            says,
        );
    }
}

#[test]
fn a_blob_opens_with_its_own_key_alone() {
    let bench = bench();
    let blob = bench.sealed("web");
    let other = bench.kms.service().add_key();
    let body = json!({ "KeyId": other, "CiphertextBlob": blob, "EncryptionContext": { "factory": "web" } });
    check(&bench.send("Decrypt", body), "IncorrectKeyException", "does not identify a CMK");
}

#[test]
fn a_key_out_of_service_says_how() {
    let bench = bench();
    let blob = bench.sealed("web");
    let both = |code, says| {
        let open = json!({ "CiphertextBlob": blob, "EncryptionContext": { "factory": "web" } });
        check(&bench.send("Decrypt", open), code, says);
        check(&bench.send("Encrypt", json!({ "KeyId": bench.key, "Plaintext": HELLO })), code, says);
    };
    let state = || {
        json_of(&bench.send("DescribeKey", json!({ "KeyId": bench.key })))["KeyMetadata"]["KeyState"].clone()
    };
    bench.kms.service().set_enabled(&bench.key, false);
    both("DisabledException", "is disabled");
    assert_eq!(state(), "Disabled");
    bench.kms.service().set_pending_deletion(&bench.key, true);
    both("KMSInvalidStateException", "is pending deletion");
    assert_eq!(state(), "PendingDeletion");
    bench.kms.service().set_pending_deletion(&bench.key, false);
    bench.kms.service().set_enabled(&bench.key, true);
    assert_eq!(bench.send("Encrypt", json!({ "KeyId": bench.key, "Plaintext": HELLO })).status, 200);
}

#[test]
fn sizes_are_limited() {
    let bench = bench();
    let seal = |size: usize, context: usize| {
        let plaintext = BASE64_STANDARD.encode(vec![0; size]);
        let context = json!({ "k": "v".repeat(context) });
        bench.send(
            "Encrypt",
            json!({ "KeyId": bench.key, "Plaintext": plaintext, "EncryptionContext": context }),
        )
    };
    assert_eq!(seal(4096, 8184).status, 200);
    check(
        &seal(4097, 1),
        "ValidationException",
        "'plaintext' failed to satisfy constraint: Member must have length less than or equal to 4096",
    );
    check(&seal(0, 1), "ValidationException", "greater than or equal to 1");
    check(&seal(1, 8185), "ValidationException", "EncryptionContext");
    check(
        &bench.send("Encrypt", json!({ "KeyId": bench.key })),
        "ValidationException",
        "null at 'plaintext'",
    );
    check(&bench.send("Encrypt", json!({ "Plaintext": HELLO })), "ValidationException", "null at 'keyId'");
    check(
        &bench.send("Encrypt", json!({ "KeyId": bench.key, "Plaintext": "%" })),
        "SerializationException",
        "",
    );
    check(&bench.send("Encrypt", json!([])), "SerializationException", "");
    check(&bench.send("ListKeys", json!({})), "UnknownOperationException", "");
}

#[test]
fn a_role_does_what_its_policy_allows() {
    let bench = bench();
    let (web, db) = (bench.sealed("web"), bench.sealed("db"));
    let policy = Policy::none().allow(&["kms:Decrypt"], &bench.key).when("factory", "web");
    bench.credentials.set_policy("web", policy);
    let keys = bench.credentials.session("web", "i-1", SignedDuration::from_hours(1));
    let open = |blob: &str, factory: &str| {
        bench.send_as(
            &keys,
            "Decrypt",
            json!({ "CiphertextBlob": blob, "EncryptionContext": { "factory": factory } }),
        )
    };
    assert_eq!(json_of(&open(&web, "web"))["Plaintext"], HELLO);
    let says = "assumed-role/web/i-1 is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:";
    check(&open(&db, "db"), "AccessDeniedException", says);
    check(&open(&web, "db"), "AccessDeniedException", says);
    // Permission is looked at first, then the blob.
    check(&open(&db, "web"), "InvalidCiphertextException", "");
    let seal = json!({ "KeyId": bench.key, "Plaintext": HELLO, "EncryptionContext": { "factory": "web" } });
    check(&bench.send_as(&keys, "Encrypt", seal), "AccessDeniedException", "kms:Encrypt");
    check(
        &bench.send_as(&keys, "DescribeKey", json!({ "KeyId": bench.key })),
        "AccessDeniedException",
        "kms:DescribeKey",
    );
}

#[test]
fn only_signed_requests_of_living_keys_in_time_are_served() {
    let bench = bench();
    bench.credentials.set_policy("web", Policy::everything());
    let keys = bench.credentials.session("web", "i-1", SignedDuration::from_hours(6));
    let body = json!({ "KeyId": "alias/imprint" });
    let call = || bench.call("DescribeKey", &body);
    let signed = |keys: &Keys| call().sign(keys, REGION, "kms", bench.clock.now());
    assert_eq!(signed(&keys).send().status, 200);
    check(&call().send(), "MissingAuthenticationTokenException", "");
    check(
        &signed(&Keys { secret: "x".to_owned(), ..keys.clone() }).send(),
        "InvalidSignatureException",
        "does not match the signature",
    );
    check(
        &signed(&Keys { access_key: "AKIAX".to_owned(), ..keys.clone() }).send(),
        "UnrecognizedClientException",
        "",
    );
    check(&signed(&Keys { session_token: None, ..keys.clone() }).send(), "UnrecognizedClientException", "");
    check(&signed(&keys).body("{}").send(), "InvalidSignatureException", "does not match the signature");
    check(
        &call().sign(&keys, "us-east-1", "kms", bench.clock.now()).send(),
        "InvalidSignatureException",
        "'us-east-1'",
    );
    let early = signed(&keys);
    bench.clock.advance(SignedDuration::from_mins(6));
    let late = early.send();
    check(&late, "InvalidSignatureException", "Signature expired");
    let date = jiff::fmt::rfc2822::parse(&late.headers["date"]).unwrap().timestamp();
    assert!(date.duration_since(bench.clock.now()).abs() < SignedDuration::from_mins(1));
    bench.clock.advance(SignedDuration::from_hours(6));
    check(&signed(&keys).send(), "ExpiredTokenException", "is expired");
}

#[test]
fn trouble_is_injected_in_the_words_of_kms() {
    let bench = bench();
    bench.kms.inject(Fault::on("kms:DescribeKey", failure("ThrottlingException")));
    bench.kms.inject(Fault::on("kms:DescribeKey", failure("KMSInternalException")));
    let ask = || bench.send("DescribeKey", json!({ "KeyId": bench.key }));
    check(&ask(), "ThrottlingException", "Injected");
    assert_eq!((ask().status, ask().status), (500, 200));
}

//! Several sources, and tokens that come otherwise than by S3: what is tried next, and what ends it.

use super::scene::*;
use crate::config::{Object, Opener, S3, Source};
use imprint_core::Class;
use imprint_core::client_data::{Cost, Fact, Sealed, Secret, Values};
use imprint_core::error::Classified as _;
use imprint_core::sealed::{Binding, Scope, SealedToken};
use imprint_core::token::Token;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// A scene with the S3 source twice, as of two regions.
fn two() -> Scene {
    let mut scene = Scene::new();
    let first = scene.config.sources[0].clone();
    scene.config.sources.push(first);
    scene
}

fn only(source: Source) -> Scene {
    let mut scene = Scene::new();
    scene.config.sources = vec![source];
    scene
}

fn given(bytes: &[u8]) -> Scene {
    let scene = only(Source::Stdin { opener: Opener::default() });
    *scene.given.borrow_mut() = bytes.to_vec();
    scene
}

/// A closed file in the scene's folder.
fn put(scene: &Scene, name: &str, text: &[u8]) -> PathBuf {
    let path = scene.dir.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn the_next_source_is_tried_in_the_same_attempt() {
    for error in [
        answered("s3:GetObject", "NoSuchKey", 404),
        answered("s3:GetObject", "SlowDown", 503),
        answered("kms:Decrypt", "AccessDeniedException", 400),
    ] {
        let scene = two();
        let call = if error.to_string().contains("kms") { "unseal" } else { "fetch" };
        scene.fail(call, error);
        scene.run().unwrap();
        assert_eq!((scene.count("fetch"), scene.count("redeem"), scene.is_enrolled()), (2, 1, true));
    }
}

/// This instance's own object first, and with `also_layer` the layer's after it.
fn own_first(also_layer: bool) -> Scene {
    let mut scene = Scene::new();
    let Source::S3(layer) = scene.config.sources[0].clone() else { panic!() };
    let object = Object::Instance("app/web".parse().unwrap());
    scene.config.sources = vec![Source::S3(S3 { object, ..layer.clone() })];
    if also_layer {
        scene.config.sources.push(Source::S3(layer));
    }
    scene
}

const OWN_KEY: &str = "instances/i-0123456789abcdef0/app/web.json";

#[test]
fn this_instances_own_object_comes_first_or_only() {
    let own = |b: &mut Binding| b.scope = Scope::Instance { arn: ARN.to_owned() };
    for also_layer in [false, true] {
        let scene = own_first(also_layer);
        scene.publish(own);
        scene.run().unwrap();
        assert_eq!((scene.count("fetch"), scene.is_enrolled()), (1, true));
    }
    // Nothing waits: the layer's is taken, or it is waited for.
    let scene = own_first(true);
    scene.run().unwrap();
    assert_eq!((scene.count("fetch"), scene.is_enrolled()), (2, true));
    let scene = own_first(false);
    scene.fails(Class::Absent, "NoSuchKey");
    assert!(scene.count("fetch") > 20);
}

#[test]
fn what_is_not_for_this_instance_does_not_pass_for_its_own() {
    let check = |key: Option<&str>, also_layer, change: &dyn Fn(&mut Binding), say: &str| {
        let scene = own_first(also_layer);
        scene.publish_as(key, change);
        scene.fails(Class::Tampered, say);
        assert_eq!((scene.count("fetch"), scene.count("unseal"), scene.count("redeem")), (1, 0, 0), "{say}");
    };
    for also_layer in [false, true] {
        check(Some(OWN_KEY), also_layer, &|_| {}, "is of scope layer");
        let other = |b: &mut Binding| {
            b.scope = Scope::Instance { arn: ARN.replace("def0", "def1") };
        };
        check(
            Some(OWN_KEY),
            also_layer,
            &other,
            "the token is for arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef1",
        );
        let region = |b: &mut Binding| b.scope = Scope::Instance { arn: ARN.replace("west-1", "west-2") };
        check(Some(OWN_KEY), also_layer, &region, "the token is for arn:aws:ec2:eu-west-2");
    }
    // Under the layer's key, one for another instance is refused and one for this one is good.
    let scene = Scene::new();
    let layer = scene.config.s3().unwrap().object.to_string();
    scene.publish_as(Some(&layer), |b| b.scope = Scope::Instance { arn: ARN.replace("def0", "def1") });
    scene.fails(Class::Tampered, "the token is for");
    scene.publish_as(Some(&layer), |b| b.scope = Scope::Instance { arn: ARN.to_owned() });
    scene.run().unwrap();
}

#[test]
fn what_was_changed_is_the_end() {
    let scene = two();
    scene.fail("unseal", answered("kms:Decrypt", "InvalidCiphertextException", 400));
    scene.fails(Class::Tampered, "InvalidCiphertextException");
    assert_eq!((scene.count("fetch"), scene.count("redeem")), (1, 0));
    let scene = two();
    scene.fail("fetch", answered("s3:GetObject", "NoSuchBucket", 404));
    scene.fails(Class::Config, "NoSuchBucket");
    assert_eq!(scene.count("fetch"), 1);
}

#[test]
fn one_that_may_come_is_waited_for() {
    // The first says no for good, the second has nothing yet.
    let scene = two();
    for _ in 0..3 {
        scene.pass("fetch");
        scene.fail("fetch", answered("s3:GetObject", "NoSuchKey", 404));
        scene.fail("unseal", answered("kms:Decrypt", "AccessDeniedException", 400));
    }
    scene.run().unwrap();
    assert!(scene.is_enrolled());
    assert_eq!((scene.count("fetch"), scene.count("unseal")), (7, 4));
    // All say no for good: once around is enough.
    let scene = two();
    for _ in 0..2 {
        scene.fail("unseal", answered("kms:Decrypt", "AccessDeniedException", 400));
    }
    scene.fails(Class::Refused, "AccessDeniedException");
    assert_eq!(scene.count("fetch"), 2);
}

#[test]
fn a_token_in_clear() {
    let scene = given(format!("{TOKEN}\n").as_bytes());
    scene.run().unwrap();
    assert!(scene.is_enrolled());
    assert_eq!(*scene.calls.borrow(), ["facts", "standard input", "redeem", "authenticate"]);
    // It has no binding: whose factory it is shows in Conjur's answer.
    let scene = given(TOKEN.as_bytes());
    *scene.owner.borrow_mut() = "prod:host_factory:evil/factory".to_owned();
    scene.fails(Class::Tampered, "evil/factory");
    assert_eq!(scene.identity(), None);
    for (bytes, say) in [(&b""[..], "standard input is empty"), (b"hello\n", "no host factory token")] {
        let scene = given(bytes);
        scene.fails(Class::Config, say);
        assert_eq!((scene.count("redeem"), scene.count("standard input")), (0, 1));
    }
}

#[test]
fn a_file_is_removed_when_its_token_is_spent() {
    let run = |remove: bool, fail: bool| {
        let mut scene = Scene::new();
        let file = put(&scene, "token", TOKEN.as_bytes());
        scene.config.sources = vec![Source::File { file: file.clone(), remove, opener: Opener::default() }];
        if fail {
            scene.fail("redeem", status(403));
        }
        assert_eq!(scene.run().is_ok(), !fail);
        file.exists()
    };
    assert!(!run(true, false));
    assert!(run(false, false));
    assert!(run(true, true), "a token that was not redeemed stays");
}

#[test]
fn a_file_that_is_still_to_come_is_waited_for() {
    let scene =
        only(Source::File { file: "/nowhere/token".into(), remove: false, opener: Opener::default() });
    scene.fails(Class::Absent, "there is no /nowhere/token");
    let scene =
        only(Source::Credential { name: "token".to_owned(), directory: None, opener: Opener::default() });
    scene.fails(Class::Config, "systemd passes no credential token");
}

#[test]
fn a_sealed_token_may_come_any_way() {
    let published = Scene::new().sealed.into_inner();
    let scene = given(&published);
    scene.fails(Class::Config, "no kms_key is configured");
    let kms = Scene::new().config.s3().map(|s3| s3.kms.clone());
    let scene = only(Source::Stdin { opener: Opener { kms, ..Opener::default() } });
    *scene.given.borrow_mut() = published;
    scene.run().unwrap();
    assert_eq!(*scene.calls.borrow(), ["facts", "standard input", "unseal", "redeem", "authenticate"]);
}

/// The scene's own binding and token, sealed with a secret and the image.
fn sealed_for(scene: &Scene, secret: &Secret, image: &str) -> Vec<u8> {
    let binding = SealedToken::parse(&scene.sealed.borrow()).unwrap().binding().clone();
    let token = Token::new(Zeroizing::new(TOKEN.to_owned())).unwrap();
    let mut values = Values::default();
    values.put(Fact::ImageId, image).unwrap();
    values.put(Fact::InstanceId, HERE).unwrap();
    let facts = [Fact::ImageId, Fact::InstanceId];
    Sealed::seal(binding, &token, &facts, &[values], Some(secret), Cost::new(8, 1, 1).unwrap())
        .unwrap()
        .to_bytes()
}

#[test]
fn client_data_opens_it_or_says_why_not() {
    let text = "correct horse battery staple";
    let secret = Secret::new(text).unwrap();
    let place = |image: &str, change: &dyn Fn(&Scene)| {
        let mut scene = Scene::new();
        change(&scene);
        let secret_file = Some(put(&scene, "secret", text.as_bytes()));
        let file = put(&scene, "token.json", &sealed_for(&scene, &secret, image));
        let opener = Opener { secret_file, ..Opener::default() };
        scene.config.sources = vec![Source::ClientData { file, opener }];
        scene
    };
    let scene = place("ami-0fedcba9876543210", &|_| ());
    scene.run().unwrap();
    assert!(scene.is_enrolled());
    assert_eq!(*scene.calls.borrow(), ["facts", "image", "redeem", "authenticate"]);

    let scene = place("ami-00000000000000001", &|_| ());
    let error = scene.fails(Class::Refused, "does not open with the facts of this machine");
    assert!(error.hint().is_some_and(|hint| hint.contains("other machines")));
    // The binding is judged before a key is derived, and before the image is asked for.
    let scene = place("ami-0fedcba9876543210", &|scene| {
        scene.publish(|b| b.host_factory = "app/db".parse().unwrap())
    });
    scene.fails(Class::Tampered, "host_factory is app/db");
    assert_eq!(*scene.calls.borrow(), ["facts"]);
    let scene =
        place("ami-0fedcba9876543210", &|scene| scene.publish(|b| b.expires_at = NOW.parse().unwrap()));
    scene.fails(Class::Absent, "expired");
}

#[test]
fn the_host_tells_what_is_known_of_its_making() {
    let told = |scene: &Scene| -> Vec<String> {
        scene.run().unwrap();
        scene.annotations.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect()
    };
    let version = env!("CARGO_PKG_VERSION");
    let mut scene = Scene::new();
    scene.config.annotations.insert("team".to_owned(), "of {region}".parse().unwrap());
    let fingerprint = Token::new(Zeroizing::new(scene.token.borrow().clone())).unwrap().fingerprint();
    let (attempt, here) = (scene.attempt.clone(), scene.instance.borrow().clone());
    assert_eq!(
        told(&scene),
        [
            "imprint/account-id=123456789012".to_owned(),
            format!("imprint/agent-version={version}"),
            format!("imprint/attempt-id={attempt}"),
            "imprint/image-id=ami-0fedcba9876543210".to_owned(),
            format!("imprint/instance-id={here}"),
            "imprint/region=eu-west-1".to_owned(),
            "imprint/rotation-id=r-1".to_owned(),
            format!("imprint/token={fingerprint}"),
            "team=of eu-west-1".to_owned(),
        ]
    );
    // A machine off EC2, with a token that came in clear: what is not known is not there.
    let mut scene = given(scene.token.borrow().as_bytes());
    scene.config.host_id = "app/hosts/{instance_id}".parse().unwrap();
    scene.is_on_ec2.set(false);
    let names: Vec<String> = told(&scene).iter().map(|it| it.split('=').next().unwrap().to_owned()).collect();
    assert_eq!(
        names,
        ["agent-version", "attempt-id", "instance-id", "token"].map(|it| format!("imprint/{it}"))
    );
}

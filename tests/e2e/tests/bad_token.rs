//! What lies in S3 is not what the rotator put there, or cannot be opened: the reason, the class,
//! and nothing sent to Conjur.

use crate::{Place, published, refused};
use imprint_core::sealed::{Binding, SealedToken};
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use imprint_e2e::Ran;
use imprint_stack::kms;
use std::time::Duration;

/// Puts what `change` makes of web's object in its place; the enrollment must end with `code`.
#[track_caller]
fn check(change: impl Fn(&Place, Vec<u8>) -> Vec<u8>, code: i32, say: &str) {
    let site = published();
    let object = site.stack.published("web").unwrap().to_vec();
    let changed = change(&site, object);
    site.stack.s3.service().put_raw("imprint-tokens", &site.stack.object_key("web"), changed);
    site.stack.conjur.clear_log();
    refused(&site, &site.machine("web"), code, say);
    assert_eq!(site.stack.conjur.count("redeem"), 0, "a redeem was sent");
}

/// A token that really opens, under a binding that `change` made.
pub(crate) fn sealed(site: &Place, change: impl Fn(&mut Binding)) -> Vec<u8> {
    let token = site.stack.conjur.service().tokens("web/factory").remove(0).token;
    let old = SealedToken::parse(&site.stack.published("web").unwrap()).unwrap();
    let mut binding = old.binding().clone();
    binding.fingerprint = Fingerprint::of(token.as_bytes());
    change(&mut binding);
    let blob = site.stack.kms.service().seal(&site.stack.key, token.as_bytes(), &binding.context());
    SealedToken::new(binding, blob, site.stack.key.clone()).unwrap().to_bytes()
}

#[test]
fn the_sealed_token_made_here_opens() {
    let site = published();
    let object = sealed(&site, |_| ());
    site.stack.s3.service().put_raw("imprint-tokens", &site.stack.object_key("web"), object);
    let _said = Ran::of(&mut site.machine("web").imprint(&["enroll"])).expect(0);
}

#[test]
fn its_form() {
    check(|_, _| Vec::new(), 65, "empty");
    check(|_, object| object[..object.len() / 2].to_vec(), 65, "not of format version 1");
    check(|_, _| b"<html>".to_vec(), 65, "not of format version 1");
    check(|_, _| vec![b' '; 20_000], 65, "16384 bytes");
    let text = |from: &'static str, to: &'static str| {
        move |_: &Place, object: Vec<u8>| {
            String::from_utf8(object).unwrap().replacen(from, to, 1).into_bytes()
        }
    };
    check(text("\"version\":1", "\"version\":2"), 78, "format version 2");
}

#[test]
fn a_changed_binding_or_ciphertext_does_not_open() {
    let text = |from: &'static str, to: &'static str| {
        move |_: &Place, object: Vec<u8>| {
            let text = String::from_utf8(object).unwrap();
            assert!(text.contains(from), "{from} is not in {text}");
            text.replacen(from, to, 1).into_bytes()
        }
    };
    // A longer life, said by somebody who may only put.
    check(text("\"spread_s\":0", "\"spread_s\":1"), 65, "InvalidCiphertextException");
    let flip = |_: &Place, object: Vec<u8>| {
        let sealed = SealedToken::parse(&object).unwrap();
        let mut blob = sealed.ciphertext().to_vec();
        *blob.last_mut().unwrap() ^= 1;
        SealedToken::new(sealed.binding().clone(), blob, sealed.key_arn().to_owned()).unwrap().to_bytes()
    };
    check(flip, 65, "InvalidCiphertextException");
}

#[test]
fn a_binding_of_somewhere_else_is_refused_although_it_opens() {
    check(|site, _| sealed(site, |b| b.account = "other".parse().unwrap()), 65, "account");
    check(
        |site, _| sealed(site, |b| b.appliance_url = "https://evil.example.org".parse().unwrap()),
        65,
        "appliance",
    );
    check(
        |site, _| sealed(site, |b| b.leader_url = "https://evil.example.org".parse().unwrap()),
        65,
        "leader",
    );
    check(|site, _| sealed(site, |b| b.ca_sha256 = vec!["ab".repeat(32)]), 65, "certificate");
    check(|site, _| sealed(site, |b| b.fingerprint = Fingerprint::of(b"another")), 65, "binding names");
    let past = Second::now().minus(Duration::from_secs(1));
    check(move |site, _| sealed(site, |b| b.expires_at = past), 69, "expired");
}

#[test]
fn kms_says_no() {
    let check = |spoil: &dyn Fn(&Place), code, say| {
        let site = published();
        spoil(&site);
        refused(&site, &site.machine("web"), code, say);
        assert_eq!(site.stack.conjur.count("redeem"), 0);
    };
    check(&|site| site.stack.kms.service().set_enabled(&site.stack.key, false), 77, "DisabledException");
    check(
        &|site| site.stack.kms.service().set_pending_deletion(&site.stack.key, true),
        77,
        "KMSInvalidStateException",
    );
    let no_kms = |site: &Place| {
        let key = format!("arn:aws:s3:::imprint-tokens/{}", site.stack.object_key("web"));
        let policy = imprint_stack::aws::Policy::none().allow(&["s3:GetObject"], &key);
        site.stack.credentials.set_policy(&site.stack.role("web"), policy);
    };
    check(&no_kms, 77, "AccessDeniedException");
    let throttled = |site: &Place| {
        let fault = imprint_stack::fault::Fault::on("kms:Decrypt", kms::failure("ThrottlingException"));
        site.stack.kms.inject(fault.forever());
    };
    check(&throttled, 75, "ThrottlingException");
}

#[test]
fn another_pinned_key() {
    let site = published();
    let other = site.stack.kms.service().add_key();
    let machine = site.machine("web");
    machine.set_config(&machine.config().replace(&site.stack.key, &other));
    site.stack.credentials.set_policy(&site.stack.role("web"), imprint_stack::aws::Policy::everything());
    refused(&site, &machine, 65, "IncorrectKeyException");
}

#[test]
fn a_throttle_that_passes_is_waited_for() {
    let site = published();
    let machine = site.machine("web");
    site.stack.kms.clear_log();
    site.stack
        .kms
        .inject(imprint_stack::fault::Fault::on("kms:Decrypt", kms::failure("ThrottlingException")).times(2));
    site.stack.s3.inject(
        imprint_stack::fault::Fault::on("s3:GetObject", imprint_stack::s3::failure("SlowDown")).times(2),
    );
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!(site.stack.kms.count("kms:Decrypt"), 3);
}

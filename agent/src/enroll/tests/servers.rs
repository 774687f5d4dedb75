//! What the servers may say: tokens that are none, AWS's codes, Conjur's answers, lost replies.

use super::super::*;
use super::scene::*;
use crate::config::{Kms, S3};
use crate::effects::{self, At};
use crate::facts::{Facts, Needs};
use imprint_core::Class;
use imprint_core::aws;
use imprint_core::caller::RunId;
use imprint_core::conjur::{self, Health, Redeemed};
use imprint_core::sealed::{Binding, SealedToken};
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, ApiKey, Fingerprint, Token};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

#[test]
fn every_bad_sealed_token_ends_before_conjur() {
    let check = |change: &dyn Fn(&Scene), class, say| {
        let scene = Scene::new();
        change(&scene);
        scene.fails(class, say);
        assert_eq!((scene.count("redeem"), scene.identity()), (0, None), "{say}");
    };
    let bytes = |change: fn(&mut Vec<u8>)| move |scene: &Scene| change(&mut scene.sealed.borrow_mut());
    check(&bytes(|b| b.clear()), Class::Tampered, "is empty");
    check(&bytes(|b| b.truncate(300)), Class::Tampered, "not of format version 1");
    check(&bytes(|b| b.extend_from_slice(b"{}")), Class::Tampered, "not of format version 1");
    check(&bytes(|b| b.resize(20_000, b' ')), Class::Tampered, "has 20000 bytes");
    check(
        &bytes(|b| *b = b"<html>captive portal</html>".to_vec()),
        Class::Tampered,
        "not of format version 1",
    );
    let future = |s: &Scene| {
        let text =
            String::from_utf8(s.sealed.borrow().clone()).unwrap().replace("\"version\":1", "\"version\":2");
        *s.sealed.borrow_mut() = text.into_bytes();
    };
    check(&future, Class::Config, "format version 2");
    let publish = |change: fn(&mut Binding)| move |scene: &Scene| scene.publish(change);
    check(
        &publish(|b| b.host_factory = "app/db".parse().unwrap()),
        Class::Tampered,
        "host_factory is app/db, not app/web",
    );
    check(&publish(|b| b.account = "dev".parse().unwrap()), Class::Tampered, "account is dev, not prod");
    check(
        &publish(|b| b.appliance_url = "https://x.example.org".parse().unwrap()),
        Class::Tampered,
        "appliance_url is",
    );
    check(&publish(|b| b.ca_sha256 = vec!["0".repeat(64)]), Class::Tampered, "another CA");
    check(&publish(|b| b.expires_at = NOW.parse().unwrap()), Class::Absent, "expired at");
    check(
        &publish(|b| b.fingerprint = Fingerprint::of(b"x")),
        Class::Tampered,
        "is not the one that its binding names",
    );
    let token = |text: &'static str| move |s: &Scene| text.clone_into(&mut s.token.borrow_mut());
    check(&token("not a token at all"), Class::Tampered, "no host factory token");
    check(
        &token("1taken00000000000000000000000000000000000000000\n"),
        Class::Tampered,
        "no host factory token",
    );
}

#[test]
fn every_bit_of_the_clear_fields_counts() {
    // KMS refuses a changed context; what reaches it unchanged in meaning is judged here.
    let scene = Scene::new();
    let good = scene.sealed.borrow().clone();
    for at in (0..good.len()).step_by(3) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        let Ok(flipped) = SealedToken::parse(&bytes) else { continue };
        assert!(
            flipped.binding().context() != SealedToken::parse(&good).unwrap().binding().context()
                || flipped.ciphertext() != SealedToken::parse(&good).unwrap().ciphertext()
                || flipped.key_arn() != SealedToken::parse(&good).unwrap().key_arn(),
            "bit at {at}"
        );
    }
}

#[test]
fn what_aws_says() {
    let check = |call, error: fn() -> aws::Error, class, say| {
        let scene = Scene::new();
        for _ in 0..=REPEATS {
            scene.fail(call, error());
        }
        scene.fails(class, say);
        assert_eq!((scene.count("redeem"), scene.identity()), (0, None), "{say}");
        scene.count(call)
    };
    // What may be published in a moment is waited for.
    assert!(check("fetch", || answered("s3:GetObject", "NoSuchKey", 404), Class::Absent, "NoSuchKey") > 20);
    assert!(
        check("fetch", || answered("s3:GetObject", "AccessDenied", 403), Class::Absent, "AccessDenied") > 20
    );
    assert!(
        check(
            "unseal",
            || answered("kms:Decrypt", "ThrottlingException", 400),
            Class::Transient,
            "Throttling"
        ) > 20
    );
    // What only an operator can mend is told at once.
    assert_eq!(
        check("fetch", || answered("s3:GetObject", "NoSuchBucket", 404), Class::Config, "NoSuchBucket"),
        1
    );
    assert_eq!(
        check(
            "unseal",
            || answered("kms:Decrypt", "AccessDeniedException", 400),
            Class::Refused,
            "AccessDenied"
        ),
        1
    );
    assert_eq!(
        check(
            "unseal",
            || answered("kms:Decrypt", "InvalidCiphertextException", 400),
            Class::Tampered,
            "InvalidC"
        ),
        1
    );
    assert_eq!(
        check(
            "unseal",
            || answered("kms:Decrypt", "IncorrectKeyException", 400),
            Class::Tampered,
            "IncorrectKey"
        ),
        1
    );

    let scene = Scene::new();
    for _ in 0..5 {
        scene.fail("facts", effects::Error::Imds(crate::imds::Error::NoRole));
        scene.fail("fetch", answered("s3:GetObject", "NoSuchKey", 404));
        scene.fail("unseal", answered("kms:Decrypt", "ThrottlingException", 400));
    }
    scene.run().unwrap();
    assert!(scene.is_enrolled());
    assert_eq!((scene.count("facts"), scene.count("redeem")), (6, 1));
}

#[test]
fn what_conjur_says_to_a_redeem() {
    let check = |error: fn() -> conjur::Error, class, say, redeems| {
        let scene = Scene::new();
        for _ in 0..=REPEATS {
            scene.fail("redeem", error());
        }
        scene.fails(class, say);
        assert_eq!((scene.count("redeem"), scene.identity()), (redeems, None), "{say}");
    };
    check(|| status(403), Class::Refused, "is owned by something other than the host factory", 1);
    check(|| status(422), Class::Refused, "answered 422", 1);
    check(|| status(404), Class::Refused, "answered 404", 1);
    check(|| status(302), Class::Protocol, "answered 302", 1);
    check(unexpected, Class::Protocol, "is not JSON", 1);
    // The token is the same when fetched again, so a second redeem would say the same.
    check(|| status(401), Class::Refused, "Conjur does not take the token", 1);
    // A lost reply may be a redeem: three of them and no more.
    check(lost, Class::Transient, "broke before the answer was complete", 3);

    // Busy servers are waited for, and what they refused was no redeem.
    let scene = Scene::new();
    for _ in 0..10 {
        scene.fail("redeem", status(503));
    }
    scene.fail("redeem", lost());
    scene.fail("redeem", lost());
    scene.run().unwrap();
    assert_eq!((scene.count("redeem"), scene.is_enrolled()), (13, true));
}

#[test]
fn a_token_that_was_replaced_is_fetched_again() {
    let scene = Scene::new();
    scene.pass("fetch");
    let fresh = "2taken0000000000000000000000000000000000000000000";
    struct Rotating<'a>(&'a Scene, &'static str);
    impl Effects for Rotating<'_> {
        fn now(&self) -> Second {
            self.0.now()
        }
        fn attempt(&self) -> &RunId {
            self.0.attempt()
        }
        async fn open_ahead(&self) {}
        async fn facts(&self, needs: &Needs) -> Result<Facts, effects::Error> {
            self.0.facts(needs).await
        }
        async fn image(&self) -> Result<String, effects::Error> {
            self.0.image().await
        }
        fn standard_input(&self) -> Result<Zeroizing<Vec<u8>>, crate::source::Error> {
            self.0.standard_input()
        }
        async fn fetch(&self, from: &S3, key: &str) -> Result<Vec<u8>, effects::Error> {
            self.0.fetch(from, key).await
        }
        async fn unseal(
            &self,
            with: &Kms,
            sealed: &SealedToken,
        ) -> Result<Zeroizing<Vec<u8>>, effects::Error> {
            self.0.unseal(with, sealed).await
        }
        async fn redeem(
            &self,
            token: &Token,
            host: &HostId,
            annotations: &BTreeMap<String, String>,
        ) -> Result<Redeemed, effects::Error> {
            if token.expose() == self.1 {
                return self.0.redeem(token, host, annotations).await;
            }
            // It was rotated and revoked between the fetch and this.
            self.1.clone_into(&mut self.0.token.borrow_mut());
            self.0.publish(|_| {});
            Err(status(401).into())
        }
        async fn authenticate(
            &self,
            at: At,
            host: &HostId,
            key: &ApiKey,
        ) -> Result<AccessToken, effects::Error> {
            self.0.authenticate(at, host, key).await
        }
        async fn rotate_key(&self, host: &HostId, key: &ApiKey) -> Result<ApiKey, effects::Error> {
            self.0.rotate_key(host, key).await
        }
        async fn health(&self, at: At) -> Result<Option<Health>, effects::Error> {
            self.0.health(at).await
        }
        async fn may_read(&self, with: &AccessToken, variable: &str) -> Result<bool, effects::Error> {
            self.0.may_read(with, variable).await
        }
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime
        .block_on(enroll(&scene.config, Wishes::default(), &Rotating(&scene, fresh), &store::Real))
        .unwrap();
    assert_eq!((scene.count("fetch"), scene.is_enrolled()), (2, true));
}

#[test]
fn an_answer_for_somebody_else_is_not_stored() {
    for (id, owner, say) in [
        (Some("prod:host:app/other"), "prod:host_factory:app/web", "has id \"prod:host:app/other\", not"),
        (
            None,
            "prod:host_factory:evil",
            "has owner \"prod:host_factory:evil\", not \"prod:host_factory:app/web\"",
        ),
        (None, "prod:user:admin", "has owner"),
        (Some(""), "", "has id \"\""),
    ] {
        let scene = Scene::new();
        *scene.id.borrow_mut() = id.map(ToOwned::to_owned);
        owner.clone_into(&mut scene.owner.borrow_mut());
        scene.fails(Class::Tampered, say);
        assert_eq!((scene.count("redeem"), scene.count("authenticate"), scene.identity()), (1, 0, None));
    }
}

#[test]
fn only_a_key_that_authenticates_ends_it() {
    // A duplicate that was thought lost is carried out late and kills the key that was stored.
    let scene = Scene::new();
    scene.spoiled.set(2);
    scene.run().unwrap();
    assert_eq!((scene.count("redeem"), scene.count("authenticate"), scene.is_enrolled()), (3, 3, true));

    let scene = Scene::new();
    scene.spoiled.set(9);
    scene.fails(Class::Refused, "was redeemed 3 times, and no key authenticates");
    assert_eq!(scene.count("redeem"), 3);
    assert!(!scene.is_enrolled());

    // A server that restarts meanwhile is no reason to redeem again.
    let scene = Scene::new();
    for _ in 0..20 {
        scene.fail("authenticate", status(502));
    }
    scene.run().unwrap();
    assert_eq!((scene.count("redeem"), scene.count("authenticate"), scene.is_enrolled()), (1, 21, true));
}

#[test]
fn leader_and_follower() {
    let scene = Scene::with("leader_url = \"https://leader.example.org\"\n");
    for _ in 0..4 {
        scene.fail("authenticate at the appliance", status(401));
    }
    scene.run().unwrap();
    assert_eq!((scene.count("redeem"), scene.count("authenticate at the appliance")), (1, 5));
    assert!(scene.is_enrolled());

    for (is_enterprise, say) in [
        (false, "does not take the new key, though the leader does: test"),
        (true, "though the leader does; its replication is 3000 bytes behind: test"),
    ] {
        let scene = Scene::with("leader_url = \"https://leader.example.org\"\n");
        scene.is_enterprise.set(is_enterprise);
        for _ in 0..=REPEATS {
            scene.fail("authenticate at the appliance", status(401));
        }
        scene.fails(Class::Transient, say);
        assert_eq!((scene.count("redeem"), scene.count("health")), (1, usize::from(is_enterprise)));
        // Lag is no reason to redeem: the next run waits again, and ends well.
        scene.script.borrow_mut().clear();
        assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))));
        assert_eq!((scene.count("redeem"), scene.is_enrolled()), (0, true));
    }
}

#[test]
fn the_proof_of_the_layer() {
    let scene = Scene::with("proof_variable = \"app/db/password\"\n");
    scene.run().unwrap();
    assert_eq!(scene.count("may_read"), 1);
    let scene = Scene::with("proof_variable = \"app/db/password\"\n");
    scene.may_read.set(false);
    scene.fails(Class::Refused, "may not read variable app/db/password");
}

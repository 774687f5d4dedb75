use super::*;
use crate::config::tests::{CA, config as configuration};
use crate::store::tests::Faulty;
use imprint_core::aws;
use imprint_core::conjur;
use imprint_core::door::CaBundle;
use imprint_core::error::chain;
use imprint_core::sealed::Scope;
use imprint_core::second::Second;
use imprint_core::token::{ApiKey, Fingerprint};
use imprint_core::{Class, Classified as _};
use rustix::io::Errno;
use std::cell::RefCell;
use std::path::Path;

const HERE: &str = "i-0123456789abcdef0";
const TOKEN: &str = "1taken0000000000000000000000000000000000000000000";
const NOW: &str = "2026-11-22T08:00:00Z";

/// A machine with its own disk, and servers that answer as they are told.
pub(crate) struct Scene {
    dir: tempfile::TempDir,
    pub(crate) config: Config,
    calls: RefCell<Vec<&'static str>>,
    /// Failures by call, taken in order; `None` lets the call through.
    script: RefCell<Vec<(&'static str, Option<effects::Error>)>>,
    sealed: RefCell<Vec<u8>>,
    token: RefCell<String>,
    instance: RefCell<String>,
    id: RefCell<Option<String>>,
    owner: RefCell<String>,
    keys: Cell<u32>,
    /// The key that Conjur takes now.
    valid: RefCell<Option<String>>,
    /// Redeems whose key a late duplicate replaces at once.
    spoiled: Cell<u32>,
    may_read: Cell<bool>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    fn with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = configuration(more);
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("etc")).unwrap();
        config.files.identity.path = at("etc/conjur.identity");
        config.files.conf.path = at("etc/conjur.conf");
        config.files.pem.path = at("etc/conjur.pem");
        config.files.state_dir = at("state");
        config.sys_root = at("sys");
        let scene = Self {
            dir,
            config,
            calls: RefCell::default(),
            script: RefCell::default(),
            sealed: RefCell::default(),
            token: RefCell::new(TOKEN.to_owned()),
            instance: RefCell::new(HERE.to_owned()),
            id: RefCell::default(),
            owner: RefCell::new("prod:host_factory:app/web".to_owned()),
            keys: Cell::new(0),
            valid: RefCell::default(),
            spoiled: Cell::new(0),
            may_read: Cell::new(true),
        };
        scene.firmware(HERE);
        scene.publish(|_| {});
        scene
    }

    pub(crate) fn firmware(&self, id: &str) {
        let dir = self.dir.path().join("sys/class/dmi/id");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("board_asset_tag"), id).unwrap();
        id.clone_into(&mut self.instance.borrow_mut());
    }

    fn publish(&self, change: impl Fn(&mut Binding)) {
        let mut binding = Binding {
            account: "prod".parse().unwrap(),
            host_factory: "app/web".parse().unwrap(),
            appliance_url: "https://conjur.example.org".parse().unwrap(),
            leader_url: self.config.leader_url.clone(),
            ca_sha256: CaBundle::from_pem(&CA).unwrap().digests(),
            issued_at: "2026-11-22T07:00:00Z".parse().unwrap(),
            expires_at: "2026-11-22T10:00:00Z".parse().unwrap(),
            cidr: vec![],
            fingerprint: Fingerprint::of(self.token.borrow().as_bytes()),
            rotation_id: "r-1".to_owned(),
            spread_s: 0,
            scope: Scope::Layer,
            hosts_branch: "app/hosts".parse().unwrap(),
        };
        change(&mut binding);
        let sealed = SealedToken::new(binding, vec![1, 2, 3], "key".to_owned()).unwrap();
        *self.sealed.borrow_mut() = sealed.to_bytes();
    }

    pub(crate) fn fail(&self, call: &'static str, error: impl Into<effects::Error>) {
        self.script.borrow_mut().push((call, Some(error.into())));
    }

    fn pass(&self, call: &'static str) {
        self.script.borrow_mut().push((call, None));
    }

    fn call(&self, name: &'static str) -> Result<(), effects::Error> {
        self.calls.borrow_mut().push(name);
        let mut script = self.script.borrow_mut();
        match script.iter().position(|(call, _)| *call == name) {
            Some(at) => script.remove(at).1.map_or(Ok(()), Err),
            None => Ok(()),
        }
    }

    pub(crate) fn count(&self, name: &str) -> usize {
        self.calls.borrow().iter().filter(|call| **call == name).count()
    }

    /// Runs an enrollment in virtual time; afterwards no secret is anywhere but in the identity.
    pub(crate) fn run(&self) -> Result<Outcome, Error> {
        self.run_on(&store::Real)
    }

    fn run_on(&self, disk: &impl Disk) -> Result<Outcome, Error> {
        self.calls.borrow_mut().clear();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let end = runtime.block_on(enroll(&self.config, self, disk));
        if let Err(error) = &end {
            let text = format!("{} {error:?} {}", chain(error), error.hint().unwrap_or_default());
            assert!(!text.contains("1taken") && !text.contains("key000"), "{text}");
            assert!(!chain(error).contains('\n'), "{text}");
        }
        self.no_litter();
        end
    }

    fn no_litter(&self) {
        for dir in ["etc", "state"] {
            let Ok(entries) = std::fs::read_dir(self.dir.path().join(dir)) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let known = ["conjur.identity", "conjur.conf", "conjur.pem", "state.json", "lock"];
                assert!(known.contains(&name.as_str()), "{name} was left behind");
                if path.is_file() && name != "conjur.identity" {
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(!text.contains("1taken") && !text.contains("key000"), "{name} tells: {text}");
                }
            }
        }
    }

    fn fails(&self, class: Class, say: &str) -> Error {
        match self.run() {
            Err(error) => {
                let text = chain(&error);
                assert!(text.contains(say), "{text:?} should say {say:?}");
                assert_eq!(error.class(), class, "{text}");
                assert!(error.hint().is_some(), "{text} has no hint");
                error
            }
            Ok(outcome) => panic!("{outcome:?}, not {say:?}"),
        }
    }

    fn identity(&self) -> Option<String> {
        std::fs::read_to_string(&self.config.files.identity.path).ok()
    }

    /// The key on disk is the one that Conjur takes.
    fn is_enrolled(&self) -> bool {
        let state = matches!(state::read(&self.config.files.state_dir), Ok(Found::Good(s)) if s.phase == Phase::Enrolled);
        let key = files::read_back(&self.config.files).ok().map(|i| i.api_key.expose().to_owned());
        state && key.is_some() && key == *self.valid.borrow()
    }

    fn write(&self, path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
    }
}

pub(crate) fn status(status: u16) -> conjur::Error {
    conjur::Error::Status {
        operation: "test",
        server: "conjur.example.org".to_owned(),
        status,
        retry_after: None,
    }
}

fn unexpected() -> conjur::Error {
    conjur::Error::Unexpected {
        operation: "redeem",
        server: "conjur.example.org".to_owned(),
        why: "is not JSON".to_owned(),
    }
}

/// A reply that was lost after Conjur may have acted.
fn lost() -> conjur::Error {
    // Any error of the HTTP client will do: what counts is that the outcome is not known.
    let door = imprint_core::door::Door::direct(Duration::from_secs(1)).unwrap();
    let source = door.client().get("not a url").build().unwrap_err();
    conjur::Error::Interrupted { operation: "redeem", server: "conjur.example.org".to_owned(), source }
}

fn answered(operation: &'static str, code: &str, status: u16) -> aws::Error {
    aws::Error::Answered { operation, resource: "s3://bucket/key".to_owned(), code: code.to_owned(), status }
}

impl Effects for Scene {
    fn now(&self) -> Second {
        NOW.parse().unwrap()
    }

    async fn facts(&self, needs: &Needs) -> Result<Facts, effects::Error> {
        self.call("facts")?;
        Ok(Facts {
            account_id: "123456789012".to_owned(),
            hostname: needs.hostname.then(|| "web-1".to_owned()),
            instance_id: self.instance.borrow().parse().unwrap(),
            private_ip: Some("10.0.0.5".parse().unwrap()),
            region: "eu-west-1".to_owned(),
            tags: needs.tags.iter().map(|tag| (tag.clone(), "a b".to_owned())).collect(),
        })
    }

    async fn fetch(&self) -> Result<Vec<u8>, effects::Error> {
        self.call("fetch")?;
        Ok(self.sealed.borrow().clone())
    }

    async fn unseal(&self, _: &SealedToken) -> Result<Zeroizing<Vec<u8>>, effects::Error> {
        self.call("unseal")?;
        Ok(Zeroizing::new(self.token.borrow().clone().into_bytes()))
    }

    async fn redeem(
        &self,
        token: &Token,
        host: &HostId,
        _: &BTreeMap<String, String>,
    ) -> Result<Redeemed, effects::Error> {
        assert_eq!(token.expose(), *self.token.borrow());
        let asked = self.call("redeem");
        if let Err(effects::Error::Conjur(error)) = &asked
            && !matches!(error, conjur::Error::Interrupted { .. } | conjur::Error::Unexpected { .. })
        {
            return asked.map(|()| unreachable!());
        }
        self.keys.set(self.keys.get() + 1);
        let key = format!("key0000000000000000000000000000000000000000000000{:02}", self.keys.get());
        *self.valid.borrow_mut() = Some(if self.spoiled.get() > 0 {
            self.spoiled.set(self.spoiled.get() - 1);
            "spoiled".to_owned()
        } else {
            key.clone()
        });
        asked?;
        let id = self.id.borrow().clone().unwrap_or_else(|| format!("prod:host:{host}"));
        let owner = self.owner.borrow().clone();
        Ok(Redeemed { id, owner, api_key: ApiKey::new(Zeroizing::new(key)).unwrap(), created_at: None })
    }

    async fn authenticate(&self, at: At, _: &HostId, key: &ApiKey) -> Result<AccessToken, effects::Error> {
        self.call(match at {
            At::Appliance => "authenticate at the appliance",
            At::Leader => "authenticate",
        })?;
        if self.valid.borrow().as_deref() == Some(key.expose()) {
            Ok(AccessToken::new(Zeroizing::new(b"{}".to_vec())))
        } else {
            Err(status(401).into())
        }
    }

    async fn may_read(&self, _: &AccessToken, _: &str) -> Result<bool, effects::Error> {
        self.call("may_read")?;
        Ok(self.may_read.get())
    }
}

#[test]
fn first_boot_then_nothing() {
    let scene = Scene::new();
    let host = "app/hosts/123456789012/eu-west-1/i-0123456789abcdef0";
    assert_eq!(scene.run().unwrap(), Outcome::Enrolled(host.parse().unwrap()));
    assert_eq!(*scene.calls.borrow(), ["facts", "fetch", "unseal", "redeem", "authenticate"]);
    assert!(scene.is_enrolled());
    assert_eq!(std::fs::read_to_string(&scene.config.files.pem.path).unwrap(), *CA);
    let conf = std::fs::read_to_string(&scene.config.files.conf.path).unwrap();
    assert!(
        conf.starts_with("account: prod\nappliance_url: https://conjur.example.org\ncert_file: "),
        "{conf}"
    );
    let Ok(Found::Good(state)) = state::read(&scene.config.files.state_dir) else { panic!() };
    assert_eq!(state.token.as_deref(), Some(Fingerprint::of(TOKEN.as_bytes()).as_str()));

    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(host.to_owned()));
    assert!(scene.calls.borrow().is_empty(), "{:?}", scene.calls);
    // What is gone and holds no secret comes back without a request.
    std::fs::remove_file(&scene.config.files.conf.path).unwrap();
    std::fs::remove_file(&scene.config.files.pem.path).unwrap();
    scene.run().unwrap();
    assert!(
        scene.calls.borrow().is_empty()
            && scene.config.files.conf.path.exists()
            && scene.config.files.pem.path.exists()
    );
}

#[test]
fn what_happened_to_the_files_is_mended() {
    let scene = Scene::new();
    scene.run().unwrap();
    let (identity, state) =
        (scene.config.files.identity.path.clone(), scene.config.files.state_dir.join("state.json"));
    let good = scene.identity().unwrap();
    for damage in [
        String::new(),
        good[..good.len() / 2].to_owned(),
        "garbage".to_owned(),
        good.replace("host/", "user/host "),
    ] {
        scene.write(&identity, &damage);
        if damage.contains("user/") {
            scene.fails(Class::Tampered, "entries that imprint did not write");
            assert_eq!(scene.identity(), Some(damage));
            scene.write(&identity, &good);
        }
        let _either = scene.run().unwrap();
    }
    std::fs::remove_file(&identity).unwrap();
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))) && scene.is_enrolled());
    for damage in ["", "{", "{\"version\": 7}"] {
        scene.write(&state, damage);
        assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))) && scene.is_enrolled(), "{damage}");
        assert_eq!(scene.count("redeem"), 1);
    }
}

#[test]
fn a_clone_drops_its_parents_identity_and_enrolls_as_itself() {
    let scene = Scene::new();
    scene.run().unwrap();
    scene.firmware("i-0fedcba9876543210");
    // Even when it gets no further, the parent's identity is gone.
    scene.fail("facts", effects::Error::Imds(crate::imds::Error::Disabled));
    scene.fails(Class::Config, "refuses to give a session");
    assert_eq!(scene.identity(), None);
    assert!(
        matches!(scene.run(), Ok(Outcome::Enrolled(host)) if host.as_str().ends_with("i-0fedcba9876543210"))
    );
    assert!(scene.is_enrolled());

    let scene = Scene::new();
    let config = Config { host_id: "app/{hostname}".parse().unwrap(), ..scene.config.clone() };
    let scene = Scene { config, ..scene };
    scene.run().unwrap();
    scene.firmware("i-0fedcba9876543210");
    scene.fails(Class::Config, "is that of i-0123456789abcdef0, from whose image");
    assert_eq!((scene.identity(), scene.count("redeem")), (None, 0));
}

#[test]
fn another_tools_identity_is_never_overwritten() {
    let scene = Scene::new();
    let theirs = "machine https://conjur.example.org/authn\n    login host/theirs\n    password 0123456789abcdefghjk\n";
    let shared = "machine example.org login me password x\nmachine example.net login me password y\n";
    for (text, say) in [(theirs, "is of theirs at"), (shared, "has entries that imprint did not write")] {
        scene.write(&scene.config.files.identity.path, text);
        scene.fails(Class::Tampered, say);
        assert_eq!((scene.identity().as_deref(), scene.count("redeem")), (Some(text), 0));
    }
}

#[test]
fn without_firmware_the_metadata_service_tells() {
    let scene = Scene::new();
    std::fs::remove_dir_all(&scene.config.sys_root).unwrap();
    scene.run().unwrap();
    assert_eq!(scene.count("facts"), 1);
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
    assert_eq!(*scene.calls.borrow(), ["facts"]);
    // No answer costs no identity, and no time.
    scene.fail("facts", effects::Error::Imds(crate::imds::Error::NoRole));
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
    assert_eq!((scene.count("facts"), scene.is_enrolled()), (1, true));
    // Two that disagree: somebody else answers.
    scene.firmware(HERE);
    std::fs::remove_file(&scene.config.files.identity.path).unwrap();
    "i-0fedcba9876543210".clone_into(&mut scene.instance.borrow_mut());
    scene.fails(Class::Tampered, "name different instances");
    assert_eq!(scene.count("redeem"), 0);
}

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
        async fn facts(&self, needs: &Needs) -> Result<Facts, effects::Error> {
            self.0.facts(needs).await
        }
        async fn fetch(&self) -> Result<Vec<u8>, effects::Error> {
            self.0.fetch().await
        }
        async fn unseal(&self, sealed: &SealedToken) -> Result<Zeroizing<Vec<u8>>, effects::Error> {
            self.0.unseal(sealed).await
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
        async fn may_read(&self, with: &AccessToken, variable: &str) -> Result<bool, effects::Error> {
            self.0.may_read(with, variable).await
        }
    }
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(enroll(&scene.config, &Rotating(&scene, fresh), &store::Real)).unwrap();
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

    let scene = Scene::with("leader_url = \"https://leader.example.org\"\n");
    for _ in 0..=REPEATS {
        scene.fail("authenticate at the appliance", status(401));
    }
    scene.fails(
        Class::Transient,
        "https://conjur.example.org does not take the new key, though the leader does",
    );
    assert_eq!(scene.count("redeem"), 1);
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

#[test]
fn what_cannot_be_carried_is_refused_before_anything_is_redeemed() {
    let scene = Scene::new();
    let config = Config { host_id: "app/{tag:Name}/{instance_id}".parse().unwrap(), ..scene.config.clone() };
    let scene = Scene { config, ..scene };
    scene.fails(Class::Config, "does not give a usable host id");
    assert_eq!(scene.count("fetch"), 0);
}

#[test]
fn unfit_targets_are_found_before_anything_is_redeemed() {
    let check = |make: &dyn Fn(&Scene), say: &str| {
        let scene = Scene::new();
        make(&scene);
        scene.fails(Class::Storage, say);
        assert_eq!((scene.count("fetch"), scene.count("redeem")), (0, 0), "{say}");
    };
    check(
        &|s| std::fs::create_dir(&s.config.files.identity.path).unwrap(),
        "is a directory, not a plain file",
    );
    check(
        &|s| std::os::unix::fs::symlink("/dev/null", &s.config.files.identity.path).unwrap(),
        "is a symbolic link",
    );
    check(
        &|s| std::os::unix::fs::symlink("/dev/null", &s.config.files.conf.path).unwrap(),
        "is a symbolic link",
    );
    check(&|s| std::fs::create_dir(&s.config.files.pem.path).unwrap(), "is a directory");
    check(&|s| std::fs::remove_dir(s.dir.path().join("etc")).unwrap(), "cannot open the directory");
    check(&|s| std::fs::write(&s.config.files.state_dir, "").unwrap(), "is not a directory");
    check(
        &|s| {
            use std::os::unix::fs::PermissionsExt as _;
            let open = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(s.dir.path().join("etc"), open).unwrap();
        },
        "is world-writable",
    );
}

#[test]
fn whichever_disk_call_fails_nothing_is_partial_and_the_next_run_ends_well() {
    let count = Faulty::at(0, Errno::NOSPC);
    let scene = Scene::new();
    scene.run_on(&count).unwrap();
    let calls = count.calls.get();
    assert!(calls > 60, "{calls}");
    for at in 1..=calls {
        let scene = Scene::new();
        let error = match scene.run_on(&Faulty::at(at, Errno::NOSPC)) {
            Err(error) => error,
            Ok(outcome) => panic!("call {at}: {outcome:?}"),
        };
        assert_eq!(error.class(), Class::Storage, "call {at}: {}", chain(&error));
        assert!(error.hint().is_some());
        if let Some(text) = scene.identity() {
            assert!(Identity::parse(text.as_bytes()).is_ok(), "call {at} left {text:?}");
        }
        scene.run().unwrap();
        assert!(scene.is_enrolled(), "call {at}");
        assert!(scene.keys.get() <= 2, "call {at}");
    }
}

#[test]
fn whichever_effect_fails_nothing_is_partial_and_the_next_run_ends_well() {
    for call in ["facts", "fetch", "unseal", "redeem", "authenticate", "may_read"] {
        for broken in
            [|| effects::Error::from(unexpected()), || effects::Error::from(lost()), || status(500).into()]
        {
            let scene = Scene::with("proof_variable = \"app/db/password\"\n");
            for _ in 0..=REPEATS {
                scene.fail(call, broken());
            }
            let error = scene.run().unwrap_err();
            assert!(matches!(error.class(), Class::Protocol | Class::Transient), "{call}: {}", chain(&error));
            let stored = matches!(call, "authenticate" | "may_read");
            assert_eq!(scene.identity().is_some(), stored, "{call}");
            scene.script.borrow_mut().clear();
            scene.run().unwrap();
            assert!(scene.is_enrolled(), "{call}");
        }
    }
}

#[test]
fn a_failure_is_remembered_until_the_next_success() {
    let scene = Scene::new();
    scene.fail("redeem", status(403));
    scene.fails(Class::Refused, "is owned by");
    let failure = |scene: &Scene| match state::read(&scene.config.files.state_dir).unwrap() {
        Found::Good(state) => state.last_failure,
        other => panic!("{other:?}"),
    };
    let noted = failure(&scene).unwrap();
    assert_eq!((noted.class.as_str(), noted.at.to_string().as_str()), ("refused", NOW));
    assert!(noted.what.contains("is owned by") && noted.hint.unwrap().contains("!delete"));
    scene.run().unwrap();
    assert_eq!(failure(&scene), None);
}

#[test]
fn one_redeemer_at_a_time() {
    let scene = Scene::new();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let both = tokio::join!(
            enroll(&scene.config, &scene, &store::Real),
            enroll(&scene.config, &scene, &store::Real),
            enroll(&scene.config, &scene, &store::Real)
        );
        for end in [both.0, both.1, both.2] {
            end.unwrap();
        }
    });
    assert_eq!((scene.count("redeem"), scene.is_enrolled()), (1, true));
}

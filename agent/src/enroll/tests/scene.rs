//! A [`Scene`]: a machine with its own disk, and servers that answer as they are told.

use super::super::*;
use crate::config::tests::{CA, config as configuration};
use crate::config::{Kms, S3};
use crate::effects::{self, At};
use crate::facts::{Facts, Needs};
use imprint_core::aws;
use imprint_core::caller::RunId;
use imprint_core::conjur::{self, Health, Redeemed, Role};
use imprint_core::door::CaBundle;
use imprint_core::error::chain;
use imprint_core::sealed::{Binding, Scope, SealedToken};
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, ApiKey, Fingerprint, Token};
use imprint_core::{Class, Classified as _};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

pub(super) const HERE: &str = "i-0123456789abcdef0";
pub(super) const TOKEN: &str = "1taken0000000000000000000000000000000000000000000";
pub(super) const ARN: &str = "arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0";
pub(super) const NOW: &str = "2026-11-22T08:00:00Z";

/// A machine with its own disk, and servers that answer as they are told.
pub(crate) struct Scene {
    pub(super) dir: tempfile::TempDir,
    pub(crate) config: Config,
    pub(super) calls: RefCell<Vec<&'static str>>,
    /// Failures by call, taken in order; `None` lets the call through.
    pub(crate) script: RefCell<Vec<(&'static str, Option<effects::Error>)>>,
    pub(super) sealed: RefCell<Vec<u8>>,
    /// What lies under keys of single instances.
    pub(super) waiting: RefCell<BTreeMap<String, Vec<u8>>>,
    /// Standard input.
    pub(super) given: RefCell<Vec<u8>>,
    pub(super) token: RefCell<String>,
    pub(super) instance: RefCell<String>,
    pub(super) id: RefCell<Option<String>>,
    pub(super) owner: RefCell<String>,
    pub(super) keys: Cell<u32>,
    /// The key that Conjur takes now.
    pub(super) valid: RefCell<Option<String>>,
    /// The key that it takes of the promoted host.
    pub(super) promoted: RefCell<Option<String>>,
    /// The host and the variable that were asked for last.
    pub(super) asked: RefCell<(String, String)>,
    /// Redeems whose key a late duplicate replaces at once.
    pub(super) spoiled: Cell<u32>,
    pub(super) may_read: Cell<bool>,
    /// How often connections were opened ahead.
    pub(super) opened: Cell<u32>,
    /// Whether the servers have a page of their health.
    pub(super) is_enterprise: Cell<bool>,
    pub(super) wishes: Cell<Wishes>,
    pub(super) now: Cell<Second>,
    pub(super) attempt: RunId,
    /// Whether its metadata service tells account, region and image.
    pub(super) is_on_ec2: Cell<bool>,
    /// Of the last redeem.
    pub(super) annotations: RefCell<BTreeMap<String, String>>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::with("")
    }

    pub(crate) fn with(more: &str) -> Self {
        // In memory where that can be: thousands of flushes, each of which a disk would take its time for.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
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
            waiting: RefCell::default(),
            given: RefCell::default(),
            token: RefCell::new(TOKEN.to_owned()),
            instance: RefCell::new(HERE.to_owned()),
            id: RefCell::default(),
            owner: RefCell::new("prod:host_factory:app/web".to_owned()),
            keys: Cell::new(0),
            opened: Cell::new(0),
            valid: RefCell::default(),
            promoted: RefCell::default(),
            asked: RefCell::default(),
            spoiled: Cell::new(0),
            may_read: Cell::new(true),
            is_enterprise: Cell::new(false),
            wishes: Cell::default(),
            now: Cell::new(NOW.parse().unwrap()),
            attempt: RunId::new(Second::from_unix(0), 1),
            is_on_ec2: Cell::new(true),
            annotations: RefCell::default(),
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

    pub(super) fn binding(&self, change: impl Fn(&mut Binding)) -> Binding {
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
        binding
    }

    /// Publishes it where it belongs, or under this key.
    pub(super) fn publish_as(&self, key: Option<&str>, change: impl Fn(&mut Binding)) {
        let binding = self.binding(change);
        let key = key.map_or_else(|| binding.object_key(), str::to_owned);
        let bytes = SealedToken::new(binding, vec![1, 2, 3], "key".to_owned()).unwrap().to_bytes();
        if key.starts_with("instances/") {
            let _former = self.waiting.borrow_mut().insert(key, bytes);
        } else {
            *self.sealed.borrow_mut() = bytes;
        }
    }

    pub(super) fn publish(&self, change: impl Fn(&mut Binding)) {
        self.publish_as(None, change);
    }

    pub(crate) fn fail(&self, call: &'static str, error: impl Into<effects::Error>) {
        self.script.borrow_mut().push((call, Some(error.into())));
    }

    pub(super) fn pass(&self, call: &'static str) {
        self.script.borrow_mut().push((call, None));
    }

    pub(super) fn call(&self, name: &'static str) -> Result<(), effects::Error> {
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

    pub(super) fn run_on(&self, disk: &impl Disk) -> Result<Outcome, Error> {
        self.calls.borrow_mut().clear();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let end = runtime.block_on(enroll(&self.config, self.wishes.get(), self, disk));
        self.tells_no_secret(&end);
        end
    }

    /// Runs an enrollment after one that died, which may have left a draft of the state.
    pub(super) fn boots(&self) -> Result<Outcome, Error> {
        self.calls.borrow_mut().clear();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(enroll(&self.config, self.wishes.get(), self, &store::Real))
    }

    /// Runs an enrollment that dies with the disk: no call of it is carried out any more, cleaning up
    /// included, as when it is killed.
    pub(super) fn dies_on(&self, disk: &impl Disk) -> Error {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(enroll(&self.config, self.wishes.get(), self, disk)).unwrap_err()
    }

    /// Runs a rotation of the key.
    pub(super) fn rotate(&self, disk: &impl Disk) -> Result<Rotated, Error> {
        self.calls.borrow_mut().clear();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let end = runtime.block_on(rotate_key(&self.config, self, disk, Duration::from_secs(60)));
        self.tells_no_secret(&end);
        end
    }

    /// Runs a promotion.
    pub(super) fn promote_on(&self, disk: &impl Disk) -> Result<Promoted, Error> {
        self.calls.borrow_mut().clear();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let end = runtime.block_on(promote(&self.config, self, disk, Duration::from_secs(60)));
        // Whatever became of it, something on the disk authenticates.
        if self.keys.get() > 0 {
            assert!(self.authenticates_from_disk(), "{end:?}");
        }
        end
    }

    pub(super) fn promote(&self) -> Result<Promoted, Error> {
        let end = self.promote_on(&store::Real);
        self.tells_no_secret(&end);
        end
    }

    /// Runs an enrollment that stops short of the redeem.
    pub(super) fn rehearse(&self) -> Result<Rehearsed, Error> {
        self.calls.borrow_mut().clear();
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let end = runtime.block_on(dry_run(&self.config, self.wishes.get(), self, &store::Real));
        self.tells_no_secret(&end);
        end
    }

    fn tells_no_secret<T>(&self, end: &Result<T, Error>) {
        if let Err(error) = end {
            let text = format!("{} {error:?} {}", chain(error), error.hint().unwrap_or_default());
            assert!(!text.contains("1taken") && !text.contains("key000"), "{text}");
            assert!(!chain(error).contains('\n'), "{text}");
        }
        self.no_litter();
    }

    pub(super) fn no_litter(&self) {
        for dir in ["etc", "state"] {
            let Ok(entries) = std::fs::read_dir(self.dir.path().join(dir)) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                let known =
                    ["conjur.identity", "conjur.conf", "conjur.pem", "state.json", "lock", "baked-on"];
                assert!(known.contains(&name.as_str()), "{name} was left behind");
                if path.is_file() && name != "conjur.identity" {
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert!(!text.contains("1taken") && !text.contains("key000"), "{name} tells: {text}");
                }
            }
        }
    }

    pub(super) fn fails(&self, class: Class, say: &str) -> Error {
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

    /// Where Conjur has the key of this host.
    pub(super) fn key_of(&self, host: &str) -> &RefCell<Option<String>> {
        if host.starts_with("db/") { &self.promoted } else { &self.valid }
    }

    /// A new key, which Conjur takes unless a late duplicate replaces it at once.
    fn next_key(&self, host: &HostId) -> String {
        self.keys.set(self.keys.get() + 1);
        let key = format!("key0000000000000000000000000000000000000000000000{:02}", self.keys.get());
        let spoiled = self.spoiled.get();
        self.spoiled.set(spoiled.saturating_sub(1));
        *self.key_of(host.as_str()).borrow_mut() =
            Some(if spoiled > 0 { "spoiled".to_owned() } else { key.clone() });
        key
    }

    pub(super) fn identity(&self) -> Option<String> {
        std::fs::read_to_string(&self.config.files.identity.path).ok()
    }

    pub(super) fn state(&self) -> Box<State> {
        match state::read(&self.config.files.state_dir) {
            Ok(Found::Good(state)) => state,
            other => panic!("{other:?}"),
        }
    }

    /// Another state.
    pub(super) fn state_with(&self, change: impl Fn(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.write(&store::Real, &self.config.files.state_dir).unwrap();
    }

    /// The key on disk is the one that Conjur takes.
    pub(super) fn is_enrolled(&self) -> bool {
        let state = matches!(state::read(&self.config.files.state_dir), Ok(Found::Good(s)) if s.phase == Phase::Enrolled);
        state && self.authenticates_from_disk()
    }

    /// The identity on the disk is one that Conjur takes.
    pub(super) fn authenticates_from_disk(&self) -> bool {
        let on_disk = files::read_back(&self.config).ok();
        on_disk.is_some_and(|it| {
            self.key_of(it.host_id.as_str()).borrow().as_deref() == Some(it.api_key.expose())
        })
    }

    pub(super) fn write(&self, path: &Path, text: &str) {
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

pub(super) fn unexpected() -> conjur::Error {
    conjur::Error::Unexpected {
        operation: "redeem",
        server: "conjur.example.org".to_owned(),
        why: "is not JSON".to_owned(),
    }
}

/// A reply that was lost after Conjur may have acted.
pub(super) fn lost() -> conjur::Error {
    // Any error of the HTTP client will do: what counts is that the outcome is not known.
    let door = imprint_core::door::Door::direct(Duration::from_secs(1)).unwrap();
    let source = door.client().get("not a url").build().unwrap_err();
    conjur::Error::Interrupted { operation: "redeem", server: "conjur.example.org".to_owned(), source }
}

pub(super) fn answered(operation: &'static str, code: &str, status: u16) -> aws::Error {
    aws::Error::Answered { operation, resource: "s3://bucket/key".to_owned(), code: code.to_owned(), status }
}

impl Effects for Scene {
    fn now(&self) -> Second {
        self.now.get()
    }

    fn attempt(&self) -> &RunId {
        &self.attempt
    }

    async fn open_ahead(&self) {
        self.opened.set(self.opened.get() + 1);
    }

    async fn facts(&self, needs: &Needs) -> Result<Facts, effects::Error> {
        // As every answer from outside takes its time.
        tokio::task::yield_now().await;
        self.call("facts")?;
        let of_ec2 = |text: &str| self.is_on_ec2.get().then(|| text.to_owned());
        Ok(Facts {
            account_id: of_ec2("123456789012"),
            hostname: needs.hostname.then(|| "web-1".to_owned()),
            image_id: of_ec2("ami-0fedcba9876543210"),
            instance_id: self.instance.borrow().parse().unwrap(),
            private_ip: Some("10.0.0.5".parse().unwrap()),
            region: of_ec2("eu-west-1"),
            tags: needs.tags.iter().map(|tag| (tag.clone(), "a b".to_owned())).collect(),
        })
    }

    async fn image(&self) -> Result<String, effects::Error> {
        self.call("image")?;
        Ok("ami-0fedcba9876543210".to_owned())
    }

    fn standard_input(&self) -> Result<Zeroizing<Vec<u8>>, crate::source::Error> {
        self.calls.borrow_mut().push("standard input");
        Ok(Zeroizing::new(self.given.borrow().clone()))
    }

    async fn fetch(&self, _: &S3, key: &str) -> Result<Vec<u8>, effects::Error> {
        self.call("fetch")?;
        if key.starts_with("instances/") {
            let found = self.waiting.borrow().get(key).cloned();
            return found.ok_or_else(|| answered("s3:GetObject", "NoSuchKey", 404).into());
        }
        Ok(self.sealed.borrow().clone())
    }

    async fn unseal(&self, _: &Kms, _: &SealedToken) -> Result<Zeroizing<Vec<u8>>, effects::Error> {
        self.call("unseal")?;
        Ok(Zeroizing::new(self.token.borrow().clone().into_bytes()))
    }

    async fn redeem(
        &self,
        token: &Token,
        host: &HostId,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Redeemed, effects::Error> {
        self.annotations.replace(annotations.clone());
        assert_eq!(token.expose(), *self.token.borrow());
        let asked = self.call("redeem");
        if let Err(effects::Error::Conjur(error)) = &asked
            && !matches!(error, conjur::Error::Interrupted { .. } | conjur::Error::Unexpected { .. })
        {
            return asked.map(|()| unreachable!());
        }
        let key = self.next_key(host);
        asked?;
        let id = self.id.borrow().clone().unwrap_or_else(|| format!("prod:host:{host}"));
        let privileged = || "prod:host_factory:db/factory".to_owned();
        let owner = if host.as_str().starts_with("db/") { privileged() } else { self.owner.borrow().clone() };
        Ok(Redeemed { id, owner, api_key: ApiKey::new(Zeroizing::new(key)).unwrap(), created_at: None })
    }

    async fn authenticate(&self, at: At, host: &HostId, key: &ApiKey) -> Result<AccessToken, effects::Error> {
        self.call(match at {
            At::Appliance => "authenticate at the appliance",
            At::Leader => "authenticate",
        })?;
        self.asked.borrow_mut().0 = host.to_string();
        if self.key_of(host.as_str()).borrow().as_deref() == Some(key.expose()) {
            Ok(AccessToken::new(Zeroizing::new(b"{}".to_vec())))
        } else {
            Err(status(401).into())
        }
    }

    async fn may_read(&self, _: &AccessToken, variable: &str) -> Result<bool, effects::Error> {
        self.call("may_read")?;
        variable.clone_into(&mut self.asked.borrow_mut().1);
        Ok(self.may_read.get())
    }

    async fn rotate_key(&self, host: &HostId, key: &ApiKey) -> Result<ApiKey, effects::Error> {
        let asked = self.call("rotate_key");
        if !matches!(&asked, Ok(()) | Err(effects::Error::Conjur(conjur::Error::Interrupted { .. }))) {
            return asked.map(|()| unreachable!());
        }
        if self.key_of(host.as_str()).borrow().as_deref() != Some(key.expose()) {
            return Err(status(401).into());
        }
        let key = self.next_key(host);
        asked?;
        Ok(ApiKey::new(Zeroizing::new(key)).unwrap())
    }

    async fn health(&self, at: At) -> Result<Option<Health>, effects::Error> {
        self.call(match at {
            At::Appliance => "health of the appliance",
            At::Leader => "health",
        })?;
        let position = match at {
            At::Appliance => 1_000,
            At::Leader => 4_000,
        };
        let health = Health { ok: true, role: Role::Unknown, position: Some(position), lag_bytes: None };
        Ok(self.is_enterprise.get().then_some(health))
    }
}

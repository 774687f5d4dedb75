//! Three kinds of agent over the same [`Machine`]: the real one with all its files, the same calls without files,
//! and what scripts do.
//!
//! 100,000 real ones do not fit: each holds the descriptor of its lock while it waits. [`calls`] is what they do
//! between their files, with the same [`Retry`]; a test compares the two, request by request.

use crate::machine::{Machine, TOKEN};
use imprint_agent::config::{Config, Machine as Outside, Source};
use imprint_agent::effects::{At, Effects, Error};
use imprint_agent::enroll::enroll;
use imprint_agent::facts::Needs;
use imprint_agent::step::Wishes;
use imprint_agent::store::Real;
use imprint_agent::verify::{self, verify};
use imprint_core::name::HostId;
use imprint_core::retry::Retry;
use imprint_core::sealed::{Binding, Scope, SealedToken};
use imprint_core::token::{ApiKey, Fingerprint, Token};
use imprint_core::{Class, Classified as _};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

/// What went wrong before a wave began.
pub type Failed = Box<dyn std::error::Error>;

/// Repeats of a run, as `enroll` has them.
const REPEATS: u32 = 200;

/// How often a redeem may have been carried out, as `enroll` counts.
const MOST_REDEEMS: u32 = 3;

/// How long `imprint verify` tries, and how often.
const VERIFY: (Duration, u32) = (Duration::from_secs(60), 50);

/// The configuration of the fleet, and what is published for it.
pub struct Setting {
    /// Of every machine, but for its places.
    pub config: Config,
    /// The object in the bucket.
    pub sealed: SealedToken,
    host: HostId,
    token: Token,
}

impl Setting {
    /// With this window in the binding, and agents that try for so long.
    ///
    /// # Errors
    /// When the configuration is not one, which a test of it would have shown.
    pub fn new(window: Duration, deadline: Duration) -> Result<Self, Failed> {
        let text = format!(
            "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nhost_factory = \"app/web\"\n\
             hosts_branch = \"app/hosts\"\ndeadline = \"{}s\"\n[source]\nbucket = \"imprint-tokens\"\n\
             bucket_owner = \"123456789012\"\n\
             kms_key = \"arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555\"\n",
            deadline.as_secs()
        );
        let config = Config::read(&text, &Outside).map_err(|problems| problems.to_string())?;
        let binding = Binding {
            account: "prod".parse()?,
            host_factory: "app/web".parse()?,
            appliance_url: "https://conjur.example.org".parse()?,
            leader_url: "https://conjur.example.org".parse()?,
            ca_sha256: vec![],
            issued_at: "2026-11-22T07:00:00Z".parse()?,
            expires_at: "2026-11-22T16:00:00Z".parse()?,
            cidr: vec![],
            fingerprint: Fingerprint::of(TOKEN.as_bytes()),
            rotation_id: "r-1".to_owned(),
            spread_s: u32::try_from(window.as_secs())?,
            scope: Scope::Layer,
            hosts_branch: "app/hosts".parse()?,
        };
        let sealed = SealedToken::new(binding, vec![1, 2, 3], "key".to_owned())?;
        let token = Token::new(Zeroizing::new(TOKEN.to_owned()))?;
        Ok(Self { config, sealed, host: "app/hosts/i".parse()?, token })
    }

    /// The configuration of one machine, whose files lie below this directory.
    ///
    /// # Errors
    /// When the directories cannot be made.
    pub fn below(&self, root: &Path, machine: &Machine) -> Result<Config, Failed> {
        let dmi = root.join("sys/class/dmi/id");
        std::fs::create_dir_all(&dmi)?;
        std::fs::create_dir_all(root.join("etc"))?;
        std::fs::write(dmi.join("board_asset_tag"), machine.instance.as_str())?;
        let mut config = self.config.clone();
        config.files.identity.path = root.join("etc/conjur.identity");
        config.files.conf.path = root.join("etc/conjur.conf");
        config.files.pem.path = root.join("etc/conjur.pem");
        config.files.state_dir = root.join("state");
        config.sys_root = root.join("sys");
        config.console = None;
        config.machine_id = PathBuf::from("/nowhere");
        Ok(config)
    }
}

/// The real `imprint enroll`.
///
/// # Errors
/// Its class, when it gives up.
pub async fn real(config: &Config, on: &Machine) -> Result<(), Class> {
    enroll(config, Wishes::default(), on, &Real).await.map(|_| ()).map_err(|error| error.class())
}

/// The real `imprint verify --re-enroll`, as the hourly timer runs it.
///
/// # Errors
/// Its class, when it gives up.
pub async fn real_check(config: &Config, on: &Machine) -> Result<(), Class> {
    match verify(config, on, &Real, VERIFY.0).await {
        Ok(_) => Ok(()),
        Err(verify::Error::Refused { .. }) => real(config, on).await,
        Err(error) => Err(error.class()),
    }
}

/// The key on a machine's disk.
pub type Disk = RefCell<Option<ApiKey>>;

/// What [`real`] asks, in its order and with its retries, without its files. A key that is there is tried
/// before it is replaced.
///
/// # Errors
/// The class of what it gives up at.
pub async fn calls(setting: &Setting, on: &Machine, disk: &Disk) -> Result<(), Class> {
    all_calls(setting, on, disk).await.map_err(|error| error.class())
}

async fn all_calls(setting: &Setting, on: &Machine, disk: &Disk) -> Result<(), Error> {
    let Setting { config, sealed, host, token } = setting;
    let Some(Source::S3(s3)) = config.sources.first() else { return Err(Error::NoMachineId) };
    let window = Duration::from_secs(sealed.binding().spread_s.into());
    let may_pass = Error::may_pass;
    let retry = Retry::new(config.deadline, REPEATS);
    let needs = Needs::default();
    let _facts = retry.run("instance metadata", may_pass, async || on.facts(&needs).await).await?;
    let shown = async |window: Duration| {
        let call = async || authenticate(setting, on, At::Leader, disk).await;
        match retry.run_spread("authenticating", window, may_pass, call).await {
            Err(error) if error.is_unauthorized() => Ok(false),
            end => end.map(|()| true),
        }
    };
    // What the window is, only the token tells.
    if disk.borrow().is_some() && shown(Duration::ZERO).await? {
        return Ok(());
    }
    let once = async || {
        on.fetch(s3, "").await?;
        on.unseal(&s3.kms, sealed).await.map(drop)
    };
    retry.run("fetching a token", may_pass, once).await?;
    retry.turn("the redeem", window).await;
    let redeems = Cell::new(0);
    loop {
        let again = |error: &Error| error.may_pass() && redeems.get() < MOST_REDEEMS;
        let call = async || {
            let end = on.redeem(token, host, &BTreeMap::new()).await;
            let open = |e: &Error| {
                e.conjur().is_some_and(|e| e.is_unknown_outcome() && matches!(e.status(), None | Some(504)))
            };
            if end.as_ref().err().is_none_or(open) {
                redeems.set(redeems.get() + 1);
            }
            end
        };
        disk.replace(Some(retry.run_spread("the redeem", window, again, call).await?.api_key));
        if shown(window).await? {
            return Ok(());
        }
        if redeems.get() >= MOST_REDEEMS {
            return Err(Error::NoMachineId);
        }
    }
}

async fn authenticate(setting: &Setting, on: &Machine, at: At, disk: &Disk) -> Result<(), Error> {
    // Taken out while it is shown: the one story of a machine that looks at its disk is waiting for this.
    let Some(key) = disk.take() else { return Err(Error::NoMachineId) };
    let end = on.authenticate(at, &setting.host, &key).await;
    disk.replace(Some(key));
    end.map(drop)
}

/// The check of the hourly timer, without files.
///
/// # Errors
/// The class of what it gives up at.
pub async fn calls_check(setting: &Setting, on: &Machine, disk: &Disk) -> Result<(), Class> {
    let retry = Retry::new(VERIFY.0, VERIFY.1);
    let call = async || authenticate(setting, on, At::Appliance, disk).await;
    match retry.run("authenticating", Error::may_pass, call).await {
        Err(error) if error.is_unauthorized() => calls(setting, on, disk).await,
        end => end.map_err(|error| error.class()),
    }
}

/// What scripts do: every call again after 1, 2, 4 and so on up to 60 s, without jitter, for as long as an agent.
///
/// # Errors
/// The class of what it gives up at.
pub async fn naive(setting: &Setting, on: &Machine) -> Result<(), Class> {
    let Setting { config, sealed, host, token } = setting;
    let Some(Source::S3(s3)) = config.sources.first() else { return Err(Class::Bug) };
    let end = Instant::now() + config.deadline;
    doubling(end, async || on.facts(&Needs::default()).await).await?;
    doubling(end, async || on.fetch(s3, "").await).await?;
    doubling(end, async || on.unseal(&s3.kms, sealed).await).await?;
    let key = doubling(end, async || on.redeem(token, host, &BTreeMap::new()).await).await?.api_key;
    doubling(end, async || on.authenticate(At::Leader, host, &key).await).await.map(drop)
}

async fn doubling<T>(end: Instant, mut call: impl AsyncFnMut() -> Result<T, Error>) -> Result<T, Class> {
    const MOST: Duration = Duration::from_secs(60);
    let mut pause = Duration::from_secs(1);
    loop {
        match call().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() + pause >= end => return Err(error.class()),
            Err(_) => sleep(pause).await,
        }
        pause = (pause * 2).min(MOST);
    }
}

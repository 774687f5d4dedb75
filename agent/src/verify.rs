//! `imprint verify`: proves that the bytes on the disk authenticate, and remembers how it went.

use crate::config::Config;
use crate::effects::{self, At, Effects};
use crate::facts;
use crate::files;
use crate::journal::event;
use crate::lock::Lock;
use crate::state::{self, Found, Phase, Verified};
use crate::store::Disk;
use imprint_core::name::HostId;
use imprint_core::retry::Retry;
use imprint_core::second::Second;
use imprint_core::{Class, Classified};
use std::time::Duration;

/// Repeats of the one call.
const REPEATS: u32 = 50;

/// Why the identity is not proved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The leader takes it, the appliance that clients ask does not.
    #[error("{login} authenticates at the leader, but not at {url}")]
    Follower {
        /// The host.
        login: String,
        /// The appliance.
        url: String,
        /// What it answered.
        #[source]
        source: effects::Error,
    },
    /// There is none, or it cannot be read.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// It was made on another instance, from whose image this one was made.
    #[error("the identity was made for {made_for}, and this is {here}")]
    Parents {
        /// The instance of the state.
        made_for: String,
        /// This one.
        here: String,
    },
    /// It is for another Conjur than the configured one, to which it is not shown.
    #[error("the identity is for {is}, not for {configured}")]
    Other {
        /// Its appliance URL.
        is: String,
        /// The configured one.
        configured: String,
    },
    /// Conjur says no.
    #[error("{login} does not authenticate")]
    Refused {
        /// The host.
        login: String,
        /// Conjur's answer.
        #[source]
        source: effects::Error,
    },
    /// It could not be found out.
    #[error("whether {login} authenticates is not known")]
    Unknown {
        /// The host.
        login: String,
        /// What failed.
        #[source]
        source: effects::Error,
    },
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Files(error) => error.class(),
            Self::Follower { .. } => Class::Transient,
            Self::Other { .. } | Self::Parents { .. } => Class::Tampered,
            Self::Refused { .. } => Class::Refused,
            Self::Unknown { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Files(error) => error.hint(),
            Self::Follower { .. } => Some("the follower lags or does not replicate: see its health"),
            Self::Other { .. } => Some("run imprint enroll if the configured Conjur is the right one"),
            Self::Parents { .. } => Some("run imprint enroll"),
            Self::Refused { .. } => Some(
                "Conjur does not say which: another party has redeemed or rotated this host's key, the host was removed, or it is restricted to other addresses",
            ),
            Self::Unknown { source, .. } => source.hint(),
        }
    }
}

/// Authenticates with the identity on the disk, at the appliance that its readers use.
///
/// # Errors
/// See [`Error`].
pub async fn verify(
    config: &Config,
    on: &impl Effects,
    disk: &impl Disk,
    within: Duration,
) -> Result<HostId, Error> {
    let end = prove(config, on, within).await;
    if let Ok(host) = &end {
        log::info!(target: "imprint", MESSAGE_ID = event::VERIFIED, host_id = host.as_str(); "{} authenticates", host.login());
    }
    remember(config, disk, &end, on.now()).await;
    end
}

async fn prove(config: &Config, on: &impl Effects, within: Duration) -> Result<HostId, Error> {
    // Whoever may read the identity but not the state verifies all the same.
    if let Some(here) = facts::here(config)
        && let Ok(Found::Good(state)) = state::read(&config.files.state_dir)
        && state.instance_id != here.as_str()
    {
        return Err(Error::Parents { made_for: state.instance_id, here: here.to_string() });
    }
    let identity = files::read_back(config)?;
    // An image may have been baked without the state.
    if let Some(here) = facts::here(config)
        && let templates = [Some(&config.host_id), config.promotion.as_ref().map(|to| &to.host_id)]
        && let Some(named) =
            templates.into_iter().flatten().find_map(|it| it.instance_in(identity.host_id.as_str()))
        && named != here
    {
        return Err(Error::Parents { made_for: named.to_string(), here: here.to_string() });
    }
    if identity.appliance_url != config.appliance_url {
        let (is, configured) = (identity.appliance_url.to_string(), config.appliance_url.to_string());
        return Err(Error::Other { is, configured });
    }
    let login = identity.host_id.login();
    let retry = Retry::new(within, REPEATS);
    // Repeated: it changes nothing.
    let ask = async |at| {
        let call = async || on.authenticate(at, &identity.host_id, &identity.api_key).await;
        retry.run("authenticating", effects::Error::may_pass, call).await
    };
    let source = match ask(At::Appliance).await {
        Ok(_) => return Ok(identity.host_id),
        Err(source) if source.is_unauthorized() => source,
        Err(source) => return Err(Error::Unknown { login, source }),
    };
    if config.leader_url == config.appliance_url {
        return Err(Error::Refused { login, source });
    }
    // A follower that lags says the same as one that knows: only the leader's word counts.
    match ask(At::Leader).await {
        Ok(_) => Err(Error::Follower { login, url: config.appliance_url.to_string(), source }),
        Err(leader) if leader.is_unauthorized() => Err(Error::Refused { login, source: leader }),
        Err(leader) => Err(Error::Unknown { login, source: leader }),
    }
}

/// For `status`, and for the next `enroll`, which replaces a key that died. Who may read the identity but
/// not the state verifies all the same, and an enrollment that is under way will say more than we could.
async fn remember(config: &Config, disk: &impl Disk, end: &Result<HostId, Error>, now: Second) {
    let directory = &config.files.state_dir;
    let Ok(_lock) = Lock::take(directory, Duration::ZERO).await else { return };
    let Ok(Found::Good(mut state)) = state::read(directory) else { return };
    let outcome = end.as_ref().map_or_else(|e| e.class().to_string(), |_| "ok".to_owned());
    state.last_verify = Some(Verified { at: now, outcome });
    match end {
        Ok(_) => state.key_died_at = None,
        // A run that was killed may have left a key that was never proved: the next one goes on from there.
        Err(Error::Refused { login, .. })
            if state.key_died_at.is_none() && state.phase == Phase::Enrolled =>
        {
            state.key_died_at = Some(now);
            log::warn!(
                target: "imprint", MESSAGE_ID = event::KEY_DIED, host_id = state.host_id.as_str();
                "Conjur does not take the key of {login} any more: a sign that another party holds this id"
            );
        }
        Err(_) => {}
    }
    let _only_noted = state.write(disk, directory);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enroll::tests::scene::{Scene, status};
    use crate::store::Real;
    use imprint_core::error::chain;

    #[expect(clippy::result_large_err, reason = "as the function under test")]
    fn run(scene: &Scene, within: u64) -> Result<HostId, Error> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let end = runtime.block_on(verify(&scene.config, scene, &Real, Duration::from_secs(within)));
        let outcome = match state::read(&scene.config.files.state_dir) {
            Ok(Found::Good(state)) => state.last_verify.map(|v| v.outcome),
            Ok(Found::Missing | Found::Unreadable(_)) | Err(_) => None,
        };
        if let Some(outcome) = outcome {
            let expect = end.as_ref().map_or_else(|e| e.class().to_string(), |_| "ok".to_owned());
            assert_eq!(outcome, expect);
        }
        end
    }

    fn fails(scene: &Scene, class: Class, say: &str) {
        let error = run(scene, 60).unwrap_err();
        assert!(chain(&error).contains(say), "{}", chain(&error));
        assert_eq!(error.class(), class);
        assert!(error.hint().is_some());
    }

    #[test]
    fn only_the_leaders_no_is_the_death_of_a_key() {
        let died = |scene: &Scene| match state::read(&scene.config.files.state_dir) {
            Ok(Found::Good(state)) => state.key_died_at,
            other => panic!("{other:?}"),
        };
        let scene = Scene::with("leader_url = \"https://leader.example.org\"\n");
        scene.run().unwrap();
        scene.fail(CALL, status(401));
        fails(&scene, Class::Transient, "authenticates at the leader, but not at https://conjur.example.org");
        assert_eq!(died(&scene), None);
        scene.fail(CALL, status(401));
        scene.fail("authenticate", status(403));
        fails(&scene, Class::Refused, "is not known");
        assert_eq!(died(&scene), None);
        scene.fail(CALL, status(401));
        scene.fail("authenticate", status(401));
        fails(&scene, Class::Refused, "does not authenticate");
        assert_eq!(died(&scene), Some(scene.now()));
        // It came back to life: a database was restored.
        run(&scene, 60).unwrap();
        assert_eq!(died(&scene), None);

        let scene = Scene::new();
        scene.run().unwrap();
        scene.fail(CALL, status(401));
        fails(&scene, Class::Refused, "does not authenticate");
        assert!(died(&scene).is_some());
    }

    const CALL: &str = "authenticate at the appliance";

    #[test]
    fn what_the_identity_on_disk_is_worth() {
        let scene = Scene::new();
        fails(&scene, Class::Absent, "there is no identity at");
        scene.run().unwrap();
        let host = run(&scene, 60).unwrap();
        assert!(host.as_str().ends_with("i-0123456789abcdef0"));

        // One answer is enough for a no; a server that restarts is waited for.
        scene.fail(CALL, status(401));
        fails(&scene, Class::Refused, "does not authenticate: test: conjur.example.org answered 401");
        for _ in 0..3 {
            scene.fail(CALL, status(503));
        }
        run(&scene, 600).unwrap();
        for _ in 0..=REPEATS {
            scene.fail(CALL, status(503));
        }
        fails(&scene, Class::Transient, "is not known");

        let path = &scene.config.files.identity.path;
        let good = std::fs::read_to_string(path).unwrap();
        std::fs::write(path, &good[..good.len() - 5]).unwrap();
        fails(&scene, Class::Tampered, "cannot be used: it is cut off");
        // A key is never shown to a server that it is not for.
        std::fs::write(path, good.replace("conjur.example.org", "evil.example.org")).unwrap();
        let before = scene.count(CALL);
        fails(&scene, Class::Tampered, "is for https://evil.example.org, not for https://conjur.example.org");
        assert_eq!(scene.count(CALL), before);

        // Nor is a parent's key used by a clone.
        std::fs::write(path, &good).unwrap();
        scene.firmware("i-0fedcba9876543210");
        fails(&scene, Class::Tampered, "was made for i-0123456789abcdef0, and this is i-0fedcba9876543210");
        assert_eq!(scene.count(CALL), before);
        let state = scene.config.files.state_dir.join("state.json");
        let kept = std::fs::read(&state).unwrap();
        std::fs::remove_file(&state).unwrap();
        fails(&scene, Class::Tampered, "was made for i-0123456789abcdef0, and this is i-0fedcba9876543210");
        assert_eq!(scene.count(CALL), before);
        std::fs::write(&state, kept).unwrap();
        // Where the firmware does not tell, there is nothing to compare.
        std::fs::remove_dir_all(&scene.config.sys_root).unwrap();
        scene.script.borrow_mut().clear();
        run(&scene, 60).unwrap();
    }
}

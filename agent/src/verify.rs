//! `imprint verify`: proves that the bytes on the disk authenticate, and remembers how it went.

use crate::config::Config;
use crate::effects::{self, At, Effects};
use crate::files;
use crate::journal::event;
use crate::lock::Lock;
use crate::state::{self, Found, Verified};
use crate::store::Disk;
use imprint_core::name::HostId;
use imprint_core::retry::Retry;
use imprint_core::{Class, Classified};
use std::time::Duration;

/// Repeats of the one call.
const REPEATS: u32 = 50;

/// Why the identity is not proved.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none, or it cannot be read.
    #[error(transparent)]
    Files(#[from] files::Error),
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
            Self::Other { .. } => Class::Tampered,
            Self::Refused { .. } => Class::Refused,
            Self::Unknown { source, .. } => source.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Files(error) => error.hint(),
            Self::Other { .. } => Some("run imprint enroll if the configured Conjur is the right one"),
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
    match &end {
        Ok(host) => {
            log::info!(target: "imprint", MESSAGE_ID = event::VERIFIED, host_id = host.as_str(); "{} authenticates", host.login());
        }
        Err(error) => log::debug!(
            target: "imprint", MESSAGE_ID = event::VERIFY_FAILED, class = error.class().as_str();
            "{}", imprint_core::error::chain(error)
        ),
    }
    let outcome = end.as_ref().map_or_else(|e| e.class().to_string(), |_| "ok".to_owned());
    remember(config, disk, Verified { at: on.now(), outcome }).await;
    end
}

async fn prove(config: &Config, on: &impl Effects, within: Duration) -> Result<HostId, Error> {
    let identity = files::read_back(&config.files)?;
    if identity.appliance_url != config.appliance_url {
        let (is, configured) = (identity.appliance_url.to_string(), config.appliance_url.to_string());
        return Err(Error::Other { is, configured });
    }
    let login = identity.host_id.login();
    // Repeated: it changes nothing.
    let call = async || on.authenticate(At::Appliance, &identity.host_id, &identity.api_key).await;
    match Retry::new(within, REPEATS).run("authenticating", effects::Error::may_pass, call).await {
        Ok(_) => Ok(identity.host_id),
        Err(source) if source.is_unauthorized() => Err(Error::Refused { login, source }),
        Err(source) => Err(Error::Unknown { login, source }),
    }
}

/// For `status`. Who may read the identity but not the state verifies all the same, and an enrollment
/// that is under way will say more than we could.
async fn remember(config: &Config, disk: &impl Disk, verified: Verified) {
    let directory = &config.files.state_dir;
    let Ok(_lock) = Lock::take(directory, Duration::ZERO).await else { return };
    if let Ok(Found::Good(mut state)) = state::read(directory) {
        state.last_verify = Some(verified);
        let _only_for_status = state.write(disk, directory);
    }
}

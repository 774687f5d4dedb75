//! What is on the disk, shown to Conjur: at the leader, then where clients go, then the proof of the
//! layer.

use super::{Error, REPEATS, Run};
use crate::effects::{self, At, Effects};
use crate::files;
use crate::identity::Identity;
use crate::store::Disk;
use imprint_core::name::HostId;
use imprint_core::retry::Retry;
use imprint_core::token::AccessToken;
use std::time::Duration;

/// How long a follower may lag behind the leader before that is worth an error.
const LAG: Duration = Duration::from_secs(60);

impl<E: Effects, D: Disk> Run<'_, E, D> {
    /// Authenticates with the bytes that are on the disk, at the leader and then where clients go.
    /// `None` when the leader says 401. Repeated: it changes nothing.
    pub(super) async fn authenticates(&self, host: &HostId) -> Result<Option<AccessToken>, Error> {
        let identity = files::read_back(self.config)?;
        if identity.host_id != *host || identity.appliance_url != self.config.appliance_url {
            return Err(Error::ChangedOnDisk);
        }
        self.shown(&identity).await
    }

    /// The same with an identity that need not be on the disk yet.
    pub(super) async fn shown(&self, identity: &Identity) -> Result<Option<AccessToken>, Error> {
        let host = &identity.host_id;
        let call = async || self.on.authenticate(At::Leader, host, &identity.api_key).await;
        let again = effects::Error::may_pass;
        let session = match self.retry.run_spread("authenticating", self.spread.get(), again, call).await {
            Ok(session) => session,
            Err(error) if error.is_unauthorized() => return Ok(None),
            Err(error) => return Err(Error::Verify { host: host.clone(), source: error }),
        };
        if self.config.leader_url != self.config.appliance_url {
            // The leader has just taken the key: a 401 here can only be lag.
            let lag = Retry::new(LAG.min(self.retry.remaining()), REPEATS);
            let again = |e: &effects::Error| e.may_pass() || e.is_unauthorized();
            let call = async || self.on.authenticate(At::Appliance, host, &identity.api_key).await;
            if let Err(source) = lag.run("waiting for the follower", again, call).await {
                let (url, behind) = (self.config.appliance_url.clone(), self.behind().await);
                return Err(Error::Follower { url, behind, source });
            }
        }
        Ok(Some(session))
    }

    /// How many bytes the follower is behind, where both servers tell; the open-source server has no page
    /// that would.
    async fn behind(&self) -> Option<u64> {
        let follower = self.on.health(At::Appliance).await.ok()??;
        let leader = self.on.health(At::Leader).await.ok()??;
        follower.behind(&leader).or(leader.lag_bytes)
    }

    /// Conjur says 201 also for a host that was taken out of its layer: only what it may read proves
    /// that it is in. Repeated: it changes nothing.
    pub(super) async fn prove(&self, session: &AccessToken, host: &HostId) -> Result<(), Error> {
        let Some(variable) = &self.config.proof_variable else { return Ok(()) };
        let call = async || self.on.may_read(session, variable).await;
        if self.retry.run("the proof", effects::Error::may_pass, call).await? {
            Ok(())
        } else {
            Err(Error::Proof { host: host.clone(), variable: variable.clone() })
        }
    }
}

//! What an earlier run left on the disk is tried before it is replaced: a redeem kills its key.

use super::{Error, Run};
use crate::effects::Effects;
use crate::files;
use crate::step::{self, Known, Step};
use crate::store::Disk;
use imprint_core::name::HostId;

impl<E: Effects, D: Disk> Run<'_, E, D> {
    /// Whether the identity on the disk turned out to be good, so that nothing needs to be redeemed. A
    /// 401 at the leader says that it is not; what cannot be found out is an error, as it costs a key.
    pub(super) async fn adopt(&self, next: &Step, known: &Known<'_>, host: &HostId) -> Result<bool, Error> {
        if !step::may_be_adopted(next, known, host) {
            return Ok(false);
        }
        let Some(session) = self.authenticates(host).await? else {
            log::info!(target: "imprint", "the identity on disk does not authenticate");
            return Ok(false);
        };
        self.prove(&session, host).await?;
        // The run that was lost may have ended between two files.
        files::write(self.disk, self.config, &files::read_back(self.config)?, self.former.get())?;
        log::info!(target: "imprint", "the identity on disk authenticates, so nothing was redeemed");
        Ok(true)
    }
}

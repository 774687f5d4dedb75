//! From where the token comes: fetch, check, unseal, compare with its binding.

use super::{Error, Run};
use crate::binding;
use crate::effects::Effects;
use crate::facts::InstanceId;
use crate::state::State;
use crate::store::Disk;
use imprint_core::sealed::{Binding, SealedToken};
use imprint_core::token::{Fingerprint, Token};
use std::time::Duration;
use zeroize::Zeroizing;

/// A token that may be redeemed.
pub(super) struct Unsealed {
    pub(super) token: Token,
    /// What it was sealed with; `None` for one that came in clear.
    pub(super) binding: Option<Binding>,
}

impl Unsealed {
    /// Its name in logs.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.token.fingerprint()
    }

    /// Remembers that it was redeemed.
    pub(super) fn note_in(&self, state: &mut State) {
        state.token = Some(self.fingerprint().to_string());
        if let Some(binding) = &self.binding {
            state.token_issued_at = Some(binding.issued_at);
        }
    }
}

impl<E: Effects, D: Disk> Run<'_, E, D> {
    /// Fetch, check, unseal. Repeated until the deadline: reads without effect, and what is absent or
    /// expired now may be published in a moment.
    pub(super) async fn token(&self, here: &InstanceId) -> Result<Unsealed, Error> {
        self.retry.run("fetching a token", Error::may_pass, async || self.token_once(here).await).await
    }

    async fn token_once(&self, here: &InstanceId) -> Result<Unsealed, Error> {
        let sealed = SealedToken::parse(&self.on.fetch().await?)?;
        // Before unsealing, so that KMS is not asked for what is not ours; KMS then proves the binding.
        binding::check(sealed.binding(), self.config, here, self.on.now())?;
        let plain = self.on.unseal(&sealed).await?;
        let text = std::str::from_utf8(&plain).map_err(|_| Error::NotAToken(None))?;
        let token = Token::new(Zeroizing::new(text.to_owned())).map_err(|e| Error::NotAToken(Some(e)))?;
        binding::check_token(sealed.binding(), &token)?;
        let binding = sealed.binding().clone();
        log::info!(
            target: "imprint", token = binding.fingerprint.as_str(), rotation = binding.rotation_id.as_str();
            "unsealed token {} of {}, good until {}", binding.fingerprint, binding.host_factory, binding.expires_at
        );
        self.spread.set(Duration::from_secs(binding.spread_s.into()));
        Ok(Unsealed { token, binding: Some(binding) })
    }
}

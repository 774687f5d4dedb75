//! What one factory's part of a run deletes at Conjur once the published token is settled.
//!
//! Orphans, tokens that were minted and never will be published, are revoked; one expired token of
//! ours is deleted, since Conjur never does. No failure here is one of the rotation.

use super::factory::{Notes, Part};
use super::is_transient;
use super::report::Swept;
use crate::effects::{self, Effects};
use imprint_core::conjur::{Minted, Revoked};
use imprint_core::error::chain;
use imprint_core::token::{Fingerprint, Token};

impl<E: Effects> Part<'_, E> {
    /// Revokes tokens of ours that no agent can hold. What is left on purpose is a note of a run that
    /// minted; others would say it every 15 minutes.
    pub(super) async fn sweep_orphans(
        &self,
        tokens: &[Minted],
        orphans: Vec<Fingerprint>,
        minted: bool,
        notes: &Notes,
    ) -> Swept {
        if self.run.config.revoke {
            let (swept, _told) = self.sweep(tokens, orphans, "orphan", notes).await;
            let (factory, rotation_id) = (self.factory.id.as_str(), self.run.id.as_str());
            for fingerprint in swept.revoked.iter().map(Fingerprint::as_str) {
                let event = "orphan revoked";
                log::warn!(event, factory, rotation_id, fingerprint; "{factory}: token {fingerprint}, which was minted and never published, is revoked");
            }
            return swept;
        }
        if minted && !orphans.is_empty() {
            let left = format!("{} orphans are left, since revoke = false", orphans.len());
            notes.borrow_mut().push(left);
        }
        Swept { revoked: Vec::new(), left: orphans }
    }

    /// Revokes each of `those`, as long as the run lasts, and tells which live on, with the last failure.
    pub(super) async fn sweep(
        &self,
        tokens: &[Minted],
        those: Vec<Fingerprint>,
        what: &str,
        notes: &Notes,
    ) -> (Swept, Option<effects::Error>) {
        let (mut swept, mut last) = (Swept::default(), None);
        for fingerprint in those {
            let token = tokens.iter().find(|token| token.token.fingerprint() == fingerprint);
            let Some(token) = token.filter(|_| !self.run.is_over()) else {
                swept.left.push(fingerprint);
                continue;
            };
            match self.revoke(&token.token).await {
                Ok(_now_or_before) => swept.revoked.push(fingerprint),
                Err(error) => {
                    let why = chain(&error);
                    notes.borrow_mut().push(format!("{what} {fingerprint} could not be revoked: {why}"));
                    swept.left.push(fingerprint);
                    last = Some(error);
                }
            }
        }
        (swept, last)
    }

    /// Deletes the oldest expired token of ours. A failure is told, but is no failure of the rotation.
    pub(super) async fn tidy(&self, tokens: &[Minted], expired: &[Fingerprint], minted: bool, notes: &Notes) {
        let Some(oldest) = expired.first() else { return };
        if !self.run.config.revoke {
            let left = format!("{} expired tokens of ours are left, since revoke = false", expired.len());
            if minted {
                notes.borrow_mut().push(left);
            } else {
                log::info!("{}: {left}", self.factory.id);
            }
            return;
        }
        for token in tokens.iter().filter(|token| token.token.fingerprint() == *oldest) {
            match self.revoke(&token.token).await {
                Ok(_) => log::debug!("{}: deleted expired token {oldest}", self.factory.id),
                Err(error) => notes
                    .borrow_mut()
                    .push(format!("expired token {oldest} could not be deleted: {}", chain(&error))),
            }
        }
    }

    pub(super) async fn revoke(&self, token: &Token) -> Result<Revoked, effects::Error> {
        self.session
            .with(&self.retry, "revoke", is_transient, async |with| self.on.revoke(with, token).await)
            .await
    }
}

//! The end of an incident: once new tokens are published and were read back, all older ones are revoked.
//!
//! Nothing is revoked on belief. Conjur lists the tokens once more, so that those of runs at the same time
//! are seen, and S3 is asked once more whether agents find the new token. Whoever fetched an older one is
//! refused at the redeem and fetches again. A second command after a failure mints again and revokes what
//! is left.

use super::factory::{Notes, Part};
use super::report::{Done, Outcome, Swept};
use super::turns::Tokens;
use super::{Error, list};
use crate::effects::Effects;
use crate::label::Kind;
use crate::plan::{Listed, superseded};
use crate::session::Session;
use futures_util::{StreamExt as _, stream};
use imprint_core::conjur::Minted;
use imprint_core::error::chain;
use imprint_core::token::Fingerprint;

/// Revokes the older tokens of each factory whose rotation was good; `parts` and `outcomes` are in one order.
pub(super) async fn revoke_superseded<E: Effects>(
    session: &Session<'_, E>,
    parts: Vec<Part<'_, E>>,
    outcomes: Vec<Outcome>,
) -> Vec<Outcome> {
    let Some(Part { run, on, .. }) = parts.first() else { return outcomes };
    // What fails here is asked of each factory alone.
    let listed = list(*on, session, &run.retry).await.unwrap_or_else(|error| {
        log::error!("Conjur did not list the tokens again: {}", chain(&error));
        Tokens::new()
    });
    stream::iter(parts.iter().zip(outcomes))
        .map(async |(part, outcome)| {
            let tokens = listed.get(&outcome.factory).map(Vec::as_slice);
            let new = match &outcome.result {
                Ok(Done::Rotated { fingerprint, .. }) => Ok(Some(fingerprint.clone())),
                // Whatever was shared before is for nobody.
                Ok(Done::Unshared) => Ok(None),
                Ok(Done::LostRace { .. } | Done::Kept { .. }) => {
                    Err(part.in_doubt("another run published first"))
                }
                // It was logged, and says more than that nothing was revoked.
                Err(_) => return outcome,
            };
            part.end(tokens, new, outcome).await
        })
        .buffered(run.config.concurrency)
        .collect()
        .await
}

impl<E: Effects> Part<'_, E> {
    async fn end(
        &self,
        tokens: Option<&[Minted]>,
        new: Result<Option<Fingerprint>, Error>,
        mut outcome: Outcome,
    ) -> Outcome {
        let notes = Notes::default();
        let ended = match new {
            Err(error) => Err(error),
            Ok(new) => self.revoke_older(tokens, new.as_ref(), &notes).await.map(|(swept, error)| {
                let left = swept.left.len();
                outcome.older = Some(swept);
                (left, new, error)
            }),
        };
        let failed = match ended {
            Ok((0, ..)) => None,
            Ok((left, fingerprint, source)) => {
                let (factory, source) = (self.factory.id.clone(), source.map(Box::new));
                Some(Error::StillLive { factory, fingerprint, left, source })
            }
            Err(error) => Some(error),
        };
        let rotation_id = self.run.id.as_str();
        let factory = self.factory.id.as_str();
        for note in notes.into_inner() {
            log::warn!(factory, rotation_id; "{factory}: {note}");
            outcome.notes.push(note);
        }
        if let Some(error) = failed {
            outcome.result = Err(error);
            outcome.log_end(rotation_id);
        }
        outcome
    }

    async fn revoke_older(
        &self,
        listed: Option<&[Minted]>,
        new: Option<&Fingerprint>,
        notes: &Notes,
    ) -> Result<(Swept, Option<crate::effects::Error>), Error> {
        let (config, now) = (self.run.config, self.on.now());
        let tokens = self.tokens(listed).await?;
        let tokens = tokens.as_ref();
        let listed: Vec<Listed> = tokens.iter().map(Listed::of).collect();
        if let Some(new) = new {
            if !listed.iter().any(|token| token.fingerprint == *new && token.is_ours(config.deployment)) {
                return Err(self.in_doubt("Conjur does not list the new one"));
            }
            if self.find().await?.binding_fingerprint().as_ref() != Some(new) {
                return Err(self.in_doubt("another run published just after"));
            }
        }
        for (kind, what) in [
            (Kind::ClientData, "were sealed with client data"),
            (Kind::ByHand, "were minted by hand"),
            (Kind::Instance, "were minted for one instance each"),
        ] {
            let is_it = |token: &&Listed| {
                let is_kind = token.label.is_some_and(|label| label.kind == kind);
                is_kind && token.is_ours(config.deployment) && token.expires_at > now
            };
            let left = listed.iter().filter(is_it).count();
            if left > 0 {
                notes
                    .borrow_mut()
                    .push(format!("{left} tokens that {what} live on: no published token takes their place"));
            }
        }
        let older = superseded(&listed, new, config.deployment, now);
        Ok(self.sweep(tokens, older, "older token", notes).await)
    }

    fn in_doubt(&self, why: &'static str) -> Error {
        Error::InDoubt { factory: self.factory.id.clone(), why }
    }
}

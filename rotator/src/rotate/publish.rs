//! The put of one factory's sealed token, the read back, and what becomes of the token when it fails.
//!
//! A token that is not published is revoked, but only when it never will be: a put without a plain
//! answer may be carried out at any later time, and a dead token must not take the place of a live
//! one. Such a token is left alive and named; the next run sees whether it was published.

use super::factory::{Found, Notes, Part};
use super::{Error, is_transient};
use crate::effects::{self, Effects};
use imprint_core::error::{Class, Classified as _, chain};
use imprint_core::sealed::SealedToken;
use imprint_core::second::Second;
use imprint_core::token::Token;
use std::cell::Cell;

/// What became of a put that failed.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Fate {
    /// It was not done, and what is there instead cannot be read.
    Hidden,
    /// It was not done.
    NotOurs,
    /// It was not done: another run's sealed token has come there meanwhile.
    Others,
    /// An earlier attempt got through after all.
    Ours,
    /// Nobody can tell, or it may still be done.
    Unknown,
}

impl<E: Effects> Part<'_, E> {
    /// put, and the read back. Whether this run's token is the published one; an error when it is not,
    /// or is not proven.
    ///
    /// put: its condition lets it happen once, so it may be repeated; the repeat of one whose reply was
    /// lost meets its own object and is told "conflict". So a put that failed in any way is judged by
    /// what is there afterwards.
    pub(super) async fn publish(
        &self,
        sealed: &SealedToken,
        token: &Token,
        minted_at: Second,
        found: &Found,
        notes: &Notes,
    ) -> Result<bool, Error> {
        let (key, bytes) = (self.key(), sealed.to_bytes());
        let unanswered = Cell::new(false);
        let again = |error: &Error| {
            let again = |error: &effects::Error| !error.is_conflict() || error.is_contended();
            matches!(error, Error::Effect(error) if is_transient(error) && again(error))
        };
        let call = async || {
            // A process can be frozen between two lines (a Lambda between two events is) and wake up
            // when others already take this token for an orphan. So the clock is read last.
            if !self.run.config.policy.may_publish(minted_at, self.on.now()) {
                let fingerprint = token.fingerprint();
                return Err(Error::TooLate { factory: self.factory.id.clone(), fingerprint });
            }
            let put = self.on.put(&key, bytes.clone(), &found.only).await;
            put.map_err(|error| {
                unanswered.set(unanswered.get() || !is_plain_no(&error));
                Error::Effect(error)
            })
        };
        let put = self.retry.run("s3:PutObject", again, call).await;
        let unanswered = unanswered.get();
        let Err(error) = put else {
            return self.read_back(sealed, token, unanswered, notes).await.map(|()| true);
        };
        let (factory, fingerprint) = (self.factory.id.clone(), token.fingerprint());
        let conflict = matches!(&error, Error::Effect(error) if error.is_conflict());
        match self.fate_of(sealed, found, unanswered).await {
            Fate::Ours => self.read_back(sealed, token, unanswered, notes).await.map(|()| true),
            Fate::Unknown => Err(Error::UnknownFate { factory, fingerprint, source: Box::new(error) }),
            Fate::Others if conflict => match self.unmint(token, notes).await {
                Ok(()) => Ok(false),
                Err(error) => Err(Error::LivesOn { factory, fingerprint, source: Box::new(error.into()) }),
            },
            fate @ (Fate::Hidden | Fate::NotOurs | Fate::Others) => {
                self.take_back(token, notes).await;
                Err(if conflict && fate == Fate::Hidden { self.hidden() } else { error })
            }
        }
    }

    /// `unanswered`: an attempt had no plain answer, so that it may still be carried out.
    async fn fate_of(&self, sealed: &SealedToken, found: &Found, unanswered: bool) -> Fate {
        match self.find().await {
            Ok(Found { sealed: Some(Ok(there)), .. }) if there == *sealed => Fate::Ours,
            Ok(_) | Err(_) if unanswered => Fate::Unknown,
            Ok(Found { sure: false, .. }) => Fate::Hidden,
            // A conflict without another run's token: S3 was busy with a put that came to nothing.
            Ok(Found { only, .. }) if only == found.only => Fate::NotOurs,
            Ok(Found { sealed: Some(Ok(_)), .. }) => Fate::Others,
            Ok(_) | Err(_) => Fate::NotOurs,
        }
    }

    /// get and decrypt: reading is neutral.
    async fn read_back(
        &self,
        sealed: &SealedToken,
        token: &Token,
        unanswered: bool,
        notes: &Notes,
    ) -> Result<(), Error> {
        let fingerprint = &sealed.binding().fingerprint;
        let unproven = |error: Error| {
            let note = format!("token {fingerprint} is published, but was not read back");
            notes.borrow_mut().push(note);
            error
        };
        let found = self.find().await.map_err(unproven)?;
        let why = match found.sealed {
            Some(Ok(there)) if there == *sealed => {
                let context = sealed.binding().context();
                let call = async || self.on.decrypt(there.ciphertext(), &context).await;
                match self.retry.run("kms:Decrypt", is_transient, call).await {
                    Ok(opened) if opened.as_slice() == token.expose().as_bytes() => return Ok(()),
                    Ok(_) => "it opens to another token",
                    Err(error) if error.class() == Class::Tampered => "it does not open",
                    Err(error) => return Err(unproven(error.into())),
                }
            }
            // Later than our put, so it knew of ours; agents may hold either token.
            Some(Ok(there)) if there.binding().fingerprint != *fingerprint => {
                let later = &there.binding().fingerprint;
                notes.borrow_mut().push(format!("superseded at once by token {later} of another run"));
                return Ok(());
            }
            Some(Ok(_)) => "it was changed",
            Some(Err(_)) => "it was overwritten with something else",
            None if found.sure => "it is gone",
            // It may be there, and agents with other rights may read it.
            None => return Err(unproven(self.hidden())),
        };
        // Nobody can use the token from there, and the next run replaces what Conjur does not list.
        if unanswered {
            let note =
                format!("token {fingerprint} lives on, since a put without an answer may still be done");
            notes.borrow_mut().push(note);
        } else {
            self.take_back(token, notes).await;
        }
        Err(Error::ReadBack { factory: self.factory.id.clone(), why })
    }

    /// Revokes a token that was minted and never will be published. A failure is told beside the one
    /// that led here.
    pub(super) async fn take_back(&self, token: &Token, notes: &Notes) {
        if let Err(error) = self.unmint(token, notes).await {
            notes.borrow_mut().push(format!(
                "token {} is not published and lives on, since it could not be revoked: {}",
                token.fingerprint(),
                chain(&error)
            ));
        }
    }

    /// revoke, where the configuration allows it: a repeat finds the token gone, which is as good.
    async fn unmint(&self, token: &Token, notes: &Notes) -> Result<(), effects::Error> {
        let fingerprint = token.fingerprint();
        let note = if self.run.config.revoke {
            let _now_or_before = self.revoke(token).await?;
            format!("token {fingerprint} was not published and is revoked")
        } else {
            format!("token {fingerprint} is not published and lives on, since revoke = false")
        };
        notes.borrow_mut().push(note);
        Ok(())
    }

    fn hidden(&self) -> Error {
        Error::Hidden { factory: self.factory.id.clone(), key: self.key() }
    }
}

/// S3 said no, or that somebody else was first: it did not put, and will not.
fn is_plain_no(error: &effects::Error) -> bool {
    error.is_conflict() || matches!(error.class(), Class::Refused | Class::Config)
}

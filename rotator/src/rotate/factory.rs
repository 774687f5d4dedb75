//! One factory's part of a run, from what is published to what is published now.
//!
//! Every step may be the last one. What is known at each: before the put, a token that was minted
//! is nobody's, and is revoked when the flow fails; after the put, it belongs to the agents.

use super::report::{Done, Outcome};
use super::session::Session;
use super::{Error, LEAST, Run, is_transient};
use crate::config::Factory;
use crate::effects::{self, Effects};
use crate::label::Label;
use crate::plan::{Facts, Listed, Published, Step, Why, plan};
use imprint_core::aws::Only;
use imprint_core::conjur::{Mint, Minted, Revoked};
use imprint_core::error::{Class, Classified as _, chain};
use imprint_core::sealed::{SealedToken, layer_key};
use imprint_core::token::{Fingerprint, Token};
use std::cell::{Cell, RefCell};

/// After so many mints of unknown outcome a factory is left to the next run.
const MOST_LOST: u32 = 2;

pub(super) struct Part<'a, E> {
    pub(super) run: &'a Run<'a>,
    pub(super) on: &'a E,
    pub(super) session: &'a Session<'a, E>,
    pub(super) factory: &'a Factory,
}

/// What lies under the factory's key, and under which condition it may be replaced.
struct Found {
    sealed: Option<Result<SealedToken, imprint_core::sealed::Error>>,
    only: Only,
    /// Whether the answer is to be believed: to a role that may not read an object, S3 says no whether
    /// it exists or not.
    sure: bool,
}

/// What became of a put that failed.
enum Fate {
    /// It was not done, and what is there instead cannot be read.
    Hidden,
    /// It was not done.
    NotOurs,
    /// Another run's sealed token is there.
    Others,
    /// An earlier attempt got through after all.
    Ours,
    /// Nobody can tell.
    Unknown,
}

type Notes = RefCell<Vec<String>>;

impl<E: Effects> Part<'_, E> {
    /// Keeps or replaces the published token; then deletes at most one expired token of ours.
    pub(super) async fn rotate(&self, listed: Option<&[Minted]>) -> Outcome {
        let notes = Notes::default();
        let result = self.keep_or_replace(listed, &notes).await;
        Outcome { factory: self.factory.id.clone(), result, notes: notes.into_inner() }
    }

    async fn keep_or_replace(&self, tokens: Option<&[Minted]>, notes: &Notes) -> Result<Done, Error> {
        let config = self.run.config;
        let unseen = || Error::Unseen { factory: self.factory.id.clone(), login: config.login.clone() };
        let tokens = tokens.ok_or_else(unseen)?;
        let listed: Vec<Listed> = tokens
            .iter()
            .map(|token| Listed::new(token.token.fingerprint(), token.expires_at, &token.cidr))
            .collect();
        let found = self.find().await?;
        let now = self.on.now();
        let nobody = Fingerprint::of(b"");
        let facts = Facts {
            policy: &config.policy,
            deployment: config.deployment,
            published: found.published(),
            wanted: &config.binding(self.factory, nobody, &self.run.id, now, now),
            listed: &listed,
            asked: self.run.ask.now,
        };
        let plan = plan(&facts, now);
        let done = match plan.step {
            Step::Keep { until } => found.kept(until),
            Step::Mint(why) => Err(why),
        };
        let (done, minted) = match done {
            Ok(kept) => (kept, false),
            Err(why) => (self.replace(&found, why, notes).await?, true),
        };
        self.tidy(tokens, &plan.expired, minted, notes).await;
        Ok(done)
    }

    /// get: reading is neutral.
    async fn find(&self) -> Result<Found, Error> {
        let key = self.key();
        let fetched =
            self.run.retry.run("s3:GetObject", is_transient, async || self.on.fetch(&key).await).await;
        match fetched {
            Ok(object) => {
                let sealed = SealedToken::parse(&object.bytes);
                Ok(Found { sealed: Some(sealed), only: Only::IfMatch(object.etag), sure: true })
            }
            Err(error) if error.is_absent() => {
                Ok(Found { sealed: None, only: Only::IfAbsent, sure: error.is_surely_absent() })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn replace(&self, found: &Found, why: Why, notes: &Notes) -> Result<Done, Error> {
        let left = self.run.retry.remaining();
        if left < LEAST {
            return Err(Error::NoTime { factory: self.factory.id.clone(), left });
        }
        if why.is_event() {
            let detail = match &found.sealed {
                Some(Err(error)) => format!(" ({error})"),
                Some(Ok(sealed)) => format!(" (token {})", sealed.binding().fingerprint),
                None => String::new(),
            };
            notes.borrow_mut().push(format!("what was published is replaced: {why}{detail}"));
        }
        let (minted, label) = self.mint(notes).await?;
        let fingerprint = minted.token.fingerprint();
        let sealed = match self.seal(&minted, label).await {
            Ok(sealed) => sealed,
            Err(error) => {
                self.take_back(&minted.token, notes).await;
                return Err(error);
            }
        };
        match self.publish(&sealed, &minted.token, found, notes).await? {
            true => Ok(Done::Rotated {
                fingerprint,
                expires_at: minted.expires_at,
                why,
                superseded: found.binding_fingerprint(),
            }),
            false => Ok(Done::LostRace { fingerprint }),
        }
    }

    /// mint: not idempotent. A repeat after a lost reply is still right, since the token whose text
    /// nobody saw serves nobody; it stays at Conjur as an orphan until it expires, and its label, drawn
    /// anew for each attempt, names it here. Not more than a few, though: the next run comes soon.
    async fn mint(&self, notes: &Notes) -> Result<(Minted, Label), Error> {
        let policy = &self.run.config.policy;
        let lost = Cell::new(0_u32);
        let again = |error: &effects::Error| is_transient(error) && lost.get() < MOST_LOST;
        let minted = self
            .session
            .with("mint", again, async |with| {
                let now = self.on.now();
                let label = Label::new(self.run.config.deployment, now, self.run.random.borrow_mut().u32(..));
                let cidr = label.beside(&self.factory.cidr);
                let expires_at = now.plus(policy.lifetime());
                let ask = Mint { factory: &self.factory.id, expires_at, cidr: &cidr, count: 1, now };
                let result = self.on.mint(with, &ask).await;
                if result.as_ref().is_err_and(effects::Error::is_unknown_outcome) {
                    lost.set(lost.get() + 1);
                    notes.borrow_mut().push(format!(
                        "a token may have been minted whose text was lost: an orphan with the label {} that ends {expires_at}",
                        label.entry()
                    ));
                }
                Ok((result?, label))
            })
            .await?;
        let (mut tokens, label) = minted;
        // The reply's count was checked against what was asked.
        let none = || Error::ReadBack { factory: self.factory.id.clone(), why: "the mint gave no token" };
        Ok((tokens.pop().ok_or_else(none)?, label))
    }

    /// encrypt: leaves nothing behind, so it may be repeated.
    async fn seal(&self, minted: &Minted, label: Label) -> Result<SealedToken, Error> {
        let now = self.on.now();
        let fingerprint = minted.token.fingerprint();
        let config = self.run.config;
        let binding = config.binding(self.factory, fingerprint, &self.run.id, now, minted.expires_at);
        let context = binding.context();
        let call = async || self.on.encrypt(&minted.token, &context).await;
        let encrypted = self.run.retry.run("kms:Encrypt", is_transient, call).await?;
        // A process can be frozen between two lines (a Lambda between two events is) and wake up
        // when others already take this token for an orphan. So the clock is read last.
        if !config.policy.may_publish(label.minted_at, self.on.now()) {
            let fingerprint = binding.fingerprint;
            return Err(Error::TooLate { factory: self.factory.id.clone(), fingerprint });
        }
        SealedToken::new(binding, encrypted.ciphertext, encrypted.key_arn)
            .map_err(|source| Error::Seal { factory: self.factory.id.clone(), source })
    }

    /// put, and the read back. Whether this run's token is the published one; an error when it is not,
    /// or is not proven.
    ///
    /// put: its condition lets it happen once, so it may be repeated; the repeat of one whose reply was
    /// lost meets its own object and is told "conflict". So a put that failed in any way is judged by
    /// what is there afterwards.
    async fn publish(
        &self,
        sealed: &SealedToken,
        token: &Token,
        found: &Found,
        notes: &Notes,
    ) -> Result<bool, Error> {
        let (key, bytes) = (self.key(), sealed.to_bytes());
        let again = |error: &effects::Error| is_transient(error) && !error.is_conflict();
        let mut attempts = 0;
        let call = async || {
            attempts += 1;
            self.on.put(&key, bytes.clone(), &found.only).await
        };
        let Err(error) = self.run.retry.run("s3:PutObject", again, call).await else {
            return self.read_back(sealed, token, notes).await.map(|()| true);
        };
        match self.fate_of(sealed, attempts == 1 && is_plain_no(&error)).await {
            Fate::Ours => self.read_back(sealed, token, notes).await.map(|()| true),
            // Should a delayed put land later still, the next run finds an unlisted token and
            // replaces it at once.
            fate @ (Fate::Hidden | Fate::NotOurs | Fate::Others) => {
                self.take_back(token, notes).await;
                match fate {
                    Fate::Others if error.is_conflict() => Ok(false),
                    Fate::Hidden if error.is_conflict() => Err(self.hidden()),
                    Fate::Hidden | Fate::NotOurs | Fate::Others | Fate::Ours | Fate::Unknown => {
                        Err(error.into())
                    }
                }
            }
            Fate::Unknown => {
                notes.borrow_mut().push(format!(
                    "token {} may be published or not; it was left alive",
                    sealed.binding().fingerprint
                ));
                Err(error.into())
            }
        }
    }

    /// `refused`: the only attempt was plainly refused, which is an answer by itself.
    async fn fate_of(&self, sealed: &SealedToken, refused: bool) -> Fate {
        match self.find().await {
            Ok(Found { sealed: Some(Ok(there)), .. }) if there == *sealed => Fate::Ours,
            Ok(Found { sealed: Some(Ok(_)), .. }) => Fate::Others,
            Ok(Found { sure: true, .. }) => Fate::NotOurs,
            Ok(_) if refused => Fate::Hidden,
            Err(_) if refused => Fate::NotOurs,
            Ok(_) | Err(_) => Fate::Unknown,
        }
    }

    /// get and decrypt: reading is neutral.
    async fn read_back(&self, sealed: &SealedToken, token: &Token, notes: &Notes) -> Result<(), Error> {
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
                match self.run.retry.run("kms:Decrypt", is_transient, call).await {
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
        self.take_back(token, notes).await;
        Err(Error::ReadBack { factory: self.factory.id.clone(), why })
    }

    /// revoke of a token that was minted and is not published: a repeat finds it gone, which is as
    /// good.
    async fn take_back(&self, token: &Token, notes: &Notes) {
        let fingerprint = token.fingerprint();
        if !self.run.config.revoke {
            let note = format!("token {fingerprint} is not published and lives on, since revoke = false");
            notes.borrow_mut().push(note);
            return;
        }
        let note = match self.revoke(token).await {
            Ok(_) => format!("token {fingerprint} was not published and is revoked"),
            Err(error) => format!(
                "token {fingerprint} is not published and lives on, since it could not be revoked: {}",
                chain(&error)
            ),
        };
        notes.borrow_mut().push(note);
    }

    /// Deletes the oldest expired token of ours. A failure is told, but is no failure of the rotation.
    /// What is left on purpose is a note of a run that minted; others would say it every 15 minutes.
    async fn tidy(&self, tokens: &[Minted], expired: &[Fingerprint], minted: bool, notes: &Notes) {
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

    async fn revoke(&self, token: &Token) -> Result<Revoked, effects::Error> {
        self.session.with("revoke", is_transient, async |with| self.on.revoke(with, token).await).await
    }

    fn hidden(&self) -> Error {
        Error::Hidden { factory: self.factory.id.clone(), key: self.key() }
    }

    fn key(&self) -> String {
        layer_key(&self.run.config.account, &self.factory.id)
    }
}

/// S3 said no, or that somebody else was first: it did not put.
fn is_plain_no(error: &effects::Error) -> bool {
    error.is_conflict() || matches!(error.class(), Class::Refused | Class::Config)
}

impl Found {
    const fn published(&self) -> Published<'_> {
        match &self.sealed {
            None => Published::Nothing,
            Some(Ok(sealed)) => Published::Sealed(sealed.binding()),
            Some(Err(_)) => Published::Unreadable,
        }
    }

    fn binding_fingerprint(&self) -> Option<Fingerprint> {
        match self.published() {
            Published::Sealed(binding) => Some(binding.fingerprint.clone()),
            Published::Nothing | Published::Unreadable => None,
        }
    }

    /// The published token, kept; only what was read can be.
    fn kept(&self, until: imprint_core::second::Second) -> Result<Done, Why> {
        match self.published() {
            Published::Sealed(binding) => Ok(Done::Kept {
                fingerprint: binding.fingerprint.clone(),
                expires_at: binding.expires_at,
                until,
            }),
            Published::Nothing => Err(Why::Nothing),
            Published::Unreadable => Err(Why::Unreadable),
        }
    }
}

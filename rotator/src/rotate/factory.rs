//! One factory's part of a run, from what is published to what is published now.
//!
//! Every step may be the last one. What is known at each: before the put, a token that was minted
//! is nobody's, and is revoked when the flow fails; after the put, it belongs to the agents. The put
//! is in `publish`.

use super::report::{Done, Outcome};
use super::session::Session;
use super::{Error, Run, is_transient};
use crate::config::Factory;
use crate::effects::{self, Effects};
use crate::label::Label;
use crate::plan::{Facts, Listed, Published, Step, Why, plan};
use imprint_core::aws::Only;
use imprint_core::conjur::{Mint, Minted, Revoked};
use imprint_core::error::chain;
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
pub(super) struct Found {
    pub(super) sealed: Option<Result<SealedToken, imprint_core::sealed::Error>>,
    pub(super) only: Only,
    /// Whether the answer is to be believed: to a role that may not read an object, S3 says no whether
    /// it exists or not.
    pub(super) sure: bool,
}

pub(super) type Notes = RefCell<Vec<String>>;

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
    pub(super) async fn find(&self) -> Result<Found, Error> {
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
        if self.run.is_over() {
            return Err(Error::NoTime { factory: self.factory.id.clone() });
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
        let sealed = match self.seal(&minted).await {
            Ok(sealed) => sealed,
            Err(error) => {
                self.take_back(&minted.token, notes).await;
                return Err(error);
            }
        };
        match self.publish(&sealed, &minted.token, label.minted_at, found, notes).await? {
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
    async fn seal(&self, minted: &Minted) -> Result<SealedToken, Error> {
        let now = self.on.now();
        let fingerprint = minted.token.fingerprint();
        let config = self.run.config;
        let binding = config.binding(self.factory, fingerprint, &self.run.id, now, minted.expires_at);
        let context = binding.context();
        let call = async || self.on.encrypt(&minted.token, &context).await;
        let encrypted = self.run.retry.run("kms:Encrypt", is_transient, call).await?;
        SealedToken::new(binding, encrypted.ciphertext, encrypted.key_arn)
            .map_err(|source| Error::Seal { factory: self.factory.id.clone(), source })
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

    pub(super) async fn revoke(&self, token: &Token) -> Result<Revoked, effects::Error> {
        self.session.with("revoke", is_transient, async |with| self.on.revoke(with, token).await).await
    }

    pub(super) fn key(&self) -> String {
        layer_key(&self.run.config.account, &self.factory.id)
    }
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

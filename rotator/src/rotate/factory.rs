//! One factory's part of a run, from what is published to what is published now.
//!
//! Every step may be the last one. What is known at each: before the put, a token that was minted
//! is nobody's, and is revoked when the flow fails; after the put, it belongs to the agents. The put
//! is in `publish`, what is deleted afterwards in `sweep`.

use super::report::{Done, Offered, Outcome, Swept};
use super::{Error, Run, is_transient};
use crate::config::Factory;
use crate::effects::{self, Effects};
use crate::label::{Kind, Label};
use crate::plan::{Facts, Listed, Plan, Published, Step, Why, plan, wanted};
use crate::session::Session;
use imprint_core::aws::Only;
use imprint_core::conjur::{Mint, Minted};
use imprint_core::retry::Retry;
use imprint_core::sealed::{SealedToken, layer_key};
use imprint_core::token::{AccessToken, Fingerprint};
use std::cell::{Cell, RefCell};

/// After so many mints of unknown outcome a factory is left to the next run.
const MOST_LOST: u32 = 2;

pub(super) struct Part<'a, E> {
    pub(super) run: &'a Run<'a>,
    pub(super) on: &'a E,
    pub(super) session: &'a Session<'a, E>,
    pub(super) factory: &'a Factory,
    /// This factory's part of the run's.
    pub(super) retry: Retry,
}

/// What lies under the factory's key, and under which condition it may be replaced.
pub(super) struct Found {
    pub(super) sealed: Option<Result<SealedToken, imprint_core::sealed::Error>>,
    pub(super) only: Only,
    /// Whether the answer is to be believed: to a role that may not read an object, S3 says no whether
    /// it exists or not.
    pub(super) sure: bool,
}

/// A factory's tokens at Conjur.
pub(super) enum Known<'t> {
    /// From the pages.
    Listed(&'t [Minted]),
    /// From asking for this factory alone.
    Shown(Vec<Minted>),
}

impl AsRef<[Minted]> for Known<'_> {
    fn as_ref(&self) -> &[Minted] {
        match self {
            Self::Listed(tokens) => tokens,
            Self::Shown(tokens) => tokens,
        }
    }
}

pub(super) type Notes = RefCell<Vec<String>>;

impl<E: Effects> Part<'_, E> {
    /// Keeps or replaces the published token; then deletes what nobody needs.
    pub(super) async fn rotate(&self, listed: Option<&[Minted]>) -> Outcome {
        let notes = Notes::default();
        let mut orphans = Swept::default();
        let mut offered = Offered::Unknown;
        let result = match self.begin(listed).await {
            Ok((tokens, found, plan)) => {
                let tokens = tokens.as_ref();
                let before = found.offered(&plan.step);
                let (result, minted) = self.keep_or_replace(&found, plan.step, &notes).await;
                offered = self.offered(before, &result);
                // After a failure too: where every put fails, each run may leave an orphan.
                orphans = self.sweep_orphans(tokens, plan.orphans, minted, &notes).await;
                self.tidy(tokens, &plan.expired, minted, &notes).await;
                result
            }
            Err(error) => Err(error),
        };
        Outcome {
            factory: self.factory.id.clone(),
            result,
            notes: notes.into_inner(),
            offered,
            orphans,
            older: None,
        }
    }

    /// What there is, and what to do about it.
    async fn begin<'t>(&self, listed: Option<&'t [Minted]>) -> Result<(Known<'t>, Found, Plan), Error> {
        if self.run.is_over() {
            return Err(self.no_time());
        }
        let config = self.run.config;
        let tokens = self.tokens(listed).await?;
        let listed: Vec<Listed> = tokens.as_ref().iter().map(Listed::of).collect();
        // Before the get: what is not there, and was minted long before this, never will be.
        let now = self.on.now();
        let found = self.find().await?;
        let facts = Facts {
            policy: &config.policy,
            deployment: config.deployment,
            published: found.published(),
            wanted: &wanted(config, self.factory, now),
            listed: &listed,
            given: !self.factory.mint,
            shared: self.factory.shared,
            asked: self.run.ask.now,
        };
        let plan = plan(&facts, now);
        Ok((tokens, found, plan))
    }

    /// The factory's tokens at Conjur. What the pages do not show may have moved from one to another while
    /// they were read, so it is asked for alone before it counts as gone: reading is neutral.
    pub(super) async fn tokens<'t>(&self, listed: Option<&'t [Minted]>) -> Result<Known<'t>, Error> {
        if let Some(tokens) = listed {
            return Ok(Known::Listed(tokens));
        }
        let id = &self.factory.id;
        let call = async |with: &AccessToken| self.on.show_factory(with, id).await;
        match self.session.with(&self.retry, "show host factory", is_transient, call).await? {
            Some(factory) => Ok(Known::Shown(factory.tokens)),
            None => Err(Error::Unseen { factory: id.clone(), login: self.run.config.login.clone() }),
        }
    }

    fn no_time(&self) -> Error {
        Error::NoTime { factory: self.factory.id.clone() }
    }

    /// How it ended, and whether it came to a mint.
    async fn keep_or_replace(&self, found: &Found, step: Step, notes: &Notes) -> (Result<Done, Error>, bool) {
        let kept = match step {
            Step::Keep { until } => found.kept(until),
            Step::Mint(why) => Err(why),
            Step::Unshared => Ok(Done::Unshared),
        };
        match kept {
            Ok(kept) => (Ok(kept), false),
            Err(why) => (self.replace(found, why, notes).await, true),
        }
    }

    /// get: reading is neutral.
    pub(super) async fn find(&self) -> Result<Found, Error> {
        let key = self.key();
        let fetched = self.retry.run("s3:GetObject", is_transient, async || self.on.fetch(&key).await).await;
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
            return Err(self.no_time());
        }
        if !self.factory.mint {
            return Err(Error::NotGiven { factory: self.factory.id.clone(), why });
        }
        if why.is_event() {
            let detail = match &found.sealed {
                Some(Err(error)) => format!(" ({error})"),
                Some(Ok(sealed)) => format!(" (token {})", sealed.binding().fingerprint),
                None => String::new(),
            };
            notes.borrow_mut().push(format!("what was published is replaced: {why}{detail}"));
        }
        let (minted, label) = self.mint(found, notes).await?;
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
    /// nobody saw serves nobody; it stays at Conjur as an orphan until a later run revokes it, and its
    /// label, drawn anew for each attempt, names it here. Not more than a few, though: the next run comes
    /// soon.
    async fn mint(&self, found: &Found, notes: &Notes) -> Result<(Minted, Label), Error> {
        let policy = &self.run.config.policy;
        let lost = Cell::new(0_u32);
        let before = found.binding_fingerprint();
        let again = |error: &effects::Error| is_transient(error) && lost.get() < MOST_LOST;
        let minted = self
            .session
            .with(&self.retry, "mint", again, async |with| {
                let now = self.on.now();
                let random = self.run.random.borrow_mut().u8(..);
                let label = Label::new(self.run.config.deployment, now, Kind::Layer, random);
                let label = label.after(before.as_ref());
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
        let binding = config.binding(self.factory, fingerprint, self.run.id.as_str(), now, minted.expires_at);
        let context = binding.context();
        let call = async || self.on.encrypt(&minted.token, &context).await;
        let encrypted = self.retry.run("kms:Encrypt", is_transient, call).await?;
        SealedToken::new(binding, encrypted.ciphertext, encrypted.key_arn)
            .map_err(|source| Error::Seal { factory: self.factory.id.clone(), source })
    }

    /// What agents find at the end, where `before` was there at the beginning.
    fn offered(&self, before: Offered, end: &Result<Done, Error>) -> Offered {
        match end {
            Ok(Done::Rotated { expires_at, .. }) => {
                Offered::Token { issued_at: self.on.now(), expires_at: *expires_at }
            }
            // Where nobody looks, nothing is offered, and nobody lacks it.
            Ok(Done::LostRace { .. } | Done::Unshared) => Offered::Unknown,
            Err(Error::ReadBack { .. }) => Offered::Nothing,
            Ok(Done::Kept { .. }) | Err(_) => before,
        }
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

    pub(super) fn binding_fingerprint(&self) -> Option<Fingerprint> {
        match self.published() {
            Published::Sealed(binding) => Some(binding.fingerprint.clone()),
            Published::Nothing | Published::Unreadable => None,
        }
    }

    /// What agents find there. Only what Conjur lists, as ours and with that end, is a token: anybody who may
    /// put could have written any times into it.
    fn offered(&self, step: &Step) -> Offered {
        let is_good = match step {
            Step::Keep { .. } | Step::Mint(Why::Asked | Why::Changed | Why::Due) => true,
            Step::Mint(Why::Expired | Why::Nothing | Why::Tampered | Why::Unlisted | Why::Unreadable)
            | Step::Unshared => false,
        };
        match (self.published(), is_good) {
            (Published::Sealed(binding), true) => {
                Offered::Token { issued_at: binding.issued_at, expires_at: binding.expires_at }
            }
            _ if self.sure => Offered::Nothing,
            _ => Offered::Unknown,
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

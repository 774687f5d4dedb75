//! The enrollment, from top to bottom: lock, facts, next step, write check, note, a try with what an
//! earlier run left, fetch, unseal, binding, redeem, reply, store, authenticate with the bytes on disk,
//! record.
//!
//! It may be started at any moment, any number of times, and killed at any point: the next run comes
//! to the same end. What may be asked of the world is [`Effects`], what is written goes through
//! [`Disk`]; both can be scripted.

mod adopt;
mod error;

pub use error::Error;

use crate::binding;
use crate::config::Config;
use crate::effects::{self, At, Effects};
use crate::facts::{self, Facts, InstanceId, Needs};
use crate::files;
use crate::identity::Identity;
use crate::journal::event;
use crate::lock::Lock;
use crate::state::{self, Failure, Found, MadeFor, Phase, State, Verified};
use crate::step::{self, Known, Step, Why};
use crate::store::{self, Disk};
use imprint_core::conjur::Redeemed;
use imprint_core::name::{HostId, full_id};
use imprint_core::retry::Retry;
use imprint_core::sealed::{Binding, SealedToken};
use imprint_core::token::{AccessToken, Token};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// How often in one run a redeem may have been carried out. Each one kills the key of the one before,
/// so more would only hide that two parties are at it.
const MOST_REDEEMS: u32 = 3;

/// Repeats of all calls of a run together. Pauses grow to 20 s, so the deadline usually comes first.
const REPEATS: u32 = 200;

/// How long a follower may lag behind the leader before that is worth an error.
const LAG: Duration = Duration::from_secs(60);

/// How an enrollment ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The host has a new identity, and it was proved.
    Enrolled(HostId),
    /// The identity that was there is good.
    NothingToDo(String),
}

/// Enrolls this instance, or finds that there is nothing to do.
///
/// # Errors
/// See [`Error`]. Then there is either the old identity, or none, or a new one that was not proved
/// yet; never a part of one.
pub async fn enroll(config: &Config, on: &impl Effects, disk: &impl Disk) -> Result<Outcome, Error> {
    let run = Run { config, on, disk, retry: Retry::new(config.deadline, REPEATS), redeems: Cell::new(0) };
    let _lock = Lock::take(&config.files.state_dir, run.retry.remaining()).await?;
    let end = run.under_lock().await;
    if let Err(error) = &end {
        run.remember(error);
    }
    end
}

struct Run<'a, E, D> {
    config: &'a Config,
    on: &'a E,
    disk: &'a D,
    retry: Retry,
    /// Redeems that may have been carried out.
    redeems: Cell<u32>,
}

/// A token that may be redeemed.
struct Unsealed {
    token: Token,
    binding: Binding,
}

impl<E: Effects, D: Disk> Run<'_, E, D> {
    async fn under_lock(&self) -> Result<Outcome, Error> {
        let wanted = made_for(self.config);
        let state = state::read(&self.config.files.state_dir)?;
        let identity = files::on_disk(self.config)?;
        let mut known = Known { here: None, wanted: &wanted, state: &state, identity: &identity };

        // The firmware tells without a request; the metadata service is asked only where it cannot.
        let (here, mut facts) = match facts::offline(&self.config.sys_root) {
            Some(here) => (here, None),
            None => match self.whereabouts(&known).await? {
                Some(facts) => (facts.instance_id.clone(), Some(facts)),
                None => return self.nothing_to_do(&state),
            },
        };
        known.here = Some(&here);
        let next = step::next_step(&known);
        match &next {
            Step::Nothing => return self.nothing_to_do(&state),
            Step::Refuse(refusal) => return Err(refusal.clone().into()),
            Step::Enroll(why) => {
                log::info!(target: "imprint", reason = why.as_str(); "enrolling {here}: {}", why.as_str())
            }
            Step::EnrollAsOneself { parent } => self.forget_parent(parent, &here)?,
        }

        let needs = self.needs();
        if facts.is_none() || needs != Needs::default() {
            facts = Some(self.facts(&needs).await?);
        }
        let facts = facts.filter(|facts| facts.instance_id == here).ok_or(Error::TwoInstances)?;
        let host = self.config.host_id.host_id(&facts)?;
        let annotations = self.annotations(&facts)?;
        step::check_host(&next, &host, &known)?;

        // From here on something is changed: first all that can be proved is.
        let proofs = files::prove_writable(self.disk, self.config)?;
        let mut note = State::enrolling(&here, &host, wanted.clone(), self.on.now());
        note.must_redeem = next == Step::Enroll(Why::ConfigChanged);
        if let Found::Good(before) = &state {
            note.token_issued_at = before.token_issued_at;
            note.must_redeem |= before.must_redeem && next == Step::Enroll(Why::Interrupted);
        }
        note.write(self.disk, &self.config.files.state_dir)?;
        proofs.into_iter().try_for_each(store::Writable::release)?;

        if !self.adopt(&next, &known, &host).await? {
            let used = self.until_it_authenticates(&host, &facts, &annotations, note.token_issued_at).await?;
            note.token = Some(used.binding.fingerprint.to_string());
            note.token_issued_at = Some(used.binding.issued_at);
        }
        note.must_redeem = false;
        note.phase = Phase::Enrolled;
        note.since = self.on.now();
        note.last_verify = Some(Verified { at: note.since, outcome: "ok".to_owned() });
        note.write(self.disk, &self.config.files.state_dir)?;
        log::info!(
            target: "imprint", MESSAGE_ID = event::ENROLLED, host_id = host.as_str(), instance_id = here.as_str(),
            token = note.token.as_deref().unwrap_or_default();
            "enrolled as {}", host.login()
        );
        Ok(Outcome::Enrolled(host))
    }

    /// The facts that tell which instance this is. `None`: nobody told, and an identity is there that
    /// a missing answer must not cost.
    async fn whereabouts(&self, known: &Known<'_>) -> Result<Option<Facts>, Error> {
        if !step::is_kept_without_an_answer(known) {
            return self.facts(&self.needs()).await.map(Some);
        }
        match self.on.facts(&Needs::default()).await {
            Ok(facts) => Ok(Some(facts)),
            Err(error) => {
                log::warn!(
                    target: "imprint", MESSAGE_ID = event::KEPT_WITHOUT_ANSWER;
                    "the identity is kept, though nobody tells which instance this is: {}",
                    imprint_core::error::chain(&error)
                );
                Ok(None)
            }
        }
    }

    /// Repeated: a read without effect, which often fails in an instance's first seconds.
    async fn facts(&self, needs: &Needs) -> Result<Facts, Error> {
        let facts = self
            .retry
            .run("instance metadata", effects::Error::may_pass, async || self.on.facts(needs).await);
        Ok(facts.await?)
    }

    fn needs(&self) -> Needs {
        self.config.annotations.values().fold(self.config.host_id.needs(), |needs, t| needs.and(t.needs()))
    }

    fn annotations(&self, facts: &Facts) -> Result<BTreeMap<String, String>, Error> {
        let expand = |(name, template): (&String, &crate::template::Template)| {
            Ok((name.clone(), template.annotation(facts)?))
        };
        self.config.annotations.iter().map(expand).collect()
    }

    /// The identity of a cloned image belongs to its parent: it goes, and no copy is kept.
    fn forget_parent(&self, parent: &str, here: &InstanceId) -> Result<(), Error> {
        files::remove(self.disk, self.config)?;
        log::warn!(
            target: "imprint", MESSAGE_ID = event::PARENTS_IDENTITY_REMOVED, parent, instance_id = here.as_str();
            "{here} was made from an image of {parent}: its identity is removed"
        );
        Ok(())
    }

    fn nothing_to_do(&self, state: &Found) -> Result<Outcome, Error> {
        files::restore(self.disk, self.config)?;
        if files::mend_access(self.disk, &self.config.files)? {
            let path = self.config.files.identity.path.display();
            log::warn!(target: "imprint", MESSAGE_ID = event::ACCESS_MENDED; "{path} had another owner, group or mode than it shall have: mended");
        }
        let host = match state {
            Found::Good(state) => state.host_id.clone(),
            Found::Missing | Found::Unreadable(_) => String::new(),
        };
        log::info!(target: "imprint", MESSAGE_ID = event::NOTHING_TO_DO, host_id = host.as_str(); "host/{host} is enrolled; nothing to do");
        Ok(Outcome::NothingToDo(host))
    }

    /// Redeems and stores until what is on the disk authenticates.
    async fn until_it_authenticates(
        &self,
        host: &HostId,
        facts: &Facts,
        annotations: &BTreeMap<String, String>,
        last_issued_at: Option<imprint_core::second::Second>,
    ) -> Result<Unsealed, Error> {
        let mut unsealed = self.token(&facts.instance_id).await?;
        for doubt in binding::doubts(&unsealed.binding, host, facts.private_ip, last_issued_at) {
            log::warn!(target: "imprint", MESSAGE_ID = event::DOUBT, token = unsealed.binding.fingerprint.as_str(); "{doubt}");
        }
        let mut fetched_again = false;
        loop {
            let redeemed = match self.redeem(&unsealed.token, host, annotations).await {
                Ok(redeemed) => redeemed,
                Err(error) if error.is_unauthorized() && !fetched_again => {
                    // It may have been replaced since it was fetched.
                    fetched_again = true;
                    let before = unsealed.binding.fingerprint.clone();
                    unsealed = self.token(&facts.instance_id).await?;
                    if unsealed.binding.fingerprint == before {
                        return Err(Error::TokenRefused { fingerprint: before, source: error });
                    }
                    continue;
                }
                Err(error) if error.is_unauthorized() => {
                    let fingerprint = unsealed.binding.fingerprint.clone();
                    return Err(Error::TokenRefused { fingerprint, source: error });
                }
                Err(source) => return Err(Error::redeem(host, source)),
            };
            self.check_reply(&redeemed, host)?;
            self.store(redeemed, host)?;
            if let Some(session) = self.authenticates(host).await? {
                self.prove(&session, host).await?;
                return Ok(unsealed);
            }
            // A 401 right after a 201, at the server that gave it, is no lag: a request of ours that was
            // thought lost was carried out late and took the key's place. The next key is the last one.
            if self.redeems.get() >= MOST_REDEEMS {
                return Err(Error::NeverAuthenticates { host: host.clone(), redeems: self.redeems.get() });
            }
        }
    }

    /// Fetch, check, unseal. Repeated until the deadline: reads without effect, and what is absent or
    /// expired now may be published in a moment.
    async fn token(&self, here: &InstanceId) -> Result<Unsealed, Error> {
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
        Ok(Unsealed { token, binding })
    }

    /// Repeated though it is destructive: under the lock nobody else redeems this id, and whichever
    /// repeat comes last makes the key that is stored. What may have been carried out without our
    /// knowing it counts, and ends at [`MOST_REDEEMS`].
    async fn redeem(
        &self,
        token: &Token,
        host: &HostId,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Redeemed, effects::Error> {
        let again = |error: &effects::Error| error.may_pass() && self.redeems.get() < MOST_REDEEMS;
        let call = async || {
            let end = self.on.redeem(token, host, annotations).await;
            // A status, even 500, is an answer; only a reply that was lost leaves the question open, be
            // it lost between Conjur and a gateway that gave up waiting (504). A gateway's 502 mostly means
            // that nobody took the request: a Conjur that restarts must not use up the redeems.
            let open = |e: &effects::Error| {
                e.conjur().is_some_and(|e| e.is_unknown_outcome() && matches!(e.status(), None | Some(504)))
            };
            if end.as_ref().err().is_none_or(open) {
                self.redeems.set(self.redeems.get() + 1);
            }
            end
        };
        self.retry.run("the redeem", again, call).await
    }

    /// A token planted by somebody who may seal and publish, but of a factory of his own, ends here.
    fn check_reply(&self, redeemed: &Redeemed, host: &HostId) -> Result<(), Error> {
        let account = &self.config.account;
        let id = full_id(account, "host", host.as_str());
        let owner = full_id(account, "host_factory", self.config.host_factory.as_str());
        for (what, is, should) in [("id", &redeemed.id, id), ("owner", &redeemed.owner, owner)] {
            if *is != should {
                // It comes from the network: enough to find it, and nothing that leads a terminal astray.
                let is = is.chars().filter(|c| !c.is_control()).take(200).collect();
                return Err(Error::Stranger { what, is, should });
            }
        }
        Ok(())
    }

    fn store(&self, redeemed: Redeemed, host: &HostId) -> Result<(), Error> {
        // A host that is more than a minute old was there before this run.
        if let Some(at) = redeemed.created_at
            && self.on.now().since(at) > Duration::from_secs(60)
        {
            log::warn!(
                target: "imprint", MESSAGE_ID = event::KEY_REPLACED, host_id = host.as_str();
                "host {host} exists since {at}: its key was replaced"
            );
        }
        let identity = Identity {
            appliance_url: self.config.appliance_url.clone(),
            host_id: host.clone(),
            api_key: redeemed.api_key,
        };
        Ok(files::write(self.disk, self.config, &identity)?)
    }

    /// Authenticates with the bytes that are on the disk, at the leader and then where clients go.
    /// `None` when the leader says 401. Repeated: it changes nothing.
    async fn authenticates(&self, host: &HostId) -> Result<Option<AccessToken>, Error> {
        let identity = files::read_back(self.config)?;
        if identity.host_id != *host || identity.appliance_url != self.config.appliance_url {
            return Err(Error::ChangedOnDisk);
        }
        let call = async || self.on.authenticate(At::Leader, host, &identity.api_key).await;
        let session = match self.retry.run("authenticating", effects::Error::may_pass, call).await {
            Ok(session) => session,
            Err(error) if error.is_unauthorized() => return Ok(None),
            Err(error) => return Err(Error::Verify { host: host.clone(), source: error }),
        };
        if self.config.leader_url != self.config.appliance_url {
            // The leader has just taken the key: a 401 here can only be lag.
            let lag = Retry::new(LAG.min(self.retry.remaining()), REPEATS);
            let again = |e: &effects::Error| e.may_pass() || e.is_unauthorized();
            let call = async || self.on.authenticate(At::Appliance, host, &identity.api_key).await;
            lag.run("waiting for the follower", again, call)
                .await
                .map_err(|source| Error::Follower { url: self.config.appliance_url.clone(), source })?;
        }
        Ok(Some(session))
    }

    /// Conjur says 201 also for a host that was taken out of its layer: only what it may read proves
    /// that it is in. Repeated: it changes nothing.
    async fn prove(&self, session: &AccessToken, host: &HostId) -> Result<(), Error> {
        let Some(variable) = &self.config.proof_variable else { return Ok(()) };
        let call = async || self.on.may_read(session, variable).await;
        if self.retry.run("the proof", effects::Error::may_pass, call).await? {
            Ok(())
        } else {
            Err(Error::Proof { host: host.clone(), variable: variable.clone() })
        }
    }

    /// Notes a failure for `status`. The error itself is what counts: if the disk is what failed, this
    /// fails too.
    fn remember(&self, error: &Error) {
        if let Ok(Found::Good(mut state)) = state::read(&self.config.files.state_dir) {
            state.last_failure = Some(Failure::of(error, self.on.now()));
            let _told_already = state.write(self.disk, &self.config.files.state_dir);
        }
    }
}

/// What an identity of this configuration is made for.
#[must_use]
pub fn made_for(config: &Config) -> MadeFor {
    MadeFor {
        account: config.account.to_string(),
        appliance_url: config.appliance_url.to_string(),
        host_factory: config.host_factory.to_string(),
        host_id: config.host_id.as_str().to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;

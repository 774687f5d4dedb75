//! Redeem, check of the reply, store: until what is on the disk authenticates.

use super::ground::Job;
use super::token::Unsealed;
use super::{Error, Run, issuing};
use crate::binding;
use crate::effects::{self, Effects};
use crate::files;
use crate::identity::Identity;
use crate::journal::event;
use crate::store::Disk;
use imprint_core::conjur::Redeemed;
use imprint_core::name::{HostId, full_id};
use imprint_core::second::Second;
use std::time::Duration;

/// How often in one run a redeem may have been carried out. Each one kills the key of the one before,
/// so more would only hide that two parties are at it.
const MOST_REDEEMS: u32 = 3;

/// How often in one run a token is fetched: more than one replacement in the time of a boot is an
/// incident that a person works on.
const MOST_FETCHES: u32 = 3;

impl<E: Effects, D: Disk> Run<'_, E, D> {
    /// Redeems and stores until what is on the disk authenticates.
    pub(super) async fn until_it_authenticates(
        &self,
        job: &Job,
        last_issued_at: Option<Second>,
    ) -> Result<Unsealed, Error> {
        let Job { host, facts, .. } = job;
        let mut unsealed = self.token(facts).await?;
        if let Some(binding) = &unsealed.binding {
            for doubt in binding::doubts(binding, host, facts.private_ip, last_issued_at) {
                log::warn!(target: "imprint", MESSAGE_ID = event::DOUBT, token = binding.fingerprint.as_str(); "{doubt}");
            }
        }
        self.retry.turn("the redeem", self.spread.get()).await;
        let mut fetched = 1;
        loop {
            let identity = match self.redeem(&unsealed, job).await {
                Err(Error::TokenRefused { fingerprint, source }) if fetched < MOST_FETCHES => {
                    // It may have been replaced, and revoked, since it was fetched.
                    fetched += 1;
                    unsealed = self.token(facts).await?;
                    if unsealed.fingerprint() == fingerprint {
                        return Err(Error::TokenRefused { fingerprint, source });
                    }
                    continue;
                }
                identity => identity?,
            };
            files::write(self.disk, self.config, &identity, self.former.get())?;
            if let Some(session) = self.authenticates(host).await? {
                self.prove(&session, host).await?;
                self.clear_away(&unsealed);
                return Ok(unsealed);
            }
            self.may_redeem_again(host)?;
        }
    }

    /// A 401 right after a 201, at the server that gave it, is no lag: a request of ours that was thought lost
    /// was carried out late and took the key's place. The next key is the last one.
    pub(super) fn may_redeem_again(&self, host: &HostId) -> Result<(), Error> {
        let redeems = self.redeems.get();
        if redeems < MOST_REDEEMS {
            return Ok(());
        }
        Err(Error::NeverAuthenticates { host: host.clone(), redeems })
    }

    /// Redeems, and judges the answer: the identity that it gives, which is in memory alone.
    pub(super) async fn redeem(&self, with: &Unsealed, job: &Job) -> Result<Identity, Error> {
        let host = &job.host;
        let redeemed = match self.ask_to_redeem(with, job).await {
            Ok(redeemed) => redeemed,
            Err(source) if source.is_unauthorized() => {
                return Err(Error::TokenRefused { fingerprint: with.fingerprint(), source });
            }
            Err(source) => return Err(Error::redeem(host, source)),
        };
        self.check_reply(&redeemed, host)?;
        // A host that is more than a minute old was there before this run.
        if let Some(at) = redeemed.created_at
            && self.on.now().since(at) > Duration::from_secs(60)
        {
            log::warn!(
                target: "imprint", MESSAGE_ID = event::KEY_REPLACED, host_id = host.as_str();
                "host {host} exists since {at}: its key was replaced"
            );
        }
        Ok(Identity {
            appliance_url: self.config.appliance_url.clone(),
            host_id: host.clone(),
            api_key: redeemed.api_key,
        })
    }

    /// Repeated though it is destructive: under the lock nobody else redeems this id, and whichever
    /// repeat comes last makes the key that is stored. What may have been carried out without our
    /// knowing it counts, and ends at [`MOST_REDEEMS`].
    async fn ask_to_redeem(&self, with: &Unsealed, job: &Job) -> Result<Redeemed, effects::Error> {
        let again = |error: &effects::Error| error.may_pass() && self.redeems.get() < MOST_REDEEMS;
        let annotations = issuing::annotations(job, with, self.on.attempt());
        let call = async || {
            let end = self.on.redeem(&with.token, &job.host, &annotations).await;
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
        self.retry.run_spread("the redeem", self.spread.get(), again, call).await
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
}

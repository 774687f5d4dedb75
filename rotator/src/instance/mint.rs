//! One instance's token of one factory, from what is published to what is published now.
//!
//! Every step may be the last one. A token that was minted and not published is published by the next run, so
//! none is revoked here, and a put without an answer does no harm.

use super::effects::Effects;
use super::judge::Purpose;
use super::plan::{Facts, Seen, Step, plan};
use super::report::Done;
use super::run::{Error, Run};
use crate::config::{Cidr, Factory};
use crate::effects;
use crate::label::Label;
use crate::plan::{Published, Why};
use crate::session::is_transient;
use imprint_core::aws::Only;
use imprint_core::aws::ec2::{Instance, Life};
use imprint_core::conjur::{Mint, Minted};
use imprint_core::error::Classified as _;
use imprint_core::sealed::{Binding, Scope, SealedToken};
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use ipnet::IpNet;
use std::cell::{Cell, RefCell};

/// After so many mints of unknown outcome an instance is left to the next run.
const MOST_LOST: u32 = 2;

/// One instance and one factory.
pub(super) struct Part<'a, E> {
    pub(super) run: &'a Run<'a, E>,
    pub(super) factory: &'a Factory,
    pub(super) instance: &'a Instance,
    /// From where its token may be used.
    cidr: Vec<IpNet>,
    pub(super) notes: RefCell<Vec<String>>,
}

/// What lies under the instance's key, and under which condition it may be replaced.
struct Found {
    sealed: Option<Result<SealedToken, imprint_core::sealed::Error>>,
    only: Only,
}

impl Found {
    const fn published(&self) -> Published<'_> {
        match &self.sealed {
            None => Published::Nothing,
            Some(Ok(sealed)) => Published::Sealed(sealed.binding()),
            Some(Err(_)) => Published::Unreadable,
        }
    }
}

impl<'a, E: Effects> Part<'a, E> {
    /// Judges the instance: what is to be done for it, if anything.
    pub(super) fn of(
        run: &'a Run<'a, E>,
        purpose: Purpose,
        factory: &'a Factory,
        instance: &'a Instance,
    ) -> Result<(Self, String), Error> {
        let id = || instance.id.clone();
        match instance.life {
            Life::Pending | Life::Running => {}
            life @ (Life::ShuttingDown | Life::Stopped | Life::Stopping | Life::Terminated) => {
                return Err(Error::NotRunning { instance: id(), life });
            }
        }
        let rule = run.judge.rule(purpose, factory, instance, &run.place, run.on.now());
        let rule =
            rule.map_err(|why| Error::NotAllowed { instance: id(), factory: factory.id.clone(), why })?;
        if !factory.mint {
            return Err(Error::NotMinted(factory.id.clone()));
        }
        let cidr = networks(run, factory, instance)?;
        Ok((Self { run, factory, instance, cidr, notes: RefCell::default() }, rule))
    }

    /// Keeps or publishes the instance's token; `tokens` are the factory's as Conjur has just listed them.
    pub(super) async fn serve(&self, tokens: &[Minted], rule: String) -> Result<Done, Error> {
        let found = self.find().await?;
        let (minted, why) = match self.plan(&found, tokens) {
            Step::Keep => return self.kept(&found),
            Step::Publish { minted, why } => (minted, why),
        };
        if self.run.is_over() {
            return Err(Error::NoTime { instance: self.instance.id.clone() });
        }
        if matches!(why, Why::Tampered | Why::Unlisted | Why::Unreadable) {
            self.note(format!("what was published is replaced: {}", why.meaning()));
        }
        let left = minted.and_then(|name| tokens.iter().find(|token| token.token.fingerprint() == name));
        let new = match left {
            Some(_) => {
                self.note("a token that was minted for it and never published is published".to_owned());
                None
            }
            None => Some(self.mint().await?),
        };
        let Some(token) = left.or(new.as_ref()) else { return Err(self.lost("the mint gave no token")) };
        let sealed = self.seal(token).await?;
        let fingerprint = token.token.fingerprint();
        if let Err(error) = self.put(&sealed, &found).await {
            let now_there = self.find().await;
            let is_ours = |found: &Found| matches!(&found.sealed, Some(Ok(there)) if *there == sealed);
            match now_there {
                Ok(there) if is_ours(&there) => {}
                Ok(there) if error.is_conflict() => {
                    // Another run was first. Its token is newer than our list.
                    let tokens = self.run.tokens(self.factory).await?;
                    if self.plan(&there, &tokens) == Step::Keep {
                        return self.kept(&there);
                    }
                    return Err(error.into());
                }
                Ok(_) | Err(_) => return Err(error.into()),
            }
        }
        self.read_back(&sealed, token).await?;
        let (event, instance, factory) =
            ("instance token published", self.instance.id.as_str(), self.factory.id.as_str());
        let token_name = fingerprint.as_str();
        log::info!(event, instance, factory, fingerprint = token_name, rule = rule.as_str(); "{instance}: token {token_name} of {factory} is published for it, by rule {rule}");
        Ok(Done::Published { fingerprint, expires_at: token.expires_at, cidr: self.cidr.clone(), why, rule })
    }

    fn plan(&self, found: &Found, tokens: &[Minted]) -> Step {
        let now = self.run.on.now();
        let listed: Vec<Seen> = tokens.iter().map(Seen::of).collect();
        let facts = Facts {
            deployment: self.run.config.deployment,
            instance: &self.instance.id,
            life: self.run.config.instances.life,
            published: found.published(),
            wanted: &self.binding(Fingerprint::of(b""), now, now),
            listed: &listed,
        };
        plan(&facts, now)
    }

    fn kept(&self, found: &Found) -> Result<Done, Error> {
        let Published::Sealed(binding) = found.published() else { return Err(self.lost("it is gone")) };
        Ok(Done::Kept { fingerprint: binding.fingerprint.clone(), expires_at: binding.expires_at })
    }

    fn binding(&self, fingerprint: Fingerprint, now: Second, expires_at: Second) -> Binding {
        let run = self.run;
        let scope = Scope::Instance { arn: run.place.arn(&self.instance.id) };
        let binding = run.config.binding(self.factory, fingerprint, run.id.as_str(), now, expires_at);
        Binding { scope, cidr: self.cidr.clone(), ..binding }
    }

    fn key(&self) -> String {
        imprint_core::sealed::instance_key(self.instance.id.as_str(), &self.factory.id)
    }

    /// get: reading is neutral.
    async fn find(&self) -> Result<Found, effects::Error> {
        let key = self.key();
        match self.run.again("s3:GetObject", async || self.run.on.fetch(&key).await).await {
            Ok(object) => {
                let sealed = SealedToken::parse(&object.bytes);
                Ok(Found { sealed: Some(sealed), only: Only::IfMatch(object.etag) })
            }
            // Also when this role may only not know: the put's condition tells.
            Err(error) if error.is_absent() => Ok(Found { sealed: None, only: Only::IfAbsent }),
            Err(error) => Err(error),
        }
    }

    /// mint: a repeat after a lost reply is right, since nobody holds the token whose text was lost. It ends
    /// within minutes.
    async fn mint(&self) -> Result<Minted, Error> {
        let (run, lost) = (self.run, Cell::new(0_u32));
        let again = |error: &effects::Error| is_transient(error) && lost.get() < MOST_LOST;
        let mut tokens = run
            .session
            .with(run.retry, "mint", again, async |with| {
                let now = run.on.now();
                let expires_at = now.plus(run.config.instances.life);
                let label = Label::for_instance(run.config.deployment, now, &self.instance.id);
                let cidr = label.beside(&self.cidr);
                let ask = Mint { factory: &self.factory.id, expires_at, cidr: &cidr, count: 1, now };
                let result = run.on.mint(with, &ask).await;
                if result.as_ref().is_err_and(effects::Error::is_unknown_outcome) {
                    lost.set(lost.get() + 1);
                    self.note(format!(
                        "a token may have been minted whose text was lost; it ends {expires_at}"
                    ));
                }
                result
            })
            .await?;
        tokens.pop().ok_or_else(|| self.lost("the mint gave no token"))
    }

    /// encrypt: leaves nothing behind, so it may be repeated.
    async fn seal(&self, minted: &Minted) -> Result<SealedToken, Error> {
        let now = self.run.on.now();
        let binding = self.binding(minted.token.fingerprint(), now, minted.expires_at);
        let context = binding.context();
        let call = async || self.run.on.encrypt(&minted.token, &context).await;
        let encrypted = self.run.again("kms:Encrypt", call).await?;
        SealedToken::new(binding, encrypted.ciphertext, encrypted.key_arn)
            .map_err(|source| Error::Seal { instance: self.instance.id.clone(), source })
    }

    /// put: its condition lets it happen once, so it may be repeated.
    async fn put(&self, sealed: &SealedToken, found: &Found) -> Result<(), effects::Error> {
        let (key, bytes) = (self.key(), sealed.to_bytes());
        let again =
            |error: &effects::Error| is_transient(error) && (!error.is_conflict() || error.is_contended());
        let call = async || self.run.on.put(&key, bytes.clone(), &found.only).await;
        self.run.retry.run("s3:PutObject", again, call).await.map(|_tag| ())
    }

    /// get and decrypt: reading is neutral.
    async fn read_back(&self, sealed: &SealedToken, minted: &Minted) -> Result<(), Error> {
        match self.find().await?.sealed {
            Some(Ok(there)) if there == *sealed => {
                let context = sealed.binding().context();
                let call = async || self.run.on.decrypt(there.ciphertext(), &context).await;
                match self.run.again("kms:Decrypt", call).await {
                    Ok(opened) if opened.as_slice() == minted.token.expose().as_bytes() => Ok(()),
                    Ok(_) => Err(self.lost("it opens to another token")),
                    Err(error) if error.class() == imprint_core::Class::Tampered => {
                        Err(self.lost("it does not open"))
                    }
                    Err(error) => Err(error.into()),
                }
            }
            // Another run's, which knew of ours.
            Some(Ok(there)) if there.binding().fingerprint != sealed.binding().fingerprint => Ok(()),
            Some(Ok(_)) => Err(self.lost("it was changed")),
            Some(Err(_)) => Err(self.lost("it was overwritten with something else")),
            None => Err(self.lost("it is gone")),
        }
    }

    fn note(&self, note: String) {
        self.notes.borrow_mut().push(note);
    }

    fn lost(&self, why: &'static str) -> Error {
        Error::ReadBack { instance: self.instance.id.clone(), why }
    }
}

/// From where the token may be used; empty for anywhere, which must have been asked for.
fn networks<E: Effects>(
    run: &Run<'_, E>,
    factory: &Factory,
    instance: &Instance,
) -> Result<Vec<IpNet>, Error> {
    let settings = &run.config.instances;
    match settings.cidr {
        Cidr::Layer if factory.cidr.is_empty() && !settings.any_address => {
            Err(Error::NoNetwork(factory.id.clone()))
        }
        Cidr::Layer => Ok(factory.cidr.clone()),
        Cidr::PrivateIp if instance.addresses.is_empty() => Err(Error::NoAddress(instance.id.clone())),
        Cidr::PrivateIp => {
            let mut own: Vec<IpNet> = instance.addresses.iter().copied().map(IpNet::from).collect();
            own.sort();
            own.dedup();
            Ok(own)
        }
    }
}

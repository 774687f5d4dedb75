//! What an enrollment stands on before anything is changed: what lies on the disk, which instance this
//! is, and what the host is to be called.

use super::{Error, Run, made_for};
use crate::bake;
use crate::effects::{self, Effects};
use crate::facts::{self, Facts, InstanceId, Needs};
use crate::files;
use crate::journal::event;
use crate::state::{self, Found, MadeFor};
use crate::step::{self, Known, OnDisk, Rules, Step};
use crate::store::Disk;
use crate::template::Template;
use imprint_core::error::chain;
use imprint_core::name::HostId;
use imprint_core::retry::Retry;
use imprint_core::second::Second;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an enrolled machine waits for its metadata service, when nothing else tells which instance
/// it is: a boot that has an identity is not to be held up by it.
const LOOK_AROUND: Duration = Duration::from_secs(10);

/// All that [`step::next_step`] is made of, owned.
pub(super) struct Ground<'a> {
    pub(super) wanted: MadeFor,
    pub(super) state: Found,
    pub(super) identity: OnDisk,
    /// `None` when nobody told.
    pub(super) here: Option<InstanceId>,
    /// The instance on which an image was or is being made.
    pub(super) baked_on: Option<InstanceId>,
    /// The facts, if they had to be asked for already, and what they were asked for.
    facts: Option<(Facts, Needs)>,
    template: &'a Template,
    promotion: Option<&'a Template>,
    rules: Rules,
    now: Second,
}

/// What is to be redeemed for.
pub(super) struct Job {
    pub(super) host: HostId,
    pub(super) facts: Facts,
    pub(super) annotations: BTreeMap<String, String>,
}

impl Ground<'_> {
    pub(super) const fn known(&self) -> Known<'_> {
        Known {
            here: self.here.as_ref(),
            wanted: &self.wanted,
            template: self.template,
            promotion: self.promotion,
            state: &self.state,
            identity: &self.identity,
            baked_on: self.baked_on.as_ref(),
            rules: self.rules,
            now: self.now,
        }
    }

    /// The host of the state.
    pub(super) fn host(&self) -> String {
        match &self.state {
            Found::Good(state) => state.host_id.clone(),
            Found::Missing | Found::Unreadable(_) => String::new(),
        }
    }
}

impl<E: Effects, D: Disk> Run<'_, E, D> {
    /// Looks at the disk, and finds out which instance this is.
    pub(super) async fn ground(&self) -> Result<Ground<'_>, Error> {
        let mut ground = Ground {
            wanted: made_for(self.config),
            state: state::read(&self.config.files.state_dir)?,
            identity: files::on_disk(self.config)?,
            // Told without a request, mostly; the metadata service is asked only where it must be.
            here: facts::here(self.config),
            baked_on: bake::noted(&self.config.files.state_dir),
            facts: None,
            template: &self.config.host_id,
            promotion: self.config.promotion.as_ref().map(|to| &to.host_id),
            rules: Rules::new(self.config, self.wishes),
            now: self.on.now(),
        };
        if ground.here.is_none() {
            ground.facts = self.whereabouts(&ground.known()).await?;
            ground.here = ground.facts.as_ref().map(|(facts, _)| facts.instance_id.clone());
        }
        Ok(ground)
    }

    /// The host, judged, with what goes to Conjur beside it.
    pub(super) async fn job(&self, ground: &mut Ground<'_>, next: &Step) -> Result<Job, Error> {
        let needs = self.needs();
        let facts = match ground.facts.take().filter(|(_, asked)| *asked == needs) {
            Some((facts, _)) => facts,
            None => self.facts(&needs).await?,
        };
        if ground.here.as_ref() != Some(&facts.instance_id) {
            return Err(Error::TwoInstances);
        }
        let host = self.config.host_id.host_id(&facts)?;
        step::check_host(next, &host, &ground.known())?;
        Ok(Job { host, annotations: self.annotations(&facts)?, facts })
    }

    /// The facts that tell which instance this is. `None`: nobody told, and an identity is there that
    /// a missing answer must not cost.
    async fn whereabouts(&self, known: &Known<'_>) -> Result<Option<(Facts, Needs)>, Error> {
        if !step::is_kept_without_an_answer(known) {
            let needs = self.needs();
            return self.facts(&needs).await.map(|facts| Some((facts, needs)));
        }
        let retry = Retry::new(LOOK_AROUND.min(self.retry.remaining()), super::REPEATS);
        let call = async || self.on.facts(&Needs::default()).await;
        match retry.run("instance metadata", effects::Error::may_pass, call).await {
            Ok(facts) => Ok(Some((facts, Needs::default()))),
            Err(error) => {
                log::warn!(
                    target: "imprint", MESSAGE_ID = event::KEPT_WITHOUT_ANSWER;
                    "the identity is kept, though nobody tells which instance this is: {}", chain(&error)
                );
                Ok(None)
            }
        }
    }

    /// Repeated: a read without effect, which often fails in an instance's first seconds.
    pub(super) async fn facts(&self, needs: &Needs) -> Result<Facts, Error> {
        let facts = self
            .retry
            .run("instance metadata", effects::Error::may_pass, async || self.on.facts(needs).await);
        Ok(facts.await?)
    }

    pub(super) fn needs(&self) -> Needs {
        self.config.annotations.values().fold(self.config.host_id.needs(), |needs, t| needs.and(t.needs()))
    }

    pub(super) fn annotations(&self, facts: &Facts) -> Result<BTreeMap<String, String>, Error> {
        let expand = |(name, template): (&String, &Template)| Ok((name.clone(), template.annotation(facts)?));
        self.config.annotations.iter().map(expand).collect()
    }
}

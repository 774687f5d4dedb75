//! Promotions, of one privileged factory at a time: who is listed, what earlier runs did, and then what is to be
//! done for each instance whose old host is there.
//!
//! The memory is put, under a condition, before anything is deleted or minted: of two runs at once, one does nothing.

use super::effects::Promoting;
use super::judge::Purpose;
use super::memory::{Memory, memory_key, parse, to_bytes};
use super::mint::Part;
use super::promotion::{Facts, Step, decide, not_offered, remembered};
use super::report::{Done, Outcome, Report};
use super::run::{Error, Run};
use crate::config::Factory;
use crate::fleet::host::hosts_of;
use crate::rotate::chosen;
use imprint_core::aws::Only;
use imprint_core::aws::ec2::Instance;
use imprint_core::conjur::MOST_STATEMENTS;
use imprint_core::name::{FactoryId, HostId, InstanceId};
use imprint_core::token::AccessToken;
use std::collections::BTreeSet;

/// What a run is asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// These instances; all that the rules promote when empty.
    pub instances: Vec<InstanceId>,
    /// To this of the configured factories; to all that the rules promote to when `None`.
    pub to: Option<FactoryId>,
    /// From this one, where no rule says it.
    pub from: Option<FactoryId>,
    /// Look and decide, and change nothing.
    pub dry_run: bool,
}

/// One instance whose old host is there.
struct Candidate<'a> {
    instance: &'a Instance,
    old: HostId,
    new: HostId,
    facts: Facts,
    step: Step,
}

/// Candidates, and for those to whom a token is offered their part in a mint, with its rule.
type Work<'a, E> = Vec<(Candidate<'a>, Option<(Part<'a, E>, String)>)>;

impl<E: Promoting> Run<'_, E> {
    /// Does what is due for each promotion that the rules ask for, or for the instances that a person names. One
    /// factory's failure does not stop the others.
    ///
    /// # Errors
    /// When factories are asked for that are not configured, or nobody says from which to promote.
    pub async fn promote(&self, ask: &Ask) -> Result<Report, Error> {
        let ids = |id: &Option<FactoryId>| id.iter().cloned().collect::<Vec<_>>();
        let named = ids(&ask.from);
        let from = chosen(self.config, &named).map_err(Error::Unknown)?;
        let mut outcomes = Vec::new();
        let mut pairs = 0_usize;
        for to in chosen(self.config, &ids(&ask.to)).map_err(Error::Unknown)? {
            let sources: BTreeSet<&FactoryId> = match named.first() {
                Some(from) => [from].into(),
                None => self.judge.promoted_from(&to.id).collect(),
            };
            let sources = from.iter().filter(|factory| sources.contains(&factory.id) && factory.id != to.id);
            for from in sources {
                pairs += 1;
                match self.pair(from, to, ask).await {
                    Ok(some) => outcomes.extend(some),
                    Err(error) => outcomes.push(Outcome {
                        instance: None,
                        factory: Some(to.id.clone()),
                        result: Err(error),
                        notes: Vec::new(),
                        squatted: false,
                    }),
                }
            }
        }
        if pairs == 0 && (ask.to.is_some() || !ask.instances.is_empty()) {
            return Err(Error::FromNowhere);
        }
        outcomes.iter().for_each(Outcome::log);
        Ok(Report { rotation_id: self.id.to_string(), dry_run: ask.dry_run, instances: outcomes })
    }

    async fn pair(&self, from: &Factory, to: &Factory, ask: &Ask) -> Result<Vec<Outcome>, Error> {
        let (memory, only) = self.recall(to).await?;
        // The privileged layer last: what is no member of it now was none when it counts.
        let olds = self.members(from).await?;
        let news = self.members(to).await?;
        let (hosts, _others) = hosts_of(&self.place, &from.hosts_branch, &olds);
        let is_asked = |id: &InstanceId| ask.instances.is_empty() || ask.instances.contains(id);
        let hosts: Vec<_> = hosts.into_iter().filter(|host| is_asked(&host.instance)).collect();
        let ids: Vec<InstanceId> = hosts.iter().map(|host| host.instance.clone()).collect();
        let known = self.describe(&ids).await?;
        let mut outcomes: Vec<Outcome> = Vec::new();
        let absent = ask.instances.iter().filter(|id| !ids.contains(id));
        for id in absent {
            let host = self.promoted(to, id)?;
            let not_enrolled = || Error::NotEnrolled { instance: id.clone(), factory: from.id.clone() };
            let is_there = news.contains(&host);
            let result = if is_there { Ok(Done::Promoted { host }) } else { Err(not_enrolled()) };
            outcomes.push(Outcome::early(id, Some(&to.id), result));
        }

        let now = self.on.now();
        let mut next: Memory = memory.clone();
        // Of those who are judged, what is remembered is of those who are there.
        next.retain(|id, _| !is_asked(id) || ids.contains(id));
        let mut candidates = Vec::new();
        for host in hosts {
            let Some(instance) = known.get(&host.instance) else { continue };
            let new = self.promoted(to, &instance.id)?;
            let facts = Facts {
                is_member: news.contains(&new),
                is_squatted: olds.contains(&new),
                known: memory.get(&instance.id).copied(),
                asked: !ask.instances.is_empty(),
                life: self.config.instances.life,
                run: self.retry.remaining(),
                settle: self.config.instances.settle,
            };
            let step = decide(&facts, now);
            candidates.push(Candidate { instance, old: host.id, new, facts, step });
        }
        let mut work = Vec::new();
        for candidate in candidates {
            let id = &candidate.instance.id;
            let part = match candidate.step {
                Step::Offer { .. } => match Part::of(self, Purpose::Promotion, to, candidate.instance) {
                    Ok(part) => Some(part),
                    // Most instances of a fleet are not for promotion.
                    Err(Error::NotAllowed { .. } | Error::NotRunning { .. }) if ask.instances.is_empty() => {
                        continue;
                    }
                    Err(error) => {
                        outcomes.push(Outcome::early(id, Some(&to.id), Err(error)));
                        continue;
                    }
                },
                Step::DeleteOld | Step::Wait { .. } => None,
            };
            match remembered(&candidate.facts, candidate.step, now) {
                Some(known) => next.insert(id.clone(), known),
                None => next.remove(id),
            };
            work.push((candidate, part));
        }
        if ask.dry_run {
            let would = |candidate: &Candidate<'_>| match candidate.step {
                Step::DeleteOld => Done::OldRemoved { host: candidate.old.clone() },
                Step::Offer { clear } => Done::WouldOffer { clear },
                Step::Wait { until } => Done::Waits { until },
            };
            let told = work.iter().map(|(c, _)| Outcome::early(&c.instance.id, Some(&to.id), Ok(would(c))));
            outcomes.extend(told);
            return Ok(outcomes);
        }
        let only =
            if next == memory { only } else { Only::IfMatch(self.put_memory(to, &next, &only).await?) };
        outcomes.extend(self.carry_out(from, to, work, (memory, next, only)).await?);
        Ok(outcomes)
    }

    async fn carry_out(
        &self,
        from: &Factory,
        to: &Factory,
        work: Work<'_, E>,
        (before, next, only): (Memory, Memory, Only),
    ) -> Result<Vec<Outcome>, Error> {
        let (mut outcomes, mut parts) = (Vec::new(), Vec::new());
        let (mut cleared, mut over) = (Vec::new(), Vec::new());
        for (candidate, part) in work {
            let id = candidate.instance.id.clone();
            match (candidate.step, part) {
                (Step::Offer { clear }, Some(part)) => {
                    if clear {
                        cleared.push((id.clone(), candidate.new.clone(), candidate.facts.is_squatted));
                    }
                    parts.push(part);
                }
                (Step::Wait { until }, _) => {
                    outcomes.push(Outcome::early(&id, Some(&to.id), Ok(Done::Waits { until })));
                }
                (Step::DeleteOld, _) => over.push((id, candidate.old)),
                (Step::Offer { .. }, None) => {}
            }
        }
        self.delete(to, cleared.iter().map(|(_, host, _)| host.clone()).collect()).await?;
        for (instance, host, was_seen) in &cleared {
            let (instance, host, factory) = (instance.as_str(), host.as_str(), to.id.as_str());
            let was_seen = *was_seen;
            let (event, why) = if was_seen {
                ("squatted id cleared", "a host of the unprivileged layer had it")
            } else {
                (
                    "promotion id cleared",
                    "nobody took the last token; a host in none of the layers may have it",
                )
            };
            log::warn!(event, instance, host, factory; "{instance}: host/{host} was deleted before its promotion: {why}");
        }
        let squatted: BTreeSet<InstanceId> =
            cleared.into_iter().filter(|(_, _, was_seen)| *was_seen).map(|(id, ..)| id).collect();
        let mut offered = if parts.is_empty() { Vec::new() } else { self.of_factory(to, parts).await };
        for outcome in &mut offered {
            if outcome.instance.as_ref().is_some_and(|id| squatted.contains(id)) {
                outcome.notes.push("its id was squatted and is cleared".to_owned());
                outcome.squatted = true;
            }
        }
        // A token that was not published is not counted.
        let mut corrected = next.clone();
        let failed = offered.iter().filter(|outcome| outcome.result.is_err());
        for id in failed.filter_map(|outcome| outcome.instance.as_ref()) {
            match before.get(id) {
                Some(known) => {
                    let now_known = next.get(id).unwrap_or(known);
                    corrected.insert(id.clone(), not_offered(*known, *now_known))
                }
                None => corrected.remove(id),
            };
        }
        outcomes.extend(offered);
        self.delete(from, over.iter().map(|(_, host)| host.clone()).collect()).await?;
        let left = if over.is_empty() { BTreeSet::new() } else { self.members(from).await? };
        for (id, host) in over {
            if left.contains(&host) {
                let error = Error::StillThere { instance: id.clone(), host };
                outcomes.push(Outcome::early(&id, Some(&to.id), Err(error)));
                continue;
            }
            let (event, instance, name, factory) =
                ("old host removed", id.as_str(), host.as_str(), to.id.as_str());
            log::info!(event, instance, host = name, factory; "{instance}: host/{name} is removed, since the instance is promoted");
            outcomes.push(Outcome::early(&id, Some(&to.id), Ok(Done::OldRemoved { host })));
        }
        if corrected != next {
            let _tag = self.put_memory(to, &corrected, &only).await?;
        }
        Ok(outcomes)
    }

    /// The promoted host of an instance, as the agent calls it unless it is told otherwise.
    fn promoted(&self, to: &Factory, instance: &InstanceId) -> Result<HostId, Error> {
        let host = format!("{}/{}/{}/{instance}", to.hosts_branch, self.place.account_id, self.place.region);
        host.parse().map_err(|source| Error::NoId { factory: to.id.clone(), source })
    }

    /// Deletes hosts of a factory's branch. Deleting what is not there is well.
    async fn delete(&self, factory: &Factory, hosts: Vec<HostId>) -> Result<(), Error> {
        for some in hosts.chunks(MOST_STATEMENTS) {
            let call =
                async |with: &AccessToken| self.on.delete_hosts(with, &factory.hosts_branch, some).await;
            self.with("delete hosts", call).await?;
        }
        Ok(())
    }

    async fn members(&self, factory: &Factory) -> Result<BTreeSet<HostId>, Error> {
        let call = async |with: &AccessToken| self.on.members(with, &factory.layer).await;
        Ok(self.with("list hosts", call).await?)
    }

    async fn recall(&self, to: &Factory) -> Result<(Memory, Only), Error> {
        let key = memory_key(&self.config.account, &to.id);
        match self.again("s3:GetObject", async || self.on.recall(&key).await).await {
            Ok(object) => {
                let memory = parse(&object.bytes).unwrap_or_else(|why| {
                    log::warn!("{key} is begun anew: {why}");
                    Memory::default()
                });
                Ok((memory, Only::IfMatch(object.etag)))
            }
            Err(error) if error.is_absent() => Ok((Memory::default(), Only::IfAbsent)),
            Err(error) => Err(error.into()),
        }
    }

    /// put: when another run was first, this one stops.
    async fn put_memory(
        &self,
        to: &Factory,
        memory: &Memory,
        only: &Only,
    ) -> Result<imprint_core::aws::ETag, Error> {
        let key = memory_key(&self.config.account, &to.id);
        Ok(self.on.remember(&key, to_bytes(memory), only).await?)
    }
}

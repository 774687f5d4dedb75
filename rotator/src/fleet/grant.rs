//! `promote --grant`: hosts keep their identity and join a privileged layer, by a policy that a person loads.
//!
//! Nothing of ours may load it: who may change the layer's branch may also permit itself what the layer reads. And
//! the host stays one of its unprivileged factory, so whoever has a shared token of that factory can rotate its key.
//! So each host is tied to the addresses of its instance before its statement is told, in this very run, whatever
//! is remembered of earlier pins.

use super::effects::Effects;
use super::host::{Host, hosts_of};
use super::pins::networks;
use super::run::{self, Run};
use crate::config::Factory;
use crate::conjur_policy::scalar;
use crate::instance::judge::{Judge, Purpose};
use crate::rotate::{chosen, worst};
use imprint_core::aws::ec2::Instance;
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::{FactoryId, HostId, InstanceId, LayerId};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// What a run is asked for, beside what every run over the fleet is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ask {
    /// To the layer of this factory.
    pub to: FactoryId,
    /// Hosts of this factory, where no rule says it.
    pub from: Option<FactoryId>,
    /// Tie them to their addresses; without it nothing is done.
    pub pin: bool,
}

/// Why nobody, or one instance's host, can join.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What all of them need failed.
    #[error(transparent)]
    Run(#[from] run::Error),
    /// Nobody says from which factory's hosts.
    #[error("no rule says from which factory's hosts to promote")]
    FromNowhere,
    /// EC2 shows no address to tie the host to.
    #[error("EC2 shows no address of {0} to tie its host to")]
    NoAddress(InstanceId),
    /// The rules say no.
    #[error("the host of {instance} gets no grant of {layer}: {why}")]
    NotAllowed {
        /// The instance.
        instance: InstanceId,
        /// The privileged layer.
        layer: LayerId,
        /// What the rules say.
        why: String,
    },
    /// It has no host that could join.
    #[error("{0} has no host of an unprivileged factory that could join the layer")]
    NotEnrolled(InstanceId),
    /// It has a host of the privileged factory.
    #[error("{instance} is promoted to {host} already")]
    Promoted {
        /// The instance.
        instance: InstanceId,
        /// That host.
        host: HostId,
    },
    /// It was not asked for to tie the hosts.
    #[error(
        "--grant without --pin protects against no leaked token: the host stays one of its unprivileged factory, and whoever has a shared token of that can rotate its key and then read what the layer may read"
    )]
    Unpinned,
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Run(error) => error.class(),
            Self::FromNowhere | Self::Unpinned => Class::Usage,
            Self::NoAddress(_) => Class::Transient,
            Self::NotAllowed { .. } | Self::Promoted { .. } => Class::Refused,
            Self::NotEnrolled(_) => Class::Absent,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Run(error) => error.hint(),
            Self::FromNowhere => Some("write a rule with promote_from, or give --from"),
            Self::NoAddress(_) => Some("see whether region and role are those of the instance"),
            Self::NotAllowed { .. } => {
                Some("change the rules, or give --from and --without-rule, which the report tells")
            }
            Self::NotEnrolled(_) => Some("see imprint status on it, and the factory's layer"),
            Self::Promoted { .. } => Some("a grant would only give its old host what it has"),
            Self::Unpinned => Some(
                "promote without --grant, which makes a host of another factory; or add --pin, where Conjur sees the instances' own addresses",
            ),
        }
    }
}

/// What a person has to load, and why for whom.
#[derive(Debug)]
pub struct Grants {
    /// Whether nothing was changed, on purpose.
    pub dry_run: bool,
    /// The layer to join.
    pub layer: LayerId,
    /// The branch to load it into, which holds both the layer and the hosts: Conjur takes no absolute id of a layer.
    pub branch: String,
    /// One an instance that was asked for.
    pub instances: Vec<(InstanceId, Result<Grant, Error>)>,
}

/// One host that may join.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// The host.
    pub host: HostId,
    /// What it is tied to, or in a dry run would be.
    pub restricted_to: Vec<IpNet>,
    /// The rule that allowed it.
    pub rule: String,
    /// Whether it is in the layer already.
    pub is_member: bool,
    /// Whether `pin` ties it anew when its address changes.
    pub stays_pinned: bool,
}

impl<E: Effects> Run<'_, E> {
    /// Judges the instances asked for as a promotion does, ties their hosts, and says what is to be loaded. Beside the pins
    /// nothing is changed.
    ///
    /// # Errors
    /// When pins are not asked for or fail, nobody says from which factory, or Conjur or EC2 cannot be asked.
    pub async fn grant(&self, ask: &Ask, judge: Judge<'_>) -> Result<Grants, Error> {
        if !ask.pin {
            return Err(Error::Unpinned);
        }
        let configured = |id: &FactoryId| chosen(self.config, std::slice::from_ref(id));
        let to = configured(&ask.to).map_err(run::Error::Unknown)?;
        let to = to.first().ok_or(Error::FromNowhere)?;
        let sources: BTreeSet<FactoryId> = match &ask.from {
            Some(from) => [from.clone()].into(),
            None => judge.promoted_from(&to.id).cloned().collect(),
        };
        let sources: Vec<FactoryId> = sources.into_iter().filter(|id| *id != to.id).collect();
        if sources.is_empty() {
            return Err(Error::FromNowhere);
        }
        let sources = chosen(self.config, &sources).map_err(run::Error::Unknown)?;
        let members = self.members(to).await?;
        let mut found: BTreeMap<InstanceId, Result<Grant, Error>> = BTreeMap::new();
        for from in &sources {
            let (mut hosts, _) = hosts_of(&self.place, &from.hosts_branch, &self.members(from).await?);
            hosts.retain(|host| self.ask.instances.contains(&host.instance));
            let ids: Vec<InstanceId> = hosts.iter().map(|host| host.instance.clone()).collect();
            let known = self.describe(&ids).await?;
            let mut tie = BTreeMap::new();
            for host in hosts {
                let grant = self.weigh(&host, from, to, known.get(&host.instance), judge, &members);
                if let Ok(grant) = &grant {
                    tie.insert(grant.host.clone(), grant.restricted_to.clone());
                }
                found.insert(host.instance, grant);
            }
            if !self.ask.dry_run && !tie.is_empty() {
                self.tie_now(from, tie).await?;
            }
        }
        let mut instances = Vec::new();
        for id in self.ask.instances.iter().collect::<BTreeSet<_>>() {
            let result = found.remove(id).unwrap_or_else(|| Err(Error::NotEnrolled(id.clone())));
            instances.push((id.clone(), result));
        }
        let branches: Vec<&str> = sources.iter().map(|from| from.hosts_branch.as_str()).collect();
        let grants = Grants {
            dry_run: self.ask.dry_run,
            layer: to.layer.clone(),
            branch: branch_of(to.layer.as_str(), &branches),
            instances,
        };
        grants.log();
        Ok(grants)
    }

    fn weigh(
        &self,
        host: &Host,
        from: &Factory,
        to: &Factory,
        instance: Option<&Instance>,
        judge: Judge<'_>,
        members: &BTreeSet<HostId>,
    ) -> Result<Grant, Error> {
        let id = &host.instance;
        let (promoted, _) = hosts_of(&self.place, &to.hosts_branch, members);
        if let Some(there) = promoted.into_iter().find(|other| other.instance == *id && other.id != host.id) {
            return Err(Error::Promoted { instance: id.clone(), host: there.id });
        }
        let instance = instance.ok_or_else(|| Error::NoAddress(id.clone()))?;
        let rule = judge.rule(Purpose::Promotion, to, instance, &self.place, self.now());
        let no = |why| Error::NotAllowed { instance: id.clone(), layer: to.layer.clone(), why };
        let rule = rule.map_err(no)?;
        let restricted_to = networks(instance);
        if restricted_to.is_empty() {
            return Err(Error::NoAddress(id.clone()));
        }
        Ok(Grant {
            is_member: members.contains(&host.id),
            stays_pinned: from.pin || self.judge(from, instance).pins(),
            host: host.id.clone(),
            restricted_to,
            rule,
        })
    }
}

impl Grants {
    /// The worst of it.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        let errors = self.instances.iter().filter_map(|(_, result)| result.as_ref().err());
        worst(errors.map(Classified::class))
    }

    /// The policy to load: one statement for all hosts that are tied and not in the layer; `None` when there is none.
    #[must_use]
    pub fn policy(&self) -> Option<String> {
        let hosts: Vec<&str> =
            self.good().filter(|(_, grant)| !grant.is_member).map(|(_, g)| g.host.as_str()).collect();
        if self.dry_run || hosts.is_empty() {
            return None;
        }
        let here = |id: &str| {
            let below = id.strip_prefix(&self.branch).and_then(|rest| rest.strip_prefix('/'));
            scalar(below.unwrap_or(id))
        };
        let hosts: String = hosts.iter().map(|host| format!("    - !host {}\n", here(host))).collect();
        Some(format!("- !grant\n  role: !layer {}\n  member:\n{hosts}", here(self.layer.as_str())))
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let one = |(id, result): &(InstanceId, Result<Grant, Error>)| match result {
            Ok(grant) => json!({
                "instance": id.as_str(),
                "result": grant.result(self.dry_run),
                "host": grant.host.as_str(),
                "restricted_to": grant.restricted_to.iter().map(IpNet::to_string).collect::<Vec<_>>(),
                "rule": grant.rule,
                "stays_pinned": grant.stays_pinned,
            }),
            Err(error) => json!({
                "instance": id.as_str(), "result": "failed",
                "error": chain(error), "class": error.class().as_str(), "hint": error.hint(),
            }),
        };
        let instances: Vec<Value> = self.instances.iter().map(one).collect();
        json!({
            "schema": SCHEMA, "dry_run": self.dry_run, "layer": self.layer.as_str(), "branch": self.branch,
            "policy": self.policy(), "instances": instances,
        })
    }

    fn good(&self) -> impl Iterator<Item = (&InstanceId, &Grant)> {
        self.instances.iter().filter_map(|(id, result)| Some((id, result.as_ref().ok()?)))
    }

    fn log(&self) {
        for (id, result) in &self.instances {
            let instance = id.as_str();
            match result {
                Ok(grant) if !grant.stays_pinned => {
                    log::warn!(instance; "{id}: nothing ties {} anew when the address changes, so that it is locked out: set pin = true for its factory or in a rule", grant.host);
                }
                Ok(_) => {}
                Err(error) => {
                    let (class, hint) = (error.class().as_str(), error.hint().unwrap_or_default());
                    log::error!(instance, class, hint; "{id}: {}", chain(error));
                }
            }
        }
    }
}

impl Grant {
    fn result(&self, dry_run: bool) -> &'static str {
        match (self.is_member, dry_run) {
            (true, _) => "granted already",
            (false, true) => "grant due",
            (false, false) => "to be loaded",
        }
    }
}

impl fmt::Display for Grants {
    /// A policy as it may be loaded, with what a person should know as comments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tied = if self.dry_run { "would be tied" } else { "is tied" };
        for (id, grant) in self.good() {
            let to: Vec<String> = grant.restricted_to.iter().map(IpNet::to_string).collect();
            let (to, result) = (to.join(", "), grant.result(self.dry_run));
            writeln!(f, "# {id}: {result}; {} {tied} to {to}; rule: {}", grant.host, grant.rule)?;
        }
        match self.policy() {
            Some(policy) => write!(
                f,
                "# Nothing is granted yet. Load this into {branch}: conjur policy load -b {branch} -f FILE\n{}",
                policy.trim_end(),
                branch = self.branch
            ),
            None => write!(f, "# Nothing is to be loaded."),
        }
    }
}

/// The innermost branch by its id that holds a layer and all of these branches of hosts; else `root`.
fn branch_of(layer: &str, hosts: &[&str]) -> String {
    let (above, _) = layer.rsplit_once('/').unwrap_or_default();
    let mut common: Vec<&str> = above.split('/').filter(|part| !part.is_empty()).collect();
    for branch in hosts {
        let same = common.iter().zip(branch.split('/')).take_while(|(one, other)| *one == other).count();
        common.truncate(same);
    }
    if common.is_empty() { "root".to_owned() } else { common.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_branch_that_holds_them_all() {
        let check = |layer: &str, hosts: &[&str], wanted: &str| assert_eq!(branch_of(layer, hosts), wanted);
        check("db/nodes", &["web/hosts"], "root");
        check("nodes", &["web/hosts"], "root");
        check("app/db/nodes", &["app/web/hosts"], "app");
        check("app/db/nodes", &["app/db/hosts"], "app/db");
        check("app/db/nodes", &["app/db/hosts", "app/web/hosts"], "app");
        check("app/db/nodes", &["app/db/hosts", "web/hosts"], "root");
        check("app/db/nodes", &["application/hosts"], "root");
    }

    #[test]
    fn the_statement_names_who_is_tied_and_not_there_yet() {
        let grant = |host: &str, is_member| {
            let host = host.parse().unwrap();
            let restricted_to = vec!["10.0.0.5/32".parse().unwrap()];
            Ok(Grant { host, restricted_to, rule: "db".to_owned(), is_member, stays_pinned: true })
        };
        let id = |id: &str| id.parse::<InstanceId>().unwrap();
        let mut grants = Grants {
            dry_run: false,
            layer: "app/db/nodes".parse().unwrap(),
            branch: "app".to_owned(),
            instances: vec![
                (id("i-1"), grant("app/web/hosts/1/eu/i-1", false)),
                (id("i-2"), grant("app/web/hosts/1/eu/i-2", true)),
                (id("i-3"), Err(Error::NotEnrolled(id("i-3")))),
            ],
        };
        let wanted = "- !grant\n  role: !layer db/nodes\n  member:\n    - !host web/hosts/1/eu/i-1\n";
        assert_eq!((grants.policy().as_deref(), grants.class()), (Some(wanted), Some(Class::Absent)));
        // All but the statement is a comment.
        let told = grants.to_string();
        let rest: Vec<&str> = told.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(rest.join("\n"), wanted.trim_end());
        assert!(!told.contains("i-3"), "{told}");
        grants.branch = "root".to_owned();
        assert!(grants.policy().unwrap().contains("!host app/web/hosts/1/eu/i-1"));
        grants.dry_run = true;
        assert_eq!(grants.policy(), None);
    }
}

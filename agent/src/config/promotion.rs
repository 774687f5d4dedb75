//! The `[promotion]` section: what the host becomes once something outside decides so, and the
//! configuration that its new identity is made for.

use super::kinds::{InstanceFrom, VariableId};
use super::{Config, Object, S3, Source};
use crate::state::State;
use crate::template::Template;
use imprint_core::name::FactoryId;
use imprint_core::settings::{Table, text};

/// What the host becomes.
#[derive(Clone, Debug)]
pub struct Promotion {
    /// The privileged factory.
    pub host_factory: FactoryId,
    /// What the promoted host is called; it names the instance.
    pub host_id: Template,
    /// A variable that the promoted host must be allowed to read.
    pub proof_variable: Option<String>,
}

impl Promotion {
    /// The section, if there is one. The outer `None` says that it is wrong.
    pub(super) fn take(
        root: &mut Table<'_>,
        instance: Option<InstanceFrom>,
        factory: Option<&FactoryId>,
        sources: Option<&[Source]>,
    ) -> Option<Option<Self>> {
        if !root.has("promotion") {
            return Some(None);
        }
        let mut table = root.section("promotion");
        let host_factory = table.required("host_factory", text::<FactoryId>);
        let host_id = super::host_id(&mut table, instance);
        let proof_variable = table.optional("proof_variable", text::<VariableId>).map(|id| id.0);
        if host_factory.is_some() && host_factory.as_ref() == factory {
            table.problem("host_factory", "is the factory that the host comes from already: a token that others have could rotate the promoted host's key");
        }
        if host_id.as_ref().is_some_and(|id| !id.as_str().contains("{instance_id}")) {
            table.problem(
                "host_id",
                "must have {instance_id}: a promotion is of one instance, and no clone may come to its id",
            );
        }
        if instance == Some(InstanceFrom::Machine) {
            table.problem("host_factory", "is for EC2 instances, and [instance] id is \"machine\"");
        }
        if sources.is_some_and(|all| !all.iter().any(|source| matches!(source, Source::S3(_)))) {
            table.problem("host_factory", "needs a [source] of kind s3, in whose bucket the promotion waits");
        }
        Some(Some(Self { host_factory: host_factory?, host_id: host_id?, proof_variable }))
    }
}

impl Config {
    /// The configuration that a promoted identity is made for: another factory, host id and proof, and a token
    /// that waits under this instance's key alone. `None` without a `[promotion]`.
    #[must_use]
    pub fn promoted(&self) -> Option<Self> {
        let Promotion { host_factory, host_id, proof_variable } = self.promotion.clone()?;
        let object = Object::Instance(host_factory.clone());
        let waits = Source::S3(S3 { object, ..self.s3()?.clone() });
        Some(Self {
            host_factory,
            host_id,
            proof_variable,
            sources: vec![waits],
            promotion: None,
            ..self.clone()
        })
    }

    /// The variable that the enrolled host must be allowed to read: the promotion's, once it is promoted. `None`
    /// also for one that was promoted to what the configuration does not name any more.
    #[must_use]
    pub fn proof_of(&self, enrolled: Option<&State>) -> Option<&str> {
        let Some(state) = enrolled.filter(|state| state.promoted) else {
            return self.proof_variable.as_deref();
        };
        let to = self.promotion.as_ref()?;
        if state.made_for.host_factory == to.host_factory.as_str() {
            to.proof_variable.as_deref()
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GOOD, config, problems};

    #[test]
    fn what_a_promotion_is_made_for() {
        assert!(config("").promotion.is_none() && config("").promoted().is_none());
        let config = config(
            "[promotion]\nhost_factory = \"db/factory\"\nhosts_branch = \"db/hosts\"\nproof_variable = \"db/password\"\n",
        );
        let there = config.promoted().unwrap();
        assert_eq!(there.host_factory.as_str(), "db/factory");
        assert_eq!(there.host_id.as_str(), "db/hosts/{account_id}/{region}/{instance_id}");
        assert_eq!(there.proof_variable.as_deref(), Some("db/password"));
        let waits: Vec<String> = there.sources.iter().map(ToString::to_string).collect();
        assert_eq!(waits, ["s3://imprint-tokens/instances/{instance_id}/db/factory.json"]);
        assert_eq!((there.account, there.appliance_url), (config.account, config.appliance_url));
    }

    #[test]
    fn every_problem_of_a_promotion() {
        let check = |from: &str, to: &str, wanted: &[&str]| {
            let file = GOOD.replacen(from, &format!("{to}{from}"), 1);
            let found = problems(&file);
            let found: Vec<&str> =
                found.iter().map(|p| p.split_once(": ").map_or(p.as_str(), |(_, p)| p)).collect();
            assert_eq!(found.len(), wanted.len(), "{found:?}");
            for (found, say) in found.iter().zip(wanted) {
                assert!(found.contains(say), "{found}");
            }
        };
        let before = "\n[source]";
        check(
            before,
            "[promotion]\n",
            &["promotion.host_factory is missing", "promotion.hosts_branch is missing"],
        );
        let factory = "[promotion]\nhost_factory = \"db/factory\"\n";
        check(before, &format!("{factory}host_id = \"db/{{hostname}}\"\n"), &["must have {instance_id}"]);
        check(
            before,
            &format!("{factory}hosts_branch = \"db\"\nto = \"x\"\n"),
            &["promotion.to is not a known setting"],
        );
        let same = "[promotion]\nhost_factory = \"app/web\"\nhosts_branch = \"db\"\n";
        check(before, same, &["is the factory that the host comes from already"]);
        let machine = format!("[instance]\nid = \"machine\"\n{factory}hosts_branch = \"db\"\n");
        check(before, &machine, &["is for EC2 instances"]);
    }
}

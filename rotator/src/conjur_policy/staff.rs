//! Who works for the factories, and what each of them may.
//!
//! The reaper is who the configuration's `[fleet]` logs in as; where that says nothing, by convention the host
//! `reaper` in the rotator's own branch. The minter is who `[instances]` logs in as, and the rotator where rules say
//! that somebody mints and nothing says who.

use super::Place;
use super::tree::{Tree, comment, scalar};
use crate::config::{Config, Factory, LoginBy};
use imprint_core::name::FactoryId;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A host or a user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Role {
    pub(super) kind: &'static str,
    pub(super) id: String,
}

impl Role {
    /// Of a login such as `host/imprint/rotator`, or a user's name.
    fn of(login: &str) -> Self {
        let (kind, id) = login.strip_prefix("host/").map_or(("user", login), |id| ("host", id));
        Self { kind, id: id.to_owned() }
    }
}

/// One of those who work, and where it logs in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Member {
    pub(super) role: Role,
    /// The service of authn-iam; `None`: with an API key.
    service: Option<String>,
}

impl Member {
    fn of(login: &str, by: &LoginBy) -> Self {
        let service = match by {
            LoginBy::Role { service, .. } => Some(service.to_string()),
            LoginBy::KeyFile(_) | LoginBy::KeyVariable | LoginBy::SealedKey => None,
        };
        Self { role: Role::of(login), service }
    }

    /// The host `reaper` beside the rotator.
    fn reaper_beside(rotator: &Self) -> Self {
        let parent = |id: &str| id.rsplit_once('/').map(|(branch, _)| branch.to_owned());
        let id = rotator.role.id.as_str();
        let branch = match (rotator.role.kind, &rotator.service) {
            ("user", _) => Some("imprint".to_owned()),
            // The last two parts of a login with an IAM role are one name.
            (_, Some(_)) => parent(id).and_then(|id| parent(&id)),
            (_, None) => parent(id),
        };
        let beside = |name: &str| branch.as_ref().map_or_else(|| name.to_owned(), |b| format!("{b}/{name}"));
        let reaper = if id == beside("reaper") { beside("hosts-reaper") } else { beside("reaper") };
        Self { role: Role { kind: "host", id: reaper }, service: None }
    }
}

/// Who works for the factories.
pub(super) struct Staff {
    pub(super) rotator: Member,
    pub(super) reaper: Member,
    /// Who mints for one instance and promotes, where somebody does.
    pub(super) minter: Option<Member>,
}

impl Staff {
    pub(super) fn of(config: &Config) -> Self {
        let own = |own: &Option<(String, LoginBy)>| own.as_ref().map(|(login, by)| Member::of(login, by));
        let rotator = Member::of(&config.login, &config.login_by);
        let reaper = own(&config.fleet.login).unwrap_or_else(|| Member::reaper_beside(&rotator));
        let minter = own(&config.instances.login)
            .or_else(|| (!config.fleet.rules.is_empty()).then(|| rotator.clone()));
        Self { rotator, reaper, minter }
    }

    /// Declares those who lie there: a user is a person's, or somebody else's, to make.
    pub(super) fn declare(&self, tree: &mut Tree, place: &Place<'_>) {
        let note = match &self.rotator.service {
            None => "The rotator; it logs in with its API key, which the load shows once.",
            Some(_) => {
                "The rotator; it logs in with the IAM role of its name. The API key that the load shows is for nobody."
            }
        };
        let mut members = vec![(&self.rotator, note)];
        if self.reaper.role != self.rotator.role {
            let note = "The reaper, which removes the hosts of instances that are gone. Leave it out where nobody does.";
            members.push((&self.reaper, note));
        }
        if let Some(minter) = &self.minter
            && members.iter().all(|(member, _)| member.role != minter.role)
        {
            members.push((minter, "The minter, which mints tokens for one instance, and promotes."));
        }
        let services: BTreeSet<&String> =
            members.iter().filter_map(|(member, _)| member.service.as_ref()).collect();
        for service in services {
            let id = webservice(service);
            let Some(id) = place.below(&id) else { continue };
            let note = format!(
                "Where IAM roles log in; the server's own settings must enable authn-iam/{service} too."
            );
            tree.record(id, "webservice", &[note], &[]);
        }
        for (member, note) in members {
            if member.role.kind == "host"
                && let Some(id) = place.below(&member.role.id)
            {
                tree.record(id, "host", &[note.to_owned()], &api_key());
            }
        }
    }

    pub(super) fn permit(
        &self,
        out: &mut String,
        place: &Place<'_>,
        config: &Config,
        factories: &[&Factory],
    ) {
        self.permit_logins(out, place);
        self.permit_rotator(out, place, config, factories);
        self.permit_reaper(out, place, factories);
        if let Some(minter) = &self.minter {
            self.permit_minter(minter, out, place, config, factories);
        }
    }

    fn permit_logins(&self, out: &mut String, place: &Place<'_>) {
        let mut seen = BTreeSet::new();
        let members = [
            (Some(&self.rotator), "The rotator may log in with its IAM role."),
            (Some(&self.reaper), "So may the reaper."),
            (self.minter.as_ref(), "So may the minter."),
        ];
        for (member, note) in members {
            let Some(member) = member else { continue };
            if let Some(service) = &member.service
                && seen.insert(&member.role.id)
                && let Some(id) = place.below(&webservice(service))
            {
                let service = [format!("!webservice {}", scalar(id))];
                permit(out, note, &place.role(&member.role), "authenticate", &service);
            }
        }
    }

    fn permit_rotator(&self, out: &mut String, place: &Place<'_>, config: &Config, factories: &[&Factory]) {
        let rotator = place.role(&self.rotator.role);
        let (minting, others): (Vec<&Factory>, Vec<&Factory>) =
            factories.iter().partition(|factory| config.rotator_mints(factory));
        for (some, mints) in [(minting, true), (others, false)] {
            let (privileges, note) = on_factories(mints, config.revoke);
            let resources = named(place, "host-factory", some.iter().map(|factory| factory.id.as_str()));
            permit(out, note, &rotator, privileges, &resources);
        }
    }

    fn permit_reaper(&self, out: &mut String, place: &Place<'_>, factories: &[&Factory]) {
        let reaper = place.role(&self.reaper.role);
        let branches: BTreeSet<&str> =
            factories.iter().map(|factory| factory.hosts_branch.as_str()).collect();
        permit(
            out,
            "The reaper deletes hosts by loading policy into their branch, and can change nothing outside of it. \
             Inside, it could also add hosts and pin them to addresses.",
            &reaper,
            "read, update",
            &named(place, "policy", branches.into_iter()),
        );
        permit(
            out,
            "With read the reaper lists the hosts of a layer; it sees no more of them than their ids.",
            &reaper,
            "read",
            &named(place, "layer", factories.iter().map(|factory| factory.layer.as_str())),
        );
    }

    /// What the minter needs, and does not have as rotator or reaper.
    fn permit_minter(
        &self,
        minter: &Member,
        out: &mut String,
        place: &Place<'_>,
        config: &Config,
        factories: &[&Factory],
    ) {
        let role = place.role(&minter.role);
        if minter.role != self.rotator.role {
            let rules = &config.fleet.rules;
            // Without a rule it mints only for instances that a person names, at any factory.
            let minted = |id: &FactoryId| rules.is_empty() || rules.of(id).next().is_some();
            let ids =
                factories.iter().filter(|factory| minted(&factory.id)).map(|factory| factory.id.as_str());
            let (privileges, note) = if config.revoke {
                (
                    "execute, update",
                    "The minter mints tokens for one instance; with update it deletes them once they are expired.",
                )
            } else {
                (
                    "execute",
                    "The minter mints tokens for one instance. It deletes none, since revoke = false.",
                )
            };
            permit(out, note, &role, privileges, &named(place, "host-factory", ids));
        }
        if minter.role == self.reaper.role {
            return;
        }
        let promoted: BTreeSet<&FactoryId> = config
            .fleet
            .rules
            .iter()
            .filter_map(|rule| Some([&rule.factory, rule.promote_from.as_ref()?]))
            .flatten()
            .collect();
        let promoted: Vec<&Factory> =
            factories.iter().copied().filter(|factory| promoted.contains(&factory.id)).collect();
        let branches: BTreeSet<&str> = promoted.iter().map(|factory| factory.hosts_branch.as_str()).collect();
        permit(
            out,
            "The minter promotes: it deletes the host that an instance was born as, and whoever took the id that it \
             is to have.",
            &role,
            "read, update",
            &named(place, "policy", branches.into_iter()),
        );
        permit(
            out,
            "With read the minter sees who was born and who is promoted.",
            &role,
            "read",
            &named(place, "layer", promoted.iter().map(|factory| factory.layer.as_str())),
        );
    }
}

/// Those of these ids that lie there, each once, as resources of a permit.
fn named<'i>(place: &Place<'_>, kind: &str, ids: impl Iterator<Item = &'i str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    ids.filter(|id| seen.insert(*id))
        .filter_map(|id| place.below(id))
        .map(|id| format!("!{kind} {}", scalar(id)))
        .collect()
}

/// What the rotator needs on factories, and why.
const fn on_factories(mints: bool, revokes: bool) -> (&'static str, &'static str) {
    match (mints, revokes) {
        (true, true) => (
            "execute, update",
            "The rotator mints tokens with execute; with update it revokes and deletes them. Either shows it the \
             factory with all its tokens in clear, so nobody else should have any privilege on a factory.",
        ),
        (true, false) => (
            "execute",
            "The rotator mints tokens with execute. It revokes and deletes none, since revoke = false. Any \
             privilege shows the factory with all its tokens in clear, so nobody else should have one.",
        ),
        (false, true) => (
            "update",
            "The rotator mints nothing here (mint = false, or scope = \"instance\"): with update it sees the tokens, \
             and revokes and deletes its own. Add execute to use token create or seal.",
        ),
        (false, false) => (
            "read",
            "The rotator mints nothing here (mint = false, or scope = \"instance\"), and revokes nothing, since \
             revoke = false: with read it sees the tokens. Add execute to use token create or seal.",
        ),
    }
}

fn webservice(service: &str) -> String {
    format!("conjur/authn-iam/{service}")
}

/// Conjur gives every host an API key, and a server may refuse a host that does not say so by this.
fn api_key() -> [String; 2] {
    ["annotations:".to_owned(), "  authn/api-key: true".to_owned()]
}

/// One permit on several resources, or none when there is none.
fn permit(out: &mut String, note: &str, role: &str, privileges: &str, resources: &[String]) {
    if resources.is_empty() {
        return;
    }
    out.push('\n');
    out.push_str(&comment(note, 0));
    let _infallible =
        write!(out, "- !permit\n  role: {role}\n  privileges: [ {privileges} ]\n  resources:\n");
    for resource in resources {
        let _infallible = writeln!(out, "    - {resource}");
    }
}

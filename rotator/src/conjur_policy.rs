//! `imprint-rotator policy`: the Conjur policy that a configuration needs, as text with a comment at each
//! permit. Nobody is asked; what the text would change is for whoever loads it to judge.
//!
//! Least privilege, as it was seen to work on genuine servers: the rotator has `execute` on each factory, and
//! `update` only where the configuration says `revoke = true`; the reaper, a host of its own, has `update` on the
//! branches of the hosts and `read` on the layers. Neither owns anything. Who is who is decided here, how it is
//! written is in `tree`.
//!
//! The reaper is who the configuration's `[fleet]` logs in as; where that says nothing, by convention the host
//! `reaper` in the rotator's own branch.

mod tree;

use crate::config::{Config, Factory, LoginBy};
use crate::rotate;
use imprint_core::error::{Class, Classified};
use imprint_core::name::{Branch, FactoryId, LayerId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use tree::{Tree, comment, scalar};

/// What the command line asks for.
#[derive(clap::Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// Only this factory of the configuration; may be repeated
    #[arg(long = "factory", value_name = "ID")]
    pub factories: Vec<FactoryId>,
    /// The branch that the policy is loaded into; what lies elsewhere is left out [default: root]
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<Branch>,
    /// Layers that nothing is permitted to, each with a group of its own that owns it and its factory
    #[arg(long)]
    pub unprivileged: bool,
}

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A factory refers to its layer by a name beside its own.
    #[error("the layer {layer} of {factory} lies in another branch")]
    Apart {
        /// The factory.
        factory: FactoryId,
        /// Its layer.
        layer: LayerId,
    },
    /// Nothing of the configuration lies there.
    #[error("nothing that the configuration names lies below {0}")]
    Elsewhere(Branch),
    /// Factories are asked for that the configuration does not have.
    #[error(transparent)]
    Unknown(rotate::Error),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Apart { .. } => Class::Config,
            Self::Elsewhere(_) => Class::Usage,
            Self::Unknown(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Apart { .. } => Some(
                "put both into one branch, or write this factory's policy by hand and leave it out with --factory",
            ),
            Self::Elsewhere(_) => Some(
                "name a branch above a factory, its hosts or the rotator, or leave --branch out for root",
            ),
            Self::Unknown(error) => error.hint(),
        }
    }
}

/// The policy of the factories asked for, as YAML.
///
/// # Errors
/// When a factory is not in the configuration, or nothing lies below the branch.
pub fn policy(config: &Config, ask: &Ask) -> Result<String, Error> {
    let factories = rotate::chosen(config, &ask.factories).map_err(Error::Unknown)?;
    let place = Place::of(ask.branch.as_ref());
    let service = match &config.login_by {
        LoginBy::Role { service, .. } => Some(service.to_string()),
        LoginBy::KeyFile(_) | LoginBy::KeyVariable | LoginBy::SealedKey => None,
    };
    let staff = Staff::of(&config.login, service.as_deref()).and(config.fleet.login.as_ref());
    let mut tree = Tree::default();
    let mut layers = BTreeSet::new();
    for factory in &factories {
        if branch_of(factory.id.as_str()) != branch_of(factory.layer.as_str()) {
            return Err(Error::Apart { factory: factory.id.clone(), layer: factory.layer.clone() });
        }
        if let (Some(id), Some(layer)) =
            (place.below(factory.id.as_str()), place.below(factory.layer.as_str()))
        {
            let layer = Some(layer).filter(|layer| layers.insert(*layer));
            layer_and_factory(&mut tree, id, layer, factory, ask.unprivileged);
        }
    }
    for (branch, factories) in branches(&factories) {
        if let Some(id) = place.below(branch) {
            let notes = [format!("The hosts of {factories} lie below here.")];
            tree.branch(id, &notes);
        }
    }
    staff.declare(&mut tree, &place);
    let mut permits = String::new();
    staff.permit(&mut permits, &place, config, &factories);
    let body = tree.to_yaml();
    if let Some(branch) = ask.branch.as_ref().filter(|_| body.is_empty() && permits.is_empty()) {
        return Err(Error::Elsewhere(branch.clone()));
    }
    Ok(head(config, ask, &place, &staff) + &body + &permits)
}

/// Where the text will be loaded: ids in it are relative to that.
struct Place<'a> {
    branch: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(branch: Option<&'a Branch>) -> Self {
        Self { branch: branch.map(Branch::as_str).filter(|branch| *branch != "root") }
    }

    /// The id as it is called there; `None` when it lies elsewhere.
    fn below<'i>(&self, id: &'i str) -> Option<&'i str> {
        match self.branch {
            None => Some(id),
            Some(branch) => id.strip_prefix(branch)?.strip_prefix('/'),
        }
    }

    /// The same of the role of a permit, the one place where Conjur takes an absolute id.
    fn role(&self, role: &Role) -> String {
        let id = self.below(&role.id).map_or_else(|| format!("/{}", role.id), str::to_owned);
        format!("!{} {}", role.kind, scalar(&id))
    }
}

/// A host or a user.
struct Role {
    kind: &'static str,
    id: String,
}

impl Role {
    fn host(id: &str) -> Self {
        Self { kind: "host", id: id.to_owned() }
    }
}

/// Who works for the factories.
struct Staff {
    rotator: Role,
    reaper: Role,
    /// The authn-iam service at which the rotator logs in; `None`: with an API key.
    service: Option<String>,
    /// The same of the reaper.
    reapers_service: Option<String>,
}

impl Staff {
    /// Of a login such as `host/imprint/rotator`, or with an IAM role `host/imprint/<account>/<role>`.
    fn of(login: &str, service: Option<&str>) -> Self {
        let service = service.map(str::to_owned);
        match login.strip_prefix("host/") {
            Some(id) => {
                let parent = |id: &str| id.rsplit_once('/').map(|(branch, _)| branch.to_owned());
                // The last two parts of a login with an IAM role are one name.
                let branch =
                    if service.is_some() { parent(id).and_then(|id| parent(&id)) } else { parent(id) };
                let beside =
                    |name: &str| branch.as_ref().map_or_else(|| name.to_owned(), |b| format!("{b}/{name}"));
                let reaper = if id == beside("reaper") { beside("hosts-reaper") } else { beside("reaper") };
                Self { rotator: Role::host(id), reaper: Role::host(&reaper), service, reapers_service: None }
            }
            None => {
                let rotator = Role { kind: "user", id: login.to_owned() };
                Self { rotator, reaper: Role::host("imprint/reaper"), service, reapers_service: None }
            }
        }
    }

    /// With the fleet's own login, where the configuration has one.
    fn and(self, fleet: Option<&(String, LoginBy)>) -> Self {
        let Some((login, by)) = fleet else { return self };
        let reaper = match login.strip_prefix("host/") {
            Some(id) => Role::host(id),
            None => Role { kind: "user", id: login.clone() },
        };
        let reapers_service = match by {
            LoginBy::Role { service, .. } => Some(service.to_string()),
            LoginBy::KeyFile(_) | LoginBy::KeyVariable | LoginBy::SealedKey => None,
        };
        Self { reaper, reapers_service, ..self }
    }

    fn declare(&self, tree: &mut Tree, place: &Place<'_>) {
        // A user is a person's, or somebody else's, to make.
        if self.rotator.kind == "host"
            && let Some(id) = place.below(&self.rotator.id)
        {
            let note = match &self.service {
                None => "The rotator; it logs in with its API key, which the load shows once.",
                Some(_) => {
                    "The rotator; it logs in with the IAM role of its name. The API key that the load shows is for nobody."
                }
            };
            tree.record(id, "host", &[note.to_owned()], &api_key());
        }
        let services: BTreeSet<&String> = self.service.iter().chain(&self.reapers_service).collect();
        for service in services {
            let id = webservice(service);
            let Some(id) = place.below(&id) else { continue };
            let note = format!(
                "Where IAM roles log in; the server's own settings must enable authn-iam/{service} too."
            );
            tree.record(id, "webservice", &[note], &[]);
        }
        if self.reaper.kind == "host"
            && let Some(id) = place.below(&self.reaper.id)
        {
            let note = "The reaper, which removes the hosts of instances that are gone. Leave it out where nobody does.";
            tree.record(id, "host", &[note.to_owned()], &api_key());
        }
    }

    fn permit(&self, out: &mut String, place: &Place<'_>, config: &Config, factories: &[&Factory]) {
        let rotator = place.role(&self.rotator);
        let reaper = place.role(&self.reaper);
        if let Some(service) = &self.service
            && let Some(id) = place.below(&webservice(service))
        {
            let note = "The rotator may log in with its IAM role.";
            permit(out, note, &rotator, "authenticate", &[format!("!webservice {}", scalar(id))]);
        }
        if let Some(service) = &self.reapers_service
            && let Some(id) = place.below(&webservice(service))
        {
            let note = "So may the reaper.";
            permit(out, note, &reaper, "authenticate", &[format!("!webservice {}", scalar(id))]);
        }
        let of = |kind: &str, ids: &mut dyn Iterator<Item = &str>| -> Vec<String> {
            ids.filter_map(|id| place.below(id)).map(|id| format!("!{kind} {}", scalar(id))).collect()
        };
        let (minting, others): (Vec<&Factory>, Vec<&Factory>) =
            factories.iter().partition(|factory| factory.mint);
        for (some, mints) in [(minting, true), (others, false)] {
            let (privileges, note) = on_factories(mints, config.revoke);
            let resources = of("host-factory", &mut some.iter().map(|factory| factory.id.as_str()));
            permit(out, note, &rotator, privileges, &resources);
        }
        let branches: BTreeSet<&str> =
            factories.iter().map(|factory| factory.hosts_branch.as_str()).collect();
        permit(
            out,
            "The reaper deletes hosts by loading policy into their branch, and can change nothing outside of it. \
             Inside, it could also add hosts and pin them to addresses.",
            &reaper,
            "read, update",
            &of("policy", &mut branches.into_iter()),
        );
        let mut seen = BTreeSet::new();
        let mut layers =
            factories.iter().map(|factory| factory.layer.as_str()).filter(|layer| seen.insert(*layer));
        permit(
            out,
            "With read the reaper lists the hosts of a layer; it sees no more of them than their ids.",
            &reaper,
            "read",
            &of("layer", &mut layers),
        );
    }
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
            "The rotator mints nothing here, since mint = false: with update it sees the tokens, and revokes and \
             deletes its own. Add execute to use token create or seal.",
        ),
        (false, false) => (
            "read",
            "The rotator mints nothing here, since mint = false, and revokes nothing, since revoke = false: with \
             read it sees the tokens. Add execute to use token create or seal.",
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

/// The branch that an id lies in; `None` for root.
fn branch_of(id: &str) -> Option<&str> {
    id.rsplit_once('/').map(|(branch, _)| branch)
}

/// A factory, and its layer unless that is declared already.
fn layer_and_factory(tree: &mut Tree, id: &str, layer: Option<&str>, factory: &Factory, unprivileged: bool) {
    let last = |id: &str| id.rsplit('/').next().unwrap_or_default().to_owned();
    let (full, leaf) = (&factory.id, last(id));
    let layers = format!("layers: [ !layer {} ]", scalar(&last(factory.layer.as_str())));
    if unprivileged {
        let group = format!("{leaf}-owners");
        let owner = format!("owner: !group {}", scalar(&group));
        let notes = [format!(
            "Owns the layer and the factory {full}, and by them every host that it makes: a member could rotate \
                 their keys. So it is for nothing else, and has no members."
        )];
        tree.record(&format!("{id}-owners"), "group", &notes, &[]);
        let notes =
            ["Its hosts may log in. Permit it nothing: any machine that holds a token can join.".to_owned()];
        if let Some(layer) = layer {
            tree.record(layer, "layer", &notes, std::slice::from_ref(&owner));
        }
        tree.record(id, "host-factory", &[], &[owner, layers]);
    } else {
        let notes = [format!("What the hosts of {full} may do and read: permit it to this layer.")];
        if let Some(layer) = layer {
            tree.record(layer, "layer", &notes, &[]);
        }
        tree.record(id, "host-factory", &[], &[layers]);
    }
}

/// The branches of hosts, each with whose hosts they are.
fn branches<'a>(factories: &[&'a Factory]) -> BTreeMap<&'a str, String> {
    let mut branches = BTreeMap::<&str, Vec<&str>>::new();
    for factory in factories {
        branches.entry(factory.hosts_branch.as_str()).or_default().push(factory.id.as_str());
    }
    let named = |factories: Vec<&str>| match factories.as_slice() {
        [first, _, _, _, ..] => format!("{first} and {} other factories", factories.len() - 1),
        few => few.join(", "),
    };
    branches.into_iter().map(|(branch, factories)| (branch, named(factories))).collect()
}

fn head(config: &Config, ask: &Ask, place: &Place<'_>, staff: &Staff) -> String {
    let into = place.branch.unwrap_or("root");
    let mut notes = vec![
        format!(
            "What imprint-rotator needs at Conjur, account {}: made by imprint-rotator policy from its configuration.",
            config.account
        ),
        format!(
            "Load it into {into}: conjur policy load --branch {into} --file policy.yml. That only adds, and leaves what is \
             there as it is, so it may be loaded again; do not replace or update by it what others declared."
        ),
        "The load shows the API keys of the hosts that it makes, once.".to_owned(),
    ];
    if ask.unprivileged {
        notes.push(
            "For instances that nobody has looked at yet: their token is shared by all of them, so what it opens must be \
             worth nothing. What a machine is then found to be fit for, it gets by a token of its own, of another factory."
                .to_owned(),
        );
    }
    if place.branch.is_some() {
        let (rotator, reaper) = (&staff.rotator.id, &staff.reaper.id);
        notes.push(format!(
            "Only what lies below {into} is here. The rotator ({rotator}) and the reaper ({reaper}) must be there before."
        ));
    }
    if staff.rotator.kind == "user" {
        notes.push(format!("The rotator is the user {}, who must be there before.", staff.rotator.id));
    }
    notes.iter().map(|note| comment(note, 0)).collect::<String>() + "\n"
}

#[cfg(test)]
mod tests;

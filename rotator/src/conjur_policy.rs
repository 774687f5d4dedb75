//! `imprint-rotator policy`: the Conjur policy that a configuration needs, as text with a comment at each
//! permit. Nobody is asked; what the text would change is for whoever loads it to judge.
//!
//! Least privilege, as it was seen to work on genuine servers: the rotator has `execute` on each factory, and
//! `update` only where the configuration says `revoke = true`; the reaper, a host of its own, has `update` on the
//! branches of the hosts and `read` on the layers. The minter has what minting for one instance and promoting
//! needs, where the configuration says that somebody does. None of them owns anything. Who is who and may what is in
//! `staff`, how it is written is in `tree`.

mod staff;
mod tree;

use crate::config::{Config, Factory};
use crate::rotate;
use imprint_core::error::{Class, Classified};
use imprint_core::name::{Branch, FactoryId, LayerId};
use staff::{Role, Staff};
use std::collections::{BTreeMap, BTreeSet};
pub(crate) use tree::scalar;
use tree::{Tree, comment};

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
    let staff = Staff::of(config);
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
        let (rotator, reaper) = (&staff.rotator.role.id, &staff.reaper.role.id);
        let minter = staff.minter.as_ref().map(|minter| &minter.role.id);
        let minter = minter.filter(|id| ![rotator, reaper].contains(id));
        let minter = minter.map(|id| format!(" So must the minter ({id}).")).unwrap_or_default();
        notes.push(format!(
            "Only what lies below {into} is here. The rotator ({rotator}) and the reaper ({reaper}) must be there before.{minter}"
        ));
    }
    if staff.rotator.role.kind == "user" {
        notes.push(format!("The rotator is the user {}, who must be there before.", staff.rotator.role.id));
    }
    notes.iter().map(|note| comment(note, 0)).collect::<String>() + "\n"
}

#[cfg(test)]
mod tests;

//! The tables of one account: roles, resources, memberships, permissions, credentials, host factory tokens. Every rule about who
//! may see or do what is answered here; how requests reach these questions is not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use ipnet::IpNet;

use super::access::random_key;
use super::reply::parts;

/// Which policy declared a row; `None` for rows that a host factory or a REST call made.
pub(super) type Origin = Option<String>;

#[derive(Clone)]
pub(super) struct Role {
    pub(super) created_ms: i64,
    pub(super) policy: Origin,
}

#[derive(Clone)]
pub(super) struct Resource {
    pub(super) owner: String,
    pub(super) created_ms: i64,
    pub(super) policy: Origin,
    /// Value and origin by name.
    pub(super) annotations: BTreeMap<String, (String, Origin)>,
    /// Newest last.
    pub(super) secrets: Vec<Vec<u8>>,
}

#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) api_key: String,
    pub(super) restricted_to: Vec<IpNet>,
    pub(super) rotated_ms: i64,
}

#[derive(Clone)]
pub(super) struct Membership {
    pub(super) admin_option: bool,
    pub(super) policy: Origin,
}

#[derive(Clone)]
pub(super) struct FactoryToken {
    pub(super) token: String,
    pub(super) factory: String,
    /// Seconds since 1970.
    pub(super) expiration: i64,
    pub(super) cidr: Vec<IpNet>,
}

/// Member, role, by ownership.
pub(super) type Link = (String, String, bool);
/// Resource, role, privilege.
pub(super) type Grant = (String, String, String);

#[derive(Clone)]
pub(super) struct Store {
    pub(super) account: String,
    pub(super) roles: BTreeMap<String, Role>,
    pub(super) resources: BTreeMap<String, Resource>,
    pub(super) memberships: BTreeMap<Link, Membership>,
    pub(super) permissions: BTreeMap<Grant, Origin>,
    pub(super) credentials: BTreeMap<String, Credentials>,
    pub(super) tokens: Vec<FactoryToken>,
    /// Texts and times of the loads of each policy.
    pub(super) versions: BTreeMap<String, Vec<i64>>,
}

impl Store {
    /// An empty account: the admin with a key, and the root policy, which the admin owns.
    pub(super) fn new(account: &str, now_ms: i64) -> Self {
        let mut store = Self {
            account: account.to_owned(),
            roles: BTreeMap::new(),
            resources: BTreeMap::new(),
            memberships: BTreeMap::new(),
            permissions: BTreeMap::new(),
            credentials: BTreeMap::new(),
            tokens: Vec::new(),
            versions: BTreeMap::new(),
        };
        let admin = store.id("user", "admin");
        let root = store.id("policy", "root");
        store.add_role(&admin, now_ms, None);
        store.add_role(&root, now_ms, None);
        store.set_key(&admin, now_ms);
        store.add_resource(&root, &admin, now_ms, None);
        store
    }

    /// A full id of this account.
    pub(super) fn id(&self, kind: &str, identifier: &str) -> String {
        format!("{}:{kind}:{identifier}", self.account)
    }

    /// The role behind a login: `host/x` a host, `user/x` or `x` a user.
    pub(super) fn role_of_login(&self, login: &str) -> String {
        match login.split_once('/') {
            Some((kind, identifier)) => self.id(kind, identifier),
            None => self.id("user", login),
        }
    }

    /// The login of a role, the other way round.
    pub(super) fn login_of_role(id: &str) -> String {
        match parts(id) {
            (_, Some("user"), Some(identifier)) => identifier.to_owned(),
            (_, Some(kind), Some(identifier)) => format!("{kind}/{identifier}"),
            _ => id.to_owned(),
        }
    }

    pub(super) fn add_role(&mut self, id: &str, now_ms: i64, policy: Origin) {
        self.roles.entry(id.to_owned()).or_insert(Role { created_ms: now_ms, policy });
    }

    /// Adds a resource; where a role of the same id exists, the owner becomes its member, as the database trigger has it.
    pub(super) fn add_resource(&mut self, id: &str, owner: &str, now_ms: i64, policy: Origin) {
        let resource = Resource {
            owner: owner.to_owned(),
            created_ms: now_ms,
            policy: policy.clone(),
            annotations: BTreeMap::new(),
            secrets: Vec::new(),
        };
        self.resources.insert(id.to_owned(), resource);
        self.link_owner(id, owner, policy);
    }

    /// Makes `owner` the owning member of the role of that id, in place of any other.
    pub(super) fn link_owner(&mut self, id: &str, owner: &str, policy: Origin) {
        if self.roles.contains_key(id) {
            self.memberships.retain(|(_, role, ownership), _| !(*ownership && role == id));
            let link = (owner.to_owned(), id.to_owned(), true);
            self.memberships.insert(link, Membership { admin_option: true, policy });
        }
    }

    /// Gives a role a new key, which is returned; the old one is dead at once. Restrictions stay.
    pub(super) fn set_key(&mut self, role: &str, now_ms: i64) -> String {
        let api_key = random_key();
        let restricted_to = self.credentials.remove(role).map(|old| old.restricted_to).unwrap_or_default();
        let credentials = Credentials { api_key: api_key.clone(), restricted_to, rotated_ms: now_ms };
        self.credentials.insert(role.to_owned(), credentials);
        api_key
    }

    /// Whether this key is the role's. A role whose resource went with its factory cannot use its key any more.
    pub(super) fn key_fits(&self, role: &str, key: &str) -> bool {
        let has_body = self.resources.contains_key(role) || role == self.id("user", "admin");
        has_body
            && !key.is_empty()
            && self.credentials.get(role).is_some_and(|credentials| credentials.api_key == key)
    }

    /// Whether the role may authenticate from this address.
    pub(super) fn origin_fits(&self, role: &str, ip: IpAddr) -> bool {
        self.credentials.get(role).is_some_and(|found| {
            found.restricted_to.is_empty() || found.restricted_to.iter().any(|net| net.contains(&ip))
        })
    }

    /// The role and everything that it is a member of, directly or through others.
    pub(super) fn all_roles(&self, role: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::from([role.to_owned()]);
        let mut queue = VecDeque::from([role.to_owned()]);
        while let Some(member) = queue.pop_front() {
            for role in self.roles_of(&member) {
                if seen.insert(role.to_owned()) {
                    queue.push_back(role.to_owned());
                }
            }
        }
        seen
    }

    /// The roles that this one is a direct member of.
    pub(super) fn roles_of<'a>(&'a self, member: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let owned = member.to_owned();
        let first: Link = (owned.clone(), String::new(), false);
        self.memberships
            .range(first..)
            .take_while(move |((found, _, _), _)| *found == owned)
            .map(|((_, role, _), _)| role.as_str())
    }

    /// Whether any of these roles owns the resource or holds any privilege on it.
    pub(super) fn visible(&self, roles: &BTreeSet<String>, id: &str) -> bool {
        self.resources.get(id).is_some_and(|found| roles.contains(&found.owner))
            || self.grants_on(id).any(|((_, role, _), _)| roles.contains(role))
    }

    /// Whether any of these roles owns the resource or holds this privilege on it.
    pub(super) fn allowed(&self, roles: &BTreeSet<String>, privilege: &str, id: &str) -> bool {
        self.resources.get(id).is_some_and(|found| roles.contains(&found.owner))
            || self.grants_on(id).any(|((_, role, found), _)| found == privilege && roles.contains(role))
    }

    /// Every permission on a resource, by role and privilege.
    pub(super) fn grants_on<'a>(
        &'a self,
        id: &str,
    ) -> impl Iterator<Item = (&'a Grant, &'a Origin)> + use<'a> {
        let owned = id.to_owned();
        let first: Grant = (owned.clone(), String::new(), String::new());
        self.permissions.range(first..).take_while(move |((found, _, _), _)| *found == owned)
    }

    /// Removes a resource with what hangs on it: permissions, factory tokens, and everything declared by it if it is a policy.
    pub(super) fn remove_resource(&mut self, id: &str) {
        if self.resources.remove(id).is_none() {
            return;
        }
        self.permissions.retain(|(resource, _, _), _| resource != id);
        self.tokens.retain(|token| token.factory != id);
        let of_it = |policy: &Origin| policy.as_deref() == Some(id);
        let resources: Vec<String> = self
            .resources
            .iter()
            .filter(|(_, found)| of_it(&found.policy))
            .map(|(id, _)| id.clone())
            .collect();
        let roles: Vec<String> =
            self.roles.iter().filter(|(_, found)| of_it(&found.policy)).map(|(id, _)| id.clone()).collect();
        self.permissions.retain(|_, policy| !of_it(policy));
        self.memberships.retain(|_, membership| !of_it(&membership.policy));
        for resource in self.resources.values_mut() {
            resource.annotations.retain(|_, (_, policy)| !of_it(policy));
        }
        resources.iter().for_each(|id| self.remove_resource(id));
        roles.iter().for_each(|id| self.remove_role(id));
    }

    /// Removes a role with its credentials, memberships and permissions, and every resource that it owned. The roles of those
    /// resources stay behind without a body: such an id can be neither used nor redeemed until it is deleted too.
    pub(super) fn remove_role(&mut self, id: &str) {
        if self.roles.remove(id).is_none() {
            return;
        }
        self.credentials.remove(id);
        self.memberships.retain(|(member, role, _), _| member != id && role != id);
        self.permissions.retain(|(_, role, _), _| role != id);
        let owned: Vec<String> =
            self.resources.iter().filter(|(_, found)| found.owner == id).map(|(id, _)| id.clone()).collect();
        owned.iter().for_each(|id| self.remove_resource(id));
    }
}

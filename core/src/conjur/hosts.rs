//! The calls about the hosts of a fleet: who is in a layer, and statements of policy about hosts that a
//! factory made. They need `read` on the layer, and `read` and `update` on the branch that the hosts lie
//! under: nothing on the hosts themselves.
//!
//! Sources: Conjur's API reference (roles, policies), and what was seen on genuine 1.22.3 and 1.24.0 servers.

use super::reply::Reply;
use super::wire::{Body, encode, session};
use super::{Conjur, Error};
use crate::name::{Branch, HostId, LayerId};
use crate::token::AccessToken;
use ipnet::IpNet;
use reqwest::Method;
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::collections::{BTreeMap, BTreeSet};

/// How many members one request asks for: the most that Conjur gives without being asked for more.
const PAGE: usize = 1000;

/// The most pages that are asked for: a layer of this many hosts is not one.
const MOST_PAGES: usize = 1000;

/// The most hosts that one load of policy may name, so that it stays far below what a proxy takes as a body.
pub const MOST_STATEMENTS: usize = 500;

impl Conjur {
    /// `GET /roles/{account}/layer/{id}?members&kind[]=host`: the hosts of a layer, page by page.
    ///
    /// Hosts that come or go between two pages may be missing. A host whose id ours cannot have is left
    /// out: it is none that Imprint made.
    ///
    /// # Errors
    /// See [`Error`]. A layer that is not there, or not seen, is 404.
    pub async fn members(&self, with: &AccessToken, layer: &LayerId) -> Result<BTreeSet<HostId>, Error> {
        let mut hosts = BTreeSet::new();
        for page in 0..MOST_PAGES {
            let path = format!(
                "/roles/{}/layer/{}?members&kind%5B%5D=host&limit={PAGE}&offset={}",
                self.account,
                encode(layer.as_str()),
                page * PAGE
            );
            let reply = self.send("members", Method::GET, &path, Some(session(with)), Body::None).await?;
            let (rows, some) = reply.expect(200)?.members(self.account.as_str())?;
            hosts.extend(some);
            if rows < PAGE {
                return Ok(hosts);
            }
        }
        let (server, why) = (self.server(), format!("goes on after {} members", MOST_PAGES * PAGE));
        Err(Error::Unexpected { operation: "members", server, why })
    }

    /// `PATCH` of a branch that deletes these hosts of it, at most [`MOST_STATEMENTS`]. Deleting one that is
    /// not there is silently well.
    ///
    /// # Errors
    /// See [`Error`]. 409 means that another load is under way, and says when to come again.
    pub async fn delete_hosts(
        &self,
        with: &AccessToken,
        branch: &Branch,
        hosts: &[HostId],
    ) -> Result<(), Error> {
        let statements = hosts.iter().filter_map(|host| below(branch, host));
        let statements = statements.map(|id| format!("- !delete\n  record: !host \"{id}\"\n")).collect();
        self.patch("delete_hosts", with, branch, statements).await.map(|_| ())
    }

    /// `PATCH` of a branch that ties each of these hosts of it to its networks (`restricted_to`), at most
    /// [`MOST_STATEMENTS`]; no networks unties it. The owner of a host stays who it is.
    ///
    /// It must name only hosts that are there: Conjur would make one that is not. What it made is given
    /// back, to be deleted at once.
    ///
    /// # Errors
    /// See [`Error`], as for [`Conjur::delete_hosts`].
    pub async fn restrict_hosts(
        &self,
        with: &AccessToken,
        branch: &Branch,
        hosts: &BTreeMap<HostId, Vec<IpNet>>,
    ) -> Result<Vec<HostId>, Error> {
        let statements = hosts.iter().filter_map(|(host, networks)| {
            let networks: Vec<String> = networks.iter().map(|net| format!("\"{net}\"")).collect();
            below(branch, host)
                .map(|id| format!("- !host\n  id: \"{id}\"\n  restricted_to: [ {} ]\n", networks.join(", ")))
        });
        let statements = statements.collect();
        self.patch("restrict_hosts", with, branch, statements).await
    }

    async fn patch(
        &self,
        operation: &'static str,
        with: &AccessToken,
        branch: &Branch,
        statements: String,
    ) -> Result<Vec<HostId>, Error> {
        let path = format!("/policies/{}/policy/{}", self.account, encode(branch.as_str()));
        let body = Body::Policy(statements);
        let reply = self.send(operation, Method::PATCH, &path, Some(session(with)), body).await?;
        reply.expect(201)?.created(self.account.as_str())
    }
}

/// A host's id as a statement in this branch names it; nothing for one that lies elsewhere.
fn below<'a>(branch: &Branch, host: &'a HostId) -> Option<&'a str> {
    host.as_str().strip_prefix(branch.as_str())?.strip_prefix('/')
}

impl Reply {
    /// Of a list of members: how many rows it has, and the hosts among them that ours can name.
    ///
    /// # Errors
    /// When it is not one.
    pub fn members(&self, account: &str) -> Result<(usize, BTreeSet<HostId>), Error> {
        #[derive(Deserialize)]
        struct Row {
            member: String,
        }
        let rows: Vec<Row> = self.json()?;
        let hosts = rows.iter().filter_map(|row| host(account, &row.member)).collect();
        Ok((rows.len(), hosts))
    }

    /// Of a load of policy: the hosts that it made. Their keys, which stand there too, are not looked at.
    ///
    /// # Errors
    /// When it is not one.
    pub fn created(&self, account: &str) -> Result<Vec<HostId>, Error> {
        #[derive(Deserialize)]
        struct Loaded {
            created_roles: BTreeMap<String, IgnoredAny>,
        }
        let loaded: Loaded = self.json()?;
        Ok(loaded.created_roles.keys().filter_map(|id| host(account, id)).collect())
    }
}

fn host(account: &str, id: &str) -> Option<HostId> {
    id.strip_prefix(account)?.strip_prefix(":host:")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zeroize::Zeroizing;

    fn reply(body: &str) -> Reply {
        let text = Zeroizing::new(body.as_bytes().to_vec());
        Reply { operation: "test", server: "conjur".to_owned(), status: 200, retry_after: None, text }
    }

    #[test]
    fn members_and_created_roles() {
        let row = |member: &str| {
            format!(
                r#"{{"admin_option":false,"ownership":false,"role":"dev:layer:app","member":"{member}"}}"#
            )
        };
        let members = |rows: &[&str]| {
            let rows: Vec<String> = rows.iter().map(|member| row(member)).collect();
            let (rows, hosts) = reply(&format!("[{}]", rows.join(","))).members("dev").unwrap();
            (rows, hosts.iter().map(HostId::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(members(&[]), (0, String::new()));
        let five = ["dev:host:app/hosts/i-1", "dev:user:x", "other:host:y", "dev:host:a b", "dev:host:a:b"];
        assert_eq!(members(&five), (5, "app/hosts/i-1".to_owned()));

        let made = r#"{"created_roles":{"dev:host:app/i-9":{"id":"dev:host:app/i-9","api_key":"SECRET"}},"version":7}"#;
        let created = reply(made).created("dev").unwrap();
        assert_eq!(created.iter().map(HostId::as_str).collect::<Vec<_>>(), ["app/i-9"]);
        assert!(reply(r#"{"created_roles":{},"version":7}"#).created("dev").unwrap().is_empty());

        for bad in ["", "<html>SECRET", "{}", "[1]", r#"[{"member":1}]"#, r#"[{"role":"x"}]"#] {
            let error = reply(bad).members("dev").unwrap_err().to_string();
            assert!(error.contains("not the JSON") && !error.contains("SECRET"), "{bad}: {error}");
        }
        for bad in ["", "[]", r#"{"created_roles":[]}"#] {
            assert!(reply(bad).created("dev").is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_below_a_branch() {
        let check = |branch: &str, host: &str, want: Option<&str>| {
            let (branch, host) = (branch.parse().unwrap(), host.parse().unwrap());
            assert_eq!(below(&branch, &host), want, "{host} in {branch}");
        };
        check("app/hosts", "app/hosts/1/eu/i-1", Some("1/eu/i-1"));
        check("app/hosts", "app/hosts2/i-1", None);
        check("app/hosts", "app/hosts", None);
        check("app/hosts", "other/app/hosts/i-1", None);
    }
}

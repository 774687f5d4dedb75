//! The calls to Conjur: health, authenticate, mint, list, revoke, redeem, rotate a key, whoami, may.
//!
//! Each call is one request and one check of its reply. Nothing is retried here, since only the
//! caller knows what a repeat would do; [`Error::is_unknown_outcome`] tells it whether the server may have
//! acted. Replies are capped, and their bodies never reach a log or an error: mint, redeem and even
//! a 404 of revoke carry secrets.
//!
//! Sources: Conjur's API reference, and what was seen on genuine 1.22.3 and 1.24.0 servers; where
//! the two differ, the stricter reading is used.

mod authn_iam;
mod error;
mod health;
mod hosts;
mod listing;
pub mod reply;
mod wire;

pub use authn_iam::{NoServiceId, ServiceId};
pub use error::Error;
pub use health::{Health, Role};
pub use hosts::MOST_STATEMENTS;

use crate::caller::Caller;
use crate::door::Door;
use crate::name::{Account, ApplianceUrl, FactoryId, HostId, full_id};
use crate::second::Second;
use crate::token::{AccessToken, ApiKey, Token};
use ipnet::IpNet;
use reqwest::Method;
use std::collections::BTreeMap;
use wire::{Body, basic, encode, quoted, session};
use zeroize::Zeroizing;

/// A Conjur server and account.
#[derive(Clone, Debug)]
pub struct Conjur {
    door: Door,
    url: ApplianceUrl,
    account: Account,
    caller: Caller,
}

/// What to mint.
#[derive(Clone, Copy, Debug)]
pub struct Mint<'a> {
    /// The factory: needs `execute` on it.
    pub factory: &'a FactoryId,
    /// When the token shall end.
    pub expires_at: Second,
    /// Where it may be used from; empty for anywhere. Conjur refuses networks with host bits set.
    pub cidr: &'a [IpNet],
    /// How many tokens.
    pub count: u32,
    /// The present, to tell a dead token from a live one.
    pub now: Second,
}

/// A token as Conjur minted or lists it.
pub struct Minted {
    /// The secret.
    pub token: Token,
    /// When it ends.
    pub expires_at: Second,
    /// Where it may be used from; empty for anywhere.
    pub cidr: Vec<IpNet>,
}

/// A host factory that the caller may see, with all its tokens, live and expired.
pub struct Factory {
    /// Its identifier.
    pub id: FactoryId,
    /// Its tokens, in Conjur's order.
    pub tokens: Vec<Minted>,
}

/// What a redeem gave.
pub struct Redeemed {
    /// Full id of the host, as Conjur says it: compare it with the one asked for.
    pub id: String,
    /// Full id of its owner: compare it with the factory.
    pub owner: String,
    /// The host's API key; any older one is dead.
    pub api_key: ApiKey,
    /// When the host was made: long ago for a host that existed.
    pub created_at: Option<Second>,
}

/// Whom an access token speaks for, and from where Conjur sees it come.
#[derive(Clone, Debug, Eq, PartialEq, serde::Deserialize)]
pub struct Whoami {
    /// The account.
    pub account: String,
    /// The login name, `host/...` for a host.
    pub username: String,
    /// The address that CIDRs and `restricted_to` are compared with.
    pub client_ip: String,
}

/// How a revoke ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Revoked {
    /// The token was live or expired and is deleted now.
    Now,
    /// Conjur does not know the token, or no longer.
    WasGone,
}

impl Conjur {
    /// A server's account, through this door; every request says that it is from this caller.
    #[must_use]
    pub const fn new(door: Door, url: ApplianceUrl, account: Account, caller: Caller) -> Self {
        Self { door, url, account, caller }
    }

    /// Where it is.
    #[must_use]
    pub const fn url(&self) -> &ApplianceUrl {
        &self.url
    }

    /// Opens a connection for the next call.
    pub async fn open(&self) {
        self.door.open(self.url.as_str()).await;
    }

    /// `GET /health` of the whole server, below no path: an Enterprise server's word on its replication,
    /// without any privilege. `None`: the server has no such page, as the open-source one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn health(&self) -> Result<Option<Health>, Error> {
        let reply = self.send_to(&self.origin(), "health", Method::GET, "/health", None, Body::None).await?;
        reply.health()
    }

    /// `POST /authn/{account}/{login}/authenticate`: an API key for an access token of 8 minutes.
    ///
    /// Nothing tells an unknown login from a wrong key, an address outside `restricted_to` or a
    /// follower that lags: all are 401.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn authenticate(&self, login: &str, key: &ApiKey) -> Result<AccessToken, Error> {
        let path = format!("/authn/{}/{}/authenticate", self.account, encode(login));
        // The key is the whole body, byte for byte: a newline would be part of it.
        let body = Body::Text(Zeroizing::new(key.expose().to_owned()));
        let reply = self.send("authenticate", Method::POST, &path, None, body).await?;
        reply.expect(200)?.access_token()
    }

    /// `POST /host_factory_tokens`: new tokens of a factory.
    ///
    /// Server 1.22.3 answers 200 to what it should refuse, so the reply is compared with what was
    /// asked: the number of tokens, an expiration as asked and still ahead, the same networks.
    ///
    /// # Errors
    /// See [`Error`]. After [`Error::Unexpected`] tokens may exist: they carry the networks asked for.
    pub async fn mint(&self, with: &AccessToken, ask: &Mint<'_>) -> Result<Vec<Minted>, Error> {
        let factory = full_id(&self.account, "host_factory", ask.factory.as_str());
        let mut form = vec![
            ("host_factory".to_owned(), factory),
            ("expiration".to_owned(), ask.expires_at.to_string()),
            ("count".to_owned(), ask.count.to_string()),
        ];
        form.extend(ask.cidr.iter().map(|net| ("cidr[]".to_owned(), net.to_string())));
        let body = Body::Form(form);
        let reply =
            self.send("mint", Method::POST, "/host_factory_tokens", Some(session(with)), body).await?;
        reply.expect(200)?.minted(ask)
    }

    /// `DELETE /host_factory_tokens/{token}`: needs `update` on the factory.
    ///
    /// The token stands in the URL, hence in the access log of everything on the way: fit for
    /// expired tokens, and for live ones in an incident.
    ///
    /// # Errors
    /// See [`Error`]. An unknown token is no error but [`Revoked::WasGone`].
    pub async fn revoke(&self, with: &AccessToken, token: &Token) -> Result<Revoked, Error> {
        let path = Zeroizing::new(format!("/host_factory_tokens/{}", token.expose()));
        let reply = self.send("revoke", Method::DELETE, &path, Some(session(with)), Body::None).await?;
        match reply.status() {
            // A lost race of two revokes was seen as 422 with an empty body.
            404 | 422 => Ok(Revoked::WasGone),
            _ => reply.expect(204).map(|_| Revoked::Now),
        }
    }

    /// `POST /host_factories/hosts`: trades the token for a host's API key. On a host of this factory
    /// that exists, it gives a new key and kills the old one; layers and annotations then stay as
    /// they were.
    ///
    /// `annotations[authn/api-key]=true` is always sent, since a server may refuse to make a host
    /// with a key without it.
    ///
    /// # Errors
    /// See [`Error`]. 401 means expired, revoked, unknown or an address outside the token's networks,
    /// and is never told apart; 403 that somebody else owns the id.
    pub async fn redeem(
        &self,
        token: &Token,
        id: &HostId,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Redeemed, Error> {
        let mut form = vec![("id".to_owned(), id.to_string())];
        form.extend(annotations.iter().map(|(name, value)| (format!("annotations[{name}]"), value.clone())));
        form.push(("annotations[authn/api-key]".to_owned(), "true".to_owned()));
        let header = quoted(token.expose());
        let reply = self
            .send("redeem", Method::POST, "/host_factories/hosts", Some(header), Body::Form(form))
            .await?;
        reply.expect(201)?.redeemed()
    }

    /// `PUT /authn/{account}/api_key` with the present key: a new key, and the present one dies.
    ///
    /// Not to be repeated blindly: when the reply is lost, so is the new key.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rotate_own_key(&self, login: &str, key: &ApiKey) -> Result<ApiKey, Error> {
        let path = format!("/authn/{}/api_key", self.account);
        let header = basic(login, key);
        let reply = self
            .send("rotate_key", Method::PUT, &path, Some(header), Body::Text(Zeroizing::default()))
            .await?;
        reply.expect(200)?.api_key()
    }

    /// `GET /whoami`: whom the access token speaks for.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn whoami(&self, with: &AccessToken) -> Result<Whoami, Error> {
        let reply = self.send("whoami", Method::GET, "/whoami", Some(session(with)), Body::None).await?;
        reply.expect(200)?.json()
    }

    /// `GET /resources/{account}/{kind}/{id}?check=true&privilege=...`: whether the caller holds the
    /// privilege. A host cannot see itself or its layers, so this is how it proves them.
    ///
    /// # Errors
    /// See [`Error`]. "No" and "no such resource" are both `false`.
    pub async fn may(
        &self,
        with: &AccessToken,
        privilege: &str,
        kind: &str,
        id: &str,
    ) -> Result<bool, Error> {
        let (kind, id, privilege) = (encode(kind), encode(id), encode(privilege));
        let path = format!("/resources/{}/{kind}/{id}?check=true&privilege={privilege}", self.account);
        let reply = self.send("may", Method::GET, &path, Some(session(with)), Body::None).await?;
        match reply.status() {
            404 => Ok(false),
            _ => reply.expect(204).map(|_| true),
        }
    }
}

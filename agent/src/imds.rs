//! A small client of the instance metadata service, version 2 only and never through a proxy.
//!
//! Four requests make an enrollment: a session token, the identity document, the role's name, its
//! credentials. Tags and the host name cost one more each, and only when a template names them.
//! Version 1 is never spoken: it would hand the role's credentials to any program that can be tricked
//! into a plain GET.
//!
//! Source: EC2 user guide, "Use the Instance Metadata Service to access instance metadata".

mod container;
pub mod reply;

use crate::config::Endpoint;
use crate::facts::{Facts, Needs};
use imprint_core::aws::Credentials;
use imprint_core::door::{self, Door};
use imprint_core::{Class, Classified};
use reqwest::header::HeaderValue;
use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest that a connection may take: the service is one hop away.
const CONNECT: Duration = Duration::from_secs(1);

/// The longest that an answer may take.
const ANSWER: Duration = Duration::from_secs(3);

/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 * 1024;

/// Six hours, the longest there is: a run never needs a second session.
const SESSION_SECONDS: &str = "21600";

/// The metadata service.
pub struct Imds {
    door: Door,
    endpoint: Endpoint,
    contained: bool,
    session: RefCell<Option<HeaderValue>>,
}

/// Why the metadata service did not tell. `path` is what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service is switched off for this instance, or something in between forbids it.
    #[error("the metadata service refuses to give a session (HTTP 403)")]
    Disabled,
    /// No client could be made.
    #[error("no way to the metadata service")]
    Door(#[source] door::Error),
    /// An answer that the service never gives.
    #[error("the metadata service's {path} {why}")]
    Form {
        /// What was asked for.
        path: String,
        /// What is wrong with the answer, never a part of it.
        why: &'static str,
    },
    /// The service takes the connection and never answers the request for a session: its answer ends on
    /// the way, since it may not be forwarded as often as it must.
    #[error(
        "the metadata service at {endpoint} takes the connection and does not answer: the hop limit is too low"
    )]
    HopLimit {
        /// Where it was looked for.
        endpoint: String,
        /// Whether this process is in a container, so that there is no doubt left.
        contained: bool,
    },
    /// The instance has no role.
    #[error("this instance has no role")]
    NoRole,
    /// The role's credentials are not to be had.
    #[error("the role's credentials are not ready ({0})")]
    NotReady(String),
    /// An answer that the call cannot have.
    #[error("the metadata service answers {status} for {path}")]
    Status {
        /// What was asked for.
        path: String,
        /// The HTTP status.
        status: u16,
    },
    /// No connection or no answer.
    #[error("the metadata service at {endpoint} does not answer")]
    Unreachable {
        /// Where it was looked for.
        endpoint: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
}

impl Error {
    /// Whether it may pass in the first minutes of an instance's life: a link that is not up, a role
    /// that is not attached yet, a service that has not heard of the instance.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        match self {
            Self::NoRole | Self::NotReady(_) | Self::Unreachable { .. } => true,
            // Outside of a container it may as well be a service that has just started.
            Self::HopLimit { contained, .. } => !*contained,
            Self::Status { status, .. } => matches!(status, 401 | 404 | 408 | 429 | 500..),
            Self::Disabled | Self::Door(_) | Self::Form { .. } => false,
        }
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Disabled | Self::NoRole => Class::Config,
            Self::HopLimit { contained: true, .. } => Class::Config,
            Self::HopLimit { contained: false, .. } => Class::Transient,
            Self::Door(error) => error.class(),
            Self::NotReady(_) | Self::Status { .. } | Self::Unreachable { .. } if self.may_pass() => {
                Class::Transient
            }
            Self::Form { .. } | Self::NotReady(_) | Self::Status { .. } | Self::Unreachable { .. } => {
                Class::Protocol
            }
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Disabled => Some("enable the metadata service of this instance (HttpEndpoint=enabled)"),
            Self::HopLimit { .. } => Some(
                "raise HttpPutResponseHopLimit of this instance to 2 (aws ec2 modify-instance-metadata-options), or run imprint on the instance itself",
            ),
            Self::NoRole => Some("attach an instance profile whose role may read and unseal the token"),
            Self::NotReady(_) => {
                Some("see whether the role of the instance profile still exists and trusts ec2.amazonaws.com")
            }
            Self::Unreachable { .. } => {
                Some("is this an EC2 instance with the metadata service enabled, and a route to it?")
            }
            Self::Door(_) | Self::Form { .. } | Self::Status { .. } => None,
        }
    }
}

impl Imds {
    /// The service at this endpoint. Nothing is sent yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(endpoint: &Endpoint) -> Result<Self, Error> {
        Self::in_root(endpoint, Path::new("/"))
    }

    /// The same in another root, where it is looked up whether this is a container.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn in_root(endpoint: &Endpoint, root: &Path) -> Result<Self, Error> {
        let door = Door::direct(CONNECT).map_err(Error::Door)?;
        let contained = container::is_one(root);
        Ok(Self { door, endpoint: endpoint.clone(), contained, session: RefCell::default() })
    }

    /// The instance's facts; two requests, and one more for each need.
    ///
    /// # Errors
    /// See [`Error`]. A tag that is not there is no error: the fact is absent.
    pub async fn facts(&self, needs: &Needs) -> Result<Facts, Error> {
        let path = "/latest/dynamic/instance-identity/document";
        let document = self.must(path).await?;
        let mut facts = reply::document(&document).map_err(form(path))?;
        if needs.hostname {
            let path = "/latest/meta-data/local-hostname";
            let name = self.must(path).await?;
            facts.hostname = Some(reply::line(&name).map_err(form(path))?.to_owned());
        }
        for tag in &needs.tags {
            // A tag's key has only characters that a path takes as they are (see `template`).
            let path = format!("/latest/meta-data/tags/instance/{tag}");
            if let Some(value) = self.read(&path).await? {
                facts.tags.insert(tag.clone(), reply::text(&value).map_err(form(&path))?.to_owned());
            }
        }
        Ok(facts)
    }

    /// The image that the instance was made from; one request.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn image(&self) -> Result<String, Error> {
        let path = "/latest/meta-data/ami-id";
        let image = self.must(path).await?;
        Ok(reply::line(&image).map_err(form(path))?.to_owned())
    }

    /// The credentials of the instance's role; two requests.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn credentials(&self) -> Result<Credentials, Error> {
        let path = "/latest/meta-data/iam/security-credentials/";
        let name = self.read(path).await?.ok_or(Error::NoRole)?;
        let role = reply::role(&name).map_err(form(path))?.ok_or(Error::NoRole)?;
        let path = format!("{path}{role}");
        let body = self.must(&path).await?;
        match reply::credentials(&body).map_err(form(&path))? {
            reply::Role::Credentials(credentials) => Ok(credentials),
            reply::Role::NotReady(code) => Err(Error::NotReady(code)),
        }
    }

    async fn must(&self, path: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.read(path).await?.ok_or_else(|| Error::Status { path: path.to_owned(), status: 404 })
    }

    /// One GET; `None` for 404. A session that the service does not know any more (after a
    /// hibernation, say) is opened once more.
    async fn read(&self, path: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        let known = self.session.borrow().clone();
        let fresh = known.is_none();
        let session = match known {
            Some(session) => session,
            None => self.open_session().await?,
        };
        let mut reply = self.get(path, session).await?;
        if reply.0 == 401 && !fresh {
            let session = self.open_session().await?;
            reply = self.get(path, session).await?;
        }
        match reply {
            (200, body) => Ok(Some(body)),
            (404, _) => Ok(None),
            (status, _) => {
                self.session.replace(None);
                Err(Error::Status { path: path.to_owned(), status })
            }
        }
    }

    async fn get(&self, path: &str, session: HeaderValue) -> Result<(u16, Zeroizing<Vec<u8>>), Error> {
        let url = format!("{}{path}", self.endpoint.as_str());
        self.send(path, self.door.client().get(url).header("X-aws-ec2-metadata-token", session)).await
    }

    async fn open_session(&self) -> Result<HeaderValue, Error> {
        let path = "/latest/api/token";
        let url = format!("{}{path}", self.endpoint.as_str());
        let request =
            || self.door.client().put(&url).header("X-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
        let answer = match self.send(path, request()).await {
            // Once more before it is said for good.
            Err(Error::Unreachable { source, .. }) if self.contained && is_silence(&source) => {
                self.send(path, request()).await
            }
            answer => answer,
        };
        let answer = answer.map_err(|error| match error {
            Error::Unreachable { endpoint, source } if is_silence(&source) => {
                Error::HopLimit { endpoint, contained: self.contained }
            }
            other => other,
        });
        let body = match answer? {
            (200, body) => body,
            (403, _) => return Err(Error::Disabled),
            (status, _) => return Err(Error::Status { path: path.to_owned(), status }),
        };
        let mut session = HeaderValue::from_str(reply::line(&body).map_err(form(path))?)
            .map_err(|_| Error::Form { path: path.to_owned(), why: "is not a header's value" })?;
        session.set_sensitive(true);
        self.session.replace(Some(session.clone()));
        Ok(session)
    }

    async fn send(
        &self,
        path: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<(u16, Zeroizing<Vec<u8>>), Error> {
        let unreachable = |source: reqwest::Error| Error::Unreachable {
            endpoint: self.endpoint.as_str().to_owned(),
            source: source.without_url(),
        };
        let mut reply = request.timeout(ANSWER).send().await.map_err(unreachable)?;
        let status = reply.status().as_u16();
        // Reserved at once: growing would leave copies of credentials behind.
        let mut body = Zeroizing::new(Vec::with_capacity(8 * 1024));
        while let Some(part) = reply.chunk().await.map_err(unreachable)? {
            if body.len() + part.len() > LARGEST {
                return Err(Error::Form { path: path.to_owned(), why: "has more than 64 KiB" });
            }
            body.extend_from_slice(&part);
        }
        Ok((status, body))
    }
}

/// A connection was made, and then nothing came.
fn is_silence(error: &reqwest::Error) -> bool {
    error.is_timeout() && !error.is_connect()
}

fn form(path: &str) -> impl Fn(&'static str) -> Error {
    move |why| Error::Form { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests;

//! A [`Door`] is the way to one server: an HTTP client whose next connection may already be open.
//!
//! Both our own calls and the AWS SDK go through it, so there is one TLS configuration, one place
//! that decides on proxies and one that never follows a redirect. Retries are not made here.

pub mod certificate;
mod names;
mod server;

pub use server::certificate_end;

use crate::error::{Class, Classified};
use crate::name::ApplianceUrl;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use sha2::{Digest, Sha256};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower_layer::Layer;
use tower_service::Service;

const _: () = assert!(
    option_env!("AWS_LC_SYS_NO_JITTER_ENTROPY").is_some(),
    "AWS_LC_SYS_NO_JITTER_ENTROPY=1 is lost: run cargo inside the repository, where .cargo/config.toml sets it \
     (without it the first TLS handshake of every process burns 20 to 40 ms of CPU)"
);

/// How long a TCP and TLS connection may take to open.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a connection that was opened ahead is taken for a good one: servers close those that they
/// hear nothing from, the quickest of them after some seconds.
const FRESH: Duration = Duration::from_secs(8);

/// The most certificates a CA bundle may have: their digests are part of a 4 KB binding.
pub const MOST_CERTIFICATES: usize = 16;

/// Whom a door trusts.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Only the certificates of this bundle: Conjur, always when a CA file is configured.
    Only(CaBundle),
    /// The public roots that are compiled in, and these beside them: AWS behind a TLS-opening proxy.
    PublicAnd(CaBundle),
    /// The public roots that are compiled in.
    Public,
}

/// Certificates read from a PEM file, with the file's text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CaBundle {
    pem: String,
    certificates: Vec<CertificateDer<'static>>,
}

/// Why a door cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate of the bundle is no certificate; `at` counts from 1.
    #[error("certificate {at} of the CA bundle cannot be used")]
    Certificate {
        /// Which one.
        at: usize,
        /// What is wrong with it.
        #[source]
        source: rustls::Error,
    },
    /// The HTTP client could not be built.
    #[error("the HTTP client could not be built")]
    Client(#[source] reqwest::Error),
    /// Not one certificate, or too many.
    #[error("the CA bundle has {0} certificates; it must have 1 to {MOST_CERTIFICATES}")]
    Count(usize),
    /// The file is not PEM.
    #[error("the CA bundle is not PEM")]
    Pem(#[source] rustls::pki_types::pem::Error),
    /// The TLS library was built without the versions that are asked for.
    #[error("TLS 1.2 and 1.3 are not available")]
    Tls(#[source] rustls::Error),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Certificate { .. } | Self::Count(_) | Self::Pem(_) => Class::Config,
            Self::Client(_) | Self::Tls(_) => Class::Bug,
        }
    }
}

impl CaBundle {
    /// Reads a PEM text; anything but certificates in it is passed over.
    ///
    /// # Errors
    /// When it is not PEM, has no or more than [`MOST_CERTIFICATES`] certificates, or one that
    /// cannot be a root.
    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        let certificates = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(Error::Pem)?;
        if certificates.is_empty() || certificates.len() > MOST_CERTIFICATES {
            return Err(Error::Count(certificates.len()));
        }
        let bundle = Self { pem: pem.to_owned(), certificates };
        bundle.roots(rustls::RootCertStore::empty())?;
        Ok(bundle)
    }

    /// The text it was read from.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// SHA-256 of each certificate's DER, in lower-case hex, in the file's order.
    #[must_use]
    pub fn digests(&self) -> Vec<String> {
        self.certificates.iter().map(|der| crate::token::hex(&Sha256::digest(der))).collect()
    }

    fn roots(&self, mut store: rustls::RootCertStore) -> Result<rustls::RootCertStore, Error> {
        for (at, certificate) in (1..).zip(&self.certificates) {
            store.add(certificate.clone()).map_err(|source| Error::Certificate { at, source })?;
        }
        Ok(store)
    }
}

/// Roots and settings of TLS, made once and shared by several doors.
#[derive(Clone, Debug)]
pub struct Tls(rustls::ClientConfig);

impl Tls {
    /// That trusts these.
    ///
    /// # Errors
    /// When a certificate of `trust` cannot be used.
    pub fn new(trust: &Trust) -> Result<Self, Error> {
        let public = || rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        with_roots(match trust {
            Trust::Only(bundle) => bundle.roots(rustls::RootCertStore::empty())?,
            Trust::PublicAnd(bundle) => bundle.roots(public())?,
            Trust::Public => public(),
        })
        .map(Self)
    }
}

/// An HTTP client for one server.
#[derive(Clone, Debug)]
pub struct Door {
    client: reqwest::Client,
}

impl Door {
    /// A door to Conjur, which honors `HTTPS_PROXY` and `NO_PROXY`. Plain http, which only a loopback
    /// address may have, never goes through a proxy: it would carry key and token in clear to another
    /// machine.
    ///
    /// # Errors
    /// When a certificate of `trust` cannot be used.
    pub fn to(url: &ApplianceUrl, trust: &Trust) -> Result<Self, Error> {
        Self::over_to(&Tls::new(trust)?, url)
    }

    fn over_to(tls: &Tls, url: &ApplianceUrl) -> Result<Self, Error> {
        Self::build(tls.0.clone(), |client| {
            let client = client.connect_timeout(CONNECT);
            if url.as_str().starts_with("http://") { client.no_proxy() } else { client }
        })
    }

    /// A door that honors `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`: S3, KMS.
    ///
    /// # Errors
    /// When a certificate of `trust` cannot be used.
    pub fn new(trust: &Trust) -> Result<Self, Error> {
        Self::over(&Tls::new(trust)?)
    }

    /// The same, with settings that are there already.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn over(tls: &Tls) -> Result<Self, Error> {
        Self::build(tls.0.clone(), |client| client.connect_timeout(CONNECT))
    }

    /// A door that never goes through a proxy and trusts no certificate at all: the link-local
    /// metadata service, which speaks plain HTTP.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn direct(connect: Duration) -> Result<Self, Error> {
        let nobody = Tls(with_roots(rustls::RootCertStore::empty())?);
        Self::straight(&nobody, connect)
    }

    /// A door that never goes through a proxy: to this machine's own addresses.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn straight(tls: &Tls, connect: Duration) -> Result<Self, Error> {
        Self::build(tls.0.clone(), |client| client.no_proxy().connect_timeout(connect))
    }

    /// The client behind it.
    #[must_use]
    pub const fn client(&self) -> &reqwest::Client {
        &self.client
    }

    /// Opens a connection for the next request to `url`'s server, which takes it if it comes within
    /// some seconds; after that another is opened. What goes wrong here is not
    /// reported: it shows again, with its reason, at that request.
    pub async fn open(&self, url: &str) {
        let _parked_or_failed = PARK.scope((), self.client.head(url).send()).await;
    }

    #[expect(clippy::disallowed_methods, reason = "the one place where an HTTP client is made")]
    fn build(
        tls: rustls::ClientConfig,
        also: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<Self, Error> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .referer(false)
            .dns_resolver(names::Names)
            // A redirect could carry a token to another server: it is an answer like any other.
            .redirect(reqwest::redirect::Policy::none())
            // Retries are argued per operation, in one place, and never made by the client.
            .retry(reqwest::retry::never())
            .connector_layer(Ahead::default());
        also(client).build().map(|client| Self { client }).map_err(Error::Client)
    }
}

fn with_roots(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, Error> {
    static PROVIDER: LazyLock<Arc<rustls::crypto::CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Ok(rustls::ClientConfig::builder_with_provider(PROVIDER.clone())
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

tokio::task_local! {
    /// Set while a connection is opened ahead.
    static PARK: ();
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connector layer that can dial ahead: under `PARK` a new connection is kept, and the next
/// request takes it.
struct Ahead<C>(Arc<Mutex<Option<(C, Instant)>>>);

impl<C> Clone for Ahead<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Default for Ahead<C> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<C, S> Layer<S> for Ahead<C> {
    type Service = Parking<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        Parking { inner, parked: self.clone() }
    }
}

struct Parking<S, C> {
    inner: S,
    parked: Ahead<C>,
}

impl<S: Clone, C> Clone for Parking<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), parked: self.parked.clone() }
    }
}

impl<S, R> Service<R> for Parking<S, S::Response>
where
    R: Send + 'static,
    S: Service<R, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send + 'static,
    S::Response: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, to: R) -> Self::Future {
        let (mut inner, parked) = (self.inner.clone(), Arc::clone(&self.parked.0));
        let park = PARK.try_with(|()| ()).is_ok();
        Box::pin(async move {
            // A request that comes while the dial is under way waits for it here.
            let mut parked = parked.lock_owned().await;
            if park {
                *parked = Some((inner.call(to).await?, Instant::now()));
                return Err("parked for the next request".into());
            }
            match parked.take().filter(|(_, since)| since.elapsed() <= FRESH) {
                Some((open, _)) => Ok(open),
                None => {
                    drop(parked);
                    inner.call(to).await
                }
            }
        })
    }
}

/// Runs the flow with something beside it that prepares its way and that it never waits for: what is
/// not ready by then is dropped with the end of the flow.
pub async fn beside<T>(ahead: impl Future<Output = ()>, flow: impl Future<Output = T>) -> T {
    tokio::pin!(flow);
    tokio::select! {
        biased;
        end = &mut flow => return end,
        () = ahead => {}
    }
    flow.await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(names: &[&str]) -> String {
        names
            .iter()
            .map(|name| rcgen::generate_simple_self_signed(vec![(*name).into()]).unwrap().cert.pem())
            .collect()
    }

    #[test]
    fn ca_bundles() {
        let two = CaBundle::from_pem(&format!("# a comment\n{}", pem(&["a", "b"]))).unwrap();
        assert_eq!(two.digests().len(), 2);
        assert!(two.digests().iter().all(|d| d.len() == 64));
        Door::new(&Trust::Only(two)).unwrap();

        let check = |text: &str, say: &str| {
            let error = CaBundle::from_pem(text).unwrap_err();
            assert!(error.to_string().contains(say), "{error}");
            assert_eq!(error.class(), Class::Config);
        };
        check("", "has 0 certificates");
        check("not pem", "has 0 certificates");
        check("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n", "not PEM");
        check("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1");
        check(&pem(&["x"; 17]), "has 17 certificates");
    }

    /// Opens ahead, waits and asks; how many connections that took.
    fn connections(wait: Duration) -> usize {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let seen = Arc::clone(&count);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                std::thread::spawn(move || {
                    let _asked = stream.read(&mut [0; 1024]);
                    stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                });
            }
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let door = Door::direct(CONNECT).unwrap();
            door.open(&url).await;
            tokio::time::pause();
            tokio::time::advance(wait).await;
            tokio::time::resume();
            assert_eq!(door.client().get(&url).send().await.unwrap().status(), 204);
        });
        count.load(std::sync::atomic::Ordering::SeqCst)
    }

    #[test]
    fn a_connection_that_is_open_is_used_while_it_is_fresh() {
        assert_eq!(connections(FRESH / 2), 1);
        assert_eq!(connections(FRESH * 2), 2);
    }

    #[test]
    fn what_runs_beside_a_flow_is_never_waited_for() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let seen = std::cell::Cell::new(0);
        let ahead = async {
            seen.set(1);
            std::future::pending::<()>().await;
        };
        let end = runtime.block_on(beside(ahead, async {
            tokio::task::yield_now().await;
            seen.get() + 1
        }));
        assert_eq!(end, 2);
        assert_eq!(runtime.block_on(beside(async {}, async { 3 })), 3);
    }
}

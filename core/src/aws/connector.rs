//! The SDK's way out: our doors.

use crate::caller::Caller;
use crate::door::{self, Door, Tls};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::header::USER_AGENT;
use http_body_util::Limited;
use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The most that any answer may have, in bytes: the SDK reads errors and KMS's answers whole, and an
/// object has a cap of its own, of a megabyte for the largest.
pub(super) const LARGEST: usize = 1024 * 1024 + 64 * 1024;

/// The longest that a connection to this machine itself may take.
const CONNECT: Duration = Duration::from_secs(1);

/// Two doors: one that honors proxies, one that never does. Each is made when it is first needed, and
/// no door is shared: a connection that is open ahead goes to whoever asks first.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tls: Tls,
    caller: Caller,
    /// The most that any answer may have, in bytes.
    most: usize,
    door: Arc<OnceLock<Door>>,
    direct: Arc<OnceLock<Door>>,
}

impl Connector {
    pub(super) fn new(tls: &Tls, caller: &Caller) -> Self {
        Self {
            tls: tls.clone(),
            caller: caller.clone(),
            most: LARGEST,
            door: Arc::default(),
            direct: Arc::default(),
        }
    }

    /// A way of the same trust, with connections of its own.
    pub(super) fn another(&self) -> Self {
        Self::new(&self.tls, &self.caller)
    }

    /// The same way for answers that may have so many bytes.
    pub(super) fn reading(self, most: usize) -> Self {
        Self { most, ..self }
    }

    /// Opens a connection for the next request to this address, if it is one that is spoken to.
    pub(super) async fn open(&self, uri: Option<String>) {
        if let Some(uri) = uri
            && let Ok(door) = self.door_to(&uri)
        {
            door.open(&uri).await;
        }
    }

    /// The way to this address, or why there is none.
    fn door_to(&self, uri: &str) -> Result<&Door, ConnectorError> {
        let uri: http::Uri =
            uri.parse().map_err(|e: http::uri::InvalidUri| ConnectorError::user(e.into()))?;
        let here = is_here(uri.host().unwrap_or_default());
        match (uri.scheme_str(), here) {
            (_, true) => made(&self.direct, || Door::straight(&self.tls, CONNECT)),
            (Some("https"), false) => made(&self.door, || Door::over(&self.tls)),
            // An answer of Decrypt carries the token, and an environment variable is easily set.
            _ => {
                Err(ConnectorError::user("plain http is taken for this machine's own addresses alone".into()))
            }
        }
    }
}

fn made(
    door: &OnceLock<Door>,
    make: impl FnOnce() -> Result<Door, door::Error>,
) -> Result<&Door, ConnectorError> {
    if door.get().is_none() {
        let new = make().map_err(|error| ConnectorError::user(error.into()))?;
        return Ok(door.get_or_init(|| new));
    }
    door.get().ok_or_else(|| ConnectorError::user("no door".into()))
}

/// The metadata services of instances and containers live on link-local addresses, where a proxy
/// would answer for itself; what is on loopback is nobody else's either.
fn is_here(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(ip)) => ip.is_link_local() || ip.is_loopback(),
        // Of the unique local ones only AWS's own, which an instance has on itself: fd00:ec2::/32.
        Ok(IpAddr::V6(ip)) => ip.segments().starts_with(&[0xfd00, 0x0ec2]) || ip.is_loopback(),
        Err(_) => host == "localhost",
    }
}

tokio::task_local! {
    /// Set while an operation is only asked where it would go.
    static ASKED: RefCell<Option<String>>;
}

/// Where this operation of the SDK would send its request; nothing is sent.
pub(super) async fn asked_for(operation: impl Future) -> Option<String> {
    let asked = async {
        operation.await;
        ASKED.with(RefCell::take)
    };
    ASKED.scope(RefCell::default(), asked).await
}

/// Whether the operation under way is one of those.
pub(super) fn is_only_asked() -> bool {
    ASKED.try_with(|_| ()).is_ok()
}

/// Scheme, host and port.
fn origin(uri: &str) -> String {
    let end = uri.match_indices('/').nth(2).map_or(uri.len(), |(at, _)| at);
    uri.get(..end).unwrap_or(uri).to_owned()
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let asked = ASKED.try_with(|asked| *asked.borrow_mut() = Some(origin(request.uri())));
        if asked.is_ok() {
            return HttpConnectorFuture::ready(Err(ConnectorError::user(
                "only asked for its address".into(),
            )));
        }
        let client = match self.door_to(request.uri()) {
            Ok(door) => door.client().clone(),
            Err(error) => return HttpConnectorFuture::ready(Err(error)),
        };
        let (caller, most) = (self.caller.clone(), self.most);
        HttpConnectorFuture::new(async move {
            let mut request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
            // The one header that the SDK never signs, so it may still be changed.
            let user_agent = caller.user_agent_before(request.headers().get(USER_AGENT));
            request.headers_mut().insert(USER_AGENT, user_agent);
            let request = request.map(reqwest::Body::wrap);
            let request = request.try_into().map_err(|e: reqwest::Error| ConnectorError::user(e.into()))?;
            let reply = client.execute(request).await.map_err(|e| {
                if e.is_timeout() { ConnectorError::timeout(e.into()) } else { ConnectorError::io(e.into()) }
            })?;
            let reply = http::Response::<reqwest::Body>::from(reply)
                .map(|body| SdkBody::from_body_1_x(Limited::new(body, most)));
            HttpResponse::try_from(reply).map_err(|e| ConnectorError::other(e.into(), None))
        })
    }
}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::caller;
    use super::*;
    use crate::door::Trust;

    #[test]
    fn plain_http_and_no_proxy_are_for_this_machine_alone() {
        let connector = Connector::new(&Tls::new(&Trust::Public).unwrap(), &caller());
        let door = |to: &OnceLock<Door>| to.get().map(std::ptr::from_ref);
        let check = |uri, want: Option<&OnceLock<Door>>| match (connector.door_to(uri), want) {
            (Ok(is), Some(want)) => assert_eq!(Some(std::ptr::from_ref(is)), door(want), "{uri}"),
            (Err(_), None) => {}
            (Ok(_), None) => panic!("{uri} was taken"),
            (Err(error), Some(_)) => panic!("{uri}: {error}"),
        };
        let (direct, proxied) = (Some(&*connector.direct), Some(&*connector.door));
        check("http://169.254.169.254/latest/api/token", direct);
        check("http://169.254.170.2/v2/credentials", direct);
        check("http://[fd00:ec2::254]/latest/api/token", direct);
        check("http://127.0.0.1:4566/", direct);
        check("http://localhost:4566/", direct);
        check("https://s3.eu-west-1.amazonaws.com/bucket/key", proxied);
        check("http://kms.eu-west-1.amazonaws.com/", None);
        check("http://127.0.0.1.example.org/", None);
        check("http://10.0.0.5/", None);
        check("http://[fd12:3456::5]/", None);
        check("http://[fd00:ec3::254]/", None);
        check("https://[fd12:3456::5]/", proxied);
        check("not a uri", None);
    }
}

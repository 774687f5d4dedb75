//! The SDK's way out: our doors.

use crate::door::Door;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use std::net::IpAddr;

/// Two doors: one that honours proxies, one that never does.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    door: Door,
    direct: Door,
}

impl Connector {
    pub(super) const fn new(door: Door, direct: Door) -> Self {
        Self { door, direct }
    }

    /// The metadata services of instances and containers live on link-local addresses, where a
    /// proxy would answer for itself.
    fn door_to(&self, uri: &str) -> &Door {
        let host =
            uri.parse::<http::Uri>().ok().and_then(|uri| uri.host().map(str::to_owned)).unwrap_or_default();
        match host.trim_matches(['[', ']']).parse() {
            Ok(IpAddr::V4(ip)) if ip.is_link_local() => &self.direct,
            Ok(IpAddr::V6(ip)) if ip.is_unique_local() => &self.direct,
            _ => &self.door,
        }
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.door_to(request.uri()).client().clone();
        HttpConnectorFuture::new(async move {
            let request = request.try_into_http1x().map_err(|e| ConnectorError::user(e.into()))?;
            let request = request.map(reqwest::Body::wrap);
            let request = request.try_into().map_err(|e: reqwest::Error| ConnectorError::user(e.into()))?;
            let reply = client.execute(request).await.map_err(|e| {
                if e.is_timeout() { ConnectorError::timeout(e.into()) } else { ConnectorError::io(e.into()) }
            })?;
            let reply = http::Response::<reqwest::Body>::from(reply).map(SdkBody::from_body_1_x);
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
    use super::*;
    use crate::door::Trust;
    use std::time::Duration;

    #[test]
    fn only_the_metadata_services_bypass_a_proxy() {
        let connector =
            Connector::new(Door::new(&Trust::Public).unwrap(), Door::direct(Duration::from_secs(1)).unwrap());
        let check = |uri, direct| {
            assert_eq!(std::ptr::eq(connector.door_to(uri), &connector.direct), direct, "{uri}")
        };
        check("http://169.254.169.254/latest/api/token", true);
        check("http://169.254.170.2/v2/credentials", true);
        check("http://[fd00:ec2::254]/latest/api/token", true);
        check("https://s3.eu-west-1.amazonaws.com/bucket/key", false);
        check("http://127.0.0.1:4566/", false);
        check("not a uri", false);
    }
}

//! Names, connections, addresses and the time that a server tells.

use super::super::found::Date;
use super::Time;
use imprint_core::caller::Caller;
use imprint_core::door::Door;
use imprint_core::name::ApplianceUrl;
use imprint_core::second::Second;
use imprint_core::{Class, Classified};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use tokio::time::timeout_at;

/// A name that has no address, or a connection that is not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum Socket {
    #[error("{0} cannot be resolved")]
    Name(String, #[source] std::io::Error),
    #[error("{0} has no address")]
    Nothing(String),
    #[error("{0} takes no connection")]
    Refused(SocketAddr, #[source] std::io::Error),
}

impl Classified for Socket {
    fn class(&self) -> Class {
        match self {
            Self::Name(..) | Self::Nothing(_) | Self::Refused(..) => Class::Transient,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Name(..) | Self::Nothing(_) => {
                "check the name in the configuration, and this machine's resolver"
            }
            Self::Refused(..) => "check route, security groups and that the server listens there",
        })
    }
}

pub(super) async fn resolve(host: String, port: u16) -> Result<Vec<SocketAddr>, Socket> {
    let found = tokio::net::lookup_host((host.as_str(), port)).await;
    let found: Vec<SocketAddr> = found.map_err(|e| Socket::Name(host.clone(), e))?.collect();
    if found.is_empty() { Err(Socket::Nothing(host)) } else { Ok(found) }
}

/// The addresses of a name, each once, and no more than a line holds.
pub(super) fn in_words(addresses: &[SocketAddr]) -> String {
    let mut all: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    all.dedup();
    let more = if all.len() > 4 { format!(" and {} more", all.len() - 4) } else { String::new() };
    all.truncate(4);
    all.join(", ") + &more
}

pub(super) async fn connect(addresses: Vec<SocketAddr>) -> Result<(), Socket> {
    let mut last = Socket::Nothing("it".to_owned());
    for address in addresses {
        match tokio::net::TcpStream::connect(address).await {
            Ok(_closed_at_once) => return Ok(()),
            Err(error) => last = Socket::Refused(address, error),
        }
    }
    Err(last)
}

/// The address from which the kernel would speak to that one. A datagram socket that is connected sends
/// nothing.
pub(super) fn source_to(server: &SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(server).ok()?;
    socket.local_addr().ok().map(|own| own.ip())
}

/// What a server says of the time, in the head of whatever it answers.
pub(super) async fn date(door: &Door, url: &ApplianceUrl, caller: &Caller, time: Time) -> Option<Date> {
    let said = timeout_at(time.end(), door.date(url, caller)).await.ok()??;
    let host = host_and_port(url.as_str()).map(|(host, _)| host)?;
    Some(Date { server: host, said, own: Second::now() })
}

/// Host and port of a URL; the port is the scheme's where none is given.
pub(in crate::doctor) fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url = url::Url::parse(url).ok()?;
    Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default()?))
}

/// Where S3 or KMS answers, and whether over https: what the environment says, else the usual name in
/// that region. `None` where it is not known.
pub(in crate::doctor) fn aws_host(
    service: &str,
    region: Option<&str>,
    env: impl Fn(&str) -> Option<String>,
) -> Option<(String, bool)> {
    let set = |name: &str| env(name).filter(|value| !value.is_empty());
    let own = set(&format!("AWS_ENDPOINT_URL_{}", service.to_ascii_uppercase()));
    if let Some(url) = own.or_else(|| set("AWS_ENDPOINT_URL")) {
        return host_and_port(&url).map(|(host, _)| (host, url.starts_with("https://")));
    }
    let region = region?;
    let is_on = |name| set(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    // Other partitions and variants have names of their own, which the SDK knows.
    if is_on("AWS_USE_FIPS_ENDPOINT") || is_on("AWS_USE_DUALSTACK_ENDPOINT") || region.starts_with("us-iso") {
        return None;
    }
    let suffix = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    Some((format!("{service}.{region}.{suffix}"), true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_aws_answers() {
        let check = |set: &[(&str, &str)], region: Option<&str>, expect: Option<(&str, bool)>| {
            let env = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            let found = aws_host("s3", region, env);
            assert_eq!(found.as_ref().map(|(host, https)| (host.as_str(), *https)), expect, "{set:?}");
        };
        check(&[], Some("eu-west-1"), Some(("s3.eu-west-1.amazonaws.com", true)));
        check(&[], Some("cn-north-1"), Some(("s3.cn-north-1.amazonaws.com.cn", true)));
        check(&[], None, None);
        check(&[("AWS_USE_FIPS_ENDPOINT", "true")], Some("us-east-1"), None);
        check(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9")], None, Some(("127.0.0.1", false)));
        check(
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("AWS_ENDPOINT_URL_S3", "https://s3.example.org")],
            None,
            Some(("s3.example.org", true)),
        );
    }

    #[test]
    fn the_address_towards_a_server() {
        assert_eq!(source_to(&"127.0.0.1:443".parse().unwrap()), Some("127.0.0.1".parse().unwrap()));
    }
}

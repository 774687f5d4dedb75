//! Which address a request comes from. A trusted peer may say so in `X-Forwarded-For`, where the last entry that is not itself
//! trusted counts; 127.0.0.1 and ::1 are always trusted, everything else by configuration only.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

use super::reply::Reply;

/// The address against which CIDRs are checked and which `/whoami` shows. An entry that is no address breaks the request (500).
pub(super) fn client_ip(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> Result<IpAddr, Reply> {
    if !is_trusted(peer, trusted) {
        return Ok(peer);
    }
    let said: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for entry in said.iter().rev().map(|entry| entry.trim()).filter(|entry| !entry.is_empty()) {
        let address: IpAddr = entry.parse().map_err(|_| Reply::bare_crash())?;
        if !is_trusted(address, trusted) {
            return Ok(address);
        }
    }
    Ok(peer)
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let always = match address {
        IpAddr::V4(v4) => v4.octets() == [127, 0, 0, 1],
        IpAddr::V6(v6) => v6.is_loopback(),
    };
    always || trusted.iter().any(|net| net.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(peer: &str, header: &str, trusted: &[&str], expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        if !header.is_empty() {
            headers.insert("x-forwarded-for", header.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let seen = client_ip(peer.parse().unwrap(), &headers, &trusted).ok().map(|ip| ip.to_string());
        assert_eq!(seen.as_deref(), expected, "{peer} {header}");
    }

    #[test]
    fn the_last_untrusted_address_counts() {
        let proxies = ["127.0.0.2/32", "172.16.0.0/12"];
        check("127.0.0.1", "", &[], Some("127.0.0.1"));
        check("127.0.0.1", "10.1.2.3", &[], Some("10.1.2.3"));
        check("127.0.0.1", "10.1.2.3, 203.0.113.7", &[], Some("203.0.113.7"));
        check("127.0.0.1", "10.1.2.3, 127.0.0.1", &[], Some("10.1.2.3"));
        check("127.0.0.1", "garbage", &[], None);
        check("127.0.0.2", "10.1.2.3", &[], Some("127.0.0.2"));
        check("127.0.0.2", "10.1.2.3", &proxies, Some("10.1.2.3"));
        check("127.0.0.2", "10.1.2.3, 172.16.0.5", &proxies, Some("10.1.2.3"));
        check("127.0.0.2", "10.1.2.3, 198.51.100.1", &proxies, Some("198.51.100.1"));
        check("127.0.0.9", "10.1.2.3", &proxies, Some("127.0.0.9"));
        check("127.0.0.9", "garbage", &[], Some("127.0.0.9"));
    }
}

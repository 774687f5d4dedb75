//! What the proxy variables mean for a server: a pure function, so that it can be told before anything
//! is sent. The rules are those of the HTTP client that both programs use.

use std::net::IpAddr;

/// How a server is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// No variable says anything else.
    Direct,
    /// `NO_PROXY` takes this server out.
    Excepted,
    /// Through this proxy, shown without user and password.
    Through {
        /// Scheme, host and port.
        proxy: String,
        /// Which variable says so.
        variable: &'static str,
    },
}

/// How `host` is reached over https, by these variables.
pub(super) fn way(host: &str, env: impl Fn(&str) -> Option<String>) -> Way {
    let set = |name: &'static str| env(name).filter(|value| !value.is_empty()).map(|value| (name, value));
    let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().find_map(set);
    let Some((variable, proxy)) = proxy else { return Way::Direct };
    let no_proxy = ["NO_PROXY", "no_proxy"].into_iter().find_map(set);
    if no_proxy.is_some_and(|(_, list)| excepts(&list, host)) {
        return Way::Excepted;
    }
    Way::Through { proxy: shown(&proxy), variable }
}

/// Where the proxy listens.
pub(super) fn host_and_port(proxy: &str) -> Option<(String, u16)> {
    let url = url::Url::parse(proxy).ok()?;
    Some((url.host_str()?.trim_matches(['[', ']']).to_owned(), url.port_or_known_default()?))
}

/// Whoever reads a report has no business with the proxy's password.
fn shown(proxy: &str) -> String {
    let (scheme, rest) = proxy.split_once("://").unwrap_or(("http", proxy));
    let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    format!("{scheme}://{host}")
}

/// Whether a list of names and networks holds this host.
fn excepts(list: &str, host: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let Some(address) = address {
            return entry.trim_matches(['[', ']']).parse() == Ok(address) || in_network(entry, address);
        }
        let name = entry.trim_start_matches('.').to_ascii_lowercase();
        host == name || host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.'))
    })
}

fn in_network(entry: &str, address: IpAddr) -> bool {
    let Some((network, bits)) = entry.split_once('/') else { return false };
    let Ok(bits) = bits.parse::<u32>() else { return false };
    let prefix =
        |value: u128, width: u32| (bits <= width).then(|| value.checked_shr(width - bits).unwrap_or(0));
    match (network.parse(), address) {
        (Ok(IpAddr::V4(a)), IpAddr::V4(b)) => {
            bits <= 32 && prefix(u32::from(a).into(), 32) == prefix(u32::from(b).into(), 32)
        }
        (Ok(IpAddr::V6(a)), IpAddr::V6(b)) => bits <= 128 && prefix(a.into(), 128) == prefix(b.into(), 128),
        (Ok(_) | Err(_), _) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_variables_mean() {
        let check = |set: &[(&str, &str)], host: &str, expect: Way| {
            let env = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            assert_eq!(way(host, env), expect, "{set:?} {host}");
        };
        let through = |proxy: &str, variable| Way::Through { proxy: proxy.to_owned(), variable };
        let https = ("HTTPS_PROXY", "http://proxy.example.org:3128");
        let there = || through("http://proxy.example.org:3128", "HTTPS_PROXY");
        check(&[], "conjur.example.org", Way::Direct);
        check(&[("HTTP_PROXY", "http://p")], "conjur.example.org", Way::Direct);
        check(&[("HTTPS_PROXY", "")], "conjur.example.org", Way::Direct);
        check(&[https], "conjur.example.org", there());
        check(
            &[("all_proxy", "proxy.example.org:3128")],
            "conjur.example.org",
            through("http://proxy.example.org:3128", "all_proxy"),
        );
        check(
            &[("https_proxy", "http://me:secret@proxy.example.org:3128/x")],
            "a",
            through("http://proxy.example.org:3128", "https_proxy"),
        );
        for list in ["*", "conjur.example.org", "example.org", ".example.org", "x, EXAMPLE.org ,y"] {
            check(&[https, ("NO_PROXY", list)], "conjur.example.org", Way::Excepted);
        }
        for list in ["ample.org", "10.0.0.0/8", "conjur", ","] {
            check(&[https, ("NO_PROXY", list)], "conjur.example.org", there());
        }
        for list in ["10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "fd00::/8,10.1.2.0/24"] {
            check(&[https, ("no_proxy", list)], "10.1.2.3", Way::Excepted);
        }
        for list in ["10.0.0.0/40", "11.0.0.0/8", "10.1.2.0/x", "::/0", "1.2.3"] {
            check(&[https, ("no_proxy", list)], "10.1.2.3", there());
        }
        check(&[https, ("no_proxy", "fd00::/8")], "[fd00:ec2::254]", Way::Excepted);
    }

    #[test]
    fn where_a_proxy_listens() {
        let check = |proxy: &str, expect: Option<(&str, u16)>| {
            assert_eq!(host_and_port(proxy), expect.map(|(h, p)| (h.to_owned(), p)), "{proxy}");
        };
        check("http://proxy.example.org:3128", Some(("proxy.example.org", 3128)));
        check("https://[2001:db8::1]", Some(("2001:db8::1", 443)));
        check("nonsense", None);
    }
}

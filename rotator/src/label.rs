//! The label: a network of one address that can never match, by which a token tells that Imprint
//! minted it, for which deployment and when.
//!
//! Conjur keeps a token's networks and lists them, so tokens of ours are known from foreign ones
//! without any state of our own. The address comes from the documentation prefix (RFC 3849), which
//! nobody's packets carry:
//! `2001:db8:<deployment, 32 bits>:<mint time, 32 bits>:<random, 32 bits>/128`.

use imprint_core::second::Second;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

const PREFIX: u128 = 0x2001_0db8;

/// Which of several rotators that share a Conjur minted a token: eight hex digits, chosen once.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Deployment(u32);

/// The text is not a deployment.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be eight hex digits in lower case, such as \"1f2e3d4c\"; draw them once and keep them")]
pub struct NotADeployment;

impl std::str::FromStr for Deployment {
    type Err = NotADeployment;

    fn from_str(text: &str) -> Result<Self, NotADeployment> {
        if text.len() != 8 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(NotADeployment);
        }
        u32::from_str_radix(text, 16).map(Self).map_err(|_| NotADeployment)
    }
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// What a label says.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Label {
    /// Who minted.
    pub deployment: Deployment,
    /// When, by the rotator's clock. 32 bits of seconds last until 2106; later times stay there.
    pub minted_at: Second,
    /// Tells two mints of one second apart.
    pub random: u32,
}

impl Label {
    /// A label of a mint at `now`.
    #[must_use]
    pub fn new(deployment: Deployment, now: Second, random: u32) -> Self {
        let seconds = u32::try_from(now.unix()).unwrap_or(u32::MAX);
        Self { deployment, minted_at: Second::from_unix(seconds.into()), random }
    }

    /// The network that carries it.
    #[must_use]
    pub fn entry(&self) -> IpNet {
        let seconds = u32::try_from(self.minted_at.unix()).unwrap_or(u32::MAX);
        let bits = PREFIX << 96
            | u128::from(self.deployment.0) << 64
            | u128::from(seconds) << 32
            | u128::from(self.random);
        IpNet::V6(Ipv6Net::from(Ipv6Addr::from(bits)))
    }

    /// Reads a network; `None` when it is no label.
    #[must_use]
    pub fn parse(entry: &IpNet) -> Option<Self> {
        let IpNet::V6(net) = entry else { return None };
        let bits = u128::from(net.addr());
        if net.prefix_len() != 128 || bits >> 96 != PREFIX {
            return None;
        }
        // Each cut is exactly the 32 bits in question.
        let part = |shift: u32| u32::try_from(bits >> shift & u128::from(u32::MAX)).unwrap_or_default();
        Some(Self {
            deployment: Deployment(part(64)),
            minted_at: Second::from_unix(part(32).into()),
            random: part(0),
        })
    }

    /// The label among a token's networks.
    #[must_use]
    pub fn among(cidr: &[IpNet]) -> Option<Self> {
        cidr.iter().find_map(Self::parse)
    }

    /// The networks to mint with: the configured ones, or any address, and the label beside them.
    #[must_use]
    pub fn beside(&self, cidr: &[IpNet]) -> Vec<IpNet> {
        let mut networks = cidr.to_vec();
        if networks.is_empty() {
            // A label alone would be a token that can be used from nowhere.
            networks.extend(anywhere());
        }
        networks.push(self.entry());
        networks
    }
}

/// What stands beside a label when no network is configured: every address.
#[must_use]
pub fn anywhere() -> [IpNet; 2] {
    [
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
        IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(deployment: u32, seconds: u32, random: u32) {
            let label = Label::new(Deployment(deployment), Second::from_unix(seconds.into()), random);
            prop_assert_eq!(Label::parse(&label.entry()), Some(label));
            // Conjur echoes the entry as text.
            let echoed: IpNet = label.entry().to_string().parse().unwrap();
            prop_assert_eq!(Label::among(&[anywhere()[0], echoed]), Some(label));
            prop_assert_eq!(Deployment(deployment).to_string().parse(), Ok(Deployment(deployment)));
        }

        #[test]
        fn every_documentation_address_and_no_other_is_a_label(bits: u128) {
            let address = IpNet::from(std::net::IpAddr::V6(Ipv6Addr::from(bits)));
            prop_assert_eq!(Label::parse(&address).map(|l| l.entry()), (bits >> 96 == PREFIX).then_some(address));
            let documentation = IpNet::from(std::net::IpAddr::V6(Ipv6Addr::from(PREFIX << 96 | bits >> 32)));
            prop_assert_eq!(Label::parse(&documentation).map(|l| l.entry()), Some(documentation));
        }
    }

    #[test]
    fn a_label_byte_for_byte() {
        let label = Label::new("1f2e3d4c".parse().unwrap(), Second::from_unix(0x6921_0203), 7);
        assert_eq!(label.entry().to_string(), "2001:db8:1f2e:3d4c:6921:203:0:7/128");
        let networks = |cidr: &[&str]| {
            let cidr: Vec<IpNet> = cidr.iter().map(|net| net.parse().unwrap()).collect();
            label.beside(&cidr).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(networks(&[]), "0.0.0.0/0 ::/0 2001:db8:1f2e:3d4c:6921:203:0:7/128");
        assert_eq!(networks(&["10.0.0.0/8"]), "10.0.0.0/8 2001:db8:1f2e:3d4c:6921:203:0:7/128");
    }

    #[test]
    fn what_is_no_label_and_no_deployment() {
        for entry in ["10.0.0.0/8", "2001:db8::/32", "2001:db8::/127", "2001:db9::1/128", "::/0"] {
            assert_eq!(Label::parse(&entry.parse().unwrap()), None, "{entry}");
        }
        assert_eq!(Label::among(&[]), None);
        for text in ["", "1f2e3d4", "1f2e3d4c5", "1F2E3D4C", "+1f2e3d4", "1f2e3d4g", "é2e3d4c"] {
            assert_eq!(text.parse::<Deployment>(), Err(NotADeployment), "{text}");
        }
    }

    #[test]
    fn a_time_beyond_2106_stays_there() {
        let label = Label::new(Deployment(1), Second::from_unix(i64::MAX), 0);
        assert_eq!(Label::parse(&label.entry()), Some(label));
    }
}

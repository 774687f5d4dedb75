//! The label: a network of one address that can never match, by which a token tells that Imprint
//! minted it, for which deployment, when, what for, and in the place of which other token.
//!
//! Conjur keeps a token's networks and lists them, so tokens of ours are known from foreign ones
//! without any state of our own. The address comes from the documentation prefix (RFC 3849), which
//! nobody's packets carry: `2001:db8:<deployment, 32 bits>:<mint time, 32 bits>:` and, in the last 32
//! bits, the kind (8), a random number (8) and the mark of the token before (16), then `/128`. The label of a
//! token for one instance has the mark of the instance (24) in the place of the last two.

use imprint_core::name::InstanceId;
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
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
    /// What for.
    pub kind: Kind,
    /// Tells two mints of one second apart.
    pub random: u8,
    /// Which token was published when this one was minted to take its place.
    pub before: Mark,
}

/// What a token was minted for.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// For a person, who asked for it by `token create`: it is where that person put it.
    ByHand,
    /// To be sealed with facts of machines: it lies in files that no rotator knows of.
    ClientData,
    /// To be published for one instance.
    Instance,
    /// To be published for a layer.
    Layer,
    /// A kind of a later version, which leaves it alone for this one.
    Other(u8),
}

impl Kind {
    const fn of(byte: u8) -> Self {
        match byte {
            b'H' => Self::ByHand,
            b'I' => Self::Instance,
            b'L' => Self::Layer,
            b'D' => Self::ClientData,
            other => Self::Other(other),
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::ByHand => b'H',
            Self::ClientData => b'D',
            Self::Instance => b'I',
            Self::Layer => b'L',
            Self::Other(byte) => byte,
        }
    }
}

/// A short form of a fingerprint, which tells a token among the few of one factory; zero for none.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Mark(u16);

impl Mark {
    /// Of a token.
    #[must_use]
    pub fn of(token: &Fingerprint) -> Self {
        // A fingerprint is twelve hex digits. Zero is taken.
        let digits = token.as_str().get(..4).unwrap_or_default();
        Self(u16::from_str_radix(digits, 16).unwrap_or_default().max(1))
    }

    /// Whether it is this token's.
    #[must_use]
    pub fn is_of(self, token: &Fingerprint) -> bool {
        self == Self::of(token)
    }
}

impl Label {
    /// A label of a mint at `now`, in the place of nothing.
    #[must_use]
    pub fn new(deployment: Deployment, now: Second, kind: Kind, random: u8) -> Self {
        let seconds = u32::try_from(now.unix()).unwrap_or(u32::MAX);
        let minted_at = Second::from_unix(seconds.into());
        Self { deployment, minted_at, kind, random, before: Mark::default() }
    }

    /// A label of a mint at `now` for one instance. It tells a mint of a run that died for the same instance:
    /// 24 bits are enough to tell apart the instances that boot in the few minutes of such a token.
    #[must_use]
    pub fn for_instance(deployment: Deployment, now: Second, instance: &InstanceId) -> Self {
        let (random, before) = mark_of(instance);
        Self { before, ..Self::new(deployment, now, Kind::Instance, random) }
    }

    /// Whether it is one of a mint for this instance.
    #[must_use]
    pub fn is_for(&self, instance: &InstanceId) -> bool {
        self.kind == Kind::Instance && (self.random, self.before) == mark_of(instance)
    }

    /// The same in the place of a token.
    #[must_use]
    pub fn after(self, before: Option<&Fingerprint>) -> Self {
        Self { before: before.map(Mark::of).unwrap_or_default(), ..self }
    }

    /// The network that carries it.
    #[must_use]
    pub fn entry(&self) -> IpNet {
        let seconds = u32::try_from(self.minted_at.unix()).unwrap_or(u32::MAX);
        let bits = PREFIX << 96
            | u128::from(self.deployment.0) << 64
            | u128::from(seconds) << 32
            | u128::from(self.kind.byte()) << 24
            | u128::from(self.random) << 16
            | u128::from(self.before.0);
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
        let [kind, random, high, low] = part(0).to_be_bytes();
        Some(Self {
            deployment: Deployment(part(64)),
            minted_at: Second::from_unix(part(32).into()),
            kind: Kind::of(kind),
            random,
            before: Mark(u16::from_be_bytes([high, low])),
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

fn mark_of(instance: &InstanceId) -> (u8, Mark) {
    let digest = Fingerprint::of(instance.as_str().as_bytes());
    let digits = |range: std::ops::Range<usize>| digest.as_str().get(range).unwrap_or_default();
    let first = u8::from_str_radix(digits(0..2), 16).unwrap_or_default();
    (first, Mark(u16::from_str_radix(digits(2..6), 16).unwrap_or_default()))
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
        fn what_is_written_is_read(deployment: u32, seconds: u32, kind: u8, random: u8, before: u64) {
            let before = Fingerprint::of(&before.to_be_bytes());
            let now = Second::from_unix(seconds.into());
            let label = Label::new(Deployment(deployment), now, Kind::of(kind), random).after(Some(&before));
            prop_assert!(label.before.is_of(&before));
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
        let minted = |kind| Label::new("1f2e3d4c".parse().unwrap(), Second::from_unix(0x6921_0203), kind, 7);
        let label = minted(Kind::Layer);
        assert_eq!(label.entry().to_string(), "2001:db8:1f2e:3d4c:6921:203:4c07:0/128");
        let sealed = minted(Kind::ClientData).after(Some(&"ba7816bf8f01".parse().unwrap()));
        assert_eq!(sealed.entry().to_string(), "2001:db8:1f2e:3d4c:6921:203:4407:ba78/128");
        let by_hand = minted(Kind::ByHand);
        assert_eq!(by_hand.entry().to_string(), "2001:db8:1f2e:3d4c:6921:203:4807:0/128");
        let (one, other) = ("i-0abc".parse().unwrap(), "i-0abd".parse().unwrap());
        let own = Label::for_instance("1f2e3d4c".parse().unwrap(), Second::from_unix(0x6921_0203), &one);
        assert!(own.is_for(&one) && !own.is_for(&other));
        assert!(!Label { kind: Kind::Layer, ..own }.is_for(&one));
        assert_eq!(own.entry().to_string(), "2001:db8:1f2e:3d4c:6921:203:496b:9f8a/128");
        // A fingerprint that begins with zeros is not mistaken for none.
        let zeros = label.after(Some(&"0000ffffffff".parse().unwrap()));
        assert_eq!(zeros.entry().to_string(), "2001:db8:1f2e:3d4c:6921:203:4c07:1/128");
        let networks = |cidr: &[&str]| {
            let cidr: Vec<IpNet> = cidr.iter().map(|net| net.parse().unwrap()).collect();
            label.beside(&cidr).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(networks(&[]), "0.0.0.0/0 ::/0 2001:db8:1f2e:3d4c:6921:203:4c07:0/128");
        assert_eq!(networks(&["10.0.0.0/8"]), "10.0.0.0/8 2001:db8:1f2e:3d4c:6921:203:4c07:0/128");
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
        let label = Label::new(Deployment(1), Second::from_unix(i64::MAX), Kind::Layer, 0);
        assert_eq!(Label::parse(&label.entry()), Some(label));
    }
}

//! Networks that a person writes, in the configuration or on the command line: what Conjur would refuse, or
//! take in another sense than was meant, is refused here with its reason.

use crate::config::Factory;
use crate::label::Label;
use imprint_core::error::{Class, Classified};
use ipnet::IpNet;

/// Why a network is not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Every address there is.
    #[error("{0} lets a token be used from any address")]
    AnyAddress(IpNet),
    /// Conjur would refuse it.
    #[error("{0} has host bits set; it may be {trunc}", trunc = .0.trunc())]
    HostBits(IpNet),
    /// It could be taken for a label, or never match.
    #[error("{0} is of the documentation prefix, which labels are made of")]
    Label(IpNet),
    /// No network.
    #[error("{0:?} must be a network such as \"10.0.0.0/8\"")]
    NoNetwork(String),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::AnyAddress(_) | Self::HostBits(_) | Self::Label(_) | Self::NoNetwork(_) => Class::Usage,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::AnyAddress(_) => Some("name narrower networks, or say --any-address"),
            Self::HostBits(_) | Self::Label(_) | Self::NoNetwork(_) => None,
        }
    }
}

/// Reads a network.
///
/// # Errors
/// When it is none, has host bits set, or looks like a label.
pub fn parse(text: &str) -> Result<IpNet, Error> {
    let Ok(net) = text.parse::<IpNet>() else {
        return Err(Error::NoNetwork(text.chars().take(50).collect()));
    };
    if net.trunc() != net {
        return Err(Error::HostBits(net));
    }
    if Label::parse(&net).is_some() {
        return Err(Error::Label(net));
    }
    Ok(net)
}

/// Whether it holds every address of its kind.
#[must_use]
pub fn is_anywhere(net: &IpNet) -> bool {
    net.prefix_len() == 0
}

/// From where a token may be used, as a command line says it.
#[derive(clap::Args, Clone, Debug, Default, Eq, PartialEq)]
pub struct Networks {
    /// Where the token may be used from, as Conjur sees it; the factory's cidr if left out. May be repeated
    #[arg(long, value_name = "NETWORK", value_parser = parse)]
    pub cidr: Vec<IpNet>,
    /// Let it be used from any address
    #[arg(long)]
    pub any_address: bool,
}

impl Networks {
    /// The networks for a token of `factory`; empty for any.
    ///
    /// # Errors
    /// When one of them holds every address, which `--any-address` did not allow.
    pub fn of(&self, factory: &Factory) -> Result<Vec<IpNet>, Error> {
        match self.cidr.iter().find(|net| is_anywhere(net)) {
            Some(net) if !self.any_address => Err(Error::AnyAddress(*net)),
            _ if self.cidr.is_empty() && !self.any_address => Ok(factory.cidr.clone()),
            _ => Ok(self.cidr.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_a_network() {
        let check = |text: &str, wrong: Option<&str>| {
            assert_eq!(parse(text).err().map(|error| error.to_string()).as_deref(), wrong, "{text}");
        };
        check("10.0.0.0/8", None);
        check("192.0.2.7/32", None);
        check("2001:db9::/32", None);
        check("0.0.0.0/0", None);
        check("10.0.0.1/8", Some("10.0.0.1/8 has host bits set; it may be 10.0.0.0/8"));
        check("fd00::1/8", Some("fd00::1/8 has host bits set; it may be fd00::/8"));
        check(
            "2001:db8::1/128",
            Some("2001:db8::1/128 is of the documentation prefix, which labels are made of"),
        );
        for text in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "x", " 10.0.0.0/8"] {
            check(text, Some(&format!("{text:?} must be a network such as \"10.0.0.0/8\"")));
        }
        // What a person pasted by mistake is not repeated at length.
        let long = parse(&"x".repeat(5000)).unwrap_err().to_string();
        assert!(long.len() < 120, "{long}");
    }

    #[test]
    fn any_address_must_be_said() {
        let factory = |cidr: &[&str]| Factory {
            id: "web".parse().unwrap(),
            hosts_branch: "web".parse().unwrap(),
            layer: "nodes".parse().unwrap(),
            pin: false,
            leader_url: "https://conjur.example.org".parse().unwrap(),
            cidr: cidr.iter().map(|net| net.parse().unwrap()).collect(),
            mint: true,
            shared: true,
            spread: Duration::ZERO,
        };
        let check = |own: &[&str], cidr: &[&str], any_address, wanted: Result<&[&str], &str>| {
            let networks =
                Networks { cidr: cidr.iter().map(|net| parse(net).unwrap()).collect(), any_address };
            let found = networks.of(&factory(own));
            let shown = found.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
            assert_eq!(
                shown.map_err(|e| e.to_string()),
                wanted.map(|w| w.iter().map(|n| (*n).to_owned()).collect()).map_err(str::to_owned)
            );
        };
        check(&["10.0.0.0/8"], &[], false, Ok(&["10.0.0.0/8"]));
        check(&["10.0.0.0/8"], &["10.1.0.0/16"], false, Ok(&["10.1.0.0/16"]));
        check(&["10.0.0.0/8"], &[], true, Ok(&[]));
        check(&[], &[], false, Ok(&[]));
        let any = "::/0 lets a token be used from any address";
        check(&[], &["10.0.0.0/8", "::/0"], false, Err(any));
        check(&[], &["10.0.0.0/8", "::/0"], true, Ok(&["10.0.0.0/8", "::/0"]));
    }
}

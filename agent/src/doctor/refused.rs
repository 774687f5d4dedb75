//! Conjur answers every refused token with the same silent 401. This ranks what the binding and a fresh
//! fetch leave possible, most likely first, and claims none.

use imprint_core::sealed::Binding;
use imprint_core::second::Second;
use std::net::IpAddr;
use std::time::Duration;

/// How far two clocks that are well kept may be apart.
const SKEW: Duration = Duration::from_secs(300);

/// What is known of a refused token.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its fingerprint.
    pub refused: &'a str,
    /// What is published now, if it could be fetched.
    pub published: Option<&'a Binding>,
    /// This machine's addresses; Conjur may see another.
    pub addresses: &'a [IpAddr],
    /// The present.
    pub now: Second,
}

/// A reason that is possible.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// Conjur takes it from other networks alone.
    Cidr(String),
    /// Its time is over.
    Expired(String),
    /// Somebody revoked it, or Conjur's database was restored.
    Revoked(String),
    /// It was replaced, and revoked or expired since.
    Superseded(String),
}

impl Reason {
    /// The sentence.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Cidr(why) | Self::Expired(why) | Self::Revoked(why) | Self::Superseded(why) => why,
        }
    }
}

/// The possible reasons, most likely first. There is always one.
#[must_use]
pub fn ranked(known: &Known<'_>) -> Vec<Reason> {
    let Some(binding) = known.published else {
        return vec![
            Reason::Superseded(
                "it may have been replaced, but what is published now could not be fetched".into(),
            ),
            Reason::Expired("its time may be over".into()),
            Reason::Cidr("Conjur may take it from other addresses alone".into()),
            Reason::Revoked("it may have been revoked".into()),
        ];
    };
    if binding.fingerprint.as_str() != known.refused {
        let now = format!("another token, {}, is published since {}", binding.fingerprint, binding.issued_at);
        return vec![
            Reason::Superseded(format!("{now}: the refused one was replaced")),
            Reason::Revoked("the refused one may have been revoked with that".into()),
        ];
    }
    let mut reasons = Vec::new();
    let (until, now) = (binding.expires_at, known.now);
    if until <= now {
        reasons.push(Reason::Expired(format!(
            "its time was over at {until}, and this machine's clock says {now}"
        )));
    }
    let holds = |address: &IpAddr| binding.cidr.iter().any(|net| net.contains(address));
    let networks: Vec<String> = binding.cidr.iter().map(ToString::to_string).collect();
    let networks = networks.join(", ");
    let is_outside = !binding.cidr.is_empty() && !known.addresses.iter().any(holds);
    if is_outside {
        let own: Vec<String> = known.addresses.iter().map(ToString::to_string).collect();
        let own = if own.is_empty() { "an unknown address".to_owned() } else { own.join(", ") };
        reasons
            .push(Reason::Cidr(format!("Conjur takes it from {networks} alone, and this machine has {own}")));
    }
    reasons.push(Reason::Revoked(
        "it is still published, so it may have been revoked by hand, or Conjur's database was restored: the rotator's next run replaces it".into(),
    ));
    if !binding.cidr.is_empty() && !is_outside {
        reasons.push(Reason::Cidr(format!(
            "Conjur takes it from {networks} alone, and may see another address than this machine's behind NAT or a balancer"
        )));
    }
    if now < until && until <= now.plus(SKEW) {
        reasons.push(Reason::Expired(format!("it ends at {until}, which Conjur's clock may have reached")));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::tests::binding;

    #[test]
    fn what_is_left_possible() {
        let own = |change: &dyn Fn(&mut Binding)| {
            let mut binding = binding();
            change(&mut binding);
            binding
        };
        let check = |published: Option<&Binding>, address: &str, expect: &[&str]| {
            let refused = binding().fingerprint.to_string();
            let addresses = [address.parse().unwrap()];
            let now = "2026-11-22T08:00:00Z".parse().unwrap();
            let known = Known { refused: &refused, published, addresses: &addresses, now };
            let found = ranked(&known);
            let names: Vec<&str> = found
                .iter()
                .map(|reason| match reason {
                    Reason::Cidr(_) => "cidr",
                    Reason::Expired(_) => "expired",
                    Reason::Revoked(_) => "revoked",
                    Reason::Superseded(_) => "superseded",
                })
                .collect();
            assert_eq!(names, expect, "{found:?}");
            assert!(found.iter().all(|reason| !reason.as_str().is_empty()));
        };
        let cidr = |b: &mut Binding| b.cidr = vec!["10.0.0.0/16".parse().unwrap()];
        let at = |text: &str| text.parse::<Second>().unwrap();
        check(None, "10.0.0.5", &["superseded", "expired", "cidr", "revoked"]);
        check(Some(&own(&|_| ())), "10.0.0.5", &["revoked"]);
        check(Some(&own(&cidr)), "10.0.0.5", &["revoked", "cidr"]);
        check(Some(&own(&cidr)), "10.9.0.5", &["cidr", "revoked"]);
        check(
            Some(&own(&|b| b.expires_at = at("2026-11-22T07:00:00Z"))),
            "10.0.0.5",
            &["expired", "revoked"],
        );
        check(
            Some(&own(&|b| b.expires_at = at("2026-11-22T08:04:00Z"))),
            "10.0.0.5",
            &["revoked", "expired"],
        );
        let both = own(&|b| {
            cidr(b);
            b.expires_at = at("2026-11-22T07:00:00Z");
        });
        check(Some(&both), "10.9.0.5", &["expired", "cidr", "revoked"]);
        let another = own(&|b| b.fingerprint = imprint_core::token::Fingerprint::of(b"another"));
        check(Some(&another), "10.9.0.5", &["superseded", "revoked"]);
    }
}

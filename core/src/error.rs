//! [`Class`]: the one enum by which every failure is judged.
//!
//! It drives the exit code, whether a retry makes sense, the error type that a Lambda
//! returns and the `class` field of a log line. What failed, and in which words, is the
//! business of the small error enums beside each module; they all end here.

use std::fmt;

/// What kind of failure this is, in the only terms that matter to a caller: who must act.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Nothing is published yet, or what is published has expired: the rotator must run.
    Absent,
    /// An assumption of our own code does not hold.
    Bug,
    /// A setting on this machine is wrong: its operator must change it.
    Config,
    /// A server answered something that its protocol does not allow.
    Protocol,
    /// A server understood and said no: a permission, a policy, an owner.
    Refused,
    /// The local disk could not be read or written.
    Storage,
    /// Something was changed by somebody: a binding, an identity, an owner.
    Tampered,
    /// It may work in a moment: a network, a throttle, a server that restarts.
    Transient,
    /// The command line is wrong.
    Usage,
}

impl Class {
    /// Every class, in alphabetical order.
    pub const ALL: [Self; 9] = [
        Self::Absent,
        Self::Bug,
        Self::Config,
        Self::Protocol,
        Self::Refused,
        Self::Storage,
        Self::Tampered,
        Self::Transient,
        Self::Usage,
    ];

    /// The process exit code, after sysexits(3).
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 64,     // EX_USAGE
            Self::Tampered => 65,  // EX_DATAERR
            Self::Absent => 69,    // EX_UNAVAILABLE
            Self::Bug => 70,       // EX_SOFTWARE
            Self::Storage => 73,   // EX_CANTCREAT
            Self::Transient => 75, // EX_TEMPFAIL
            Self::Protocol => 76,  // EX_PROTOCOL
            Self::Refused => 77,   // EX_NOPERM
            Self::Config => 78,    // EX_CONFIG
        }
    }

    /// What it means, for help texts and man pages.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Absent => "nothing is published yet, or it has expired",
            Self::Bug => "an assumption of the program itself does not hold",
            Self::Config => "a setting on this machine is wrong",
            Self::Protocol => "a server does not speak its protocol",
            Self::Refused => "a server understood and said no",
            Self::Storage => "the local disk cannot be read or written",
            Self::Tampered => "something was changed by somebody",
            Self::Transient => "it may work in a moment",
            Self::Usage => "the command line is wrong",
        }
    }

    /// What a person should do where the failure itself does not tell. `None` where it always does.
    #[must_use]
    pub const fn advice(self) -> Option<&'static str> {
        match self {
            Self::Absent => Some("see whether the rotator runs and publishes"),
            Self::Protocol => Some("see what answers at this address: a proxy, a portal, another service"),
            Self::Refused => {
                Some("see the log of the server that refused, and what this host or role may do there")
            }
            Self::Transient => Some("it may pass by itself: if it does not, see the health of that service"),
            Self::Bug | Self::Config | Self::Storage | Self::Tampered | Self::Usage => None,
        }
    }

    /// The name in logs, metrics and `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Bug => "bug",
            Self::Config => "config",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Storage => "storage",
            Self::Tampered => "tampered",
            Self::Transient => "transient",
            Self::Usage => "usage",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An error that knows its [`Class`] and what a person should do about it.
pub trait Classified: std::error::Error {
    /// Who must act.
    fn class(&self) -> Class;

    /// One line for a person: what to do now. `None` where the message says it all.
    fn hint(&self) -> Option<&'static str> {
        None
    }

    /// How long the server asked to be left alone (`Retry-After`), if it did.
    fn retry_after(&self) -> Option<std::time::Duration> {
        None
    }

    /// Whether a server has more to do than it can (429, 503, a time-out), so that everybody should
    /// come back over a longer time.
    fn is_pushback(&self) -> bool {
        false
    }

    /// What it is once nobody waits for it any longer: a refusal that was only waited for in case it
    /// settles is a refusal then.
    #[must_use]
    fn given_up(self) -> Self
    where
        Self: Sized,
    {
        self
    }
}

/// The error and everything below it, joined by `: `, each said once.
///
/// `Display` of our errors never repeats its source; this is the one place that walks the chain.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        let words = cause.to_string();
        // Libraries often repeat what their source says; once is enough.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        below = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_class_has_its_own_code_and_name() {
        let codes: BTreeSet<u8> = Class::ALL.iter().map(|c| c.exit_code()).collect();
        let names: BTreeSet<&str> = Class::ALL.iter().map(|c| c.as_str()).collect();
        assert_eq!((codes.len(), names.len()), (9, 9));
        assert_eq!(Class::ALL.iter().map(|c| c.meaning()).collect::<BTreeSet<_>>().len(), 9);
        assert!(codes.iter().all(|c| (64..=78).contains(c)), "{codes:?}");
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_chain_says_each_cause_once() {
        let io = std::io::Error::other("disk on fire");
        assert_eq!(chain(&Outer(io)), "outer: disk on fire");
    }
}

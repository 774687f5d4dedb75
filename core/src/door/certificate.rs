//! Why TLS refused a server's certificate, found in the depths of an HTTP error. A clock that is wrong
//! looks like a bad certificate, so both times are told.

use crate::second::Second;
use rustls::CertificateError;
use rustls::pki_types::UnixTime;
use std::error::Error;
use std::fmt;

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It is over, by this machine's clock.
    Expired {
        /// The last second of the certificate.
        until: Second,
        /// This machine's clock.
        clock: Second,
    },
    /// It begins later, by this machine's clock.
    NotYetValid {
        /// The first second of the certificate.
        from: Second,
        /// This machine's clock.
        clock: Second,
    },
    /// Anything else: another authority, another name.
    Other,
}

impl Fault {
    /// The fault that made this request fail, if it was one.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Option<Self> {
        let mut below = Some(error);
        while let Some(error) = below {
            if let Some(error) = error.downcast_ref::<rustls::Error>() {
                return match error {
                    rustls::Error::InvalidCertificate(why) => Some(Self::judge(why)),
                    _ => None,
                };
            }
            // An io::Error hides its inner error from `source`.
            let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
            below = inner.map(|e| e as &(dyn Error + 'static)).or_else(|| error.source());
        }
        None
    }

    /// Whether another time of this machine's clock would make the certificate a good one.
    #[must_use]
    pub const fn is_time(self) -> bool {
        match self {
            Self::Expired { .. } | Self::NotYetValid { .. } => true,
            Self::Other => false,
        }
    }

    fn judge(why: &CertificateError) -> Self {
        match why {
            CertificateError::ExpiredContext { time, not_after } => {
                Self::Expired { until: second(*not_after), clock: second(*time) }
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                Self::NotYetValid { from: second(*not_before), clock: second(*time) }
            }
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { until, clock } => {
                write!(f, "its certificate ended {until}, and this machine's clock says {clock}")
            }
            Self::NotYetValid { from, clock } => {
                write!(f, "its certificate begins {from}, and this machine's clock says {clock}")
            }
            Self::Other => f.write_str("its certificate is not taken"),
        }
    }
}

fn second(time: UnixTime) -> Second {
    Second::from_unix(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;
    use std::time::Duration;

    fn found(why: CertificateError) -> Option<Fault> {
        // As reqwest hands it on: below an io::Error that tells nobody.
        Fault::of(&io::Error::other(io::Error::other(rustls::Error::InvalidCertificate(why))))
    }

    #[test]
    fn both_times_are_told() {
        let at = |second| UnixTime::since_unix_epoch(Duration::from_secs(second));
        let early =
            found(CertificateError::NotValidYetContext { time: at(5), not_before: at(1_795_334_400) })
                .unwrap();
        assert_eq!(
            early.to_string(),
            "its certificate begins 2026-11-22T08:00:00Z, and this machine's clock says 1970-01-01T00:00:05Z"
        );
        let late =
            found(CertificateError::ExpiredContext { time: at(1_795_334_400), not_after: at(0) }).unwrap();
        assert_eq!(
            late.to_string(),
            "its certificate ended 1970-01-01T00:00:00Z, and this machine's clock says 2026-11-22T08:00:00Z"
        );
        assert!(early.is_time() && late.is_time());
    }

    #[test]
    fn what_is_no_matter_of_time() {
        let other = found(CertificateError::UnknownIssuer).unwrap();
        assert!(other == Fault::Other && !other.is_time());
        assert_eq!(Fault::of(&io::Error::other("certificate expired")), None);
        assert_eq!(Fault::of(&rustls::Error::DecryptError), None);
    }
}

//! [`Second`]: a point in time to the whole second, as Conjur keeps expirations and as the sealed
//! token carries its times. Also the one home of the wall clock.

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::time::Duration;

/// A whole second of UTC, written `2026-11-22T08:00:00Z`. Years 1970 to 9999.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Second(i64);

/// The text is not a time of the one form that is taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a time of the form 2026-11-22T08:00:00Z")]
pub struct NotASecond;

/// The last that the calendar library has: 9999-12-30T22:00:00Z.
const LAST: i64 = 253_402_207_200;

impl Second {
    /// The system's clock, cut to the second. Everything below a program's effects takes time as a
    /// parameter instead.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the wall clock's one home")]
    pub fn now() -> Self {
        Self(Timestamp::now().as_second().clamp(0, LAST))
    }

    /// From seconds since 1970-01-01T00:00:00Z; clamped to the years 1970 to 9999.
    #[must_use]
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds.clamp(0, LAST))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// Any RFC 3339 time (Conjur lists `2026-11-22T08:00:00Z` and `...08:00:00.000+00:00` alike),
    /// fractions cut off.
    ///
    /// # Errors
    /// When the text is not such a time, or outside the years 1970 to 9999.
    pub fn from_rfc3339(text: &str) -> Result<Self, NotASecond> {
        if text.len() > 40 {
            return Err(NotASecond);
        }
        let time: Timestamp = text.parse().map_err(|_| NotASecond)?;
        match time.as_second() {
            second @ 0..=LAST => Ok(Self(second)),
            _ => Err(NotASecond),
        }
    }

    /// `Sun, 22 Nov 2026 08:00:00 GMT`, the one form that RFC 9110 (5.6.7) lets a server send.
    ///
    /// # Errors
    /// When the text is anything else, or outside the years 1970 to 9999.
    pub fn from_http_date(text: &str) -> Result<Self, NotASecond> {
        // 29 characters; the longest that is read cannot hold more than its one reading needs.
        if text.len() > 40 {
            return Err(NotASecond);
        }
        let time = rfc2822::parse(text).map_err(|_| NotASecond)?.timestamp();
        // Mail is more lenient; what is written is what is read, byte for byte.
        let same = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&time);
        match (time.as_second(), same) {
            (second @ 0..=LAST, Ok(same)) if same == text => Ok(Self(second)),
            _ => Err(NotASecond),
        }
    }

    /// This long after; at most the end of the year 9999.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self::from_unix(self.0.saturating_add(i64::try_from(span.as_secs()).unwrap_or(LAST)))
    }

    /// This long before; at least the start of 1970.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self::from_unix(self.0.saturating_sub(i64::try_from(span.as_secs()).unwrap_or(LAST)))
    }

    /// How long since `earlier`; zero when that lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl std::str::FromStr for Second {
    type Err = NotASecond;

    /// The strict form only: what is written is what is read, byte for byte.
    fn from_str(text: &str) -> Result<Self, NotASecond> {
        let second = Self::from_rfc3339(text)?;
        if second.to_string() == text { Ok(second) } else { Err(NotASecond) }
    }
}

impl fmt::Display for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time =
            Timestamp::UNIX_EPOCH.checked_add(SignedDuration::from_secs(self.0)).map_err(|_| fmt::Error)?;
        write!(f, "{time}")
    }
}

impl fmt::Debug for Second {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, strict: Option<i64>, loose: Option<i64>) {
        assert_eq!(text.parse::<Second>().ok().map(Second::unix), strict, "strict {text:?}");
        assert_eq!(Second::from_rfc3339(text).ok().map(Second::unix), loose, "loose {text:?}");
    }

    #[test]
    fn dates_of_http() {
        let check = |text: &str, expect: Option<&str>| {
            let second = Second::from_http_date(text).ok();
            assert_eq!(second.map(|at| at.to_string()).as_deref(), expect, "{text}");
        };
        check("Sun, 22 Nov 2026 08:00:00 GMT", Some("2026-11-22T08:00:00Z"));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some("1970-01-01T00:00:00Z"));
        check("Wed, 31 Dec 1969 23:59:59 GMT", None);
        for bad in [
            "",
            "soon",
            "Sun, 22 Nov 2026 08:00:00 CET",
            "Sun, 22 Nov 2026 08:00:00 +0000",
            "Sun, 22 Nov 2026 08:00:00 GMT (a comment)",
            " Sun, 22 Nov 2026 08:00:00 GMT",
            "sun, 22 nov 2026 08:00:00 gmt",
            "Mon, 22 Nov 2026 08:00:00 GMT",
            "Sunday, 22-Nov-26 08:00:00 GMT",
            "Sun, 99 Nov 2026 08:00:00 GMT",
            "Sun, 22 Nov 99999999999999 08:00:00 GMT",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn forms_that_are_taken() {
        check("2026-11-22T08:00:00Z", Some(1_795_334_400), Some(1_795_334_400));
        check("1970-01-01T00:00:00Z", Some(0), Some(0));
        check("9999-12-30T22:00:00Z", Some(LAST), Some(LAST));
        check("2026-11-22T08:00:00.999Z", None, Some(1_795_334_400));
        check("2026-11-22T08:00:00.000+00:00", None, Some(1_795_334_400));
        check("2026-11-22T09:30:00+01:30", None, Some(1_795_334_400));
        for bad in ["", "tomorrow", "1795334400", "2026-11-22", "2026-11-22T08:00:00", "1969-12-31T23:59:59Z"]
        {
            check(bad, None, None);
        }
        check(&"2026-11-22T08:00:00.".repeat(3), None, None);
    }

    #[test]
    fn arithmetic_stays_in_range() {
        let end = Second::from_unix(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(Second::from_unix(5).minus(Duration::MAX).unix(), 0);
        assert_eq!(Second::from_unix(5).since(Second::from_unix(2)), Duration::from_secs(3));
        assert_eq!(Second::from_unix(2).since(Second::from_unix(5)), Duration::ZERO);
    }
}

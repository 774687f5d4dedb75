//! Time as Conjur writes and reads it: `created_at` with milliseconds and `+00:00`, expirations with whole seconds and `Z`, and
//! the ISO 8601 forms that a mint accepts. Plain arithmetic rather than a calendar crate, because a server accepts the year 9999
//! to its last second and time crates stop short of it. The wall clock is read in one place only, `Clock`.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The clock of one stand-in: the machine's, plus an offset that tests move, so nothing has to sleep to expire.
#[derive(Debug, Default)]
pub(super) struct Clock {
    offset_ms: AtomicI64,
}

impl Clock {
    /// Milliseconds since 1970, as this server sees it.
    #[expect(clippy::disallowed_methods, reason = "a server has a clock of its own")]
    pub(super) fn now_ms(&self) -> i64 {
        let machine = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(machine.as_millis())
            .unwrap_or(i64::MAX)
            .saturating_add(self.offset_ms.load(Ordering::SeqCst))
    }

    /// Moves this server's time, by milliseconds.
    pub(super) fn shift(&self, by: i64) {
        self.offset_ms.fetch_add(by, Ordering::SeqCst);
    }
}

/// `2026-11-22T04:55:35.089+00:00`, the form of `created_at` and `token_issued_at`.
pub(super) fn with_millis(ms: i64) -> String {
    let (date, second) = split(ms.div_euclid(1000));
    format!("{date}T{second}.{:03}+00:00", ms.rem_euclid(1000))
}

/// `2026-11-22T05:55:34Z`, the form of expirations.
pub(super) fn zulu(seconds: i64) -> String {
    let (date, second) = split(seconds);
    format!("{date}T{second}Z")
}

/// `2020-01-01T00:00:00+00:00`, the form that the refusal of a past expiration quotes.
pub(super) fn with_offset(seconds: i64) -> String {
    let (date, second) = split(seconds);
    format!("{date}T{second}+00:00")
}

/// Seconds since 1970 of an ISO 8601 date or date and time; no zone means UTC, fractions are dropped. `None` when Ruby's
/// `DateTime.iso8601` would refuse it (a space for the `T`, a Unix time, words).
pub(super) fn parse_iso8601(text: &str) -> Option<i64> {
    let text = text.trim();
    if !text.is_ascii() {
        return None;
    }
    let (date, rest) = match text.find(['T', 't']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let days = parse_date(date)?;
    if rest.is_empty() {
        return (date.len() == text.len()).then_some(days * 86_400);
    }
    let zone_at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let seconds = parse_time(&rest[..zone_at])?;
    let offset = parse_zone(&rest[zone_at..])?;
    Some(days * 86_400 + seconds - offset)
}

fn parse_date(date: &str) -> Option<i64> {
    let parts: Vec<&str> = if date.contains('-') {
        date.split('-').collect()
    } else if date.len() == 8 {
        vec![&date[..4], &date[4..6], &date[6..]]
    } else {
        return None;
    };
    let [year, month, day] = parts.as_slice() else { return None };
    if year.len() != 4 || month.len() != 2 || day.len() != 2 {
        return None;
    }
    let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
    ((1..=12).contains(&month) && day >= 1 && day <= days_in(year, month))
        .then(|| days_from_civil(year, month, day))
}

fn parse_time(time: &str) -> Option<i64> {
    let (time, fraction) = time.split_once(['.', ',']).unwrap_or((time, "0"));
    digits(fraction)?;
    let parts: Vec<&str> = time.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] => (*hour, *minute, "00"),
        [hour, minute, second] => (*hour, *minute, *second),
        [all] if all.len() == 6 => (&all[..2], &all[2..4], &all[4..]),
        _ => return None,
    };
    if [hour, minute, second].iter().any(|part| part.len() != 2) {
        return None;
    }
    let (hour, minute, second) = (digits(hour)?, digits(minute)?, digits(second)?);
    (hour < 24 && minute < 60 && second < 60).then_some(hour * 3600 + minute * 60 + second)
}

fn parse_zone(zone: &str) -> Option<i64> {
    if zone.is_empty() || zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let figures: String = zone[1..].chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = match figures.len() {
        2 => (digits(&figures)?, 0),
        4 => (digits(&figures[..2])?, digits(&figures[2..])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn digits(text: &str) -> Option<i64> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn split(seconds: i64) -> (String, String) {
    let days = seconds.div_euclid(86_400) + 719_468;
    let rest = seconds.rem_euclid(86_400);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (
        format!("{year:04}-{month:02}-{day:02}"),
        format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(parse_iso8601(text).map(zulu).as_deref(), expected, "{text}");
    }

    #[test]
    fn expirations_as_a_server_reads_them() {
        check("2030-01-01T12:00:00Z", Some("2030-01-01T12:00:00Z"));
        check("2030-01-01", Some("2030-01-01T00:00:00Z"));
        check("2030-01-01T12:00:00+05:30", Some("2030-01-01T06:30:00Z"));
        check("2030-01-01T12:00:00.987654Z", Some("2030-01-01T12:00:00Z"));
        check("2030-01-01T12:00:00", Some("2030-01-01T12:00:00Z"));
        check("9999-12-31T23:59:59Z", Some("9999-12-31T23:59:59Z"));
        check("2028-02-29", Some("2028-02-29T00:00:00Z"));
        check("2027-02-29", None);
        check("tomorrow", None);
        check("1795326907", None);
        check("2030-01-01 12:00:00", None);
        check("2030-01-01T12:00:00 05:30", None);
        check("2030-13-01", None);
        check("", None);
    }

    #[test]
    fn milliseconds_are_three_digits() {
        assert_eq!(with_millis(1_795_323_335_089), "2026-11-22T04:55:35.089+00:00");
        assert_eq!(with_offset(1_577_836_800), "2020-01-01T00:00:00+00:00");
    }
}

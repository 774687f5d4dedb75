//! What a server tells anybody who asks: the time, and until when its certificate is good.

use super::{Door, Error, Tls, Trust};
use crate::caller::Caller;
use crate::door::certificate::Fault;
use crate::name::ApplianceUrl;
use crate::second::Second;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::sync::Arc;
use std::time::Duration;

impl Door {
    /// What a server says of the time, in the head of whatever it answers; `None` when it does not.
    pub async fn date(&self, url: &ApplianceUrl, caller: &Caller) -> Option<Second> {
        let request =
            self.client().get(format!("{url}/")).header(reqwest::header::USER_AGENT, caller.user_agent());
        let reply = request.send().await.ok()?;
        http_date(reply.headers().get(reqwest::header::DATE)?.to_str().ok()?)
    }
}

/// When the certificate that a server of https shows comes to its end, whoever made it; `None` when it shows
/// none, or one without an end.
///
/// It is held against a clock that stands at the end of all times: the handshake fails, before anything is sent,
/// and the failure tells the end.
///
/// # Errors
/// When no client can be made.
pub async fn certificate_end(
    url: &ApplianceUrl,
    trust: &Trust,
    caller: &Caller,
) -> Result<Option<Second>, Error> {
    let mut tls = Tls::new(trust)?;
    tls.0.time_provider = Arc::new(EndOfTimes);
    let request = Door::over_to(&tls, url)?
        .client()
        .get(format!("{url}/"))
        .header(reqwest::header::USER_AGENT, caller.user_agent());
    Ok(match request.send().await.err().and_then(|error| Fault::of(&error)) {
        Some(Fault::Expired { until, .. }) => Some(until),
        Some(Fault::NotYetValid { .. } | Fault::Other) | None => None,
    })
}

#[derive(Debug)]
struct EndOfTimes;

impl TimeProvider for EndOfTimes {
    fn current_time(&self) -> Option<UnixTime> {
        let last = Second::from_unix(i64::MAX).unix().unsigned_abs();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(last)))
    }
}

/// `Sun, 22 Nov 2026 08:00:00 GMT`, the one form that RFC 9110 lets a server send.
fn http_date(text: &str) -> Option<Second> {
    let words: Vec<&str> = text.split(' ').collect();
    let [_, day, month, year, clock, "GMT"] = words.as_slice() else { return None };
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    Second::from_rfc3339(&format!("{year}-{month:02}-{day}T{clock}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_http() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(http_date(text).map(|at| at.to_string()).as_deref(), expect, "{text}");
        };
        check("Sun, 22 Nov 2026 08:00:00 GMT", Some("2026-11-22T08:00:00Z"));
        check("Thu, 01 Jan 1970 00:00:00 GMT", Some("1970-01-01T00:00:00Z"));
        for bad in [
            "",
            "soon",
            "Sun, 22 Nov 2026 08:00:00 CET",
            "Sunday, 22-Nov-26 08:00:00 GMT",
            "Sun, 99 Nov 2026 08:00:00 GMT",
        ] {
            check(bad, None);
        }
    }
}

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
        Second::from_http_date(reply.headers().get(reqwest::header::DATE)?.to_str().ok()?).ok()
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

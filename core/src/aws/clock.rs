//! [`Clock`]: this machine's time, corrected by what AWS says of its own.
//!
//! A machine may boot with a clock that is years off. AWS then refuses the signature, and the `Date`
//! of that refusal tells the right time: it came over TLS from the service itself. The SDK signs its
//! next request with it, each service's client for itself; here the request is sent that once more, and
//! the offset is kept for whoever asks for the time.

use crate::second::Second;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::date_time::{DateTime, Format};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Clocks that differ by no more than this are taken as one: KMS takes five minutes, S3 fifteen.
const TOLERATED: i64 = 4 * 60;

/// A clock that all its clones share.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// What is to be added to this machine's time, in seconds.
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// The time: this machine's, until AWS has said otherwise.
    #[must_use]
    pub fn now(&self) -> Second {
        shifted(Second::now(), self.ahead.load(Ordering::Relaxed))
    }

    /// Calls once more when the service refused because of the time that it was signed with. Neutral:
    /// what is refused for its signature was not carried out.
    pub(super) async fn signed<T, E>(
        &self,
        operation: &str,
        call: impl AsyncFn() -> Result<T, SdkError<E, HttpResponse>>,
    ) -> Result<T, SdkError<E, HttpResponse>> {
        // A future of the SDK is large and deep.
        let end = Box::pin(call()).await;
        let own = Second::now();
        let said = end
            .as_ref()
            .err()
            .and_then(SdkError::raw_response)
            .and_then(|reply| off_by(reply.status().as_u16(), reply.headers().get("date"), own));
        match said {
            None => end,
            Some(ahead) => {
                self.learn(operation, own, ahead);
                Box::pin(call()).await
            }
        }
    }

    /// Logs a correction once, however often it is met.
    fn learn(&self, operation: &str, own: Second, ahead: i64) {
        let before = self.ahead.swap(ahead, Ordering::Relaxed);
        if before.abs_diff(ahead) > TOLERATED.unsigned_abs() {
            log::warn!(
                target: "imprint::clock", ahead_s = ahead;
                "this machine's clock says {own}, {operation} says {}: signing with the latter", shifted(own, ahead)
            );
        }
    }
}

/// By how many seconds the service is ahead of this clock, when it refused and the two are so far apart
/// that this can be why. The code of the refusal is not asked: a wrong time has many of them.
fn off_by(status: u16, date: Option<&str>, own: Second) -> Option<i64> {
    if !matches!(status, 400 | 401 | 403) {
        return None;
    }
    let said = DateTime::from_str(date?, Format::HttpDate).ok()?;
    let ahead = said.secs().checked_sub(own.unix())?;
    (ahead.unsigned_abs() > TOLERATED.unsigned_abs()).then_some(ahead)
}

fn shifted(time: Second, by: i64) -> Second {
    Second::from_unix(time.unix().saturating_add(by))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_refusal_is_one_of_the_clock() {
        let own = "2026-11-22T08:00:00Z".parse().unwrap();
        let check = |status, date: &str, want| assert_eq!(off_by(status, Some(date), own), want, "{date}");
        check(403, "Sun, 22 Nov 2026 08:10:00 GMT", Some(600));
        check(400, "Sun, 22 Nov 2026 07:50:00 GMT", Some(-600));
        check(403, "Mon, 22 Nov 2036 08:00:00 GMT", Some(315_619_200));
        check(401, "Thu, 01 Jan 1970 00:00:00 GMT", Some(-1_795_334_400));
        // Near enough, or another kind of answer.
        check(403, "Sun, 22 Nov 2026 08:04:00 GMT", None);
        check(404, "Sun, 22 Nov 2026 09:00:00 GMT", None);
        check(412, "Sun, 22 Nov 2026 09:00:00 GMT", None);
        check(503, "Sun, 22 Nov 2026 09:00:00 GMT", None);
        for no_date in
            ["", "soon", "2026-11-22T09:00:00Z", "1795334400", "Sun, 22 Nov 99999999999999 08:00:00 GMT"]
        {
            check(403, no_date, None);
        }
        assert_eq!(off_by(403, None, own), None);
    }

    #[test]
    fn a_time_stays_in_range() {
        let clock = Clock::default();
        clock.ahead.store(i64::MAX, Ordering::Relaxed);
        assert_eq!(clock.clone().now(), Second::from_unix(i64::MAX));
        clock.ahead.store(i64::MIN, Ordering::Relaxed);
        assert_eq!(clock.now().unix(), 0);
    }
}

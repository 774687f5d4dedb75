//! [`Clock`]: this machine's time, corrected by what AWS says of its own.
//!
//! A machine may boot with a clock that is years off. AWS then refuses the signature, and the `Date`
//! of that refusal tells the right time: it came over TLS from the service itself. The SDK signs its
//! next request with it, each service's client for itself; here the request is sent that once more, and
//! the time is kept for whoever asks for it. From then on it is counted by a clock that nobody sets: a
//! machine's own is often set in those very minutes, and an offset to it would then be years off itself.

use crate::second::Second;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Clocks that differ by no more than this are taken as one: KMS takes five minutes, S3 fifteen.
const TOLERATED: Duration = Duration::from_secs(4 * 60);

/// A clock that all its clones share.
#[derive(Clone, Debug)]
pub struct Clock {
    /// What this machine's clock said when this one was made.
    made: Told,
    /// What AWS said last, when that was something else.
    told: Arc<Mutex<Option<Told>>>,
}

/// A time, and the moment in which it was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    time: Second,
    at: Instant,
}

impl Told {
    fn just_now(time: Second) -> Self {
        Self { time, at: Instant::now() }
    }

    /// What is the time now, by this.
    fn now(self) -> Second {
        self.time.plus(self.at.elapsed())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self { made: Told::just_now(Second::now()), told: Arc::default() }
    }
}

impl Clock {
    /// The time: this machine's, until AWS has said otherwise.
    #[must_use]
    pub fn now(&self) -> Second {
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.map_or_else(Second::now, Told::now)
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
            .and_then(|reply| refused_at(reply.status().as_u16(), reply.headers().get("date")));
        match said {
            Some(said) if differ(said, own) => self.learn(operation, own, said),
            // The SDK still signs with what it knew of the clock before that was set.
            Some(_) if differ(self.made.now(), own) => {}
            Some(_) | None => return end,
        }
        Box::pin(call()).await
    }

    /// Logs a correction once, however often it is met.
    pub(super) fn learn(&self, operation: &str, own: Second, said: Second) {
        if differ(self.now(), said) {
            log::warn!(
                target: "imprint::clock", ahead_s = said.unix() - own.unix();
                "this machine's clock says {own}, {operation} says {said}: signing with the latter"
            );
        }
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(Told::just_now(said));
    }
}

/// What the service says of the time, when it refused as it refuses a wrong one. The code of the refusal
/// is not asked: a wrong time has many of them.
fn refused_at(status: u16, date: Option<&str>) -> Option<Second> {
    if !matches!(status, 400 | 401 | 403) {
        return None;
    }
    Second::from_http_date(date?).ok()
}

/// So far apart that this can be why.
fn differ(one: Second, other: Second) -> bool {
    one.since(other).max(other.since(one)) > TOLERATED
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::date_time::{DateTime, Format};
    use std::cell::Cell;

    #[test]
    fn when_a_refusal_is_one_of_the_clock() {
        let own: Second = "2026-11-22T08:00:00Z".parse().unwrap();
        let check = |status, date: &str, want: Option<&str>| {
            let said = refused_at(status, Some(date)).filter(|said| differ(*said, own));
            assert_eq!(said.map(|said| said.to_string()).as_deref(), want, "{date}");
        };
        check(403, "Sun, 22 Nov 2026 08:10:00 GMT", Some("2026-11-22T08:10:00Z"));
        check(400, "Sun, 22 Nov 2026 07:50:00 GMT", Some("2026-11-22T07:50:00Z"));
        check(403, "Sat, 22 Nov 2036 08:00:00 GMT", Some("2036-11-22T08:00:00Z"));
        check(401, "Thu, 01 Jan 1970 00:00:00 GMT", Some("1970-01-01T00:00:00Z"));
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
        assert_eq!(refused_at(403, None), None);
    }

    fn block_on<T>(story: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(story)
    }

    /// A clock that was made when this machine's said `made`.
    fn made_at(made: Second) -> Clock {
        Clock { made: Told::just_now(made), ..Clock::default() }
    }

    /// How often a request is sent that is refused with this date.
    fn sent(clock: &Clock, date: Second) -> u32 {
        let sent = Cell::new(0);
        let date = DateTime::from_secs(date.unix()).fmt(Format::HttpDate).unwrap();
        let end = block_on(clock.signed("s3:GetObject", async || {
            sent.set(sent.get() + 1);
            let mut reply = HttpResponse::new(403.try_into().unwrap(), SdkBody::empty());
            reply.headers_mut().insert("date", date.clone());
            Err::<(), _>(SdkError::service_error((), reply))
        }));
        assert!(end.is_err());
        sent.get()
    }

    #[test]
    fn a_clock_that_was_set_meanwhile_is_worth_another_try() {
        let own = Second::now();
        let hour = Duration::from_secs(3600);
        assert_eq!(sent(&made_at(own), own), 1);
        assert_eq!(sent(&made_at(own), own.plus(hour)), 2);
        // It is right by now; what the SDK knew of it is not.
        assert_eq!((sent(&made_at(own.minus(hour)), own), sent(&made_at(own.plus(hour)), own)), (2, 2));
    }

    #[test]
    fn what_aws_said_goes_on_by_itself() {
        let said = "2046-11-22T08:00:00Z".parse().unwrap();
        let clock = made_at(Second::now());
        assert!(!differ(clock.now(), Second::now()));
        clock.learn("kms:Decrypt", Second::now(), said);
        // Whatever this machine's clock is set to in that hour.
        let later = block_on(async {
            let other = Clock { told: Arc::clone(&clock.told), ..Clock::default() };
            other.learn("kms:Decrypt", Second::now(), said);
            tokio::time::advance(Duration::from_secs(3600)).await;
            other.now()
        });
        assert_eq!(later, said.plus(Duration::from_secs(3600)));
        clock.learn("kms:Decrypt", Second::now(), Second::from_unix(i64::MAX));
        assert_eq!(clock.now(), Second::from_unix(i64::MAX));
    }
}

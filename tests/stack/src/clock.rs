//! The time of the stand-ins: the real one, until a test moves it.

use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// A clock that all its clones share.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// How far ahead of the real time it is, in milliseconds.
    ahead: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that shows the real time.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What it shows now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "a server has a clock of its own")]
    pub fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_millis(self.ahead.load(Ordering::SeqCst));
        Timestamp::now().checked_add(ahead).expect("a test that stays within ten thousand years")
    }

    /// Moves it on, or back if negative.
    pub fn advance(&self, by: SignedDuration) {
        let millis = i64::try_from(by.as_millis()).expect("a step of less than a million years");
        self.ahead.fetch_add(millis, Ordering::SeqCst);
    }
}

/// The timestamp as HTTP's `Date` header writes it.
pub(crate) fn http_date(at: Timestamp) -> String {
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

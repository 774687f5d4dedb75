//! [`Caller`]: what servers are told of who asks, so that a person finds one run again wherever it was seen.
//!
//! Every request to Conjur, S3, KMS and STS names the program, its version, its command and the run's id in
//! `User-Agent` (RFC 9110, 10.1.5), which CloudTrail keeps as `userAgent`. Conjur is also given the id as
//! `X-Request-Id`, which its log repeats at every line. Nothing secret is in it, and nobody decides by it:
//! whoever may ask can claim any other.

use crate::second::Second;
use http::HeaderValue;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// The name of one run of a program: 1 to 64 of `[a-z0-9-]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RunId(String);

impl RunId {
    /// A run that begins now, with a part that is drawn at random: two of one second have the same name once in
    /// four thousand million times.
    #[must_use]
    pub fn draw(now: Second) -> Self {
        Self::new(now, fastrand::u32(..))
    }

    /// The run that began then, with this random part.
    #[must_use]
    pub fn new(began: Second, random: u32) -> Self {
        Self(format!("{:x}-{random:08x}", began.unix()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A program in one of its runs. All clones tell the same, also after [`Caller::begin`]: clients are made once
/// and may outlive a run.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Name and version, such as `imprint/0.1.0`.
    program: &'static str,
    tells: Arc<Mutex<Tells>>,
}

/// The two headers.
#[derive(Clone, Debug)]
struct Tells {
    user_agent: HeaderValue,
    request_id: HeaderValue,
}

impl Caller {
    /// A program, given as `name/version`, in a run of this command.
    #[must_use]
    pub fn new(program: &'static str, command: &str, run: &RunId) -> Self {
        Self { program, tells: Arc::new(Mutex::new(Tells::new(program, command, run))) }
    }

    /// From now on it is another run.
    pub fn begin(&self, command: &str, run: &RunId) {
        *self.tells.lock().unwrap_or_else(PoisonError::into_inner) = Tells::new(self.program, command, run);
    }

    /// `imprint-rotator/0.1.0 rotate/6b02d748-79bf6206`
    #[must_use]
    pub fn user_agent(&self) -> HeaderValue {
        self.told().user_agent
    }

    /// The same before what a library tells of itself: the more significant first, as RFC 9110 asks.
    pub(crate) fn user_agent_before(&self, library: Option<&HeaderValue>) -> HeaderValue {
        let own = self.user_agent();
        let Some(library) = library else { return own };
        let both = [own.as_bytes(), b" ", library.as_bytes()].concat();
        HeaderValue::from_bytes(&both).unwrap_or(own)
    }

    /// The run's id.
    pub(crate) fn request_id(&self) -> HeaderValue {
        self.told().request_id
    }

    fn told(&self) -> Tells {
        self.tells.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Tells {
    fn new(program: &str, command: &str, run: &RunId) -> Self {
        // Programs, commands and ids of ours always have what a header may have.
        let header =
            |text: String| HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("imprint"));
        Self { user_agent: header(format!("{program} {command}/{run}")), request_id: header(run.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(random: u32) -> RunId {
        RunId::new("2026-11-22T08:00:00Z".parse().unwrap(), random)
    }

    #[test]
    fn ids_are_fit_for_headers_and_bindings_and_differ() {
        assert_eq!(run(1).as_str(), "6b02a100-00000001");
        let now = Second::from_unix(0);
        assert_ne!(RunId::draw(now), RunId::draw(now));
        for id in [run(u32::MAX), RunId::draw(now), RunId::new(Second::from_unix(i64::MIN), 1)] {
            let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            assert!((1..=64).contains(&id.as_str().len()) && id.as_str().bytes().all(plain), "{id}");
        }
    }

    #[test]
    fn what_is_told() {
        let (first, second) = (run(1), run(2));
        let caller = Caller::new("imprint/0.1.0", "enroll", &first);
        let clone = caller.clone();
        assert_eq!(clone.user_agent(), format!("imprint/0.1.0 enroll/{first}"));
        assert_eq!(clone.request_id(), first.as_str());
        assert_eq!(clone.user_agent_before(None), clone.user_agent());
        let sdk = HeaderValue::from_static("aws-sdk-rust/1.3 os/linux");
        assert_eq!(
            clone.user_agent_before(Some(&sdk)),
            format!("imprint/0.1.0 enroll/{first} aws-sdk-rust/1.3 os/linux")
        );
        caller.begin("verify", &second);
        assert_eq!(clone.user_agent(), format!("imprint/0.1.0 verify/{second}"));
        assert_eq!(clone.request_id(), second.as_str());
        // Whatever a program calls itself, a request goes out.
        assert_eq!(Caller::new("a\nb", "c", &first).user_agent(), "imprint");
    }
}

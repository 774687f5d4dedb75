//! The access keys that exist, whose they are, and what their roles may do.
//!
//! IMDS gives sessions out, S3 and KMS look them up: one registry, shared by cloning.

use super::{Policy, random};
use crate::clock::Clock;
use crate::hold;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// One set of keys.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The access key id: `AKIA...`, or `ASIA...` for a session.
    pub access_key: String,
    /// The secret access key.
    pub secret: String,
    /// The session token; `None` for keys of a user.
    pub session_token: Option<String>,
    /// When the session ends; `None` for keys of a user.
    pub expires: Option<Timestamp>,
}

/// The registry. Clones share it.
#[derive(Clone)]
pub struct Credentials {
    account: String,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    roles: HashMap<String, Policy>,
    keys: HashMap<String, Entry>,
}

struct Entry {
    keys: Keys,
    role: String,
    arn: String,
}

/// Who signed a request.
pub(crate) struct Caller {
    pub(crate) arn: String,
    pub(crate) policy: Policy,
}

/// Why keys are not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Unknown {
    /// The session has ended.
    Expired,
    /// No such access key.
    Key,
    /// The session token is missing, or another's.
    Token,
}

impl Credentials {
    /// An empty registry of this AWS account.
    #[must_use]
    pub fn new(account: &str, clock: Clock) -> Self {
        Self { account: account.to_owned(), clock, state: Arc::default() }
    }

    /// The AWS account id.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The clock by which sessions end.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Says what a role may do, from now on and for sessions already given out.
    pub fn set_policy(&self, role: &str, policy: Policy) {
        hold(&self.state).roles.insert(role.to_owned(), policy);
    }

    /// New keys that never expire, for a user who may do what the role may.
    #[must_use]
    pub fn user(&self, role: &str) -> Keys {
        let arn = format!("arn:aws:iam::{}:user/{role}", self.account);
        self.enter(role, arn, "AKIA", None, None)
    }

    /// A new session of the role that ends after `lasts`; `name` is its session name.
    #[must_use]
    pub fn session(&self, role: &str, name: &str, lasts: SignedDuration) -> Keys {
        let arn = format!("arn:aws:sts::{}:assumed-role/{role}/{name}", self.account);
        let expires = self.clock.now().checked_add(lasts).expect("an end within the calendar");
        // Genuine ones are about this long, and hold characters that a careless reader mangles.
        let token = format!("IQoJb3JpZ2luX2Vj{}+/==", random(ALNUM, 660));
        self.enter(role, arn, "ASIA", Some(token), Some(expires))
    }

    /// Adds keys of the test's own making, for a user who may do what the role may.
    pub fn add(&self, role: &str, keys: Keys) {
        let arn = format!("arn:aws:iam::{}:user/{role}", self.account);
        let entry = Entry { keys, role: role.to_owned(), arn };
        hold(&self.state).keys.insert(entry.keys.access_key.clone(), entry);
    }

    /// Every secret key and session token that was ever given out and is still known: what must not
    /// turn up in any output.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        let state = hold(&self.state);
        let both = |entry: &Entry| [Some(entry.keys.secret.clone()), entry.keys.session_token.clone()];
        state.keys.values().flat_map(both).flatten().collect()
    }

    /// Forgets keys, as after `DeleteAccessKey` or a revoked session.
    pub fn forget(&self, access_key: &str) {
        hold(&self.state).keys.remove(access_key);
    }

    fn enter(
        &self,
        role: &str,
        arn: String,
        prefix: &str,
        token: Option<String>,
        expires: Option<Timestamp>,
    ) -> Keys {
        let keys = Keys {
            access_key: format!("{prefix}{}", random(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16)),
            secret: random(SECRET, 40),
            session_token: token,
            expires,
        };
        let entry = Entry { keys: keys.clone(), role: role.to_owned(), arn };
        hold(&self.state).keys.insert(keys.access_key.clone(), entry);
        keys
    }

    /// The secret of an access key, for whoever checks signatures.
    pub(crate) fn secret(&self, access_key: &str) -> Option<String> {
        Some(hold(&self.state).keys.get(access_key)?.keys.secret.clone())
    }

    /// Who uses these keys, if they are good now.
    pub(crate) fn caller(&self, access_key: &str, session_token: Option<&str>) -> Result<Caller, Unknown> {
        let state = hold(&self.state);
        let entry = state.keys.get(access_key).ok_or(Unknown::Key)?;
        if entry.keys.session_token.as_deref() != session_token {
            return Err(Unknown::Token);
        }
        if entry.keys.expires.is_some_and(|end| end <= self.clock.now()) {
            return Err(Unknown::Expired);
        }
        let policy = state.roles.get(&entry.role).cloned().unwrap_or_default();
        Ok(Caller { arn: entry.arn.clone(), policy })
    }
}

const ALNUM: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const SECRET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_good_with_its_own_token_until_it_ends() {
        let clock = Clock::new();
        let all = Credentials::new("123456789012", clock.clone());
        let one = all.session("web", "i-1", SignedDuration::from_hours(1));
        let two = all.session("web", "i-2", SignedDuration::from_hours(1));
        let ask = |key: &Keys, token: Option<&str>| all.caller(&key.access_key, token).map(|c| c.arn);
        let own = one.session_token.as_deref();
        assert_eq!(ask(&one, own), Ok("arn:aws:sts::123456789012:assumed-role/web/i-1".to_owned()));
        assert_eq!(ask(&one, None), Err(Unknown::Token));
        assert_eq!(ask(&one, two.session_token.as_deref()), Err(Unknown::Token));
        clock.advance(SignedDuration::from_hours(1));
        assert_eq!(ask(&one, own), Err(Unknown::Expired));
        all.forget(&one.access_key);
        assert_eq!(ask(&one, own), Err(Unknown::Key));
    }

    #[test]
    fn keys_of_a_user_last_and_take_no_session_token() {
        let clock = Clock::new();
        let all = Credentials::new("123456789012", clock.clone());
        let user = all.user("rotator");
        clock.advance(SignedDuration::from_hours(24 * 365));
        assert!(all.caller(&user.access_key, None).is_ok());
        assert_eq!(all.caller(&user.access_key, Some("x")).err(), Some(Unknown::Token));
    }
}

//! Judgments on what earlier runs left in the state: the last verify, and the last enrollment that failed.

use super::super::found::{Asked, Machine, Servers};
use super::super::refused::{Known, Reason, ranked};
use super::super::report::Check;
use super::machine::ago;
use super::token::now;
use crate::state::{Found, State};

pub(super) fn checks(machine: &Machine, servers: Option<&Servers>) -> Vec<Check> {
    let state = match &machine.state {
        Asked::Told(Found::Good(state)) => Some(state.as_ref()),
        Asked::Told(Found::Missing | Found::Unreadable(_)) | Asked::Failed(_) | Asked::Skipped(_) => None,
    };
    vec![last_verify(machine, state), last_failure(machine, state, servers)]
}

fn last_verify(machine: &Machine, state: Option<&State>) -> Check {
    const NAME: &str = "last-verify";
    let Some(verify) = state.and_then(|state| state.last_verify.as_ref()) else {
        return Check::skipped(NAME, "none is recorded");
    };
    let detail = format!("{}: {}", ago(machine, verify.at), verify.outcome);
    if verify.outcome == "ok" {
        Check::ok(NAME, detail)
    } else {
        Check::warning(NAME, detail, "run imprint verify, which says more")
    }
}

fn last_failure(machine: &Machine, state: Option<&State>, servers: Option<&Servers>) -> Check {
    const NAME: &str = "last-failure";
    let Some(failure) = state.and_then(|state| state.last_failure.as_ref()) else {
        return Check::ok(NAME, "none is recorded");
    };
    let detail = format!("{}: {} ({})", ago(machine, failure.at), failure.what, failure.class);
    let hint = failure.hint.clone().unwrap_or_else(|| "run imprint enroll".to_owned());
    let Some(refused) = refused_token(&failure.what) else { return Check::warning(NAME, detail, &hint) };
    let published = match servers.map(|servers| &servers.object) {
        Some(Asked::Told((_, Ok(binding)))) => Some(binding),
        Some(Asked::Told((_, Err(_))) | Asked::Failed(_) | Asked::Skipped(_)) | None => None,
    };
    let addresses = servers.map(|servers| servers.addresses.as_slice()).unwrap_or_default();
    let now = servers.map_or(machine.now, |servers| now(machine, servers));
    let reasons = ranked(&Known { refused, published, addresses, now });
    let reasons: Vec<&str> = reasons.iter().map(Reason::as_str).collect();
    let hint = format!("Conjur does not say why; possible, the most likely first: {}", reasons.join("; "));
    Check::warning(NAME, detail, &hint)
}

/// The fingerprint in a recorded refusal; a test holds it against the error's own words.
fn refused_token(what: &str) -> Option<&str> {
    let (_, rest) = what.split_once("Conjur does not take the token ")?;
    rest.split([':', ' ']).next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enroll;
    use imprint_core::error::chain;
    use imprint_core::token::Fingerprint;

    #[test]
    fn a_refusal_is_known_by_its_words() {
        let fingerprint = Fingerprint::of(b"token");
        let source = crate::enroll::tests::scene::status(401).into();
        let error = enroll::Error::TokenRefused { fingerprint: fingerprint.clone(), source };
        assert_eq!(refused_token(&chain(&error)), Some(fingerprint.as_str()));
        assert_eq!(refused_token("something else"), None);
    }
}

//! [`AccessToken`]: what a login gives, and how long it is good.

use crate::second::Second;
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use std::time::Duration;
use zeroize::Zeroizing;

/// A Conjur access token, as its reply gave it: raw JSON, good for about eight minutes.
pub struct AccessToken(Zeroizing<Vec<u8>>);

/// Of a token that does not say when it ends, as older servers' do not.
const USUAL: Duration = Duration::from_secs(480);

/// No server gives a longer life.
const LONGEST: Duration = Duration::from_secs(5 * 3600);

/// The largest payload that is looked at, in characters; a usual one has a hundred.
const LARGEST_PAYLOAD: usize = 8 * 1024;

/// Conjur writes the padding; other senders of the same form leave it out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl AccessToken {
    /// Takes the body of an authenticate reply.
    #[must_use]
    pub const fn new(json: Zeroizing<Vec<u8>>) -> Self {
        Self(json)
    }

    /// The raw JSON, for the `Authorization` header, where it stands in base64.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// How long it is good, counted from its issue: from `iat` to `exp` of its payload, or eight minutes
    /// when that has no `exp`. A span and no time, since both are told by Conjur's clock. `None` when the
    /// payload does not tell: nobody but Conjur has to understand it.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        let Claims { iat, exp } = self.claims()?;
        let issued_at = iat?;
        let Some(expires_at) = exp else { return Some(USUAL) };
        let seconds = u64::try_from(expires_at.saturating_sub(issued_at)).unwrap_or(0);
        Some(Duration::from_secs(seconds).min(LONGEST))
    }

    /// When it was issued, by Conjur's clock: `iat` of its payload. `None` when that does not tell.
    #[must_use]
    pub fn issued_at(&self) -> Option<Second> {
        self.claims()?.iat.filter(|at| *at >= 0).map(Second::from_unix)
    }

    fn claims(&self) -> Option<Claims> {
        let Envelope { payload } = serde_json::from_slice(&self.0).ok()?;
        if payload.len() > LARGEST_PAYLOAD {
            return None;
        }
        serde_json::from_slice(&BASE64.decode(payload).ok()?).ok()
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    // A payload that is spelled with escapes is no server's, and is not looked at.
    #[serde(borrow)]
    payload: &'a str,
}

#[derive(Deserialize)]
struct Claims {
    iat: Option<i64>,
    exp: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{URL_SAFE as PADDED, URL_SAFE_NO_PAD as BARE};

    fn token(json: String) -> AccessToken {
        AccessToken::new(Zeroizing::new(json.into_bytes()))
    }

    #[test]
    fn how_long_it_is_good() {
        let check = |claims: &str, want: Option<u64>| {
            let want = want.map(Duration::from_secs);
            for payload in [PADDED.encode(claims), BARE.encode(claims)] {
                let json = format!(r#"{{"protected":"a","payload":"{payload}","signature":"c"}}"#);
                assert_eq!(token(json).lifetime(), want, "{claims}");
            }
        };
        check(r#"{"iat":1000,"sub":"host/x","exp":1480}"#, Some(480));
        check(r#"{"iat":1000,"sub":"host/x","exp":1060}"#, Some(60));
        check(r#"{"iat":1000,"sub":"host/x"}"#, Some(480));
        check(r#"{"iat":1000,"exp":null}"#, Some(480));
        check(r#"{"iat":1000,"exp":1000}"#, Some(0));
        check(r#"{"iat":1000,"exp":900}"#, Some(0));
        // A life of centuries is nobody's.
        check(r#"{"iat":0,"exp":9223372036854775807}"#, Some(18_000));
        check(r#"{"iat":-9223372036854775808,"exp":9223372036854775807}"#, Some(18_000));
        check(r#"{"iat":9223372036854775807,"exp":-9223372036854775808}"#, Some(0));
        // What does not tell.
        check(r#"{"exp":1480}"#, None);
        check(r#"{"iat":"1000","exp":1480}"#, None);
        check(r#"{"iat":1000,"exp":1e300}"#, None);
        check(r#"{"iat":1000,"exp":99999999999999999999}"#, None);
        check(r#"{"iat":1000,"iat":2000,"exp":1480}"#, None);
        check("[]", None);
        check("", None);
        check("\u{0}", None);
        check(&"[".repeat(4000), None);
    }

    #[test]
    fn when_it_was_issued() {
        let check = |claims: &str, want: Option<i64>| {
            let json = format!(r#"{{"payload":"{}"}}"#, PADDED.encode(claims));
            assert_eq!(token(json).issued_at().map(Second::unix), want, "{claims}");
        };
        check(r#"{"iat":1800000000,"sub":"host/x","exp":1800000480}"#, Some(1_800_000_000));
        check(r#"{"iat":1800000000}"#, Some(1_800_000_000));
        check(r#"{"iat":0}"#, Some(0));
        for bad in [r#"{"exp":1}"#, r#"{"iat":"1"}"#, r#"{"iat":-1}"#, r#"{"iat":1e300}"#, "[]", ""] {
            check(bad, None);
        }
    }

    #[test]
    fn a_token_of_another_form_does_not_tell() {
        let check = |json: &str| assert_eq!(token(json.to_owned()).lifetime(), None, "{json}");
        check("");
        check("{}");
        check(r#"{"payload":7}"#);
        check(r#"{"payload":"?"}"#);
        check(r#"{"payload":"eyJpYXQ"}"#);
        check(r#"{"payload":"\u0065yJpYXQiOjF9"}"#);
        check(&format!(r#"{{"payload":"{}"}}"#, PADDED.encode(format!("{{\"iat\":1}}{}", " ".repeat(8000)))));
    }
}

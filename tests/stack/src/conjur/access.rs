//! What the stand-in issues: API keys and host factory tokens in Conjur's alphabet, and signed access tokens that it verifies.
//! The signature is a keyed hash, not Conjur's RSA: clients carry it without reading it, and only its size and its being
//! checked matter here.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::reply::Reply;

/// The alphabet of Crockford's base 32, in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A fresh API key or host factory token: eight 32-bit words, each without leading zeros, so 49 to 56 characters mostly.
pub(super) fn random_key() -> String {
    let mut key = String::new();
    for _ in 0..8 {
        let mut word = fastrand::u32(..);
        let mut figures = Vec::new();
        while word > 0 || figures.is_empty() {
            let figure = usize::try_from(word % 32).unwrap_or_default();
            figures.push(ALPHABET.get(figure).copied().unwrap_or(b'0'));
            word /= 32;
        }
        key.extend(figures.iter().rev().map(|figure| char::from(*figure)));
    }
    key
}

/// Who a verified access token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    /// `admin` or `host/app/web-01`.
    pub(super) login: String,
    /// Seconds since 1970.
    pub(super) issued_at: i64,
}

/// The key of one account.
#[derive(Clone)]
pub(super) struct Signer {
    key: [u8; 32],
}

impl Signer {
    pub(super) fn new() -> Self {
        Self { key: std::array::from_fn(|_| fastrand::u8(..)) }
    }

    /// The JSON of an access token that lives `ttl` seconds from `now`.
    pub(super) fn issue(&self, login: &str, now: i64, ttl: i64) -> String {
        let header = json!({"alg": "conjur.org/slosilo/v2", "kid": self.fingerprint()}).to_string();
        let claims = json!({"iat": now, "sub": login, "exp": now.saturating_add(ttl)}).to_string();
        let (protected, payload) = (URL_SAFE.encode(header), URL_SAFE.encode(claims));
        let signature = self.sign(&protected, &payload);
        json!({"protected": protected, "payload": payload, "signature": signature}).to_string()
    }

    /// Reads the text between the quotes of `Token token="..."`.
    pub(super) fn verify(&self, quoted: &str, now: i64) -> Result<Bearer, Reply> {
        let malformed = || Reply::filter("Malformed authorization token");
        let invalid = || Reply::filter("Unauthorized: Invalid token");
        let packed: String = quoted.chars().filter(|c| !c.is_whitespace()).collect();
        let text = STANDARD.decode(packed).map_err(|_| malformed())?;
        let token: Value = serde_json::from_slice(&text).map_err(|_| malformed())?;
        let part = |name: &str| token.get(name).and_then(Value::as_str);
        let (Some(protected), Some(payload), Some(signature)) =
            (part("protected"), part("payload"), part("signature"))
        else {
            return Err(malformed());
        };
        if self.sign(protected, payload) != signature {
            return Err(invalid());
        }
        let claims: Value = URL_SAFE
            .decode(payload)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .ok_or_else(invalid)?;
        let number = |name: &str| claims.get(name).and_then(Value::as_i64);
        match (claims.get("sub").and_then(Value::as_str), number("iat"), number("exp")) {
            (Some(login), Some(issued_at), Some(expires)) if now < expires => {
                Ok(Bearer { login: login.to_owned(), issued_at })
            }
            _ => Err(invalid()),
        }
    }

    fn fingerprint(&self) -> String {
        Sha256::digest(self.key).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// 288 bytes, as long as the signatures of a genuine server.
    fn sign(&self, protected: &str, payload: &str) -> String {
        let mut signature = Vec::new();
        for block in 0..9_u8 {
            let mut hash = Sha256::new();
            hash.update(self.key);
            hash.update([block]);
            hash.update(protected);
            hash.update(".");
            hash.update(payload);
            hash.update(self.key);
            signature.extend_from_slice(&hash.finalize());
        }
        URL_SAFE.encode(signature)
    }
}

/// The text between the quotes of an `Authorization` header of the form `Token token="..."`: scheme and quotes exactly so, and
/// everything up to the last quote, as the server's own pattern reads it.
pub(super) fn quoted_token(header: &str) -> Option<&str> {
    let rest = header.strip_prefix("Token token=\"")?;
    rest.rfind('"').map(|end| &rest[..end])
}

/// Login and password of an `Authorization: Basic` header.
pub(super) fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, packed) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(packed.trim()).ok()?).ok()?;
    text.split_once(':').map(|(login, password)| (login.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_length_and_alphabet_of_genuine_ones() {
        for _ in 0..2000 {
            let key = random_key();
            assert!((40..=56).contains(&key.len()), "{}", key.len());
            assert!(key.bytes().all(|byte| ALPHABET.contains(&byte)));
        }
    }

    #[test]
    fn a_token_is_verified_until_it_expires() {
        let signer = Signer::new();
        let token = signer.issue("host/app/web-01", 1000, 480);
        let packed = STANDARD.encode(&token);
        let bearer = Bearer { login: "host/app/web-01".into(), issued_at: 1000 };
        assert_eq!(signer.verify(&packed, 1479), Ok(bearer.clone()));
        assert_eq!(signer.verify(&format!(" {} {}", &packed[..9], &packed[9..]), 1479), Ok(bearer));
        assert_eq!(signer.verify(&packed, 1480), Err(Reply::filter("Unauthorized: Invalid token")));
        assert_eq!(Signer::new().verify(&packed, 1000), Err(Reply::filter("Unauthorized: Invalid token")));
        assert_eq!(signer.verify("abc", 1000), Err(Reply::filter("Malformed authorization token")));
        assert_eq!(signer.verify(&token, 1000), Err(Reply::filter("Malformed authorization token")));
    }

    #[test]
    fn headers_are_read_to_the_letter() {
        assert_eq!(quoted_token("Token token=\"abc\""), Some("abc"));
        assert_eq!(quoted_token("Token token=\"abc\", nonce=\"x\""), Some("abc\", nonce=\"x"));
        assert_eq!(quoted_token("Token token=abc"), None);
        assert_eq!(quoted_token("token token=\"abc\""), None);
        assert_eq!(basic("Basic YTpiOmM="), Some(("a".into(), "b:c".into())));
        assert_eq!(basic("Bearer abc"), None);
    }
}

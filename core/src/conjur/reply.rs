//! What an answer of Conjur means. Bytes in, typed values out: pure, capped before it comes here,
//! and fuzzed. No error holds a part of the body.

use super::{Error, Factory, Mint, Minted, Redeemed};
use crate::name::{Account, FactoryId, full_id};
use crate::second::Second;
use crate::token::{AccessToken, ApiKey, Token};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::net::IpAddr;
use std::time::Duration;
use zeroize::Zeroizing;

/// A page of factories.
pub struct Page {
    /// How many rows it has, named here or not.
    pub rows: usize,
    /// The full id of its first row.
    pub first: Option<String>,
    /// Those that were wanted and can be read.
    pub factories: Vec<Factory>,
}

/// A whole answer, its body already capped.
pub struct Reply {
    /// The call that it answers.
    pub operation: &'static str,
    /// Host and port.
    pub server: String,
    /// The HTTP status.
    pub status: u16,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The body.
    pub text: Zeroizing<Vec<u8>>,
}

impl Reply {
    /// The HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The answer, if it has this status.
    ///
    /// # Errors
    /// [`Error::Status`] when it has another.
    pub fn expect(self, status: u16) -> Result<Self, Error> {
        if self.status == status {
            return Ok(self);
        }
        let Self { operation, server, status, retry_after, .. } = self;
        Err(Error::Status { operation, server, status, retry_after })
    }

    /// The body as JSON of this shape.
    ///
    /// # Errors
    /// When it is not.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        // What serde only passes over it does not look at, not even for that.
        let text = std::str::from_utf8(&self.text).map_err(|_| self.unexpected("is not text"))?;
        // Its own words may quote the body.
        serde_json::from_str(text).map_err(|e| {
            self.unexpected(format!(
                "is not the JSON it should be (line {}, column {})",
                e.line(),
                e.column()
            ))
        })
    }

    /// Of authenticate: the access token, kept as it came.
    ///
    /// # Errors
    /// When it is not.
    pub fn access_token(self) -> Result<AccessToken, Error> {
        let _: Signed = self.json()?;
        Ok(AccessToken::new(self.text))
    }

    /// Of a key rotation: the new key, the whole body.
    ///
    /// # Errors
    /// When it is not.
    pub fn api_key(&self) -> Result<ApiKey, Error> {
        let text = std::str::from_utf8(&self.text).map_err(|_| self.unexpected("is not text"))?;
        ApiKey::new(Zeroizing::new(text.to_owned())).map_err(|e| self.unexpected(e))
    }

    /// Of a mint: tokens that are what was asked for.
    ///
    /// # Errors
    /// When it is not.
    pub fn minted(&self, ask: &Mint<'_>) -> Result<Vec<Minted>, Error> {
        let tokens: Vec<TokenRow> = self.json()?;
        let tokens = tokens.into_iter().map(|row| self.token(row)).collect::<Result<Vec<_>, _>>()?;
        if tokens.is_empty() || tokens.len() != usize::try_from(ask.count).unwrap_or(usize::MAX) {
            return Err(self.unexpected(format!(
                "has {} tokens; {} were asked for",
                tokens.len(),
                ask.count
            )));
        }
        for token in &tokens {
            if token.expires_at != ask.expires_at {
                let (got, asked) = (token.expires_at, ask.expires_at);
                return Err(self.unexpected(format!("has a token that ends {got}; asked was {asked}")));
            }
            if token.expires_at <= ask.now {
                return Err(self.unexpected(format!("has a token that ended {}", token.expires_at)));
            }
            if token.cidr != ask.cidr {
                return Err(self.unexpected("has a token with other networks than were asked for"));
            }
        }
        Ok(tokens)
    }

    /// Of a page of at most so many rows: the account's factories that are wanted. One whose tokens
    /// cannot be read is left out.
    ///
    /// # Errors
    /// When it is no such page.
    pub fn factories(
        &self,
        account: &Account,
        most: usize,
        wanted: impl Fn(&FactoryId) -> bool,
    ) -> Result<Page, Error> {
        let listed: Vec<FactoryRow> = self.json()?;
        let rows = listed.len();
        if rows > most {
            return Err(self.unexpected(format!("has {rows} factories; at most {most} were asked for")));
        }
        let first = listed.first().map(|row| row.id.clone());
        let own = full_id(account, "host_factory", "");
        let mut factories = Vec::new();
        for row in listed {
            // A factory with an id that ours cannot have is nobody that we serve.
            let Some(Ok(id)) = row.id.strip_prefix(&own).map(str::parse) else { continue };
            if wanted(&id)
                && let Ok(tokens) = row.tokens.into_iter().map(|row| self.token(row)).collect()
            {
                factories.push(Factory { id, tokens });
            }
        }
        Ok(Page { rows, first, factories })
    }

    /// Of one factory: that one.
    ///
    /// # Errors
    /// When it is not.
    pub fn factory(&self, account: &Account, id: &FactoryId) -> Result<Factory, Error> {
        let row: FactoryRow = self.json()?;
        if row.id != full_id(account, "host_factory", id.as_str()) {
            return Err(self.unexpected(format!("is not about host factory {id}")));
        }
        let tokens = row.tokens.into_iter().map(|row| self.token(row)).collect::<Result<_, _>>()?;
        Ok(Factory { id: id.clone(), tokens })
    }

    /// Of a redeem: the host and its key.
    ///
    /// # Errors
    /// When it is not.
    pub fn redeemed(&self) -> Result<Redeemed, Error> {
        let host: HostRow = self.json()?;
        Ok(Redeemed {
            api_key: ApiKey::new(host.api_key).map_err(|e| self.unexpected(e))?,
            created_at: host.created_at.as_deref().and_then(|text| Second::from_rfc3339(text).ok()),
            id: host.id,
            owner: host.owner,
        })
    }

    fn token(&self, row: TokenRow) -> Result<Minted, Error> {
        let expires_at = Second::from_rfc3339(&row.expiration)
            .map_err(|_| self.unexpected("has a token whose expiration is no time"))?;
        let cidr = row.cidr.iter().map(|text| network(text)).collect::<Option<_>>();
        Ok(Minted {
            token: Token::new(row.token).map_err(|e| self.unexpected(e))?,
            expires_at,
            cidr: cidr.ok_or_else(|| self.unexpected("has a token with a network that is none"))?,
        })
    }

    fn unexpected(&self, why: impl std::fmt::Display) -> Error {
        Error::Unexpected { operation: self.operation, server: self.server.clone(), why: why.to_string() }
    }
}

/// Conjur writes a single address with its `/32`; a bare one is taken all the same.
fn network(text: &str) -> Option<IpNet> {
    text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok()
}

/// A secret's text, owned by something that wipes it.
fn wiped<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// An access token's members: looked at only to tell it from a portal's page.
#[derive(Deserialize)]
struct Signed {
    #[serde(rename = "protected")]
    _protected: serde::de::IgnoredAny,
    #[serde(rename = "payload")]
    _payload: serde::de::IgnoredAny,
    #[serde(rename = "signature")]
    _signature: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
struct TokenRow {
    #[serde(deserialize_with = "wiped")]
    token: Zeroizing<String>,
    expiration: String,
    #[serde(default)]
    cidr: Vec<String>,
}

#[derive(Deserialize)]
struct FactoryRow {
    id: String,
    #[serde(default)]
    tokens: Vec<TokenRow>,
}

#[derive(Deserialize)]
struct HostRow {
    id: String,
    owner: String,
    #[serde(deserialize_with = "wiped")]
    api_key: Zeroizing<String>,
    created_at: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";

    fn reply(status: u16, body: &str) -> Reply {
        let text = Zeroizing::new(body.as_bytes().to_vec());
        Reply { operation: "test", server: "conjur.example.org".to_owned(), status, retry_after: None, text }
    }

    /// The error of a reading, whose text must say `say` and nothing of the body.
    fn refused<T>(read: Result<T, Error>, say: &str) {
        let error = read.err().expect("it was taken");
        let text = crate::error::chain(&error);
        assert!(text.contains(say), "{text:?} should say {say:?}");
        assert!(!text.contains("SECRET") && !text.contains(&TOKEN[..20]), "{text:?} tells of the body");
    }

    #[test]
    fn redeem_replies() {
        let good = format!(
            r#"{{"created_at":"2026-11-22T05:01:24.116+00:00","id":"dev:host:x","owner":"dev:host_factory:web","permissions":[],"annotations":[],"restricted_to":[],"api_key":"{TOKEN}"}}"#
        );
        let redeemed = reply(201, &good).redeemed().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((redeemed.id.as_str(), redeemed.owner.as_str()), ("dev:host:x", "dev:host_factory:web"));
        assert_eq!(redeemed.created_at.map(|at| at.to_string()).as_deref(), Some("2026-11-22T05:01:24Z"));

        let check = |from: &str, to: &str, say| refused(reply(201, &good.replace(from, to)).redeemed(), say);
        check(&good, "", "line 1");
        check(&good, "<html>SECRET</html>", "not the JSON");
        check(&good, "[]", "not the JSON");
        check("api_key", "SECRET", "not the JSON");
        check(&format!("\"{TOKEN}\""), "null", "not the JSON");
        check(&format!("\"{TOKEN}\""), "[1]", "not the JSON");
        check(TOKEN, &format!("{TOKEN}\\n"), "API key has a character at byte 50");
        check(TOKEN, "SECRET x", "API key has 8 bytes");
        check(TOKEN, &format!("{TOKEN}\\\""), "API key has a character");
        check(TOKEN, &"a".repeat(60_000), "API key has 60000 bytes");
        check("\"dev:host:x\"", "7", "not the JSON");
    }

    #[test]
    fn mint_replies() {
        let factory = "web".parse().unwrap();
        let cidr = ["10.0.0.0/8".parse().unwrap()];
        let ask = Mint {
            factory: &factory,
            expires_at: "2026-11-22T10:00:00Z".parse().unwrap(),
            cidr: &cidr,
            count: 1,
            now: "2026-11-22T08:00:00Z".parse().unwrap(),
        };
        let row =
            |at: &str, cidr: &str| format!(r#"{{"expiration":"{at}","cidr":[{cidr}],"token":"{TOKEN}"}}"#);
        let good = row("2026-11-22T10:00:00Z", r#""10.0.0.0/8""#);
        assert_eq!(
            reply(200, &format!("[{good}]")).minted(&ask).map_err(|e| e.to_string()).map(|t| t.len()),
            Ok(1)
        );

        let check = |body: String, say| refused(reply(200, &body).minted(&ask), say);
        // 1.22.3 answers these to count=0 and to an expiration in the past.
        check("[]".to_owned(), "has 0 tokens; 1 were asked for");
        check(format!("[{good},{good}]"), "has 2 tokens");
        check(format!("[{}]", row("2026-11-22T07:00:00Z", r#""10.0.0.0/8""#)), "ends 2026-11-22T07:00:00Z");
        check(format!("[{}]", row("2026-11-22T10:00:00Z", "")), "other networks");
        check(format!("[{}]", row("soon", "")), "expiration is no time");
        check(format!("[{}]", row("2026-11-22T10:00:00Z", r#""SECRET""#)), "network that is none");
        check("{}".to_owned(), "not the JSON");
        let dead = Mint { expires_at: ask.now, ..ask };
        refused(
            reply(200, &format!("[{}]", row("2026-11-22T08:00:00Z", r#""10.0.0.0/8""#))).minted(&dead),
            "ended",
        );
    }

    #[test]
    fn lists_of_factories() {
        let account = "dev".parse().unwrap();
        let row = |id: &str| {
            format!(
                r#"{{"id":"{id}","tokens":[{{"expiration":"2026-11-22T10:00:00Z","cidr":["127.0.0.1/32"],"token":"{TOKEN}"}}]}}"#
            )
        };
        let body = format!(
            "[{},{},{}]",
            row("dev:host_factory:app/web"),
            row("other:host_factory:x"),
            row("dev:host_factory:a b")
        );
        let read = |body: &str, most, wanted: &str| {
            reply(200, body).factories(&account, most, |id| wanted.is_empty() || id.as_str() == wanted)
        };
        let check = |body: &str, wanted: &str, rows, seen: &[(&str, usize)]| {
            let page = read(body, 3, wanted).unwrap_or_else(|e| panic!("{e}"));
            let found: Vec<_> = page.factories.iter().map(|f| (f.id.as_str(), f.tokens.len())).collect();
            assert_eq!((page.rows, found.as_slice()), (rows, seen));
        };
        check(&body, "", 3, &[("app/web", 1)]);
        check(&body, "app/db", 3, &[]);
        check("[]", "", 0, &[]);
        // One that cannot be read does not stand in the way of the others.
        let (web, db) = (row("dev:host_factory:web"), row("dev:host_factory:db"));
        for broken in [db.replace(TOKEN, "SECRET x"), db.replace("10:00", "soon"), db.replace("/32", "/33")] {
            check(&format!("[{web},{broken}]"), "", 2, &[("web", 1)]);
            let db = "db".parse().unwrap();
            assert!(reply(200, &broken).factory(&account, &db).is_err());
        }
        refused(read(&format!("[{web},{web},{web},{web}]"), 3, ""), "has 4 factories; at most 3 were");
        refused(read("<html>", 3, ""), "not the JSON");
        refused(read("{}", 3, ""), "not the JSON");
        refused(read(r#"[{"id":7}]"#, 3, ""), "not the JSON");
    }

    #[test]
    fn one_factory() {
        let (account, id) = ("dev".parse().unwrap(), "app/web".parse().unwrap());
        let body = format!(
            r#"{{"id":"dev:host_factory:app/web","tokens":[{{"expiration":"2026-11-22T10:00:00Z","token":"{TOKEN}"}}]}}"#
        );
        let read = |body: &str| reply(200, body).factory(&account, &id);
        assert_eq!(read(&body).map_err(|e| e.to_string()).map(|f| f.tokens.len()), Ok(1));
        refused(read(&body.replace("app/web", "app/db")), "is not about host factory app/web");
        refused(read(&body.replace(TOKEN, "SECRET x")), "token has");
        refused(read("[]"), "not the JSON");
        refused(read("null"), "not the JSON");
    }

    #[test]
    fn keys_and_access_tokens() {
        assert!(reply(200, TOKEN).api_key().is_ok());
        refused(reply(200, &format!("{TOKEN}\n")).api_key(), "character at byte 50");
        refused(reply(200, "<html>SECRET").api_key(), "API key has 12 bytes");
        assert!(reply(200, r#"{"protected":"a","payload":"b","signature":"c"}"#).access_token().is_ok());
        refused(reply(200, r#"{"protected":"SECRET"}"#).access_token(), "not the JSON");
        let mut strange = reply(200, r#"{"protected":"?","payload":"b","signature":"c"}"#);
        strange.text[14] = 0xff;
        refused(strange.access_token(), "is not text");
    }

    #[test]
    fn another_status_is_an_error_of_its_class() {
        use crate::error::{Class, Classified};
        let check = |status, class, unknown| {
            let error = reply(status, "SECRET").expect(201).err().expect("refused");
            assert_eq!((error.class(), error.is_unknown_outcome()), (class, unknown), "{status}");
            assert!(!crate::error::chain(&error).contains("SECRET"));
        };
        check(200, Class::Protocol, false);
        check(302, Class::Protocol, false);
        check(400, Class::Protocol, false);
        check(401, Class::Refused, false);
        check(403, Class::Refused, false);
        check(422, Class::Refused, false);
        check(429, Class::Transient, false);
        check(500, Class::Transient, true);
        check(503, Class::Transient, true);
    }
}

//! A reply of Conjur, or of what pretends to be it: read as each kind, and never quoted in an error.

#![no_main]

use imprint_core::conjur::reply::Reply;
use imprint_core::conjur::{Error, Mint};
use imprint_core::second::Second;
use libfuzzer_sys::fuzz_target;
use zeroize::Zeroizing;

fuzz_target!(|data: &[u8]| {
    let reply = || Reply {
        operation: "fuzz",
        server: "conjur.example.org:443".to_owned(),
        status: 200,
        retry_after: None,
        text: Zeroizing::new(data.to_vec()),
    };
    let factory = "bootstrap/web".parse().expect("a factory id");
    let (now, expires_at) = (Second::from_unix(1_790_000_000), Second::from_unix(1_790_003_600));
    for cidr in [vec![], vec!["192.0.2.0/24".parse().expect("a network")]] {
        let ask = Mint { factory: &factory, expires_at, cidr: &cidr, count: 1, now };
        if let Some(minted) = taken(reply().minted(&ask)) {
            assert_eq!(minted.len(), 1);
            assert_eq!((minted[0].expires_at, &minted[0].cidr), (expires_at, &cidr));
        }
    }
    let account = "myorg".parse().expect("an account");
    if let Some(page) = taken(reply().factories(&account, 100, |_| true)) {
        assert!(page.factories.len() <= page.rows && page.rows <= 100);
    }
    if let Some(one) = taken(reply().factory(&account, &factory)) {
        assert_eq!(one.id, factory);
    }
    if let Some((rows, hosts)) = taken(reply().members("myorg")) {
        assert!(hosts.len() <= rows);
    }
    taken(reply().created("myorg"));
    taken(reply().redeemed());
    taken(reply().api_key());
    taken(reply().health());
    if let Some(token) = taken(reply().access_token()) {
        assert_eq!(token.expose(), data);
        // Of a payload that anybody may have written; no server gives more than five hours.
        assert!(token.lifetime().is_none_or(|life| life.as_secs() <= 18_000));
    }
});

/// The beginning of every secret in the seeds. It is no part of any error's words.
const SECRET: &str = "0123456789abcdefgh";

/// A refusal is one short line, and no secret of the refused body is in it.
fn taken<T>(read: Result<T, Error>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            let words = error.to_string();
            assert!(!words.contains(SECRET), "{words}");
            assert!(words.len() < 1000 && !words.contains(char::is_control), "{words:?}");
            None
        }
    }
}

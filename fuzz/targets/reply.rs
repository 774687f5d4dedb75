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
        if let Some(minted) = taken(data, reply().minted(&ask)) {
            assert_eq!(minted.len(), 1);
            assert_eq!((minted[0].expires_at, &minted[0].cidr), (expires_at, &cidr));
        }
    }
    taken(data, reply().factories(&"myorg".parse().expect("an account")));
    taken(data, reply().redeemed());
    taken(data, reply().api_key());
    if let Some(token) = taken(data, reply().access_token()) {
        assert_eq!(token.expose(), data);
    }
});

/// A refused body must not be found again in the words of the refusal.
fn taken<T>(data: &[u8], read: Result<T, Error>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            let words = error.to_string();
            let body = String::from_utf8_lossy(data);
            let body = body.trim();
            assert!(body.len() < 16 || !words.contains(body), "{words}");
            assert!(words.len() < 1000, "{words}");
            None
        }
    }
}

//! A small reader of the identity files and of secrets that shares no line with the agent: what it
//! finds there, other clients find too.

use imprint_core::caller::{Caller, RunId};
use imprint_core::conjur::Conjur;
use imprint_core::door::{CaBundle, Door, Trust};
use imprint_core::error::chain;
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, ApiKey};
use std::path::Path;
use zeroize::Zeroizing;

/// Login and password of a netrc with one machine.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn netrc(text: &str) -> (String, String) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let after =
        |name| words.iter().position(|w| *w == name).and_then(|at| words.get(at + 1)).expect("a netrc");
    (after("login").to_string(), after("password").to_string())
}

/// Logs in with these and reads a variable: `Ok` with its value, or what was said instead.
///
/// # Errors
/// With the words of what failed.
pub fn secret(
    url: &str,
    account: &str,
    ca_file: &Path,
    login: &str,
    key: &str,
    variable: &str,
) -> Result<String, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let pem = std::fs::read_to_string(ca_file).map_err(|e| e.to_string())?;
        let bundle = CaBundle::from_pem(&pem).map_err(|e| e.to_string())?;
        let door = Door::new(&Trust::Only(bundle)).map_err(|e| e.to_string())?;
        let place = url.parse().map_err(|e: imprint_core::name::Error| e.to_string())?;
        let name = account.parse().map_err(|e: imprint_core::name::Error| e.to_string())?;
        let caller = Caller::new("imprint-e2e/0.1.0", "client", &RunId::draw(Second::now()));
        let conjur = Conjur::new(door.clone(), place, name, caller);
        let key = ApiKey::new(Zeroizing::new(key.to_owned())).map_err(|e| e.to_string())?;
        let session = conjur.authenticate(login, &key).await.map_err(|e| chain(&e))?;
        let at = format!("{url}/secrets/{account}/variable/{}", variable.replace('/', "%2F"));
        let reply = door.client().get(at).header("Authorization", authorization(&session)).send().await;
        let reply = reply.map_err(|e| chain(&e))?;
        if reply.status() != 200 {
            return Err(format!("{variable}: {}", reply.status()));
        }
        reply.text().await.map_err(|e| chain(&e))
    })
}

fn authorization(session: &AccessToken) -> String {
    use base64::Engine as _;
    format!("Token token=\"{}\"", base64::engine::general_purpose::STANDARD.encode(session.expose()))
}

//! One plain request, for what a test asks of a server in its own name: the emulator's control path,
//! a policy load, a secret read back.

use imprint_core::door::{CaBundle, Door, Trust};
use imprint_core::error::chain;
use std::path::Path;

/// Certificates to trust: those of a PEM file alone, or the public roots.
///
/// # Errors
/// With the words of what failed.
pub fn trust(ca_file: Option<&Path>) -> Result<Trust, String> {
    let Some(path) = ca_file else { return Ok(Trust::Public) };
    let pem = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    CaBundle::from_pem(&pem).map(Trust::Only).map_err(|e| chain(&e))
}

/// Sends it; the status and the body as text.
///
/// # Errors
/// With the words of what failed, when there was no reply.
pub fn send(
    trust: &Trust,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(u16, String), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let door = Door::new(trust).map_err(|e| chain(&e))?;
        let method = method.parse::<reqwest::Method>().map_err(|e| e.to_string())?;
        let mut request = door.client().request(method, url).body(body.to_owned());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = request.send().await.map_err(|e| chain(&e))?;
        let status = reply.status().as_u16();
        Ok((status, reply.text().await.map_err(|e| chain(&e))?))
    })
}

/// One part of a path: everything but letters, digits and `-._~` as `%XX`.
#[must_use]
pub fn part(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

//! `imprint doctor`: looks at everything that an enrollment needs and says what it finds. It never
//! redeems, never writes and never tells a secret.
//!
//! Three steps: `look` and `ask` find facts, the machine's own and the servers'; `judge` makes
//! checks of them, in pure functions; [`report`] tells them.

mod ask;
mod found;
mod judge;
mod look;
mod proxy;
pub mod refused;
pub use imprint_core::checks as report;

use crate::config::{self, Config, Outside};
use imprint_core::caller::RunId;
use imprint_core::second::Second;
use report::{Check, Report};
use std::path::Path;

/// Examines the machine whose configuration lies at `path`; `offline`: without asking any server, who see this attempt.
pub async fn examine(
    path: &Path,
    config: &Result<Config, config::Error>,
    outside: &impl Outside,
    attempt: &RunId,
    offline: bool,
) -> Report {
    let at = Second::now();
    let config = match config {
        Ok(config) => config,
        Err(error) => {
            let mut checks = vec![Check::of("config", error)];
            checks.extend(judge::without_config());
            return Report { at, checks };
        }
    };
    let machine = look::machine(config, path, at, outside);
    let servers = match offline {
        true => Err("--offline was given"),
        false => {
            let asked = ask::servers(config, &machine, outside, attempt).await;
            asked.map_err(|_| "no HTTP client can be made")
        }
    };
    let mut checks = vec![Check::ok("config", path.display().to_string())];
    checks.extend(judge::all(config, &machine, servers.as_ref().map_err(|because| *because)));
    Report { at, checks }
}

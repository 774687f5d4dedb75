//! What an Enterprise server says of itself: its role and how far its replication has come. The
//! open-source server has no such page.

use super::Error;
use super::reply::Reply;
use serde::Deserialize;

/// `GET /health` of a Conjur Enterprise server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// Its own verdict, over services and database.
    pub ok: bool,
    /// What it is in the cluster.
    pub role: Role,
    /// How far it has come in the leader's log, in bytes: what a leader has written, or a follower has
    /// replayed.
    pub position: Option<u64>,
    /// Of a leader: how many bytes the last of its followers is behind.
    pub lag_bytes: Option<u64>,
}

/// What a server is in its cluster.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// It replays another's log.
    Follower,
    /// It takes writes.
    Leader,
    /// It does not tell.
    Unknown,
}

impl Health {
    /// How many bytes this follower is behind the leader, if both tell.
    #[must_use]
    pub fn behind(&self, leader: &Self) -> Option<u64> {
        Some(leader.position?.saturating_sub(self.position?))
    }
}

impl Reply {
    /// Of health: what the server says of itself; `None` for the open-source server's refusal of a path
    /// that it does not have.
    ///
    /// # Errors
    /// When it is neither.
    pub fn health(self) -> Result<Option<Health>, Error> {
        match self.status {
            401 | 404 => Ok(None),
            200 => self.json().map(|page| Some(health(page))),
            // An unhealthy server says so with 502. So does a gateway that finds nobody, in other words.
            502 => match self.json() {
                Ok(page) => Ok(Some(Health { ok: false, ..health(page) })),
                Err(_) => self.expect(200).map(|_| None),
            },
            _ => self.expect(200).map(|_| None),
        }
    }
}

/// Only `ok` is on every page; the rest has had two names over time and is left out by some releases.
#[derive(Deserialize)]
struct Page {
    ok: bool,
    #[serde(default)]
    database: Option<Database>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Database {
    replication_status: Option<Replication>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Replication {
    pg_stat_replication: Option<Vec<Standby>>,
    pg_current_xlog_location_bytes: Option<u64>,
    pg_current_wal_lsn_bytes: Option<u64>,
    pg_last_xlog_replay_location_bytes: Option<u64>,
    pg_last_wal_replay_lsn_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct Standby {
    #[serde(default)]
    replication_lag_bytes: Option<u64>,
}

fn health(page: Page) -> Health {
    let told = page.database.and_then(|database| database.replication_status).unwrap_or_default();
    let written = told.pg_current_xlog_location_bytes.or(told.pg_current_wal_lsn_bytes);
    let replayed = told.pg_last_xlog_replay_location_bytes.or(told.pg_last_wal_replay_lsn_bytes);
    // A leader may name what it replayed before it was promoted; a follower never names what it writes.
    let role = match (written, replayed) {
        (Some(_), _) => Role::Leader,
        (None, Some(_)) => Role::Follower,
        (None, None) => Role::Unknown,
    };
    let lags = told.pg_stat_replication.unwrap_or_default();
    let lag_bytes = lags.iter().filter_map(|standby| standby.replication_lag_bytes).max();
    Health { ok: page.ok, role, position: written.or(replayed), lag_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Class, Classified};
    use zeroize::Zeroizing;

    const LEADER: &str = r#"{"services":{"possum":"ok","ok":true},"database":{"ok":true,"replication_status":{"pg_stat_replication":[{"state":"streaming","replication_lag_bytes":0},{"replication_lag_bytes":40},{"replication_lag_bytes":null}],"pg_current_xlog_location":"0/3000060","pg_current_xlog_location_bytes":50331744,"pg_last_xlog_replay_location_bytes":1}},"ok":true}"#;
    const FOLLOWER: &str =
        r#"{"database":{"replication_status":{"pg_last_xlog_replay_location_bytes":50331000}},"ok":true}"#;

    fn reply(status: u16, body: &str) -> Reply {
        let text = Zeroizing::new(body.as_bytes().to_vec());
        Reply {
            operation: "health",
            server: "conjur.example.org".to_owned(),
            status,
            retry_after: None,
            text,
        }
    }

    fn told(status: u16, body: &str) -> Option<Health> {
        reply(status, body).health().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_leader_a_follower_and_one_that_does_not_tell() {
        let leader = told(200, LEADER).unwrap();
        let is = |health: &Health| (health.ok, health.role, health.position, health.lag_bytes);
        assert_eq!(is(&leader), (true, Role::Leader, Some(50_331_744), Some(40)));
        let follower = told(200, FOLLOWER).unwrap();
        assert_eq!(is(&follower), (true, Role::Follower, Some(50_331_000), None));
        assert_eq!((follower.behind(&leader), leader.behind(&follower)), (Some(744), Some(0)));
        let newer = LEADER.replace("xlog_location", "wal_lsn");
        assert_eq!(told(200, &newer).map(|health| is(&health)), Some(is(&leader)));
        let quiet = told(502, r#"{"ok":true,"database":null}"#).unwrap();
        assert_eq!(is(&quiet), (false, Role::Unknown, None, None));
        assert_eq!(quiet.behind(&leader), None);
    }

    #[test]
    fn the_open_source_server_has_none() {
        assert_eq!(told(401, "Authorization missing"), None);
        assert_eq!(told(404, "<html>"), None);
    }

    #[test]
    fn pages_that_are_none() {
        let check = |status, body: &str, class| {
            let error = reply(status, body).health().expect_err(body);
            assert_eq!(error.class(), class, "{status} {body}");
            assert!(!crate::error::chain(&error).contains("SECRET"), "{error}");
        };
        check(200, "<html>SECRET</html>", Class::Protocol);
        check(200, "{}", Class::Protocol);
        check(200, r#"{"ok":"SECRET"}"#, Class::Protocol);
        check(200, &LEADER.replace("50331744", "-1"), Class::Protocol);
        check(200, &LEADER.replace("50331744", "1e400"), Class::Protocol);
        check(200, &"[".repeat(60_000), Class::Protocol);
        check(502, "<html>SECRET</html>", Class::Transient);
        check(503, LEADER, Class::Transient);
        check(302, "", Class::Protocol);
        check(403, "", Class::Refused);
    }
}

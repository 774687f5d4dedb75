//! Judgments on Conjur: name, connection, TLS, health, leader or follower, login, proof.

use super::super::found::{Asked, Machine, Server, Servers};
use super::super::report::Check;
use super::together;
use crate::config::Config;
use crate::state::Found;
use imprint_core::Class;
use imprint_core::conjur::Role;

pub(super) fn checks(config: &Config, machine: &Machine, servers: &Servers) -> Vec<Check> {
    let each = |name, judge: fn(&'static str, &Server) -> Check| {
        together(name, servers.conjurs.iter().map(|server| judge(name, server)).collect())
    };
    vec![
        each("conjur-name", |name, server| {
            server.name.judged(name, |count| Check::ok(name, format!("{} resolves to {count}", server.url)))
        }),
        each("conjur-connection", |name, server| {
            server.connection.judged(name, |()| Check::ok(name, format!("{} takes connections", server.url)))
        }),
        each("conjur-tls", tls),
        each("conjur-health", health),
        leader(servers),
        login(servers),
        proof(config, machine, servers),
    ]
}

/// The only failure before any answer that is no passing one is that of the certificate.
fn tls(name: &'static str, server: &Server) -> Check {
    if server.url.starts_with("http://") {
        return Check::ok(name, format!("{} is plain http, on this machine", server.url));
    }
    match &server.health {
        Asked::Failed(trouble) if trouble.status.is_none() && trouble.class == Class::Refused => {
            trouble.check(name)
        }
        Asked::Failed(trouble) if trouble.status.is_none() && trouble.class == Class::Transient => {
            Check::skipped(name, "it does not answer")
        }
        Asked::Failed(_) | Asked::Told(_) => {
            Check::ok(name, format!("the certificate of {} is taken", server.url))
        }
        Asked::Skipped(because) => Check::skipped(name, because),
    }
}

fn health(name: &'static str, server: &Server) -> Check {
    match &server.health {
        Asked::Failed(trouble) if trouble.status.is_none() && trouble.class == Class::Refused => {
            Check::skipped(name, "its certificate is not taken")
        }
        health => health.judged(name, |health| match health {
            None => Check::ok(
                name,
                format!("{} answers; it has no health page, as the open-source server", server.url),
            ),
            Some(health) if health.ok => Check::ok(name, format!("{} says that it is well", server.url)),
            Some(_) => Check::failure(
                name,
                Class::Transient,
                format!("{} says that it is not well", server.url),
                "see that server: its services, its database, its replication",
            ),
        }),
    }
}

fn leader(servers: &Servers) -> Check {
    const NAME: &str = "leader";
    let Some(server) = servers.conjurs.iter().find(|server| server.is_leader) else {
        return Check::skipped(NAME, "there is none");
    };
    match &server.health {
        Asked::Told(Some(health)) => match health.role {
            Role::Follower => Check::failure(
                NAME,
                Class::Config,
                format!("{} is a follower, and a redeem must write", server.url),
                "set leader_url to the leader",
            ),
            Role::Leader => {
                let lag =
                    health.lag_bytes.map(|bytes| format!("; its followers are {bytes} bytes behind at most"));
                Check::ok(NAME, format!("{} is the leader{}", server.url, lag.unwrap_or_default()))
            }
            Role::Unknown => Check::ok(NAME, format!("{} does not tell its role", server.url)),
        },
        Asked::Told(None) => Check::ok(NAME, format!("{} does not tell its role", server.url)),
        Asked::Failed(_) | Asked::Skipped(_) => Check::skipped(NAME, "it does not answer"),
    }
}

fn login(servers: &Servers) -> Check {
    const NAME: &str = "login";
    let is_known_to_the_leader =
        servers.conjurs.iter().any(|server| server.is_leader && server.login.told().is_some());
    let judged = servers.conjurs.iter().map(|server| match &server.login {
        Asked::Failed(trouble) if trouble.status == Some(401) && !server.is_leader && is_known_to_the_leader => {
            Check::failure(
                NAME,
                Class::Transient,
                format!("{} does not take the key, though the leader does", server.url),
                "the follower lags or does not replicate: see its health",
            )
        }
        Asked::Failed(trouble) if trouble.status == Some(401) => Check::failure(
            NAME,
            Class::Refused,
            format!("{} does not take the identity's key", server.url),
            "Conjur does not say which: another party has redeemed or rotated this host's key, the host was removed, or it is restricted to other addresses",
        ),
        login => login.judged(NAME, |()| Check::ok(NAME, format!("the identity authenticates at {}", server.url))),
    });
    together(NAME, judged.collect())
}

fn proof(config: &Config, machine: &Machine, servers: &Servers) -> Check {
    const NAME: &str = "proof";
    let variable = config.proof_of(machine.state.told().and_then(Found::good)).unwrap_or_default();
    servers.proof.judged(NAME, |may| {
        if *may {
            return Check::ok(NAME, format!("the host may read {variable}"));
        }
        Check::failure(
            NAME,
            Class::Refused,
            format!("the host may not read {variable}"),
            "the host is not in the factory's layer (it may have been taken out by hand), or the layer may not read the variable",
        )
    })
}

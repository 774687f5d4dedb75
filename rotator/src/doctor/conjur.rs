//! Conjur: its servers, the login, and what the login may do with each factory.

use super::{At, Effects, Trouble, asked, some};
use crate::config::{Config, Factory, KEY_VARIABLE, LoginBy};
use futures_util::{StreamExt as _, stream};
use imprint_core::checks::Check;
use imprint_core::conjur::Role;
use imprint_core::error::{Class, chain};
use imprint_core::name::{ApplianceUrl, FactoryId};
use imprint_core::second::Second;
use imprint_core::settings::written;
use imprint_core::token::AccessToken;
use std::collections::BTreeSet;
use std::time::Duration;

/// A certificate that ends sooner is worth a word.
const SOON: Duration = Duration::from_secs(30 * 86_400);

/// Clocks that differ by more make AWS refuse signatures, or a fresh token look old.
const SKEW: Duration = Duration::from_secs(120);

/// Adds the checks of Conjur; gives the session of a login that was taken.
pub(super) async fn checks(
    config: &Config,
    factories: &[&Factory],
    on: &impl Effects,
    now: &impl Fn() -> Second,
    checks: &mut Vec<Check>,
) -> Option<AccessToken> {
    let answers = server(config, At::Leader, on, now, checks).await;
    if config.appliance_url == config.leader_url {
        for name in ["appliance", "appliance-certificate"] {
            checks.push(Check::skipped(name, "it is the leader"));
        }
    } else {
        server(config, At::Appliance, on, now, checks).await;
    }
    checks.push(match (answers, on.date(At::Leader).await) {
        (true, Some(said)) => clock(said, now()),
        (true, None) => Check::skipped("clock", "the leader tells no time"),
        (false, _) => Check::skipped("clock", "the leader does not answer"),
    });
    let session = if answers { login(config, on, checks).await } else { None };
    let Some(session) = session else {
        let because = if answers { "nobody is logged in" } else { "the leader does not answer" };
        if !answers {
            checks.push(Check::skipped("login", because));
        }
        checks.extend(["whoami", "factories", "execute", "update"].map(|name| Check::skipped(name, because)));
        return None;
    };
    checks.push(match asked(on.whoami(&session)).await {
        Ok(who) => Check::ok("whoami", format!("{}, from {} as Conjur sees it", who.username, who.client_ip)),
        Err(trouble) => Check::of("whoami", &trouble),
    });
    privileges(config, factories, on, &session, checks).await;
    Some(session)
}

/// Whether the server answers, which is also whether its certificate is taken.
async fn server(
    config: &Config,
    at: At,
    on: &impl Effects,
    now: &impl Fn() -> Second,
    checks: &mut Vec<Check>,
) -> bool {
    let (name, certificate, url): (_, _, &ApplianceUrl) = match at {
        At::Appliance => ("appliance", "appliance-certificate", &config.appliance_url),
        At::Leader => ("leader", "leader-certificate", &config.leader_url),
    };
    let health = asked(on.health(at)).await;
    let answers = health.is_ok();
    checks.push(match health {
        Err(trouble) => Check::of(name, &trouble),
        Ok(Some(health)) if !health.ok => Check::failure(
            name,
            Class::Transient,
            format!("{url} says that it is not well"),
            "see that server: its services, its database, its replication",
        ),
        Ok(Some(health)) if at == At::Leader && health.role == Role::Follower => Check::failure(
            name,
            Class::Config,
            format!("{url} is a follower, and a mint must write"),
            "set leader_url to the leader",
        ),
        Ok(Some(_)) => Check::ok(name, format!("{url} says that it is well")),
        Ok(None) => {
            Check::ok(name, format!("{url} answers; it has no health page, as the open-source server"))
        }
    });
    checks.push(if url.as_str().starts_with("http://") {
        Check::skipped(certificate, "it is plain http, on this machine")
    } else {
        match tokio::time::timeout(super::ONE, on.certificate_end(at)).await.ok().flatten() {
            None => Check::skipped(certificate, "it shows none, or none with an end"),
            Some(end) => ends(certificate, end, now()),
        }
    });
    answers
}

fn ends(name: &'static str, end: Second, now: Second) -> Check {
    let days = end.since(now).as_secs() / 86_400;
    match end.since(now) {
        Duration::ZERO => Check::failure(
            name,
            Class::Refused,
            format!("it ended {end}"),
            "give the server a new certificate, of the same authority",
        ),
        left if left < SOON => Check::warning(
            name,
            format!("it ends {end}, in {days} days"),
            "give the server a new certificate, of the same authority",
        ),
        _ => Check::ok(name, format!("it ends {end}, in {days} days")),
    }
}

fn clock(said: Second, own: Second) -> Check {
    let (differ, which) =
        if own > said { (own.since(said), "ahead of") } else { (said.since(own), "behind") };
    if differ <= SKEW {
        return Check::ok("clock", format!("within {} of the leader's", written(SKEW)));
    }
    Check::warning(
        "clock",
        format!("this machine's clock is {} {which} the leader's", written(differ)),
        "set one of them by NTP: tokens would seem to end at another time than they do",
    )
}

async fn login(config: &Config, on: &impl Effects, checks: &mut Vec<Check>) -> Option<AccessToken> {
    match asked(on.authenticate()).await {
        Ok(session) => {
            checks.push(Check::ok(
                "login",
                format!("Conjur takes {}, {}", config.login, way(&config.login_by)),
            ));
            Some(session)
        }
        Err(trouble) => {
            checks.push(Check::of("login", &trouble));
            None
        }
    }
}

fn way(by: &LoginBy) -> String {
    match by {
        LoginBy::KeyFile(path) => format!("with the API key in {}", path.display()),
        LoginBy::KeyVariable => format!("with the API key in {KEY_VARIABLE}"),
        LoginBy::Role { service, .. } => format!("with the AWS role, by authn-iam/{service}"),
        LoginBy::SealedKey => "with the API key that is sealed in the bucket".to_owned(),
    }
}

async fn privileges(
    config: &Config,
    factories: &[&Factory],
    on: &impl Effects,
    session: &AccessToken,
    checks: &mut Vec<Check>,
) {
    let seen = match visible(factories, on, session).await {
        Ok(seen) => seen,
        Err(trouble) => {
            checks.push(Check::of("factories", &trouble));
            let because = "Conjur does not show the factories";
            checks.extend(["execute", "update"].map(|name| Check::skipped(name, because)));
            return;
        }
    };
    let (visible, unseen): (Vec<&Factory>, Vec<&Factory>) =
        factories.iter().partition(|factory| seen.contains(&factory.id));
    checks.push(if unseen.is_empty() {
        Check::ok("factories", format!("all {} are visible", visible.len()))
    } else {
        Check::failure(
            "factories",
            Class::Refused,
            format!("{} sees no {}", config.login, of(&unseen)),
            "load the host factory's policy, and permit the rotator execute and update on it",
        )
    });
    let minting: Vec<&Factory> =
        visible.iter().copied().filter(|factory| config.rotator_mints(factory)).collect();
    checks.push(match minting.is_empty() && !visible.is_empty() {
        true => Check::skipped("execute", "others mint for all factories"),
        false => privilege("execute", "to mint", config, &minting, on, session).await,
    });
    checks.push(match config.revoke {
        true => privilege("update", "to revoke", config, &visible, on, session).await,
        false => Check::skipped("update", "revoke = false"),
    });
}

/// Those that the list shows, and those that it left out and shows when they are asked for alone.
async fn visible(
    factories: &[&Factory],
    on: &impl Effects,
    session: &AccessToken,
) -> Result<BTreeSet<FactoryId>, Trouble> {
    let listed = asked(on.list_factories(session)).await?;
    let mut seen: BTreeSet<FactoryId> = listed.into_iter().map(|factory| factory.id).collect();
    for factory in factories {
        if !seen.contains(&factory.id) && asked(on.show_factory(session, &factory.id)).await?.is_some() {
            seen.insert(factory.id.clone());
        }
    }
    Ok(seen)
}

async fn privilege(
    name: &'static str,
    what_for: &str,
    config: &Config,
    factories: &[&Factory],
    on: &impl Effects,
    session: &AccessToken,
) -> Check {
    if factories.is_empty() {
        return Check::skipped(name, "no factory is visible");
    }
    let answers: Vec<(&Factory, Result<bool, Trouble>)> = stream::iter(factories)
        .map(async |factory| (*factory, asked(on.may(session, name, &factory.id)).await))
        .buffered(config.concurrency)
        .collect()
        .await;
    if let Some((factory, Err(trouble))) = answers.iter().find(|(_, answer)| answer.is_err()) {
        return Check { detail: format!("{}: {}", factory.id, chain(trouble)), ..Check::of(name, trouble) };
    }
    let without: Vec<&Factory> =
        answers.into_iter().filter(|(_, may)| matches!(may, Ok(false))).map(|(factory, _)| factory).collect();
    if without.is_empty() {
        return Check::ok(name, format!("on {}, {what_for}", counted(factories.len())));
    }
    Check::failure(
        name,
        Class::Refused,
        format!("{} lacks it on {}", config.login, of(&without)),
        match name {
            "update" => "permit the rotator's role update on these factories, or set revoke = false",
            _ => "permit the rotator's role execute on these factories",
        },
    )
}

fn counted(factories: usize) -> String {
    if factories == 1 { "the factory".to_owned() } else { format!("all {factories} factories") }
}

fn of(factories: &[&Factory]) -> String {
    some(&factories.iter().map(|factory| factory.id.as_str()).collect::<Vec<_>>())
}

//! The Conjur servers: each by itself, from its name to a login with the identity.

use super::super::found::{Asked, Date, Machine, Server, Trouble};
use super::super::proxy::{self, Way};
use super::Time;
use super::reach::{connect, date, host_and_port, in_words, resolve, source_to};
use crate::config::Config;
use crate::effects::{self, At, Effects as _, Real};
use crate::files;
use crate::identity::Identity;
use crate::step::{OnDisk, Step};
use imprint_core::conjur::Conjur;
use imprint_core::door::{Door, Trust};
use imprint_core::token::AccessToken;
use std::net::IpAddr;

/// What came of it.
pub(super) struct Found {
    pub(super) servers: Vec<Server>,
    pub(super) proof: Asked<bool>,
    pub(super) dates: Vec<Date>,
    pub(super) addresses: Vec<IpAddr>,
}

/// Asks the appliance, and the leader where that is another server.
pub(super) async fn ask(
    config: &Config,
    machine: &Machine,
    on: &Real<'_>,
    time: Time,
) -> Result<Found, effects::Error> {
    let is_one = config.leader_url == config.appliance_url;
    let leader = async {
        match is_one {
            true => None,
            false => Some(server(config, machine, on, time, At::Leader).await),
        }
    };
    let (appliance, leader) = tokio::join!(server(config, machine, on, time, At::Appliance), leader);
    let mut found = Found {
        servers: Vec::new(),
        proof: Asked::Skipped("no proof_variable is configured"),
        dates: Vec::new(),
        addresses: Vec::new(),
    };
    let mut session = None;
    for seen in [Some(appliance), leader].into_iter().flatten() {
        let seen = seen?;
        found.dates.extend(seen.date);
        found.addresses.extend(seen.address);
        // The leader is asked for the proof: the last session is its own.
        session = seen.session;
        found.servers.push(seen.server);
    }
    if let Some(variable) = config.proof_of(machine.state.told().and_then(crate::state::Found::good)) {
        found.proof = match &session {
            Some(session) => time.limit(on.may_read(session, variable), Trouble::of_effect).await,
            None => Asked::Skipped("nobody is logged in"),
        };
    }
    Ok(found)
}

struct Seen {
    server: Server,
    session: Option<AccessToken>,
    date: Option<Date>,
    address: Option<IpAddr>,
}

async fn server(
    config: &Config,
    machine: &Machine,
    on: &Real<'_>,
    time: Time,
    at: At,
) -> Result<Seen, effects::Error> {
    let is_leader = at == At::Leader || config.leader_url == config.appliance_url;
    let url = match at {
        At::Appliance => &config.appliance_url,
        At::Leader => &config.leader_url,
    };
    let no_connection = "it cannot be reached";
    let mut seen = Seen {
        server: Server {
            url: url.to_string(),
            is_leader,
            name: Asked::Skipped("the proxy resolves it"),
            connection: Asked::Skipped("its name has no address"),
            health: Asked::Skipped(no_connection),
            login: Asked::Skipped(no_connection),
        },
        session: None,
        date: None,
        address: None,
    };
    let way = machine.ways.iter().find(|(server, _)| *server == url.as_str()).map(|(_, way)| way);
    let proxy = match way {
        Some(Way::Through { proxy, .. }) => proxy::host_and_port(proxy),
        Some(Way::Direct | Way::Excepted) | None => None,
    };
    let Some((host, port)) = host_and_port(url.as_str()) else { return Ok(seen) };
    let is_direct = proxy.is_none();
    let (host, port) = proxy.unwrap_or((host, port));
    let addresses = time.limit(resolve(host, port), Trouble::of).await;
    if is_direct {
        seen.server.name = addresses.clone().map(|found| in_words(&found));
    } else if let Asked::Failed(trouble) = &addresses {
        seen.server.name = Asked::Failed(trouble.clone());
    }
    let Asked::Told(addresses) = addresses else { return Ok(seen) };
    seen.address = addresses.first().and_then(source_to);
    seen.server.connection = time.limit(connect(addresses), Trouble::of).await;
    if seen.server.connection.told().is_none() {
        return Ok(seen);
    }
    let trust = config.ca.clone().map_or(Trust::Public, Trust::Only);
    let door = Door::to(url, &trust)?;
    let (health, date) = tokio::join!(
        async {
            let (door, account) = (Door::to(url, &trust)?, config.account.clone());
            let conjur = Conjur::new(door, url.clone(), account, on.caller().clone());
            Ok::<_, effects::Error>(time.limit(conjur.health(), conjur_trouble).await)
        },
        date(&door, url, on.caller(), time)
    );
    seen.server.health = health?;
    seen.date = date;
    if matches!(&seen.server.health, Asked::Failed(trouble) if trouble.status.is_none()) {
        return Ok(seen);
    }
    seen.server.login = match shown(config, machine) {
        Err(why) => Asked::Skipped(why),
        Ok(identity) => {
            let call = on.authenticate(at, &identity.host_id, &identity.api_key);
            time.limit(call, Trouble::of_effect).await.map(|session| seen.session = Some(session))
        }
    };
    Ok(seen)
}

fn conjur_trouble(error: &imprint_core::conjur::Error) -> Trouble {
    Trouble { status: error.status(), ..Trouble::of(error) }
}

/// The identity, if it is one that may be shown to the configured Conjur by this instance.
fn shown(config: &Config, machine: &Machine) -> Result<Identity, &'static str> {
    match (&machine.next, machine.identity.told()) {
        (_, Some(OnDisk::Missing)) => return Err("there is no identity yet"),
        (Some(Step::EnrollAsOneself { .. }), _) => return Err("the identity is another instance's"),
        (Some(Step::Refuse(_)), _) => return Err("the identity is not one of imprint's for this host"),
        (Some(Step::Enroll(_) | Step::Nothing | Step::ShowPromoted), Some(OnDisk::Good { .. })) => {}
        (Some(_) | None, _) => return Err("the identity cannot be used"),
    }
    let identity = files::read_back(config).map_err(|_| "the identity cannot be used")?;
    if identity.appliance_url != config.appliance_url {
        return Err("the identity is for another Conjur");
    }
    Ok(identity)
}

//! `[instances]`: tokens for one instance: who mints them, for how long, and from where they may be used.

use super::login_by::{LoginBy, login_by};
use super::read::login;
use imprint_core::settings::{self, Read, Table, Value, duration, flag, text};
use std::time::Duration;

/// For the functions that mint for one instance and promote, and not for rotation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instances {
    /// Their own login, and with what; the rotator's when `None`.
    pub login: Option<(String, LoginBy)>,
    /// How long a token for one instance lives.
    pub life: Duration,
    /// From where Conjur takes it.
    pub cidr: Cidr,
    /// Whether `layer-cidr` lets a token of a factory without networks be used from anywhere.
    pub any_address: bool,
    /// How long after the last moment in which a token could be redeemed the host that was promoted is deleted.
    pub settle: Duration,
}

/// From where Conjur takes a token for one instance.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cidr {
    /// From the factory's networks.
    Layer,
    /// From the instance's own addresses, where Conjur sees them.
    PrivateIp,
}

impl Default for Instances {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self { login: None, life: minutes(20), cidr: Cidr::Layer, any_address: false, settle: minutes(30) }
    }
}

/// An agent polls every few minutes, and an event takes its time: half of a life must be enough for both.
const SHORTEST_LIFE: Duration = Duration::from_secs(6 * 60);

/// Whoever waits longer than this does not wait.
const LONGEST_LIFE: Duration = Duration::from_secs(60 * 60);

/// An agent tries for its own deadline, of a quarter of an hour unless it is told otherwise.
const SHORTEST_SETTLE: Duration = Duration::from_secs(15 * 60);

/// Longer, and nobody remembers.
const LONGEST_SETTLE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

pub(super) fn instances(section: &mut Table<'_>, region: Option<&str>) -> Option<Instances> {
    let usual = Instances::default();
    let name = section.or("login", |value| login(value).map(Some), None);
    let by = login_by(section, name.as_ref().and_then(|name| name.as_deref()), region);
    let life = section.or("life", duration, usual.life);
    if life.is_some_and(|life| !(SHORTEST_LIFE..=LONGEST_LIFE).contains(&life)) {
        section
            .problem("life", "must be 6m to 1h: half of it must outlast an event's way and an agent's poll");
    }
    let cidr = section.or("cidr", cidr, usual.cidr);
    let any_address = section.or("any_address", flag, usual.any_address);
    if any_address == Some(true) && cidr == Some(Cidr::PrivateIp) {
        section.problem("any_address", "is for cidr = \"layer-cidr\"");
    }
    let settle = section.or("settle", duration, usual.settle);
    if settle.is_some_and(|settle| !(SHORTEST_SETTLE..=LONGEST_SETTLE).contains(&settle)) {
        section.problem("settle", "must be 15m to 7d: an agent that has redeemed must have come to its end");
    }
    let (name, by) = (name?, by?);
    if name.is_none() && by != LoginBy::default() {
        section.problem("login", "is missing: it says who logs in that way");
    }
    Some(Instances {
        login: name.map(|name| (name, by)),
        life: life?,
        cidr: cidr?,
        any_address: any_address?,
        settle: settle?,
    })
}

/// Half of a life must be longer than the wave of boots over which agents spread their redeems.
pub(super) fn life_fits(
    root: &mut Table<'_>,
    instances: &Instances,
    spreads: impl Iterator<Item = Duration>,
) {
    let longest = spreads.max().unwrap_or_default();
    if instances.life < longest * 2 {
        let (life, spread) = (settings::written(instances.life), settings::written(longest));
        root.problem(
            "instances.life",
            format!("is {life}, and must be at least twice the longest spread ({spread})"),
        );
    }
}

fn cidr(value: &Value<'_>) -> Read<Cidr> {
    match text::<String>(value)?.as_str() {
        "layer-cidr" => Ok(Cidr::Layer),
        "private-ip" => Ok(Cidr::PrivateIp),
        _ => Err(vec!["must be \"private-ip\" or \"layer-cidr\"".to_owned()]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use zeroize::Zeroizing;

    fn config(section: &str) -> Result<Config, String> {
        let text = format!("{}\nspread = \"5m\"\n[instances]\n{section}", crate::config::tests::GOOD);
        Config::parse(&text, &|_| Ok(Zeroizing::default())).map_err(|problems| problems.to_string())
    }

    #[test]
    fn what_is_taken_and_what_is_not() {
        let usual = config("").unwrap();
        assert_eq!(usual.instances, Instances::default());
        assert_eq!(usual.of_the_instances().login, "host/app/hf-rotator");
        let whole = "login = \"host/app/minter\"\napi_key_file = \"key\"\nlife = \"10m\"\ncidr = \"private-ip\"\nsettle = \"1h\"";
        let whole = config(whole).unwrap();
        assert_eq!((whole.instances.life.as_secs(), whole.instances.cidr), (600, Cidr::PrivateIp));
        assert_eq!(whole.instances.settle.as_secs(), 3600);
        let own = whole.of_the_instances();
        assert_eq!((own.login.as_str(), own.login_by), ("host/app/minter", LoginBy::KeyFile("key".into())));
        let check = |section: &str, say: &str| match config(section) {
            Ok(_) => panic!("{section} is taken"),
            Err(found) => assert!(found.contains(say), "{section}: {found}"),
        };
        check("life = \"5m\"", "must be 6m to 1h");
        check("life = \"61m\"", "must be 6m to 1h");
        check("life = \"9m\"", "at least twice the longest spread (5m)");
        check("cidr = \"10.0.0.0/8\"", "must be \"private-ip\" or \"layer-cidr\"");
        check("cidr = \"private-ip\"\nany_address = true", "is for cidr = \"layer-cidr\"");
        check("settle = \"14m\"", "must be 15m to 7d");
        check("settle = \"8d\"", "must be 15m to 7d");
        check("api_key_file = \"key\"", "login: is missing");
        check("rules = \"x\"", "not a known setting");
    }
}

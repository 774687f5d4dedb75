//! From the TOML text to a [`Config`]: one function a section.

use super::fleet::{Fleet, fleet, rules};
use super::instances::{instances, life_fits};
use super::login_by::login_by;
use super::object::is_no_key_file;
use super::{Aws, Beside, Config, Error, Factory};
use crate::label::Deployment;
use crate::network;
use crate::policy::{Policy, Windows};
use imprint_core::door::CaBundle;
use imprint_core::error::chain;
use imprint_core::name::{Account, ApplianceUrl, Branch, FactoryId, LayerId};
use imprint_core::sealed::{LARGEST_CONTEXT, SealedToken};
use imprint_core::second::Second;
use imprint_core::settings::{self, Problems, Read, Table, Value, duration, flag, list, number, text};
use imprint_core::token::Fingerprint;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;
use zeroize::Zeroizing;

/// The most factories of one configuration, by what a Lambda function has for one run: of the usual five
/// minutes the last 70 s are for what was begun, and 230 s are enough for 2,600 factories of seven requests,
/// 8 at a time, where each request takes 100 ms. A configuration of so many, with a network each, is also about
/// as large as a file may be. Who has more runs two rotators, each of its own `deployment`.
const MOST_FACTORIES: usize = 2500;

/// Agents would still be waiting when their units give up.
const LONGEST_SPREAD: Duration = Duration::from_secs(600);

pub(super) type ReadFile<'a> = &'a dyn Fn(&Path) -> Result<Zeroizing<String>, Error>;

pub(super) fn config(content: &str, file: ReadFile<'_>, beside: Beside) -> Result<Config, Problems> {
    settings::read(content, |root| {
        // Everything is asked for before anything is given up, so that every problem is found.
        let account = root.required("account", text::<Account>);
        let appliance_url = root.required("appliance_url", text::<ApplianceUrl>);
        let leader_url = or_that(root, "leader_url", text::<ApplianceUrl>, appliance_url.as_ref());
        let ca = ca_file(root, file);
        let login = root.required("login", login);
        let deployment = root.required("deployment", text::<Deployment>);
        let revoke = root.or("revoke", flag, true);
        let concurrency = root.or("concurrency", number(1..=64), 8);
        let aws = aws(&mut root.section("aws"), file);
        let region = aws.as_ref().and_then(|aws| aws.region.as_deref());
        let login_by = login_by(root, login.as_deref(), region);
        let policy = policy(&mut root.section("policy"));
        let mut section = root.section("fleet");
        let fleet = fleet(&mut section, region);
        let fleets_way = fleet.as_ref().and_then(|fleet| fleet.login.as_ref()).map(|(_, by)| by);
        let instances = instances(&mut root.section("instances"), region);
        let instances_way = instances.as_ref().and_then(|it| it.login.as_ref()).map(|(_, by)| by);
        let ways = [
            ("api_key_file", login_by.as_ref()),
            ("fleet.api_key_file", fleets_way),
            ("instances.api_key_file", instances_way),
        ];
        for (setting, way) in ways {
            if beside == Beside::Objects && way.is_some_and(is_no_key_file) {
                let why = "is relative, and an object is no place for an API key: seal it (seal-login), or name a file with its whole path";
                root.problem(setting, why);
            }
        }
        let factories = factories(root, leader_url.as_ref());
        let rules = rules(&mut section, file, factories.as_deref());
        drop(section);
        if let (Some(instances), Some(factories)) = (&instances, &factories) {
            let spreads = factories.iter().map(|factory| factory.spread);
            life_fits(root, instances, spreads.filter(|spread| *spread <= LONGEST_SPREAD));
        }
        let config = Config {
            account: account?,
            appliance_url: appliance_url?,
            leader_url: leader_url?,
            ca: ca?,
            login: login?,
            login_by: login_by?,
            deployment: deployment?,
            aws: aws?,
            policy: policy?,
            revoke: revoke?,
            concurrency: usize::try_from(concurrency?).ok()?,
            fleet: Fleet { rules: rules?, ..fleet? },
            instances: instances?,
            factories: factories?,
        };
        each_binding_fits(root, &config);
        Some(config)
    })
}

fn aws(section: &mut Table<'_>, file: ReadFile<'_>) -> Option<Aws> {
    let region = or_none(section, "region", named("a region such as eu-west-1", b"-", 1..=32));
    let bucket = section.required("bucket", named("a bucket's name", b".-", 3..=63));
    let bucket_owner = section.required("bucket_owner", |value| {
        let account: String = text(value)?;
        let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
        if digits { Ok(account) } else { Err(vec!["must be an AWS account's 12 digits".to_owned()]) }
    });
    let key = section.required("key", named("a KMS key's id, ARN or alias", b":/_-", 1..=256));
    let ca = ca_file(section, file);
    Some(Aws { region: region?, bucket: bucket?, bucket_owner: bucket_owner?, key: key?, ca: ca? })
}

fn policy(section: &mut Table<'_>) -> Option<Policy> {
    let usual = Windows::default();
    let period = section.or("period", duration, usual.period);
    let overlap = section.or("overlap", duration, usual.overlap);
    let boot_time = section.or("boot_time", duration, usual.boot_time);
    let slack = section.or("slack", duration, usual.slack);
    let schedule = section.or("schedule", duration, usual.schedule);
    let longest_run = section.or("longest_run", duration, usual.longest_run);
    let lifetime = or_none(section, "lifetime", duration);
    let windows = Windows {
        period: period?,
        overlap: overlap?,
        boot_time: boot_time?,
        slack: slack?,
        schedule: schedule?,
        longest_run: longest_run?,
        lifetime: lifetime?,
    };
    Policy::new(windows)
        .map_err(|holes| holes.iter().for_each(|hole| section.problem(hole.setting, &hole.why)))
        .ok()
}

fn factories(root: &mut Table<'_>, leader: Option<&ApplianceUrl>) -> Option<Vec<Factory>> {
    let mut sections = root.sections("factory");
    if sections.is_empty() && !root.has("factory") {
        root.missing("factory");
    }
    if sections.len() > MOST_FACTORIES {
        root.problem("factory", format!("there are {}; at most {MOST_FACTORIES} are taken", sections.len()));
    }
    let mut seen = BTreeSet::new();
    let all: Vec<Option<Factory>> = sections
        .iter_mut()
        .map(|section| {
            let id = section.required("id", text::<FactoryId>);
            let hosts_branch = section.required("hosts_branch", text::<Branch>);
            let same = id.as_ref().and_then(|id| id.as_str().parse().ok());
            let layer = or_that(section, "layer", text::<LayerId>, same.as_ref());
            let pin = section.or("pin", flag, false);
            let leader_url = or_that(section, "leader_url", text::<ApplianceUrl>, leader);
            let cidr = section.or("cidr", networks, Vec::new());
            let mint = section.or("mint", flag, true);
            let scope = section.or("scope", text::<Scope>, Scope::Layer);
            if mint == Some(false) && scope == Some(Scope::Instance) {
                let why = "is \"instance\", and with mint = false nobody would mint for an instance either";
                section.problem("scope", why);
            }
            let spread = section.or("spread", duration, Duration::ZERO);
            if spread.is_some_and(|spread| spread > LONGEST_SPREAD) {
                let most = settings::written(LONGEST_SPREAD);
                section
                    .problem("spread", format!("must be at most {most}, or agents give up while they wait"));
            }
            // Two would fight over one object, each superseding the other's token.
            if let Some(id) = &id
                && !seen.insert(id.clone())
            {
                section.problem("id", format!("the factory {id} is there twice"));
            }
            let (id, hosts_branch, leader_url) = (id?, hosts_branch?, leader_url?);
            Some(Factory {
                id,
                hosts_branch,
                layer: layer?,
                pin: pin?,
                leader_url,
                cidr: cidr?,
                mint: mint?,
                shared: scope? == Scope::Layer,
                spread: spread?,
            })
        })
        .collect();
    all.into_iter().collect()
}

/// Who opens a factory's tokens. The agent's configuration has the same words.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Scope {
    Instance,
    Layer,
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "instance" => Ok(Self::Instance),
            "layer" => Ok(Self::Layer),
            _ => Err("must be layer or instance"),
        }
    }
}

/// A token's binding must fit an encryption context; better said now than at the first seal.
fn each_binding_fits(root: &Table<'_>, config: &Config) {
    let now = Second::from_unix(0);
    for factory in &config.factories {
        let longest_id = "x".repeat(64);
        let binding = config.binding(factory, Fingerprint::of(b""), &longest_id, now, now);
        if let Err(error) = SealedToken::new(binding, vec![0], String::new()) {
            root.problem(
                "factory",
                format!(
                    "{}: its sealed token could not be made: {} (fewer networks or CA certificates make it \
                     smaller; {LARGEST_CONTEXT} bytes are the limit)",
                    factory.id,
                    chain(&error)
                ),
            );
        }
    }
}

fn ca_file(table: &mut Table<'_>, file: ReadFile<'_>) -> Option<Option<CaBundle>> {
    or_none(table, "ca_file", |value| {
        let path: PathBuf = text(value)?;
        let pem = file(&path).map_err(|error| vec![chain(&error)])?;
        CaBundle::from_pem(&pem).map_err(|error| vec![format!("{}: {}", path.display(), chain(&error))])
    })
}

pub(super) fn login(value: &Value<'_>) -> Read<String> {
    let login: String = text(value)?;
    match login.strip_prefix("host/") {
        Some(id) => {
            id.parse::<imprint_core::name::HostId>().map(|id| id.login()).map_err(|e| vec![e.to_string()])
        }
        None if !login.is_empty() && login.len() <= 256 && has_only(&login, b"._@-") => Ok(login),
        None => {
            Err(vec!["must be \"host/<id>\", or a user's name of letters, digits and . _ @ -".to_owned()])
        }
    }
}

fn networks(value: &Value<'_>) -> Read<Vec<IpNet>> {
    let networks = list(network)(value)?;
    if networks.is_empty() {
        return Err(vec!["is empty; leave it out to let the token be used from anywhere".to_owned()]);
    }
    Ok(networks)
}

fn network(value: &Value<'_>) -> Read<IpNet> {
    let written: String = text(value)?;
    let net = network::parse(&written).map_err(|error| vec![error.to_string()])?;
    if network::is_anywhere(&net) {
        return Err(vec![format!(
            "{net} is every address; leave cidr out to let the token be used from anywhere"
        )]);
    }
    Ok(net)
}

/// A setting that may be left out: `Some(None)` then, and `None` when it is wrong.
pub(super) fn or_none<T>(
    table: &mut Table<'_>,
    key: &'static str,
    kind: impl Fn(&Value<'_>) -> Read<T>,
) -> Option<Option<T>> {
    table.or(key, |value| kind(value).map(Some), None)
}

/// A setting whose default is another setting, which may be wrong itself.
fn or_that<T: Clone>(
    table: &mut Table<'_>,
    key: &'static str,
    kind: impl Fn(&Value<'_>) -> Read<T>,
    that: Option<&T>,
) -> Option<T> {
    table.or(key, |value| kind(value).map(Some), that.cloned()).flatten()
}

fn named(
    what: &'static str,
    also: &'static [u8],
    length: std::ops::RangeInclusive<usize>,
) -> impl Fn(&Value<'_>) -> Read<String> {
    move |value| {
        let name: String = text(value)?;
        if length.contains(&name.len()) && has_only(&name, also) {
            Ok(name)
        } else {
            Err(vec![format!("must be {what}, {} to {} characters long", length.start(), length.end())])
        }
    }
}

fn has_only(name: &str, also: &[u8]) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}

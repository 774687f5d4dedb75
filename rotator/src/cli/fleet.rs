//! `decommission`, `pin`, `rules` and `status --hosts`: what they take, and how they are run.

use super::run::{Error, say, tell};
use crate::config::Config;
use crate::fleet;
use crate::fleet::explain::Explained;
use crate::fleet::real::Real;
use crate::fleet::run::{Ask, Deed, Run};
use clap::Args;
use imprint_core::caller::Caller;
use imprint_core::error::Class;
use imprint_core::name::{FactoryId, InstanceId};
use imprint_core::retry::Retry;

#[derive(Debug, Args)]
pub(super) struct Decommission {
    #[command(flatten)]
    whose: Whose,
    /// Believe EC2 also when it knows not one of ten or more instances
    #[arg(long)]
    even_all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Pin {
    #[command(flatten)]
    whose: Whose,
}

#[derive(Debug, Args)]
pub(super) struct Rules {
    /// Say why each of these instances matches or not
    #[arg(long, value_name = "INSTANCE", num_args = 1..)]
    explain: Vec<InstanceId>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Whose {
    /// Only the hosts of these instances; all when left out
    #[arg(value_name = "INSTANCE")]
    instances: Vec<InstanceId>,
    /// Only this factory of the configuration; may be repeated
    #[arg(long = "factory", value_name = "ID")]
    factories: Vec<FactoryId>,
    /// Look and decide, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

pub(super) async fn decommission(
    config: &Config,
    ask: Decommission,
    caller: &Caller,
) -> Result<Option<Class>, Error> {
    let Decommission { whose, even_all } = ask;
    run(config, Deed::Decommission, whose, even_all, caller).await
}

pub(super) async fn pin(config: &Config, ask: Pin, caller: &Caller) -> Result<Option<Class>, Error> {
    run(config, Deed::Pin, ask.whose, false, caller).await
}

pub(super) async fn hosts(
    config: &Config,
    factories: Vec<FactoryId>,
    json: bool,
    caller: &Caller,
) -> Result<Option<Class>, Error> {
    let ask = Ask { factories, ..Ask::default() };
    let on = Real::new(config, caller).await?;
    let retry = Retry::new(config.policy.longest_run(), repeats(config));
    let status = Run::open(config, &ask, &on, &retry).await?.status().await?;
    tell(json, || status.to_json(), &status)?;
    Ok(status.class())
}

pub(super) async fn rules(config: &Config, ask: Rules, caller: &Caller) -> Result<Option<Class>, Error> {
    let rules = &config.fleet.rules;
    if rules.is_empty() {
        return Err(fleet::run::Error::NoRules.into());
    }
    if ask.explain.is_empty() {
        tell(ask.json, || rules.to_json(), rules)?;
        return Ok(None);
    }
    let on = Real::new(config, caller).await?;
    let retry = Retry::new(config.policy.longest_run(), 10);
    let explained = Explained::ask(rules, &ask.explain, &on, &retry).await?;
    tell(ask.json, || explained.to_json(), &explained)?;
    Ok(explained.class())
}

async fn run(
    config: &Config,
    deed: Deed,
    whose: Whose,
    even_all: bool,
    caller: &Caller,
) -> Result<Option<Class>, Error> {
    let Whose { instances, factories, dry_run, json } = whose;
    let ask = Ask { factories, instances, dry_run, even_all };
    let on = Real::new(config, caller).await?;
    let retry = Retry::new(config.policy.longest_run(), repeats(config));
    let report = Run::open(config, &ask, &on, &retry).await?.over_the_fleet(deed).await?;
    report.log_without_host();
    if json {
        say(format_args!("{:#}", report.to_json()))?;
    } else {
        // A failure has been said on standard error, with its hint.
        report.factories.iter().filter(|outcome| outcome.result.is_ok()).try_for_each(say)?;
    }
    Ok(report.class())
}

/// How often calls may be repeated in all.
fn repeats(config: &Config) -> u32 {
    10 + 2 * u32::try_from(config.factories.len()).unwrap_or(u32::MAX / 4)
}

//! `mint` and `promote`: what they take, and how they are run.

use super::run::{Error, say, tell};
use crate::config::Config;
use crate::fleet::{self, grant};
use crate::instance::Promote as AskToPromote;
use crate::instance::judge::Judge;
use crate::instance::real::Real;
use crate::instance::report::Report;
use crate::instance::run::{Ask, Run};
use clap::Args;
use imprint_core::caller::{Caller, RunId};
use imprint_core::error::Class;
use imprint_core::name::{FactoryId, InstanceId};
use imprint_core::retry::Retry;

#[derive(Debug, Args)]
pub(super) struct Promote {
    /// These instances; all that the rules promote when left out
    #[arg(value_name = "INSTANCE")]
    instances: Vec<InstanceId>,
    /// To hosts of this factory of the configuration; to those of all that the rules promote to when left out
    #[arg(long, value_name = "ID")]
    to: Option<FactoryId>,
    /// From hosts of this factory, where no rule with promote_from says it
    #[arg(long, value_name = "ID", requires = "to")]
    from: Option<FactoryId>,
    /// Whatever the rules say; the report tells it
    #[arg(long, requires = "instances", requires = "to", requires = "from")]
    without_rule: bool,
    /// Print a policy that adds their present hosts to the factory's layer, for a person to load; needs --pin
    #[arg(long, requires = "instances", requires = "to")]
    grant: bool,
    /// With --grant, tie these hosts to the addresses of their instances first
    #[arg(long, requires = "grant")]
    pin: bool,
    /// Look and decide, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

pub(super) async fn promote(
    config: &Config,
    ask: Promote,
    id: &RunId,
    caller: &Caller,
) -> Result<Option<Class>, Error> {
    let Promote { instances, to, from, without_rule, grant, pin, dry_run, json } = ask;
    let judge = if without_rule { Judge::WithoutRule } else { Judge::Rules(&config.fleet.rules) };
    if let (true, Some(to)) = (grant, &to) {
        let ask = grant::Ask { to: to.clone(), from, pin };
        return told_grants(config, judge, instances, dry_run, &ask, json, caller).await;
    }
    let on = Real::new(config, caller).await?;
    let repeats = 10 + 2 * u32::try_from(config.factories.len()).unwrap_or(u32::MAX / 4);
    let retry = Retry::new(config.policy.longest_run(), repeats);
    let ask = AskToPromote { instances, to, from, dry_run };
    let report = Run::open(config, judge, id, &on, &retry).await?.promote(&ask).await?;
    told(json, &report)?;
    Ok(report.class())
}

/// With the login and the role of `pin`.
async fn told_grants(
    config: &Config,
    judge: Judge<'_>,
    instances: Vec<InstanceId>,
    dry_run: bool,
    ask: &grant::Ask,
    json: bool,
    caller: &Caller,
) -> Result<Option<Class>, Error> {
    if !ask.pin {
        return Err(grant::Error::Unpinned.into());
    }
    let of_the_fleet = fleet::run::Ask { instances, dry_run, ..fleet::run::Ask::default() };
    let on = fleet::real::Real::new(config, caller).await?;
    let retry = Retry::new(config.policy.longest_run(), 20);
    let run = fleet::run::Run::open(config, &of_the_fleet, &on, &retry).await?;
    let grants = run.grant(ask, judge).await?;
    tell(json, || grants.to_json(), &grants)?;
    Ok(grants.class())
}

#[derive(Debug, Args)]
pub(super) struct Mint {
    /// The instances
    #[arg(value_name = "INSTANCE", required = true)]
    instances: Vec<InstanceId>,
    /// Of this factory of the configuration; may be repeated; of all that the rules allow when left out
    #[arg(long = "factory", value_name = "ID")]
    factories: Vec<FactoryId>,
    /// Whatever the rules say; the report tells it
    #[arg(long, requires = "factories")]
    without_rule: bool,
    /// One JSON object instead of lines
    #[arg(long)]
    json: bool,
}

pub(super) async fn mint(
    config: &Config,
    ask: Mint,
    id: &RunId,
    caller: &Caller,
) -> Result<Option<Class>, Error> {
    let Mint { instances, factories, without_rule, json } = ask;
    let judge = if without_rule { Judge::WithoutRule } else { Judge::Rules(&config.fleet.rules) };
    let on = Real::new(config, caller).await?;
    let repeats = 10 + 2 * u32::try_from(instances.len()).unwrap_or(u32::MAX / 4);
    let retry = Retry::new(config.policy.longest_run(), repeats);
    let report = Run::open(config, judge, id, &on, &retry).await?.mint(&Ask { instances, factories }).await?;
    told(json, &report)?;
    Ok(report.class())
}

fn told(json: bool, report: &Report) -> Result<(), Error> {
    if json {
        return say(format_args!("{:#}", report.to_json()));
    }
    // A failure has been said on standard error, with its hint.
    report.instances.iter().filter(|outcome| outcome.result.is_ok()).try_for_each(say)
}

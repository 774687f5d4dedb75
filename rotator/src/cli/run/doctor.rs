//! `doctor`.

use super::{Error, say};
use crate::config::{Config, FILE_VARIABLE};
use crate::doctor::{Real, examine};
use crate::effects;
use crate::rotate::chosen;
use imprint_core::caller::{Caller, RunId};
use imprint_core::checks::Report;
use imprint_core::error::Class;
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use std::path::Path;
use std::rc::Rc;

pub(super) async fn run(
    config: Rc<Config>,
    named: &Path,
    factories: &[FactoryId],
    id: &RunId,
    caller: &Caller,
    json: bool,
) -> Result<Option<Class>, Error> {
    let factories = chosen(&config, factories)?;
    let on = Real::new(&config, caller).await?;
    let aws = effects::Real::new(Rc::clone(&config), caller).await;
    let environment = std::env::var_os(FILE_VARIABLE).unwrap_or_default();
    let path = if named.as_os_str().is_empty() { Path::new(&environment) } else { named };
    let report = examine(&config, path, &factories, id, &on, aws.as_ref(), Second::now).await;
    told(&report, json)
}

/// Prints it; the class of the worst failure.
pub(super) fn told(report: &Report, json: bool) -> Result<Option<Class>, Error> {
    if json {
        say(report.to_json())?;
    } else {
        say(report)?;
    }
    Ok(report.worst())
}

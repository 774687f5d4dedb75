//! The file that is sealed with client data: its binding, and whether it opens with this machine's facts.
//! Nobody is asked but, on EC2 and where the file names it, the metadata service for the image.

use super::super::found::{Asked, Machine, Trouble};
use super::Time;
use crate::binding::{self, Scopes};
use crate::config::{Config, Opener, Source};
use crate::effects::{Effects as _, Real};
use crate::facts::Facts;
use crate::source;
use crate::step::Step;
use imprint_core::client_data::{Fact, Sealed};
use imprint_core::sealed::Binding;
use std::path::Path;

/// What came of it.
pub(super) struct Found {
    pub(super) object: Asked<(usize, Result<Binding, Trouble>)>,
    pub(super) opened: Asked<()>,
}

/// Reads the first such file, and opens it. Last of all, since deriving the key keeps the one thread busy.
pub(super) async fn ask(
    config: &Config,
    machine: &Machine,
    on: &Real<'_>,
    time: Time,
    facts: &Asked<Facts>,
) -> Found {
    let none = |because| Found { object: Asked::Skipped(because), opened: Asked::Skipped(because) };
    let Some((file, opener)) = config.sources.iter().find_map(client_data) else {
        return none("no source is sealed with client data");
    };
    // The file is of use once; on an enrolled machine its token is mostly over.
    if machine.next == Some(Step::Nothing) {
        return none("no token is needed now");
    }
    match source::client_data_file(file) {
        Ok(sealed) => Found {
            object: Asked::Told((sealed.to_bytes().len(), Ok(sealed.binding().clone()))),
            opened: opened(&sealed, opener, config, on, time, facts).await,
        },
        // `token-files` says so.
        Err(source::Error::Absent(_)) => none("the file is not there"),
        Err(error) => Found {
            object: Asked::Told((0, Err(Trouble::of(&error)))),
            opened: Asked::Skipped("there is no sealed token"),
        },
    }
}

fn client_data(source: &Source) -> Option<(&Path, &Opener)> {
    match source {
        Source::ClientData { file, opener } => Some((file, opener)),
        Source::Credential { .. } | Source::File { .. } | Source::S3(_) | Source::Stdin { .. } => None,
    }
}

async fn opened(
    sealed: &Sealed,
    opener: &Opener,
    config: &Config,
    on: &Real<'_>,
    time: Time,
    facts: &Asked<Facts>,
) -> Asked<()> {
    let Some(facts) = facts.told() else {
        return Asked::Skipped("nobody tells which instance this is");
    };
    if binding::check(sealed.binding(), config, facts.here(), Scopes::Any, on.now()).is_err() {
        return Asked::Skipped("an enrollment would not get as far");
    }
    let image = if sealed.facts().contains(&Fact::ImageId) {
        match time.limit(on.image(), Trouble::of_effect).await {
            Asked::Told(image) => Some(image),
            Asked::Failed(trouble) => return Asked::Failed(trouble),
            Asked::Skipped(because) => return Asked::Skipped(because),
        }
    } else {
        None
    };
    match source::open(sealed, opener, config, &facts.instance_id, image.as_deref()) {
        Ok(token) => match binding::check_token(sealed.binding(), &token) {
            Ok(()) => Asked::Told(()),
            Err(error) => Asked::Failed(Trouble::of(&error)),
        },
        Err(error) => Asked::Failed(Trouble::of(&error)),
    }
}

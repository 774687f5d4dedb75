//! `[fleet]`: who the fleet's functions are at Conjur, how careful they are, and by which rules they go.

use super::Factory;
use super::login_by::{LoginBy, login_by};
use super::read::{ReadFile, login, or_none};
use crate::fleet::rules::Rules;
use imprint_core::error::chain;
use imprint_core::settings::{Table, duration, number, text};
use std::path::PathBuf;
use std::time::Duration;

/// For the functions that remove and pin hosts, and not for rotation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fleet {
    /// Their own login, and with what; the rotator's when `None`.
    pub login: Option<(String, LoginBy)>,
    /// How far two looks must lie apart that both miss an instance, before its host is removed.
    pub missing_for: Duration,
    /// The most hosts of one factory that one run removes.
    pub most_removals: usize,
    /// Which instances may have what; nobody anything when there are none.
    pub rules: Rules,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            login: None,
            missing_for: Duration::from_secs(10 * 60),
            most_removals: 50,
            rules: Rules::default(),
        }
    }
}

/// EC2 takes minutes to tell everybody of an instance.
const SHORTEST_MISSING: Duration = Duration::from_secs(5 * 60);

/// Longer, and hosts of dead instances would live for weeks.
const LONGEST_MISSING: Duration = Duration::from_secs(7 * 24 * 60 * 60);

pub(super) fn fleet(section: &mut Table<'_>, region: Option<&str>) -> Option<Fleet> {
    let usual = Fleet::default();
    let name = section.or("login", |value| login(value).map(Some), None);
    let by = login_by(section, name.as_ref().and_then(|name| name.as_deref()), region);
    let missing_for = section.or("missing_for", duration, usual.missing_for);
    if missing_for.is_some_and(|span| !(SHORTEST_MISSING..=LONGEST_MISSING).contains(&span)) {
        section
            .problem("missing_for", "must be 5m to 7d: EC2 takes minutes to tell everybody of an instance");
    }
    let most_removals = section.or("most_removals", number(1..=10_000_u32), 50);
    let (name, by) = (name?, by?);
    if name.is_none() && by != LoginBy::default() {
        section.problem("login", "is missing: it says who logs in that way");
    }
    Some(Fleet {
        login: name.map(|name| (name, by)),
        missing_for: missing_for?,
        most_removals: usize::try_from(most_removals?).ok()?,
        rules: usual.rules,
    })
}

/// The rules of `rules_file`, which speak of these factories: `None` for those that are wrong themselves.
pub(super) fn rules(
    section: &mut Table<'_>,
    file: ReadFile<'_>,
    factories: Option<&[Factory]>,
) -> Option<Rules> {
    let rules = or_none(section, "rules_file", |value| {
        let path: PathBuf = text(value)?;
        let content = file(&path).map_err(|error| vec![chain(&error)])?;
        let Some(factories) = factories else { return Ok(Rules::default()) };
        // Each problem is told with its line there.
        Rules::parse(&content, factories).map_err(|problems| {
            problems.0.iter().map(|problem| format!("{}: {problem}", path.display())).collect()
        })
    })?;
    Some(rules.unwrap_or_default())
}

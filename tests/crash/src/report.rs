//! What was tried of one scenario, and what broke.

use imprint_proof::Suite;
use std::fmt::Write as _;

/// How much of what broke is told at length.
const TOLD: usize = 40;

/// One line of a report.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What was tried.
    pub name: String,
    /// How often.
    pub tried: usize,
    /// Points that a run did not come to.
    pub not_reached: usize,
    /// Points that were left out of a sample.
    pub left_out: usize,
    /// What else is to be known.
    pub note: String,
    /// What broke, and where: one for each try that did not hold.
    pub broken: Vec<String>,
}

impl Row {
    /// One line for a person, and below it what broke.
    #[must_use]
    pub fn line(&self) -> String {
        let held = self.tried.saturating_sub(self.broken.len());
        let mut line = format!("{:<66}{:>6} tried {held:>6} held  {}", self.name, self.tried, self.notes());
        for broken in self.broken.iter().take(TOLD) {
            let _always = write!(line, "\n  BROKEN {broken}");
        }
        if self.broken.len() > TOLD {
            let _always = write!(line, "\n  and {} more", self.broken.len() - TOLD);
        }
        line.trim_end().to_owned()
    }

    fn notes(&self) -> String {
        let counted = [(self.not_reached, "not reached"), (self.left_out, "left out of the sample")];
        let counted =
            counted.iter().filter(|(count, _)| *count > 0).map(|(count, say)| format!("{count} {say}"));
        let note = Some(self.note.clone()).filter(|note| !note.is_empty());
        note.into_iter().chain(counted).collect::<Vec<_>>().join("; ")
    }
}

/// The rows of a suite, for the report of all proofs.
#[must_use]
pub fn suite(name: &str, rows: &[Row]) -> Suite {
    let mut suite = Suite::named(name);
    for row in rows {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        suite.row(
            row.name.clone(),
            number(row.tried),
            number(row.tried.saturating_sub(row.broken.len())),
            row.notes(),
        );
    }
    suite
}

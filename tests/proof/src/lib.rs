//! What a suite tried and what held, as it leaves it for the report of `make proof`.
//!
//! A suite judges itself by its own exit code; nothing here can fail one. It only writes down what it did,
//! where the environment names a folder for that ([`FOLDER`]), as one JSON object in `<suite>.json`:
//!
//! ```json
//! {
//!   "suite": "crash", "tried": 812, "held": 812,
//!   "rows": [{"name": "first enroll: SIGKILL at rename", "tried": 6, "held": 6, "note": ""}],
//!   "figures": [{"name": "extra redemptions", "measured": "2", "goal": "at most 2", "reached": true}],
//!   "not_tried": [{"name": "a kill inside KMS", "why": "it is not ours to kill"}]
//! }
//! ```

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The environment variable that names the folder for the results; `make proof` sets it.
pub const FOLDER: &str = "IMPRINT_PROOF_DIR";

/// What one suite tried, and what held.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Its name, as in the file's.
    pub suite: String,
    /// How many cases, points or runs there were.
    pub tried: u64,
    /// In how many of them everything was as it must be.
    pub held: u64,
    /// The parts of it, in the order of a reader's interest.
    #[serde(default)]
    pub rows: Vec<Row>,
    /// What was measured and has a goal.
    #[serde(default)]
    pub figures: Vec<Figure>,
    /// What belongs to it and was not tried here.
    #[serde(default)]
    pub not_tried: Vec<NotTried>,
}

/// A part of a suite.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// What was tried.
    pub name: String,
    /// How often.
    pub tried: u64,
    /// How often it held.
    pub held: u64,
    /// What else a reader should know; may be empty.
    #[serde(default)]
    pub note: String,
}

/// A figure with a goal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// What this run reached, with its unit.
    pub measured: String,
    /// What it should be.
    pub goal: String,
    /// Whether it is; `None` where it could not be measured, and `measured` says why.
    pub reached: Option<bool>,
}

/// What was not tried.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NotTried {
    /// What it is.
    pub name: String,
    /// Why not.
    pub why: String,
}

impl Suite {
    /// One without rows.
    #[must_use]
    pub fn named(suite: &str) -> Self {
        Self { suite: suite.to_owned(), ..Self::default() }
    }

    /// Adds a row, and counts it.
    pub fn row(&mut self, name: impl Into<String>, tried: u64, held: u64, note: impl Into<String>) {
        self.tried += tried;
        self.held += held;
        self.rows.push(Row { name: name.into(), tried, held, note: note.into() });
    }

    /// Writes it into the folder that the environment names; does nothing where it names none.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self) -> io::Result<()> {
        folder().map_or(Ok(()), |folder| self.write_to(&folder))
    }

    /// Writes it into this folder, which is made.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_to(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(folder.join(format!("{}.json", self.suite)), text)
    }
}

/// Where results, charts and raw numbers go, if anybody wants them.
#[must_use]
pub fn folder() -> Option<PathBuf> {
    env::var_os(FOLDER).filter(|name| !name.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut suite = Suite::named("crash");
        suite.row("rename", 6, 6, "");
        suite.row("fsync", 9, 8, "one was left");
        suite.not_tried.push(NotTried { name: "KMS".into(), why: "not ours".into() });
        assert_eq!((suite.tried, suite.held), (15, 14));
        suite.write_to(&folder.path().join("new")).unwrap();
        let text = fs::read_to_string(folder.path().join("new/crash.json")).unwrap();
        assert_eq!(serde_json::from_str::<Suite>(&text).unwrap(), suite);
    }

    #[test]
    fn an_unknown_member_is_refused() {
        let text = r#"{"suite": "a", "tried": 1, "held": 1, "helt": 2}"#;
        assert!(serde_json::from_str::<Suite>(text).is_err());
    }
}

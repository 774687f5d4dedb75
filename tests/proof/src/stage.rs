//! The stages of `make proof`: targets of the Makefile, run one after the other, each with its log.

use crate::said;
use imprint_proof::{FOLDER, Row};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// A target of the Makefile that proves something.
pub struct Stage {
    /// The target.
    pub target: &'static str,
    /// What it shows, as a sentence for the report.
    pub shows: &'static str,
    /// The suites whose results it must leave in the folder.
    pub suites: &'static [&'static str],
}

/// What the report is made of, in the order in which it is run: what others need first.
pub const STAGES: [Stage; 8] = [
    Stage {
        target: "test",
        shows: "Every test that needs no root: libraries, contract, programs against real servers, peers.",
        suites: &["faults"],
    },
    Stage {
        target: "test-root",
        shows: "Disks that fail, owners and labels, processes seen from outside: what needs root.",
        suites: &[],
    },
    Stage {
        target: "crash",
        shows: "Both programs killed at every system call that can matter, each of these failing, and the power lost at every change of the disk.",
        suites: &["crash", "power-loss"],
    },
    Stage {
        target: "fleet",
        shows: "100,000 boots in virtual time, with wrong windows, an outage and a restored Conjur.",
        suites: &["fleet"],
    },
    Stage {
        target: "fuzz",
        shows: "Every parser of bytes from outside, with inputs that a fuzzer makes.",
        suites: &[],
    },
    Stage {
        target: "boot-test",
        shows: "Packages booted with the real systemd and cloud-init; no secret in journal, console or disk.",
        suites: &[],
    },
    Stage {
        target: "terraform-test",
        shows: "The module planned, scanned, and applied where IAM is enforced; no secret in state or plan.",
        suites: &[],
    },
    Stage {
        target: "bench",
        shows: "What one enrollment costs beside the scripts that people use instead.",
        suites: &["bench"],
    },
];

/// How a stage ended.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Ended {
    /// The target.
    pub target: String,
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// How long it took, with what it had to build.
    pub seconds: u64,
    /// What its log tells of tests.
    pub rows: Vec<Row>,
}

impl Stage {
    /// Runs it; what it says goes into `<target>.log` in the folder.
    ///
    /// # Errors
    /// When make cannot be started or the log cannot be written.
    pub fn run(&self, folder: &Path) -> io::Result<Ended> {
        for suite in self.suites {
            // An older result would pass for this run's.
            match fs::remove_file(folder.join(format!("{suite}.json"))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        let path = folder.join(format!("{}.log", self.target));
        let log = File::create(&path)?;
        let from = Instant::now();
        let status = Command::new("make")
            .arg(self.target)
            .env(FOLDER, folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()?;
        let said = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        Ok(Ended {
            target: self.target.to_owned(),
            code: status.code(),
            seconds: from.elapsed().as_secs(),
            rows: said::rows(&said),
        })
    }
}

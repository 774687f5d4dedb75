//! What the stages and suites left, put together: the verdict, and the pages for people.

use crate::page::Block;
use crate::stage::{Ended, STAGES};
use imprint_proof::{Row, Suite};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::{fs, io};

/// A whole run of `make proof`, as `proof.json` keeps it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Proof {
    /// The day (UTC), the commit, and the machine, each for a person.
    pub made: String,
    /// The commit, with `+` where files differ from it.
    pub commit: String,
    /// Processors, memory, kernel.
    pub machine: String,
    /// How the stages ended.
    pub stages: Vec<Ended>,
    /// What the suites left.
    pub suites: Vec<Suite>,
}

/// What became of a suite's file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Read(String, #[source] io::Error),
    /// It is no result.
    #[error("{0}: {1}")]
    Form(String, #[source] serde_json::Error),
}

/// Reads what the stages' suites left in the folder; what is not there is not there in the report either,
/// and [`Proof::faults`] names it.
pub fn suites(folder: &Path, stages: &[Ended]) -> Result<Vec<Suite>, Error> {
    let mut suites = Vec::new();
    for name in expected(stages) {
        let file = format!("{name}.json");
        match fs::read(folder.join(&file)) {
            Ok(bytes) => suites.push(serde_json::from_slice(&bytes).map_err(|e| Error::Form(file, e))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::Read(file, error)),
        }
    }
    Ok(suites)
}

/// The suites that belong to these stages.
fn expected(stages: &[Ended]) -> impl Iterator<Item = &'static str> {
    STAGES.iter().filter(|s| stages.iter().any(|e| e.target == s.target)).flat_map(|s| s.suites).copied()
}

impl Proof {
    /// Everything that did not hold, each as a sentence; empty when all did.
    pub fn faults(&self) -> Vec<String> {
        let stages = self
            .stages
            .iter()
            .filter(|ended| ended.code != Some(0))
            .map(|ended| format!("`make {}` failed; its log is `{}.log`", ended.target, ended.target));
        let missing = expected(&self.stages)
            .filter(|name| !self.suites.iter().any(|suite| suite.suite == *name))
            .map(|name| format!("{name} left no result"));
        let suites = self
            .suites
            .iter()
            .filter(|suite| suite.held < suite.tried || suite.tried == 0)
            .map(|suite| format!("{}: {} of {} held", suite.suite, suite.held, suite.tried));
        stages.chain(missing).chain(suites).collect()
    }

    /// The page.
    pub fn page(&self, pictures: &[String]) -> Vec<Block> {
        let mut page = vec![
            Block::Heading(1, "The proof".to_owned()),
            Block::Paragraph(format!("{} at commit `{}`: {}.", self.made, self.commit, self.machine)),
            Block::Paragraph(self.verdict()),
        ];
        page.extend(self.summary());
        for picture in pictures {
            let what = picture.trim_end_matches(".svg").replace('-', " ");
            page.push(Block::Picture(picture.clone(), what));
        }
        for suite in &self.suites {
            page.push(Block::Heading(2, suite.suite.clone()));
            page.extend(table(&suite.rows));
        }
        for ended in self.stages.iter().filter(|ended| !ended.rows.is_empty()) {
            page.push(Block::Heading(2, format!("make {}", ended.target)));
            page.extend(table(&ended.rows));
        }
        page
    }

    /// What RELIABILITY.md shows of it: a line for each stage, the figures, what was not tried.
    pub fn summary(&self) -> Vec<Block> {
        let stages = STAGES.iter().filter_map(|stage| {
            let ended = self.stages.iter().find(|ended| ended.target == stage.target)?;
            let of = |count: fn(&Row) -> u64, whole: fn(&Suite) -> u64| {
                let own = self.suites.iter().filter(|suite| stage.suites.contains(&suite.suite.as_str()));
                // A suite counts better than its log.
                let counted = if stage.suites.is_empty() { ended.rows.iter().map(count).sum() } else { 0 };
                own.map(whole).sum::<u64>() + counted
            };
            Some(vec![
                format!("`make {}`", stage.target),
                stage.shows.to_owned(),
                of(|row| row.tried, |suite| suite.tried).to_string(),
                of(|row| row.held, |suite| suite.held).to_string(),
                format!("{} s", ended.seconds),
            ])
        });
        let mut blocks = vec![
            Block::Heading(2, "What was tried, and what held".to_owned()),
            Block::Table(vec!["run by", "what it shows", "tried", "held", "took"], stages.collect()),
        ];
        let figures = self.suites.iter().flat_map(|suite| &suite.figures).map(|figure| {
            let reached = match figure.reached {
                Some(true) => "yes",
                Some(false) => "NO",
                None => "not measured",
            };
            vec![figure.name.clone(), figure.goal.clone(), figure.measured.clone(), reached.to_owned()]
        });
        blocks.push(Block::Heading(2, "Figures".to_owned()));
        blocks.push(Block::Table(vec!["what", "goal", "measured", "reached"], figures.collect()));
        let not_tried = self.suites.iter().flat_map(|suite| {
            suite.not_tried.iter().map(|not| vec![suite.suite.clone(), not.name.clone(), not.why.clone()])
        });
        blocks.push(Block::Heading(2, "What was not tried".to_owned()));
        blocks.push(Block::Table(vec!["suite", "what", "why"], not_tried.collect()));
        blocks
    }

    /// One sentence.
    pub fn verdict(&self) -> String {
        let faults = self.faults();
        let left_out: Vec<_> = STAGES
            .iter()
            .filter(|stage| !self.stages.iter().any(|ended| ended.target == stage.target))
            .map(|stage| format!("`make {}`", stage.target))
            .collect();
        let whole = if left_out.is_empty() {
            String::new()
        } else {
            format!(" This was no whole run: left out were {}.", left_out.join(", "))
        };
        let took: u64 = self.stages.iter().map(|ended| ended.seconds).sum();
        let held = if faults.is_empty() {
            "Everything that was tried held.".to_owned()
        } else {
            format!("Not everything held: {}.", faults.join("; "))
        };
        let figures = self.suites.iter().flat_map(|suite| &suite.figures);
        let missed = figures.clone().filter(|figure| figure.reached == Some(false)).count();
        let missed = match missed {
            0 => String::new(),
            missed => format!(" Of {} figures {missed} did not reach their goal.", figures.count()),
        };
        format!("{held}{missed}{whole} It took {} min {} s.", took / 60, took % 60)
    }
}

fn table(rows: &[Row]) -> Option<Block> {
    let lines =
        |row: &Row| vec![row.name.clone(), row.tried.to_string(), row.held.to_string(), row.note.clone()];
    (!rows.is_empty())
        .then(|| Block::Table(vec!["what", "tried", "held", "note"], rows.iter().map(lines).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::markdown;
    use imprint_proof::{Figure, NotTried};

    fn ended(target: &str, code: i32) -> Ended {
        Ended { target: target.to_owned(), code: Some(code), seconds: 61, rows: Vec::new() }
    }

    /// A run of every stage in which everything held.
    fn good() -> Proof {
        let stages: Vec<_> = STAGES.iter().map(|stage| ended(stage.target, 0)).collect();
        let suite = |name| {
            let mut suite = Suite::named(name);
            suite.row("a row", 2, 2, "");
            suite
        };
        let suites = expected(&stages).map(suite).collect();
        Proof { stages, suites, ..Proof::default() }
    }

    #[test]
    fn the_verdict() {
        let check = |change: &dyn Fn(&mut Proof), faults: usize, said: &str| {
            let mut proof = good();
            change(&mut proof);
            assert_eq!(proof.faults().len(), faults, "{:?}", proof.faults());
            assert!(proof.verdict().contains(said), "{}", proof.verdict());
        };
        check(&|_| {}, 0, "Everything that was tried held. It took");
        let missed =
            Figure { name: "requests".into(), measured: "2".into(), goal: "1".into(), reached: Some(false) };
        check(
            &|p| p.suites[0].figures.push(missed.clone()),
            0,
            "held. Of 1 figures 1 did not reach their goal.",
        );
        check(&|p| p.stages[0].code = Some(2), 1, "`make test` failed; its log is `test.log`");
        check(&|p| p.stages[0].code = None, 1, "`make test` failed");
        check(&|p| drop(p.suites.pop()), 1, "left no result");
        check(&|p| p.suites[0].held = 1, 1, ": 1 of 2 held");
        // A suite that tried nothing shows nothing.
        check(&|p| (p.suites[0].tried, p.suites[0].held) = (0, 0), 1, ": 0 of 0 held");
        check(&|p| drop(p.stages.remove(0)), 0, "This was no whole run: left out were `make test`.");
    }

    #[test]
    fn the_page_tells_all() {
        let mut proof = good();
        proof.suites[0].figures.push(Figure {
            name: "requests".into(),
            measured: "2.58".into(),
            goal: "at most 1.3".into(),
            reached: Some(false),
        });
        proof.suites[0].not_tried.push(NotTried { name: "a genuine KMS".into(), why: "none is here".into() });
        let page = markdown(&proof.page(&["fleet.svg".to_owned()]));
        for part in [
            "| requests | at most 1.3 | 2.58 | NO |",
            "| a genuine KMS | none is here |",
            "| a row | 2 | 2 |  |",
            "![fleet](fleet.svg)",
        ] {
            assert!(page.contains(part), "{part} is not in\n{page}");
        }
    }

    #[test]
    fn a_result_that_is_none_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let stages: Vec<_> = STAGES.iter().map(|stage| ended(stage.target, 0)).collect();
        assert!(suites(folder.path(), &stages).unwrap().is_empty());
        let name = expected(&stages).next().unwrap();
        fs::write(folder.path().join(format!("{name}.json")), "{}").unwrap();
        assert!(matches!(suites(folder.path(), &stages), Err(Error::Form(file, _)) if file.contains(name)));
    }
}

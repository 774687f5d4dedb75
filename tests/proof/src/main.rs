//! `make proof`: runs what proves Imprint, and writes one report of it.
//!
//! ```text
//! proof run FOLDER [STAGE...]   runs the stages, all or these, and writes the report into FOLDER
//! proof report FOLDER           writes the report again, of what the last run left there
//! proof summary FOLDER FILE     puts the summary of that run between the marks in FILE (RELIABILITY.md)
//! ```
#![expect(clippy::print_stdout, reason = "it speaks to a person")]

mod page;
mod report;
mod said;
mod stage;

use report::Proof;
use stage::{STAGES, Stage};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

type Failed = Box<dyn Error>;

/// The file that keeps a run.
const KEPT: &str = "proof.json";

fn main() -> Result<ExitCode, Failed> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["run", folder, stages @ ..] => run(&absolute(folder)?, stages),
        ["report", folder] => report(Path::new(folder), &kept(folder)?),
        ["summary", folder, file] => summary(&kept(folder)?, Path::new(file)),
        _ => Err("proof run FOLDER [STAGE...], proof report FOLDER, proof summary FOLDER FILE".into()),
    }
}

/// Runs the stages one after the other; one that fails stops no other.
fn run(folder: &Path, wanted: &[&str]) -> Result<ExitCode, Failed> {
    if let Some(unknown) = wanted.iter().find(|name| !STAGES.iter().any(|stage| stage.target == **name)) {
        let all: Vec<_> = STAGES.iter().map(|stage| stage.target).collect();
        return Err(format!("no stage {unknown}; there are {}", all.join(", ")).into());
    }
    fs::create_dir_all(folder)?;
    let mut proof = Proof {
        made: said_by("date", &["--utc", "+%Y-%m-%d"])?,
        commit: commit()?,
        machine: machine(),
        ..Proof::default()
    };
    let meant = |stage: &&Stage| wanted.is_empty() || wanted.contains(&stage.target);
    for stage in STAGES.iter().filter(meant) {
        println!("== make {}: {}", stage.target, stage.shows);
        let ended = stage.run(folder)?;
        let code = ended.code.map_or("a signal".to_owned(), |code| format!("exit {code}"));
        println!("== make {}: {code} after {} s", stage.target, ended.seconds);
        proof.stages.push(ended);
    }
    proof.suites = report::suites(folder, &proof.stages)?;
    fs::write(folder.join(KEPT), serde_json::to_string_pretty(&proof)?)?;
    report(folder, &proof)
}

/// Writes the pages, and says the verdict.
fn report(folder: &Path, proof: &Proof) -> Result<ExitCode, Failed> {
    let page = proof.page(&pictures(folder)?);
    fs::write(folder.join("report.md"), page::markdown(&page))?;
    fs::write(folder.join("index.html"), page::html("The proof", &page))?;
    println!("{}\nThe report is {}", proof.verdict(), folder.join("index.html").display());
    Ok(if proof.faults().is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Where a summary is put, in a file that says more.
const MARKS: [&str; 2] = ["<!-- the latest proof -->\n", "<!-- end of the latest proof -->\n"];

fn summary(proof: &Proof, file: &Path) -> Result<ExitCode, Failed> {
    let text = fs::read_to_string(file)?;
    let around =
        text.split_once(MARKS[0]).and_then(|(before, rest)| Some((before, rest.split_once(MARKS[1])?.1)));
    let (before, after) = around.ok_or_else(|| format!("{} has no marks for a summary", file.display()))?;
    let mut blocks = vec![page::Block::Paragraph(format!(
        "{} at commit `{}`, on {}. {}",
        proof.made,
        proof.commit,
        proof.machine,
        proof.verdict()
    ))];
    // Within a file that has headings of its own.
    blocks.extend(proof.summary().into_iter().map(|block| match block {
        page::Block::Heading(level, words) => page::Block::Heading(level + 1, words),
        other => other,
    }));
    let [begin, end] = MARKS;
    fs::write(file, format!("{before}{begin}\n{}\n{end}{after}", page::markdown(&blocks)))?;
    Ok(ExitCode::SUCCESS)
}

fn kept(folder: &str) -> Result<Proof, Failed> {
    let path = Path::new(folder).join(KEPT);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// The charts that the suites left, by name.
fn pictures(folder: &Path) -> Result<Vec<String>, Failed> {
    let mut pictures = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if Path::new(&name).extension().is_some_and(|extension| extension == "svg") {
            pictures.push(name);
        }
    }
    pictures.sort();
    Ok(pictures)
}

/// The suites run in folders of their own.
fn absolute(folder: &str) -> Result<PathBuf, Failed> {
    Ok(std::path::absolute(folder)?)
}

fn commit() -> Result<String, Failed> {
    let changed = !said_by("git", &["status", "--porcelain"])?.is_empty();
    Ok(said_by("git", &["rev-parse", "--short=12", "HEAD"])? + if changed { "+" } else { "" })
}

fn said_by(program: &str, arguments: &[&str]) -> Result<String, Failed> {
    let out = Command::new(program).args(arguments).output()?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Processors, memory and kernel, as far as the system tells.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let meminfo = read("/proc/meminfo");
    let kib = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().split(' ').next()?.parse::<u64>().ok());
    let memory = kib.map_or("unknown".to_owned(), |kib| format!("{} GiB", (kib + (1 << 19)) >> 20));
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{processors} processors, {memory} of memory, Linux {}", kernel.trim())
}

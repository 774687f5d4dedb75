//! `crash`: the programs stopped at every system call, and the power lost at every change.
//!
//! `crash kill`, `crash fail` and `crash power-loss` try a part, with the name of a scenario after it that one
//! alone; `crash calls SCENARIO` lists the calls of an undisturbed run. Of many points `CRASH_EVERY=n` tries
//! every n-th and says how many it left out; `CRASH_SEED` is the seed of a former sample.
#![expect(clippy::print_stdout, reason = "a harness speaks to a person")]

use imprint_crash::points;
use imprint_crash::report::{self, Row};
use imprint_crash::rotator::ROTATIONS;
use imprint_crash::scenario::{self, SCENARIOS};
use imprint_crash::suite::{self, Chooses, Wanted};
use imprint_crash::world::World;
use imprint_e2e::Programs;
use imprint_proof::NotTried;
use std::process::ExitCode;

type Failed = Box<dyn std::error::Error>;

/// What is tried, and of which scenario.
struct Part<'a> {
    part: Option<&'a str>,
    scenario: Option<&'a str>,
    programs: Programs,
}

impl Part<'_> {
    fn has(&self, part: &str) -> bool {
        self.part.is_none_or(|is| is == part)
    }

    fn is_of(&self, scenario: &str) -> bool {
        self.scenario.is_none_or(|is| is == scenario)
    }
}

fn main() -> Result<ExitCode, Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let programs = Programs::named().ok_or("IMPRINT_E2E_BIN_DIR must name the folder of the programs")?;
    let part = match words.as_slice() {
        ["calls", name] => {
            let world = World::new(scenario::named(name), &programs)?;
            for (call, returned) in points::recorded(&world)? {
                println!("{:?} {} #{} = {returned}", call.does, call.key(), call.nth + 1);
            }
            return Ok(ExitCode::SUCCESS);
        }
        [] => Part { part: None, scenario: None, programs },
        [part] => Part { part: Some(part), scenario: None, programs },
        [part, scenario] => Part { part: Some(part), scenario: Some(scenario), programs },
        _ => return Err("crash [kill|fail|power-loss [SCENARIO]], crash calls SCENARIO".into()),
    };
    let mut tried = 0;
    let mut broken = 0;
    for rows in [crashes(&part)?, power_losses(&part)?] {
        tried += rows.iter().map(|row| row.tried).sum::<usize>();
        broken += rows.iter().map(|row| row.broken.len()).sum::<usize>();
    }
    println!("{tried} tried, {broken} broken");
    Ok(if tried > 0 && broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

fn crashes(part: &Part<'_>) -> Result<Vec<Row>, Failed> {
    let every = number("CRASH_EVERY").and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
    let mut rows = Vec::new();
    let mut add = |word: &str, row: Row| {
        let row = Row { name: format!("{word}: {}", row.name), ..row };
        println!("{}", row.line());
        rows.push(row);
    };
    let parts: [(&str, Chooses); 2] = [("kill", points::kills), ("fail", points::failures)];
    for (word, points) in parts.into_iter().filter(|(word, _)| part.has(word)) {
        let wanted = Wanted { programs: &part.programs, every, points };
        for scenario in SCENARIOS.iter().filter(|it| part.is_of(it.name)) {
            add(word, suite::tried(scenario, &wanted)?);
        }
        for rotation in ROTATIONS.iter().filter(|it| part.is_of(it.name)) {
            add(word, suite::rotated(rotation, &wanted)?);
        }
    }
    if rows.is_empty() {
        return Ok(rows);
    }
    let mut suite = report::suite("crash", &rows);
    suite.not_tried = not_tried(&[
        (
            "calls before the configuration is opened",
            "the C library loads the program: nothing is at stake, and a program that is not loaded has no say",
        ),
        (
            "memory that the kernel does not give (mmap, brk)",
            "Rust's allocator ends the process at once, which is a kill at that point; kills are tried around every call",
        ),
        (
            "a crash inside KMS, S3 or Conjur",
            "they are not ours to kill: their replies are lost or late instead, in the faults of servers",
        ),
        (
            "calls that only wait (epoll_wait, futex)",
            "they change nothing, and a kill there is one between the calls beside it",
        ),
        ("other processors than x86_64", "a call can only be taken back by this machine's registers"),
    ]);
    suite.write()?;
    Ok(rows)
}

fn power_losses(part: &Part<'_>) -> Result<Vec<Row>, Failed> {
    let mut rows = Vec::new();
    if !part.has("power-loss") {
        return Ok(rows);
    }
    let seed = number("CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
    println!("CRASH_SEED={seed} draws the same samples again");
    for scenario in SCENARIOS.iter().filter(|it| part.is_of(it.name)) {
        for row in suite::without_power(scenario, &part.programs, seed)? {
            println!("{}", row.line());
            rows.push(row);
        }
    }
    let mut suite = report::suite("power-loss", &rows);
    suite.not_tried = not_tried(&[
        (
            "a power loss of this machine",
            "the disk is a model, fed with the calls of real runs; what it may lose is said in tests/crash/src/model.rs",
        ),
        (
            "a rename that is half there",
            "journals keep one rename in one transaction; a file system without a journal promises nothing",
        ),
        ("the rotator", "it has no files"),
    ]);
    suite.write()?;
    Ok(rows)
}

fn not_tried(all: &[(&str, &str)]) -> Vec<NotTried> {
    all.iter().map(|(name, why)| NotTried { name: (*name).to_owned(), why: (*why).to_owned() }).collect()
}

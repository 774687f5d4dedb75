//! The wave of boots of `fleet.rs`, an example of core that is built beside this program: it runs in virtual time.

use crate::Failed;
use crate::goals::Row;
use imprint_e2e::Ran;
use std::process::Command;

const WHAT: [&str; 3] = ["100,000 boots: enrolled", "  requests a host", "  time over the least"];
const GOAL: [&str; 3] =
    ["all, whatever the window", "at most 1.3, whatever the window", "at most 1.25x, whatever the window"];

/// The worst of all windows.
pub(crate) fn measure() -> Result<Vec<Row>, Failed> {
    let program = std::env::current_exe()?.with_file_name("examples").join("fleet");
    println!();
    if !program.exists() {
        println!("NOT MEASURED: {} is not built", program.display());
        return Ok(std::iter::zip(WHAT, GOAL)
            .map(|(w, g)| Row::not_measured(w, g, "`fleet` is not built"))
            .collect());
    }
    let ran = Ran::of(&mut Command::new(program));
    print!("{}", ran.out);
    if ran.code != 0 {
        return Err(format!("the wave of boots ended with {}: {}", ran.code, ran.err).into());
    }
    let waves: Vec<[f64; 3]> = ran.out.lines().filter_map(wave).collect();
    let worst = |at: usize, of: fn(f64, f64) -> f64| waves.iter().map(|wave| wave[at]).reduce(of);
    let (Some(enrolled), Some(requests), Some(time)) =
        (worst(0, f64::min), worst(1, f64::max), worst(2, f64::max))
    else {
        return Err("the wave of boots told nothing".into());
    };
    let ([enrolled_what, requests_what, time_what], [all, few, soon]) = (WHAT, GOAL);
    Ok(vec![
        Row::at_least(enrolled_what, all, enrolled, 100_000.0, enrolled.to_string()),
        Row::at_most(requests_what, few, requests, 1.3, format!("{requests:.2}")),
        Row::at_most(time_what, soon, time, 1.25, format!("{time:.2}x")),
    ])
}

/// Enrolled, requests a host, time over the least; of a line that begins with a window in seconds.
fn wave(line: &str) -> Option<[f64; 3]> {
    let mut words = line.split_whitespace();
    let (_window, "s") = (words.next()?, words.next()?) else { return None };
    let mut number = || words.next()?.parse().ok();
    Some([number()?, number()?, number()?])
}

//! `make fleet`: every wave, the table, and what the chart is drawn from, in a directory that is named.
#![expect(clippy::print_stdout, reason = "a bench speaks to a person")]

use imprint_fleet::agents::Failed;
use imprint_fleet::report::{HEAD, Ran, proof, row, series};
use imprint_fleet::scenarios;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> Result<ExitCode, Failed> {
    let into = PathBuf::from(std::env::args().nth(1).ok_or("name a directory for the results")?);
    std::fs::create_dir_all(&into)?;
    print!("{HEAD}");
    let (mut all, mut table) = (Vec::new(), HEAD.to_owned());
    for trial in scenarios::all() {
        let ran = Ran::of(trial)?;
        println!("{}", row(&ran));
        table.push_str(&row(&ran));
        table.push('\n');
        all.push(ran);
    }
    std::fs::write(into.join("fleet.md"), table)?;
    proof(&all).write_to(&into)?;
    std::fs::write(into.join("fleet-series.json"), serde_json::to_vec(&series(&all))?)?;
    let mut code = ExitCode::SUCCESS;
    for ran in all.iter().filter(|ran| !ran.broken.is_empty()) {
        println!("{}: {}", ran.trial.scenario.name, ran.broken.join("; "));
        code = ExitCode::FAILURE;
    }
    Ok(code)
}

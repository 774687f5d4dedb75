//! `imprint-contract`: asks the cases and prints one line for each. Without `IMPRINT_CONTRACT_URL` it asks the stand-in, as both
//! recorded versions.

use std::process::ExitCode;

use imprint_contract::{Outcome, Target, Verdict, Version, run};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match every_target().await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(message) => {
            say(&format!("error: {message}"));
            ExitCode::from(64)
        }
    }
}

/// Runs the suite against whatever the environment names and returns how many cases failed.
async fn every_target() -> Result<usize, String> {
    if let Some(target) = Target::from_env(|name| std::env::var(name).ok()).await? {
        return one_target(&target).await;
    }
    say("IMPRINT_CONTRACT_URL is not set: asking the stand-in, as both recorded versions");
    let mut failed = 0;
    for version in [Version::V1_22_3, Version::V1_24_0] {
        failed += one_target(&Target::stand_in(version, version)?).await?;
    }
    Ok(failed)
}

async fn one_target(target: &Target) -> Result<usize, String> {
    say(&format!("\nasking {}", target.label()));
    let outcomes = run(target, |outcome| say(&line(outcome))).await?;
    let count =
        |wanted: fn(&Verdict) -> bool| outcomes.iter().filter(|outcome| wanted(&outcome.verdict)).count();
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let passed = outcomes.len() - failed - skipped;
    say(&format!("{}: {passed} passed, {failed} FAILED, {skipped} SKIPPED", target.label()));
    Ok(failed)
}

fn line(outcome: &Outcome) -> String {
    let (word, why) = match &outcome.verdict {
        Verdict::Failed(why) => ("FAIL", format!("\n     {why}")),
        Verdict::Passed => ("ok  ", String::new()),
        Verdict::Skipped(why) => ("SKIP", format!("\n     {why}")),
    };
    format!("{word} {:<38} {}{why}", outcome.name, outcome.what)
}

#[expect(clippy::print_stdout, reason = "the one place where this program speaks")]
fn say(text: &str) {
    println!("{text}");
}

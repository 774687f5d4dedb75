//! What the command line does: parse, run, tell. Nothing else in the agent prints.

use super::{Cli, Command};
use crate::config::{Config, Machine};
use crate::effects::Real;
use crate::enroll::{self, Outcome};
use crate::journal::{self, event};
use crate::status::Status;
use crate::step::Wishes;
use crate::{console, notify, store, verify};
use clap::Parser as _;
use imprint_core::dumps;
use imprint_core::error::chain;
use imprint_core::second::Second;
use imprint_core::{Class, Classified};
use log::LevelFilter;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

/// How long `verify` tries when nothing else is said: it is for timers.
const VERIFY_WITHIN: Duration = Duration::from_secs(60);

/// Runs the command line of this process.
pub(crate) fn run() -> ExitCode {
    // Before anything is read that could be a secret.
    let dumps = dumps::forbid();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; they go to standard output.
            let _nobody_reads = error.print();
            return if error.use_stderr() {
                ExitCode::from(Class::Usage.exit_code())
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    journal::start(if cli.verbose { LevelFilter::Debug } else { LevelFilter::Info });
    if let Err(error) = dumps {
        log::warn!(target: "imprint", "core dumps cannot be forbidden: {error}");
    }
    let end = start(&cli);
    log::logger().flush();
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(class) => ExitCode::from(class.exit_code()),
    }
}

fn start(cli: &Cli) -> Result<(), Class> {
    let config = Config::load(&cli.config, &Machine);
    match &cli.command {
        Command::Enroll { deadline } => {
            let what = ("cannot enroll", event::FAILED);
            let config = config.map_err(|e| fail(what, &e, console::automatic().as_deref()))?;
            let console = config.console.clone().or_else(console::automatic);
            let config = Config { deadline: deadline.unwrap_or(config.deadline), ..config };
            let fail = |e: &enroll::Error| fail(what, e, console.as_deref());
            let real = Real::new(&config).map_err(|e| fail(&e.into()))?;
            let story = enroll::enroll(&config, Wishes::default(), &real, &store::Real);
            let end = block_on(notify::while_running(story))?.map_err(|e| fail(&e))?;
            let said = match end {
                Outcome::Enrolled(host) => {
                    let path = config.files.identity.path.display();
                    format!("{} is enrolled; its identity is in {path}", host.login())
                }
                Outcome::NothingToDo(host) => format!("host/{host} is enrolled already"),
            };
            notify::ready(&said);
            say(&said);
        }
        Command::Status { json } => {
            let what = ("cannot tell the status", event::FAILED);
            let config = config.map_err(|e| fail(what, &e, None))?;
            let status = Status::of(&config, &enroll::made_for(&config), Second::now())
                .map_err(|e| fail(what, &e, None))?;
            say(&if *json { status.to_json() } else { status.to_string() });
        }
        Command::Verify { deadline } => {
            let what = ("cannot verify", event::VERIFY_FAILED);
            let config = config.map_err(|e| fail(what, &e, None))?;
            let real = Real::new(&config).map_err(|e| fail(what, &e, None))?;
            let within = deadline.unwrap_or(VERIFY_WITHIN);
            let host = block_on(verify::verify(&config, &real, &store::Real, within))?
                .map_err(|e| fail(what, &e, None))?;
            say(&format!("{} authenticates at {}", host.login(), config.appliance_url));
        }
    }
    Ok(())
}

fn block_on<T>(story: impl Future<Output = T>) -> Result<T, Class> {
    // It fails only where the kernel gives no event queue.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| {
        log::error!(target: "imprint::failure", MESSAGE_ID = event::FAILED; "the runtime cannot be started: {error}");
        Class::Bug
    })?;
    Ok(runtime.block_on(story))
}

/// Tells a person, the journal and, at boot, the console: what failed, why, and what to do.
fn fail((what, id): (&str, &str), error: &impl Classified, console: Option<&std::path::Path>) -> Class {
    let class = error.class();
    let why = chain(error);
    let hint = error.hint().unwrap_or_default();
    log::error!(
        target: "imprint::failure", MESSAGE_ID = id, class = class.as_str(), hint;
        "{what}: {why}"
    );
    notify::failed(&format!("{what}: {why} ({class})"));
    if let Some(device) = console {
        console::tell(device, &format!("imprint: {what}: {why} ({class}); hint: {hint}"));
    }
    class
}

/// Answers the person who called. A pipe that nobody reads is no failure of ours.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _nobody_reads = writeln!(out, "{text}").and_then(|()| out.flush());
}

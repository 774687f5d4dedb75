//! The command line. No flag takes a secret, and nothing but [`run`] prints.

use crate::config::{Config, DEFAULT_PATH, Machine};
use crate::effects::Real;
use crate::enroll::{self, Outcome};
use crate::journal::{self, event};
use crate::status::Status;
use crate::{console, store, verify};
use clap::{Parser, Subcommand};
use imprint_core::dumps;
use imprint_core::error::chain;
use imprint_core::settings::{Value, duration};
use imprint_core::{Class, Classified};
use log::LevelFilter;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long `verify` tries when nothing else is said: it is for timers.
const VERIFY_WITHIN: Duration = Duration::from_secs(60);

/// Gives this EC2 instance its Conjur identity.
///
/// Exit codes: 0 enrolled or nothing to do; 64 usage; 65 something was tampered with; 69 nothing
/// published, or expired; 70 a bug; 73 the disk; 75 may work in a moment; 76 a server does not speak
/// its protocol; 77 refused; 78 configuration.
#[derive(Debug, Parser)]
#[command(name = "imprint", version, max_term_width = 100)]
struct Cli {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Say more on standard error.
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Enroll this instance, or find that there is nothing to do. Safe at any moment.
    Enroll {
        /// How long to try, such as 15m; the configuration's deadline if left out.
        #[arg(long, value_name = "SPAN", value_parser = span)]
        deadline: Option<Duration>,
    },
    /// Say what is known of the enrollment, without asking anybody.
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prove that the identity on disk authenticates.
    Verify {
        /// How long to try, such as 1m.
        #[arg(long, value_name = "SPAN", value_parser = span)]
        deadline: Option<Duration>,
    },
}

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
            match block_on(enroll::enroll(&config, &real, &store::Real))?.map_err(|e| fail(&e))? {
                Outcome::Enrolled(host) => {
                    say(&format!(
                        "{} is enrolled; its identity is in {}",
                        host.login(),
                        config.files.identity.path.display()
                    ));
                }
                Outcome::NothingToDo(host) => say(&format!("host/{host} is enrolled already")),
            }
        }
        Command::Status { json } => {
            let what = ("cannot tell the status", event::FAILED);
            let config = config.map_err(|e| fail(what, &e, None))?;
            let status = Status::of(&config, &enroll::made_for(&config)).map_err(|e| fail(what, &e, None))?;
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

fn span(text: &str) -> Result<Duration, String> {
    let span = duration(&Value::String(text.into())).map_err(|wrongs| wrongs.join("; "))?;
    if span.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(span) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line() {
        Cli::command().debug_assert();
        let check = |line: &str, good: bool| {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert_eq!(parsed.is_ok(), good, "{line}: {parsed:?}");
        };
        check("imprint enroll", true);
        check("imprint --config /x enroll --deadline 2m", true);
        check("imprint enroll --config /x", true);
        check("imprint status --json", true);
        check("imprint verify", true);
        check("imprint", false);
        check("imprint enroll --deadline 0s", false);
        check("imprint enroll --deadline soon", false);
        check("imprint enroll --token x", false);
        check("imprint rotate", false);
    }
}

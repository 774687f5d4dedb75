//! What the command line does: parse, run, tell. Nothing else in the agent prints.

use super::promotion::Promotion;
use super::{Cli, Command};
use crate::config::{self, Config, DEFAULT_PATH, Machine, Source, TokenFrom};
use crate::effects::Real;
use crate::enroll::{self, Outcome, Rehearsed, Rotated};
use crate::files::fallback;
use crate::journal::{self, event};
use crate::machine_facts::{self, Shown};
use crate::status::Status;
use crate::step::Wishes;
use crate::{console, doctor, forget, notify, store, verify};
use clap::Parser as _;
use imprint_core::caller::RunId;
use imprint_core::error::chain;
use imprint_core::process;
use imprint_core::second::Second;
use imprint_core::{Class, Classified};
use log::LevelFilter;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long `verify` tries when nothing else is said: it is for timers.
const VERIFY_WITHIN: Duration = Duration::from_secs(60);

/// The same for `promote`, which redeems at times.
const PROMOTE_WITHIN: Duration = Duration::from_secs(120);

type Configured = Result<Config, config::Error>;

/// Runs the command line of this process.
pub(crate) fn run() -> ExitCode {
    // Before anything is read that could be a secret.
    let closed = process::close();
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
    let attempt = RunId::draw(Second::now());
    journal::start(if cli.verbose { LevelFilter::Debug } else { LevelFilter::Info }, &attempt);
    if let Err(error) = closed {
        log::warn!(target: "imprint", "core dumps cannot be forbidden: {error}");
    }
    let end = start(&cli, &attempt);
    log::logger().flush();
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(class) => ExitCode::from(class.exit_code()),
    }
}

fn start(cli: &Cli, attempt: &RunId) -> Result<(), Class> {
    let config = Config::load(&cli.config, &Machine)
        .map(|config| Config { files: fallback::settled(config.files), ..config });
    match &cli.command {
        Command::Doctor { json, offline } => doctor(&cli.config, &config, attempt, *json, *offline),
        Command::Enroll { deadline, dry_run, take_over, again, token_from } => {
            let wishes = Wishes { again: *again, take_over: *take_over };
            let from = token_from.as_ref().map(Result::as_ref).transpose();
            let from = from.map_err(|why| {
                log::error!(target: "imprint::failure", MESSAGE_ID = event::FAILED; "--token-from {why}");
                Class::Usage
            })?;
            enroll(config, attempt, *deadline, wishes, *dry_run, from)
        }
        Command::Facts { json, reveal } => facts(config, *json, *reveal),
        Command::Forget { bake } => forget(config, *bake),
        Command::Promote { deadline, json } => promote(config, attempt, *deadline, *json),
        Command::RotateKey { deadline } => rotate_key(config, attempt, *deadline),
        Command::Status { json } => status(config, *json),
        Command::Verify { deadline, re_enroll } => verify(config, attempt, *deadline, *re_enroll),
    }
}

fn doctor(path: &Path, config: &Configured, attempt: &RunId, json: bool, offline: bool) -> Result<(), Class> {
    let report = block_on(doctor::examine(path, config, &Machine, attempt, offline))?;
    say(&if json { report.to_json() } else { report.to_string() });
    report.worst().map_or(Ok(()), Err)
}

fn enroll(
    config: Configured,
    attempt: &RunId,
    deadline: Option<Duration>,
    wishes: Wishes,
    dry_run: bool,
    token_from: Option<&TokenFrom>,
) -> Result<(), Class> {
    let what = (if dry_run { "would not enroll" } else { "cannot enroll" }, event::FAILED);
    // A rehearsal is a person's business, and no boot's.
    let automatic = || console::automatic().filter(|_| !dry_run);
    let config =
        config.map_err(|e| fail(what, &e, automatic().as_deref().map(|device| (device, attempt))))?;
    let console = config.console.clone().filter(|_| !dry_run).or_else(automatic);
    let mut config = Config { deadline: deadline.unwrap_or(config.deadline), ..config };
    if let Some(from) = token_from {
        config.sources = vec![Source::named(from, &config.sources, &Machine)];
    }
    let fail = |e: &enroll::Error| fail(what, e, console.as_deref().map(|device| (device, attempt)));
    let real = Real::new(&config, "enroll", attempt).map_err(|e| fail(&e.into()))?;
    if dry_run {
        let end = block_on(enroll::dry_run(&config, wishes, &real, &store::Real))?;
        say(&rehearsed(&end.map_err(|e| fail(&e))?));
        return Ok(());
    }
    let story = enroll::enroll(&config, wishes, &real, &store::Real);
    let end = block_on(story)?.map_err(|e| fail(&e))?;
    let said = enrolled(&config, &end);
    notify::ready(&said);
    say(&said);
    Ok(())
}

fn facts(config: Configured, json: bool, reveal: bool) -> Result<(), Class> {
    let config = match config {
        Ok(config) => Some(config),
        // A token is sealed for a machine before anything is configured there.
        Err(config::Error::Missing(path)) if path == Path::new(DEFAULT_PATH) => None,
        Err(error) => return Err(fail(("cannot tell the facts", event::FAILED), &error, None)),
    };
    let shown = Shown::new(block_on(machine_facts::asked(config.as_ref()))?, reveal);
    say(&if json { shown.to_json() } else { shown.to_string() });
    Ok(())
}

fn rehearsed(end: &Rehearsed) -> String {
    match end {
        Rehearsed::NothingToDo(host) => format!("host/{host} is enrolled already; nothing would be done"),
        Rehearsed::WouldShow(host) => {
            format!("would show the promoted identity of host/{host} to Conjur, and keep it when it is taken")
        }
        Rehearsed::WouldRedeem { host, why, token, until } => {
            let until = until.map(|until| format!(", good until {until}")).unwrap_or_default();
            format!("would redeem token {token}{until} for {}: {why}", host.login())
        }
    }
}

fn enrolled(config: &Config, end: &Outcome) -> String {
    match end {
        Outcome::Enrolled(host) => {
            let path = config.files.identity.path.display();
            format!("{} is enrolled; its identity is in {path}", host.login())
        }
        Outcome::NothingToDo(host) => format!("host/{host} is enrolled already"),
    }
}

fn forget(config: Configured, bake: bool) -> Result<(), Class> {
    let what = ("something may be left", event::FAILED);
    let config = config.map_err(|e| fail(what, &e, None))?;
    let done = block_on(forget::forget(&config, bake, &store::Real))?.map_err(|e| fail(what, &e, None))?;
    for path in &done.removed {
        say(&format!("removed {}", path.display()));
    }
    for (path, why) in &done.left_alone {
        say(&format!("left alone {}: {why}", path.display()));
    }
    if done.removed.is_empty() {
        say("nothing was there to remove");
    }
    if let Some(here) = &done.baked_on {
        say(&format!("an image is baked on {here}: imprint enroll refuses here from now on"));
    }
    Ok(())
}

fn promote(config: Configured, attempt: &RunId, deadline: Option<Duration>, json: bool) -> Result<(), Class> {
    let what = ("cannot promote", event::FAILED);
    let loaded = config.map_err(|e| fail(what, &e, None))?;
    let within = deadline.unwrap_or(PROMOTE_WITHIN);
    let config = Config { deadline: within, ..loaded };
    let real = Real::new(&config, "promote", attempt).map_err(|e| fail(what, &e, None))?;
    let end = block_on(enroll::promote(&config, &real, &store::Real, within))?;
    let said = Promotion::new(&config, &end.map_err(|e| fail(what, &e, None))?);
    say(&if json { said.to_json() } else { said.to_string() });
    Ok(())
}

fn rotate_key(config: Configured, attempt: &RunId, deadline: Option<Duration>) -> Result<(), Class> {
    let what = ("cannot rotate the key", event::FAILED);
    let config = config.map_err(|e| fail(what, &e, None))?;
    let real = Real::new(&config, "rotate-key", attempt).map_err(|e| fail(what, &e, None))?;
    let within = deadline.unwrap_or(config.deadline);
    let end = block_on(enroll::rotate_key(&config, &real, &store::Real, within))?;
    say(&match end.map_err(|e| fail(what, &e, None))? {
        Rotated::ByItself(host) => format!("{} has a new key", host.login()),
        Rotated::ByRedeem(host) => {
            format!(
                "{} has a new key; the first new one was lost, so the host was redeemed again",
                host.login()
            )
        }
    });
    Ok(())
}

fn status(config: Configured, json: bool) -> Result<(), Class> {
    let what = ("cannot tell the status", event::FAILED);
    let config = config.map_err(|e| fail(what, &e, None))?;
    let status = Status::of(&config, &enroll::made_for(&config), Second::now());
    let status = status.map_err(|e| fail(what, &e, None))?;
    say(&if json { status.to_json() } else { status.to_string() });
    Ok(())
}

fn verify(
    config: Configured,
    attempt: &RunId,
    deadline: Option<Duration>,
    re_enroll: bool,
) -> Result<(), Class> {
    let what = ("cannot verify", event::VERIFY_FAILED);
    let loaded = config.map_err(|e| fail(what, &e, None))?;
    let real = Real::new(&loaded, "verify", attempt).map_err(|e| fail(what, &e, None))?;
    let within = deadline.unwrap_or(VERIFY_WITHIN);
    match block_on(verify::verify(&loaded, &real, &store::Real, within))? {
        Ok(host) => say(&format!("{} authenticates at {}", host.login(), loaded.appliance_url)),
        Err(error @ verify::Error::Refused { .. }) if re_enroll => {
            let _told = fail(what, &error, None);
            drop(real);
            // Whether it may be replaced, the rule of once a day decides, in `enroll`.
            return enroll(Ok(loaded), attempt, deadline, Wishes::default(), false, None);
        }
        Err(error) => return Err(fail(what, &error, None)),
    }
    Ok(())
}

/// Runs a story to its end. Whichever it is, systemd leaves it the time that its own deadline gives it.
fn block_on<T>(story: impl Future<Output = T>) -> Result<T, Class> {
    // It fails only where the kernel gives no event queue.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = runtime.map_err(|error| {
        log::error!(target: "imprint::failure", MESSAGE_ID = event::FAILED; "the runtime cannot be started: {error}");
        Class::Bug
    })?;
    let end = runtime.block_on(notify::while_running(story));
    // A name that is still being looked up is not waited for.
    runtime.shutdown_background();
    Ok(end)
}

/// Tells a person, the journal and, at boot, the console: what failed, why, and what to do.
fn fail((what, id): (&str, &str), error: &impl Classified, console: Option<(&Path, &RunId)>) -> Class {
    let class = error.class();
    let why = chain(error);
    let hint = error.hint().unwrap_or_default();
    log::error!(
        target: "imprint::failure", MESSAGE_ID = id, class = class.as_str(), hint;
        "{what}: {why}"
    );
    notify::failed(&format!("{what}: {why} ({class})"));
    if let Some((device, attempt)) = console {
        // Of an instance that is gone this line may be all that is left to find the attempt by.
        console::tell(device, &format!("imprint: {what}: {why} ({class}); hint: {hint}; attempt {attempt}"));
    }
    class
}

/// Answers the person who called. A pipe that nobody reads is no failure of ours.
fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _nobody_reads = writeln!(out, "{}", visible(text)).and_then(|()| out.flush());
}

/// What a server, a tag or an image's state said must not lead a terminal astray.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_terminal_is_led_astray() {
        assert_eq!(visible("host  a\u{1b}[2J\u{9b}1mb\r\t\nc\u{e9}"), "host  a [2J 1mb  \nc\u{e9}");
    }
}

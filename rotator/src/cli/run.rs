//! What the command line does. What people read goes to standard output, problems and logs to standard
//! error; the exit code is the worst class, after sysexits(3).

mod doctor;
mod token;

use super::{Cli, Command, fleet, instance};
use crate::PROGRAM;
use crate::config::{self, Config, Place};
use crate::conjur_policy;
use crate::effects::{self, Real};
use crate::logging::{self, Form};
use crate::outlook::Outlook;
use crate::progress;
use crate::publish;
use crate::rotate::{self, Ask, Run};
use crate::seal;
use crate::seal_login;
use crate::status::{self, Status};
use clap::Parser as _;
use imprint_core::caller::{Caller, RunId};
use imprint_core::error::{Class, Classified, chain};
use imprint_core::second::Second;
use serde_json::Value;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::rc::Rc;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Effect(#[from] effects::Error),
    #[error("standard output cannot be written")]
    Output(#[source] io::Error),
    #[error(transparent)]
    Fleet(#[from] crate::fleet::run::Error),
    #[error(transparent)]
    Grant(#[from] crate::fleet::grant::Error),
    #[error(transparent)]
    Instance(#[from] crate::instance::run::Error),
    #[error(transparent)]
    Policy(#[from] conjur_policy::Error),
    #[error(transparent)]
    Publish(#[from] publish::Error),
    #[error(transparent)]
    Run(#[from] rotate::Error),
    #[error(transparent)]
    Seal(#[from] seal::Error),
    #[error(transparent)]
    Token(#[from] crate::token::Error),
    #[error(transparent)]
    SealLogin(#[from] seal_login::Error),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Config(error) => error.class(),
            Self::Effect(error) => error.class(),
            Self::Fleet(error) => error.class(),
            Self::Grant(error) => error.class(),
            Self::Instance(error) => error.class(),
            Self::Output(_) => Class::Storage,
            Self::Policy(error) => error.class(),
            Self::Publish(error) => error.class(),
            Self::Run(error) => error.class(),
            Self::Seal(error) => error.class(),
            Self::Token(error) => error.class(),
            Self::SealLogin(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Config(error) => error.hint(),
            Self::Effect(error) => error.hint(),
            Self::Fleet(error) => error.hint(),
            Self::Grant(error) => error.hint(),
            Self::Instance(error) => error.hint(),
            Self::Output(_) => {
                Some("what was asked for is done, but not told: see whether the disk is full that it goes to")
            }
            Self::Policy(error) => error.hint(),
            Self::Publish(error) => error.hint(),
            Self::Run(error) => error.hint(),
            Self::Seal(error) => error.hint(),
            Self::Token(error) => error.hint(),
            Self::SealLogin(error) => error.hint(),
        }
    }
}

/// Runs a command.
pub(crate) async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, and go to standard output.
            let _nobody = error.print();
            return if error.use_stderr() { ended(Some(Class::Usage)) } else { ExitCode::SUCCESS };
        }
    };
    let level = if cli.verbose { log::LevelFilter::Debug } else { log::LevelFilter::Warn };
    logging::start(Form::Words, level);
    let name = cli.command.name();
    match progress::beside(name, command(cli)).await {
        Ok(class) => ended(class),
        Err(error) => {
            complain(&error);
            ended(Some(error.class()))
        }
    }
}

/// When not even the runtime could be started.
pub(crate) fn failed_to_start(error: &std::io::Error) -> ExitCode {
    let _nobody = writeln!(std::io::stderr(), "imprint-rotator: the runtime cannot start: {error}");
    ended(Some(Class::Bug))
}

async fn command(cli: Cli) -> Result<Option<Class>, Error> {
    let id = RunId::draw(Second::now());
    log::debug!("this is run {id}");
    let caller = |command: &str| Caller::new(PROGRAM, command, &id);
    let (named, owner) = (cli.config.as_deref(), cli.config_owner.as_deref());
    let config = match Place::of(named, owner, None, |name| std::env::var(name).ok()) {
        Ok(place) => Config::at(place, &caller("config")).await,
        Err(error) => Err(error),
    };
    if let (Command::Doctor { json, .. }, Err(error)) = (&cli.command, &config) {
        return doctor::told(&crate::doctor::without_config(error, Second::now()), *json);
    }
    let config = Rc::new(config?);
    config.tell_of_an_unused_key(|name| std::env::var(name).ok());
    match cli.command {
        Command::Rotate { now, revoke_superseded, factories, json } => {
            let on = Real::new(Rc::clone(&config), &caller("rotate")).await?;
            let ask = Ask { now, revoke_superseded, factories };
            let run = Run::new(&config, &ask, &id, None, fastrand::Rng::new());
            let report = run.rotate(&on).await?;
            if json {
                say(format_args!("{:#}", report.to_json()))?;
            } else {
                // A failure has been said on standard error, with its hint.
                report.factories.iter().filter(|outcome| outcome.result.is_ok()).try_for_each(say)?;
            }
            Ok(report.class())
        }
        Command::Policy(ask) => {
            let text = conjur_policy::policy(&config, &ask)?;
            say(text.trim_end())?;
            Ok(None)
        }
        Command::Doctor { factories, json } => {
            let path = cli.config.unwrap_or_default();
            doctor::run(config, &path, &factories, &id, &caller("doctor"), json).await
        }
        Command::Seal(ask) => {
            // Conjur alone: there may be no AWS to have a region of.
            let on = seal::Real::new(&config, &caller("seal")).await?;
            let report = seal::seal(&config, &ask, &id, &on).await?;
            tell(ask.json, || report.to_json(), &report)?;
            Ok(None)
        }
        Command::SealLogin(ask) => {
            let config = ask.whose(&config)?;
            let on = seal_login::Real::new(&config, &caller("seal-login")).await?;
            say(seal_login::seal_login(&config, &on).await?)?;
            Ok(None)
        }
        Command::Decommission(ask) => fleet::decommission(&config, ask, &caller("decommission")).await,
        Command::Mint(ask) => instance::mint(&config, ask, &id, &caller("mint")).await,
        Command::Promote(ask) => instance::promote(&config, ask, &id, &caller("promote")).await,
        Command::Pin(ask) => fleet::pin(&config, ask, &caller("pin")).await,
        Command::Rules(ask) => fleet::rules(&config, ask, &caller("rules")).await,
        Command::Plan { now, factories, json } => {
            let on = Real::new(Rc::clone(&config), &caller("plan")).await?;
            let outlook = Outlook::ask(&config, &factories, now, &on).await?;
            tell(json, || outlook.to_json(), &outlook)?;
            Ok(outlook.class())
        }
        Command::Publish(ask) => {
            let on = Real::new(Rc::clone(&config), &caller("publish")).await?;
            let published = publish::publish(&config, &ask, &id, &on, seal::standard_input).await?;
            tell(ask.json, || published.to_json(), &published)?;
            Ok(None)
        }
        Command::Status { hosts: true, factories, json } => {
            fleet::hosts(&config, factories, json, &caller("status")).await
        }
        Command::Status { hosts: false, factories, json } => {
            let on = Real::new(Rc::clone(&config), &caller("status")).await?;
            let status = Status::ask(&config, &factories, &on).await?;
            tell(json, || status.to_json(), status::Table(&status))?;
            Ok(status.class())
        }
        Command::Token(command) => token::run(config, command, &caller).await,
    }
}

fn ended(class: Option<Class>) -> ExitCode {
    class.map_or(ExitCode::SUCCESS, |class| ExitCode::from(class.exit_code()))
}

/// Says it to a program or to a person.
pub(super) fn tell(
    json: bool,
    object: impl FnOnce() -> Value,
    words: impl fmt::Display,
) -> Result<(), Error> {
    if json { say(format_args!("{:#}", object())) } else { say(words) }
}

/// The one place that writes to standard output. A reader that has gone (`| head`) is no failure; a full disk is,
/// or half a policy would pass for a whole one.
pub(super) fn say(what: impl fmt::Display) -> Result<(), Error> {
    progress::finish();
    match writeln!(io::stdout(), "{what}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What failed, why, and what to do; each problem of a configuration on a line of its own.
fn complain(error: &Error) {
    let mut text = match error {
        Error::Config(config::Error::Settings { path, source }) => source
            .0
            .iter()
            .map(|problem| format!("{}: {problem}", path.display()))
            .collect::<Vec<_>>()
            .join("\n"),
        Error::Config(_)
        | Error::Effect(_)
        | Error::Fleet(_)
        | Error::Instance(_)
        | Error::Output(_)
        | Error::Policy(_)
        | Error::Publish(_)
        | Error::Run(_)
        | Error::Seal(_)
        | Error::SealLogin(_)
        | Error::Grant(_)
        | Error::Token(_) => chain(error),
    };
    if let Some(hint) = error.hint() {
        text.push_str("\nhint: ");
        text.push_str(hint);
    }
    let _nobody = writeln!(std::io::stderr(), "imprint-rotator: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        assert_eq!(ended(None), ExitCode::SUCCESS);
        assert_eq!(ended(Some(Class::Refused)), ExitCode::from(77));
    }
}

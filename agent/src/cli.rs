//! The command line's one definition: parsing, help texts, man pages and completions come from it. No
//! flag takes a secret. What the commands do is in `cli/run.rs`.

mod promotion;
mod run;

pub(crate) use run::run;

use crate::config::{DEADLINES, DEFAULT_PATH, TokenFrom};
use clap::{CommandFactory as _, Parser, Subcommand};
use imprint_core::Class;
use imprint_core::help::{EVERY_CLASS, examples_and_exit_codes as after};
use imprint_core::settings::{Value, duration};
use std::path::PathBuf;
use std::time::Duration;

/// The definition, for whatever is made from it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Gives this EC2 instance its Conjur identity
///
/// At first boot, imprint fetches a sealed host factory token, unseals it with the instance's role, redeems
/// it at Conjur and writes the files that Conjur's clients read. On an enrolled instance it does nothing.
#[derive(Debug, Parser)]
#[command(
    name = "imprint",
    version,
    verbatim_doc_comment,
    max_term_width = 100,
    subcommand_value_name = "COMMAND",
    after_help = "imprint --help shows examples and the exit codes.",
    after_long_help = after(
        &[
            ("imprint enroll", "at every boot, and whenever in doubt"),
            ("imprint status", "what is known, without asking anybody"),
            ("imprint verify", "whether the identity still authenticates"),
        ],
        "done, or nothing to do",
        &EVERY_CLASS,
    )
)]
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
    /// Look at all that an enrollment needs, and say what is wrong
    ///
    /// Some forty checks: configuration, files, disk, lock, clock, metadata service, role, S3, KMS, the
    /// token, proxy, names, TLS, Conjur, the identity. It asks each server what an enrollment would ask,
    /// short of the redeem, for ten seconds at most. It changes nothing, and tells no secret.
    #[command(verbatim_doc_comment, after_help = more("doctor"), after_long_help = after(
        &[
            ("imprint doctor", "a table of checks, each failure with a hint"),
            ("imprint doctor --offline", "without asking any server"),
            ("imprint doctor --json", "the same for a program, with a version of its form"),
        ],
        "no check failed; there may be warnings",
        &EVERY_CLASS,
    ))]
    Doctor {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Ask no server.
        #[arg(long)]
        offline: bool,
    },
    /// Enroll this instance, or find that there is nothing to do
    ///
    /// Safe at any moment, any number of times, and killed at any point: the next run comes to the same
    /// end. What may pass is tried again until the deadline.
    #[command(verbatim_doc_comment, after_help = more("enroll"), after_long_help = after(
        &[
            ("imprint enroll", "enroll, trying for as long as the configuration says"),
            ("imprint enroll --deadline 2m", "the same, for two minutes at most"),
            ("imprint enroll --dry-run", "say what would be done, and whether it would work"),
            ("imprint enroll --token-from stdin", "with a token that another program hands over"),
        ],
        "enrolled, or nothing to do",
        &EVERY_CLASS,
    ))]
    Enroll {
        /// How long to try, such as 15m; the configuration's deadline if left out.
        #[arg(long, value_name = "SPAN", value_parser = span)]
        deadline: Option<Duration>,
        /// Do all but redeem and store: nothing is changed.
        #[arg(long)]
        dry_run: bool,
        /// Take a host that another instance has, or may have: that one's key dies.
        #[arg(long)]
        take_over: bool,
        /// Replace a key that Conjur does not take any more, however often that was.
        #[arg(long)]
        again: bool,
        /// Take the token from stdin, file:PATH or credential:NAME in the place of [source].
        #[arg(long, value_name = "WHERE", value_parser = TokenFrom::word)]
        token_from: Option<Result<TokenFrom, String>>,
    },
    /// Show which facts of this machine a token can be sealed with
    ///
    /// It asks nobody but, on EC2, the metadata service for the image. Values are printed with --reveal
    /// alone: together they open what is sealed with them.
    #[command(verbatim_doc_comment, after_help = more("facts"), after_long_help = after(
        &[
            ("imprint facts", "their names, whether each is there, and who may read it"),
            ("imprint facts --json --reveal", "what imprint-rotator seal --client-data takes; keep it closed"),
        ],
        "they are told",
        &[(Class::Usage, ""), (Class::Bug, ""), (Class::Config, "")],
    ))]
    Facts {
        /// As JSON.
        #[arg(long)]
        json: bool,
        /// Print the values too.
        #[arg(long)]
        reveal: bool,
    },
    /// Remove all that an enrollment left, at the end of an image's bake
    ///
    /// It removes the identity, what was written beside it, the state and drafts, then looks again: what is
    /// left is named, and an error. It asks nobody: the host stays in Conjur. imprint enroll makes a new
    /// identity at any time; after --bake not on this instance, until imprint forget runs without it.
    #[command(verbatim_doc_comment, after_help = more("forget"), after_long_help = after(
        &[
            ("imprint forget --bake", "the first step of a bake, and the last one before the image is made"),
            ("imprint forget", "to make this machine as if it had never enrolled"),
        ],
        "nothing is left, or nothing was there",
        &[
            (Class::Usage, ""),
            (Class::Tampered, "the identity file is not imprint's to edit"),
            (Class::Bug, ""),
            (Class::Storage, "something is left; it is named"),
            (Class::Transient, "an enrollment is under way"),
            (Class::Config, ""),
        ],
    ))]
    Forget {
        /// Keep this instance from enrolling from now on: an image is made from it.
        #[arg(long)]
        bake: bool,
    },
    /// Become the privileged host that waits for this instance, if one does
    ///
    /// It asks for a token that was sealed for this instance alone, under the instance's own key. With one, it
    /// redeems it for the host of [promotion], proves the new identity, then puts it in the place of the old one
    /// in one step. Without one, or once promoted, it does nothing. Fit for a timer.
    #[command(verbatim_doc_comment, after_help = more("promote"), after_long_help = after(
        &[
            ("imprint promote", "from a timer, at a shorter interval than the token lives"),
            ("imprint promote --json", "the same, and how it ended for a program, with a version of its form"),
        ],
        "promoted, promoted before, or nothing waits",
        &EVERY_CLASS,
    ))]
    Promote {
        /// How long to try, such as 1m.
        #[arg(long, value_name = "SPAN", value_parser = span)]
        deadline: Option<Duration>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Replace this host's API key
    ///
    /// Conjur makes the new key and the old one dies at once. The new one is stored and proved before this
    /// ends. If it is lost on its way, the host is enrolled again, so that a crash costs no identity.
    #[command(verbatim_doc_comment, after_help = more("rotate-key"), after_long_help = after(
        &[("imprint rotate-key", "from a timer, or after somebody may have seen the key")],
        "the new key is stored and authenticates",
        &EVERY_CLASS,
    ))]
    RotateKey {
        /// How long to try, such as 15m; the configuration's deadline if left out.
        #[arg(long, value_name = "SPAN", value_parser = span)]
        deadline: Option<Duration>,
    },
    /// Say what is known of the enrollment, without asking anybody
    ///
    /// It reads the configuration, the state and the identity file. It sends nothing and changes nothing.
    #[command(verbatim_doc_comment, after_help = more("status"), after_long_help = after(
        &[
            ("imprint status", "a few lines for a person"),
            ("imprint status --json", "the same for a program, with a version of its form"),
        ],
        "it was told, whatever it is",
        &[(Class::Usage, ""), (Class::Bug, ""), (Class::Storage, ""), (Class::Config, "")],
    ))]
    Status {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Prove that the identity on disk authenticates
    ///
    /// It logs in to Conjur with the file's content, at the appliance that the file's readers use, and
    /// notes the outcome for status. It changes nothing else. Fit for a timer.
    #[command(verbatim_doc_comment, after_help = more("verify"), after_long_help = after(
        &[
            ("imprint verify", "exit code 0 or 77, for a timer or a health check"),
            ("imprint verify --deadline 10s", "the same, for ten seconds at most"),
            ("imprint verify --re-enroll", "and replace a key that has died"),
        ],
        "the identity authenticates",
        &[
            (Class::Usage, ""),
            (Class::Tampered, "the identity is damaged, or it is another instance's or for another Conjur"),
            (Class::Absent, "there is no identity"),
            (Class::Bug, ""),
            (Class::Storage, ""),
            (Class::Transient, "Conjur does not answer; the identity may be good"),
            (Class::Protocol, ""),
            (Class::Refused, "Conjur says no"),
            (Class::Config, ""),
        ],
    ))]
    Verify {
        /// How long to try, such as 1m.
        #[arg(long, value_name = "SPAN", value_parser = span)]
        deadline: Option<Duration>,
        /// When Conjur says no, enroll again: once a day at most, or never, as the configuration says.
        #[arg(long)]
        re_enroll: bool,
    },
}

fn more(command: &str) -> String {
    format!("imprint {command} --help shows examples and the exit codes.")
}

fn span(text: &str) -> Result<Duration, String> {
    let span = duration(&Value::String(text.into())).map_err(|wrongs| wrongs.join("; "))?;
    if DEADLINES.contains(&span) { Ok(span) } else { Err("must be from 1s to 1d".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line() {
        command().debug_assert();
        let check = |line: &str, good: bool| {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert_eq!(parsed.is_ok(), good, "{line}: {parsed:?}");
        };
        check("imprint enroll", true);
        check("imprint --config /x enroll --deadline 2m", true);
        check("imprint enroll --config /x", true);
        check("imprint status --json", true);
        check("imprint doctor --json --offline", true);
        check("imprint enroll --token-from stdin", true);
        check("imprint enroll --token-from file:/run/token", true);
        check("imprint facts --json --reveal", true);
        check("imprint verify", true);
        check("imprint enroll --dry-run --take-over --again", true);
        check("imprint rotate-key --deadline 1m", true);
        check("imprint promote --json --deadline 1m", true);
        check("imprint promote --to db", false);
        check("imprint forget", true);
        check("imprint forget --bake", true);
        check("imprint verify --re-enroll", true);
        check("imprint", false);
        check("imprint enroll --deadline 0s", false);
        check("imprint enroll --deadline 2d", false);
        check("imprint enroll --deadline soon", false);
        check("imprint enroll --token x", false);
        check("imprint rotate", false);
    }

    /// A person at a console has the help and nothing else.
    #[test]
    fn every_help_has_examples_that_parse_and_exit_codes() {
        let check = |command: &mut clap::Command, name: &str| {
            let help = command.render_long_help().to_string();
            assert!(help.contains("\nExit codes:\n   0  "), "{name}: {help}");
            for class in [Class::Usage, Class::Bug, Class::Config] {
                assert!(help.contains(&format!("\n  {}  {class}: ", class.exit_code())), "{name}: {help}");
            }
            let (_, examples) = help.split_once("\nExamples:\n").unwrap();
            let mut count = 0;
            for line in examples.lines().take_while(|line| !line.is_empty()) {
                let (line, what) = line.split_once(" # ").unwrap();
                assert!(!what.is_empty());
                // What is piped into the command is the shell's business.
                let line =
                    line.rsplit("| ").next().unwrap_or_default().split(" < ").next().unwrap_or_default();
                Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
                count += 1;
            }
            assert!(count >= 1, "{name}");
            assert!(command.render_help().to_string().contains("--help shows examples"), "{name}");
        };
        let mut all = command();
        // Before help is a command too.
        let names: Vec<String> = all.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        check(&mut all, "imprint");
        for name in names {
            check(all.find_subcommand_mut(&name).unwrap(), &name);
        }
    }
}

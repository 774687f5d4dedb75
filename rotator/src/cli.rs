//! The command line's one definition: parsing, help texts, man pages and completions come from it. No
//! flag takes a secret. What the commands do is in `cli/run.rs`.

mod run;

pub(crate) use run::{failed_to_start, run};

use crate::seal;
use clap::{CommandFactory as _, Parser, Subcommand};
use imprint_core::help::{EVERY_CLASS, examples_and_exit_codes as after};
use imprint_core::name::FactoryId;
use std::path::PathBuf;

/// The definition, for whatever is made from it.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Mints, seals and publishes Conjur host factory tokens
///
/// Where the environment is that of a Lambda function (AWS_LAMBDA_RUNTIME_API), the program serves Lambda
/// and takes no arguments.
#[derive(Debug, Parser)]
#[command(
    name = "imprint-rotator",
    version,
    verbatim_doc_comment,
    max_term_width = 100,
    subcommand_value_name = "COMMAND",
    after_help = "imprint-rotator --help shows examples and the exit codes.",
    after_long_help = after(
        &[
            ("imprint-rotator rotate", "every 15 minutes, from cron or a timer"),
            ("imprint-rotator status", "what is published"),
        ],
        "all is well",
        &EVERY_CLASS,
    )
)]
struct Cli {
    /// The configuration file; else the one that IMPRINT_ROTATOR_CONFIG names
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Say more on standard error
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Replace each published token that is due, missing or no longer known to Conjur
    ///
    /// One factory's failure never stops the others; the exit code is that of the worst. Two runs at once
    /// do no harm: what they put is conditional.
    #[command(verbatim_doc_comment, after_help = more("rotate"), after_long_help = after(
        &[
            ("imprint-rotator rotate", "what is due"),
            ("imprint-rotator rotate --now --factory app/web", "one factory, due or not"),
            ("imprint-rotator rotate --now --revoke-superseded", "a token has leaked"),
            ("imprint-rotator rotate --json", "one JSON object of what was done"),
        ],
        "every factory has a good token",
        &EVERY_CLASS,
    ))]
    Rotate {
        /// Replace it in any case
        #[arg(long)]
        now: bool,
        /// Then revoke all older tokens, when the new one was read back; those sealed with client data or minted by hand stay
        #[arg(long, requires = "now")]
        revoke_superseded: bool,
        /// Only this factory of the configuration; may be repeated
        #[arg(long = "factory", value_name = "ID")]
        factories: Vec<FactoryId>,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Seal a token with facts of the machines that shall open it, where there is no cloud
    ///
    /// It mints a token, or takes a given one, and writes one file for all the machines; the agent takes it
    /// as [source] kind = "client-data". Neither S3 nor KMS is asked. The facts must be hard to guess: what
    /// every user of a machine may read does not count.
    #[command(verbatim_doc_comment, after_help = more("seal"), after_long_help = after(
        &[
            ("imprint-rotator seal --client-data node-1.json node-2.json --facts product_uuid,macs", "for two machines"),
            ("imprint-rotator seal --client-data node-1.json --secret-file secret --lifetime 2h", "with a secret"),
            ("imprint-rotator seal --client-data node-1.json --token-from stdin --expires-at 2026-11-22T08:00:00Z", "a given token"),
        ],
        "the file is written",
        &EVERY_CLASS,
    ))]
    Seal(seal::Ask),
    /// Show what rotate would do now for each factory, and why
    ///
    /// It changes nothing, and asks for no more than rotate would: the list at Conjur, the object in S3.
    #[command(verbatim_doc_comment, after_help = more("plan"), after_long_help = after(
        &[
            ("imprint-rotator plan", "what is due, missing, orphaned or expired"),
            ("imprint-rotator plan --now --factory app/web", "what rotate --now would do"),
            ("imprint-rotator plan --json", "one JSON object"),
        ],
        "it is known for every factory, whatever it is",
        &EVERY_CLASS,
    ))]
    Plan {
        /// As if a new token were asked for in any case
        #[arg(long)]
        now: bool,
        /// Only this factory of the configuration; may be repeated
        #[arg(long = "factory", value_name = "ID")]
        factories: Vec<FactoryId>,
        /// One JSON object instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Show what is published for each factory, when it is replaced, and what Conjur has beside it
    ///
    /// It changes nothing. Tokens at Conjur are ours, when this deployment minted them, or foreign; of ours
    /// some are superseded and live until they end, and orphans were never published: a run revokes them.
    #[command(verbatim_doc_comment, after_help = more("status"), after_long_help = after(
        &[
            ("imprint-rotator status", "a table"),
            ("imprint-rotator status --factory app/web", "of one factory"),
            ("imprint-rotator status --json", "one JSON object"),
        ],
        "every factory has a good token",
        &EVERY_CLASS,
    ))]
    Status {
        /// Only this factory of the configuration; may be repeated
        #[arg(long = "factory", value_name = "ID")]
        factories: Vec<FactoryId>,
        /// One JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
}

fn more(command: &str) -> String {
    format!("imprint-rotator {command} --help shows examples and the exit codes.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use imprint_core::Class;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }

    #[test]
    fn what_is_asked_for() {
        let check = |line: &str, wanted: Result<&str, ()>| {
            let parsed = Cli::try_parse_from(line.split_whitespace());
            match wanted {
                Ok(debug) => assert_eq!(format!("{:?}", parsed.unwrap().command), debug, "{line}"),
                Err(()) => assert!(parsed.is_err_and(|e| e.use_stderr()), "{line}"),
            }
        };
        check("r rotate", Ok("Rotate { now: false, revoke_superseded: false, factories: [], json: false }"));
        check(
            "r rotate --now --factory a/b --factory c --config x",
            Ok(
                "Rotate { now: true, revoke_superseded: false, factories: [FactoryId(\"a/b\"), FactoryId(\"c\")], json: false }",
            ),
        );
        check(
            "r rotate --now --revoke-superseded",
            Ok("Rotate { now: true, revoke_superseded: true, factories: [], json: false }"),
        );
        check("r rotate --revoke-superseded", Err(()));
        check("r status --json", Ok("Status { factories: [], json: true }"));
        check("r status --factory a", Ok("Status { factories: [FactoryId(\"a\")], json: false }"));
        check("r plan --now", Ok("Plan { now: true, factories: [], json: false }"));
        check("r plan --factory a*", Err(()));
        check("r seal --client-data a b --facts macs,product_uuid --token x", Err(()));
        check("r seal --client-data a --token-from stdin", Err(()));
        check("r seal --client-data a --memory 8", Err(()));
        check("r seal", Err(()));
        check("r", Err(()));
        check("r rotate --factory a*", Err(()));
        check("r rotate --api-key x", Err(()));
        check("r enroll", Err(()));
    }

    #[test]
    fn every_help_has_examples_that_parse_and_exit_codes() {
        let check = |command: &mut clap::Command, name: &str| {
            let help = command.render_long_help().to_string();
            for class in Class::ALL {
                assert!(help.contains(&format!("\n  {}  {class}: ", class.exit_code())), "{name}: {help}");
            }
            let (_, examples) = help.split_once("\nExamples:\n").unwrap();
            let examples: Vec<&str> = examples.lines().take_while(|line| !line.is_empty()).collect();
            assert!(!examples.is_empty(), "{name}");
            for line in examples {
                let (line, _what_for) = line.split_once(" # ").unwrap();
                Cli::try_parse_from(line.split_whitespace()).unwrap_or_else(|e| panic!("{line}: {e}"));
            }
            assert!(command.render_help().to_string().contains("--help shows examples"), "{name}");
        };
        let mut all = command();
        // Before help is a command too.
        let names: Vec<String> = all.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        check(&mut all, "imprint-rotator");
        for name in names {
            check(all.find_subcommand_mut(&name).unwrap(), &name);
        }
    }
}

//! The command line's one definition: parsing, help texts, man pages and completions come from it. No
//! flag takes a secret. What the commands do is in `cli/run.rs`.

mod fleet;
mod instance;
mod run;

pub(crate) use run::{failed_to_start, run};

use crate::token::{create, revoke};
use crate::{conjur_policy, publish, seal, seal_login};
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
    /// The configuration, a file or s3://BUCKET/KEY; else the one that IMPRINT_ROTATOR_CONFIG names
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The AWS account that must own the bucket of s3://BUCKET/KEY; else IMPRINT_ROTATOR_CONFIG_OWNER
    #[arg(long, global = true, value_name = "ACCOUNT")]
    config_owner: Option<String>,
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
    /// Print the Conjur policy that the configuration needs
    ///
    /// Factories with their layers, the branches of the hosts, the rotator, the reaper that removes hosts, and what
    /// each may do, with a comment at every permit. Nobody is asked, and nothing is changed: loading it is up to
    /// whoever may. A factory's layer has the factory's id, and the reaper lies beside the rotator.
    #[command(verbatim_doc_comment, after_help = more("policy"), after_long_help = after(
        &[
            ("imprint-rotator policy", "all of it, to be loaded into root"),
            ("imprint-rotator policy --branch app", "what lies below app, to be loaded there"),
            ("imprint-rotator policy --factory app/new --unprivileged", "for instances that nobody has looked at yet"),
        ],
        "the policy is printed",
        &EVERY_CLASS,
    ))]
    Policy(conjur_policy::Ask),
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
    /// Seal the rotator's own API key and put it into the bucket, from where sealed_login = true takes it
    ///
    /// The key comes on standard input. It is shown to Conjur before it is sealed, put under a condition,
    /// read back and compared. The AWS role needs kms:Encrypt and kms:Decrypt on the key, and s3:GetObject
    /// and s3:PutObject on logins/*; the rotator's own role needs no PutObject there.
    #[command(verbatim_doc_comment, after_help = more("seal-login"), after_long_help = after(
        &[
            ("imprint-rotator seal-login", "the key on standard input: end with < api-key"),
            ("imprint-rotator seal-login --of minter", "that of the login in the section instances"),
        ],
        "the key is sealed, and logs in",
        &EVERY_CLASS,
    ))]
    SealLogin(seal_login::Ask),
    /// Seal and publish a token that was minted elsewhere, for a factory with mint = false
    ///
    /// The token comes by standard input; Conjur must list it, and tells its end and its networks. Runs keep it
    /// until it is due, then they fail until another is published. What was published before is not revoked.
    #[command(verbatim_doc_comment, after_help = more("publish"), after_long_help = after(
        &[
            ("imprint-rotator publish --factory app/web --token-from stdin", "as what agents of app/web find"),
        ],
        "the token is published and was read back",
        &EVERY_CLASS,
    ))]
    Publish(publish::Ask),
    /// Remove the hosts at Conjur whose instances are gone
    ///
    /// An instance is gone when EC2 says terminated, or has not known it in two runs that lie [fleet]
    /// missing_for apart. Only hosts called <hosts_branch>/<account>/<region>/<instance-id> of the AWS account and
    /// region of this run are looked at, at most [fleet] most_removals of a factory are removed, and none when EC2
    /// knows not one of ten or more.
    #[command(verbatim_doc_comment, after_help = more("decommission"), after_long_help = after(
        &[
            ("imprint-rotator decommission", "every 15 minutes, from cron or a timer"),
            ("imprint-rotator decommission --dry-run", "who would be removed"),
            ("imprint-rotator decommission i-0123456789abcdef0", "one whose end was told"),
        ],
        "nobody is left whose instance is gone",
        &EVERY_CLASS,
    ))]
    Decommission(fleet::Decommission),
    /// Publish a token for one instance alone, after a look at its facts
    ///
    /// EC2 must know the instance as pending or running, and a rule must allow it. The token lives for minutes ([instances]
    /// life), is sealed so that this instance alone can unseal it, and lies under its own key. What is published and
    /// has half of its life left stays, so it may be run again.
    #[command(verbatim_doc_comment, after_help = more("mint"), after_long_help = after(
        &[
            ("imprint-rotator mint i-0123456789abcdef0", "of every factory that the rules allow it"),
            ("imprint-rotator mint i-0123456789abcdef0 --factory app/web", "of one"),
            ("imprint-rotator mint i-0123456789abcdef0 --factory app/web --without-rule", "an operator knows better"),
        ],
        "every instance has what is for it",
        &EVERY_CLASS,
    ))]
    Mint(instance::Mint),
    /// Tie hosts at Conjur to the addresses of their instances
    ///
    /// Their keys then log in from nowhere else (restricted_to): not when stolen, and not when somebody has
    /// rotated them with a leaked token. Conjur must see the instances' own addresses: behind NAT or a load
    /// balancer every pinned host would be locked out. A changed address is pinned anew by the next run. Without
    /// --factory it is for the factories, and for the instances of the rules, that say pin = true.
    #[command(verbatim_doc_comment, after_help = more("pin"), after_long_help = after(
        &[
            ("imprint-rotator pin --dry-run", "what would be pinned to what"),
            ("imprint-rotator pin i-0123456789abcdef0", "one instance first"),
            ("imprint-rotator pin --factory app/web", "all of one factory"),
        ],
        "every host with an address is pinned",
        &EVERY_CLASS,
    ))]
    Pin(fleet::Pin),
    /// Check the rules that say which instances may have what, and list them or explain them
    ///
    /// The file is the one that [fleet] rules_file names. With --explain EC2 is asked what these instances are
    /// (ec2:DescribeInstances), and each condition of each rule is shown with what was found. A rule that rests on
    /// tags alone, or is for every instance, is pointed out. Nothing is changed, and Conjur is not asked.
    #[command(verbatim_doc_comment, after_help = more("rules"), after_long_help = after(
        &[
            ("imprint-rotator rules", "whether the file is right, and what it says"),
            ("imprint-rotator rules --explain i-0123456789abcdef0", "why an instance matches or not"),
            ("imprint-rotator rules --explain i-0123456789abcdef0 --json", "one JSON object"),
        ],
        "the file is right, and EC2 knows the instances, whatever the rules say of them",
        &EVERY_CLASS,
    ))]
    Rules(fleet::Rules),
    /// Promote instances to hosts of a privileged factory
    ///
    /// For each instance whose host is in the unprivileged layer and that a rule with promote_from allows: a token of the
    /// privileged factory waits for it, and imprint promote on the instance takes it. A privileged id that somebody
    /// else has taken is cleared before. The old host is removed by a later run, when the new one is in its layer, one
    /// more token has waited and [instances] settle is over: so it is run from a timer, every five minutes.
    ///
    /// With --grant nobody gets another host: it prints the policy that adds the present hosts to the layer, and grants
    /// nothing by itself. Such a host stays within reach of a leaked token of its unprivileged factory: a thief can
    /// rotate its key and so lock the instance out until it enrolls again. --pin, with the login of imprint-rotator pin,
    /// sees to it that the key is good from the instance's address alone; keep pin = true for it. It does not help
    /// against whoever sends from that address, nor where Conjur does not see the instances' own addresses.
    #[command(verbatim_doc_comment, after_help = more("promote"), after_long_help = after(
        &[
            ("imprint-rotator promote", "all that the rules promote, from cron or a timer"),
            ("imprint-rotator promote --dry-run", "what would be done"),
            ("imprint-rotator promote i-0123456789abcdef0 --to app/db", "one, by rule, without waiting for its turn"),
            ("imprint-rotator promote i-0123456789abcdef0 --to app/db --grant --pin", "pins its host, and prints what adds it to the layer"),
        ],
        "what is due is done",
        &EVERY_CLASS,
    ))]
    Promote(instance::Promote),
    /// Show what is published for each factory, when it is replaced, and what Conjur has beside it; or its hosts
    ///
    /// It changes nothing. With --hosts it looks at the fleet, with the login and the role of decommission and pin: which
    /// running instances have no host though a rule says they should, which hosts have no instance, who is not pinned
    /// and who not promoted. What was launched less than 15 minutes ago is on its way. Without --hosts, tokens at Conjur are ours, when this deployment minted them, or foreign; of ours
    /// some are superseded and live until they end, and orphans were never published: a run revokes them.
    #[command(verbatim_doc_comment, after_help = more("status"), after_long_help = after(
        &[
            ("imprint-rotator status", "a table"),
            ("imprint-rotator status --factory app/web", "of one factory"),
            ("imprint-rotator status --hosts", "the hosts and their instances"),
            ("imprint-rotator status --json", "one JSON object"),
        ],
        "every factory has a good token; with --hosts, all was looked at, whatever is to be seen",
        &EVERY_CLASS,
    ))]
    Status {
        /// The hosts and their instances, not the tokens
        #[arg(long)]
        hosts: bool,
        /// Only this factory of the configuration; may be repeated
        #[arg(long = "factory", value_name = "ID")]
        factories: Vec<FactoryId>,
        /// One JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Look at all that a rotation needs: configuration, servers, privileges, bucket, key
    ///
    /// It asks what a run asks, short of the mint, and changes nothing. Beyond that it reads a key in S3 that
    /// nobody has, puts what is published under a condition that cannot hold, and lets KMS seal and unseal a text
    /// that is no token, under the encryption context of the first factory: CloudTrail has these requests.
    #[command(verbatim_doc_comment, after_help = more("doctor"), after_long_help = after(
        &[
            ("imprint-rotator doctor", "before the first rotation, and when one fails"),
            ("imprint-rotator doctor --factory app/web", "of one factory"),
            ("imprint-rotator doctor --json", "one JSON object"),
        ],
        "no check failed",
        &EVERY_CLASS,
    ))]
    Doctor {
        /// Only this factory of the configuration; may be repeated
        #[arg(long = "factory", value_name = "ID")]
        factories: Vec<FactoryId>,
        /// One JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Mint, list and revoke tokens by hand
    ///
    /// For the factories of the configuration. What is minted here is no run's: none revokes it, and none
    /// publishes it.
    #[command(verbatim_doc_comment, after_help = more("token"), after_long_help = after(
        &[
            ("imprint-rotator token list", "all tokens at Conjur, and what each is"),
            ("imprint-rotator token create --factory app/web --duration-hours 2 --out token", "one for a machine"),
            ("imprint-rotator token revoke --fingerprint ba7816bf8f01", "one that is not needed any more"),
        ],
        "it is done",
        &EVERY_CLASS,
    ))]
    #[command(subcommand)]
    Token(Token),
}

impl Command {
    /// Its name, for whoever waits.
    const fn name(&self) -> &'static str {
        match self {
            Self::Decommission(_) => "decommission",
            Self::Doctor { .. } => "doctor",
            Self::Mint(_) => "mint",
            Self::Pin(_) => "pin",
            Self::Plan { .. } => "plan",
            Self::Policy(_) => "policy",
            Self::Promote(_) => "promote",
            Self::Publish(_) => "publish",
            Self::Rotate { .. } => "rotate",
            Self::Rules(_) => "rules",
            Self::Seal(_) => "seal",
            Self::SealLogin(_) => "seal-login",
            Self::Status { .. } => "status",
            Self::Token(Token::Create(_)) => "token create",
            Self::Token(Token::List { .. }) => "token list",
            Self::Token(Token::Revoke(_)) => "token revoke",
        }
    }
}

/// What is done with tokens by hand.
#[derive(Debug, Subcommand)]
enum Token {
    /// Mint tokens for a machine or a tool that takes them as they are
    ///
    /// They carry a label that says so: status and token list show them as made by hand, a run leaves them
    /// alone, and deletes them when they have expired. Their text goes into a new file of mode 0600, one a
    /// line. It goes to standard output with --out - alone, for a pipe into what needs it: a log of a job
    /// would keep it. Durations add up; with no network at all, --any-address must be said.
    #[command(verbatim_doc_comment, after_help = more("token create"), after_long_help = after(
        &[
            ("imprint-rotator token create --factory app/web --duration-hours 2 --out token", "into a file"),
            ("imprint-rotator token create --factory app/web --duration-days 1 --cidr 10.1.0.0/16 --cidr 10.2.0.0/16 --count 5 --out tokens", "five, for two networks"),
            ("imprint-rotator token create --factory app/web --duration-minutes 10 --out -", "for a pipe: | ssh node-1 imprint enroll --token-from stdin"),
        ],
        "the tokens are where they should be",
        &EVERY_CLASS,
    ))]
    Create(create::Ask),
    /// Show all tokens at Conjur by their fingerprints, and what each is
    ///
    /// published: agents find it. superseded: it was published before, or may have been, and lives until it
    /// ends. coming: a run may be about to publish it. orphan: it never was and never will be; a run revokes
    /// it. by hand: of token create. client data: of seal. expired: of ours, and over; a run deletes it.
    /// foreign: somebody else minted it. unclear: of ours, and nothing published tells which.
    #[command(verbatim_doc_comment, after_help = more("token list"), after_long_help = after(
        &[
            ("imprint-rotator token list --factory app/web", "of one factory"),
            ("imprint-rotator token list --json", "one JSON object"),
        ],
        "all is listed and known",
        &EVERY_CLASS,
    ))]
    List {
        /// Only this factory of the configuration; may be repeated
        #[arg(long = "factory", value_name = "ID")]
        factories: Vec<FactoryId>,
        /// One JSON object instead of a table
        #[arg(long)]
        json: bool,
    },
    /// Revoke tokens at Conjur, named by their fingerprints or by what they are
    ///
    /// All that is asked for is looked at before the first is revoked. What agents find is not revoked unless
    /// --published says so: rotate --now --revoke-superseded puts another in its place first. It needs the
    /// privilege update on the factory, and revoke = true. A revoke carries the token in its URL, so into the
    /// access logs on the way.
    #[command(verbatim_doc_comment, after_help = more("token revoke"), after_long_help = after(
        &[
            ("imprint-rotator token revoke --fingerprint ba7816bf8f01", "one, as token list names it"),
            ("imprint-rotator token revoke --orphans --expired", "what no one needs"),
            ("imprint-rotator token revoke --foreign --factory app/web", "what others minted"),
            ("imprint-rotator token revoke --token-from stdin", "one whose text is known"),
        ],
        "all of them are gone",
        &EVERY_CLASS,
    ))]
    Revoke(revoke::Ask),
}

fn more(command: &str) -> String {
    format!("imprint-rotator {command} --help shows examples and the exit codes.")
}

#[cfg(test)]
mod tests;

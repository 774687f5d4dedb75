//! From what was found to what is said of it. Pure functions, tested by tables; the order of the checks is
//! that in which an enrollment would meet what they look at.

mod conjur;
mod history;
mod machine;
mod token;

use super::found::{Asked, Machine, Servers, Trouble};
use super::report::{Check, Outcome};
use crate::config::Config;

/// The checks of the machine itself.
const MACHINE: [&str; 17] = [
    "config-access",
    "user",
    "instance-id",
    "state",
    "identity",
    "identity-access",
    "next-enroll",
    "promotion",
    "token-files",
    "directories",
    "disk",
    "lock",
    "conf-and-pem",
    "client-variables",
    "client-files",
    "aws-variables",
    "proxy",
];

/// The checks that ask a server.
const SERVERS: [&str; 26] = [
    "imds",
    "instance",
    "host-id",
    "profile",
    "credentials",
    "region",
    "aws-names",
    "s3-object",
    "bucket-owner",
    "sealed-token",
    "binding",
    "token-expiry",
    "ca",
    "cidr",
    "kms",
    "client-data",
    "other-buckets",
    "promotion-token",
    "clock",
    "conjur-name",
    "conjur-connection",
    "conjur-tls",
    "conjur-health",
    "leader",
    "login",
    "proof",
];

/// What is said when nothing but the configuration's own fault is known.
pub(super) fn without_config() -> Vec<Check> {
    let names = MACHINE.into_iter().chain(SERVERS).chain(["last-verify", "last-failure"]);
    names.map(|name| Check::skipped(name, "the configuration cannot be used")).collect()
}

/// All checks but the configuration's own; without servers, why they were not asked.
pub(super) fn all(config: &Config, machine: &Machine, servers: Result<&Servers, &'static str>) -> Vec<Check> {
    let mut checks = machine::checks(config, machine);
    match servers {
        Ok(servers) => {
            checks.extend(token::checks(config, machine, servers));
            checks.extend(conjur::checks(config, machine, servers));
        }
        Err(because) => checks.extend(SERVERS.map(|name| Check::skipped(name, because))),
    }
    checks.extend(history::checks(machine, servers.ok()));
    checks
}

impl Trouble {
    fn check(&self, name: &'static str) -> Check {
        Check {
            name,
            outcome: Outcome::Failure(self.class),
            detail: self.what.clone(),
            hint: self.hint.clone(),
        }
    }
}

impl<T> Asked<T> {
    /// What is said of an answer; a failure and a skipped question speak for themselves.
    fn judged(&self, name: &'static str, answer: impl FnOnce(&T) -> Check) -> Check {
        match self {
            Self::Failed(trouble) => trouble.check(name),
            Self::Skipped(because) => Check::skipped(name, because),
            Self::Told(told) => answer(told),
        }
    }
}

/// Several findings as one check: the worst decides, and each speaks.
fn together(name: &'static str, each: Vec<Check>) -> Check {
    let rank = |check: &Check| match check.outcome {
        Outcome::Failure(_) => 3,
        Outcome::Warning => 2,
        Outcome::Ok => 1,
        Outcome::Skipped => 0,
    };
    let Some(worst) = each.iter().rev().max_by_key(|check| rank(check)) else {
        return Check::skipped(name, "there is nothing to look at");
    };
    // What is good is of no interest beside what is not.
    let level = rank(worst);
    let mut details: Vec<&str> = Vec::new();
    for check in each.iter().filter(|check| rank(check) == level) {
        if !details.contains(&check.detail.as_str()) {
            details.push(&check.detail);
        }
    }
    Check { name, outcome: worst.outcome, detail: details.join("; "), hint: worst.hint.clone() }
}

#[cfg(test)]
mod tests;

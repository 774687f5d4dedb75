//! What the servers say: each is asked what an enrollment would ask, short of the redeem, all of them at
//! once and none for long; and what is sealed with client data is opened, as an enrollment would. Nothing is
//! changed at any of them, and nothing is written here.

mod aws;
mod client_data;
mod conjur;
mod reach;

pub(super) use aws::is_denied;
pub(super) use reach::{aws_host, host_and_port};

use super::found::{Asked, Machine, Servers, Trouble};
use crate::config::{Config, Outside};
use crate::effects::{self, Real};
use imprint_core::caller::RunId;
use imprint_core::{Class, Classified};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How long one question may take.
const ONE: Duration = Duration::from_millis(3500);

/// How long all of them may take together.
const ALL: Duration = Duration::from_millis(9500);

/// The end of the time that there is.
#[derive(Clone, Copy)]
struct Time {
    until: Instant,
    one: Duration,
}

impl Time {
    /// When a question that is asked now must have its answer.
    fn end(self) -> Instant {
        self.until.min(Instant::now() + self.one)
    }

    /// For a question that may take longer.
    const fn with(self, one: Duration) -> Self {
        Self { one, ..self }
    }

    /// What a question gives, or that it took too long.
    async fn limit<T, E: Classified>(
        self,
        question: impl Future<Output = Result<T, E>>,
        trouble: impl FnOnce(&E) -> Trouble,
    ) -> Asked<T> {
        match timeout_at(self.end(), question).await {
            Ok(Ok(answer)) => Asked::Told(answer),
            Ok(Err(error)) => Asked::Failed(trouble(&error)),
            Err(_) => Asked::Failed(Trouble {
                class: Class::Transient,
                what: "no answer in time".to_owned(),
                hint: Some(
                    "check route, security groups and proxy between this machine and that server".to_owned(),
                ),
                code: None,
                status: None,
            }),
        }
    }
}

/// Asks every server of the configuration.
///
/// # Errors
/// When no HTTP client can be made.
pub(super) async fn servers(
    config: &Config,
    machine: &Machine,
    outside: &impl Outside,
    attempt: &RunId,
) -> Result<Servers, effects::Error> {
    let time = Time { until: Instant::now() + ALL, one: ONE };
    // With no time to wait in, nothing is taken for a passing weakness of a young instance.
    let config = &Config { deadline: Duration::ZERO, ..config.clone() };
    let on = Real::new(config, "doctor", attempt)?;
    let (aws, conjur) =
        tokio::join!(aws::ask(config, machine, &on, time, outside), conjur::ask(config, machine, &on, time));
    let (mut dates, conjur) = (aws.dates, conjur?);
    dates.extend(conjur.dates);
    let mut addresses = conjur.addresses;
    addresses.extend(aws.facts.told().and_then(|facts| facts.private_ip));
    addresses.sort();
    addresses.dedup();
    let sealed = client_data::ask(config, machine, &on, time, &aws.facts).await;
    Ok(Servers {
        facts: aws.facts,
        credentials: aws.credentials,
        aws_names: aws.names,
        object: if config.s3().is_some() { aws.object } else { sealed.object },
        any_owner: aws.any_owner,
        unsealed: aws.unsealed,
        other_buckets: aws.other_buckets,
        promotion: aws.promotion,
        opened: sealed.opened,
        conjurs: conjur.servers,
        proof: conjur.proof,
        dates,
        addresses,
    })
}

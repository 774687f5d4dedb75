//! A wave of boots in virtual time: 100,000 hosts that start within half a minute, each with the retries of
//! a real enrollment, against a Conjur that makes 140 hosts a second and pushes back what it cannot take.
//!
//! A model: the server and the network are invented, the pauses are the program's own. What it shows is
//! whether a window that is too short, or none, makes a storm.
#![expect(clippy::print_stdout, reason = "a bench speaks to a person")]

use imprint_core::retry::Retry;
use imprint_core::{Class, Classified};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const HOSTS: u32 = 100_000;

/// New hosts a second, as a genuine server on two cores was seen to make.
const A_SECOND: f64 = 140.0;

/// Within which the boots begin.
const WAVE: Duration = Duration::from_secs(30);

/// So much waiting work makes the server push back.
const PATIENCE: f64 = 20.0;

#[derive(Debug, thiserror::Error)]
#[error("the server is busy")]
struct Busy;

impl Classified for Busy {
    fn class(&self) -> Class {
        Class::Transient
    }

    fn is_pushback(&self) -> bool {
        true
    }
}

/// A server that makes one host after the other.
struct Conjur {
    start: Instant,
    free_at: Cell<f64>,
    asked: Cell<u64>,
}

impl Conjur {
    async fn redeem(&self) -> Result<(), Busy> {
        self.asked.set(self.asked.get() + 1);
        let now = self.start.elapsed().as_secs_f64();
        let begin = self.free_at.get().max(now);
        if begin - now > PATIENCE {
            return Err(Busy);
        }
        self.free_at.set(begin + 1.0 / A_SECOND);
        sleep(Duration::from_secs_f64(self.free_at.get() - now)).await;
        Ok(())
    }
}

/// One wave with this window: how many were enrolled, requests a host, and the time that it took in units
/// of the least that the server needs.
async fn wave(window: Duration) -> (u32, f64, f64) {
    let conjur = Rc::new(Conjur { start: Instant::now(), free_at: Cell::default(), asked: Cell::default() });
    let mut boots = tokio::task::JoinSet::new();
    for host in 0..HOSTS {
        let conjur = Rc::clone(&conjur);
        boots.spawn_local(async move {
            let mut random = fastrand::Rng::with_seed(u64::from(host));
            sleep(WAVE.mul_f64(random.f64())).await;
            let retry = Retry::with_random(Duration::from_secs(15 * 60), 200, random);
            retry.turn("the redeem", window).await;
            let again = Busy::is_pushback;
            retry.run_spread("the redeem", window, again, async || conjur.redeem().await).await
        });
    }
    let mut enrolled = 0;
    while let Some(end) = boots.join_next().await {
        enrolled += u32::from(matches!(end, Ok(Ok(()))));
    }
    let hosts = f64::from(HOSTS);
    (enrolled, conjur.asked.get() as f64 / hosts, conjur.free_at.get() / (hosts / A_SECOND))
}

fn main() -> std::io::Result<()> {
    let least = f64::from(HOSTS) / A_SECOND;
    println!(
        "{HOSTS} boots at a Conjur of {A_SECOND} hosts a second, virtual time; the least is {least:.0} s\n"
    );
    println!("{:>10}{:>12}{:>18}{:>20}", "window", "enrolled", "requests a host", "time over the least");
    for window in [least.ceil() as u64, 600, 60, 0] {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        let story = wave(Duration::from_secs(window));
        let (enrolled, requests, time) = tokio::task::LocalSet::new().block_on(&runtime, story);
        println!("{:>10}{enrolled:>12}{requests:>18.2}{time:>20.2}", format!("{window} s"));
    }
    Ok(())
}

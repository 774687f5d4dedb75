//! [`run`]: one wave of a [`Scenario`] from its first boot to its last, and the [`Story`] of it.

use crate::agents::{self, Failed, Setting};
use crate::machine::{Common, Machine};
use crate::world::{Model, Series, Tally, World};
use imprint_core::Class;
use imprint_core::door::Door;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

/// How often the timer of the hourly check is let fire.
const HOURS: u32 = 6;

/// Who boots.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The agent's calls and retries, without its files.
    Calls,
    /// Exponential back-off, as scripts have it.
    Naive,
    /// The agent.
    Real,
}

/// What begins the wave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cause {
    /// All boot within so many seconds.
    Boot(f64),
    /// All are enrolled, Conjur was restored from a backup and knows none of their keys, and the timer of each
    /// fires once within so many seconds.
    Restore(f64),
}

/// One wave.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// How many machines.
    pub hosts: u32,
    /// The servers.
    pub model: Model,
    /// What begins it.
    pub cause: Cause,
    /// The window of the binding.
    pub window: Duration,
    /// How long an agent tries.
    pub deadline: Duration,
    /// Who boots.
    pub kind: Kind,
    /// Of all that is drawn.
    pub seed: u64,
}

/// How a wave went.
#[derive(Clone, Debug)]
pub struct Story {
    /// Machines that ended with an identity that authenticates.
    pub enrolled: Series,
    /// Machines that gave up, with what they said.
    pub failed: Vec<Class>,
    /// What was asked of the servers.
    pub tally: Tally,
    /// Seconds until the last one was enrolled.
    pub took: f64,
    /// Keys that Conjur made.
    pub keys: u64,
}

impl Story {
    /// Seconds until this part of the machines that were enrolled was.
    #[must_use]
    pub fn until(&self, part: f64) -> f64 {
        let wanted = self.enrolled.total() as f64 * part;
        let mut enrolled = 0.0;
        for (second, n) in self.enrolled.0.iter().enumerate() {
            enrolled += f64::from(*n);
            if enrolled >= wanted {
                return second as f64 + 1.0;
            }
        }
        self.took
    }
}

impl Scenario {
    /// The least time that its Conjur needs for so many hosts, in seconds.
    #[must_use]
    pub fn least(&self) -> f64 {
        let Model { creations, logins, is_shared, .. } = self.model;
        let each = if is_shared { 1.0 / creations + 1.0 / logins } else { 1.0 / creations };
        f64::from(self.hosts) * each
    }

    /// Whether its machines boot, and nothing else happens.
    #[must_use]
    pub fn is_plain_boot(&self) -> bool {
        matches!(self.cause, Cause::Boot(_)) && self.model.away.is_none() && !self.model.is_shared
    }

    /// Seconds in which its Conjur is away.
    #[must_use]
    pub fn away(&self) -> f64 {
        self.model.away.as_ref().map_or(0.0, |away| away.end - away.start)
    }

    /// The machine's own random numbers, which its agent draws its pauses from.
    fn draws(&self, number: u32) -> u64 {
        self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(number)
    }
}

/// Runs it, in virtual time and in one thread; the same scenario always gives the same story.
///
/// # Errors
/// When it cannot begin: no directory, no runtime.
pub fn run(scenario: &Scenario) -> Result<Story, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    LocalSet::new().block_on(&runtime, wave(scenario))
}

async fn wave(scenario: &Scenario) -> Result<Story, Failed> {
    let setting = Rc::new(Setting::new(scenario.window, scenario.deadline)?);
    let client = Door::direct(Duration::from_secs(1))?.client().clone();
    let world = World::new(scenario.model.clone());
    let common = Rc::new(Common::new(world, setting.sealed.to_bytes(), client));
    // In memory where that can be: a disk would take its time for every flush.
    let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    if scenario.kind == Kind::Real {
        as_many_files_as_may_be()?;
    }
    let mut machines = JoinSet::new();
    for number in 0..scenario.hosts {
        let (setting, common, scenario) = (Rc::clone(&setting), Rc::clone(&common), scenario.clone());
        let place = root.path().join(number.to_string());
        machines.spawn_local(async move {
            let machine = Machine::new(&common, number, scenario.seed);
            let end = one(&scenario, &setting, &machine, number, &place).await;
            (end, common.world.now(), machine.keys())
        });
    }
    let (mut enrolled, mut failed, mut took, mut keys) = (Series::default(), Vec::new(), 0.0_f64, 0);
    while let Some(ended) = machines.join_next().await {
        let (end, at, made) = ended?;
        keys += u64::from(made);
        match end.map_err(|error| error.to_string())? {
            Ok(()) => {
                enrolled.add(at);
                took = took.max(at);
            }
            Err(class) => failed.push(class),
        }
    }
    Ok(Story { enrolled, failed, tally: common.world.tally(), took, keys })
}

/// One machine. Its agent's random numbers follow from the scenario's seed: they come from those of the thread
/// in the moment in which it begins.
async fn one(
    scenario: &Scenario,
    setting: &Setting,
    machine: &Machine,
    number: u32,
    place: &Path,
) -> Result<Result<(), Class>, String> {
    let mut random = fastrand::Rng::with_seed(scenario.draws(number));
    let mut begin = async |after: f64, within: f64| {
        sleep(Duration::from_secs_f64(within.mul_add(random.f64(), after))).await;
        fastrand::seed(random.u64(..));
    };
    let below = || setting.below(place, machine).map_err(|error| error.to_string());
    let end = match (scenario.kind, scenario.cause) {
        (Kind::Naive, Cause::Boot(within)) => {
            begin(0.0, within).await;
            agents::naive(setting, machine).await
        }
        (Kind::Calls, Cause::Boot(within)) => {
            begin(0.0, within).await;
            agents::calls(setting, machine, &agents::Disk::default()).await
        }
        (Kind::Real, Cause::Boot(within)) => {
            begin(0.0, within).await;
            let end = agents::real(&below()?, machine).await;
            // Its place is given back: 100 KB of memory each.
            std::fs::remove_dir_all(place).map_err(|error| error.to_string())?;
            end
        }
        (Kind::Calls, Cause::Restore(within)) => {
            let key = machine.has_enrolled().map_err(|error| error.to_string())?;
            let disk = agents::Disk::new(Some(key));
            machine.key_dies();
            begin(0.0, within).await;
            // The timer comes again in an hour; a run that was cut off is gone on with then.
            let mut hours = 1;
            loop {
                let end = agents::calls_check(setting, machine, &disk).await;
                if end != Err(Class::Transient) || hours == HOURS {
                    break end;
                }
                hours += 1;
                begin(3600.0, within).await;
            }
        }
        (Kind::Naive | Kind::Real, Cause::Restore(_)) => return Err("nobody plays this".to_owned()),
    };
    Ok(end)
}

fn as_many_files_as_may_be() -> Result<(), Failed> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}

//! All points of all scenarios, tried by several workers beside each other.

use crate::call::Call;
use crate::loss;
use crate::model::Op;
use crate::points::{self, Point, Tried};
use crate::report::Row;
use crate::rotator::{Published, Rotation};
use crate::scenario::Scenario;
use crate::setting::{Broken, Setting};
use crate::world::World;
use imprint_e2e::Programs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// How many worlds there are at once. Some tries wait: for a pause between two tries of the program.
const WORKERS: usize = 3;

/// Of how many different disks that a power loss may leave the agent goes on from there, for each scenario.
const GOES_ON: usize = 150;

/// Chooses points of a recorded run: its calls, with what they returned.
pub type Chooses = fn(&[(Call, i64)]) -> Vec<Point>;

/// What is tried of a scenario.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// Of the points, every so manieth.
    pub every: usize,
    /// Which points.
    pub points: Chooses,
}

/// Tries the points of one scenario of the agent.
///
/// # Errors
/// When the scenario cannot be set up, or its undisturbed run does not end well.
pub fn tried(scenario: &'static Scenario, wanted: &Wanted<'_>) -> Result<Row, Broken> {
    tried_in(scenario.name, wanted, &|| World::new(scenario, wanted.programs))
}

/// The same of the rotator.
///
/// # Errors
/// As [`tried`].
pub fn rotated(rotation: &'static Rotation, wanted: &Wanted<'_>) -> Result<Row, Broken> {
    tried_in(rotation.name, wanted, &|| Published::new(rotation, wanted.programs))
}

fn tried_in<S: Setting>(
    name: &str,
    wanted: &Wanted<'_>,
    set_up: &(impl Fn() -> Result<S, Broken> + Sync),
) -> Result<Row, Broken> {
    let first = set_up()?;
    let all = (wanted.points)(&points::recorded(&first)?);
    let some: Vec<&Point> = all.iter().step_by(wanted.every.max(1)).collect();
    let row = Row { name: name.to_owned(), left_out: all.len() - some.len(), ..Row::default() };
    let row = Mutex::new(row);
    let next = AtomicUsize::new(0);
    let work = |setting: &S| {
        while let Some(point) = some.get(next.fetch_add(1, Ordering::SeqCst)) {
            let tried = match points::tried(setting, point) {
                // Once more: the network may bring it this time.
                Tried::NotReached => points::tried(setting, point),
                tried => tried,
            };
            let mut row = row.lock().unwrap_or_else(PoisonError::into_inner);
            match tried {
                Tried::Held => row.tried += 1,
                Tried::NotReached => row.not_reached += 1,
                Tried::Broke(why) => {
                    row.tried += 1;
                    row.broken.push(format!("{point}: {why}"));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> =
            (1..WORKERS).map(|_| scope.spawn(|| set_up().map(|setting| work(&setting)))).collect();
        work(&first);
        others.into_iter().try_for_each(|it| it.join().unwrap_or_else(|_| Err("a worker died".to_owned())))
    })?;
    Ok(row.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Lets the power go at every change of one scenario.
///
/// # Errors
/// When the scenario cannot be set up, its undisturbed run does not end well, or the judge is blind: it lets
/// a run pass that does not flush what it must.
pub fn without_power(
    scenario: &'static Scenario,
    programs: &Programs,
    seed: u64,
) -> Result<Vec<Row>, Broken> {
    let first = World::new(scenario, programs)?;
    let recorded = loss::recorded(&first)?;
    let ops: Vec<Op> = recorded.iter().map(|it| it.op.clone()).collect();
    let mut random = fastrand::Rng::with_seed(seed);
    let judged = loss::judged(&first, &ops, &mut random, false);
    let note = format!(
        "{} moments; a journal that keeps the order leaves {} of these; {}",
        judged.cuts,
        judged.in_order,
        blind_without(&first, &ops)?
    );
    let all = Row {
        name: format!("{}: disks that may be left", scenario.name),
        tried: judged.states,
        note,
        broken: judged.broken,
        ..Row::default()
    };

    let mut some = judged.left;
    random.shuffle(&mut some);
    let left_out = some.len().saturating_sub(GOES_ON);
    some.truncate(GOES_ON);
    let before = first.conjur().clone();
    let row = Mutex::new(Row {
        name: format!("{}: the agent goes on from one", scenario.name),
        left_out,
        ..Row::default()
    });
    // One world: what was recorded names its ports and its machine.
    for left in &some {
        let end = loss::goes_on(&first, &recorded, &before, left);
        let mut row = row.lock().unwrap_or_else(PoisonError::into_inner);
        row.tried += 1;
        row.broken.extend(end.err().map(|why| format!("power lost after operation {}: {why}", left.0)));
    }
    Ok(vec![all, row.into_inner().unwrap_or_else(PoisonError::into_inner)])
}

/// Judges the same run once more for each of its flushes, as if that one were not made: what the judge then
/// finds shows that it sees.
fn blind_without(world: &World, ops: &[Op]) -> Result<String, Broken> {
    let flushes: Vec<usize> =
        ops.iter().enumerate().filter(|(_, op)| matches!(op, Op::Sync(_))).map(|(at, _)| at).collect();
    let mut seen = 0;
    for flush in &flushes {
        let mut without = ops.to_vec();
        without.remove(*flush);
        let judged = loss::judged(world, &without, &mut fastrand::Rng::with_seed(1), true);
        seen += usize::from(!judged.broken.is_empty());
    }
    if seen == 0 && !flushes.is_empty() {
        return Err("the judge sees no difference when any flush is left out".to_owned());
    }
    Ok(format!("without one of its {} flushes, {seen} times a promise breaks", flushes.len()))
}

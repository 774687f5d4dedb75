//! The table of what was tried and what held, for the report of `make proof`.

use crate::list;
use imprint_e2e::peers::aloud;
use imprint_proof::{Figure, NotTried, Suite};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// By number: how many were tried, and how many held.
static TRIED: Mutex<BTreeMap<String, (u64, u64)>> = Mutex::new(BTreeMap::new());
static SINCE: Mutex<Option<Instant>> = Mutex::new(None);

/// One more was tried.
pub fn add(id: &str, held: bool) {
    let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    let (all, good) = tried.entry(id.to_owned()).or_default();
    *all += 1;
    *good += u64::from(held);
}

/// The time from here on is what the suite takes.
pub fn begin() {
    SINCE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
}

/// Writes what is known by now; the last test to end writes all of it.
pub fn write() {
    let tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut suite = Suite::named("faults");
    for (id, (all, held)) in &*tried {
        let name = list::words(id).map_or_else(|| id.clone(), |words| format!("{id} {words}"));
        suite.row(name, *all, *held, list::elsewhere(id));
    }
    let since = *SINCE.lock().unwrap_or_else(PoisonError::into_inner);
    let seconds = since.map(|since| since.elapsed().as_secs());
    let figure = |name: &str, measured: String, goal: &str, reached| Figure {
        name: name.to_owned(),
        measured,
        goal: goal.to_owned(),
        reached,
    };
    suite.figures = vec![
        figure("cases", suite.tried.to_string(), "at least 120", Some(suite.tried >= 120)),
        figure(
            "seconds, beside all else that was run",
            seconds.unwrap_or_default().to_string(),
            "90 on two idle cores",
            seconds.map(|seconds| seconds <= 90),
        ),
    ];
    suite.not_tried =
        list::not_tried().map(|(id, words, why)| NotTried { name: format!("{id} {words}"), why }).collect();
    suite.write().unwrap_or_else(|error| aloud(&format!("the table of faults cannot be written: {error}")));
}

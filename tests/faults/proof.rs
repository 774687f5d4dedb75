//! The table of what was tried and what held, where `IMPRINT_PROOF_DIR` names a directory.

use crate::list;
use imprint_e2e::peers::aloud;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// By number: how many were tried, and how many held.
static TRIED: Mutex<BTreeMap<String, (usize, usize)>> = Mutex::new(BTreeMap::new());
static SINCE: Mutex<Option<Instant>> = Mutex::new(None);

/// One more was tried.
pub fn add(id: &str, held: bool) {
    let mut tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    let (all, good) = tried.entry(id.to_owned()).or_default();
    *all += 1;
    *good += usize::from(held);
}

/// The time from here on is what the suite takes.
pub fn begin() {
    SINCE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
}

/// Writes what is known by now; the last section to end writes all of it.
pub fn write() {
    let Some(folder) = std::env::var_os("IMPRINT_PROOF_DIR") else { return };
    let tried = TRIED.lock().unwrap_or_else(PoisonError::into_inner);
    let rows: Vec<Value> = tried.iter().map(|(id, (tried, held))| told(id, *tried, *held)).collect();
    let sum = |of: fn(&(usize, usize)) -> usize| tried.values().map(of).sum::<usize>();
    let (all, held) = (sum(|(tried, _)| *tried), sum(|(_, held)| *held));
    let since = *SINCE.lock().unwrap_or_else(PoisonError::into_inner);
    let wall = since.map_or(0.0, |since| since.elapsed().as_secs_f64());
    let figures = json!([
        {"name": "rows tried", "measured": all, "goal": "at least 120", "reached": all >= 120},
        {"name": "seconds from the first to the last", "measured": wall.round(), "goal": "about 90 on two idle cores", "reached": wall <= 90.0},
    ]);
    let not_tried: Vec<Value> = list::not_tried()
        .map(|(id, words, why)| json!({"name": format!("{id} {words}"), "why": why}))
        .collect();
    let proof = json!({
        "suite": "faults", "tried": all, "held": held, "rows": rows, "figures": figures, "not_tried": not_tried,
    });
    let file = Path::new(&folder).join("faults.json");
    let written =
        std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&file, format!("{proof:#}\n")));
    written.unwrap_or_else(|error| aloud(&format!("{} cannot be written: {error}", file.display())));
}

fn told(id: &str, tried: usize, held: usize) -> Value {
    let name = list::words(id).map_or_else(|| id.to_owned(), |words| format!("{id} {words}"));
    let note = list::elsewhere(id);
    json!({"name": name, "tried": tried, "held": held, "note": note})
}

//! Faults: what the network, each server and the disk may do wrong, and what must come of it, as a table.
//!
//! A row is one fault and one run of the real program; `check` judges its exit code, its words, what it left,
//! how often it asked whom, and that no secret is told anywhere. `list` has every kind of fault with a number,
//! and says where each is proved or why it is not tried. `random` draws faults in combination.
//!
//! `IMPRINT_FAULT=D3` tries the rows of one number alone, `IMPRINT_FAULT=D` those of one section.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what tests share fails as a test does"
)]

#[path = "../e2e/tests/place.rs"]
mod place;

mod bucket;
mod check;
mod disk;
mod fleet;
mod lambda;
mod list;
mod metadata;
mod network;
mod proof;
mod random;
mod redemption;
mod rotator;
mod row;
mod talk;
mod tls;
mod unseal;
mod wire;
mod world;

use row::Row;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

/// Every row there is, those that wait longest first.
fn all() -> Vec<Row> {
    let sections = [network::rows, tls::rows, metadata::rows, bucket::rows, unseal::rows, redemption::rows];
    let sections = sections.into_iter().chain([disk::rows, rotator::rows]);
    let mut rows: Vec<Row> = sections.flat_map(|rows| rows()).collect();
    rows.sort_by_key(|row| !row.is_slow());
    rows
}

/// Tries one, also one that panics: what does not hold, in words.
fn tried(row: &Row) -> String {
    let end = catch_unwind(AssertUnwindSafe(|| check::with_room(|| check::check(row))));
    end.unwrap_or_else(|why| {
        let words = why.downcast_ref::<String>().map_or("a panic", String::as_str);
        format!("  it could not be tried: {words}\n")
    })
}

#[test]
fn every_row_holds() {
    proof::begin();
    let only = std::env::var("IMPRINT_FAULT").unwrap_or_default();
    let is_asked =
        |row: &Row| row.id == only || row.id.trim_end_matches(|c: char| c.is_ascii_digit()) == only;
    let rows: Vec<Row> = all().into_iter().filter(|row| only.is_empty() || is_asked(row)).collect();
    let waiting = Mutex::new(rows.iter());
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..check::AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().next();
                    let Some(row) = next else { break };
                    let wrong = tried(row);
                    proof::add(row.id, wrong.is_empty());
                    if !wrong.is_empty() {
                        failed.lock().unwrap().push(format!("{} {}\n{wrong}", row.id, row.what));
                    }
                }
            });
        }
    });
    proof::write();
    let mut failed = failed.into_inner().unwrap();
    failed.sort();
    let all = format!("{} of {} rows do not hold:", failed.len(), rows.len());
    assert!(failed.is_empty(), "{all}\n{}", failed.join("\n"));
}

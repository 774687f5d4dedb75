//! A part of `make crash` that takes seconds: the programs killed, and their calls failing, at every write,
//! flush, rename and removal of a first enrollment and of a rotation of its key; and the power lost at each of
//! them.

use crate::place;
use imprint_crash::call::Call;
use imprint_crash::points::{self, Point};
use imprint_crash::scenario;
use imprint_crash::suite::{self, Wanted};

/// What makes a file last, or go.
const CALLS: [&str; 7] = ["write", "fsync", "fdatasync", "renameat", "renameat2", "unlinkat", "rename"];

fn points(calls: &[(Call, i64)]) -> Vec<Point> {
    let mut points = [points::kills(calls), points::failures(calls)].concat();
    points.retain(|point| CALLS.contains(&point.call.name) && point.call.path.is_some());
    points
}

#[track_caller]
fn check(name: &str, least: usize) {
    let programs = place::programs();
    let wanted = Wanted { programs: &programs, every: 1, points };
    let row = suite::tried(scenario::named(name), &wanted).unwrap();
    assert!(row.broken.is_empty() && row.tried >= least, "{}", row.line());
    assert_eq!((row.not_reached, row.left_out), (0, 0), "{}", row.line());
}

#[test]
#[ignore = "needs root: make test-root"]
fn a_first_enrollment_stopped_at_every_change_of_the_disk() {
    check("first enroll", 150);
}

#[test]
#[ignore = "needs root: make test-root"]
fn a_rotation_of_the_key_stopped_at_every_change_of_the_disk() {
    check("rotate-key", 150);
}

#[test]
#[ignore = "needs root: make test-root"]
fn a_first_enrollment_without_power_at_every_change_of_the_disk() {
    for row in suite::without_power(scenario::named("first enroll"), &place::programs(), 1).unwrap() {
        assert!(row.broken.is_empty() && row.tried > 100, "{}", row.line());
    }
}

//! End to end: what the programs are made of and the programs themselves, against servers on real
//! sockets. One binary, so it links once.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what tests share fails as a test does"
)]

mod ahead;
mod audit;
mod bad_config;
mod bad_disk;
mod bad_replies;
mod bad_token;
mod clock;

mod conjur_client;
mod docs;
mod doctor;
mod emulator;
mod fleet;
mod forget;
mod genuine;
mod help;
mod instances;
mod journey;
mod json;
mod keys;
mod lambda;
mod leaked;
mod logins;
mod many;
mod metadata;
mod one_redeemer;
mod operations;
mod operator;
mod pages;
mod place;
mod policies;
mod process;
mod promotion;
mod readers;
mod sinks;
mod sources;
mod tokens;
mod unsettled;
mod warm;

use imprint_e2e::Site;
use place::{Place, folder, no_secret, programs, published, site, site_of};

/// What a failed enrollment must be like: one reason and its hint, its exit code, nothing written,
/// nothing told.
#[track_caller]
fn refused(site: &Site, machine: &imprint_e2e::Machine, code: i32, say: &str) {
    let ran = imprint_e2e::Ran::of(&mut machine.imprint(&["enroll", "--deadline", "3s"])).expect(code);
    assert!(ran.err.contains(say), "should say {say:?}:\n{}", ran.err);
    assert!(ran.err.lines().any(|l| l.contains("hint")), "no hint:\n{}", ran.err);
    assert_eq!(machine.etc(), ["imprint"], "something was written");
    no_secret(site, &[&ran.out, &ran.err]);
}

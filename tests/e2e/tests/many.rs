//! A thousand host factories in one run of the program: what each costs, and that one that fails is all that
//! fails. Every request is counted.

use crate::{no_secret, site_of};
use imprint_core::second::Second;
use imprint_e2e::{Ran, Site};
use imprint_rotator::label::{Kind, Label};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

const FACTORIES: usize = 1000;

/// No server sees more connections: eight factories are worked on at once, and a client may open one more
/// while another comes free.
const CONNECTIONS: usize = 24;

/// A run's report, its exit code, and the requests by name.
fn rotate(site: &Site, arguments: &[&str]) -> (Value, i32, BTreeMap<String, usize>) {
    let stack = &site.stack;
    stack.clear_logs();
    let before = [stack.conjur.connections(), stack.s3.connections(), stack.kms.connections()];
    let ran = Ran::of(&mut site.rotator(&[&["rotate", "--json"], arguments].concat()));
    let after = [stack.conjur.connections(), stack.s3.connections(), stack.kms.connections()];
    for (before, after) in before.iter().zip(after) {
        assert!(after - before <= CONNECTIONS, "{} connections to one server", after - before);
    }
    let mut requests = BTreeMap::new();
    for logged in [stack.conjur.log(), stack.s3.log(), stack.kms.log()].concat() {
        *requests.entry(logged.name).or_default() += 1;
    }
    let report = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", ran.out, ran.err));
    (report, ran.code, requests)
}

/// Requests by name: the login and five pages, which a run shares, and these.
fn shared_and(each: &[(&str, usize)]) -> BTreeMap<String, usize> {
    let shared = [("authenticate", 1), ("list_factories", 5)];
    shared.iter().chain(each).map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

/// How many factories ended how.
fn results(report: &Value) -> BTreeMap<&str, usize> {
    let mut results = BTreeMap::new();
    for factory in report["factories"].as_array().unwrap() {
        *results.entry(factory["result"].as_str().unwrap()).or_default() += 1;
    }
    results
}

#[test]
fn a_thousand_factories_in_one_run() {
    let site = site_of((0..FACTORIES).map(|at| format!("l{at:03}")).collect());
    let conjur = site.stack.conjur.service();
    let layers = &site.stack.options().layers;
    // Each has an expired token of ours, so that a rotation has its seventh request.
    let label = Label::new("1f2e3d4c".parse().unwrap(), Second::now(), Kind::Layer, 1);
    let end = Second::now().minus(Duration::from_secs(3600)).unix();
    for layer in layers {
        let _token = conjur.add_token(&site.stack.factory(layer), end, &label.beside(&[])).unwrap();
    }
    // One in ten may not be minted for, and one more is gone.
    let gone = "- !delete { record: !host-factory l001/factory }";
    let permit = |verb: &str| {
        let each = |layer: &String| {
            format!(
                "- !{verb} {{ role: !host imprint/rotator, privileges: [ execute ], resource: !host-factory {layer}/factory }}\n"
            )
        };
        conjur.patch_policy("root", &layers.iter().step_by(10).map(each).collect::<String>()).unwrap();
    };
    permit("deny");
    conjur.patch_policy("root", gone).unwrap();

    let (report, code, requests) = rotate(&site, &[]);
    assert_eq!((results(&report), code), ([("failed", 101), ("rotated", 899)].into(), 77));
    let wanted = [
        ("s3:GetObject", 899 * 2 + 100),
        ("mint", 899 + 100),
        ("kms:Encrypt", 899),
        ("s3:PutObject", 899),
        ("kms:Decrypt", 899),
        // An expired token goes, whether a new one came or not.
        ("revoke", 899 + 100),
        // What is not on the pages is looked for.
        ("resource", 1),
    ];
    assert_eq!(requests, shared_and(&wanted));
    no_secret(&site, &[&report.to_string()]);

    permit("permit");
    let (report, code, requests) = rotate(&site, &[]);
    assert_eq!((results(&report), code), ([("failed", 1), ("kept", 899), ("rotated", 100)].into(), 77));
    let wanted = [
        ("s3:GetObject", 899 + 100 * 2),
        ("mint", 100),
        ("kms:Encrypt", 100),
        ("s3:PutObject", 100),
        ("kms:Decrypt", 100),
        ("resource", 1),
    ];
    assert_eq!(requests, shared_and(&wanted));
}

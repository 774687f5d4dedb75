//! A token has leaked: all older ones are revoked while a wave of instances boots, and nobody is lost.

use crate::{Place, no_secret, published};
use imprint_e2e::{Machine, Ran};
use imprint_stack::fault::{Fault, FaultKind};
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Stdio};
use std::time::Duration;

/// How many instances boot, and how many of them at a time.
const WAVE: usize = 200;
const AT_ONCE: usize = 20;

fn start(machine: &Machine) -> Child {
    let mut command = machine.imprint(&["enroll", "--deadline", "120s"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn incident(site: &Place) -> Ran {
    Ran::of(&mut site.rotator(&[
        "rotate",
        "--now",
        "--revoke-superseded",
        "--factory",
        "web/factory",
        "--json",
    ]))
}

/// How often each agent fetched: every process has credentials of its own, and those that put are the
/// rotator's.
fn fetches(site: &Place) -> Vec<usize> {
    let mut fetches = BTreeMap::<String, usize>::new();
    let mut rotators = BTreeSet::new();
    for logged in site.stack.s3.log() {
        let signed = logged.headers.get("authorization").unwrap().to_str().unwrap();
        let key = signed.split("Credential=").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
        if logged.name == "s3:GetObject" {
            *fetches.entry(key.to_owned()).or_default() += 1;
        } else {
            let _again = rotators.insert(key.to_owned());
        }
    }
    fetches.into_iter().filter(|(key, _)| !rotators.contains(key)).map(|(_, count)| count).collect()
}

#[test]
fn a_wave_of_boots_loses_nobody_while_older_tokens_are_revoked() {
    let site = published();
    let machines: Vec<Machine> = (0..WAVE).map(|_| site.machine("web")).collect();
    let mut incidents = Vec::new();
    for (at, batch) in machines.chunks(AT_ONCE).enumerate() {
        let strikes = at % 5 == 0;
        let before = site.stack.conjur.count("redeem");
        if strikes {
            // Half of them hold an older token when it is revoked; the others are before or after that.
            let held = u32::try_from(AT_ONCE / 2).unwrap();
            let delay = FaultKind::Delay(Duration::from_secs(5));
            site.stack.conjur.inject(Fault::on("redeem", delay).times(held));
        }
        let agents: Vec<Child> = batch.iter().map(start).collect();
        if strikes {
            while site.stack.conjur.count("redeem") < before + AT_ONCE / 2 {
                std::thread::yield_now();
            }
            incidents.push(incident(&site).expect(0));
        }
        for agent in agents {
            let output = agent.wait_with_output().unwrap();
            let (out, err) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{out}\n{err}");
            no_secret(&site, &[&out, &err]);
        }
    }
    for ran in &incidents {
        let report: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        let older = &report["factories"][0]["older"];
        assert_eq!(
            (older["revoked"].as_array().unwrap().len(), &report["failed"]),
            (1, &0.into()),
            "{report}"
        );
        no_secret(&site, &[&ran.out, &ran.err]);
    }
    // Who held an older token fetched once more, and nobody more often.
    let fetches = fetches(&site);
    assert_eq!(fetches.len(), WAVE);
    assert!(fetches.iter().all(|count| *count <= 2), "{fetches:?}");
    assert!(fetches.contains(&2), "no boot met an incident");
    for machine in machines {
        let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    }
    assert_eq!(site.stack.conjur.service().live_tokens("web/factory"), 1);
}

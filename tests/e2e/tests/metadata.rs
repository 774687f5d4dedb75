//! The metadata service in the first seconds of an instance's life, and when it will never answer.

use crate::{published, refused};
use imprint_e2e::Ran;
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::imds::Imds;
use imprint_stack::server::Server;
use std::net::Ipv6Addr;

#[test]
fn what_is_not_there_yet_is_waited_for() {
    let check = |faults: &[Fault]| {
        let site = published();
        let machine = site.machine("web");
        faults.iter().for_each(|fault| machine.imds.inject(fault.clone()));
        let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    };
    check(&[Fault::on("imds:token", FaultKind::Reset).times(2)]);
    check(&[Fault::status("imds:token", 401, "").times(2)]);
    check(&[Fault::status("imds:token", 503, "").times(2)]);
    check(&[Fault::status("imds:document", 404, "").times(2)]);
    check(&[Fault::on("imds:document", FaultKind::Close).times(2)]);
    // A profile that is not attached yet: no role, then no credentials of it.
    check(&[
        Fault::status("imds:role", 404, "").times(2),
        Fault::status("imds:credentials", 404, "").times(1),
        Fault::status("imds:credentials", 200, r#"{"Code":"AssumeRoleUnauthorizedAccess"}"#).times(1),
    ]);
}

#[test]
fn a_service_that_comes_up_late_is_waited_for() {
    let site = published();
    let machine = site.machine("web");
    machine.imds.pause();
    let mut enroll = machine.imprint(&["enroll"]);
    enroll.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut agent = enroll.spawn().unwrap();
    // It has been refused once it says so.
    let mut said = std::io::BufReader::new(agent.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("instance metadata will be tried again") {
        assert_ne!(std::io::BufRead::read_line(&mut said, &mut line).unwrap(), 0, "{line}");
    }
    machine.imds.resume();
    std::io::copy(&mut said, &mut std::io::sink()).unwrap();
    assert!(agent.wait().unwrap().success());
}

#[test]
fn a_session_that_ends_under_way_is_opened_again() {
    let site = published();
    let machine = site.machine("web");
    machine.imds.inject(Fault::status("imds:credentials", 401, ""));
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!((machine.imds.count("imds:token"), machine.imds.count("imds:credentials")), (2, 2));
}

#[test]
fn a_service_that_is_switched_off_is_said_at_once() {
    let site = published();
    let machine = site.machine("web");
    machine.imds.inject(Fault::status("imds:token", 403, "").forever());
    refused(&site, &machine, 78, "refuses to give a session");
    assert_eq!(machine.imds.log().len(), 1);
}

#[test]
fn a_service_that_never_answers_names_the_hop_limit() {
    let site = published();
    let machine = site.machine("web");
    machine.imds.inject(Fault::on("imds:token", FaultKind::Hang).forever());
    let ran = Ran::of(&mut machine.imprint(&["enroll", "--deadline", "1s"]));
    // Whether it is final depends on where this test runs: in a container it is.
    assert!(matches!(ran.code, 75 | 78), "{}\n{}", ran.code, ran.err);
    assert!(ran.err.contains("the hop limit is too low"), "{}", ran.err);
    assert!(ran.err.contains("HttpPutResponseHopLimit"), "{}", ran.err);
    assert_eq!(machine.etc(), ["imprint"]);
}

#[test]
fn two_instances_in_one_machine_are_refused() {
    let site = published();
    let machine = site.machine("web");
    machine.set_dmi("i-0fedcba9876543210");
    refused(&site, &machine, 65, "name different instances");
    assert_eq!(site.stack.conjur.count("redeem"), 0);
}

#[test]
fn over_ipv6() {
    let site = published();
    let machine = site.machine("web");
    let service = Imds::new(site.stack.credentials.clone(), machine.instance());
    let imds = Server::start_at(Ipv6Addr::LOCALHOST.into(), service, None);
    assert!(imds.url().starts_with("http://[::1]:"), "{}", imds.url());
    machine.set_config(&machine.config().replace(&machine.imds.url(), &imds.url()));
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!((imds.log().len(), machine.imds.log().len()), (4, 0));
}

#[test]
fn more_facts_cost_one_request_each() {
    let site = published();
    let machine = site.machine("web");
    machine.imds.service().change(|i| *i = i.clone().tag("Name", "blue"));
    let branch = "hosts_branch = \"web/hosts\"";
    let id = "host_id = \"web/hosts/{tag:Name}-{instance_id}\"";
    machine.set_config(&machine.config().replace(branch, id));
    // Where the firmware does not tell, the instance-id takes no request of its own.
    std::fs::remove_dir_all(machine.path("sys")).unwrap();
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let asked: Vec<String> = machine.imds.log().into_iter().map(|request| request.name).collect();
    assert_eq!(asked, ["imds:token", "imds:document", "imds:tag", "imds:role", "imds:credentials"]);
}

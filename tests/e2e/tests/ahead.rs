//! Connections that are opened while the metadata service answers, and the ways that they take.

use crate::{folder, programs, published};
use imprint_core::sealed::context_key;
use imprint_e2e::proxy::Proxy;
use imprint_e2e::{Machine, Ran, Site};
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::{Options, Stack};
use std::net::TcpListener;
use std::process::{Command, Stdio};

fn connections(site: &Site) -> [usize; 3] {
    [site.stack.s3.connections(), site.stack.kms.connections(), site.stack.conjur.connections()]
}

#[test]
fn each_server_is_connected_to_once_and_not_at_all_when_there_is_nothing_to_do() {
    let site = published();
    let machine = site.machine("web");
    let before = connections(&site);
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let after = connections(&site);
    assert_eq!(after, before.map(|n| n + 1));
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!((connections(&site), machine.imds.connections()), (after, 1));
}

/// Starts an enrollment whose metadata service keeps it waiting for its credentials, until the faults are cleared.
fn waiting(machine: &Machine) -> std::process::Child {
    machine.imds.inject(Fault::on("imds:credentials", FaultKind::Hang).forever());
    let mut enroll: Command = machine.imprint(&["enroll", "--deadline", "120s"]);
    enroll.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until each server has one connection more.
fn until_opened(site: &Site, before: [usize; 3], agent: &mut std::process::Child) {
    while connections(site).iter().zip(before).any(|(now, before)| *now <= before) {
        assert!(agent.try_wait().unwrap().is_none(), "it ended first");
        std::thread::yield_now();
    }
}

#[test]
fn they_are_open_before_the_credentials_are_there_and_may_break_until_then() {
    let site = published();
    let machine = site.machine("web");
    let before = connections(&site);
    let mut agent = waiting(&machine);
    until_opened(&site, before, &mut agent);
    let log = machine.imds.log();
    assert!(!log.iter().any(|asked| asked.name == "imds:credentials" && asked.status.is_some()), "{log:?}");
    site.stack.s3.cut();
    site.stack.kms.cut();
    site.stack.conjur.cut();
    machine.imds.clear_faults();
    assert!(agent.wait().unwrap().success());
    let _said = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
}

#[test]
fn a_server_that_never_speaks_holds_up_no_other() {
    let site = published();
    let machine = site.machine("web");
    // A follower that takes connections and says nothing, not even a TLS hello.
    let tarpit = TcpListener::bind("127.0.0.1:0").unwrap();
    let follower = format!("https://localhost:{}", tarpit.local_addr().unwrap().port());
    let leader = site.stack.conjur.url();
    let urls = format!("appliance_url = {follower:?}\nleader_url = {leader:?}");
    machine.set_config(&machine.config().replace(&format!("appliance_url = {leader:?}"), &urls));
    let before = connections(&site);
    let mut agent = waiting(&machine);
    let (_held, _) = tarpit.accept().unwrap();
    // The others are open as well, while the follower's hello is still waited for.
    until_opened(&site, before, &mut agent);
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn s3_kms_and_conjur_go_through_a_proxy_and_the_metadata_service_never_does() {
    let (folder, proxy) = (folder(), Proxy::start());
    // Only the proxy knows these names. With a dot in it, a bucket is no part of the server's name.
    let mut options = Options::new(context_key::HOST_FACTORY);
    options.aws_names = vec!["s3.example.test".to_owned(), "kms.example.test".to_owned()];
    options.bucket = "imprint.tokens".to_owned();
    let site = Site::with(folder.path(), programs(), Stack::start(options));
    let ca = format!("ca_file = {:?}\n", site.ca_file());
    let (s3, kms) = (site.stack.s3.port(), site.stack.kms.port());
    let conjur = site.stack.conjur.port();
    let behind = |command: &mut Command| {
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"] {
            command.env(name, proxy.url());
        }
        command.env("AWS_ENDPOINT_URL_S3", format!("https://s3.example.test:{s3}"));
        command.env("AWS_ENDPOINT_URL_KMS", format!("https://kms.example.test:{kms}"));
        Ran::of(command).expect(0)
    };
    let rotator = site.rotator_config().replace("[aws]\n", &format!("[aws]\n{ca}"));
    imprint_e2e::write(&site.folder().join("rotator.toml"), 0o644, &rotator);
    let _said = behind(&mut site.rotator(&["rotate"]));
    let rotated = proxy.asked().len();

    let machine = site.machine("web");
    machine.set_config(&machine.config().replace("[source]\n", &format!("[source]\n{ca}")));
    let _said = behind(&mut machine.imprint(&["enroll"]));
    let mut asked = proxy.asked().split_off(rotated);
    asked.sort();
    let mut want = [
        format!("CONNECT localhost:{conjur} HTTP/1.1"),
        format!("CONNECT kms.example.test:{kms} HTTP/1.1"),
        format!("CONNECT s3.example.test:{s3} HTTP/1.1"),
    ];
    want.sort();
    assert_eq!(asked, want);
    assert_eq!(machine.imds.log().len(), 4);
}

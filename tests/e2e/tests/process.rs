//! What can be seen of a running program from outside: nothing that would let its memory be kept.

use crate::published;
use imprint_stack::fault::{Fault, FaultKind};
use std::fs;
use std::process::{Child, Command, Stdio};

/// Starts a program that soon waits for a server which never answers, and looks at it then.
fn check(command: &mut Command, waits: impl Fn() -> bool) {
    let mut child: Child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !waits() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    let of = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", child.id()));
    let (limits, status) = (of("limits"), of("status"));
    let ended = child.try_wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ended, None, "it ended before it could be looked at");
    let limits = limits.unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(values, ["0", "0"], "{core}");
    assert!(status.unwrap().lines().any(|line| line == "Umask:\t0077"));
}

#[test]
fn neither_program_leaves_a_core_dump_or_an_open_file() {
    let site = published();
    let machine = site.machine("web");
    machine.imds.inject(Fault::on("imds:token", FaultKind::Hang).forever());
    check(&mut machine.imprint(&["enroll"]), || !machine.imds.log().is_empty());

    site.stack.conjur.clear_log();
    site.stack.conjur.inject(Fault::on("authenticate", FaultKind::Hang).forever());
    check(&mut site.rotator(&["rotate"]), || !site.stack.conjur.log().is_empty());
}

#[test]
fn a_failed_boot_leaves_one_line_on_the_console_that_tells_no_secret() {
    let site = published();
    let machine = site.machine("web");
    let console = machine.path("console");
    imprint_e2e::write(&console, 0o600, "");
    machine
        .set_config(&machine.config().replace("[system]\n", &format!("[system]\nconsole = {console:?}\n")));
    let told = |code| {
        let ran = imprint_e2e::Ran::of(&mut machine.imprint(&["enroll"])).expect(code);
        let text = fs::read_to_string(&console).unwrap();
        imprint_e2e::write(&console, 0o600, "");
        crate::no_secret(&site, &[&text, &ran.err]);
        text
    };
    site.stack.conjur.inject(Fault::status("redeem", 403, ""));
    let text = told(77);
    assert_eq!(text.matches("\r\n").count(), 1, "{text:?}");
    assert!(text.starts_with("imprint: cannot enroll: ") && text.contains("(refused); hint: "), "{text:?}");
    let asked = site.stack.conjur.log();
    let attempt =
        asked.iter().find(|logged| logged.name == "redeem").expect("a redeem").headers["x-request-id"]
            .clone();
    assert!(text.ends_with(&format!("; attempt {}\r\n", attempt.to_str().unwrap())), "{text:?}");
    assert_eq!(told(0), "");
}

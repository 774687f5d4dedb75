//! The files beside the identity, as those read them who use them: a shell, a JSON parser, Python's netrc.

use crate::{no_secret, published};
use imprint_e2e::{Machine, Ran};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

/// An enrolled machine that has every file.
fn enrolled(site: &imprint_e2e::Site) -> Machine {
    let machine = site.machine("web");
    let more =
        ["env", "json"].map(|name| format!("{name} = {:?}\n", machine.path(&format!("etc/conjur.{name}"))));
    machine.set_config(&machine.config().replace("[files]\n", &format!("[files]\n{}", more.concat())));
    let ran = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    no_secret(site, &[&ran.out, &ran.err]);
    machine
}

#[test]
fn a_shell_and_a_json_parser_read_what_the_identity_says() {
    let site = published();
    site.may_tell("conjur.env");
    site.may_tell("conjur.json");
    let machine = enrolled(&site);
    let (login, key) = machine.identity();
    let (url, pem) = (site.stack.conjur.url(), machine.path("etc/conjur.pem").display().to_string());
    let script = ". \"$1\"; printf '%s\\n' \"$CONJUR_ACCOUNT\" \"$CONJUR_APPLIANCE_URL\" \"$CONJUR_CERT_FILE\" \"$CONJUR_AUTHN_LOGIN\" \"$CONJUR_AUTHN_API_KEY\"";
    let read = || {
        let mut shell = Command::new("sh");
        shell.env_clear().args(["-euc", script, "sh"]).arg(machine.path("etc/conjur.env"));
        let json = fs::read_to_string(machine.path("etc/conjur.json")).unwrap();
        (
            Ran::of_one_that_tells(&mut shell).expect(0).out,
            serde_json::from_str::<serde_json::Value>(&json).unwrap(),
        )
    };
    let expect = (
        format!("demo\n{url}\n{pem}\n{login}\n{key}\n"),
        serde_json::json!({
            "schema": 1, "account": "demo", "appliance_url": url, "cert_file": pem, "login": login, "api_key": key,
        }),
    );
    assert_eq!(read(), expect);
    for name in ["conjur.env", "conjur.json"] {
        assert_eq!(fs::metadata(machine.path("etc").join(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }

    // One that is gone, stale or open to others comes back without a request.
    site.stack.clear_logs();
    fs::remove_file(machine.path("etc/conjur.json")).unwrap();
    imprint_e2e::write(&machine.path("etc/conjur.env"), 0o644, "CONJUR_AUTHN_API_KEY=old\n");
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!((read(), site.stack.requests()), (expect, 0));
    let mode = fs::metadata(machine.path("etc/conjur.env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_holds_the_parents_key_goes_with_its_identity() {
    let site = published();
    let machine = enrolled(&site);
    let key = machine.identity().1;
    let theirs = "machine example.org login me password x\n";
    let text = format!("{theirs}{}", machine.identity_text().unwrap());
    imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, &text);
    let id = "i-0fedcba9876543210";
    machine.imds.service().change(|instance| instance.id = id.to_owned());
    machine.set_dmi(id);
    // Even where it gets no further than that.
    site.stack.conjur.inject(imprint_stack::fault::Fault::status("redeem", 403, vec![]).forever());
    let _said = Ran::of(&mut machine.imprint(&["enroll", "--deadline", "3s"])).expect(77);
    assert_eq!(machine.etc(), ["conjur.conf", "conjur.identity", "conjur.pem", "imprint"]);
    assert_eq!(machine.identity_text().as_deref(), Some(theirs));
    for name in machine.etc().iter().filter(|name| *name != "imprint") {
        assert!(!fs::read_to_string(machine.path("etc").join(name)).unwrap().contains(&key), "{name}");
    }
}

#[test]
fn pythons_netrc_reads_every_edit() {
    let site = published();
    let others = [
        "machine a login b password c\n",
        "# mine\nmachine a\n  login \"b b\"\n  password c\nmachine d login e password f\n",
        "machine a login b password c default login d password e\n",
        "machine a login b password c\nmacdef init\n  cd x\n\ndefault login d password e\n",
        "machine a login b password c\r\ndefault login d password e\r\n",
    ];
    let read = |machine: &Machine| {
        let code =
            "import netrc, sys, json; n = netrc.netrc(sys.argv[1]); print(json.dumps([n.hosts, n.macros]))";
        let mut python = Command::new("python3");
        let ran = Ran::of_one_that_tells(python.args(["-c", code]).arg(machine.path("etc/conjur.identity")))
            .expect(0);
        serde_json::from_str::<serde_json::Value>(&ran.out).unwrap()
    };
    for text in others {
        let machine = site.machine("web");
        imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, text);
        let mut expect = read(&machine);
        let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        let host = machine.host_id();
        let key = site.stack.conjur.service().key_of(&host).unwrap();
        let url = format!("{}/authn", site.stack.conjur.url());
        expect[0][url] = serde_json::json!([format!("host/{host}"), "", key]);
        assert_eq!(read(&machine), expect, "{text:?}");
    }
}

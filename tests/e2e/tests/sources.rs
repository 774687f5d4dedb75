//! Tokens that come otherwise than by one bucket: sealed with facts of machines that have no cloud; by
//! standard input, file and systemd credential; from the bucket of another region.

use crate::{Place, no_secret, published, refused, site};
use imprint_e2e::{Machine, Ran, Site, client, write};
use imprint_stack::fault::{Fault, FaultKind};
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

/// A machine's configuration with another source.
fn set_source(machine: &Machine, source: &str) {
    let config = machine.config();
    let (before, rest) = config.split_once("[source]").unwrap();
    let (_, after) = rest.split_once("[files]").unwrap();
    machine.set_config(&format!("{before}{source}\n[files]{after}"));
}

/// A machine without a cloud: its firmware has a UUID and names no instance.
fn off_cloud(site: &Site, number: u32) -> Machine {
    let machine = site.machine("web");
    fs::remove_file(machine.path("sys/class/dmi/id/board_asset_tag")).unwrap();
    let uuid = format!("0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e{number:04x}\n");
    write(&machine.path("sys/class/dmi/id/product_uuid"), 0o400, &uuid);
    write(&machine.path("machine-id"), 0o444, &format!("{number:032x}\n"));
    let source =
        format!("[source]\nkind = \"client-data\"\nfile = {:?}\n", machine.path("etc/imprint/token.json"));
    set_source(&machine, &source);
    let id = format!("machine_id = {:?}\n\n[instance]\nid = \"machine\"\n", machine.path("machine-id"));
    machine.set_config(&format!("{}{id}", machine.config()));
    machine
}

/// What `imprint facts` says of the machine, in a file.
fn facts(site: &Site, machine: &Machine, name: &str) -> PathBuf {
    let ran = Ran::of(&mut machine.imprint(&["facts", "--json", "--reveal"])).expect(0);
    let path = site.folder().join(name);
    write(&path, 0o600, &ran.out);
    path
}

/// Seals for these machines with these facts, as cheaply as it may be.
fn seal(site: &Site, machines: &[&Machine], more: &[&str]) -> String {
    let files: Vec<String> = (0..)
        .zip(machines)
        .map(|(n, m)| facts(site, m, &format!("facts-{n}.json")).display().to_string())
        .collect();
    let out = site.folder().join("sealed.json").display().to_string();
    let mut words =
        vec!["seal", "--factory", "web/factory", "--memory", "19", "--passes", "2", "--out", &out];
    words.extend(more);
    words.push("--client-data");
    words.extend(files.iter().map(String::as_str));
    let ran = Ran::of(&mut site.rotator(&words)).expect(0);
    no_secret(site, &[&ran.out, &ran.err]);
    let sealed = fs::read_to_string(site.folder().join("sealed.json")).unwrap();
    no_secret(site, &[&sealed]);
    sealed
}

fn give(machine: &Machine, sealed: &str) {
    write(&machine.path("etc/imprint/token.json"), 0o600, sealed);
}

fn enrolls(site: &Site, machine: &Machine, arguments: &[&str]) -> Ran {
    let ran = Ran::of(&mut machine.imprint(arguments)).expect(0);
    no_secret(site, &[&ran.out, &ran.err]);
    logs_in(site, machine);
    ran
}

/// The identity reads the layer's variable, with a client that is not the agent's.
fn logs_in(site: &Site, machine: &Machine) {
    let (login, key) = machine.identity();
    let (url, variable) = (site.stack.conjur.url(), site.stack.variable("web"));
    let read = client::secret(&url, "demo", &site.ca_file(), &login, &key, &variable);
    assert_eq!(read.as_deref(), Ok(site.stack.secret("web")), "{login}");
}

/// The checks of the doctor that fail; it opens what an enrollment would open.
fn failing(site: &Site, machine: &Machine) -> Vec<String> {
    let ran = Ran::of(&mut machine.imprint(&["doctor", "--json"]));
    no_secret(site, &[&ran.out, &ran.err]);
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let checks = json["checks"].as_array().unwrap().iter().filter(|check| check["outcome"] == "failure");
    checks.map(|check| check["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn sealed_for_three_machines_without_a_cloud() {
    let site = site();
    let machines: Vec<Machine> = (1..=4).map(|n| off_cloud(&site, n)).collect();
    let three: Vec<&Machine> = machines.iter().take(3).collect();
    let sealed = seal(&site, &three, &["--facts", "product_uuid,machine_id", "--lifetime", "1h"]);
    machines.iter().for_each(|machine| give(machine, &sealed));
    assert_eq!(failing(&site, &machines[0]), Vec::<String>::new());
    assert_eq!(failing(&site, &machines[3]), ["client-data"]);
    for machine in &three {
        let _said = enrolls(&site, machine, &["enroll"]);
    }
    let logins: std::collections::BTreeSet<String> = three.iter().map(|m| m.identity().0).collect();
    assert_eq!(logins.len(), 3, "{logins:?}");
    assert!(logins.iter().all(|login| login.starts_with("host/web/hosts/m-")), "{logins:?}");
    refused(&site, &machines[3], 77, "the token does not open with the facts of this machine");
    // No cloud was asked for anything, by nobody.
    assert!(machines.iter().all(|machine| machine.imds.log().is_empty()));
    assert_eq!((site.stack.s3.log().len(), site.stack.kms.log().len()), (0, 0));
}

#[test]
fn a_sealed_file_that_was_changed_or_moved() {
    let site = site();
    let machine = off_cloud(&site, 1);
    let sealed = seal(&site, &[&machine], &[]);
    site.stack.conjur.clear_log();
    let check = |from: &str, to: &str, code: i32, say: &str, fails: &str| {
        assert!(sealed.contains(from), "{from}");
        give(&machine, &sealed.replacen(from, to, 1));
        refused(&site, &machine, code, say);
        assert_eq!(site.stack.conjur.log().len(), 0, "Conjur was asked");
        assert_eq!(failing(&site, &machine), [fails], "{from}");
        site.stack.conjur.clear_log();
    };
    check("\"spread_s\":0", "\"spread_s\":1", 77, "does not open", "client-data");
    check("web/factory", "db/factory", 65, "host_factory is db/factory", "binding");
    check("\"version\":1", "\"version\":2", 78, "client data format version 2", "sealed-token");
    check("\"memory_kib\":19456", "\"memory_kib\":4294967295", 65, "4294967295 KiB", "sealed-token");
    check("\"form\":\"uuid\"", "\"form\":\"hex\"", 65, "fact or form", "sealed-token");
    check(",\"version\"", ", \"version\"", 65, "spelled otherwise", "sealed-token");
    // The same file on the same machine, after its board was replaced.
    give(&machine, &sealed);
    write(&machine.path("sys/class/dmi/id/product_uuid"), 0o400, "1f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e0001\n");
    refused(&site, &machine, 77, "does not open");
}

#[test]
fn a_secret_makes_up_for_facts_that_everybody_knows() {
    let site = site();
    let machine = off_cloud(&site, 1);
    let secret = site.folder().join("secret");
    write(&secret, 0o600, "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n");
    let words = ["--facts", "machine_id", "--secret-file", secret.to_str().unwrap()];
    let sealed = seal(&site, &[&machine], &words);
    give(&machine, &sealed);
    refused(&site, &machine, 78, "sealed with a secret, and none is configured");
    let own = machine.path("etc/imprint/secret");
    let config = machine
        .config()
        .replace("kind = \"client-data\"", &format!("kind = \"client-data\"\nsecret_file = {own:?}"));
    machine.set_config(&config);
    write(&own, 0o644, &fs::read_to_string(&secret).unwrap());
    refused(&site, &machine, 78, "is open to others: everybody may read it");
    write(&own, 0o600, &fs::read_to_string(&secret).unwrap());
    let _said = enrolls(&site, &machine, &["enroll"]);
}

#[test]
fn what_the_sealing_side_refuses() {
    let site = site();
    let machine = off_cloud(&site, 1);
    let file = facts(&site, &machine, "facts.json").display().to_string();
    let out = site.folder().join("sealed.json");
    let check = |words: &[&str], code: i32, say: &str| {
        let mut all =
            vec!["seal", "--client-data", &file, "--factory", "web/factory", "--out", out.to_str().unwrap()];
        all.extend(words);
        let ran = Ran::of(&mut site.rotator(&all)).expect(code);
        assert!(ran.err.contains(say) && ran.err.contains("hint"), "{say}: {}", ran.err);
        assert!(!out.exists() && site.stack.conjur.log().is_empty());
    };
    check(&["--facts", "machine_id"], 78, "0 bits, where 64 are the least");
    check(&["--facts", "product_serial"], 78, "it has no product_serial");
    check(&["--token-from", "stdin", "--expires-at", "2020-01-01T00:00:00Z"], 64, "standard input");
}

/// A live token of the layer `web`.
fn token(site: &Place) -> String {
    site.stack.conjur.service().tokens("web/factory").remove(0).token
}

#[test]
fn a_token_by_standard_input_file_and_credential() {
    let site = published();
    let token = token(&site);
    site.may_tell("token");
    site.may_tell("conjur-token");
    let path = site.folder().join("token");
    write(&path, 0o600, &format!("{token}\n"));
    site.stack.s3.clear_log();
    site.stack.kms.clear_log();

    let by_stdin = site.machine("web");
    let mut command = by_stdin.imprint(&["enroll", "--token-from", "stdin"]);
    let ran = Ran::of(command.stdin(Stdio::from(fs::File::open(&path).unwrap()))).expect(0);
    no_secret(&site, &[&ran.out, &ran.err]);
    logs_in(&site, &by_stdin);

    let by_file = site.machine("web");
    let own = by_file.path("etc/imprint/token");
    write(&own, 0o640, &token);
    set_source(&by_file, &format!("[source]\nkind = \"file\"\nfile = {own:?}\nremove = true\n"));
    refused(&site, &by_file, 78, "open to others: group may read it");
    write(&own, 0o600, &token);
    let _said = enrolls(&site, &by_file, &["enroll"]);
    assert!(!own.exists(), "a spent token stays");

    let by_credential = site.machine("web");
    set_source(&by_credential, "[source]\nkind = \"credential\"\nname = \"conjur-token\"\n");
    refused(&site, &by_credential, 78, "systemd passes no credential conjur-token");
    write(&by_credential.path("credentials/conjur-token"), 0o400, &token);
    let mut command = by_credential.imprint(&["enroll"]);
    let ran = Ran::of(command.env("CREDENTIALS_DIRECTORY", by_credential.path("credentials"))).expect(0);
    no_secret(&site, &[&ran.out, &ran.err]);
    logs_in(&site, &by_credential);
    assert_eq!((site.stack.s3.log().len(), site.stack.kms.log().len()), (0, 0));
}

#[test]
fn what_is_no_token_is_not_told() {
    let site = published();
    let machine = site.machine("web");
    site.may_tell("token");
    let path = site.folder().join("token");
    write(&path, 0o600, &format!("X{}\n", token(&site)));
    let words = format!("file:{}", path.display());
    let ran = Ran::of(&mut machine.imprint(&["enroll", "--token-from", &words])).expect(78);
    assert!(ran.err.contains("holds no host factory token"), "{}", ran.err);
    no_secret(&site, &[&ran.out, &ran.err]);
    let ran = Ran::of(&mut machine.imprint(&["enroll", "--token-from", "stdin"])).expect(78);
    assert!(ran.err.contains("standard input is empty"), "{}", ran.err);
    // A token where its place belongs is a mistake that nobody repeats in a log.
    let token = token(&site);
    let ran = Ran::of(&mut machine.imprint(&["enroll", "--token-from", &token])).expect(64);
    assert!(ran.err.contains("must be stdin, file:PATH or credential:NAME"), "{}", ran.err);
    no_secret(&site, &[&ran.out, &ran.err]);
    let facts = facts(&site, &off_cloud(&site, 1), "facts.json").display().to_string();
    let words = ["seal", "--factory", "web/factory", "--client-data", &facts, "--token-from", &token];
    let ran = Ran::of(&mut site.rotator(&[&words[..], &["--expires-at", "2099-01-01T00:00:00Z"]].concat()))
        .expect(64);
    assert!(ran.err.contains("--token-from takes stdin alone"), "{}", ran.err);
    no_secret(&site, &[&ran.out, &ran.err]);
}

#[test]
fn the_bucket_of_another_region_when_the_first_is_down() {
    let site = published();
    let machine = site.machine("web");
    let usual = machine.config();
    let (_, usual) = usual.split_once("[source]").unwrap();
    let (usual, _) = usual.split_once("[files]").unwrap();
    let first = usual.replace("imprint-tokens", "imprint-tokens-of-eu-central-1");
    set_source(
        &machine,
        &format!("[[source]]\nregion = \"eu-central-1\"{first}\n[[source]]\nregion = \"eu-west-1\"{usual}"),
    );
    site.stack.s3.clear_log();
    site.stack.s3.inject(Fault::on("s3:GetObject", FaultKind::Reset).times(1));
    let ran = enrolls(&site, &machine, &["enroll", "--deadline", "10s"]);
    assert!(
        ran.err.contains("imprint-tokens-of-eu-central-1") && ran.err.contains("trying s3://imprint-tokens/"),
        "{}",
        ran.err
    );
    let asked: Vec<(Option<u16>, bool)> = site
        .stack
        .s3
        .log()
        .iter()
        .map(|seen| (seen.status, seen.headers["authorization"].to_str().unwrap().contains("/eu-west-1/s3/")))
        .collect();
    assert_eq!(asked, [(None, false), (Some(200), true)]);
}

#[test]
fn what_was_tampered_with_in_the_first_bucket_is_the_end() {
    let site = published();
    let machine = site.machine("web");
    let usual = machine.config();
    let (_, usual) = usual.split_once("[source]").unwrap();
    let (usual, _) = usual.split_once("[files]").unwrap();
    set_source(&machine, &format!("[[source]]{usual}\n[[source]]{usual}"));
    let object = String::from_utf8(site.stack.published("web").unwrap().to_vec()).unwrap();
    let changed = object.replace("\"spread_s\":0", "\"spread_s\":1");
    site.stack.s3.service().put_raw("imprint-tokens", &site.stack.object_key("web"), changed);
    site.stack.s3.clear_log();
    refused(&site, &machine, 65, "InvalidCiphertextException");
    assert_eq!(site.stack.s3.count("s3:GetObject"), 1);
}

//! The main path with the real binaries: rotate, enroll, verify, status, and all of it again.

use crate::{folder, no_secret, programs, published, refused, site};
use imprint_core::name::full_id;
use imprint_core::sealed::{SealedToken, context_key};
use imprint_e2e::{Ran, Site, client};
use imprint_stack::conjur::Version;
use imprint_stack::fault::Fault;
use imprint_stack::{Options, Stack};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// The whole story against a Conjur of this version.
fn check(version: Version) {
    let folder = folder();
    let stack = Stack::start(Options { version, ..Options::new(context_key::HOST_FACTORY) });
    let site = Site::with(folder.path(), programs(), stack);
    let stack = &site.stack;

    let rotated = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    let sealed = SealedToken::parse(&stack.published("web").unwrap()).unwrap();
    let binding = sealed.binding();
    assert_eq!(binding.object_key(), stack.object_key("web"));
    assert_eq!(binding.hosts_branch.as_str(), "web/hosts");
    assert!(
        rotated.out.contains(binding.fingerprint.as_str())
            || rotated.err.contains(binding.fingerprint.as_str())
    );
    let token = stack.conjur.service().tokens("web/factory").remove(0).token;
    assert!(
        !String::from_utf8_lossy(&stack.published("web").unwrap()).contains(&token),
        "the token is sealed"
    );

    let again = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    assert_eq!(SealedToken::parse(&stack.published("web").unwrap()).unwrap(), sealed, "nothing was due");
    assert_eq!(stack.conjur.service().live_tokens("web/factory"), 1);

    let machine = site.machine("web");
    let enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let (login, key) = machine.identity();
    assert_eq!(login, format!("host/{}", machine.host_id()));
    let url = stack.conjur.url();
    let identity = format!("machine {url}/authn\n    login {login}\n    password {key}\n");
    assert_eq!(machine.identity_text(), Some(identity), "three lines, as every reader takes them");
    assert_eq!(mode(&machine.path("etc/conjur.identity")), 0o600);
    assert_eq!(mode(&machine.path("etc/conjur.conf")), 0o644);
    assert_eq!(machine.etc(), ["conjur.conf", "conjur.identity", "conjur.pem", "imprint"]);
    assert_eq!(fs::read_to_string(machine.path("etc/conjur.pem")).unwrap(), stack.ca.pem());
    let conf = fs::read_to_string(machine.path("etc/conjur.conf")).unwrap();
    for line in ["account: demo", &format!("appliance_url: {url}"), "credential_storage: file"] {
        assert!(conf.lines().any(|l| l == line), "{line:?} is not in\n{conf}");
    }

    let read = |variable: &str| client::secret(&url, "demo", &site.ca_file(), &login, &key, variable);
    assert_eq!(read("web/password").as_deref(), Ok(stack.secret("web")));
    assert!(read("db/password").is_err());
    assert_eq!(stack.conjur.service().layers_of(&machine.host_id()).len(), 1);

    let verified = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    let status = Ran::of(&mut machine.imprint(&["status"])).expect(0);
    let json = Ran::of(&mut machine.imprint(&["status", "--json"])).expect(0);
    let told: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(
        told.to_string().contains(&machine.host_id()) && status.out.contains(&machine.host_id()),
        "{told}"
    );
    let runs = [&rotated, &again, &enrolled, &verified, &status, &json];
    no_secret(&site, &runs.map(|ran| ran.out.as_str()));
    no_secret(&site, &runs.map(|ran| ran.err.as_str()));
    let state = imprint_e2e::machine::names(&machine.path("var/lib/imprint"));
    for name in state {
        no_secret(&site, &[&fs::read_to_string(machine.path("var/lib/imprint").join(name)).unwrap()]);
    }
}

#[test]
fn the_whole_story_with_conjur_1_24_0() {
    check(Version::V1_24_0);
}

#[test]
fn the_whole_story_with_conjur_1_22_3() {
    check(Version::V1_22_3);
}

#[test]
fn a_good_case_asks_little() {
    let site = published();
    let machine = site.machine("web");
    site.stack.clear_logs();
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let names = |log: Vec<imprint_stack::server::Logged>| log.into_iter().map(|r| r.name).collect::<Vec<_>>();
    assert_eq!(names(machine.imds.log()), ["imds:token", "imds:document", "imds:role", "imds:credentials"]);
    assert_eq!(names(site.stack.s3.log()), ["s3:GetObject"]);
    assert_eq!(names(site.stack.kms.log()), ["kms:Decrypt"]);
    assert_eq!(names(site.stack.conjur.log()), ["redeem", "authenticate", "resource"]);
    let got = &site.stack.s3.log()[0];
    assert_eq!(got.headers.get("x-amz-expected-bucket-owner").unwrap(), "123456789012");
}

#[test]
fn a_second_enroll_does_nothing() {
    let site = published();
    let machine = site.machine("web");
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let before = (
        machine.identity_text(),
        fs::metadata(machine.path("etc/conjur.identity")).unwrap().modified().unwrap(),
    );
    machine.imds.clear_log();
    site.stack.clear_logs();
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let after = (
        machine.identity_text(),
        fs::metadata(machine.path("etc/conjur.identity")).unwrap().modified().unwrap(),
    );
    assert_eq!(before, after);
    assert_eq!((machine.imds.log().len(), site.stack.requests()), (0, 0));
}

#[test]
fn a_damaged_identity_is_made_anew() {
    for damage in ["", "machine https://loc", "\u{feff}garbage"] {
        let site = published();
        let machine = site.machine("web");
        let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        let old = machine.identity().1;
        imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, damage);
        let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        assert_ne!(machine.identity().1, old, "after {damage:?}");
        let _said = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    }
}

#[test]
fn entries_of_somebody_else_stay_beside_ours() {
    let site = published();
    let machine = site.machine("web");
    let foreign = "machine other.example.org\n  login y\n  password z\n";
    imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, foreign);
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let text = machine.identity_text().unwrap();
    let ours = text.strip_prefix(foreign).unwrap();
    assert!(ours.starts_with("machine https://") && ours.lines().count() == 3, "{ours}");
    let _said = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!(machine.identity_text(), Some(text));
}

#[test]
fn a_file_that_readers_do_not_agree_on_is_not_edited() {
    let site = published();
    let machine = site.machine("web");
    let foreign = "machine other.example.org\n  login \"y\n  password z\n";
    imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, foreign);
    let ran = Ran::of(&mut machine.imprint(&["enroll"])).expect(65);
    assert!(
        ran.err.contains("cannot be edited: line 2 has quotes") && ran.err.contains("hint"),
        "{}",
        ran.err
    );
    assert_eq!(machine.identity_text().as_deref(), Some(foreign));
    assert_eq!(site.stack.conjur.count("redeem"), 0);
}

#[test]
fn a_cloned_image_enrolls_as_itself_and_leaves_its_parent_alone() {
    let site = published();
    let parent = site.machine("web");
    let _said = Ran::of(&mut parent.imprint(&["enroll"])).expect(0);
    let (parent_login, parent_key) = parent.identity();

    // The same disk wakes up as another instance.
    let id = "i-0fedcba9876543210";
    parent.imds.service().change(|instance| instance.id = id.to_owned());
    parent.set_dmi(id);
    let ran = Ran::of(&mut parent.imprint(&["enroll"])).expect(0);
    let (login, key) = parent.identity();
    assert!(login.ends_with(id) && login != parent_login && key != parent_key);
    let parent_host = parent_login.strip_prefix("host/").unwrap();
    assert_eq!(
        site.stack.conjur.service().key_of(parent_host),
        Some(parent_key.clone()),
        "the parent's key was rotated"
    );
    assert!(!ran.err.contains(&parent_key) && !ran.err.contains(&key));
    let litter: Vec<_> =
        parent.etc().into_iter().filter(|n| !n.starts_with("conjur.") && n != "imprint").collect();
    assert!(litter.is_empty(), "{litter:?}");
}

#[test]
fn a_role_of_one_layer_can_neither_read_nor_unseal_another_layers_token() {
    let site = published();
    let machine = site.machine("web");
    let own = machine.config();
    machine.set_config(&own.replace("web/factory", "db/factory").replace("web/hosts", "db/hosts"));
    refused(&site, &machine, 69, "AccessDenied");

    // Even a db token that somebody put under web's key does not open for web's role.
    let stolen = site.stack.published("db").unwrap();
    site.stack.s3.service().put_raw("imprint-tokens", &site.stack.object_key("web"), stolen);
    machine.set_config(&own);
    refused(&site, &machine, 65, "host_factory is db/factory");
    let as_db = own.replace("host_factory = \"web/factory\"", "host_factory = \"db/factory\"");
    let object = format!("[source]\nobject = {:?}", site.stack.object_key("web"));
    machine.set_config(&as_db.replace("[source]", &object));
    refused(&site, &machine, 77, "AccessDenied");
    assert!(site.stack.conjur.service().hosts().iter().all(|h| !h.contains(&machine.instance().id)));
}

#[test]
fn nothing_is_published_yet() {
    let site = site();
    refused(&site, &site.machine("web"), 69, "nothing is published");
}

#[test]
fn an_instance_tag_may_be_part_of_the_id_if_every_reader_can_carry_it() {
    let site = published();
    let machine = site.machine("web");
    let config = machine
        .config()
        .replace("hosts_branch = \"web/hosts\"", "host_id = \"web/hosts/{tag:Name}-{instance_id}\"");
    machine.set_config(&config);
    machine.imds.service().change(|i| *i = i.clone().tag("Name", "blue"));
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!(machine.identity().0, format!("host/web/hosts/blue-{}", machine.instance().id));

    for hostile in ["a b", "x\nmachine evil login a password b", "../../conjur", "\"", "#", "é", ""] {
        let machine = site.machine("web");
        machine.set_config(
            &machine
                .config()
                .replace("hosts_branch = \"web/hosts\"", "host_id = \"web/hosts/{tag:Name}-{instance_id}\""),
        );
        machine.imds.service().change(|i| *i = i.clone().tag("Name", hostile));
        refused(&site, &machine, 78, "tag:Name");
    }
}

#[test]
fn the_host_is_who_it_should_be_at_conjur() {
    let site = published();
    let machine = site.machine("web");
    machine.set_config(&format!("{}\n[annotations]\nrole = \"web in {{region}}\"\n", machine.config()));
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let annotations = site.stack.conjur.service().annotations_of(&machine.host_id());
    assert_eq!(annotations.get("role").map(String::as_str), Some("web in eu-west-1"));
    assert_eq!(annotations.get("authn/api-key").map(String::as_str), Some("true"));
    let account = "demo".parse().unwrap();
    assert_eq!(full_id(&account, "host", &machine.host_id()), format!("demo:host:{}", machine.host_id()));
}

#[test]
fn what_is_on_this_machine_is_never_asked_through_a_proxy() {
    let site = published();
    let machine = site.machine("web");
    let nobody = "http://127.0.0.1:9";
    let mut enroll = machine.imprint(&["enroll"]);
    let _said = Ran::of(enroll.env("HTTP_PROXY", nobody).env("http_proxy", nobody)).expect(0);

    // Conjur is over TLS here, so a proxy for https is honored: with nobody there, nothing is reached.
    let other = site.machine("web");
    let mut enroll = other.imprint(&["enroll", "--deadline", "1s"]);
    let ran = Ran::of(enroll.env("HTTPS_PROXY", nobody)).expect(75);
    assert!(ran.err.contains("cannot be reached"), "{}", ran.err);
}

#[test]
fn plain_http_to_aws_elsewhere_is_refused() {
    let site = published();
    let machine = site.machine("web");
    site.stack.kms.clear_log();
    // The name would be sent to the proxy, which is KMS itself: a request would show in its log.
    let mut enroll = machine.imprint(&["enroll", "--deadline", "1s"]);
    enroll.env("http_proxy", site.stack.kms.url()).env("AWS_ENDPOINT_URL_KMS", "http://kms.example.org");
    let ran = Ran::of(&mut enroll).expect(78);
    assert!(ran.err.contains("plain http") && ran.err.contains("AWS_ENDPOINT_URL"), "{}", ran.err);
    assert_eq!((site.stack.kms.log().len(), machine.etc()), (0, vec!["imprint".to_owned()]));
}

#[test]
fn an_endless_answer_of_aws_is_cut_off() {
    for name in ["s3:GetObject", "kms:Decrypt"] {
        let site = published();
        let machine = site.machine("web");
        let body = vec![b'x'; 1_000_000];
        let fault = Fault::status(name, 500, body).forever();
        if name.starts_with("s3") {
            site.stack.s3.inject(fault)
        } else {
            site.stack.kms.inject(fault)
        }
        let ran = Ran::of(&mut machine.imprint(&["enroll", "--deadline", "1s"])).expect(75);
        assert!(ran.err.contains(name) && ran.err.contains("hint"), "{}", ran.err);
    }
}

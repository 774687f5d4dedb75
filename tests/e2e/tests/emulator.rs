//! The real binaries in an emulator of AWS that enforces IAM: what a layer's role may do is what its
//! instance can do, and no more.

use crate::{Place, no_secret, site};
use imprint_core::sealed::SealedToken;
use imprint_e2e::cloud::Cloud;
use imprint_e2e::peers::Peers;
use imprint_e2e::{Machine, Ran, client};
use serde_json::json;
use std::fs;

/// A site and a cloud in which the rotator has published a token of each layer.
fn published() -> Option<(Place, Cloud)> {
    let peers = Peers::here()?;
    let site = site();
    let cloud = Cloud::start(peers, &site);
    let rotated = Ran::of(&mut cloud.rotator(&site, &["rotate"])).expect(0);
    no_secret(&site, &[&rotated.out, &rotated.err]);
    Some((site, cloud))
}

/// An enrollment that must end with this code: its reason, nothing written, nothing redeemed.
#[track_caller]
fn refused(site: &Place, cloud: &Cloud, machine: &Machine, code: i32, say: &str) {
    site.stack.conjur.clear_log();
    let ran = Ran::of(&mut cloud.imprint(machine, &["enroll", "--deadline", "3s"])).expect(code);
    assert!(ran.err.contains(say), "should say {say:?}:\n{}", ran.err);
    assert!(ran.err.lines().any(|l| l.contains("hint")), "no hint:\n{}", ran.err);
    assert_eq!(machine.identity_text(), None, "an identity was written");
    assert_eq!(site.stack.conjur.log().len(), 0, "Conjur was asked");
    no_secret(site, &[&ran.out, &ran.err]);
}

#[test]
fn each_layer_enrolls_with_the_role_of_its_instance() {
    let Some((site, cloud)) = published() else { return };
    let again = Ran::of(&mut cloud.rotator(&site, &["rotate"])).expect(0);
    no_secret(&site, &[&again.out, &again.err]);
    for (number, layer) in ["web", "db"].into_iter().enumerate() {
        assert_eq!(site.stack.conjur.service().live_tokens(&site.stack.factory(layer)), 1, "none was due");
        let machine = cloud.machine(&site, layer, number);
        let mut enroll = cloud.imprint(&machine, &["enroll"]);
        let keys: Vec<_> = enroll
            .get_envs()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .filter(|name| name.contains("KEY") || name.contains("TOKEN") || name.contains("PROFILE"))
            .collect();
        assert!(keys.is_empty(), "{keys:?} are in the agent's environment");

        let _before = cloud.requests();
        let enrolled = Ran::of(&mut enroll).expect(0);
        let seen = cloud.requests();
        let role = format!("imds:GET /latest/meta-data/iam/security-credentials/{layer}");
        assert!(seen.iter().any(|request| request.name == role), "{seen:?}");
        let signed: Vec<_> = seen.iter().filter(|request| !request.access_key.is_empty()).collect();
        let object = format!("s3:GET /imprint-tokens/{}", cloud.object(layer));
        let names: Vec<_> = signed.iter().map(|request| request.name.as_str()).collect();
        assert_eq!(names, [object.as_str(), "kms:Decrypt"]);
        // A session of a role, and one and the same.
        assert!(signed[0].access_key.starts_with("ASIA"), "{signed:?}");
        assert_eq!(signed[0].access_key, signed[1].access_key);
        assert_eq!(machine.imds.log().len(), 0, "the stack's metadata service was asked");

        let (login, key) = machine.identity();
        let instance = fs::read_to_string(machine.path("sys/class/dmi/id/board_asset_tag")).unwrap();
        assert_eq!(login, format!("host/{layer}/hosts/123456789012/us-east-1/{}", instance.trim()));
        let read = |of: &str| {
            let (url, ca) = (site.stack.conjur.url(), site.ca_file());
            client::secret(&url, "demo", &ca, &login, &key, &site.stack.variable(of))
        };
        assert_eq!(read(layer).as_deref(), Ok(site.stack.secret(layer)));
        assert!(read(if layer == "web" { "db" } else { "web" }).is_err());

        let _said = Ran::of(&mut cloud.imprint(&machine, &["verify"])).expect(0);
        let before = machine.identity_text();
        let _seen = cloud.requests();
        let _said = Ran::of(&mut cloud.imprint(&machine, &["enroll"])).expect(0);
        assert_eq!((machine.identity_text(), cloud.requests().len()), (before, 0), "a second enroll");
        no_secret(&site, &[&enrolled.out, &enrolled.err]);
    }
    assert_eq!((site.stack.s3.log().len(), site.stack.kms.log().len()), (0, 0), "the stack's AWS was asked");
}

#[test]
fn a_role_can_neither_read_nor_unseal_the_token_of_another_layer() {
    let Some((site, cloud)) = published() else { return };
    let (own, other) = (cloud.object("web"), cloud.object("db"));
    let machine = cloud.machine(&site, "web", 0);
    let config = machine.config();
    let as_db = config.replace("web/factory", "db/factory").replace("web/hosts", "db/hosts");

    // S3 keeps the other layer's object from it.
    machine.set_config(&as_db);
    refused(&site, &cloud, &machine, 69, "AccessDenied");

    // It is the instance's role that decides: the same machine with the other one may not read its own.
    machine.set_config(&config);
    cloud.set_instance(0, &json!({"role": "db"}));
    refused(&site, &cloud, &machine, 69, "AccessDenied");
    cloud.set_instance(0, &json!({"role": ""}));
    refused(&site, &cloud, &machine, 78, "no role");
    cloud.set_instance(0, &json!({"role": "web"}));

    // A layer's role may not publish, so whoever puts the other token here has the rotator's.
    let bucket = ["--bucket", "imprint-tokens"];
    let kept = site.folder().join("kept.json");
    let kept = kept.to_str().unwrap();
    cloud.aws(&["s3api", "get-object", bucket[0], bucket[1], "--key", &own, kept]);
    let source = format!("imprint-tokens/{other}");
    cloud.aws(&["s3api", "copy-object", bucket[0], bucket[1], "--key", &own, "--copy-source", &source]);
    refused(&site, &cloud, &machine, 65, "db/factory, not web/factory");
    let object = format!("[source]\nobject = {own:?}");
    machine.set_config(&as_db.replace("[source]", &object));
    refused(&site, &cloud, &machine, 77, "AccessDenied");
    machine.set_config(&config);

    // A token that claims to be of its own factory, and then another clear field: KMS has sealed both in.
    let put = |body: &str| {
        let file = site.folder().join("put.json");
        fs::write(&file, body).unwrap();
        let file = file.to_str().unwrap();
        cloud.aws(&["s3api", "put-object", bucket[0], bucket[1], "--key", &own, "--body", file]);
    };
    let stolen = site.folder().join("stolen.json");
    cloud.aws(&["s3api", "get-object", bucket[0], bucket[1], "--key", &other, stolen.to_str().unwrap()]);
    let stolen = fs::read_to_string(stolen).unwrap();
    put(&stolen.replace("db/factory", "web/factory").replace("db/hosts", "web/hosts"));
    refused(&site, &cloud, &machine, 65, "InvalidCiphertextException");
    let right = fs::read_to_string(kept).unwrap();
    put(&right.replace("\"spread_s\":0", "\"spread_s\":1"));
    assert!(
        SealedToken::parse(&fs::read(site.folder().join("put.json")).unwrap()).unwrap().binding().spread_s
            == 1
    );
    refused(&site, &cloud, &machine, 65, "InvalidCiphertextException");

    // And the right one enrolls.
    put(&right);
    let _said = Ran::of(&mut cloud.imprint(&machine, &["enroll"])).expect(0);
}

//! A machine whose clock is years off: the servers' clocks are moved, which to the machine is the same.

use crate::{Place, no_secret, published, refused, site};
use imprint_core::sealed::SealedToken;
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use imprint_e2e::Ran;
use imprint_stack::server::Server;
use std::time::Duration;

const YEARS: i64 = 10 * 365 * 24 * 3600;

/// Moves all servers' clocks by so many seconds, and publishes a token that is good for eight hours there.
fn elsewhen(site: &Place, by: i64) {
    let object = site.stack.published("web").unwrap();
    site.stack.shift(by);
    let now = Second::from_unix(site.stack.conjur.service().now());
    let mut binding = SealedToken::parse(&object).unwrap().binding().clone();
    binding.issued_at = now;
    binding.expires_at = now.plus(Duration::from_secs(8 * 3600));
    let token = site.stack.conjur.service().add_token("web/factory", binding.expires_at.unix(), &[]).unwrap();
    binding.fingerprint = Fingerprint::of(token.as_bytes());
    let blob = site.stack.kms.service().seal(&site.stack.key, token.as_bytes(), &binding.context());
    let sealed = SealedToken::new(binding, blob, site.stack.key.clone()).unwrap().to_bytes();
    site.stack.s3.service().put_raw("imprint-tokens", &site.stack.object_key("web"), sealed);
}

#[test]
fn a_clock_that_is_years_off_is_corrected_once_for_each_service() {
    for by in [YEARS, -YEARS] {
        let site = published();
        elsewhen(&site, by);
        let machine = site.machine("web");
        site.stack.clear_logs();
        let ran = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        assert_eq!(ran.err.matches("this machine's clock says").count(), 1, "{}", ran.err);
        // One refusal and one corrected request at each, and the role is asked for once: by the
        // machine's own clock its credentials would be over, or good for ten years.
        assert_eq!((site.stack.s3.count("s3:GetObject"), site.stack.kms.count("kms:Decrypt")), (2, 2));
        assert_eq!(machine.imds.count("imds:credentials"), 1);
        // What is noted has the corrected time.
        let state = std::fs::read_to_string(machine.path("var/lib/imprint/state.json")).unwrap();
        let year = &Second::from_unix(site.stack.conjur.service().now()).to_string()[..4];
        assert!(state.contains(&format!("\"since\": \"{year}-")), "{year}: {state}");
        no_secret(&site, &[&ran.out, &ran.err]);
    }
}

#[test]
fn a_token_that_is_over_by_the_corrected_time_is_over() {
    let site = published();
    site.stack.shift(YEARS);
    site.stack.kms.clear_log();
    refused(&site, &site.machine("web"), 69, "expired");
    assert_eq!((site.stack.kms.log().len(), site.stack.conjur.count("redeem")), (0, 0));
}

#[test]
fn a_refusal_that_is_no_matter_of_time_is_not_sent_twice() {
    let site = published();
    let policy = imprint_stack::aws::Policy::none();
    site.stack.credentials.set_policy(&site.stack.role("web"), policy);
    site.stack.s3.clear_log();
    let machine = site.machine("web");
    let ran = Ran::of(&mut machine.imprint(&["enroll", "--deadline", "1s"])).expect(69);
    assert!(!ran.err.contains("clock says"), "{}", ran.err);
    let tries = 1 + ran.err.matches("will be tried again").count();
    assert_eq!(site.stack.s3.count("s3:GetObject"), tries, "{}", ran.err);
}

#[test]
fn a_certificate_of_another_time_names_both_times() {
    let check = |years, say: &str| {
        let site = published();
        // Conjur behind another certificate, found at the adoption of what an earlier run left: nothing
        // else stands in the way.
        let machine = site.machine("web");
        let late = Server::start_tls_with(
            imprint_stack::conjur::Conjur::new(imprint_stack::conjur::Version::V1_24_0, "demo"),
            site.stack.ca.leaf_of(&["localhost"], years),
        );
        let own = site.stack.conjur.url();
        machine.set_config(&machine.config().replace(&own, &late.url()));
        let object = site.stack.published("web").unwrap();
        let mut binding = SealedToken::parse(&object).unwrap().binding().clone();
        let token = site.stack.conjur.service().tokens("web/factory").remove(0).token;
        binding.appliance_url = late.url().parse().unwrap();
        binding.leader_url = late.url().parse().unwrap();
        let blob = site.stack.kms.service().seal(&site.stack.key, token.as_bytes(), &binding.context());
        let sealed = SealedToken::new(binding, blob, site.stack.key.clone()).unwrap().to_bytes();
        site.stack.s3.service().put_raw("imprint-tokens", &site.stack.object_key("web"), sealed);
        refused(&site, &machine, 77, say);
        let ran = Ran::of(&mut machine.imprint(&["enroll", "--deadline", "1s"])).expect(77);
        let year = &Second::now().to_string()[..4];
        assert!(ran.err.contains(&format!("this machine's clock says {year}-")), "{}", ran.err);
        assert!(ran.err.contains("hint: check this machine's clock first"), "{}", ran.err);
        assert!(late.log().is_empty(), "something was sent");
    };
    check(2000..=2001, "its certificate ended 2001-01-01T00:00:00Z");
    check(4000..=4001, "its certificate begins 4000-01-01T00:00:00Z");
}

#[test]
fn the_certificate_of_aws_is_judged_in_the_same_way() {
    let site = site();
    let machine = site.machine("web");
    let s3 = Server::start_tls_with(
        imprint_stack::s3::S3::new(site.stack.credentials.clone()),
        site.stack.ca.leaf_of(&["127.0.0.1"], 2000..=2001),
    );
    let ca = format!("[source]\nca_file = {:?}\n", site.ca_file());
    machine.set_config(&machine.config().replace("[source]\n", &ca));
    let mut enroll = machine.imprint(&["enroll", "--deadline", "1s"]);
    let ran =
        Ran::of(enroll.env("AWS_ENDPOINT_URL_S3", format!("https://127.0.0.1:{}", s3.port()))).expect(77);
    assert!(ran.err.contains("its certificate ended 2001-01-01T00:00:00Z"), "{}", ran.err);
    assert!(ran.err.contains("hint: check this machine's clock first"), "{}", ran.err);
}

//! The first minutes of an instance's life: not all of AWS knows its role yet.

use crate::{published, refused};
use imprint_e2e::Ran;
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::{kms, s3};

#[test]
fn what_iam_may_still_settle_is_waited_for_with_new_credentials() {
    let check = |name: &str, kind: FaultKind| {
        let site = published();
        let machine = site.machine("web");
        let fault = Fault::on(name, kind.clone()).times(2);
        if name.starts_with("s3") {
            site.stack.s3.inject(fault)
        } else {
            site.stack.kms.inject(fault)
        }
        let ran = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        assert_eq!(machine.imds.count("imds:credentials"), 3, "{kind:?}\n{}", ran.err);
        assert!(ran.err.contains("not all of AWS may know this instance's role yet"), "{}", ran.err);
    };
    check("kms:Decrypt", kms::failure("AccessDeniedException"));
    check("kms:Decrypt", kms::failure("UnrecognizedClientException"));
    check("s3:GetObject", s3::failure("InvalidAccessKeyId"));
    check("s3:GetObject", s3::failure("InvalidToken"));
    check("s3:GetObject", s3::failure("ExpiredToken"));
}

#[test]
fn it_is_not_waited_for_without_end() {
    let site = published();
    let machine = site.machine("web");
    site.stack.kms.inject(Fault::on("kms:Decrypt", kms::failure("UnrecognizedClientException")).forever());
    refused(&site, &machine, 77, "this is no delay of IAM");
    assert!(site.stack.kms.count("kms:Decrypt") > 1);
}

#[test]
fn what_no_time_will_settle_is_not_waited_for() {
    let site = published();
    site.stack.kms.inject(Fault::on("kms:Decrypt", kms::failure("DisabledException")).forever());
    site.stack.clear_logs();
    refused(&site, &site.machine("web"), 77, "DisabledException");
    assert_eq!((site.stack.kms.count("kms:Decrypt"), site.stack.conjur.count("redeem")), (1, 0));
}

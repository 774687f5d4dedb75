//! A configuration file: any text ends in a value or in problems that point into the text.

#![no_main]

use imprint_core::settings::{self, duration, flag, list, number, text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let read = settings::read(data, |root| {
        let mut conjur = root.section("conjur");
        conjur.required("appliance_url", text::<imprint_core::name::ApplianceUrl>);
        conjur.or("verify", flag, true);
        conjur.optional("timeout", duration);
        let mut enroll = root.section("enroll");
        enroll.optional("uid", number(0..=65_535_u32));
        enroll.optional("networks", list(text::<ipnet::IpNet>));
        enroll.section("annotations").pairs();
        for mut factory in root.sections("factory") {
            factory.required("id", text::<imprint_core::name::FactoryId>);
        }
        Some(())
    });
    if let Err(problems) = read {
        assert!(!problems.0.is_empty());
        // An empty last line counts: the end of the file is a place too.
        let lines = data.matches('\n').count() + 1;
        for problem in &problems.0 {
            assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem}");
        }
    }
});

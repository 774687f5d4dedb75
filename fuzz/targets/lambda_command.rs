//! Events for the Lambda function: whatever is sent, it is a command or a refusal that says why.

#![no_main]

use imprint_core::error::{Class, Classified as _, chain};
use imprint_rotator::lambda::command::Command;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(event) = serde_json::from_slice(bytes) else { return };
    match Command::of(event) {
        Ok(command) => assert!(matches!(
            command.name(),
            "decommission" | "mint" | "nothing" | "pin" | "plan" | "promote" | "rotate" | "status"
        )),
        Err(error) => {
            assert_eq!(error.class(), Class::Usage);
            assert!(chain(&error).starts_with("the event is not understood"));
        }
    }
});

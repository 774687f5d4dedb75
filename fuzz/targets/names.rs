//! The names and the times: what is taken can stand in a path, a policy, an S3 key and a netrc.

#![no_main]

use imprint_core::name::{Account, ApplianceUrl, Branch, FactoryId, HostId};
use imprint_core::second::Second;
use libfuzzer_sys::fuzz_target;
use std::fmt::{Debug, Display};
use std::str::FromStr;

fuzz_target!(|data: &str| {
    name::<Account>(data);
    name::<ApplianceUrl>(data);
    name::<Branch>(data);
    name::<FactoryId>(data);
    name::<HostId>(data);
    if let Ok(second) = Second::from_rfc3339(data) {
        assert_eq!(Second::from_rfc3339(&second.to_string()).ok(), Some(second));
    }
});

fn name<T: FromStr<Err: Display> + Display + Debug + PartialEq>(text: &str) {
    match text.parse::<T>() {
        Ok(name) => {
            let written = name.to_string();
            let spoils = |c: char| c.is_whitespace() || c.is_control() || "\"'\\#*?$".contains(c);
            assert!(!written.is_empty() && !written.contains(spoils), "{written:?}");
            assert_eq!(written.parse::<T>().ok(), Some(name));
        }
        Err(error) => assert!(error.to_string().len() < 1000),
    }
}

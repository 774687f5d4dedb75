//! Somebody's JSON as the facts of a machine: what is taken has its form, and is taken as the same again.

#![no_main]

use imprint_core::client_data::inventory::Inventory;
use imprint_core::client_data::{Fact, Form, Values};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(inventory) = Inventory::parse(data) else { return };
    let mut values = inventory.named();
    for path in ["ohai:cpu.total", "facter:networking.interfaces.eth0.mac", "facter:a.b.c.d", "ohai:0.0"] {
        if let Ok(fact) = inventory.called(path) {
            let _not_there = inventory.take(&fact, &mut values);
        }
    }
    for fact in values.facts() {
        let value = values.expose(fact).unwrap_or_default();
        assert!(!value.is_empty() && !value.contains(char::is_control), "{fact}");
        if matches!(fact.form(), Form::Hex | Form::Macs | Form::Uuid) {
            assert!(!value.contains(|c: char| c.is_ascii_uppercase()), "{fact}");
        }
        let mut again = Values::default();
        assert_eq!(again.put(fact.clone(), value), Ok(()), "{fact}");
        assert_eq!(again.expose(fact), Some(value));
        assert_eq!(fact.to_string().parse::<Fact>().as_ref(), Ok(fact));
    }
});

//! A netrc that other programs write in as well: whatever it holds, it is left alone, or an edit gives our
//! entry and every word of the others.

#![no_main]

use imprint_agent::identity::Identity;
use imprint_agent::netrc::Netrc;
use libfuzzer_sys::fuzz_target;

const ENTRY: &str =
    "machine https://conjur.example.org/authn\n    login host/app/x\n    password 0123456789abcdefghjk\n";

fuzz_target!(|data: &[u8]| {
    let identity = Identity::parse(ENTRY.as_bytes()).expect("our own form");
    let url = &identity.appliance_url;
    let there = Identity::find(data, url);
    match identity.put_into(data) {
        Err(error) => {
            assert!(error.is_anothers());
            assert!(there.is_err(), "what can be read can be edited");
        }
        Ok(text) => {
            let found = Identity::find(text.as_bytes(), url).ok().flatten().expect("ours is found");
            assert!(found.host_id == identity.host_id && found.api_key.same_as(&identity.api_key));
        }
    }
    let machine = url.machine();
    let Ok(netrc) = Netrc::read(data, &machine) else { return };
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let edited = netrc.with(ENTRY);
    let again = Netrc::read(edited.as_bytes(), &machine).expect("what was edited can be read");
    assert!(again.ours.len() == 1 && again.has_others == netrc.has_others);
    assert_eq!(words(&again.without(|_| true)), words(&netrc.without(|_| true)));
});

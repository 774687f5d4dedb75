//! A template and the tag that fills it: whatever the tag says, a host id stays one, and an
//! annotation has no control character. The input is the template, a line end, the tag.

#![no_main]

use imprint_agent::facts::Facts;
use imprint_agent::template::Template;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    let (text, tag) = data.split_once('\n').unwrap_or((data, ""));
    let Ok(template) = text.parse::<Template>() else { return };
    assert_eq!(template.as_str(), text);
    let tags = template.needs().tags.into_iter().map(|name| (name, tag.to_owned())).collect();
    let facts = Facts {
        account_id: Some("123456789012".to_owned()),
        hostname: Some(tag.to_owned()),
        image_id: None,
        instance_id: "i-0123456789abcdef0".parse().expect("an instance-id"),
        private_ip: "192.0.2.10".parse().ok(),
        region: Some("eu-west-1".to_owned()),
        tags,
    };
    if let Ok(id) = template.host_id(&facts) {
        let spoils = |c: char| c.is_whitespace() || c.is_control() || "\"'\\#*?".contains(c);
        assert!(!id.as_str().contains(spoils), "{id}");
    }
    if let Ok(value) = template.annotation(&facts) {
        assert!(!value.contains(char::is_control), "{value:?}");
    }
});

use super::*;
use imprint_core::sealed::{Binding, Scope};
use std::collections::BTreeSet;

const KEY: &str = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";

fn config(change: impl Fn(String) -> String) -> Config {
    let text = change(crate::config::tests::GOOD.to_owned());
    Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap()
}

fn clear() -> Clear {
    let at = Second::from_unix(1_795_334_400);
    Clear::new(&config(|text| text), Fingerprint::of(KEY.as_bytes()), at)
}

fn sealed() -> SealedLogin {
    let key_arn = "arn:aws:kms:eu-west-1:123456789012:key/k".to_owned();
    SealedLogin::new(clear(), Encrypted { ciphertext: vec![1, 2, 3], key_arn })
}

const WRITTEN: &str = r#"{"kind":"login","version":1,"account":"prod","login":"host/app/hf-rotator","leader_url":"https://conjur.example.org","sealed_at":"2026-11-22T08:00:00Z","fingerprint":"FINGERPRINT","ciphertext":"AQID","key_arn":"arn:aws:kms:eu-west-1:123456789012:key/k"}
"#;

fn written() -> String {
    WRITTEN.replace("FINGERPRINT", Fingerprint::of(KEY.as_bytes()).as_str())
}

#[test]
fn what_is_written_is_what_is_read() {
    assert_eq!(String::from_utf8(sealed().to_bytes()).unwrap(), written());
    assert_eq!(SealedLogin::parse(written().as_bytes()).unwrap(), sealed());
    assert_eq!(object_key(&config(|text| text)), "logins/prod/host/app/hf-rotator.json");
    assert!(sealed().check(&config(|text| text)).is_ok());
}

#[test]
fn the_format_is_the_one_that_is_documented() {
    let told = include_str!("../../../../ARCHITECTURE.md");
    let (_, after) = told.split_once("## A sealed login").expect("its section");
    let block =
        after.split("```").nth(1).and_then(|block| block.strip_prefix("json\n")).expect("its example");
    let example = format!("{}\n", block.replace('\n', ""));
    assert_eq!(example, WRITTEN);
    for key in clear().context().keys() {
        assert!(after.contains(&format!("`{key}`")), "{key} is not told");
    }
}

#[test]
fn whatever_is_hostile_is_refused_and_not_repeated() {
    let check = |bytes: Vec<u8>, say: &str| {
        let error = SealedLogin::parse(&bytes).err().unwrap_or_else(|| panic!("{say}: it was taken"));
        let words = error.to_string();
        assert!(words.contains(say), "{words} should say {say}");
        assert!(
            words.len() < 200 && !words.contains(char::is_control) && !words.contains("HOSTILE"),
            "{words:?}"
        );
        let class = if say.contains("version") { Class::Config } else { Class::Tampered };
        assert_eq!(error.class(), class, "{words}");
    };
    let changed = |from: &str, to: &str| {
        assert!(written().contains(from), "{from}");
        written().replacen(from, to, 1).into_bytes()
    };
    check(Vec::new(), "not the JSON");
    check(b"null".to_vec(), "not the JSON");
    check(b"[1]".to_vec(), "not the JSON");
    check(vec![0xff; 100], "not the JSON");
    check(vec![b'['; LARGEST_OBJECT], "not the JSON");
    check(vec![b' '; LARGEST_OBJECT + 1], "has 16385 bytes");
    check(changed("\"version\":1", "\"version\":2"), "format version 2");
    check(changed("\"version\":1", "\"version\":-1"), "not the JSON");
    check(changed("\"login\",\"version\"", "\"token\",\"version\""), "another kind");
    check(changed("\"version\":1,", "\"version\":1,\"HOSTILE\":1,"), "not the JSON");
    check(changed("\"version\":1,", "\"version\":1,\"account\":\"x\","), "not the JSON");
    check(changed("\"account\":\"prod\",", ""), "not the JSON");
    check(changed("\"prod\"", "7"), "not the JSON");
    check(changed("08:00:00Z", "08:00:00.0Z"), "when it was sealed");
    check(changed("2026-11-22T08:00:00Z", "HOSTILE"), "when it was sealed");
    check(changed(Fingerprint::of(KEY.as_bytes()).as_str(), "HOSTILE"), "names no key");
    check(changed("AQID", "A"), "no base64");
    check(changed("AQID", ""), "of a size");
    check(changed("AQID", &"AQID".repeat(2049)), "of a size");
    // A second spelling of the same.
    check(changed("{\"kind\"", "{ \"kind\""), "not spelled");
    check(changed("prod", "\\u0070rod"), "not spelled");
    check(changed("}\n", "}"), "not spelled");
    check(changed("}\n", "}\n\n"), "not spelled");
    check(changed("\"kind\":\"login\",\"version\":1", "\"version\":1,\"kind\":\"login\""), "not spelled");
}

#[test]
fn it_is_for_one_login_at_one_server() {
    let check = |from: &str, to: &str, say: &str| {
        let config = config(|text| text.replace(from, to));
        let error = sealed().check(&config).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.class()), (say, Class::Tampered));
    };
    check("\"prod\"", "\"test\"", "the sealed login is of account prod, not test");
    check("hf-rotator", "other", "the sealed login is of login host/app/hf-rotator, not host/app/other");
    check(
        "login =",
        "leader_url = \"https://evil.example.org\"\nlogin =",
        "the sealed login is of leader_url https://conjur.example.org, not https://evil.example.org",
    );
    let hostile = written().replace("\"prod\"", "\"\\u001b[2J\"");
    let hostile = SealedLogin::parse(hostile.as_bytes()).unwrap();
    let words = hostile.check(&config(|text| text)).unwrap_err().to_string();
    assert!(!words.contains(char::is_control), "{words:?}");
}

#[test]
fn what_opens_must_be_the_key_that_is_named() {
    let open = |text: &str| sealed().open(Zeroizing::new(text.as_bytes().to_vec()));
    assert_eq!(open(KEY).unwrap().expose(), KEY);
    assert!(matches!(open(&KEY.replace('0', "1")), Err(Error::OtherKey)));
    assert!(matches!(open(""), Err(Error::Key(_))));
    assert!(matches!(open(&format!("{KEY}\n")), Err(Error::Key(_))));
    assert!(matches!(sealed().open(Zeroizing::new(vec![0xff; 50])), Err(Error::Key(_))));
}

/// A blob of one must not open as the other, so that whoever may put one of them gains nothing.
#[test]
fn no_token_has_its_context() {
    let config = config(|text| text);
    let now = Second::from_unix(1_795_334_400);
    let of_layer = config.binding(&config.factories[0], Fingerprint::of(b"x"), "r1", now, now);
    let of_instance = Binding { scope: Scope::Instance { arn: "arn".to_owned() }, ..of_layer.clone() };
    let mine: BTreeSet<String> = clear().context().into_keys().collect();
    for binding in [of_layer, of_instance] {
        let context = binding.context();
        assert!(!context.contains_key("imprint:kind"), "a token's context says no kind");
        assert!(context.contains_key("imprint:host_factory") && !mine.contains("imprint:host_factory"));
    }
    assert_eq!(clear().context()["imprint:kind"], "login");
    // Each member counts.
    let base = clear();
    let others = [
        Clear { account: "x".into(), ..base.clone() },
        Clear { login: "x".into(), ..base.clone() },
        Clear { leader_url: "x".into(), ..base.clone() },
        Clear { sealed_at: Second::from_unix(0), ..base.clone() },
        Clear { fingerprint: Fingerprint::of(b"x"), ..base.clone() },
    ];
    assert!(others.iter().all(|other| other.context() != base.context()));
}

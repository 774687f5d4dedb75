//! What is read is what was written; nothing else is read; every field is in the context.

use super::*;
use crate::error::chain;
use proptest::prelude::*;

fn binding() -> Binding {
    Binding {
        account: "prod".parse().unwrap(),
        host_factory: "app/web".parse().unwrap(),
        appliance_url: "https://conjur.example.org".parse().unwrap(),
        leader_url: "https://leader.example.org/api".parse().unwrap(),
        ca_sha256: vec!["ab".repeat(32)],
        issued_at: "2026-11-22T08:00:00Z".parse().unwrap(),
        expires_at: "2026-11-23T08:00:00Z".parse().unwrap(),
        cidr: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
        fingerprint: "ba7816bf8f01".parse().unwrap(),
        rotation_id: "r-1".to_owned(),
        spread_s: 60,
        scope: Scope::Layer,
        hosts_branch: "app/hosts".parse().unwrap(),
    }
}

fn sealed() -> SealedToken {
    SealedToken::new(binding(), vec![1, 2, 3], "arn:aws:kms:eu-west-1:123456789012:key/k".to_owned()).unwrap()
}

const ARN: &str = "arn:aws:ec2:eu-west-1:123456789012:instance/i-0abc";

#[test]
fn the_format_byte_for_byte() {
    let text = String::from_utf8(sealed().to_bytes()).unwrap();
    let want = concat!(
        r#"{"version":1,"account":"prod","host_factory":"app/web","appliance_url":"https://conjur.example.org","#,
        r#""leader_url":"https://leader.example.org/api","ca_sha256":["abababababababababababababababababababababababababababababababab"],"#,
        r#""issued_at":"2026-11-22T08:00:00Z","expires_at":"2026-11-23T08:00:00Z","cidr":["10.0.0.0/8","2001:db8::/32"],"#,
        r#""fingerprint":"ba7816bf8f01","rotation_id":"r-1","spread_s":60,"scope":"layer","hosts_branch":"app/hosts","#,
        r#""ciphertext":"AQID","key_arn":"arn:aws:kms:eu-west-1:123456789012:key/k"}"#,
        "\n"
    );
    assert_eq!(text, want);
}

#[test]
fn architecture_md_shows_this_format() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md")).unwrap();
    let (_, after) = text.split_once("```json\n").unwrap();
    let (shown, _) = after.split_once("```").unwrap();
    assert_eq!(shown.replace('\n', "") + "\n", String::from_utf8(sealed().to_bytes()).unwrap());
    let one = Binding { scope: Scope::Instance { arn: ARN.to_owned() }, ..binding() };
    for key in one.context().keys() {
        let member = key.trim_start_matches("imprint:");
        assert!(text.contains(&format!("| `{member}` |")) && text.contains(&format!("| `{key}`")), "{key}");
    }
    for limit in [LARGEST_OBJECT, LARGEST_CONTEXT, LARGEST_CIPHERTEXT] {
        assert!(text.contains(&format!(" {limit} bytes")), "{limit}");
    }
}

#[test]
fn the_context_has_every_field_and_names_that_iam_can_say() {
    let context = binding().context();
    let say = |key: &str| context.get(key).map(String::as_str);
    assert_eq!(say("imprint:host_factory"), Some("app/web"));
    assert_eq!(say("imprint:cidr"), Some("10.0.0.0/8,2001:db8::/32"));
    assert_eq!((say("imprint:scope"), say("imprint:instance_arn")), (Some("layer"), None));
    assert_eq!(context.len(), 14);
    assert!(
        context
            .keys()
            .all(|k| k.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b":_".contains(&b)))
    );

    // A change of any one field shows in the context.
    let changes: Vec<fn(&mut Binding)> = vec![
        |b| b.account = "other".parse().unwrap(),
        |b| b.host_factory = "app/db".parse().unwrap(),
        |b| b.appliance_url = "https://evil.example.org".parse().unwrap(),
        |b| b.leader_url = "https://evil.example.org".parse().unwrap(),
        |b| b.ca_sha256 = vec![],
        |b| b.issued_at = b.issued_at.plus(std::time::Duration::from_secs(1)),
        |b| b.expires_at = b.expires_at.plus(std::time::Duration::from_secs(1)),
        |b| b.cidr = vec![],
        |b| b.fingerprint = "ba7816bf8f02".parse().unwrap(),
        |b| b.rotation_id = "r-2".to_owned(),
        |b| b.spread_s = 61,
        |b| b.scope = Scope::Instance { arn: ARN.to_owned() },
        |b| b.hosts_branch = "app".parse().unwrap(),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut changed = binding();
        change(&mut changed);
        assert_ne!(changed.context(), context, "change {at}");
        let again = SealedToken::new(changed, vec![1], String::new()).unwrap();
        assert_eq!(SealedToken::parse(&again.to_bytes()), Ok(again), "change {at}");
    }
}

#[test]
fn object_keys() {
    assert_eq!(binding().object_key(), "factories/prod/app/web/token.json");
    let one = Binding { scope: Scope::Instance { arn: ARN.to_owned() }, ..binding() };
    assert_eq!(one.object_key(), "instances/i-0abc/app/web.json");
}

/// The sealed token above with one text replaced; its reading must fail with `say` and this class.
fn check(from: &str, to: &str, class: Class, say: &str) {
    let text = String::from_utf8(sealed().to_bytes()).unwrap();
    assert!(text.contains(from), "{from:?} is not in the object");
    let error = SealedToken::parse(text.replacen(from, to, 1).as_bytes()).expect_err(to);
    assert!(error.to_string().contains(say), "{error} should say {say:?}");
    assert_eq!(error.class(), class, "{error}");
    assert!(error.hint().is_some() && !chain(&error).contains('\n'));
}

#[test]
fn what_is_not_read() {
    use Class::{Config, Tampered};
    check("\"version\":1", "\"version\":2", Config, "format version 2");
    check("\"version\":1", "\"version\":18446744073709551615", Config, "format version 18446744073709551615");
    check("\"version\":1", "\"version\":-1", Tampered, "not of format version 1");
    check("\"version\":1,", "", Tampered, "missing field `version`");
    check("\"spread_s\":60", "\"spread_s\":60,\"more\":1", Tampered, "unknown field `more`");
    check("\"spread_s\":60", "\"spread_s\":60,\"spread_s\":60", Tampered, "duplicate field");
    check("\"spread_s\":60", "\"spread_s\":\"60\"", Tampered, "invalid type");
    check("\"AQID\"", "\"AQI\"", Tampered, "not base64");
    check("\"AQID\"", "\"\"", Tampered, "ciphertext is empty");
    check("app/web", "app/*", Tampered, "host_factory is not taken");
    check("https://conjur.example.org", "http://conjur.example.org", Tampered, "must be https");
    check("https://conjur.example.org", "https://conjur.example.org/", Tampered, "written otherwise");
    check("10.0.0.0/8", "10.0.0.1/8", Tampered, "host bits");
    check("2001:db8::/32", "2001:DB8::/32", Tampered, "written otherwise");
    check("10.0.0.0/8", "ten", Tampered, "cidr is not taken");
    check("2026-11-22T08:00:00Z", "2026-11-22T08:00:00.5Z", Tampered, "issued_at is not taken");
    check("\"layer\"", "\"instance\"", Tampered, "do not go together");
    check("\"layer\"", "\"layer\",\"instance_arn\":\"arn\"", Tampered, "do not go together");
    check(
        "\"layer\"",
        "\"instance\",\"instance_arn\":\"arn:aws:s3:::b\"",
        Tampered,
        "not the ARN of an EC2 instance",
    );
    check("r-1", "R 1", Tampered, "rotation_id");
    check("abab", "zzzz", Tampered, "ca_sha256");
    check("}\n", "} {}", Tampered, "trailing");
    check("{", "<html>", Tampered, "not of format version 1");
}

#[test]
fn sizes() {
    assert_eq!(SealedToken::parse(b""), Err(Error::Empty));
    assert_eq!(SealedToken::parse(&vec![b' '; LARGEST_OBJECT + 1]), Err(Error::TooLarge(LARGEST_OBJECT + 1)));
    let most = Binding { ca_sha256: vec!["ab".repeat(32); MOST_CERTIFICATES], ..binding() };
    assert!(SealedToken::new(most.clone(), vec![1], String::new()).is_ok());
    let long = |n: usize| std::iter::repeat_n("2001:db8::/32".parse().unwrap(), n).collect();
    let error = SealedToken::new(Binding { cidr: long(300), ..most }, vec![1], String::new()).unwrap_err();
    assert!(error.to_string().contains("at most 4096 fit"), "{error}");
    let error = SealedToken::new(
        Binding { ca_sha256: vec!["ab".repeat(32); 17], ..binding() },
        vec![1],
        String::new(),
    );
    assert!(error.unwrap_err().to_string().contains("too many certificates"));
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sealed().to_bytes();
    for length in 0..bytes.len() - 1 {
        assert!(SealedToken::parse(&bytes[..length]).is_err(), "{length} bytes were taken");
    }
}

#[test]
fn no_flipped_bit_goes_unseen() {
    // A flip either breaks the form, or changes the context, or the ciphertext (which KMS
    // authenticates), or the key's ARN (which nothing uses).
    let (whole, bytes) = (sealed(), sealed().to_bytes());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            if let Ok(read) = SealedToken::parse(&flipped) {
                let seen = read.binding().context() != whole.binding().context()
                    || read.ciphertext() != whole.ciphertext()
                    || read.key_arn() != whole.key_arn();
                // White space for white space at the end is the only change that means nothing.
                assert!(seen || at == bytes.len() - 1, "bit {bit} of byte {at}");
            }
        }
    }
}

prop_compose! {
    fn any_binding()(
        account in "[A-Za-z0-9_-]{1,20}", factory in "[a-z0-9_-]{1,10}(/[a-z0-9_-]{1,10}){0,3}",
        host in "[a-z]{1,10}(\\.[a-z]{1,5}){0,2}", ca in prop::collection::vec("[0-9a-f]{64}", 0..16),
        issued in 0i64..253_000_000_000, life in 0u64..10_000_000, nets in prop::collection::vec((any::<u32>(), 0u8..=32), 0..8),
        secret in any::<[u8; 8]>(), rotation in "[a-z0-9-]{1,64}", spread_s in any::<u32>(), one in any::<bool>(),
    ) -> Binding {
        let url = format!("https://{host}/api");
        let issued_at = Second::from_unix(issued);
        let net = |(ip, bits): &(u32, u8)| ipnet::Ipv4Net::new((*ip).into(), *bits).unwrap().trunc().into();
        Binding {
            account: account.parse().unwrap(), host_factory: factory.parse().unwrap(),
            appliance_url: url.parse().unwrap(), leader_url: url.parse().unwrap(), ca_sha256: ca,
            issued_at, expires_at: issued_at.plus(std::time::Duration::from_secs(life)),
            cidr: nets.iter().map(net).collect(), fingerprint: Fingerprint::of(&secret),
            rotation_id: rotation, spread_s, hosts_branch: factory.parse().unwrap(),
            scope: if one { Scope::Instance { arn: ARN.to_owned() } } else { Scope::Layer },
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(binding in any_binding(), ciphertext in prop::collection::vec(any::<u8>(), 1..400)) {
        let sealed = SealedToken::new(binding, ciphertext, "arn:aws:kms:x".to_owned()).unwrap();
        prop_assert_eq!(SealedToken::parse(&sealed.to_bytes()), Ok(sealed));
    }

    #[test]
    fn two_bindings_have_two_contexts(a in any_binding(), b in any_binding()) {
        prop_assert_eq!(a == b, a.context() == b.context());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        if let Ok(sealed) = SealedToken::parse(&bytes) {
            prop_assert_eq!(SealedToken::parse(&sealed.to_bytes()), Ok(sealed));
        }
    }
}

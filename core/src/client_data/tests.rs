//! What is sealed opens on its machines and nowhere else; what is read is what was written; no byte of
//! it can be another.

use super::*;
use crate::sealed::Scope;
use proptest::prelude::*;

const TOKEN: &str = "3q2kzdp1tgn5vx1mf7y5e3v8a9w3h0r2c1b6j4s8n7k5m2p0q";
const UUID: &str = "0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e5f60";

/// The cheapest there is, for tests that seal or open thousands of times.
fn cheap() -> Cost {
    Cost::new(8, 1, 1).unwrap()
}

fn token() -> Token {
    Token::new(Zeroizing::new(TOKEN.to_owned())).unwrap()
}

fn binding() -> Binding {
    Binding {
        account: "prod".parse().unwrap(),
        host_factory: "app/web".parse().unwrap(),
        appliance_url: "https://conjur.example.org".parse().unwrap(),
        leader_url: "https://leader.example.org/api".parse().unwrap(),
        ca_sha256: vec!["ab".repeat(32)],
        issued_at: "2026-11-22T08:00:00Z".parse().unwrap(),
        expires_at: "2026-11-23T08:00:00Z".parse().unwrap(),
        cidr: vec!["10.0.0.0/8".parse().unwrap()],
        fingerprint: token().fingerprint(),
        rotation_id: "seal-1".to_owned(),
        spread_s: 60,
        scope: Scope::Layer,
        hosts_branch: "app/hosts".parse().unwrap(),
    }
}

fn values(uuid: &str, macs: &str) -> Values {
    let mut values = Values::default();
    values.put(Fact::ProductUuid, uuid).unwrap();
    values.put(Fact::Macs, macs).unwrap();
    values
}

fn machines() -> [Values; 3] {
    [("60", "01"), ("61", "02"), ("62", "03")].map(|(uuid, mac)| {
        values(&UUID.replace("5f60", &format!("5f{uuid}")), &format!("02:00:5e:00:53:{mac}"))
    })
}

const FACTS: [Fact; 2] = [Fact::ProductUuid, Fact::Macs];

fn secret() -> Secret {
    Secret::new(" correct horse battery staple\n").unwrap()
}

fn sealed() -> Sealed {
    Sealed::seal(binding(), &token(), &FACTS, &machines(), None, cheap()).unwrap()
}

/// The same object at every run.
fn fixed() -> Sealed {
    let keys = (1..3).map(|n| vec![n; SEALED_KEY_LEN]).collect();
    Sealed { salt: [7; SALT_LEN], keys, ciphertext: vec![9; 40], cost: Cost::USUAL, ..sealed() }
}

#[test]
fn it_opens_on_each_of_its_machines_and_nowhere_else() {
    let sealed = Sealed::parse(&sealed().to_bytes()).unwrap();
    assert_eq!((sealed.machines(), sealed.facts()), (3, &[Fact::Macs, Fact::ProductUuid][..]));
    for machine in machines() {
        assert_eq!(sealed.open(&machine, None).map(|token| token.expose().to_owned()), Ok(TOKEN.to_owned()));
    }
    // One fact of one machine and one of another, or a fact that nobody has: one error for all.
    let [first, second, _] = machines();
    let mixed = values(first.expose(&Fact::ProductUuid).unwrap(), second.expose(&Fact::Macs).unwrap());
    for stranger in
        [mixed, values(UUID, "02:00:5e:00:53:99"), values(&UUID.replace('0', "9"), "02:00:5e:00:53:01")]
    {
        assert_eq!(sealed.open(&stranger, None).err(), Some(Error::NotThisMachine));
    }
    let mut half = Values::default();
    half.put(Fact::Macs, "02:00:5e:00:53:01").unwrap();
    assert_eq!(sealed.open(&half, None).err(), Some(Error::Missing(Fact::ProductUuid)));
    assert_eq!(sealed.open(&first, Some(&secret())).err(), Some(Error::Secret { sealed_with: false }));
}

#[test]
fn a_secret_is_needed_where_one_was_used() {
    let facts = [Fact::Macs];
    let sealed = Sealed::seal(binding(), &token(), &facts, &machines(), Some(&secret()), cheap()).unwrap();
    let [first, ..] = machines();
    assert!(sealed.open(&first, Some(&secret())).is_ok());
    assert_eq!(sealed.open(&first, None).err(), Some(Error::Secret { sealed_with: true }));
    let other = Secret::new("incorrect horse battery staple").unwrap();
    assert_eq!(sealed.open(&first, Some(&other)).err(), Some(Error::NotThisMachine));
    for (text, length) in [("", 0), (" fifteen letters ", 15), (&*"x".repeat(1025), 1025)] {
        assert_eq!(Secret::new(text).err(), Some(Error::SecretLength(length)));
    }
}

#[test]
fn what_cannot_be_sealed() {
    let check = |facts: &[Fact], machines: &[Values], wanted: Error| {
        let end = Sealed::seal(binding(), &token(), facts, machines, None, cheap());
        assert_eq!(end.as_ref().err(), Some(&wanted));
        assert!(wanted.hint().is_some_and(|hint| !hint.is_empty()));
    };
    let form = |why: &str| Error::Form(why.to_owned());
    check(&[Fact::Macs], &machines(), Error::Public("macs".to_owned()));
    check(&[], &machines()[..1], Error::Public(String::new()));
    check(&FACTS, &[], form("it has no keys, or too many"));
    check(
        &FACTS,
        &[values(UUID, "02:00:5e:00:53:01"), values(&UUID.to_uppercase(), "02:00:5E:00:53:01")],
        Error::Duplicate("macs, product_uuid".to_owned()),
    );
    check(&[Fact::ProductUuid, Fact::MachineId], &machines(), Error::Missing(Fact::MachineId));
    let crowd: Vec<Values> = (0..65).map(|n| values(UUID, &format!("02:00:5e:00:53:{n:02x}"))).collect();
    check(&FACTS, &crowd, form("it has no keys, or too many"));
    let full = Sealed::seal(binding(), &token(), &FACTS, &crowd[..64], None, cheap()).unwrap();
    assert_eq!(Sealed::parse(&full.to_bytes()), Ok(full));
}

/// Every byte of the object, each of its bits: refused when it is read, or when it is opened; on each of
/// the machines at some bits of each byte.
#[test]
fn no_bit_can_be_another() {
    let bytes = sealed().to_bytes();
    let machines = machines();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let Ok(read) = Sealed::parse(&changed) else { continue };
            // A changed cost may be a dear one; see below.
            if read.cost == cheap() {
                assert!(read.open(&machines[bit % 3], None).is_err(), "byte {at}, bit {bit}");
            }
        }
    }
    let [first, ..] = &machines;
    let sealed = Sealed::parse(&bytes).unwrap();
    for (memory, passes) in [(9, 1), (8, 2), (16, 1)] {
        let changed = Sealed { cost: Cost::new(memory, passes, 1).unwrap(), ..sealed.clone() };
        assert_eq!(changed.open(first, None).err(), Some(Error::NotThisMachine));
    }
}

#[test]
fn a_key_of_another_object_is_of_no_use() {
    let [first, second, _] = machines();
    let (a, b) = (sealed(), sealed());
    let mixed = Sealed { keys: b.keys.clone(), ..a.clone() };
    assert_eq!(mixed.open(&first, None).err(), Some(Error::NotThisMachine));
    let fewer = Sealed { keys: a.keys[..2].to_vec(), ..a.clone() };
    // Whoever's key was taken away finds none; the others find that something is missing.
    for machine in [&first, &second] {
        assert!(matches!(fewer.open(machine, None).err(), Some(Error::NotThisMachine | Error::Torn)));
    }
    assert_eq!(Sealed { ciphertext: b.ciphertext, ..a }.open(&first, None).err(), Some(Error::Torn));
}

#[test]
fn the_format_byte_for_byte() {
    let text = String::from_utf8(fixed().to_bytes()).unwrap();
    let want = concat!(
        r#"{"kind":"client-data","version":1,"binding":{"account":"prod","host_factory":"app/web","#,
        r#""appliance_url":"https://conjur.example.org","leader_url":"https://leader.example.org/api","#,
        r#""ca_sha256":["abababababababababababababababababababababababababababababababab"],"#,
        r#""issued_at":"2026-11-22T08:00:00Z","expires_at":"2026-11-23T08:00:00Z","cidr":["10.0.0.0/8"],"#,
        r#""fingerprint":"FINGERPRINT","rotation_id":"seal-1","spread_s":60,"scope":"layer","hosts_branch":"app/hosts"},"#,
        r#""facts":[{"name":"macs","form":"macs"},{"name":"product_uuid","form":"uuid"}],"secret":false,"#,
        r#""argon2id":{"memory_kib":65536,"passes":3,"lanes":1},"salt":"BwcHBwcHBwcHBwcHBwcHBw==","#,
        r#""keys":["AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB","#,
        r#""AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC"],"#,
        r#""ciphertext":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQ=="}"#,
        "\n"
    );
    assert_eq!(text, want.replace("FINGERPRINT", token().fingerprint().as_str()));
    assert_eq!(Sealed::parse(text.as_bytes()), Ok(fixed()));
    // Templating tools drop the last newline.
    assert_eq!(Sealed::parse(text.trim_end().as_bytes()), Ok(fixed()));
}

#[test]
fn architecture_md_shows_this_format() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../ARCHITECTURE.md")).unwrap();
    let shown = text.split("```json\n").find(|block| block.starts_with("{\"kind\"")).unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let shown = shown.replace('\n', "").replace("FINGERPRINT", token().fingerprint().as_str());
    assert_eq!(format!("{shown}\n").as_bytes(), fixed().to_bytes());
}

#[test]
fn what_is_no_such_object() {
    let text = String::from_utf8(fixed().to_bytes()).unwrap();
    let check = |changed: &str, say: &str, class: Class| {
        let error = Sealed::parse(changed.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(say), "{error} should say {say:?}");
        assert_eq!(error.class(), class, "{error}");
        assert!(error.hint().is_some());
    };
    let put = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    let bad = Class::Tampered;
    check("", "empty", bad);
    check(&" ".repeat(LARGEST_OBJECT + 1), "16385 bytes", bad);
    check("<html>", "expected value", bad);
    check(&put(KIND, "kms"), "another kind", bad);
    check(&put(r#""version":1"#, r#""version":2"#), "format version 2", Class::Config);
    check(&put(r#""version":1"#, r#""version": 1"#), "spelled otherwise", bad);
    check(&put(r#""secret":false"#, r#""secret":false,"value":"x""#), "unknown field", bad);
    check(&put(r#""secret":false"#, r#""secret":false,"secret":false"#), "duplicate field", bad);
    check(&put("prod", "pr od"), "account", bad);
    check(&put("2026-11-22T08:00:00Z", "2026-11-22T08:00:00.0Z"), "issued_at", bad);
    check(&put(r#""form":"uuid""#, r#""form":"text""#), "fact or form", bad);
    check(&put("product_uuid", "product_name"), "fact or form", bad);
    check(
        &put(r#"{"name":"macs","form":"macs"},"#, r#"{"name":"product_uuid","form":"uuid"},"#),
        "order",
        bad,
    );
    check(&put(r#",{"name":"product_uuid","form":"uuid"}"#, ""), "every user", bad);
    check(&put("65536", "262145"), "262145 KiB", bad);
    check(&put(r#""passes":3"#, r#""passes":11"#), "11 passes", bad);
    check(&put("BwcHBwcHBwcHBwcHBwcHBw==", "BwcH"), "salt", bad);
    check(&put("BwcHBwcHBwcHBwcHBwcHBw==", "!"), "base64", bad);
    check(&put("CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQ==", ""), "ciphertext", bad);
    assert!(Sealed::is_claimed_by(text.as_bytes()));
    for other in ["", "[]", "3q2kz", r#"{"version":1}"#, r#"{"kind":"kms","version":1}"#] {
        assert!(!Sealed::is_claimed_by(other.as_bytes()), "{other}");
    }
}

#[test]
fn nothing_of_a_machine_is_in_the_object() {
    let text = String::from_utf8(sealed().to_bytes()).unwrap();
    for machine in machines() {
        for fact in machine.facts() {
            assert!(!text.contains(machine.expose(fact).unwrap()), "{fact}");
        }
    }
    assert!(!text.contains(TOKEN));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(Sealed::parse(&bytes).is_err());
    }

    #[test]
    fn what_is_written_is_read(
        keys in prop::collection::vec(prop::collection::vec(any::<u8>(), SEALED_KEY_LEN), 1..=MOST_MACHINES),
        salt: [u8; SALT_LEN],
        ciphertext in prop::collection::vec(any::<u8>(), 29..=LARGEST_CIPHERTEXT),
        spread_s: u32,
        with_secret: bool,
        memory_kib in 8_u32..=262_144,
        passes in 1_u32..=10,
    ) {
        let cost = Cost::new(memory_kib, passes, 1).unwrap();
        let binding = Binding { spread_s, ..binding() };
        let sealed = Sealed { binding, facts: vec![Fact::ProductUuid], with_secret, cost, salt, keys, ciphertext };
        prop_assert_eq!(Sealed::parse(&sealed.to_bytes()), Ok(sealed));
    }
}

//! What the bytes of a source are, whose its files may be, and which facts open a sealed one.

use super::*;
use crate::binding::tests::binding;
use crate::machine_facts::tests::machine;
use imprint_core::client_data::Cost;
use imprint_core::sealed::Binding;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

const TOKEN: &str = "1taken0000000000000000000000000000000000000000000";

fn token() -> Token {
    Token::new(Zeroizing::new(TOKEN.to_owned())).unwrap()
}

fn sealed(facts: &[Fact], secret: Option<&Secret>) -> Sealed {
    let path = format!("{}/../tests/facts/ohai.json", env!("CARGO_MANIFEST_DIR"));
    let inventory = Inventory::parse(&fs::read(path).unwrap()).unwrap();
    let mut values = Values::default();
    facts.iter().for_each(|fact| inventory.take(fact, &mut values).unwrap());
    let binding = Binding { fingerprint: token().fingerprint(), ..binding() };
    Sealed::seal(binding, &token(), facts, &[values], secret, Cost::new(8, 1, 1).unwrap()).unwrap()
}

#[test]
fn the_first_byte_tells() {
    let check = |bytes: &[u8], wanted: Result<&str, &str>| {
        let found = told(bytes, "there").map(|held| match held {
            Held::Clear(token) => {
                assert_eq!(token.expose(), TOKEN);
                "clear"
            }
            Held::ClientData(_) => "client data",
            Held::Kms(_) => "kms",
        });
        let found = found.map_err(|error| {
            let text = imprint_core::error::chain(&error);
            assert!(!text.contains("1taken") && error.hint().is_some(), "{text}");
            text
        });
        match wanted {
            Ok(kind) => assert_eq!(found, Ok(kind)),
            Err(say) => assert!(found.as_ref().is_err_and(|text| text.contains(say)), "{found:?} {say}"),
        }
    };
    check(TOKEN.as_bytes(), Ok("clear"));
    check(format!("\n {TOKEN}\r\n").as_bytes(), Ok("clear"));
    check(&sealed(&[Fact::ProductUuid], None).to_bytes(), Ok("client data"));
    let kms = SealedToken::new(binding(), vec![1], "key".to_owned()).unwrap();
    check(&kms.to_bytes(), Ok("kms"));
    check(b" \n", Err("there is empty"));
    check(format!("{TOKEN}\n{TOKEN}").as_bytes(), Err("there holds no host factory token"));
    check(format!("token={TOKEN}").as_bytes(), Err("no host factory token"));
    check(format!("{TOKEN}{}", " ".repeat(LARGEST_CLEAR)).as_bytes(), Err("no host factory token"));
    check(&[0xff, 0xfe], Err("no host factory token"));
    check(b"{}", Err("not of format version 1"));
    check(br#"{"kind":"client-data","version":1}"#, Err("not of client data format version 1"));
}

#[test]
fn a_tokens_file_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    assert!(matches!(closed(&path, 100), Err(Error::Absent(_))));
    assert!(Error::Absent(path.clone()).may_pass());
    fs::write(&path, TOKEN).unwrap();
    for (mode, wanted) in
        [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o620, false), (0o602, false)]
    {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let end = closed(&path, 100);
        assert_eq!(end.is_ok(), wanted, "{mode:o}");
        if let Err(error) = end {
            assert_eq!((error.class(), error.may_pass()), (Class::Config, false));
        }
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(closed(&path, 10), Err(Error::Storage(_))));
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert!(matches!(closed(&link, 100), Err(Error::Storage(_))));
}

#[test]
fn a_credential_is_what_systemd_passes() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("token"), TOKEN).unwrap();
    assert_eq!(credential(Some(dir.path()), "token").unwrap().as_slice(), TOKEN.as_bytes());
    for (directory, name) in [(Some(dir.path()), "other"), (None, "token")] {
        let error = credential(directory, name).unwrap_err();
        assert!(matches!(error, Error::NoCredential(_)) && !error.may_pass(), "{error}");
    }
}

/// A machine that is the one of `tests/facts`, a folder for what it is given, and its configuration.
struct Place {
    _machine: tempfile::TempDir,
    given: tempfile::TempDir,
    config: Config,
}

impl Place {
    fn new() -> Self {
        let (machine, roots) = machine();
        let mut config = crate::config::tests::config("");
        (config.sys_root, config.machine_id) = (roots.sys, roots.machine_id);
        Self { _machine: machine, given: tempfile::tempdir().unwrap(), config }
    }

    fn give(&self, name: &str, mode: u32, text: &str) -> PathBuf {
        let path = self.given.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn open(&self, sealed: &Sealed, opener: &Opener) -> Result<String, Error> {
        let here = "i-0123456789abcdef0".parse().unwrap();
        let opened = open(sealed, opener, &self.config, &here, Some("ami-0fedcba9876543210"));
        opened.map(|token| token.expose().to_owned())
    }
}

#[test]
fn the_machines_own_facts_open_it() {
    let place = Place::new();
    // Bonds are looked up below the real /proc, where this machine's are not: so no macs here.
    let facts = [
        Fact::ProductUuid,
        Fact::ProductSerial,
        Fact::BoardSerial,
        Fact::MachineId,
        Fact::InstanceId,
        Fact::ImageId,
    ];
    assert_eq!(place.open(&sealed(&facts, None), &Opener::default()).unwrap(), TOKEN);
    fs::write(&place.config.machine_id, "6c9d2e7f1a3b4c6d8e0f1a2b3c4d5e6f").unwrap();
    let error = place.open(&sealed(&facts, None), &Opener::default()).unwrap_err();
    assert!(matches!(error, Error::ClientData(client_data::Error::NotThisMachine)), "{error}");
    assert_eq!((error.class(), error.may_pass()), (Class::Refused, false));
    let uuid = place.config.sys_root.join("class/dmi/id/product_uuid");
    let only = sealed(&[Fact::ProductUuid], None);
    assert_eq!(place.open(&only, &Opener::default()).unwrap(), TOKEN);
    // Somebody opened what the kernel closes: then any user here could have sealed it.
    fs::set_permissions(&uuid, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(matches!(place.open(&only, &Opener::default()), Err(Error::OpenFacts)));
}

#[test]
fn reported_facts_and_a_secret() {
    let place = Place::new();
    let ohai =
        fs::read_to_string(format!("{}/../tests/facts/ohai.json", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let facts = [Fact::ProductUuid, "ohai:cpu.total".parse().unwrap()];
    let error = place.open(&sealed(&facts, None), &Opener::default()).unwrap_err();
    assert_eq!(error.to_string(), "this machine has no ohai:cpu.total, which the token is sealed with");
    let opener =
        |mode| Opener { facts_file: Some(place.give("ohai.json", mode, &ohai)), ..Opener::default() };
    assert_eq!(place.open(&sealed(&facts, None), &opener(0o600)).unwrap(), TOKEN);
    assert!(matches!(place.open(&sealed(&facts, None), &opener(0o644)), Err(Error::Open { .. })));

    let secret = Secret::new("correct horse battery staple").unwrap();
    let with_secret = sealed(&[Fact::MachineId], Some(&secret));
    let opener =
        |mode, text| Opener { secret_file: Some(place.give("secret", mode, text)), ..Opener::default() };
    assert_eq!(place.open(&with_secret, &opener(0o400, "correct horse battery staple\n")).unwrap(), TOKEN);
    let check = |opener: &Opener, say: &str| {
        let text = imprint_core::error::chain(&place.open(&with_secret, opener).unwrap_err());
        assert!(text.contains(say) && !text.contains("staple"), "{text} {say}");
    };
    check(&opener(0o440, "correct horse battery staple"), "open to others: group may read it");
    check(&opener(0o400, "incorrect horse battery staple"), "does not open with the facts");
    check(&opener(0o400, "staple"), "the secret has 6 bytes");
    check(&Opener::default(), "sealed with a secret, and none is configured");
    let nowhere = Opener { secret_file: Some("/nowhere".into()), ..Opener::default() };
    check(&nowhere, "there is no /nowhere");
}

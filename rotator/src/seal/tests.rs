//! A sealing with a scripted Conjur: what is asked of it, what is written, and what stays undone.

use super::*;
use std::cell::RefCell;

const CONFIG: &str = r#"
account = "prod"
appliance_url = "https://conjur.example.org"
login = "host/imprint/rotator"
deployment = "1f2e3d4c"
[aws]
bucket = "imprint-tokens-123456789012"
bucket_owner = "123456789012"
key = "alias/imprint"
[[factory]]
id = "app/web"
hosts_branch = "app/hosts"
cidr = ["10.0.0.0/16"]
"#;

const TOKEN: &str = "3q2kzdp1tgn5vx1mf7y5e3v8a9w3h0r2c1b6j4s8n7k5m2p0q";
const NOW: i64 = 1_795_000_000;

#[derive(Default)]
struct Scripted {
    asked: RefCell<Vec<String>>,
    given: &'static str,
    no_revoke: bool,
}

fn token() -> Token {
    Token::new(Zeroizing::new(TOKEN.to_owned())).unwrap()
}

impl Effects for Scripted {
    async fn authenticate(&self) -> Result<AccessToken, effects::Error> {
        self.asked.borrow_mut().push("authenticate".to_owned());
        Ok(AccessToken::new(Zeroizing::new(b"{}".to_vec())))
    }

    async fn mint(&self, _: &AccessToken, ask: &Mint<'_>) -> Result<Vec<Minted>, effects::Error> {
        let networks = ask.cidr.len();
        let span = ask.expires_at.since(ask.now).as_secs();
        self.asked.borrow_mut().push(format!("mint {} {span}s {networks} networks", ask.factory));
        Ok(vec![Minted { token: token(), expires_at: ask.expires_at, cidr: ask.cidr.to_vec() }])
    }

    async fn revoke(&self, _: &AccessToken, token: &Token) -> Result<Revoked, effects::Error> {
        self.asked.borrow_mut().push(format!("revoke {}", token.fingerprint()));
        if self.no_revoke { Err(crate::config::Error::None.into()) } else { Ok(Revoked::Now) }
    }

    fn given(&self) -> io::Result<Zeroizing<String>> {
        self.asked.borrow_mut().push("given".to_owned());
        Ok(Zeroizing::new(self.given.to_owned()))
    }

    fn now(&self) -> Second {
        Second::from_unix(NOW)
    }
}

/// A folder with the inventories of two machines and a secret.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for (name, uuid) in [
            ("a.json", "0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e5f60"),
            ("b.json", "0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e5f61"),
        ] {
            let facts = serde_json::json!({"facterversion": "4.10.0", "dmi": {"product": {"uuid": uuid}}, "processors": {"count": 4}});
            fs::write(place.at(name), facts.to_string()).unwrap();
        }
        fs::write(place.at("secret"), "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::set_permissions(place.at("secret"), fs::Permissions::from_mode(0o600)).unwrap();
        place
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = names.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn ask(&self) -> Ask {
        Ask {
            machines: vec![self.at("a.json"), self.at("b.json")],
            facts: vec!["product_uuid".to_owned()],
            secret_file: None,
            factory: None,
            lifetime: None,
            networks: Networks::default(),
            token_from: None,
            expires_at: None,
            memory: 19,
            passes: 2,
            out: self.at("out.json"),
            json: false,
        }
    }
}

fn run(ask: &Ask, on: &Scripted) -> Result<Report, Error> {
    let config =
        Config::parse(CONFIG, &|path| Err(crate::config::Error::NoKey { login: path.display().to_string() }));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let id = RunId::new(on.now(), 1);
    runtime.block_on(seal(&config.unwrap(), ask, &id, on))
}

#[test]
fn a_minted_token_is_sealed_for_each_machine() {
    let (place, on) = (Place::new(), Scripted::default());
    let ask = Ask { secret_file: Some(place.at("secret")), ..place.ask() };
    let report = run(&ask, &on).unwrap();
    assert_eq!(*on.asked.borrow(), ["authenticate", "mint app/web 28800s 2 networks"]);
    let sealed = Sealed::parse(&fs::read(place.at("out.json")).unwrap()).unwrap();
    assert_eq!(fs::metadata(place.at("out.json")).unwrap().permissions().mode() & 0o7777, 0o600);
    let binding = sealed.binding();
    assert_eq!((sealed.machines(), &binding.fingerprint), (2, &token().fingerprint()));
    assert_eq!(binding.issued_at, Second::from_unix(NOW));
    assert_eq!(binding.cidr, ["10.0.0.0/16".parse().unwrap()], "the label is not in the binding");
    let text = report.to_string();
    for say in
        [token().fingerprint().as_str(), "2 machines", "in 8h", "250 bits", "product_uuid", "10.0.0.0/16"]
    {
        assert!(text.contains(say), "{say}: {text}");
    }
    assert_eq!(report.to_json()["strength"]["bits"], 250);
    for text in [text, report.to_json().to_string(), String::from_utf8(sealed.to_bytes()).unwrap()] {
        assert!(
            !text.contains(TOKEN) && !text.contains("0f5a3c1e") && !text.contains("0123456789abcdef"),
            "{text}"
        );
    }
    assert_eq!(place.files(), ["a.json", "b.json", "out.json", "secret"]);
}

#[test]
fn a_given_token_needs_no_conjur() {
    let place = Place::new();
    let given = |given, expires_at| {
        let on = Scripted { given, ..Scripted::default() };
        let expires_at = Some(Second::from_unix(expires_at));
        let ask = Ask { token_from: Some(TokenFrom::Stdin), expires_at, ..place.ask() };
        let end = run(&ask, &on);
        assert_eq!(*on.asked.borrow(), ["given"]);
        end
    };
    let error = given("not a token\n", NOW + 60).unwrap_err();
    assert!(matches!(error, Error::Given(_)) && !imprint_core::error::chain(&error).contains("not a token"));
    assert!(matches!(given(TOKEN, NOW).unwrap_err(), Error::Over(_)));
    assert_eq!(place.files(), ["a.json", "b.json", "secret"]);
    let report = given("3q2kzdp1tgn5vx1mf7y5e3v8a9w3h0r2c1b6j4s8n7k5m2p0q\r\n", NOW + 60).unwrap();
    assert!(report.to_string().contains("in 1m"), "{report}");
}

#[test]
fn nothing_is_minted_for_what_cannot_be_sealed() {
    let place = Place::new();
    let check = |change: &dyn Fn(&mut Ask), class: Class, say: &str| {
        let on = Scripted::default();
        let mut ask = place.ask();
        change(&mut ask);
        let error = run(&ask, &on).unwrap_err();
        let text = imprint_core::error::chain(&error);
        assert!(text.contains(say), "{text} should say {say:?}");
        assert_eq!(error.class(), class, "{text}");
        assert!(error.hint().is_some(), "{text}");
        assert!(on.asked.borrow().is_empty(), "{:?}", on.asked.borrow());
        assert!(!place.at("out.json").exists());
    };
    let facts = |names: &'static [&str]| {
        move |ask: &mut Ask| ask.facts = names.iter().map(|n| (*n).to_owned()).collect()
    };
    check(
        &facts(&["processors.count"]),
        Class::Config,
        "0 bits, where 64 are the least; facter:processors.count 0",
    );
    check(&facts(&["macs"]), Class::Config, "a.json: it has no macs");
    check(&facts(&["uuid"]), Class::Config, "\"uuid\" must be");
    fs::write(
        place.at("ec2.json"),
        r#"{"networking":{},"dmi":{"product":{"uuid":"ec2d7f1a-0b3c-4d5e-8f60-718293a4b5c6"}}}"#,
    )
    .unwrap();
    check(
        &|ask| ask.machines.push(place.at("ec2.json")),
        Class::Config,
        "ec2.json are too easy to guess: 40 bits",
    );
    check(&|ask| ask.machines = vec![place.at("none.json")], Class::Storage, "none.json");
    check(&|ask| ask.machines = vec![place.at("secret")], Class::Config, "not JSON");
    check(&|ask| ask.token_from = Some(TokenFrom::Elsewhere), Class::Usage, "takes stdin alone");
    check(&|ask| ask.factory = Some("app/db".parse().unwrap()), Class::Usage, "no factory app/db");
    fs::write(place.at("open"), "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(place.at("open"), fs::Permissions::from_mode(0o640)).unwrap();
    check(&|ask| ask.secret_file = Some(place.at("open")), Class::Config, "its mode is 0640");
    fs::write(place.at("short"), "0123456789").unwrap();
    fs::set_permissions(place.at("short"), fs::Permissions::from_mode(0o400)).unwrap();
    check(&|ask| ask.secret_file = Some(place.at("short")), Class::Config, "10 bytes");
}

#[test]
fn a_token_that_was_minted_for_nothing_is_revoked() {
    let place = Place::new();
    let nowhere = || Ask { out: place.at("no/such/folder.json"), ..place.ask() };
    let on = Scripted::default();
    let error = run(&nowhere(), &on).unwrap_err();
    assert!(matches!(error, Error::File { action: "cannot write", .. }), "{error}");
    assert_eq!(on.asked.borrow().last(), Some(&format!("revoke {}", token().fingerprint())));
    let on = Scripted { no_revoke: true, ..Scripted::default() };
    assert!(matches!(run(&nowhere(), &on).unwrap_err(), Error::Abandoned { .. }));
    // The same machine twice is found only when keys are derived.
    let on = Scripted::default();
    let twice = Ask { machines: vec![place.at("a.json"), place.at("a.json")], ..place.ask() };
    let error = run(&twice, &on).unwrap_err();
    assert!(error.to_string().contains("same product_uuid") && error.class() == Class::Config, "{error}");
    assert_eq!(on.asked.borrow().len(), 3);
}

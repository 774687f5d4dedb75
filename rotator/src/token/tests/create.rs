//! What is minted by hand, where it goes, and what is undone when it cannot go there.

use super::super::create::{Ask, Created, Life, create};
use super::super::out::Screen;
use super::*;
use crate::effects::Effects as _;
use crate::network::Networks;
use crate::session::LogIn as _;
use crate::world::Fault;
use imprint_core::conjur::{Mint, Minted, Revoked};
use imprint_core::token::{AccessToken, Token};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;

/// The world without AWS.
struct Conjur<'a>(&'a World);

impl crate::seal::Effects for Conjur<'_> {
    async fn authenticate(&self) -> Result<AccessToken, effects::Error> {
        self.0.authenticate().await
    }

    async fn mint(&self, with: &AccessToken, ask: &Mint<'_>) -> Result<Vec<Minted>, effects::Error> {
        let mut minted = Vec::new();
        for _ in 0..ask.count {
            minted.extend(self.0.mint(with, ask).await?);
        }
        Ok(minted)
    }

    async fn revoke(&self, with: &AccessToken, token: &Token) -> Result<Revoked, effects::Error> {
        self.0.revoke(with, token).await
    }

    fn given(&self) -> io::Result<Zeroizing<String>> {
        panic!("nothing is read")
    }

    fn now(&self) -> Second {
        self.0.now()
    }
}

/// Standard output: what was written, whether it is a terminal, and whether its reader has gone.
#[derive(Default)]
struct Shown(Vec<u8>, bool, bool);

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.2 { Err(io::ErrorKind::BrokenPipe.into()) } else { self.0.write(bytes) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Screen for Shown {
    fn is_terminal(&self) -> bool {
        self.1
    }
}

fn ask(factory: &str, out: &std::path::Path) -> Ask {
    Ask {
        factory: factory.parse().unwrap(),
        life: Life { duration_hours: Some(2), ..Life::default() },
        networks: Networks::default(),
        count: 2,
        out: out.to_owned(),
        reveal: false,
        json: false,
    }
}

async fn made(config: &Config, world: &World, ask: &Ask, screen: &mut Shown) -> Result<Created, Error> {
    create(config, ask, &Conjur(world), screen).await
}

#[test]
fn durations() {
    let check = |days: Option<u64>, hours: Option<u64>, minutes: Option<u64>, wanted: Result<u64, &str>| {
        let life = Life { duration_days: days, duration_hours: hours, duration_minutes: minutes };
        let found = life.span().map(|span| span.as_secs()).map_err(|error| error.to_string());
        assert_eq!(found, wanted.map_err(str::to_owned), "{life:?}");
    };
    check(None, Some(2), None, Ok(7200));
    check(Some(1), Some(1), Some(1), Ok(90_060));
    check(Some(3650), None, None, Ok(315_360_000));
    let (zero, long) =
        ("the token would not live at all: its duration is zero", "the token would live longer than 3650d");
    check(None, None, None, Err(zero));
    check(Some(0), Some(0), Some(0), Err(zero));
    check(Some(3650), None, Some(1), Err(long));
    check(Some(u64::MAX), None, None, Err(long));
    check(Some(u64::MAX / 86_400), Some(u64::MAX / 3600), None, Err(long));
}

#[test]
fn tokens_go_into_a_new_file_that_nobody_else_may_read() {
    blocking(async {
        let (config, folder) = (config(), tempfile::tempdir().unwrap());
        let (world, out) = (World::new(&config), folder.path().join("tokens"));
        let mut screen = Shown::default();
        let created = made(&config, &world, &ask("db", &out), &mut screen).await.unwrap();
        assert_eq!(world.calls(), ["authenticate", "mint", "mint"]);
        let text = fs::read_to_string(&out).unwrap();
        let tokens: Vec<String> =
            world.state.borrow().tokens.iter().map(|token| token.text.clone()).collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), tokens);
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o7777, 0o600);
        let names: Vec<Fingerprint> = tokens.iter().map(|token| Fingerprint::of(token.as_bytes())).collect();
        assert_eq!(created.fingerprints, names);
        assert_eq!(created.expires_at, world.now().plus(Duration::from_secs(7200)));
        // The factory's own network, and the label of a token by hand.
        let cidr = world.state.borrow().tokens[0].cidr.clone();
        let label = Label::among(&cidr).unwrap();
        assert_eq!((cidr.len(), cidr[0].to_string().as_str(), label.kind), (2, "10.0.0.0/16", Kind::ByHand));
        for told in [created.to_string(), created.to_json().to_string()] {
            assert!(tokens.iter().all(|token| !told.contains(token.as_str())), "{told}");
            assert!(
                names.iter().all(|name| told.contains(name.as_str())) && told.contains("10.0.0.0/16"),
                "{told}"
            );
        }
        assert!(screen.0.is_empty());
        // A second one does not overwrite it, and mints nothing.
        let error = made(&config, &world, &ask("db", &out), &mut screen).await.unwrap_err();
        assert_eq!((error.class(), world.calls().len()), (Class::Storage, 0), "{error}");
        assert_eq!(fs::read_to_string(&out).unwrap(), text);
    });
}

#[test]
fn what_is_wrong_is_found_before_conjur_is_asked() {
    let check = |factory: &str, change: &dyn Fn(&mut Ask), terminal, say: &str| {
        blocking(async {
            let (config, folder) = (config(), tempfile::tempdir().unwrap());
            let world = World::new(&config);
            let mut ask = ask(factory, &folder.path().join("tokens"));
            change(&mut ask);
            let mut screen = Shown(Vec::new(), terminal, false);
            let error = made(&config, &world, &ask, &mut screen).await.unwrap_err();
            assert!(error.to_string().contains(say), "{error}");
            assert!(error.hint().is_some(), "{error}");
            assert_eq!((world.calls().len(), screen.0.len()), (0, 0));
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no file is left");
        });
    };
    check("no", &|_| (), false, "not in the configuration");
    check("web", &|_| (), false, "web has no cidr, so the token could be used from any address");
    check("db", &|ask| ask.networks.cidr = vec!["0.0.0.0/0".parse().unwrap()], false, "0.0.0.0/0 lets");
    check("db", &|ask| ask.life = Life::default(), false, "not live at all");
    check("db", &|ask| ask.life.duration_days = Some(u64::MAX), false, "longer than 3650d");
    check("db", &|ask| ask.out = "-".into(), true, "standard output is a terminal");
    check("db", &|ask| (ask.out, ask.json) = ("-".into(), true), false, "--json would stand among");
    check("db", &|ask| ask.out = ask.out.join("below"), false, "cannot make");
}

#[test]
fn standard_output_is_asked_for_and_a_terminal_asked_for_twice() {
    for (terminal, reveal) in [(false, false), (true, true)] {
        blocking(async {
            let config = config();
            let world = World::new(&config);
            let networks = Networks { any_address: true, ..Networks::default() };
            let ask = Ask { reveal, networks, ..ask("web", "-".as_ref()) };
            let mut screen = Shown(Vec::new(), terminal, false);
            let created = made(&config, &world, &ask, &mut screen).await.unwrap();
            let wanted: String =
                world.state.borrow().tokens.iter().map(|token| format!("{}\n", token.text)).collect();
            assert_eq!(String::from_utf8(screen.0).unwrap(), wanted);
            assert!(
                created.to_string().ends_with("2 on standard output; Conjur takes them from any address")
            );
        });
    }
}

#[test]
fn what_cannot_be_handed_out_is_revoked() {
    let check = |revoke: bool, fault: Option<Fault>, say: &str, lives_on: usize| {
        blocking(async {
            let config = Config { revoke, ..config() };
            let mut world = World::new(&config);
            world.fault = Box::new(move |_, name| if name == "revoke" { fault } else { None });
            let mut screen = Shown(Vec::new(), false, true);
            let error = made(&config, &world, &ask("db", "-".as_ref()), &mut screen).await.unwrap_err();
            assert!(error.to_string().contains(say), "{error}");
            assert_eq!(world.state.borrow().tokens.len(), lives_on);
        });
    };
    check(true, None, "cannot write to standard output", 0);
    check(true, Some(Fault::Refused), "2 tokens were minted for nothing, and could not be revoked", 2);
    check(false, None, "2 tokens were minted for nothing", 2);
}

#[test]
fn without_a_mint_there_is_no_file() {
    for fails in ["authenticate", "mint"] {
        blocking(async {
            let (config, folder) = (config(), tempfile::tempdir().unwrap());
            let mut world = World::new(&config);
            world.fault = Box::new(move |_, name| (name == fails).then_some(Fault::Refused));
            let out = folder.path().join("tokens");
            let error = made(&config, &world, &ask("db", &out), &mut Shown::default()).await.unwrap_err();
            assert_eq!((error.class(), out.exists()), (Class::Refused, false), "{error}");
        });
    }
}

#[test]
fn a_run_and_an_incident_leave_what_was_minted_by_hand_until_it_is_over() {
    blocking(async {
        let config = config();
        let world = world(&config).await;
        let incident =
            crate::rotate::Ask { now: true, revoke_superseded: true, ..crate::rotate::Ask::default() };
        let id = RunId::new(world.now(), 3);
        let run = Run::new(&config, &incident, &id, None, fastrand::Rng::with_seed(3));
        let report = run.rotate(&world).await.unwrap();
        assert_eq!(report.class(), None, "{report:?}");
        // The orphan, the expired one and the one that was coming are gone.
        assert_eq!(left(&world), "cdfg");
        let notes = report.factories[0].notes.join("; ");
        assert!(notes.contains("1 tokens that were minted by hand live on"), "{notes}");
    });
}

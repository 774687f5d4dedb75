//! All older tokens are revoked, but only once the new one is surely what agents find.

use super::*;

fn incident() -> Ask {
    Ask { revoke_superseded: true, ..asked() }
}

/// A factory with tokens of two rotations, one sealed with client data, one foreign.
async fn leaked(config: &Config) -> World {
    let world = World::new(config);
    for ask in [due(), asked()] {
        only(run(config, &world, &ask).await).result.unwrap();
        tokio::time::advance(HOUR).await;
    }
    let sealed = Label::new(config.deployment, world.now(), Kind::ClientData, 1);
    for (text, cidr) in [("s", sealed.beside(&[])), ("f", Vec::new())] {
        let (factory, text) = ("web".to_owned(), text.repeat(50));
        let expires_at = world.now().plus(HOUR);
        world.state.borrow_mut().tokens.push(Known { factory, text, expires_at, cidr });
    }
    world.calls();
    world
}

/// The first letters of the tokens of the numbers that were minted, and of the others.
fn live(world: &World) -> String {
    let state = world.state.borrow();
    let short = |token: &Known| token.text.trim_start_matches('0').chars().next().unwrap();
    state.tokens.iter().map(short).collect()
}

#[test]
fn all_older_tokens_are_revoked_after_the_read_back() {
    blocking(async {
        let config = config();
        let world = leaked(&config).await;
        assert_eq!(live(&world), "12sf");
        let report = run(&config, &world, &incident()).await.unwrap();
        let calls = world.calls();
        assert_eq!(
            calls,
            [
                &["authenticate", "list_factories"][..],
                &GOOD,
                &["list_factories", "s3:GetObject", "revoke", "revoke"]
            ]
            .concat()
        );
        assert_eq!(live(&world), "sf3");
        let json = report.to_json();
        assert_eq!(json["factories"][0]["older"]["revoked"].as_array().unwrap().len(), 2);
        let outcome = only(Ok(report));
        assert!(outcome.notes[0].contains("1 tokens that were sealed with client data"), "{outcome:?}");
        assert!(outcome.to_string().ends_with("; revoked 2 older ones") && world.is_usable("web"));
        // Once more: another token, and again the only one.
        assert!(only(run(&config, &world, &incident()).await).result.is_ok());
        assert_eq!(live(&world), "sf4");
    });
}

#[test]
fn nothing_is_revoked_while_the_publish_is_in_doubt() {
    // The calls: 1 login, 2 list, 3 get to 8 decrypt, 9 list, 10 get, 11 and 12 revoke.
    let doubt = |at: usize, change: fn(&World), fault: Option<(&'static str, Fault)>, say: &str| {
        blocking(async {
            let config = config();
            let mut world = leaked(&config).await;
            world.meanwhile = Some((at, Box::new(change)));
            world.fault = Box::new(move |_, name| fault.filter(|(on, _)| *on == name).map(|(_, f)| f));
            let outcome = only(run(&config, &world, &incident()).await);
            assert!(outcome.to_string().contains(say) && outcome.result.is_err(), "{outcome}");
            let live = live(&world);
            assert!(live.contains('1') && live.contains('2') && live.contains('s'), "{live}");
            assert!(outcome.older.is_none());
        });
    };
    let nothing: fn(&World) = |_| ();
    doubt(6, |world| overwrite(world, &others()), None, "another run published first");
    doubt(7, |world| overwrite(world, &others()), None, "another run published just after");
    doubt(10, |world| overwrite(world, &others()), None, "another run published just after");
    doubt(
        9,
        |world| world.state.borrow_mut().tokens.retain(|t| !t.text.ends_with('3')),
        None,
        "does not list",
    );
    doubt(99, nothing, Some(("s3:PutObject", Fault::NotDone)), "may be published yet");
    doubt(99, nothing, Some(("kms:Decrypt", Fault::NotDone)), "kms:Decrypt");
    doubt(99, nothing, Some(("mint", Fault::Refused)), "mint");
}

#[test]
fn what_could_not_be_revoked_fails_the_factory_and_a_second_command_ends_it() {
    blocking(async {
        let config = config();
        let mut world = leaked(&config).await;
        world.fault = Box::new(|n, _| (n == 12).then_some(Fault::Refused));
        let report = run(&config, &world, &incident()).await.unwrap();
        assert_eq!(report.class(), Some(Class::Refused));
        let json = &report.to_json()["factories"][0];
        let count = |what: &str| json["older"][what].as_array().unwrap().len();
        assert_eq!((&json["result"], count("revoked"), count("left")), (&"failed".into(), 1, 1));
        assert!(json["error"].as_str().unwrap().contains("but 1 older one lives on"), "{json}");
        assert!(world.is_usable("web"));
        assert!(only(run(&config, &world, &incident()).await).result.is_ok());
        assert_eq!(live(&world), "sf4");
    });
}

#[test]
fn a_configuration_that_may_not_revoke_is_refused_before_anything() {
    blocking(async {
        let config = Config { revoke: false, ..config() };
        let world = World::new(&config);
        let error = run(&config, &world, &incident()).await.unwrap_err();
        assert!(matches!(error, Error::MayNotRevoke) && error.class() == Class::Config, "{error}");
        assert!(world.calls().is_empty());
    });
}

#[test]
fn a_token_that_another_run_is_about_to_publish_is_spared() {
    blocking(async {
        let config = config();
        let mut world = leaked(&config).await;
        // Another run read the new object and minted, just before the list.
        world.meanwhile = Some((
            9,
            Box::new(|world| {
                let published = world.published("web").unwrap().binding().fingerprint.clone();
                let label = Label::new("1f2e3d4c".parse().unwrap(), world.now(), Kind::Layer, 1);
                let cidr = label.after(Some(&published)).beside(&[]);
                let (factory, text) = ("web".to_owned(), "n".repeat(50));
                let expires_at = world.now().plus(8 * HOUR);
                world.state.borrow_mut().tokens.push(Known { factory, text, expires_at, cidr });
            }),
        ));
        assert!(only(run(&config, &world, &incident()).await).result.is_ok());
        assert_eq!(live(&world), "sf3n");
    });
}

#[test]
fn a_factory_that_shares_no_token_any_more_loses_those_that_it_shared() {
    blocking(async {
        let mut config = config();
        let world = leaked(&config).await;
        config.factories[0].shared = false;
        let outcome = only(run(&config, &world, &incident()).await);
        assert_eq!((live(&world).as_str(), &outcome.result.as_ref().unwrap()), ("sf", &&Done::Unshared));
        assert_eq!(
            outcome.to_string(),
            "web: no token is shared: each instance has one of its own; revoked 2 older ones"
        );

        // One that lives on is a failure, which says so.
        config.factories[0].shared = true;
        let mut world = leaked(&config).await;
        config.factories[0].shared = false;
        let revokes = Cell::new(0);
        world.fault = Box::new(move |_, call| {
            revokes.set(revokes.get() + u32::from(call == "revoke"));
            (call == "revoke" && revokes.get() == 1).then_some(Fault::Refused)
        });
        let outcome = only(run(&config, &world, &incident()).await);
        let error = outcome.result.unwrap_err().to_string();
        assert_eq!(error, "no token is shared any more, but 1 older one lives on");
    });
}

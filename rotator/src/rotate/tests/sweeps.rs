//! What is deleted at Conjur once the published token is settled.

use super::*;

/// A rotation whose first mint lost its reply, so that an orphan lies beside the published token,
/// some hours after an earlier rotation.
async fn with_an_orphan(config: &Config) -> World {
    let mut world = World::new(config);
    only(run(config, &world, &due()).await).result.unwrap();
    tokio::time::advance(5 * HOUR).await;
    world.calls();
    world.fault = Box::new(|n, _| (n == 4).then_some(Fault::LostReply));
    only(run(config, &world, &due()).await).result.unwrap();
    world.fault = Box::new(|_, _| None);
    assert_eq!(world.state.borrow().tokens.len(), 3);
    world
}

#[test]
fn an_orphan_is_revoked_once_no_run_can_publish_it() {
    blocking(async {
        let config = config();
        let world = with_an_orphan(&config).await;
        let orphan = Fingerprint::of(world.state.borrow().tokens[1].text.as_bytes());
        let none = only(run(&config, &world, &due()).await).orphans;
        assert_eq!((none, world.state.borrow().tokens.len()), (Swept::default(), 3));
        tokio::time::advance(Duration::from_secs(900)).await;
        let report = run(&config, &world, &due()).await.unwrap();
        let json = report.to_json();
        assert_eq!((&json["orphans_revoked"], &json["failed"]), (&1.into(), &0.into()));
        assert_eq!(json["factories"][0]["orphans"]["revoked"][0], orphan.as_str());
        // The superseded one stays, and so does the published one.
        let left = world.state.borrow().tokens.iter().map(|t| t.text.clone()).collect::<Vec<_>>();
        assert_eq!(left, [format!("{:048}", 1), format!("{:048}", 3)]);
        assert!(world.is_usable("web"));
        let again = only(run(&config, &world, &due()).await).orphans;
        assert_eq!(again, Swept::default());
    });
}

#[test]
fn an_orphan_that_stays_is_reported() {
    let stays = |revoke: bool, fault: Option<Fault>, ask: Ask, note: Option<&str>| {
        blocking(async {
            let config = Config { revoke, ..config() };
            let mut world = with_an_orphan(&config).await;
            tokio::time::advance(Duration::from_secs(900)).await;
            world.fault = Box::new(move |_, name| fault.filter(|_| name == "revoke"));
            let outcome = only(run(&config, &world, &ask).await);
            assert_eq!((outcome.orphans.revoked.len(), outcome.orphans.left.len()), (0, 1), "{outcome}");
            assert!(outcome.result.is_ok() && world.is_usable("web"), "{outcome}");
            let said = outcome.notes.iter().any(|said| note.is_some_and(|note| said.contains(note)));
            assert_eq!(said, note.is_some(), "{:?}", outcome.notes);
            assert_eq!(world.calls().contains(&"revoke"), revoke);
        });
    };
    stays(false, None, due(), None);
    stays(false, None, asked(), Some("1 orphans are left, since revoke = false"));
    stays(true, Some(Fault::Refused), due(), Some("could not be revoked"));
}

#[test]
fn orphans_do_not_pile_up_where_every_put_stays_without_an_answer() {
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        only(run(&config, &world, &due()).await).result.unwrap();
        tokio::time::advance(4 * HOUR).await;
        world.fault = Box::new(|_, name| (name == "s3:PutObject").then_some(Fault::NotDone));
        for _ in 0..4 {
            let error = only(run(&config, &world, &due()).await).result.unwrap_err();
            assert!(matches!(error, Error::UnknownFate { .. }), "{error}");
            assert!(world.state.borrow().tokens.len() <= 2 && world.is_usable("web"));
            tokio::time::advance(Duration::from_secs(900)).await;
        }
    });
}

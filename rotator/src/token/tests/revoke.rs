//! What is revoked, and what never is by accident.

use super::super::revoke::{Ask, Named, Revoked, Which, revoke};
use super::*;
use crate::seal::TokenFrom;
use crate::world::Fault;

fn by_name(names: &[Fingerprint]) -> Ask {
    let fingerprints = names.iter().map(|name| Named(Some(name.clone()))).collect();
    Ask { which: Which { fingerprints, ..Which::default() }, ..Ask::default() }
}

fn of(change: impl Fn(&mut Which)) -> Ask {
    let mut ask = Ask::default();
    change(&mut ask.which);
    ask
}

async fn run(config: &Config, world: &World, ask: &Ask) -> Result<Revoked, Error> {
    revoke(config, ask, world, || Err(io::ErrorKind::BrokenPipe.into())).await
}

/// What is left of a to g, and the end, in a world of its own.
#[track_caller]
fn check(ask: &Ask, wanted: Result<&str, (&str, Class)>) {
    blocking(async {
        let config = config();
        let world = world(&config).await;
        match (run(&config, &world, ask).await, wanted) {
            (Ok(revoked), Ok(wanted)) => {
                assert_eq!((left(&world).as_str(), revoked.class()), (wanted, None), "{ask:?}");
                assert!(
                    revoked.to_string().ends_with(&format!("{0} of {0} tokens revoked", 7 - wanted.len()))
                );
            }
            (Err(error), Err((say, class))) => {
                assert!(error.to_string().contains(say), "{error}");
                assert_eq!((error.class(), left(&world).as_str()), (class, "abcdefg"));
                assert!(!world.calls().contains(&"revoke"));
            }
            (Ok(revoked), Err(_)) => panic!("{ask:?}: {revoked}"),
            (Err(error), Ok(_)) => panic!("{ask:?}: {error}"),
        }
    });
}

#[test]
fn by_name_and_by_kind() {
    check(&by_name(&[named('c')]), Ok("abdefg"));
    check(&by_name(&[named('c'), named('f'), named('a')]), Ok("bdeg"));
    check(&of(|which| which.orphans = true), Ok("bcdefg"));
    check(&of(|which| which.expired = true), Ok("abcdfg"));
    check(&of(|which| (which.orphans, which.expired) = (true, true)), Ok("bcdfg"));
    check(&of(|which| which.foreign = true), Ok("abcde"));
    let here = |ids: &[&str]| ids.iter().map(|id| id.parse().unwrap()).collect();
    check(&Ask { factories: here(&["web"]), ..of(|which| which.foreign = true) }, Ok("abcde"));
    check(&Ask { factories: here(&["db"]), ..of(|which| which.foreign = true) }, Ok("abcdefg"));
}

#[test]
fn what_is_refused_as_a_whole() {
    let unknown = named('z');
    let say = format!("Conjur lists no token {unknown} ");
    check(&by_name(&[named('c'), unknown]), Err((&say, Class::Usage)));
    check(
        &by_name(&[named('c'), named('b')]),
        Err(("may be published by a run in this moment", Class::Usage)),
    );
    let elsewhere = Ask { factories: vec!["db".parse().unwrap()], ..by_name(&[named('c')]) };
    check(&elsewhere, Err(("Conjur lists no token", Class::Usage)));
    let unknown = Ask { factories: vec!["no".parse().unwrap()], ..by_name(&[named('c')]) };
    check(&unknown, Err(("not in the configuration: no", Class::Usage)));
    let no_name = of(|which| which.fingerprints = vec![Named(None)]);
    check(&no_name, Err(("takes twelve hex digits", Class::Usage)));
    let argument = of(|which| which.token_from = Some(TokenFrom::Elsewhere));
    check(&argument, Err(("never taken as an argument", Class::Usage)));
}

#[test]
fn what_agents_find_needs_a_word_of_its_own() {
    blocking(async {
        let config = config();
        let world = world(&config).await;
        let published = world.published("web").unwrap().binding().fingerprint.clone();
        let error = run(&config, &world, &by_name(std::slice::from_ref(&published))).await.unwrap_err();
        assert!(error.to_string().contains("is what agents find"), "{error}");
        assert!(error.hint().unwrap().contains("rotate --now --revoke-superseded"));
        assert!(world.is_usable("web"));
        // An S3 that does not tell what is published is no permission.
        let mut world = world;
        world.calls();
        world.fault = Box::new(|n, _| (n == 3).then_some(Fault::Refused));
        let error = run(&config, &world, &by_name(&[named('c')])).await.unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{error}");
        world.fault = Box::new(|_, _| None);
        let ask = Ask { published: true, ..by_name(&[published]) };
        let revoked = run(&config, &world, &ask).await.unwrap();
        assert!(revoked.to_string().contains("(published)"), "{revoked}");
        assert!(!world.is_usable("web") && world.is_usable("db"));
    });
}

#[test]
fn a_given_token_is_found_by_its_name() {
    blocking(async {
        let config = config();
        let world = world(&config).await;
        let ask = of(|which| which.token_from = Some(TokenFrom::Stdin));
        let given = |text: String| || Ok(Zeroizing::new(text));
        let revoked = revoke(&config, &ask, &world, given(format!("{}\n", text('d')))).await.unwrap();
        assert_eq!((revoked.tokens[0].fingerprint.clone(), left(&world).as_str()), (named('d'), "abcefg"));
        let error = revoke(&config, &ask, &world, given("no token".to_owned())).await.unwrap_err();
        assert!(
            matches!(error, Error::Given(_)) && !imprint_core::error::chain(&error).contains("no token ")
        );
        let error = revoke(&config, &ask, &world, given(text('x'))).await.unwrap_err();
        assert!(matches!(error, Error::NotListed(_)), "{error}");
    });
}

#[test]
fn a_configuration_without_revoke_is_obeyed_before_anything_is_asked() {
    blocking(async {
        let config = Config { revoke: false, ..config() };
        let world = world(&config).await;
        let error = run(&config, &world, &by_name(&[named('c')])).await.unwrap_err();
        assert_eq!((error.class(), world.calls().len()), (Class::Config, 0));
    });
}

#[test]
fn one_that_fails_stops_no_other_and_a_lost_reply_is_repeated() {
    blocking(async {
        let config = config();
        let mut world = world(&config).await;
        // authenticate, list, two gets; then the first revoke.
        world.fault = Box::new(|n, _| (n == 5).then_some(Fault::Refused));
        let ask = by_name(&[named('c'), named('d')]);
        let revoked = run(&config, &world, &ask).await.unwrap();
        assert_eq!((revoked.class(), left(&world).as_str()), (Some(Class::Refused), "abcefg"));
        assert!(revoked.to_string().contains("permit the rotator's role update"), "{revoked}");
        let json = revoked.to_json();
        assert_eq!(
            (&json["tokens"][0]["class"], &json["tokens"][1]["revoked"]),
            (&"refused".into(), &true.into())
        );
        world.calls();
        world.fault = Box::new(|n, _| (n == 5).then_some(Fault::LostReply));
        assert_eq!(run(&config, &world, &by_name(&[named('c')])).await.unwrap().class(), None);
        assert_eq!(world.calls()[4..], ["revoke", "revoke"]);
        assert_eq!(left(&world), "abefg");
    });
}

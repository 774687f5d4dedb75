//! What agents find at the end of a run, by which alarms go: a failure must not hide a token that ages.

use super::*;

fn token_of(outcome: &Outcome) -> Option<(Second, Second)> {
    match outcome.offered {
        Offered::Token { issued_at, expires_at } => Some((issued_at, expires_at)),
        Offered::Nothing | Offered::Unknown => None,
    }
}

#[test]
fn what_agents_find_is_told_whatever_becomes_of_the_run() {
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        let unable =
            |name: &'static str| move |_: usize, call: &str| (call == name).then_some(Fault::Refused);
        world.fault = Box::new(unable("mint"));
        assert_eq!(only(run(&config, &world, &due()).await).offered, Offered::Nothing);

        world.fault = Box::new(|_, _| None);
        let first = (world.now(), world.now().plus(8 * HOUR));
        assert_eq!(token_of(&only(run(&config, &world, &due()).await)), Some(first));
        tokio::time::advance(HOUR).await;
        assert_eq!(token_of(&only(run(&config, &world, &due()).await)), Some(first));
        // It is due, and no new one can be made: the old one grows older.
        tokio::time::advance(4 * HOUR).await;
        world.fault = Box::new(unable("kms:Encrypt"));
        let failed = only(run(&config, &world, &due()).await);
        assert!(failed.result.is_err() && token_of(&failed) == Some(first), "{failed}");
        world.fault = Box::new(unable("s3:GetObject"));
        assert_eq!(only(run(&config, &world, &due()).await).offered, Offered::Unknown);

        // Whatever the object says: a token that Conjur does not list is none.
        world.fault = Box::new(unable("mint"));
        world.state.borrow_mut().tokens.clear();
        assert_eq!(only(run(&config, &world, &due()).await).offered, Offered::Nothing);
    });
}

//! Random storms: several runs at a time, cut off anywhere, whose calls take long, fail, lose their
//! replies or are carried out late. Whatever happens, agents find a token that works, and when the storm is
//! over, nothing is left that nobody knows. A storm is its seed alone, which a failure prints.

use super::*;
use crate::policy::{Policy, Windows};
use futures_util::future::join_all;
use imprint_core::sealed::SealedToken;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::rc::Rc;

const QUARTER: Duration = Duration::from_secs(900);

type Luck = Rc<RefCell<fastrand::Rng>>;

/// Tokens are due every half hour, and four runs in a row may come to nothing.
fn hasty() -> Config {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let windows = Windows {
        period: minutes(30),
        overlap: minutes(10),
        boot_time: minutes(10),
        slack: minutes(100),
        ..Windows::default()
    };
    Config { policy: Policy::new(windows).unwrap(), ..config() }
}

fn stormy(config: &Config, luck: &Luck, rough: &Rc<Cell<bool>>) -> World {
    let mut world = World::new(config);
    // At most 20 s from the last look at the clock to the end of a put.
    world.late = Some(Duration::from_secs(8));
    let pace = Rc::clone(luck);
    world.pace = Box::new(move || [(); 2].map(|()| Duration::from_millis(pace.borrow_mut().u64(..5000))));
    let (dice, rough) = (Rc::clone(luck), Rc::clone(rough));
    world.fault = Box::new(move |_, _| {
        let faults = [
            Fault::LostReply,
            Fault::LostReply,
            Fault::NotDone,
            Fault::Contended,
            Fault::LandsLater,
            Fault::LandsLater,
            Fault::Refused,
            Fault::Unauthorized,
        ];
        faults.get(dice.borrow_mut().usize(..30)).copied().filter(|_| rough.get())
    });
    world.watch = Box::new(|world, call| {
        let published = !world.state.borrow().objects.is_empty();
        assert!(!published || world.is_usable("web"), "no usable token after {call}");
    });
    world
}

/// What no run and no incident may touch: foreign ones, live and over, and those by hand and for client data.
fn add_others(world: &World, config: &Config) {
    let ours = |kind| Label::new(config.deployment, world.now(), kind, 1).beside(&[]);
    let others = [
        ("f", vec![], 48 * HOUR),
        ("e", vec![], Duration::ZERO),
        ("h", ours(Kind::ByHand), 48 * HOUR),
        ("d", ours(Kind::ClientData), 48 * HOUR),
    ];
    for (text, cidr, life) in others {
        let (factory, text, expires_at) = ("web".to_owned(), text.repeat(50), world.now().plus(life));
        world.state.borrow_mut().tokens.push(Known { factory, text, expires_at, cidr });
    }
}

/// Those of them that Conjur still has.
fn others_left(world: &World) -> String {
    let state = world.state.borrow();
    // What runs mint begins with a digit.
    let first = state.tokens.iter().filter_map(|token| token.text.chars().next());
    first.filter(char::is_ascii_alphabetic).collect()
}

/// All that was ever published, with its end.
fn once_published(world: &World) -> Vec<(String, Second)> {
    let state = world.state.borrow();
    let sealed = state.put.iter().filter_map(|bytes| SealedToken::parse(bytes).ok());
    sealed.map(|sealed| (sealed.binding().fingerprint.to_string(), sealed.binding().expires_at)).collect()
}

fn live(world: &World) -> BTreeSet<String> {
    let state = world.state.borrow();
    let live = state.tokens.iter().filter(|token| token.expires_at > world.now());
    live.map(|token| Fingerprint::of(token.text.as_bytes()).to_string()).collect()
}

/// What was published, has not ended, and was revoked.
fn published_and_gone(world: &World) -> Vec<String> {
    let live = live(world);
    let good = once_published(world).into_iter().filter(|(_, ends)| *ends > world.now());
    good.map(|(name, _)| name).filter(|name| !live.contains(name)).collect()
}

/// What a storm met: orphans that were revoked, runs that were cut off.
async fn weather(seed: u64, with_incidents: bool) -> [usize; 2] {
    let luck: Luck = Rc::new(RefCell::new(fastrand::Rng::with_seed(seed)));
    let rough = Rc::new(Cell::new(true));
    let config = hasty();
    let world = stormy(&config, &luck, &rough);
    add_others(&world, &config);
    let below = |most: u64| luck.borrow_mut().u64(..most);
    let mut met = [0; 2];
    for round in 1..=16 {
        let calm = round % 4 == 0;
        rough.set(!calm);
        let began = world.now();
        let runs = (0..if calm { 1 } else { 1 + below(3) }).map(|_| {
            let ask = match below(8) {
                _ if calm => due(),
                0 if with_incidents => Ask { revoke_superseded: true, ..asked() },
                0 | 1 => asked(),
                _ => due(),
            };
            let (late, cut) = (Duration::from_secs(below(60)), Duration::from_secs(below(200)));
            let random = luck.borrow_mut().fork();
            let (config, world) = (&config, &world);
            async move {
                tokio::time::sleep(late).await;
                let run = run_of(config, &ask, world, None, random);
                let cut = if calm { HOUR } else { cut };
                tokio::time::timeout(cut, run.rotate(world)).await
            }
        });
        for ended in join_all(runs.collect::<Vec<_>>()).await {
            match ended {
                Ok(Ok(report)) => met[0] += report.factories[0].orphans.revoked.len(),
                Ok(Err(_told)) => {}
                Err(_cut_off) => met[1] += 1,
            }
        }
        let gone = published_and_gone(&world);
        assert!(with_incidents || gone.is_empty(), "agents may hold {gone:?}, which Conjur no longer takes");
        let rest = QUARTER.saturating_sub(world.now().since(began));
        tokio::time::advance(rest).await;
    }
    // The sky clears: one run, the orphans' age, and another run.
    rough.set(false);
    for _ in 0..3 {
        let outcome = only(run(&config, &world, &due()).await);
        assert!(outcome.result.is_ok(), "{outcome}");
        met[0] += outcome.orphans.revoked.len();
        tokio::time::advance(QUARTER).await;
    }
    assert_eq!(others_left(&world), "fehd");
    world.state.borrow_mut().tokens.retain(|token| !token.text.starts_with(['f', 'h', 'd']));
    let live = live(&world);
    let known: BTreeSet<String> = once_published(&world).into_iter().map(|(name, _)| name).collect();
    assert!(live.is_subset(&known), "nobody knows {:?}", live.difference(&known));
    assert!(world.is_usable("web"));
    met
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn agents_always_find_a_token_and_nothing_is_left_that_nobody_knows(seed: u64, with_incidents: bool) {
        let _met = blocking(weather(seed, with_incidents));
    }
}

#[test]
fn the_storms_are_storms() {
    let met = (0..8).map(|seed| blocking(weather(seed, false)));
    let [orphans, cut_off] = met.fold([0; 2], |all, [orphans, cut]| [all[0] + orphans, all[1] + cut]);
    assert!(orphans >= 8 && cut_off >= 16, "{orphans} orphans, {cut_off} cut off");
}

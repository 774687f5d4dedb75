use super::*;
use crate::facts::InstanceId;
use crate::state::Promoting;
use imprint_core::{Class, Classified};

mod bake;

const HERE: &str = "i-0123456789abcdef0";
const OTHER: &str = "i-0fedcba9876543210";
const HOST: &str = "app/hosts/i-0123456789abcdef0";
const URL: &str = "https://conjur.example.org";

fn made_for() -> MadeFor {
    MadeFor {
        account: "prod".to_owned(),
        appliance_url: URL.to_owned(),
        host_factory: "app/web".to_owned(),
        host_id: "app/hosts/{instance_id}".to_owned(),
    }
}

fn state(instance: &str, phase: Phase) -> Found {
    let instance: InstanceId = instance.parse().unwrap();
    let now = Second::from_unix(NOW - 3600);
    let attempt = imprint_core::caller::RunId::new(now, 1);
    let mut state = State::enrolling(
        &instance,
        &format!("app/hosts/{instance}").parse().unwrap(),
        made_for(),
        &attempt,
        now,
    );
    state.phase = phase;
    Found::Good(Box::new(state))
}

fn good(host: &str) -> OnDisk {
    OnDisk::Good { appliance_url: URL.to_owned(), host_id: host.to_owned() }
}

const NOW: i64 = 1_795_334_400;
const RULES: Rules = Rules { re_enroll: ReEnroll::Daily, lifted_at: None, wishes: NONE };
const NONE: Wishes = Wishes { again: false, take_over: false };

/// What is known, owned; [`Case::known`] is how the program has it.
#[derive(Clone)]
struct Case {
    here: Option<InstanceId>,
    wanted: MadeFor,
    template: Template,
    promotion: Option<Template>,
    state: Found,
    identity: OnDisk,
    baked_on: Option<InstanceId>,
    rules: Rules,
}

impl Case {
    fn new(here: Option<&str>, state: &Found, identity: &OnDisk) -> Self {
        Self {
            here: here.map(|id| id.parse().unwrap()),
            wanted: made_for(),
            template: made_for().host_id.parse().unwrap(),
            promotion: None,
            state: state.clone(),
            identity: identity.clone(),
            baked_on: None,
            rules: RULES,
        }
    }

    fn called(mut self, template: &str) -> Self {
        self.template = template.parse().unwrap();
        template.clone_into(&mut self.wanted.host_id);
        self
    }

    fn known(&self) -> Known<'_> {
        Known {
            here: self.here.as_ref(),
            wanted: &self.wanted,
            template: &self.template,
            promotion: self.promotion.as_ref(),
            state: &self.state,
            identity: &self.identity,
            baked_on: self.baked_on.as_ref(),
            rules: self.rules,
            now: Second::from_unix(NOW),
        }
    }
}

fn check(here: Option<&str>, state: &Found, identity: &OnDisk, expect: &Step) {
    let case = Case::new(here, state, identity);
    assert_eq!(next_step(&case.known()), *expect, "{:?}", case.known());
}

fn check_for(here: Option<&str>, wanted: &MadeFor, state: &Found, identity: &OnDisk, expect: &Step) {
    let case = Case { wanted: wanted.clone(), ..Case::new(here, state, identity) };
    assert_eq!(next_step(&case.known()), *expect, "{:?}", case.known());
}

fn unusable() -> [OnDisk; 4] {
    use crate::identity::Error as E;
    [E::Empty, E::Truncated, E::Line(1), E::Line(3)].map(OnDisk::Unusable)
}

#[test]
fn without_a_state() {
    for (found, first) in
        [(Found::Missing, Why::FirstBoot), (Found::Unreadable("x".to_owned()), Why::StateLost)]
    {
        check(Some(HERE), &found, &OnDisk::Missing, &Step::Enroll(first));
        check(Some(HERE), &found, &good(HOST), &Step::Enroll(Why::StateLost));
        check(Some(HERE), &found, &good("app/other"), &Step::Enroll(Why::StateLost));
    }
    for identity in unusable() {
        check(Some(HERE), &Found::Missing, &identity, &Step::Enroll(Why::IdentityLost));
    }
}

#[test]
fn on_the_same_instance() {
    let enrolled = state(HERE, Phase::Enrolled);
    for here in [Some(HERE), None] {
        check(here, &enrolled, &good(HOST), &Step::Nothing);
        check(here, &enrolled, &OnDisk::Missing, &Step::Enroll(Why::IdentityLost));
        for identity in unusable() {
            check(here, &enrolled, &identity, &Step::Enroll(Why::IdentityLost));
        }
        let found = format!("app/other at {URL}");
        let foreign = Refusal::Foreign { found, own: format!("{HOST} at {URL}") };
        check(here, &enrolled, &good("app/other"), &Step::Refuse(foreign));
        let elsewhere =
            OnDisk::Good { appliance_url: "https://other.example.org".to_owned(), host_id: HOST.to_owned() };
        let foreign = Refusal::Foreign {
            found: format!("{HOST} at https://other.example.org"),
            own: format!("{HOST} at {URL}"),
        };
        check(here, &enrolled, &elsewhere, &Step::Refuse(foreign));
        for identity in [good(HOST), good("app/other"), OnDisk::Missing] {
            check(here, &state(HERE, Phase::Enrolling), &identity, &Step::Enroll(Why::Interrupted));
            check(here, &state(HERE, Phase::Rotating), &identity, &Step::Enroll(Why::RotationInterrupted));
        }
    }
}

#[test]
fn on_an_instance_made_from_another_ones_image() {
    let parent = Step::EnrollAsOneself { parent: OTHER.to_owned() };
    for phase in [Phase::Enrolled, Phase::Enrolling, Phase::Rotating] {
        for identity in [good("app/hosts/i-0fedcba9876543210"), good(HOST), OnDisk::Missing] {
            check(Some(HERE), &state(OTHER, phase), &identity, &parent);
        }
    }
    // An image without the state, but with the identity of the instance that it was made from.
    let theirs = good("app/hosts/i-0fedcba9876543210");
    for found in [Found::Missing, Found::Unreadable("x".to_owned())] {
        check(Some(HERE), &found, &theirs, &parent);
        // Nobody tells which instance this is: it may be that one.
        check(None, &found, &theirs, &Step::Enroll(Why::StateLost));
        let elsewhere = OnDisk::Good {
            appliance_url: "https://other.example.org".to_owned(),
            host_id: "app/hosts/i-0fedcba9876543210".to_owned(),
        };
        check(Some(HERE), &found, &elsewhere, &Step::Enroll(Why::StateLost));
    }
    // A clone with another configuration is a clone all the same.
    let wanted = MadeFor { account: "dev".to_owned(), ..made_for() };
    check_for(Some(HERE), &wanted, &state(OTHER, Phase::Enrolled), &OnDisk::Missing, &parent);
}

#[test]
fn with_another_configuration() {
    let changes: [fn(&mut MadeFor); 4] = [
        |m| m.account = "dev".to_owned(),
        |m| m.appliance_url = "https://new.example.org".to_owned(),
        |m| m.host_factory = "app/db".to_owned(),
        |m| m.host_id = "app/{hostname}".to_owned(),
    ];
    for change in changes {
        let mut wanted = made_for();
        change(&mut wanted);
        for phase in [Phase::Enrolled, Phase::Enrolling, Phase::Rotating] {
            check_for(
                Some(HERE),
                &wanted,
                &state(HERE, phase),
                &good(HOST),
                &Step::Enroll(Why::ConfigChanged),
            );
        }
    }
}

#[test]
fn what_another_program_wrote_is_never_touched() {
    let shared = OnDisk::Unusable(crate::identity::Error::Others);
    for found in [Found::Missing, state(HERE, Phase::Enrolled), state(OTHER, Phase::Enrolled)] {
        check(Some(HERE), &found, &shared, &Step::Refuse(Refusal::Shared(crate::identity::Error::Others)));
    }
}

#[test]
fn the_host_id_is_judged_before_anything_is_redeemed() {
    let check = |state: &Found, identity: &OnDisk, own: &str, expect: Result<(), Class>| {
        let case = Case::new(Some(HERE), state, identity);
        let known = case.known();
        let end = check_host(&next_step(&known), &own.parse().unwrap(), &known);
        assert_eq!(end.as_ref().map_err(Classified::class), expect.as_ref().map_err(|c| *c), "{known:?}");
        assert!(end.err().is_none_or(|e| e.hint().is_some()));
    };
    check(&Found::Missing, &OnDisk::Missing, HOST, Ok(()));
    check(&Found::Missing, &good(HOST), HOST, Ok(()));
    check(&Found::Missing, &good("app/other"), HOST, Err(Class::Tampered));
    check(&Found::Unreadable("x".to_owned()), &good("app/other"), HOST, Err(Class::Tampered));
    check(&state(OTHER, Phase::Enrolled), &good("app/hosts/i-0fedcba9876543210"), HOST, Ok(()));
    check(
        &state(OTHER, Phase::Enrolled),
        &OnDisk::Missing,
        "app/hosts/i-0fedcba9876543210",
        Err(Class::Config),
    );
    for phase in [Phase::Enrolling, Phase::Rotating] {
        check(&state(HERE, phase), &good(HOST), HOST, Ok(()));
        check(&state(HERE, phase), &good("app/theirs"), HOST, Err(Class::Tampered));
    }
    // What the run before was about to replace may be replaced by this one.
    let mut replacing = state(HERE, Phase::Enrolling);
    if let Found::Good(state) = &mut replacing {
        state.replaces =
            Some(crate::state::Replaced { appliance_url: URL.to_owned(), host_id: "app/before".to_owned() });
    }
    check(&replacing, &good("app/before"), HOST, Ok(()));
    check(&replacing, &good("app/theirs"), HOST, Err(Class::Tampered));
}

#[test]
fn a_host_is_taken_over_only_on_demand() {
    let wish = Rules { wishes: Wishes { take_over: true, ..NONE }, ..RULES };
    // The template gives the parent's id.
    let mut parents = state(OTHER, Phase::Enrolled);
    if let Found::Good(state) = &mut parents {
        state.host_id = HOST.to_owned();
    }
    let case = Case { rules: wish, ..Case::new(Some(HERE), &parents, &OnDisk::Missing) };
    let next = next_step(&case.known());
    assert_eq!(next, Step::EnrollAsOneself { parent: OTHER.to_owned() });
    assert_eq!(check_host(&next, &HOST.parse().unwrap(), &case.known()), Ok(()));
    // Nobody can tell whose it is: then its other holder's key has to die.
    let case = Case { rules: wish, ..Case::new(Some(HERE), &Found::Missing, &good("app/web")) };
    let (case, own) = (case.called("app/{tag:Name}"), "app/web".parse().unwrap());
    let next = next_step(&case.known());
    assert_eq!(check_host(&next, &own, &case.known()), Ok(()));
    assert!(!may_be_adopted(&next, &case.known(), &own));
    // Another tool's host of another name is not what the wish is about.
    let case = Case { rules: wish, ..Case::new(Some(HERE), &Found::Missing, &good("app/other")) };
    let end = check_host(&next_step(&case.known()), &HOST.parse().unwrap(), &case.known());
    assert!(matches!(end, Err(Refusal::Foreign { .. })), "{end:?}");
}

#[test]
fn a_key_that_died_is_replaced_once_a_day() {
    const DAY: i64 = 24 * 60 * 60;
    let dead = |replaced: Option<i64>| {
        let mut found = state(HERE, Phase::Enrolled);
        if let Found::Good(state) = &mut found {
            state.key_died_at = Some(Second::from_unix(NOW - 60));
            state.re_enrolled_at = replaced.map(|ago| Second::from_unix(NOW - ago));
        }
        found
    };
    let check = |rules: Rules, found: &Found, expect: &Step| {
        let case = Case { rules, ..Case::new(Some(HERE), found, &good(HOST)) };
        let next = next_step(&case.known());
        assert_eq!(next, *expect, "{:?}", case.known());
        if let Step::Refuse(refusal) = next {
            assert!(refusal.hint().is_some_and(|hint| hint.contains("--again")), "{refusal}");
        }
        let own = HOST.parse().unwrap();
        let may = matches!(expect, Step::Enroll(Why::Asked | Why::KeyDied));
        assert_eq!(may_be_adopted(expect, &case.known(), &own), may);
    };
    let due = Step::Enroll(Why::KeyDied);
    let replaced =
        |ago| Refusal::TwoParties { host: HOST.to_owned(), replaced: Second::from_unix(NOW - ago) };
    check(RULES, &dead(None), &due);
    check(RULES, &dead(Some(DAY)), &due);
    check(RULES, &dead(Some(DAY - 1)), &Step::Refuse(replaced(DAY - 1)));
    check(RULES, &dead(Some(0)), &Step::Refuse(replaced(0)));
    // A clock that was set back changes nothing; one that had been far ahead does not lock out for years.
    check(RULES, &dead(Some(-60)), &Step::Refuse(replaced(-60)));
    check(RULES, &dead(Some(-DAY * 365)), &due);
    let since = Second::from_unix(NOW - 60);
    let never = Rules { re_enroll: ReEnroll::Never, ..RULES };
    check(never, &dead(None), &Step::Refuse(Refusal::KeyDead { host: HOST.to_owned(), since }));
    // Lifted by hand on this machine, or in the configuration for what lies before a moment.
    let again = |rules| Rules { wishes: Wishes { again: true, ..NONE }, ..rules };
    for rules in [again(RULES), again(never)] {
        check(rules, &dead(Some(60)), &due);
        check(rules, &state(HERE, Phase::Enrolled), &Step::Enroll(Why::Asked));
    }
    let lifted = |ago| Rules { lifted_at: Some(Second::from_unix(NOW - ago)), ..RULES };
    check(lifted(30), &dead(Some(60)), &due);
    check(lifted(90), &dead(Some(60)), &Step::Refuse(replaced(60)));
    // Without a sign of death nothing is to do, whatever was replaced when.
    let mut alive = dead(Some(60));
    if let Found::Good(state) = &mut alive {
        state.key_died_at = None;
    }
    check(RULES, &alive, &Step::Nothing);
    check(never, &alive, &Step::Nothing);
}

#[test]
fn an_identity_that_may_be_a_parents_is_refused() {
    let lost = Found::Unreadable("x".to_owned());
    let host = "app/hosts/web-1";
    let check = |template: &str, state: &Found, identity: &OnDisk, expect: Result<(), Refusal>| {
        let case = Case::new(Some(HERE), state, identity).called(template);
        let known = case.known();
        let end = check_host(&next_step(&known), &host.parse().unwrap(), &known);
        assert_eq!(end, expect, "{template} {known:?}");
        assert!(end.err().is_none_or(|e| e.class() == Class::Config && e.hint().is_some()));
    };
    let unclear = || Err(Refusal::Unclear { host: host.to_owned() });
    for template in ["app/hosts/{hostname}", "app/{tag:Name}", "app/{account_id}/{private_ip}"] {
        for state in [&Found::Missing, &lost] {
            check(template, state, &good(host), unclear());
            check(template, state, &OnDisk::Missing, Ok(()));
            for identity in unusable() {
                check(template, state, &identity, Ok(()));
            }
        }
    }
    // The instance is in the id, or in the state.
    check("app/{tag:Name}-{instance_id}", &lost, &good(host), Ok(()));
    let mut known = state(HERE, Phase::Enrolling);
    if let Found::Good(state) = &mut known {
        state.made_for.host_id = "app/{hostname}".to_owned();
    }
    check("app/{hostname}", &known, &good(host), Ok(()));
}

#[test]
fn only_an_identity_of_this_very_host_is_tried_before_a_redeem() {
    let check = |state: &Found, identity: &OnDisk, expect: bool| {
        let case = Case::new(Some(HERE), state, identity);
        let known = case.known();
        let end = may_be_adopted(&next_step(&known), &known, &HOST.parse().unwrap());
        assert_eq!(end, expect, "{known:?}");
    };
    let elsewhere =
        OnDisk::Good { appliance_url: "https://other.example.org".to_owned(), host_id: HOST.to_owned() };
    let (enrolling, rotating) = (state(HERE, Phase::Enrolling), state(HERE, Phase::Rotating));
    for state in [&Found::Missing, &Found::Unreadable("x".to_owned()), &enrolling, &rotating] {
        check(state, &good(HOST), true);
        check(state, &good("app/other"), false);
        check(state, &elsewhere, false);
        check(state, &OnDisk::Missing, false);
        for identity in unusable() {
            check(state, &identity, false);
        }
    }
    for phase in [Phase::Enrolling, Phase::Enrolled] {
        check(&state(OTHER, phase), &good(HOST), false);
    }
    check(&state(HERE, Phase::Enrolled), &good(HOST), false);
    let mut changed = state(HERE, Phase::Enrolling);
    if let Found::Good(state) = &mut changed {
        state.must_redeem = true;
    }
    check(&changed, &good(HOST), false);
}

#[test]
fn only_a_proved_identity_outlives_a_missing_answer() {
    let check = |state: &Found, identity: &OnDisk, expect: bool| {
        let case = Case::new(None, state, identity);
        let known = case.known();
        assert_eq!(is_kept_without_an_answer(&known), expect, "{known:?}");
    };
    check(&state(HERE, Phase::Enrolled), &good(HOST), true);
    check(&state(HERE, Phase::Enrolling), &good(HOST), false);
    check(&state(HERE, Phase::Enrolled), &OnDisk::Missing, false);
    check(&state(HERE, Phase::Enrolled), &good("app/other"), false);
    check(&Found::Missing, &good(HOST), false);
}

const PROMOTED: &str = "db/hosts/i-0123456789abcdef0";

fn promotion() -> MadeFor {
    MadeFor {
        host_factory: "db/factory".to_owned(),
        host_id: "db/hosts/{instance_id}".to_owned(),
        ..made_for()
    }
}

/// A state that was changed.
fn changed(phase: Phase, change: impl Fn(&mut State)) -> Found {
    let Found::Good(mut state) = state(HERE, phase) else { unreachable!() };
    change(&mut state);
    Found::Good(state)
}

fn promoted(phase: Phase, change: impl Fn(&mut State)) -> Found {
    changed(phase, |state| {
        let to = Promoting { host_id: PROMOTED.to_owned(), made_for: promotion(), token: "0".repeat(12) };
        state.promote(to, Second::from_unix(NOW - 60));
        state.phase = phase;
        change(state);
    })
}

#[test]
fn a_promoted_identity() {
    let check = |here: Option<&str>, state: &Found, identity: &OnDisk, expect: &Step| {
        // Whether the promotion is in the configuration, is another by now, or is gone.
        for template in [Some("db/hosts/{instance_id}"), Some("cache/{instance_id}"), None] {
            let promotion = template.map(|text| text.parse().unwrap());
            let case = Case { promotion, ..Case::new(here, state, identity) };
            assert_eq!(next_step(&case.known()), *expect, "{:?}", case.known());
        }
    };
    let enrolled = promoted(Phase::Enrolled, |_| {});
    let died = promoted(Phase::Enrolled, |state| state.key_died_at = Some(Second::from_unix(NOW - 5)));
    for here in [Some(HERE), None] {
        check(here, &enrolled, &good(PROMOTED), &Step::Nothing);
        check(here, &enrolled, &OnDisk::Missing, &Step::Enroll(Why::IdentityLost));
        for identity in unusable() {
            check(here, &enrolled, &identity, &Step::Enroll(Why::IdentityLost));
        }
        // The file of before, say from a backup.
        let foreign =
            Refusal::Foreign { found: format!("{HOST} at {URL}"), own: format!("{PROMOTED} at {URL}") };
        check(here, &enrolled, &good(HOST), &Step::Refuse(foreign));
        check(here, &promoted(Phase::Rotating, |_| {}), &good(PROMOTED), &Step::ShowPromoted);
        check(here, &died, &good(PROMOTED), &Step::Enroll(Why::PromotedKeyDied));
    }
    let parent = Step::EnrollAsOneself { parent: HERE.to_owned() };
    for state in [&enrolled, &died] {
        check(Some(OTHER), state, &good(PROMOTED), &parent);
    }
    let again = promoted(Phase::Enrolled, |state| {
        state.key_died_at = Some(Second::from_unix(NOW - 5));
        state.re_enrolled_at = Some(Second::from_unix(NOW - 3600));
    });
    let replaced = Second::from_unix(NOW - 3600);
    let refusal = Refusal::TwoParties { host: PROMOTED.to_owned(), replaced };
    check(Some(HERE), &again, &good(PROMOTED), &Step::Refuse(refusal));
    let elsewhere = MadeFor { appliance_url: "https://other.example.org".to_owned(), ..made_for() };
    check_for(Some(HERE), &elsewhere, &enrolled, &good(PROMOTED), &Step::Enroll(Why::ConfigChanged));
    let account = MadeFor { account: "dev".to_owned(), ..made_for() };
    check_for(Some(HERE), &account, &enrolled, &good(PROMOTED), &Step::Enroll(Why::ConfigChanged));
    let wishes = Wishes { again: true, take_over: false };
    let mut asked = Case::new(Some(HERE), &enrolled, &good(PROMOTED));
    asked.rules.wishes = wishes;
    assert_eq!(next_step(&asked.known()), Step::ShowPromoted);
}

#[test]
fn a_promotion_that_was_cut_off() {
    let promoting = changed(Phase::Enrolled, |state| {
        state.promoting =
            Some(Promoting { host_id: PROMOTED.to_owned(), made_for: promotion(), token: "0".repeat(12) });
    });
    for here in [Some(HERE), None] {
        // Before the identity was stored, and after.
        check(here, &promoting, &good(HOST), &Step::Nothing);
        check(here, &promoting, &good(PROMOTED), &Step::ShowPromoted);
        check(here, &promoting, &OnDisk::Missing, &Step::Enroll(Why::IdentityLost));
    }
    check(Some(OTHER), &promoting, &good(PROMOTED), &Step::EnrollAsOneself { parent: HERE.to_owned() });
    let elsewhere = MadeFor { appliance_url: "https://other.example.org".to_owned(), ..made_for() };
    check_for(Some(HERE), &elsewhere, &promoting, &good(PROMOTED), &Step::Enroll(Why::ConfigChanged));
}

#[test]
fn a_promoted_identity_whose_state_is_lost() {
    let check = |here: &str, template: Option<&str>, host: &str, expect: &Step| {
        for state in [Found::Missing, Found::Unreadable("x".to_owned())] {
            let promotion = template.map(|text| text.parse().unwrap());
            let case = Case { promotion, ..Case::new(Some(here), &state, &good(host)) };
            assert_eq!(next_step(&case.known()), *expect, "{:?}", case.known());
        }
    };
    let template = Some("db/hosts/{instance_id}");
    check(HERE, template, PROMOTED, &Step::ShowPromoted);
    check(OTHER, template, PROMOTED, &Step::EnrollAsOneself { parent: HERE.to_owned() });
    check(HERE, template, HOST, &Step::Enroll(Why::StateLost));
    check(HERE, None, PROMOTED, &Step::Enroll(Why::StateLost));
}

use super::*;
use crate::facts::InstanceId;

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
    let now = imprint_core::second::Second::from_unix(1_795_334_400);
    let mut state =
        State::enrolling(&instance, &format!("app/hosts/{instance}").parse().unwrap(), made_for(), now);
    state.phase = phase;
    Found::Good(Box::new(state))
}

fn good(host: &str) -> OnDisk {
    OnDisk::Good { appliance_url: URL.to_owned(), host_id: host.to_owned() }
}

fn check(here: Option<&str>, state: &Found, identity: &OnDisk, expect: &Step) {
    check_for(here, &made_for(), state, identity, expect);
}

fn check_for(here: Option<&str>, wanted: &MadeFor, state: &Found, identity: &OnDisk, expect: &Step) {
    let here: Option<InstanceId> = here.map(|id| id.parse().unwrap());
    let known = Known { here: here.as_ref(), wanted, state, identity };
    assert_eq!(next_step(&known), *expect, "{known:?}");
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
        }
    }
}

#[test]
fn on_an_instance_made_from_another_ones_image() {
    let parent = Step::EnrollAsOneself { parent: OTHER.to_owned() };
    for phase in [Phase::Enrolled, Phase::Enrolling] {
        for identity in [good("app/hosts/i-0fedcba9876543210"), good(HOST), OnDisk::Missing] {
            check(Some(HERE), &state(OTHER, phase), &identity, &parent);
        }
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
        for phase in [Phase::Enrolled, Phase::Enrolling] {
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
        check(Some(HERE), &found, &shared, &Step::Refuse(Refusal::Shared));
    }
}

#[test]
fn the_host_id_is_judged_before_anything_is_redeemed() {
    let check = |state: &Found, identity: &OnDisk, own: &str, expect: Result<(), Class>| {
        let here = HERE.parse().unwrap();
        let known = Known { here: Some(&here), wanted: &made_for(), state, identity };
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
    check(&state(HERE, Phase::Enrolling), &good(HOST), HOST, Ok(()));
}

#[test]
fn an_identity_that_may_be_a_parents_is_refused() {
    let lost = Found::Unreadable("x".to_owned());
    let host = "app/hosts/web-1";
    let check = |template: &str, state: &Found, identity: &OnDisk, expect: Result<(), Refusal>| {
        let here = HERE.parse().unwrap();
        let wanted = MadeFor { host_id: template.to_owned(), ..made_for() };
        let known = Known { here: Some(&here), wanted: &wanted, state, identity };
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
        let here = HERE.parse().unwrap();
        let known = Known { here: Some(&here), wanted: &made_for(), state, identity };
        let end = may_be_adopted(&next_step(&known), &known, &HOST.parse().unwrap());
        assert_eq!(end, expect, "{known:?}");
    };
    let elsewhere =
        OnDisk::Good { appliance_url: "https://other.example.org".to_owned(), host_id: HOST.to_owned() };
    for state in [&Found::Missing, &Found::Unreadable("x".to_owned()), &state(HERE, Phase::Enrolling)] {
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
        let known = Known { here: None, wanted: &made_for(), state, identity };
        assert_eq!(is_kept_without_an_answer(&known), expect, "{known:?}");
    };
    check(&state(HERE, Phase::Enrolled), &good(HOST), true);
    check(&state(HERE, Phase::Enrolling), &good(HOST), false);
    check(&state(HERE, Phase::Enrolled), &OnDisk::Missing, false);
    check(&state(HERE, Phase::Enrolled), &good("app/other"), false);
    check(&Found::Missing, &good(HOST), false);
}

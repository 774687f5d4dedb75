use super::*;
use crate::config::tests::{CA, config};

const NOW: &str = "2026-11-22T08:00:00Z";

/// One that the usual configuration takes.
pub(crate) fn binding() -> Binding {
    Binding {
        account: "prod".parse().unwrap(),
        host_factory: "app/web".parse().unwrap(),
        appliance_url: "https://conjur.example.org".parse().unwrap(),
        leader_url: "https://conjur.example.org".parse().unwrap(),
        ca_sha256: CaBundle::from_pem(&CA).unwrap().digests(),
        issued_at: "2026-11-22T07:00:00Z".parse().unwrap(),
        expires_at: "2026-11-22T10:00:00Z".parse().unwrap(),
        cidr: vec![],
        fingerprint: Fingerprint::of(b"0123456789abcdefghjk"),
        rotation_id: "r-1".to_owned(),
        spread_s: 0,
        scope: Scope::Layer,
        hosts_branch: "app/hosts".parse().unwrap(),
    }
}

fn check(change: impl Fn(&mut Binding), expect: Result<(), (&str, Class)>) {
    check_at(Scopes::Any, change, expect);
}

fn check_at(scopes: Scopes, change: impl Fn(&mut Binding), expect: Result<(), (&str, Class)>) {
    let mut binding = binding();
    change(&mut binding);
    let id = "i-0123456789abcdef0".parse().unwrap();
    let here = Here { instance_id: &id, account_id: Some("123456789012"), region: Some("eu-west-1") };
    match (super::check(&binding, &config(""), here, scopes, NOW.parse().unwrap()), expect) {
        (Ok(()), Ok(())) => {}
        (Err(error), Err((say, class))) => {
            assert_eq!((error.to_string().as_str(), error.class()), (say, class));
            assert!(error.hint().is_some(), "{error}");
        }
        (is, expect) => panic!("{is:?}, not {expect:?}"),
    }
}

#[test]
fn what_is_refused_before_any_talk_to_conjur() {
    let tampered = |say| Err((say, Class::Tampered));
    check(|_| {}, Ok(()));
    check(|b| b.account = "dev".parse().unwrap(), tampered("the token's account is dev, not prod"));
    check(
        |b| b.host_factory = "app/db".parse().unwrap(),
        tampered("the token's host_factory is app/db, not app/web"),
    );
    check(
        |b| b.appliance_url = "https://evil.example.org".parse().unwrap(),
        tampered("the token's appliance_url is https://evil.example.org, not https://conjur.example.org"),
    );
    check(
        |b| b.leader_url = "https://evil.example.org".parse().unwrap(),
        tampered("the token's leader_url is https://evil.example.org, not https://conjur.example.org"),
    );
    let ca = "the token was sealed for another CA: no certificate in common with ca_file";
    check(|b| b.ca_sha256 = vec!["0".repeat(64)], tampered(ca));
    check(|b| b.ca_sha256.clear(), tampered(ca));
    check(|b| b.ca_sha256.insert(0, "0".repeat(64)), Ok(()));
    let expired = |at: &'static str| move |b: &mut Binding| b.expires_at = at.parse().unwrap();
    let fingerprint = binding().fingerprint;
    check(expired(NOW), Err((&format!("the token {fingerprint} expired at {NOW}, 0s ago"), Class::Absent)));
    check(
        expired("2026-11-22T06:30:00Z"),
        Err((&format!("the token {fingerprint} expired at 2026-11-22T06:30:00Z, 1h30m ago"), Class::Absent)),
    );
    check(expired("2026-11-22T08:00:01Z"), Ok(()));
}

#[test]
fn a_token_for_one_instance_is_for_that_one_alone() {
    let own = "arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0";
    let scope = |arn: &str| {
        let arn = arn.to_owned();
        move |b: &mut Binding| b.scope = Scope::Instance { arn: arn.clone() }
    };
    for scopes in [Scopes::Any, Scopes::Instance] {
        check_at(scopes, scope(own), Ok(()));
        for (from, to) in [
            ("i-0123456789abcdef0", "i-0fedcba9876543210"),
            ("123456789012", "123456789013"),
            ("eu-west-1", "eu-west-2"),
        ] {
            let other = own.replace(from, to);
            check_at(scopes, scope(&other), Err((&format!("the token is for {other}"), Class::Tampered)));
        }
    }
    let layer = "the token is of scope layer, and lay where only one for this instance may lie";
    check_at(Scopes::Instance, |_| {}, Err((layer, Class::Tampered)));
}

#[test]
fn public_roots_go_with_a_binding_without_certificates() {
    let public = config("").without_ca();
    let here = "i-0123456789abcdef0".parse().unwrap();
    let now = NOW.parse().unwrap();
    assert_eq!(super::check(&binding(), &public, Here::by_id(&here), Scopes::Any, now), Err(Error::Ca));
    assert_eq!(
        super::check(
            &Binding { ca_sha256: vec![], ..binding() },
            &public,
            Here::by_id(&here),
            Scopes::Any,
            now
        ),
        Ok(())
    );
}

#[test]
fn the_token_is_the_one_that_the_binding_names() {
    let token = |text: &str| Token::new(zeroize::Zeroizing::new(text.to_owned())).unwrap();
    assert_eq!(check_token(&binding(), &token("0123456789abcdefghjk")), Ok(()));
    let error = check_token(&binding(), &token("0123456789abcdefghjm")).unwrap_err();
    assert_eq!(error.class(), Class::Tampered);
    assert!(!error.to_string().contains("0123456789abcdef"), "{error}");
}

#[test]
fn doubts_are_no_refusals() {
    let check = |change: &dyn Fn(&mut Binding), last: Option<&str>, expect: &[&str]| {
        let mut binding = binding();
        change(&mut binding);
        let host = "app/hosts/i-1".parse().unwrap();
        let doubts = doubts(&binding, &host, "10.0.0.5".parse().ok(), last.map(|at| at.parse().unwrap()));
        assert_eq!(doubts.len(), expect.len(), "{doubts:?}");
        for (doubt, say) in doubts.iter().zip(expect) {
            assert!(doubt.contains(say), "{doubt}");
        }
    };
    check(&|_| {}, None, &[]);
    check(&|b| b.cidr = vec!["10.0.0.0/8".parse().unwrap()], Some("2026-11-22T07:00:00Z"), &[]);
    check(&|b| b.cidr = vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()], None, &[]);
    check(
        &|b| b.cidr = vec!["192.0.2.0/24".parse().unwrap()],
        None,
        &["do not hold this instance's address 10.0.0.5"],
    );
    check(&|_| {}, Some("2026-11-22T07:00:01Z"), &["before the last one"]);
    check(
        &|b| b.hosts_branch = "app/host".parse().unwrap(),
        None,
        &["outside the rotator's hosts branch app/host"],
    );
}

//! The text itself. That Conjur takes it, and that it permits what is needed and no more, is tested end to end.

use super::*;
use crate::config::{Config, LoginBy};
use zeroize::Zeroizing;

fn config(login: &str, factories: &[(&str, &str)]) -> Config {
    let mut text = format!(
        "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"{login}\"\ndeployment = \"1f2e3d4c\"\n\
         [aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n"
    );
    for (id, hosts) in factories {
        text.push_str(&format!("[[factory]]\nid = \"{id}\"\nhosts_branch = \"{hosts}\"\n"));
    }
    Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap()
}

/// The same, with the AWS role of the login's name where a service is named.
fn logging_in(login: &str, service: Option<&str>) -> Config {
    let mut config = config(login, &[("app/web", "app/hosts")]);
    if let Some(service) = service {
        config.login_by = LoginBy::Role { service: service.parse().unwrap(), sts: None };
    }
    config
}

/// The statements, without comments and empty lines.
fn statements(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.is_empty() && !line.trim_start().starts_with('#')).collect()
}

#[test]
fn who_is_who() {
    let check = |login: &str, service: Option<&str>, rotator: (&str, &str), reaper: &str| {
        let Staff { rotator: found, reaper: beside, minter } = Staff::of(&logging_in(login, service));
        assert_eq!((found.role.kind, found.role.id.as_str()), rotator, "{login}");
        assert_eq!((beside.role.kind, beside.role.id.as_str()), ("host", reaper), "{login}");
        assert_eq!(minter, None, "{login}");
    };
    check("host/imprint/rotator", None, ("host", "imprint/rotator"), "imprint/reaper");
    check("host/a/reaper", None, ("host", "a/reaper"), "a/hosts-reaper");
    check("host/rotator", None, ("host", "rotator"), "reaper");
    check("host/a/123456789012/role", Some("prod"), ("host", "a/123456789012/role"), "a/reaper");
    check("host/123456789012/role", Some("prod"), ("host", "123456789012/role"), "reaper");
    check("alice@ops", None, ("user", "alice@ops"), "imprint/reaper");
}

#[test]
fn the_whole_text_is_always_the_same() {
    let config = config("host/imprint/rotator", &[("app/web", "app/hosts"), ("app/db", "app/hosts")]);
    let text = policy(&config, &Ask::default()).unwrap();
    assert_eq!(policy(&config, &Ask::default()).unwrap(), text);
    let wanted = "\
- !policy
  id: app
  body:
    - !layer web
    - !host-factory
      id: web
      layers: [ !layer web ]
    - !layer db
    - !host-factory
      id: db
      layers: [ !layer db ]
    - !policy hosts
- !policy
  id: imprint
  body:
    - !host
      id: rotator
      annotations:
        authn/api-key: true
    - !host
      id: reaper
      annotations:
        authn/api-key: true
- !permit
  role: !host imprint/rotator
  privileges: [ execute, update ]
  resources:
    - !host-factory app/web
    - !host-factory app/db
- !permit
  role: !host imprint/reaper
  privileges: [ read, update ]
  resources:
    - !policy app/hosts
- !permit
  role: !host imprint/reaper
  privileges: [ read ]
  resources:
    - !layer app/web
    - !layer app/db
";
    assert_eq!(statements(&text), wanted.lines().collect::<Vec<_>>());
    for say in [
        "conjur policy load --branch root",
        "# The hosts of app/web, app/db lie below here.",
        "update it revokes",
    ] {
        assert!(text.contains(say), "{say}: {text}");
    }
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
    let unrevoking = Config { revoke: false, ..config };
    let text = policy(&unrevoking, &Ask::default()).unwrap();
    assert!(text.contains("privileges: [ execute ]") && !text.contains("[ execute, update ]"), "{text}");
}

#[test]
fn only_what_is_asked_for() {
    let config = config("host/imprint/rotator", &[("app/web", "app/hosts"), ("ops/db", "ops/hosts")]);
    let ask = |factories: &[&str], branch: Option<&str>| Ask {
        factories: factories.iter().map(|id| id.parse().unwrap()).collect(),
        branch: branch.map(|branch| branch.parse().unwrap()),
        unprivileged: false,
    };
    let one = policy(&config, &ask(&["ops/db"], None)).unwrap();
    assert!(one.contains("!layer ops/db") && !one.contains("app"), "{one}");
    let whole = policy(&config, &ask(&[], Some("root"))).unwrap();
    assert_eq!(whole, policy(&config, &Ask::default()).unwrap());

    // Below a branch ids are relative, and roles of elsewhere absolute.
    let app = policy(&config, &ask(&[], Some("app"))).unwrap();
    let wanted = "\
- !layer web
- !host-factory
  id: web
  layers: [ !layer web ]
- !policy hosts
- !permit
  role: !host \"/imprint/rotator\"
  privileges: [ execute, update ]
  resources:
    - !host-factory web
- !permit
  role: !host \"/imprint/reaper\"
  privileges: [ read, update ]
  resources:
    - !policy hosts
- !permit
  role: !host \"/imprint/reaper\"
  privileges: [ read ]
  resources:
    - !layer web
";
    assert_eq!(statements(&app), wanted.lines().collect::<Vec<_>>());
    let imprint = policy(&config, &ask(&[], Some("imprint"))).unwrap();
    assert!(imprint.contains("id: rotator") && !imprint.contains("!permit"), "{imprint}");

    let refused = |ask: &Ask, say: &str| {
        let error = policy(&config, ask).unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        assert!(error.to_string().contains(say) && error.hint().is_some(), "{error}");
    };
    refused(&ask(&[], Some("ap")), "lies below ap");
    refused(&ask(&[], Some("app/web")), "lies below app/web");
    refused(&ask(&["web"], None), "not in the configuration: web");
}

#[test]
fn a_layer_without_privileges_has_an_owner_of_its_own() {
    let config = config("host/imprint/rotator", &[("app/web", "app/hosts")]);
    let text = policy(&config, &Ask { unprivileged: true, ..Ask::default() }).unwrap();
    let wanted = "\
    - !group web-owners
    - !layer
      id: web
      owner: !group web-owners
    - !host-factory
      id: web
      owner: !group web-owners
      layers: [ !layer web ]
";
    let block: Vec<&str> = statements(&text)[3..11].iter().map(|line| line.trim()).collect();
    assert_eq!(block, wanted.lines().map(str::trim).collect::<Vec<_>>());
    // What the rotator and the reaper need is the same.
    let usual = policy(&config, &Ask::default()).unwrap();
    let permits = |text: &str| text.split("- !permit").skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(permits(&text), permits(&usual));
    assert!(!text.contains("!grant"), "{text}");
}

#[test]
fn the_configuration_says_with_what_it_logs_in() {
    let with = |more: &str| {
        let text = crate::config::tests::GOOD
            .replace("host/app/hf-rotator\"", &format!("host/imprint/123456789012/rotator\"\n{more}"));
        let config = Config::parse(&text, &|_| Ok(zeroize::Zeroizing::default())).unwrap();
        policy(&config, &Ask::default()).unwrap().contains("!webservice conjur/authn-iam/prod\n")
    };
    assert_eq!([with(""), with("sealed_login = true"), with("authn_iam = \"prod\"")], [false, false, true]);
}

#[test]
fn a_login_with_an_iam_role() {
    let config = logging_in("host/imprint/123456789012/rotator", Some("prod"));
    let staff = Staff::of(&config);
    let (mut tree, place) = (Tree::default(), Place { branch: None });
    staff.declare(&mut tree, &place);
    let text = tree.to_yaml();
    let wanted = "\
- !policy
  id: conjur
  body:
    - !policy
      id: authn-iam
      body:
        - !webservice prod
- !policy
  id: imprint
  body:
    - !host
      id: reaper
      annotations:
        authn/api-key: true
    - !policy
      id: \"123456789012\"
      body:
        - !host
          id: rotator
          annotations:
            authn/api-key: true
";
    assert_eq!(statements(&text), wanted.lines().collect::<Vec<_>>());
    let mut permits = String::new();
    staff.permit(&mut permits, &place, &config, &config.factories.iter().collect::<Vec<_>>());
    let first = permits.split("- !permit\n").nth(1).unwrap();
    assert!(
        first.contains("[ authenticate ]") && first.contains("- !webservice conjur/authn-iam/prod\n"),
        "{permits}"
    );
}

#[test]
fn the_layer_and_the_reaper_of_the_configuration() {
    let text = |more: &str, layers: [&str; 2]| {
        let [web, db] = layers;
        let text = format!(
            "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/imprint/rotator\"\n\
             deployment = \"1f2e3d4c\"\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n\
             {more}\n[[factory]]\nid = \"app/web\"\nhosts_branch = \"app/hosts\"\nlayer = \"{web}\"\n\
             [[factory]]\nid = \"app/db\"\nhosts_branch = \"app/hosts\"\nlayer = \"{db}\"\n"
        );
        let config = Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap();
        policy(&config, &Ask::default())
    };
    let both = text("", ["app/nodes", "app/nodes"]).unwrap();
    let count = |text: &str, what: &str| statements(text).iter().filter(|line| line.trim() == what).count();
    assert_eq!(count(&both, "- !layer nodes"), 1, "{both}");
    assert_eq!(count(&both, "layers: [ !layer nodes ]"), 2, "{both}");
    assert_eq!(count(&both, "- !layer app/nodes"), 1, "the reaper's permit: {both}");

    let own = text("[fleet]\nlogin = \"host/ops/fleet\"\n", ["app/web", "app/db"]).unwrap();
    assert_eq!(count(&own, "role: !host ops/fleet"), 2, "{own}");
    assert!(!own.contains("reaper\n"), "{own}");
    let role = "[fleet]\nlogin = \"host/ops/123456789012/fleet\"\nauthn_iam = \"prod\"\n";
    let role = text(role, ["app/web", "app/db"]).unwrap();
    assert_eq!(count(&role, "role: !host ops/123456789012/fleet"), 3, "{role}");
    assert_eq!(count(&role, "privileges: [ authenticate ]"), 1, "{role}");

    let apart = text("", ["app/web", "other/nodes"]).unwrap_err();
    assert_eq!(
        (apart.class(), apart.to_string().as_str()),
        (Class::Config, "the layer other/nodes of app/db lies in another branch")
    );
}

#[test]
fn what_the_rotator_may_on_factories_that_it_mints_nothing_for() {
    let check = |revoke: bool, more: &str, wanted: [&str; 3]| {
        let text = format!(
            "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/imprint/rotator\"\n\
             deployment = \"1f2e3d4c\"\nrevoke = {revoke}\n{more}[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\nkey = \"alias/k\"\n\
             [[factory]]\nid = \"app/web\"\nhosts_branch = \"app/hosts\"\n\
             [[factory]]\nid = \"app/given\"\nhosts_branch = \"app/hosts\"\nmint = false\n\
             [[factory]]\nid = \"app/own\"\nhosts_branch = \"app/hosts\"\nscope = \"instance\"\n"
        );
        let config = Config::parse(&text, &|_| Ok(Zeroizing::default())).unwrap();
        let text = policy(&config, &Ask::default()).unwrap();
        let lines = statements(&text);
        let of = |factory: &str| {
            let at =
                lines.iter().position(|line| line.trim() == format!("- !host-factory {factory}")).unwrap();
            lines[..at].iter().rev().find(|line| line.contains("privileges")).unwrap().trim()
        };
        assert_eq!([of("app/web"), of("app/given"), of("app/own")], wanted, "{text}");
    };
    let both = ["privileges: [ execute, update ]", "privileges: [ update ]"];
    let [minter, own] =
        ["minter", "rotator"].map(|id| format!("[instances]\nlogin = \"host/imprint/{id}\"\n"));
    check(true, &minter, [both[0], both[1], both[1]]);
    let alone = ["privileges: [ execute ]", "privileges: [ read ]"];
    check(false, &minter, [alone[0], alone[1], alone[1]]);
    // Where nobody else mints for single instances, the rotator does.
    check(true, &own, [both[0], both[1], both[0]]);
    check(true, "", [both[0], both[1], both[0]]);
}

#[test]
fn the_minter_may_what_the_rules_say() {
    let rules = |text: &str| {
        let base = "[[rule]]\nname = \"r\"\nfactory = \"app/web\"\nami = [\"ami-0123456789abcdef0\"]\n";
        format!("{base}{text}")
    };
    let permits = |who: &str, more: &str, rules: &str, revoke: bool| {
        let rules_file = if rules.is_empty() { "" } else { "rules_file = \"rules.toml\"\n" };
        let text = format!(
            "account = \"prod\"\nappliance_url = \"https://conjur.example.org\"\nlogin = \"host/imprint/rotator\"\n\
             deployment = \"1f2e3d4c\"\nrevoke = {revoke}\n[aws]\nbucket = \"bucket\"\nbucket_owner = \"123456789012\"\n\
             key = \"alias/k\"\n{more}[fleet]\nlogin = \"host/imprint/reaper\"\n{rules_file}\
             [[factory]]\nid = \"app/web\"\nhosts_branch = \"app/hosts\"\n\
             [[factory]]\nid = \"app/born\"\nhosts_branch = \"app/born-hosts\"\n\
             [[factory]]\nid = \"app/db\"\nhosts_branch = \"app/hosts\"\n"
        );
        let read = |_: &std::path::Path| Ok(Zeroizing::new(rules.to_owned()));
        let config = Config::parse(&text, &read).unwrap();
        let text = policy(&config, &Ask::default()).unwrap();
        let permits = text
            .split("- !permit\n")
            .skip(1)
            .filter(|one| one.contains(&format!("role: !host imprint/{who}\n")));
        permits
            .map(|one| statements(one).iter().skip(1).map(|line| line.trim()).collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    let own = "[instances]\nlogin = \"host/imprint/minter\"\n";
    let check = |more: &str, rules: &str, revoke: bool, wanted: &[&str]| {
        assert_eq!(permits("minter", more, rules, revoke), wanted, "{more}{rules}");
    };
    check("", &rules(""), true, &[]);
    let all = "resources: - !host-factory app/web - !host-factory app/born - !host-factory app/db";
    check(own, "", true, &[&format!("privileges: [ execute, update ] {all}")]);
    check(own, &rules(""), true, &["privileges: [ execute, update ] resources: - !host-factory app/web"]);
    check(own, &rules(""), false, &["privileges: [ execute ] resources: - !host-factory app/web"]);
    let promoting = rules("promote_from = \"app/born\"\n");
    check(
        own,
        &promoting,
        true,
        &[
            "privileges: [ execute, update ] resources: - !host-factory app/web",
            "privileges: [ read, update ] resources: - !policy app/born-hosts - !policy app/hosts",
            "privileges: [ read ] resources: - !layer app/web - !layer app/born",
        ],
    );
    // One that is reaper too has that already, and is declared once.
    let both = "[instances]\nlogin = \"host/imprint/reaper\"\n";
    check(both, &promoting, true, &[]);
    let minted = "privileges: [ execute, update ] resources: - !host-factory app/web";
    assert_eq!(permits("reaper", both, &promoting, true).iter().filter(|one| *one == minted).count(), 1);
    // Where nothing says who mints, the rotator does.
    let rotator = permits("rotator", "", &promoting, true);
    assert!(
        rotator.iter().any(|one| one.ends_with("- !policy app/born-hosts - !policy app/hosts")),
        "{rotator:?}"
    );
}

//! A grant of the privileged layer in the place of a second host: what is printed works when a person loads it, and
//! what the pin is worth.

use super::*;
use crate::fleet::from;

/// A machine of the layer `web` with a tag that the rules promote, at an address that Conjur sees.
fn tagged(site: &Place) -> Machine {
    let machine = site.machine("web");
    let tags = [("role".to_owned(), "db".to_owned())].into();
    site.stack.ec2.service().put(Ec2Instance { tags, ..known(site, &machine) });
    let _enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    machine
}

/// What the fleet's login and role print.
#[track_caller]
fn granted(site: &Place, arguments: &[&str], code: i32) -> Ran {
    let ran = Ran::of(site.fleet(&["promote"]).args(arguments)).expect(code);
    no_secret(site, &[&ran.out, &ran.err]);
    ran
}

#[test]
fn a_grant_is_printed_for_pinned_hosts_alone_and_a_thiefs_key_reads_nothing_from_elsewhere() {
    let site = published();
    site.set_rules(RULES);
    let machine = tagged(&site);
    let (id, host) = (machine.instance().id.clone(), machine.host_id());
    let (conjur, url) = (site.stack.conjur.service(), site.stack.conjur.url());
    let asked = [id.as_str(), "--to", "db/factory", "--grant"];
    let pinned = [&asked[..], &["--pin"]].concat();
    let [json, dry] = ["--json", "--dry-run"].map(|flag| [&pinned[..], &[flag]].concat());

    // Without a pin: one line, and nobody was asked.
    let requests = site.stack.conjur.log().len();
    let refused = granted(&site, &asked, 64);
    assert!(refused.err.contains("can rotate its key"), "{}", refused.err);
    assert_eq!((refused.out.as_str(), site.stack.conjur.log().len()), ("", requests));

    let login = format!("{url}/authn/demo/{}/authenticate", format!("host/{host}").replace('/', "%2F"));
    let log_in = |address: &str, key: &str| from(&site, address, &["--data-raw", key, &login]).0;
    let key = machine.identity().1;
    let would = granted(&site, &dry, 0);
    assert!(
        would.out.contains("would be tied to 127.0.0.1/32") && !would.out.contains("!grant"),
        "{}",
        would.out
    );
    assert_eq!(log_in("203.0.113.7", &key), "200", "a dry run ties nobody");

    let printed = granted(&site, &pinned, 0);
    assert_eq!([log_in("203.0.113.7", &key), log_in("", &key)], ["401", "200"]);
    assert!(printed.err.contains("nothing ties"), "{}", printed.err);
    let told: Value = serde_json::from_str(&granted(&site, &json, 0).out).unwrap();
    crate::json::check("imprint-rotator promote --grant --json", &told.to_string());
    assert_eq!((&told["branch"], &told["instances"][0]["result"]), (&"root".into(), &"to be loaded".into()));

    // Nothing is granted by that; then a person loads just what was printed.
    let reads = |address: &str, key: &str| {
        let (status, token) =
            from(&site, address, &["--header", "Accept-Encoding: base64", "--data-raw", key, &login]);
        if status != "200" {
            return status;
        }
        let header = format!("Authorization: Token token=\"{}\"", token.trim());
        from(&site, address, &["--header", &header, &format!("{url}/secrets/demo/variable/db%2Fpassword")]).0
    };
    assert_ne!(reads("", &key), "200");
    let made = conjur.load_policy("root", &printed.out).unwrap();
    assert!(made.is_empty(), "the statement makes nobody: {made:?}");
    assert_eq!(reads("", &key), "200");
    let again: Value = serde_json::from_str(&granted(&site, &json, 0).out).unwrap();
    assert_eq!(
        (&again["policy"], &again["instances"][0]["result"]),
        (&Value::Null, &"granted already".into())
    );

    // The drill: whoever has a shared token takes the host over, and cannot use it.
    let token = conjur.tokens("web/factory")[0].token.clone();
    let header = format!("Authorization: Token token=\"{token}\"");
    let redeem = format!("{url}/host_factories/hosts");
    let taken = ["--header", &header, "--data-urlencode", &format!("id={host}"), &redeem];
    let (status, body) = from(&site, "203.0.113.7", &taken);
    assert_eq!(status, "201", "{body}");
    let reply: Value = serde_json::from_str(&body).unwrap();
    let stolen = reply["api_key"].as_str().unwrap();
    assert_eq!(reads("203.0.113.7", stolen), "401");
    assert_eq!(reads("", stolen), "200", "and the key itself is a good one");
    // What the pin does not prevent: the instance is locked out until it enrolls again.
    assert_eq!(log_in("", &key), "401");
    let _mine_again = Ran::of(&mut machine.imprint(&["enroll", "--again"])).expect(0);
    assert_eq!(reads("", &machine.identity().1), "200");
}

#[test]
fn whose_host_gets_no_grant() {
    let site = published();
    site.set_rules(RULES);
    let untagged = site.machine("web");
    let _instance = known(&site, &untagged);
    let _enrolled = Ran::of(&mut untagged.imprint(&["enroll"])).expect(0);
    let id = untagged.instance().id.clone();
    let to = ["--to", "db/factory", "--grant", "--pin", "--json"];
    let check = |arguments: &[&str], code: i32, say: &str| {
        let ran = granted(&site, &[arguments, &to].concat(), code);
        assert!(ran.err.contains(say), "{}", ran.err);
        assert!(!ran.out.contains("!grant"), "{}", ran.out);
    };
    check(&[&id], 77, "no rule matches");
    check(&["i-0fedcba9876543210"], 69, "has no host");
    check(&[&id, "--from", "db/factory"], 64, "no rule says");
    site.stack.ec2.service().forget(&id);
    check(&[&id, "--from", "web/factory", "--without-rule"], 75, "no address");
    let _instance = known(&site, &untagged);
    let asked =
        granted(&site, &[&[id.as_str(), "--from", "web/factory", "--without-rule"], &to[..]].concat(), 0);
    assert!(asked.out.contains("none, as was asked for") && asked.out.contains("!grant"), "{}", asked.out);
    let _usage = Ran::of(&mut site.fleet(&["promote", "--grant", "--pin"])).expect(64);
    let _usage = Ran::of(&mut site.fleet(&["promote", &id, "--to", "db/factory", "--pin"])).expect(64);
}

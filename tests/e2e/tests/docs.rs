//! What the documents show is what the programs take: the configurations, the policies, the exit
//! codes.

use imprint_agent::config::{Config, Outside};
use imprint_core::error::{Class, chain};
use imprint_rotator::config::LoginBy;
use imprint_rotator::fleet::rules::Rules;
use imprint_stack::ca::Ca;
use imprint_stack::conjur::{Conjur, Version};
use std::fs;
use std::io;
use std::path::Path;
use zeroize::Zeroizing;

/// A machine on which the files that the documents name are there.
struct Documented(String);

impl Outside for Documented {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, path: &Path, _: usize) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("/etc/imprint/ca.pem") => Ok(self.0.clone().into_bytes()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

pub(crate) fn document(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The blocks of a language in the README, in their order.
fn blocks(language: &str) -> Vec<String> {
    let text = document("README.md");
    let fence = format!("```{language}\n");
    let after = text.split(&fence).skip(1);
    after.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

fn agent(text: &str) -> Config {
    let ca = Documented(Ca::named("documented").pem());
    Config::read(text, &ca).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn rotator(text: &str) -> imprint_rotator::config::Config {
    let ca = |path: &Path| match path.to_str() {
        Some("ca.pem") => Ok(Zeroizing::new(Ca::named("documented").pem())),
        Some("rules.toml") => Ok(Zeroizing::new(document("packaging/etc/imprint/rules.toml"))),
        _ => panic!("{} is not documented", path.display()),
    };
    imprint_rotator::config::Config::parse(text, &ca).unwrap_or_else(|e| panic!("{}\n{text}", chain(&e)))
}

#[test]
fn the_configurations_are_taken_and_go_together() {
    let [short_rotator, short_agent, _rules, promotion] = blocks("toml").try_into().unwrap();
    let short = (agent(&format!("{short_agent}\n{promotion}")), rotator(&short_rotator));
    assert!(short.0.promoted().is_some_and(|there| there.host_factory != short.0.host_factory));
    let long = (
        agent(&document("packaging/etc/imprint/config.toml")),
        rotator(&document("packaging/etc/imprint/rotator.toml")),
    );
    for (agent, rotator) in [short, long] {
        assert_eq!(agent.account, rotator.account);
        assert_eq!((&agent.appliance_url, &agent.leader_url), (&rotator.appliance_url, &rotator.leader_url));
        assert_eq!(agent.host_factory, rotator.factories[0].id);
        let source = agent.s3().unwrap();
        assert_eq!(source.bucket, rotator.aws.bucket);
        assert_eq!(source.bucket_owner.as_ref(), Some(&rotator.aws.bucket_owner));
        let host = agent.host_id.as_str();
        assert!(host.starts_with(rotator.factories[0].hosts_branch.as_str()), "{host}");
    }
}

/// A document with every setting that it shows as a comment.
fn shown(path: &str) -> String {
    let text = document(path);
    let is_setting = |line: &str| {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b"_-".contains(&b));
        line.starts_with('[') || (plain && words.next() == Some("="))
    };
    let lines = text.lines().map(|line| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) => rest,
        Some(_) | None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// All examples have the configuration of this one (`make examples`).
#[test]
fn the_examples_configure_the_agent() {
    let script = document("packaging/usr/share/doc/imprint/examples/cloud-init/baked.sh");
    let text = script.split("/etc/imprint/config.toml <<'EOF'\n").nth(1).unwrap();
    let config = agent(text.split("EOF\n").next().unwrap());
    let usual = agent(&blocks("toml")[1]);
    assert_eq!((&config.host_id, &config.host_factory), (&usual.host_id, &usual.host_factory));
    let (source, of_readme) = (config.s3().unwrap(), usual.s3().unwrap());
    assert_eq!((&source.bucket, &source.object), (&of_readme.bucket, &of_readme.object));
    assert_eq!(source.kms.key, of_readme.kms.key);
}

/// Every setting that is shown as a comment is taken too.
#[test]
fn what_is_commented_out_is_taken() {
    // The two ways to name the host exclude each other.
    let text = shown("packaging/etc/imprint/config.toml").replace("\nhosts_branch = \"app/hosts\"", "");
    let config = agent(&text);
    assert_eq!(config.annotations.len(), 2);
    assert_eq!(config.proof_variable.as_deref(), Some("app/db/password"));
    let kms = &config.s3().unwrap().kms;
    assert!(config.console.is_some() && kms.region.is_some() && kms.ca.is_some());

    // Of the ways to log in there is one.
    let text = shown("packaging/etc/imprint/rotator.toml").replace("proxy-ca.pem", "ca.pem");
    let without = |text: &str, names: &[&str]| {
        let lines =
            text.lines().filter(|line| !names.iter().any(|name| line.starts_with(&format!("{name} = "))));
        lines.collect::<Vec<_>>().join("\n")
    };
    let by_role = without(&text, &["api_key_file", "sealed_login"]);
    let by_role = rotator(&by_role.replace("imprint/rotator", "imprint/123456789012/imprint-rotator"));
    assert!(matches!(by_role.login_by, LoginBy::Role { sts: Some(_), .. }));
    let sealed = rotator(&without(&text, &["api_key_file", "authn_iam", "sts"]));
    assert_eq!(sealed.login_by, LoginBy::SealedKey);
    let config = rotator(&without(&text, &["authn_iam", "sts", "sealed_login"]));
    assert!(matches!(config.login_by, LoginBy::KeyFile(_)));
    assert_eq!(config.factories[0].cidr.len(), 1);
    assert!(config.aws.ca.is_some() && config.revoke);
    let usual = imprint_rotator::policy::Policy::new(imprint_rotator::policy::Windows::default()).unwrap();
    assert_eq!(config.policy.lifetime(), usual.lifetime());
    assert_eq!(config.policy.longest_run(), usual.longest_run());
}

#[test]
fn the_rules_are_taken_with_all_that_they_show() {
    let path = "packaging/etc/imprint/rotator.toml";
    let short = rotator(&blocks("toml")[0]);
    assert!(short.fleet.rules.is_empty(), "nobody may have anything");
    let text = document(path) + "\n[[factory]]\nid = \"db/factory\"\nhosts_branch = \"db/hosts\"\n";
    let long = rotator(&format!("{text}\n[fleet]\nrules_file = \"rules.toml\"\n"));
    assert_eq!(long.fleet.rules.iter().map(|rule| rule.conditions.len()).collect::<Vec<_>>(), [1]);
    let rules = Rules::parse(&shown("packaging/etc/imprint/rules.toml"), &long.factories)
        .unwrap_or_else(|problems| panic!("{problems}"));
    let rule = rules.iter().next().unwrap();
    assert_eq!((rule.conditions.len(), rule.promote_from.is_some()), (10, true));
    // What the README shows.
    let rules = Rules::parse(&blocks("toml")[2], &long.factories);
    assert!(
        rules.unwrap_or_else(|problems| panic!("{problems}")).iter().all(|rule| !rule.rests_on_tags_alone())
    );
}

#[test]
fn conjur_takes_the_policy() {
    let policies = blocks("yaml");
    let policy = policies.iter().find(|block| block.contains("!host-factory")).unwrap();
    let by_role = policies.iter().find(|block| block.contains("conjur/authn-iam/")).unwrap();
    for version in [Version::V1_22_3, Version::V1_24_0] {
        let conjur = Conjur::new(version, "prod");
        let made = conjur.load_policy("root", policy).unwrap();
        assert_eq!(
            made.keys().collect::<Vec<_>>(),
            ["prod:host:imprint/reaper", "prod:host:imprint/rotator"]
        );
        let made = conjur.load_policy("root", by_role).unwrap();
        let host = "host/imprint/by-role/123456789012/imprint-rotator";
        assert_eq!(made.keys().collect::<Vec<_>>(), [&format!("prod:{}", host.replacen('/', ":", 1))]);
        let config = blocks("toml")[0].replace("api_key_file = \"api-key\"", "authn_iam = \"prod\"");
        let config = rotator(&config.replace("host/imprint/rotator", host));
        assert!(matches!(config.login_by, LoginBy::Role { .. }) && config.login == host);
    }
    // It is what the program prints for the configuration that the README shows, without its head.
    let config = rotator(&blocks("toml")[0]);
    let printed = imprint_rotator::conjur_policy::policy(&config, &Default::default()).unwrap();
    let (head, printed) = printed.split_once("\n\n").unwrap();
    assert!(head.lines().all(|line| line.starts_with('#')), "{head}");
    assert_eq!(*policy, printed);
}

#[test]
fn the_iam_policies_name_what_the_programs_name() {
    let policies: Vec<serde_json::Value> =
        blocks("json").iter().map(|block| serde_json::from_str(block).unwrap()).collect();
    assert_eq!(policies.len(), 4);
    // The function for single instances seals for them alone.
    let condition = format!("kms:EncryptionContext:{}", imprint_core::sealed::context_key::SCOPE);
    assert_eq!(policies[3]["Statement"][0]["Condition"]["StringEquals"][condition], "instance");
    let config = agent(&blocks("toml")[1]);
    let text = policies[0].to_string();
    let source = config.s3().unwrap();
    let object = format!("arn:aws:s3:::{}/{}", source.bucket, source.object);
    let condition = format!("kms:EncryptionContext:{}", imprint_core::sealed::context_key::HOST_FACTORY);
    for word in [object.as_str(), source.kms.key.as_str(), condition.as_str()] {
        assert!(text.contains(&format!("\"{word}\"")), "{word}");
    }
}

#[test]
fn every_exit_code_is_in_the_table() {
    let text = document("README.md");
    for class in Class::ALL {
        let row = format!("| {} | {class} |", class.exit_code());
        assert!(text.contains(&row), "{row}");
    }
}

/// Each promise of SECURITY.md names tests, each of which is there, and is a test.
#[test]
fn every_promise_names_its_tests() {
    let text = document("SECURITY.md");
    let rows_of = |who: &str| -> Vec<&str> {
        let promises = text.split(&format!("## What the {who} promise")).nth(1).unwrap();
        let promises = promises.split("\n## ").next().unwrap();
        let rows: Vec<&str> = promises.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
        assert!(rows.len() > 5, "{rows:?}");
        rows
    };
    let rows = ["agent", "rotator", "fleet's functions"].map(rows_of).concat();
    for row in rows {
        let proof = row.split(" | ").nth(1).unwrap().trim_end_matches(" |");
        let mut tests = 0;
        for group in proof.split("; ") {
            let Some((names, path)) = group.rsplit_once(" in ") else { continue };
            let (file, _) = path.split_once(' ').unwrap_or((path, ""));
            let is_python = file.ends_with(".py");
            if !is_python && !file.ends_with(".rs") {
                continue;
            }
            let code = document(file);
            for name in names.split('`').skip(1).step_by(2) {
                let word = if is_python { "def" } else { "fn" };
                let (before, _) = [format!("{word} {name}("), format!("{word} {name}<")]
                    .iter()
                    .find_map(|head| code.split_once(head))
                    .unwrap_or_else(|| panic!("{file} has no {name}: {row}"));
                let attributes = before.rsplit("\n\n").next().unwrap_or_default();
                // unittest goes by the name; what judges boots does so in every case of `make boot-test`.
                let is_test = match file {
                    "tests/boot/judge.rs" => true,
                    _ if is_python => name.starts_with("test_"),
                    _ => attributes.contains("#[test]"),
                };
                assert!(is_test, "{name} of {file} is no test");
                tests += 1;
            }
        }
        assert!(tests > 0, "a promise without a test: {row}");
    }
}

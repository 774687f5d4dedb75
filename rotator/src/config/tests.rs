use super::*;
use imprint_core::error::chain;

pub(crate) const GOOD: &str = r#"
account = "prod"
appliance_url = "https://conjur.example.org"
login = "host/app/hf-rotator"
deployment = "1f2e3d4c"
[aws]
bucket = "example-tokens"
bucket_owner = "123456789012"
key = "alias/imprint"
[[factory]]
id = "app/web"
hosts_branch = "app/hosts"
"#;

fn files(path: &Path) -> Result<Zeroizing<String>, Error> {
    match path.to_str() {
        Some("ca.pem") => Ok(Zeroizing::new(pem())),
        Some("empty.pem") => Ok(Zeroizing::default()),
        _ => Err(Error::Read { path: path.to_owned(), source: io::ErrorKind::NotFound.into() }),
    }
}

fn pem() -> String {
    rcgen::generate_simple_self_signed(vec!["conjur.example.org".into()]).unwrap().cert.pem()
}

/// Reads GOOD with `change` made to it; the problems, one a line.
fn check(change: impl Fn(String) -> String, problems: &[&str]) {
    let text = change(GOOD.to_owned());
    let found = match Config::parse(&text, &files) {
        Ok(_) => Vec::new(),
        Err(Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, problems, "{text}");
}

#[test]
fn the_least_configuration() {
    let config = Config::parse(GOOD, &files).unwrap();
    assert_eq!(config.leader_url, config.appliance_url);
    assert_eq!(config.factories[0].leader_url, config.appliance_url);
    assert_eq!(config.policy, Policy::new(crate::policy::Windows::default()).unwrap());
    assert!(config.revoke && config.ca.is_none() && config.aws.region.is_none());
    assert_eq!((config.concurrency, config.factories.len()), (8, 1));
}

#[test]
fn the_whole_configuration() {
    let text = GOOD
        .replace("login", "leader_url = \"https://leader.example.org\"\nca_file = \"ca.pem\"\napi_key_file = \"key\"\nrevoke = false\nconcurrency = 2\nlogin")
        .replace("bucket =", "region = \"eu-west-1\"\nca_file = \"ca.pem\"\nbucket =")
        + "cidr = [\"10.0.0.0/8\", \"2001:db9::/32\"]\nspread = \"30s\"\n[[factory]]\nid = \"db\"\nhosts_branch = \"h\"\n\
           leader_url = \"https://other.example.org\"\n[policy]\nperiod = \"1h\"\noverlap = \"15m\"\nboot_time = \"20m\"\n\
           slack = \"1h\"\nschedule = \"10m\"\nlongest_run = \"1m\"\nlifetime = \"3h\"\n";
    let config = Config::parse(&text, &files).unwrap();
    assert_eq!(config.leader_url.as_str(), "https://leader.example.org");
    assert_eq!(config.factories[0].leader_url, config.leader_url);
    assert_eq!(config.factories[1].leader_url.as_str(), "https://other.example.org");
    let now = Second::from_unix(1_800_000_000);
    let binding = config.binding(&config.factories[0], Fingerprint::of(b"x"), "r1", now, now);
    assert_eq!((binding.spread_s, binding.cidr.len(), binding.ca_sha256.len()), (30, 2, 1));
    assert_eq!(config.policy.lifetime(), Duration::from_secs(3 * 3600));
}

#[test]
fn several_faults_at_once() {
    check(
        |text| {
            text.replace("\"https://conjur.example.org\"", "\"http://conjur.example.org\"")
                .replace("host/app/hf-rotator", "host/a b")
                .replace("1f2e3d4c", "1F2E3D4C")
                .replace("123456789012", "12345")
                .replace("key =", "kye =")
                .replace(
                    "hosts_branch = \"app/hosts\"",
                    "cidr = [\"10.0.0.1/8\", \"x\", \"2001:db8::1/128\"]",
                )
        },
        &[
            "line 3: appliance_url: appliance URL \"http://conjur.example.org\" must be https (plain http is taken for a loopback address alone)",
            "line 4: login: host id \"a b\" may have only letters, digits and . _ / @ + = -",
            "line 5: deployment: must be eight hex digits in lower case, such as \"1f2e3d4c\"; draw them once and keep them",
            "line 6: aws.key is missing",
            "line 8: aws.bucket_owner: must be an AWS account's 12 digits",
            "line 9: aws.kye is not a known setting (is it key?)",
            "line 10: factory.hosts_branch is missing",
            "line 12: factory.cidr: item 1: 10.0.0.1/8 has host bits set; it may be 10.0.0.0/8",
            "line 12: factory.cidr: item 2: \"x\" must be a network such as \"10.0.0.0/8\"",
            "line 12: factory.cidr: item 3: 2001:db8::1/128 is of the documentation prefix, which labels are made of",
        ],
    );
}

#[test]
fn nothing_at_all() {
    check(
        |_| String::new(),
        &[
            "account is missing",
            "appliance_url is missing",
            "aws.bucket is missing",
            "aws.bucket_owner is missing",
            "aws.key is missing",
            "deployment is missing",
            "factory is missing",
            "login is missing",
        ],
    );
}

#[test]
fn one_fault_each() {
    check(
        |text| text + "cidr = []\n",
        &["line 13: factory.cidr: is empty; leave it out to let the token be used from anywhere"],
    );
    check(
        |text| text + "cidr = [\"10.0.0.0/8\", \"::/0\"]\n",
        &[
            "line 13: factory.cidr: item 2: ::/0 is every address; leave cidr out to let the token be used from anywhere",
        ],
    );
    check(
        |text| text + "spread = \"11m\"\n",
        &["line 13: factory.spread: must be at most 10m, or agents give up while they wait"],
    );
    check(
        |text| text + "[[factory]]\nid = \"app/web\"\nhosts_branch = \"h\"\n",
        &["line 14: factory.id: the factory app/web is there twice"],
    );
    check(
        |text| text + "[policy]\nslack = \"10m\"\n",
        &[
            "line 14: policy.slack: slack (10m) must be at least schedule (15m) + longest_run (5m) + a margin (1m) = 21m: \
         a token that falls due just after one run waits for the next one to end",
        ],
    );
    check(
        |text| text.replace("login", "ca_file = \"none.pem\"\nlogin"),
        &["line 4: ca_file: none.pem cannot be read: entity not found"],
    );
    check(
        |text| text.replace("login", "ca_file = \"empty.pem\"\nlogin"),
        &["line 4: ca_file: empty.pem: the CA bundle has 0 certificates; it must have 1 to 16"],
    );
    check(
        |text| text.replace("login", "api_key = \"0123\"\nlogin"),
        &["line 4: api_key is not a known setting"],
    );
    check(
        |text| text.replace("alias/imprint", "alias imprint"),
        &["line 9: aws.key: must be a KMS key's id, ARN or alias, 1 to 256 characters long"],
    );
    check(
        |text| text.replace("host/app/hf-rotator", "a user"),
        &["line 4: login: must be \"host/<id>\", or a user's name of letters, digits and . _ @ -"],
    );
    check(
        |text| text.replace("login", "concurrency = 0\nlogin"),
        &["line 4: concurrency: must be a whole number from 1 to 64"],
    );
}

#[test]
fn a_binding_that_would_not_fit() {
    let many: Vec<String> = (0..300).map(|i| format!("\"10.{}.{}.0/24\"", i / 250, i % 250)).collect();
    let text = format!("{GOOD}cidr = [{}]\n", many.join(", "));
    let error = Config::parse(&text, &files).unwrap_err();
    assert!(
        error.to_string().starts_with("line 10: factory: app/web: its sealed token could not be made"),
        "{error}"
    );
}

#[test]
fn where_the_file_comes_from() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("rotator.toml");
    let nothing = |_: &str| None;
    assert!(matches!(Place::of(None, None, None, nothing), Err(Error::None)));
    let error = Config::of_file(path.clone()).unwrap_err();
    assert!(matches!(error, Error::Read { .. }) && error.class() == Class::Config, "{error}");

    std::fs::write(place.path().join("ca.pem"), pem()).unwrap();
    std::fs::write(&path, GOOD.replace("login", "ca_file = \"ca.pem\"\napi_key_file = \"key\"\nlogin"))
        .unwrap();
    let variable = |name: &str| (name == FILE_VARIABLE).then(|| path.display().to_string());
    assert_eq!(Place::of(None, None, None, variable).unwrap(), Place::File(path.clone()));
    let config = Config::of_file(path.clone()).unwrap();
    assert_eq!(config.login_by, LoginBy::KeyFile(place.path().join("key")));
    assert!(config.ca.is_some());

    std::fs::write(&path, "account = 1").unwrap();
    let error = Config::of_file(path).unwrap_err();
    assert!(chain(&error).contains("; line 1: account: must be a text"), "{}", chain(&error));
}

#[test]
fn whose_object_it_must_be() {
    const OWN: &str = "111111111111";
    let of = |named: &str, flag: Option<&str>, own: Option<&str>, variable: &str| {
        let environment = |name: &str| (name == OWNER_VARIABLE).then(|| variable.to_owned());
        Place::of(Some(Path::new(named)), flag, own, environment)
    };
    let check = |flag, own, variable: &str, want: &str| {
        let (bucket, key) = ("tokens-1".to_owned(), "config/rotator.toml".to_owned());
        let place = of("s3://tokens-1/config/rotator.toml", flag, own, variable).unwrap();
        assert_eq!(place, Place::Object { bucket, key, owner: want.to_owned() });
    };
    check(None, Some(OWN), "", OWN);
    check(None, Some(OWN), "222222222222", "222222222222");
    check(None, None, "222222222222", "222222222222");
    check(Some("333333333333"), None, "222222222222", "333333333333");

    let refused = |named: &str, flag, say: &str| {
        let error = of(named, flag, None, "").unwrap_err();
        assert!(error.to_string().contains(say) && error.class() == Class::Config, "{named}: {error}");
        assert!(error.hint().is_some() && !error.to_string().contains(char::is_control), "{error}");
    };
    refused("s3://tokens-1/a", None, "nobody says which AWS account owns the bucket of s3://tokens-1/a");
    refused("s3://tokens-1/a", Some("12345"), "12 digits");
    refused("s3://tokens-1/a", Some("12345678901x"), "12 digits");
    for bad in [
        "s3://",
        "s3://tokens-1",
        "s3://tokens-1/",
        "s3:///a",
        "s3://a/b",
        "s3://Tokens/a",
        "s3://tokens-1/../a",
        "s3://tokens-1//a",
        "s3://tokens-1/a b",
        "s3://tokens-1/a?b",
        "s3://tokens-1/\u{1b}[2J",
        "s3://111111111111@tokens-1/a",
    ] {
        refused(bad, Some(OWN), "is no address of an object");
    }
    // Anything else is a file.
    assert_eq!(of("S3://x/y", None, None, "").unwrap(), Place::File("S3://x/y".into()));
}

#[test]
fn where_the_key_comes_from() {
    const KEY: &str = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";
    let place = tempfile::tempdir().unwrap();
    let in_file = place.path().join("key");
    let config = |file: bool| Config {
        login_by: if file { LoginBy::KeyFile(in_file.clone()) } else { LoginBy::KeyVariable },
        ..Config::parse(GOOD, &files).unwrap()
    };
    let variable = |value: &'static str| move |name: &str| (name == KEY_VARIABLE).then(|| value.to_owned());
    let check = |file: bool, value: &'static str, ends: Result<(), &str>| {
        let got = config(file).api_key(variable(value));
        match (&got, ends) {
            (Ok(key), Ok(())) => assert_eq!(key.expose(), KEY),
            (Err(error), Err(say)) => {
                assert!(chain(error).contains(say) && !chain(error).contains("0123"), "{}", chain(error));
                assert_eq!(error.class(), Class::Config);
            }
            (Ok(_), Err(say)) => panic!("taken, though {say}"),
            (Err(error), Ok(())) => panic!("{}", chain(error)),
        }
    };
    check(false, KEY, Ok(()));
    check(false, "", Err("no API key for host/app/hf-rotator"));
    check(false, "0123456789 abcdefghjk", Err("a character at byte 10"));
    check(true, "", Err("cannot be read"));
    std::fs::write(&in_file, format!("{KEY}\n")).unwrap();
    check(true, "not looked at", Ok(()));
    std::fs::write(&in_file, "").unwrap();
    check(true, KEY, Err("has 0 bytes"));
}

#[test]
fn so_many_factories_and_no_more() {
    let with = |count: usize| {
        let more = (1..count).map(|at| format!("[[factory]]\nid = \"f{at}\"\nhosts_branch = \"h\"\n"));
        Config::parse(&(GOOD.to_owned() + &more.collect::<String>()), &|_| Ok(Zeroizing::default()))
    };
    assert_eq!(with(2500).unwrap().factories.len(), 2500);
    let text = with(2501).unwrap_err().to_string();
    assert!(text.contains("factory: there are 2501; at most 2500 are taken"), "{text}");
}

#[test]
fn ways_to_log_in() {
    let role = "login = \"host/app/123456789012/imprint-rotator\"";
    let with = |more: &str| GOOD.replace("login = \"host/app/hf-rotator\"", &format!("{role}\n{more}"));
    let check = |more: &str, want: LoginBy| {
        assert_eq!(Config::parse(&with(more), &files).unwrap().login_by, want, "{more}");
    };
    let by_role = |sts: Option<&str>| LoginBy::Role {
        service: "prod".parse().unwrap(),
        sts: sts.map(|text| text.parse().unwrap()),
    };
    check("", LoginBy::KeyVariable);
    check("sealed_login = false", LoginBy::KeyVariable);
    check("api_key_file = \"key\"\nsealed_login = false", LoginBy::KeyFile("key".into()));
    check("sealed_login = true", LoginBy::SealedKey);
    check("authn_iam = \"prod\"", by_role(None));
    check("authn_iam = \"prod\"\nsts = \"global\"", by_role(Some("global")));
    check("authn_iam = \"prod\"\nsts = \"eu-west-1\"", by_role(Some("eu-west-1")));

    let refused = |more: &str, problems: &[&str]| {
        let Problems(found) = Config::parse(&with(more), &files).unwrap_err();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), problems, "{more}");
    };
    refused(
        "api_key_file = \"key\"\nauthn_iam = \"prod\"\nsealed_login = true",
        &[
            "line 6: authn_iam: there is api_key_file already; the rotator logs in in one way",
            "line 7: sealed_login: there is api_key_file already; the rotator logs in in one way",
        ],
    );
    refused("sts = \"global\"", &["line 5: sts: is for authn_iam alone"]);
    refused(
        "authn_iam = \"conjur/authn-iam/prod\"",
        &[
            "line 5: authn_iam: must be the service's id alone, such as \"prod\": 1 to 64 letters, digits and . _ -",
        ],
    );
    let no_sts = "must be \"global\", or a region such as eu-west-1 or us-gov-west-1: Conjur's authn-iam asks no STS of China \
                  or of an isolated or sovereign partition";
    refused("authn_iam = \"prod\"\nsts = \"cn-north-1\"", &[&format!("line 6: sts: {no_sts}")]);
    let text = with("authn_iam = \"prod\"").replace("bucket =", "region = \"us-iso-east-1\"\nbucket =");
    let found = Config::parse(&text, &files).unwrap_err().to_string();
    assert_eq!(found, format!("line 5: authn_iam: aws.region is us-iso-east-1, and the STS {no_sts}"));

    let login = |login: &str, ok: bool| {
        let text = GOOD.replace("host/app/hf-rotator\"", &format!("{login}\"\nauthn_iam = \"prod\""));
        let found = Config::parse(&text, &files);
        assert_eq!(found.is_ok(), ok, "{login}: {found:?}");
        assert!(ok || found.unwrap_err().to_string().contains("line 4: login: must be host/"), "{login}");
    };
    login("host/123456789012/role", true);
    login("host/a/b/123456789012/role.of@us", true);
    login("host/app/hf-rotator", false);
    login("host/app/12345678901/role", false);
    login("host/app/123456789012/role/x", false);
    login("rotator", false);
    login(&format!("host/app/123456789012/{}", "r".repeat(65)), false);
}

#[test]
fn who_shares_a_token() {
    let read = |more: &str| Config::parse(&format!("{GOOD}{more}\n"), &files);
    let last = |more: &str| read(more).unwrap().factories.pop().unwrap().shared;
    assert_eq!([last(""), last("scope = \"layer\""), last("scope = \"instance\"")], [true, true, false]);
    for (more, problem) in [
        ("scope = \"host\"", "must be layer or instance"),
        ("scope = \"instance\"\nmint = false", "with mint = false nobody would mint for an instance either"),
    ] {
        let found = read(more).unwrap_err().to_string();
        assert!(found.contains("scope: ") && found.contains(problem), "{found}");
    }
}

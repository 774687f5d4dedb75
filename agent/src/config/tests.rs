use super::kinds::{BucketName, FileMode, Region};
use super::*;
use std::sync::LazyLock;

/// A CA, made for this run.
pub(crate) static CA: LazyLock<String> =
    LazyLock::new(|| rcgen::generate_simple_self_signed(vec!["ca.example.org".into()]).unwrap().cert.pem());

pub(crate) const GOOD: &str = r#"
account = "prod"
appliance_url = "https://conjur.example.org"
ca_file = "/etc/imprint/ca.pem"
host_factory = "app/web"
hosts_branch = "app/hosts"

[source]
bucket = "imprint-tokens"
bucket_owner = "123456789012"
kms_key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
"#;

struct Scene;

impl Outside for Scene {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, path: &Path, _: usize) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("/etc/imprint/ca.pem") => Ok(CA.clone().into_bytes()),
            Some("/etc/imprint/bad.pem") => {
                Ok(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec())
            }
            Some("/etc/imprint/bytes.pem") => Ok(vec![0xff]),
            Some("/etc/passwd") => {
                Ok(b"root:x:0:0:root:/root:/bin/sh\napp:x:1001:1002::/:/bin/false\n".to_vec())
            }
            Some("/etc/group") => {
                Ok(b"root:x:0:\nconjur:x:998:app\nbroken:x:\nhighest:x:4294967295:\n".to_vec())
            }
            Some(_) | None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

/// The good configuration with `more` in front of its first section.
pub(crate) fn config(more: &str) -> Config {
    Config::read(&GOOD.replace("\n[source]", &format!("{more}\n[source]")), &Scene).unwrap()
}

impl Config {
    pub(crate) fn without_ca(self) -> Self {
        Self { ca: None, ..self }
    }
}

pub(super) fn read(text: &str) -> Result<Config, Problems> {
    Config::read(text, &Scene)
}

/// Everything that is wrong with a configuration.
pub(super) fn problems(text: &str) -> Vec<String> {
    match read(text) {
        Ok(_) => Vec::new(),
        Err(Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn check(text: &str, wanted: &[&str]) {
    assert_eq!(problems(text), wanted, "{text}");
}

/// The good configuration with one line replaced or, when `from` is empty, one added at the end.
fn changed(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from));
    if from.is_empty() { format!("{GOOD}{to}\n") } else { GOOD.replacen(from, to, 1) }
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = config("");
    assert_eq!(config.leader_url, config.appliance_url);
    assert_eq!(config.host_id.as_str(), "app/hosts/{account_id}/{region}/{instance_id}");
    assert_eq!(config.s3().unwrap().object.to_string(), "factories/prod/app/web/token.json");
    assert_eq!(config.deadline, Duration::from_secs(900));
    assert_eq!(config.imds.as_str(), "http://169.254.169.254");
    assert_eq!(config.files.identity.path, Path::new("/etc/conjur.identity"));
    assert_eq!((config.files.identity.mode, config.files.identity.owner), (0o600, None));
    assert_eq!(config.files.state_dir, Path::new("/var/lib/imprint"));
    assert_eq!(config.sys_root, Path::new("/sys"));
    assert_eq!(config.machine_id, Path::new("/etc/machine-id"));
    assert_eq!((config.instance, config.re_enroll), (InstanceFrom::Ec2, ReEnroll::Daily));
    assert_eq!((&config.files.env, &config.files.json, &config.files.fallback_dir), (&None, &None, &None));
    assert_eq!((&config.files.conf.label, config.re_enroll_lifted_at), (&None, None));
    assert!(config.ca.is_some() && config.console.is_none() && config.annotations.is_empty());
}

#[test]
fn everything_that_can_be_said() {
    let text = r#"
account = "prod"
appliance_url = "https://follower.example.org/api/"
leader_url = "https://leader.example.org"
host_factory = "app/web"
host_id = "app/{tag:Name}/{instance_id}"
proof_variable = "app/db/pass word"
deadline = "1m30s"
re_enroll = "never"
re_enroll_lifted_at = "2026-11-22T08:00:00Z"
[instance]
id = "machine"
[annotations]
"ec2/region" = "{region}"
creator = "imprint"
[source]
bucket = "imprint-tokens"
kms_key = "mrk-11111111222233334444555555555555"
region = "eu-west-1"
object = "my/own.json"
ca_file = "/etc/imprint/ca.pem"
[files]
identity = "/run/conjur/identity"
conf = "/run/conjur/conf"
pem = "/run/conjur/pem"
state_dir = "/run/imprint"
env = "/run/conjur/env"
json = "/run/conjur/json"
fallback_dir = "/run/conjur/elsewhere"
selinux_label = "system_u:object_r:etc_t:s0:c1,c2"
owner = "app"
group = "conjur"
mode = "0640"
[imds]
endpoint = "http://[fd00:ec2::254]/"
[system]
sys_root = "/host/sys"
machine_id = "/host/machine-id"
console = "/dev/ttyS0"
"#;
    let config = Config::read(text, &Scene).unwrap();
    assert_eq!((config.instance, config.re_enroll), (InstanceFrom::Machine, ReEnroll::Never));
    assert_eq!(config.re_enroll_lifted_at.map(|at| at.to_string()).as_deref(), Some("2026-11-22T08:00:00Z"));
    for target in [&config.files.env, &config.files.json] {
        let target = target.as_ref().unwrap();
        assert_eq!((target.owner, target.group, target.mode), (Some(1001), Some(998), 0o640));
    }
    for target in [&config.files.identity, &config.files.conf, config.files.env.as_ref().unwrap()] {
        assert_eq!(target.label.as_deref(), Some("system_u:object_r:etc_t:s0:c1,c2"));
    }
    assert_eq!(config.machine_id, Path::new("/host/machine-id"));
    assert_eq!(config.appliance_url.as_str(), "https://follower.example.org/api");
    assert_eq!(config.files.identity.owner, Some(1001));
    assert_eq!((config.files.identity.group, config.files.identity.mode), (Some(998), 0o640));
    assert_eq!(config.annotations.len(), 2);
    assert_eq!(config.imds.as_str(), "http://[fd00:ec2::254]");
    assert_eq!(config.console.as_deref(), Some(Path::new("/dev/ttyS0")));
    assert_eq!(config.proof_variable.as_deref(), Some("app/db/pass word"));
    assert!(config.ca.is_none() && config.s3().unwrap().kms.ca.is_some());
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    check(
        "",
        &[
            "account is missing",
            "appliance_url is missing",
            "host_factory is missing",
            "hosts_branch is missing",
            "source.bucket is missing",
            "source.kms_key is missing",
        ],
    );
    check(
        "account = 3\nappliance_url = \"http://conjur.example.org\"\nhost_factroy = \"app/web\"\nhosts_branch = \"a*b\"\ndeadline = \"2d\"\n[source]\nbucket = \"X\"\nkms_key = \"alias/imprint\"\nbucket_owner = 123456789012\n[files]\nmode = \"0644\"\nidentity = \"conjur.identity\"\ngroup = \"nobody-knows\"\n[imds]\nendpoint = \"https://x\"\n[annotations]\n\"a[b]\" = \"x\"\nn = \"{nope}\"\n",
        &[
            "host_factory is missing",
            "line 1: account: must be a text in quotes, not a whole number",
            "line 2: appliance_url: appliance URL \"http://conjur.example.org\" must be https (plain http is taken for a loopback address alone)",
            "line 3: host_factroy is not a known setting (is it host_factory?)",
            "line 4: hosts_branch: hosts branch \"a*b\" may have only letters, digits and . _ / -",
            "line 5: deadline: must be from 1s to 1d",
            "line 7: source.bucket: must be the name of a bucket or the ARN of an access point",
            "line 8: source.kms_key: must be a key's ARN (arn:aws:kms:REGION:ACCOUNT:key/ID) or id; an alias is refused, since it can be turned to another key",
            "line 9: source.bucket_owner: must be a text in quotes, not a whole number",
            "line 11: files.mode: must be \"0600\", \"0640\", \"0400\" or \"0440\": the file holds the API key",
            "line 12: files.identity: must be a path from /, of letters, digits and . _ @ + = -",
            "line 13: files.group: there is no group nobody-knows in /etc/group; a number is taken too",
            "line 15: imds.endpoint: must be a URL such as http://169.254.169.254 or http://[fd00:ec2::254]",
            "line 16: annotations: a name may have only letters, digits and . _ / -, at most 128 of them",
            "line 16: annotations: n: has {nope}, which is none of {instance_id}, {account_id}, {region}, {hostname}, {private_ip}, {tag:Name}",
        ],
    );
}

#[test]
fn one_at_a_time() {
    check(GOOD, &[]);
    let host_id = "host_id: has no placeholder: every instance would be the same host, and each enrollment would kill the key of the one before";
    check(
        &changed("hosts_branch = \"app/hosts\"", "host_id = \"app/web1\""),
        &[&format!("line 6: {host_id}")],
    );
    check(
        &changed("hosts_branch", "host_id = \"app/{instance_id}\"\nhosts_branch"),
        &["line 7: hosts_branch: is of no use beside host_id, which names the whole id"],
    );
    check(
        &changed("hosts_branch = \"app/hosts\"", "host_id = \"app/{instance}\""),
        &[
            "line 6: host_id: has {instance}, which is none of {instance_id}, {account_id}, {region}, {hostname}, {private_ip}, {tag:Name}",
        ],
    );
    check(
        &changed("ca.pem", "none.pem"),
        &["line 4: ca_file: /etc/imprint/none.pem cannot be read: entity not found"],
    );
    check(&changed("ca.pem", "bytes.pem"), &["line 4: ca_file: /etc/imprint/bytes.pem: is not PEM"]);
    let Err(Problems(bad)) = Config::read(&changed("ca.pem", "bad.pem"), &Scene) else { panic!() };
    assert!(
        bad.len() == 1 && bad[0].text.starts_with("ca_file: /etc/imprint/bad.pem: certificate 1"),
        "{bad:?}"
    );
    check(
        &changed("", "ca_file = \"ca.pem\""),
        &["line 12: source.ca_file: must be a path from /, of letters, digits and . _ @ + = -"],
    );
    check(
        &changed("", "[annotations]\n\"authn/api-key\" = \"false\""),
        &["line 12: annotations: authn/api-key is always set to true by imprint itself"],
    );
    check(
        &changed("", "[annotations]\n\"imprint/region\" = \"mars\""),
        &["line 12: annotations: imprint/region: what begins with imprint/ is written by imprint itself"],
    );
    check(&changed("", "[annotations]\nimprint = \"mine\""), &[]);
    check(
        &changed("", "[files]\nconf = \"/etc/conjur.identity\""),
        &["line 12: files.identity: two settings of this section name the same path"],
    );
    check(&changed("", "[files]\nowner = \"app\"\ngroup = \"12\""), &[]);
    check(&changed("", "[files]\nowner = \"4294967294\""), &[]);
    check(
        &changed("", "[files]\nowner = \"4294967295\"\ngroup = \"4294967295\""),
        &["line 13: files.owner: 4294967295 is no user", "line 14: files.group: 4294967295 is no group"],
    );
    check(
        &changed("", "[files]\ngroup = \"highest\""),
        &["line 13: files.group: there is no group highest in /etc/group; a number is taken too"],
    );
    check(
        &changed("", "[files]\ngroup = \"broken\""),
        &["line 13: files.group: there is no group broken in /etc/group; a number is taken too"],
    );
    check(&changed("", "[sink]\npath = \"/x\""), &["line 12: sink is not a known setting"]);
    check(&changed("", "password = \"hunter2\""), &["line 12: source.password is not a known setting"]);
    check(&changed("\"prod\"", "\"prod\"\naccount = \"dev\""), &["line 3: duplicate key"]);
}

#[test]
fn what_a_value_may_be() {
    fn good<T: std::str::FromStr>(texts: &[&str], good: bool) {
        for text in texts {
            assert_eq!(text.parse::<T>().is_ok(), good, "{text:?}");
        }
    }
    good::<AbsolutePath>(&["/etc/conjur.identity", "/run/a@b+c=d-e_f"], true);
    good::<AbsolutePath>(
        &[
            "",
            "/",
            "etc/x",
            "/etc/../x",
            "/etc//x",
            "/etc/x/",
            "/a b",
            "/a:b",
            "/a#b",
            "/a\nb",
            "/é",
            "/etc/./x",
        ],
        false,
    );
    good::<KmsKey>(
        &[
            "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555",
            "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-11111111222233334444555555555555",
            "11111111-2222-3333-4444-555555555555",
        ],
        true,
    );
    good::<KmsKey>(
        &[
            "",
            "alias/x",
            "arn:aws:kms:eu-west-1:123456789012:alias/x",
            "arn:aws:kms:eu-west-1:123456789012:key/*",
            "arn:aws:kms::123456789012:key/11111111-2222-3333-4444-555555555555",
            "arn:aws:kms:eu-west-1:1234:key/11111111-2222-3333-4444-555555555555",
            "arn:aws:s3:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555",
        ],
        false,
    );
    good::<Endpoint>(
        &["http://169.254.169.254", "http://[fd00:ec2::254]", "http://127.0.0.1:1338/", "http://localhost:1"],
        true,
    );
    good::<Endpoint>(
        &[
            "",
            "169.254.169.254",
            "https://x",
            "http://x/latest",
            "http://u:p@x",
            "http://x?a",
            "http://x#a",
            "http://",
        ],
        false,
    );
    good::<FileMode>(&["0600", "0640", "0400", "0440"], true);
    good::<FileMode>(
        &["", "600", "0644", "0660", "0700", "0000", "0040", "0x20", "+600", "4600", "00600"],
        false,
    );
    good::<BucketName>(
        &["imprint-tokens", "a.b-c", "arn:aws:s3:eu-west-1:123456789012:accesspoint/imprint"],
        true,
    );
    good::<BucketName>(&["", "ab", "A-b", "-ab", "ab-", "a..b", "a/b", "a_b", "arn:aws:s3:*"], false);
    good::<Region>(&["eu-west-1", "us-gov-west-1"], true);
    good::<Region>(&["", "EU", "eu/west", "eu.west"], false);
}

#[test]
fn where_the_metadata_service_is() {
    struct Env<'a>(&'a [(&'a str, &'a str)]);
    impl Outside for Env<'_> {
        fn env(&self, name: &str) -> Option<String> {
            self.0.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned())
        }
        fn file(&self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
            Scene.file(path, most)
        }
    }
    let check = |text: &str, env: &[(&str, &str)], expect: Result<&str, &str>| {
        let end = Config::read(text, &Env(env));
        let end = end.as_ref().map(|c| c.imds.as_str()).map_err(ToString::to_string);
        assert_eq!(end, expect.map_err(ToOwned::to_owned));
    };
    const URL: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
    const MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";
    check(GOOD, &[(URL, "http://127.0.0.1:9/")], Ok("http://127.0.0.1:9"));
    check(GOOD, &[(URL, "")], Ok("http://169.254.169.254"));
    check(GOOD, &[(MODE, "IPv6")], Ok("http://[fd00:ec2::254]"));
    check(GOOD, &[(MODE, "IPv4")], Ok("http://169.254.169.254"));
    let set = changed("", "[imds]\nendpoint = \"http://127.0.0.1:1\"");
    check(&set, &[(URL, "http://127.0.0.1:9")], Ok("http://127.0.0.1:1"));
    check(
        GOOD,
        &[(URL, "https://example.org")],
        Err(
            "imds.endpoint: AWS_EC2_METADATA_SERVICE_ENDPOINT must be a URL such as http://169.254.169.254 or http://[fd00:ec2::254]",
        ),
    );
}

#[test]
fn the_file_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let check = |bytes: Option<&[u8]>, say: &str| {
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).unwrap();
        }
        let error = Config::load(&path, &Scene).unwrap_err();
        assert!(imprint_core::error::chain(&error).contains(say), "{error}");
        assert_eq!(error.class(), Class::Config);
        assert!(error.hint().is_some());
    };
    check(None, "there is no ");
    check(Some(b"\xff\xfe"), "is not UTF-8");
    check(Some(b"lagg = 1"), "config.toml: account is missing; ");
    check(Some(&vec![b'#'; LARGEST + 1]), "has more than 65536 bytes");
    check(Some(b"account = \"a\0b\""), "line 1: ");
    std::fs::write(&path, format!("\u{feff}{}", GOOD.replace('\n', "\r\n"))).unwrap();
    Config::load(&path, &Scene).unwrap();
    let error = Config::load(dir.path(), &Scene).unwrap_err();
    assert!(imprint_core::error::chain(&error).contains("is a directory"), "{error}");
}

#[test]
fn who_may_write_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let check = |mode: u32, group: u32, expect: Option<&str>| {
        assert_eq!(open_to(mode, 0, group), expect, "{mode:o} {group}");
        assert_eq!(open_to(mode, 1000, group), Some("its owner, who is not root"));
    };
    check(0o100_600, 50, None);
    check(0o100_644, 50, None);
    check(0o100_664, 0, None);
    check(0o100_664, 50, Some("its group"));
    check(0o100_666, 0, Some("everybody"));
    check(0o100_602, 0, Some("everybody"));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, GOOD).unwrap();
    for (mode, closed) in [(0o644, true), (0o666, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        match Config::load(&path, &Scene) {
            // Who is not root harms only himself.
            Ok(_) => assert!(closed || !rustix::process::geteuid().is_root()),
            Err(error) => {
                assert!(!closed && error.to_string().ends_with("is writable by everybody"), "{error}");
                assert_eq!((error.class(), error.hint().is_some()), (Class::Config, true));
            }
        }
        // What it names, such as the CA, decides as much.
        match Machine.file(&path, LARGEST) {
            Ok(_) => assert!(closed || !rustix::process::geteuid().is_root()),
            Err(error) => {
                assert!(!closed && error.to_string() == "it is writable by everybody", "{error}")
            }
        }
    }
}

#[test]
fn the_packaged_example_is_good() {
    let text = include_str!("../../../packaging/etc/imprint/config.toml");
    Config::read(text, &Scene).unwrap_or_else(|problems| panic!("{problems}"));
    // With every commented setting switched on, each is known and its value fit.
    let is_setting = |line: &str| {
        let name = line.split(" = ").next().unwrap_or_default();
        line.starts_with('[')
            || line.contains(" = ") && name.bytes().all(|b| b.is_ascii_lowercase() || b"_-".contains(&b))
    };
    let all: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if is_setting(setting) => setting,
            Some(_) | None => line,
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    match Config::read(&all, &Scene) {
        Ok(_) => {}
        Err(problems) => {
            let text = problems.to_string();
            assert!(problems.0.len() == 1 && text.contains("is of no use beside host_id"), "{text}");
        }
    }
}

#[test]
fn an_instance_that_is_none_of_ec2s() {
    let text = GOOD.replace("\n[source]", "\n[instance]\nid = \"machine\"\n[source]");
    assert_eq!(Config::read(&text, &Scene).unwrap().host_id.as_str(), "app/hosts/{instance_id}");
    check(&text.replace("\"machine\"", "\"gce\""), &["line 9: instance.id: must be \"ec2\" or \"machine\""]);
    check(
        &changed("hosts_branch", "re_enroll = \"hourly\"\nre_enroll_lifted_at = \"today\"\nhosts_branch"),
        &[
            "line 6: re_enroll: must be \"daily\" or \"never\"",
            "line 7: re_enroll_lifted_at: not a time of the form 2026-11-22T08:00:00Z",
        ],
    );
    check(
        &changed("", "[files]\nenv = \"/etc/conjur.conf\"\nselinux_label = \"etc_t\""),
        &[
            "line 12: files.identity: two settings of this section name the same path",
            "line 14: files.selinux_label: must be a label such as system_u:object_r:etc_t:s0",
        ],
    );
}

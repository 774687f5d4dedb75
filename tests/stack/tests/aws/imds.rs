//! IMDSv2: the token, the facts of one instance, and its role's session.

use crate::client::{Call, Reply};
use imprint_stack::aws::{Credentials, Policy};
use imprint_stack::clock::Clock;
use imprint_stack::imds::{Imds, Instance};
use imprint_stack::kms::Kms;
use imprint_stack::server::Server;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const TOKEN: &str = "x-aws-ec2-metadata-token";

struct Bench {
    imds: Server<Imds>,
    clock: Clock,
    credentials: Credentials,
}

fn bench(instance: Instance) -> Bench {
    let clock = Clock::new();
    let credentials = Credentials::new("123456789012", clock.clone());
    Bench { imds: Server::start(Imds::new(credentials.clone(), instance)), clock, credentials }
}

fn web() -> Instance {
    Instance {
        id: "i-0123456789abcdef0".to_owned(),
        hostname: "ip-192-0-2-7.eu-west-1.compute.internal".to_owned(),
        private_ip: "192.0.2.7".to_owned(),
        ..Instance::of("web")
    }
}

impl Bench {
    fn put(&self, header: (&str, &str)) -> Reply {
        Call::new(self.imds.port(), "PUT", "/latest/api/token").header(header.0, header.1).send()
    }

    fn token(&self) -> String {
        self.put((TTL, "60")).body
    }

    fn get_with(&self, token: &str, path: &str) -> Reply {
        Call::new(self.imds.port(), "GET", path).header(TOKEN, token).send()
    }

    fn get(&self, path: &str) -> Reply {
        self.get_with(&self.token(), path)
    }

    fn meta(&self, path: &str) -> (u16, String) {
        let reply = self.get(&format!("/latest/meta-data/{path}"));
        (reply.status, reply.body)
    }
}

#[test]
fn a_token_is_asked_for_properly_or_not_given() {
    let bench = bench(web());
    let good = bench.put((TTL, "21600"));
    assert_eq!((good.status, good.body.len(), &*good.headers[TTL]), (200, 56, "21600"));
    for ttl in ["0", "21601", "-1", "six", ""] {
        assert_eq!(bench.put((TTL, ttl)).status, 400, "{ttl}");
    }
    assert_eq!(bench.put(("x-other", "60")).status, 400);
    let through_proxy = Call::new(bench.imds.port(), "PUT", "/latest/api/token")
        .header(TTL, "60")
        .header("x-forwarded-for", "192.0.2.1");
    assert_eq!(through_proxy.send().status, 403);
}

#[test]
fn nothing_is_told_without_a_living_token() {
    let bench = bench(web());
    let path = "/latest/meta-data/instance-id";
    assert_eq!(Call::new(bench.imds.port(), "GET", path).send().status, 401);
    assert_eq!(bench.get_with("guess", path).status, 401);
    let token = bench.token();
    assert_eq!(bench.get_with(&token, path).body, "i-0123456789abcdef0");
    bench.clock.advance(SignedDuration::from_secs(61));
    assert_eq!(bench.get_with(&token, path).status, 401);
    let token = bench.token();
    bench.imds.service().forget_tokens();
    assert_eq!(bench.get_with(&token, path).status, 401);
    assert_eq!(bench.imds.count("imds:token"), 2);
}

#[test]
fn the_facts_agree_with_each_other() {
    let bench = bench(web());
    let ok = |body: &str| (200, body.to_owned());
    for (path, body) in [
        ("instance-id", "i-0123456789abcdef0"),
        ("hostname", "ip-192-0-2-7.eu-west-1.compute.internal"),
        ("local-hostname", "ip-192-0-2-7.eu-west-1.compute.internal"),
        ("local-ipv4", "192.0.2.7"),
        ("placement/region", "eu-west-1"),
        ("placement/availability-zone", "eu-west-1a"),
        ("placement/", "availability-zone\nregion"),
        ("services/partition", "aws"),
        ("iam/", "info\nsecurity-credentials/"),
        ("iam/security-credentials/", "web"),
    ] {
        assert_eq!(bench.meta(path), ok(body), "{path}");
    }
    let document: Value =
        serde_json::from_str(&bench.get("/latest/dynamic/instance-identity/document").body).unwrap();
    for (name, value) in [
        ("accountId", "123456789012"),
        ("instanceId", "i-0123456789abcdef0"),
        ("privateIp", "192.0.2.7"),
        ("region", "eu-west-1"),
        ("availabilityZone", "eu-west-1a"),
    ] {
        assert_eq!(document[name], value);
    }
    let info: Value = serde_json::from_str(&bench.meta("iam/info").1).unwrap();
    assert_eq!(info["InstanceProfileArn"], "arn:aws:iam::123456789012:instance-profile/web");
    for path in ["iam/security-credentials-extended/", "iam/security-credentials/db", "nothing", "instance-i"]
    {
        assert_eq!(bench.meta(path).0, 404, "{path}");
    }
}

#[test]
fn the_session_works_and_is_renewed_in_time() {
    let bench = bench(web());
    bench.credentials.set_policy("web", Policy::everything());
    let kms = Kms::new(bench.credentials.clone(), "eu-west-1");
    let key = kms.add_key();
    let kms = Server::start(kms);
    let session = || -> Value {
        let reply = bench.meta("iam/security-credentials/web");
        serde_json::from_str(&reply.1).unwrap()
    };
    let (first, again) = (session(), session());
    assert_eq!(first, again);
    assert_eq!((&first["Code"], &first["Type"]), (&"Success".into(), &"AWS-HMAC".into()));
    let text = |v: &Value, name: &str| v[name].as_str().unwrap().to_owned();
    let ends: Timestamp = text(&first, "Expiration").parse().unwrap();
    assert!(ends > bench.clock.now());
    let keys = imprint_stack::aws::Keys {
        access_key: text(&first, "AccessKeyId"),
        secret: text(&first, "SecretAccessKey"),
        session_token: Some(text(&first, "Token")),
        expires: Some(ends),
    };
    let call = Call::new(kms.port(), "POST", "/")
        .header("x-amz-target", "TrentService.DescribeKey")
        .body(format!("{{\"KeyId\":\"{key}\"}}"));
    assert_eq!(call.sign(&keys, "eu-west-1", "kms", bench.clock.now()).send().status, 200);
    bench.clock.advance(SignedDuration::from_hours(5) + SignedDuration::from_mins(40));
    let next = session();
    assert_ne!(next["AccessKeyId"], first["AccessKeyId"]);
    assert_eq!(bench.imds.count("imds:credentials"), 3);
}

#[test]
fn tags_are_told_only_where_they_are_on() {
    let off = bench(web());
    assert_eq!(off.meta("tags/instance/"), (404, String::new()));
    assert_eq!(off.meta("tags/instance/Name").0, 404);
    let on = bench(web().tag("Name", "web 1").tag("team/owner", "a=b"));
    assert_eq!(on.meta("tags/instance"), (200, "Name\nteam/owner".to_owned()));
    assert_eq!(on.meta("tags/instance/Name").1, "web 1");
    assert_eq!(on.meta("tags/instance/team/owner").1, "a=b");
    assert_eq!(on.meta("tags/instance/other").0, 404);
    assert_eq!((on.imds.count("imds:tags"), on.imds.count("imds:tag")), (1, 3));
}

#[test]
fn an_instance_may_have_no_role_and_may_change() {
    let bench = bench(Instance { role: None, ..web() });
    assert_eq!(bench.meta("iam/security-credentials/").0, 404);
    assert_eq!(bench.meta("iam/info").0, 404);
    bench.imds.service().change(|i| {
        i.id = "i-0fedcba9876543210".to_owned();
        i.role = Some("db".to_owned());
    });
    assert_eq!(bench.meta("instance-id").1, "i-0fedcba9876543210");
    assert_eq!(bench.meta("iam/security-credentials/").1, "db");
    assert_eq!(bench.imds.service().instance().id, "i-0fedcba9876543210");
    assert_eq!(Call::new(bench.imds.port(), "DELETE", "/latest/meta-data/").send().status, 405);
}

use super::*;
use crate::aws::{Clock, Credentials};
use crate::caller::{Caller, RunId};
use crate::door::Trust;
use crate::second::Second;
use imprint_stack::aws::{self as stand_in, Keys, caller_identity};
use imprint_stack::clock::Clock as Time;
use imprint_stack::conjur::{Conjur, Version};
use imprint_stack::server::Request;
use std::time::Duration;

const ACCOUNT: &str = "123456789012";
const LOGIN: &str = "host/imprint/rotator/123456789012/rotator";
const POLICY: &str = "
- !policy
  id: conjur/authn-iam/prod
  body:
  - !webservice
- !host imprint/rotator/123456789012/rotator
- !host imprint/rotator/123456789012/other
- !host imprint/rotator/210987654321/rotator
- !host forbidden/123456789012/rotator
- !user admin-of-roles
- !permit { role: !host imprint/rotator/123456789012/rotator, privilege: authenticate, resource: !webservice conjur/authn-iam/prod }
- !permit { role: !host imprint/rotator/123456789012/other, privilege: authenticate, resource: !webservice conjur/authn-iam/prod }
- !permit { role: !host imprint/rotator/210987654321/rotator, privilege: authenticate, resource: !webservice conjur/authn-iam/prod }
";

/// A Conjur and its STS, and a session of the role `rotator`.
struct Lab {
    conjur: Conjur,
    credentials: stand_in::Credentials,
    time: Time,
    keys: Keys,
}

impl Lab {
    fn new() -> Self {
        let time = Time::new();
        let credentials = stand_in::Credentials::new(ACCOUNT, time.clone());
        let conjur = Conjur::new(Version::V1_24_0, "prod");
        conjur.load_policy("root", POLICY).unwrap();
        conjur.ask_sts_of(credentials.clone());
        conjur.configure(|settings| settings.authenticators.extend(["authn-iam/prod".to_owned()]));
        let keys = credentials.session("rotator", "a-run", jiff::SignedDuration::from_hours(1));
        Self { conjur, credentials, time, keys }
    }

    async fn aws(&self, keys: &Keys, region: &str) -> Aws {
        let aws = Aws::on_instance(region, &Trust::Public, &caller(), &Clock::default()).await.unwrap();
        aws.hold(&held(keys));
        aws
    }

    fn proof(&self, sts: Option<&Sts>) -> String {
        let proof = block_on(async { self.aws(&self.keys, "eu-west-1").await.role_proof(sts).await });
        String::from_utf8(proof.unwrap_or_else(|e| panic!("{e}")).expose().to_vec()).unwrap()
    }

    /// The headers of another request than ours.
    fn signed(&self, host: &str, change: impl FnOnce(&mut Unsigned<'_>)) -> String {
        self.signed_at(host, &format!("https://{host}/?{QUERY}"), change)
    }

    fn signed_at(&self, host: &str, uri: &str, change: impl FnOnce(&mut Unsigned<'_>)) -> String {
        let mut request = Unsigned {
            method: "GET",
            uri,
            headers: &[],
            body: &[],
            service: "sts",
            region: "eu-west-1",
            tells_digest: true,
        };
        change(&mut request);
        let keys =
            block_on(async { self.aws(&self.keys, "eu-west-1").await.keys.provide_credentials().await });
        let added = sign(&request, &keys.unwrap(), Second::now()).unwrap();
        let mut headers: BTreeMap<&str, &str> = added.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        headers.insert("host", host);
        headers.extend(request.headers.iter().copied());
        serde_json::to_string(&headers).unwrap()
    }

    fn status(&self, service: &str, login: &str, body: &str) -> u16 {
        let login = login.replace('/', "%2F");
        let request = Request {
            method: http::Method::POST,
            path: format!("/authn-iam/{service}/prod/{login}/authenticate"),
            query: String::new(),
            headers: http::HeaderMap::new(),
            body: bytes::Bytes::copy_from_slice(body.as_bytes()),
            peer: ([127, 0, 0, 1], 40_000).into(),
        };
        self.conjur.reply(&request).status().as_u16()
    }
}

fn caller() -> Caller {
    Caller::new("imprint-rotator/0", "test", &RunId::draw(Second::from_unix(0)))
}

fn held(keys: &Keys) -> Credentials {
    Credentials {
        access_key_id: keys.access_key.clone(),
        secret_access_key: Zeroizing::new(keys.secret.clone()),
        session_token: keys.session_token.clone().map(Zeroizing::new),
        expires_at: None,
    }
}

fn block_on<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

#[test]
fn conjur_takes_the_role_that_signed() {
    let lab = Lab::new();
    let check = |sts: Option<&str>, host: &str| {
        let sts = sts.map(|text| text.parse::<Sts>().unwrap());
        let proof = lab.proof(sts.as_ref());
        let headers: BTreeMap<String, String> = serde_json::from_str(&proof).unwrap();
        let names: Vec<&str> = headers.keys().map(String::as_str).collect();
        let five = ["authorization", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];
        assert_eq!(names, five);
        assert_eq!(headers["host"], host);
        // SHA-256 of nothing.
        let nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(headers["x-amz-content-sha256"], nothing);
        assert!(
            headers["authorization"]
                .contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,")
        );
        let arn = format!("arn:aws:sts::{ACCOUNT}:assumed-role/rotator/a-run");
        assert_eq!(caller_identity(&lab.credentials, QUERY, &headers).map(|who| who.arn), Ok(arn));
        assert_eq!(lab.status("prod", LOGIN, &proof), 200, "{host}");
    };
    check(None, "sts.eu-west-1.amazonaws.com");
    check(Some("eu-central-1"), "sts.eu-central-1.amazonaws.com");
    check(Some("us-gov-west-1"), "sts.us-gov-west-1.amazonaws.com");
    check(Some("global"), "sts.amazonaws.com");
}

#[test]
fn whatever_deviates_is_refused() {
    let lab = Lab::new();
    let good = lab.proof(None);
    let host = "sts.eu-west-1.amazonaws.com";
    assert_eq!(lab.status("prod", LOGIN, &lab.signed(host, |_| ())), 200, "the forger's own way is good");
    let check = |body: String| assert_eq!(lab.status("prod", LOGIN, &body), 401, "{body}");

    // What was signed is another question.
    let other = format!("https://{host}/?Action=GetSessionToken&Version=2011-06-15");
    check(lab.signed_at(host, &other, |_| ()));
    let more = format!("https://{host}/?{QUERY}&DurationSeconds=900");
    check(lab.signed_at(host, &more, |_| ()));
    let path = format!("https://{host}/x?{QUERY}");
    check(lab.signed_at(host, &path, |_| ()));
    check(lab.signed(host, |r| r.method = "POST"));
    check(lab.signed(host, |r| r.body = b"x"));
    check(lab.signed(host, |r| r.service = "s3"));
    // One header too many, or too few.
    check(lab.signed(host, |r| r.headers = &[("x-amz-target", "x")]));
    check(lab.signed(host, |r| r.headers = &[("accept", "application/json")]));
    check(lab.signed(host, |r| r.tells_digest = false));
    for name in ["authorization", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"] {
        let mut headers: BTreeMap<String, String> = serde_json::from_str(&good).unwrap();
        headers.remove(name);
        check(serde_json::to_string(&headers).unwrap());
    }
    // The region is the host's.
    check(lab.signed(host, |r| r.region = "us-east-1"));
    check(lab.signed("sts.amazonaws.com", |_| ()));
    check(lab.signed("sts.cn-north-1.amazonaws.com.cn", |r| r.region = "cn-north-1"));
    check(lab.signed("sts.us-iso-east-1.amazonaws.com", |r| r.region = "us-iso-east-1"));
    check(lab.signed("sts.eu-west-1.example.org", |_| ()));
    // Somebody changed it on the way.
    let mut headers: BTreeMap<String, String> = serde_json::from_str(&good).unwrap();
    let signature = headers.get_mut("authorization").unwrap();
    let last = signature.pop().unwrap();
    signature.push(if last == '0' { '1' } else { '0' });
    check(serde_json::to_string(&headers).unwrap());
    check(good.replace(host, "sts.eu-west-2.amazonaws.com"));
    for nothing in ["", "{}", "[]", "null", "{\"host\":1}", "\u{0}"] {
        check(nothing.to_owned());
    }
}

#[test]
fn who_may_and_for_how_long() {
    let lab = Lab::new();
    let good = lab.proof(None);
    let check = |service: &str, login: &str, status: u16| {
        assert_eq!(lab.status(service, login, &good), status, "{service} {login}");
    };
    check("prod", LOGIN, 200);
    check("prod", "host/imprint/rotator/123456789012/other", 401);
    check("prod", "host/imprint/rotator/210987654321/rotator", 401);
    check("prod", "host/forbidden/123456789012/rotator", 403);
    check("prod", "host/nobody/123456789012/rotator", 401);
    check("other", LOGIN, 401);

    // A second use within its time is taken: the proof is a secret.
    check("prod", LOGIN, 200);
    lab.time.advance(jiff::SignedDuration::from_mins(14));
    check("prod", LOGIN, 200);
    lab.time.advance(jiff::SignedDuration::from_mins(2));
    check("prod", LOGIN, 401);
    lab.time.advance(jiff::SignedDuration::from_mins(-32));
    check("prod", LOGIN, 401);
    lab.time.advance(jiff::SignedDuration::from_mins(16));
    check("prod", LOGIN, 200);
    lab.credentials.forget(&lab.keys.access_key);
    check("prod", LOGIN, 401);

    let lab = Lab::new();
    lab.conjur.configure(|settings| settings.authenticators.clear());
    assert_eq!(lab.status("prod", LOGIN, &lab.proof(None)), 401, "it is not enabled");
}

#[test]
fn a_clock_that_aws_corrected_signs() {
    let lab = Lab::new();
    let hour = Duration::from_secs(3600);
    lab.time.advance(jiff::SignedDuration::from_hours(1));
    let clock = Clock::default();
    let corrected = Clock::default();
    block_on(async { corrected.learn("kms:Decrypt", Second::now(), Second::now().plus(hour)) });
    let mut aws = block_on(lab.aws(&lab.keys, "eu-west-1"));
    lab.credentials.forget(&lab.keys.access_key);
    let keys = lab.credentials.session("rotator", "x", jiff::SignedDuration::from_hours(1));
    aws.hold(&held(&keys));
    let mut check = |clock: &Clock, status: u16| {
        aws.clock = clock.clone();
        let proof = block_on(aws.role_proof(None)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(lab.status("prod", LOGIN, std::str::from_utf8(proof.expose()).unwrap()), status);
    };
    check(&clock, 401);
    check(&corrected, 200);
}

#[test]
fn what_is_refused_here_before_anybody_is_asked() {
    let lab = Lab::new();
    let check = |keys: &Keys, region: &str, class: Class, say: &str| {
        let proof = block_on(async { lab.aws(keys, region).await.role_proof(None).await });
        let error = proof.err().expect("refused");
        let words = crate::error::chain(&error);
        assert!(words.contains(say) && error.class() == class && error.hint().is_some(), "{words}");
        assert!(!words.contains(&keys.secret), "{words}");
    };
    check(&lab.credentials.user("rotator"), "eu-west-1", Class::Config, "long-lived keys");
    check(&lab.keys, "cn-north-1", Class::Config, "no STS can be named for cn-north-1: must be \"global\"");
    check(&lab.keys, "us-iso-east-1", Class::Config, "us-iso-east-1");

    let aws = block_on(Aws::on_instance("eu-west-1", &Trust::Public, &caller(), &Clock::default())).unwrap();
    let error = block_on(aws.role_proof(None)).err().expect("refused");
    assert!(error.class() == Class::Transient && error.to_string().contains("no AWS credentials"), "{error}");
}

#[test]
fn which_sts_there_are() {
    let check = |text: &str, ok: bool| {
        let sts = text.parse::<Sts>();
        assert_eq!(sts.is_ok(), ok, "{text:?}");
        assert!(sts.is_err() || sts.unwrap().to_string() == text);
    };
    for good in ["global", "eu-west-1", "us-gov-east-1", "ap-southeast-4", "me-south-1", "mx-central-1"] {
        check(good, true);
    }
    for bad in [
        "",
        "-",
        "eu",
        "eu-west",
        "eu-west-1a",
        "eu-west-12",
        "EU-west-1",
        "cn-north-1",
        "us-iso-east-1",
        "us-isob-east-1",
        "eusc-de-east-1",
        "eu--1",
        "eu-gov-1-2-3",
        "sts.eu-west-1",
        "eu-west-1\n",
        "eu-west-x",
        "eu-west/-1",
        "Global",
        "eu-gov--1",
    ] {
        check(bad, false);
    }
}

//! S3: what a rotator and an agent must be able to tell apart.

use crate::client::{Call, Reply};
use imprint_stack::aws::{Credentials, Keys, Policy};
use imprint_stack::clock::Clock;
use imprint_stack::fault::Fault;
use imprint_stack::s3::{S3, failure};
use imprint_stack::server::Server;
use jiff::SignedDuration;

const ACCOUNT: &str = "123456789012";
const KEY: &str = "/tokens/factories/demo/web/token.json";

struct Bench {
    s3: Server<S3>,
    clock: Clock,
    credentials: Credentials,
    /// May do everything.
    root: Keys,
    /// May read web's token, and no list.
    web: Keys,
}

fn bench() -> Bench {
    let clock = Clock::new();
    let credentials = Credentials::new(ACCOUNT, clock.clone());
    credentials.set_policy("root", Policy::everything());
    let web = Policy::none().allow(&["s3:GetObject"], "arn:aws:s3:::tokens/factories/demo/web/token.json");
    credentials.set_policy("web", web);
    let s3 = S3::new(credentials.clone());
    s3.add_bucket("tokens", ACCOUNT);
    let root = credentials.user("root");
    let web = credentials.session("web", "i-0123456789abcdef0", SignedDuration::from_hours(6));
    Bench { s3: Server::start(s3), clock, credentials, root, web }
}

impl Bench {
    fn call(&self, method: &'static str, path: &str) -> Call {
        Call::new(self.s3.port(), method, path)
    }

    fn send(&self, call: Call, keys: &Keys) -> Reply {
        call.sign(keys, "eu-west-1", "s3", self.clock.now()).send()
    }

    fn put(&self, body: &str, header: (&str, &str)) -> Reply {
        self.send(self.call("PUT", KEY).header(header.0, header.1).body(body), &self.root)
    }
}

fn check(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(reply.body.contains(&format!("<Code>{code}</Code>")), "{reply:?}");
}

const PLAIN: (&str, &str) = ("content-type", "application/json");

#[test]
fn an_object_comes_back_as_it_was_put() {
    let bench = bench();
    let put = bench.put("hello", ("content-type", "application/json"));
    assert_eq!(put.status, 200, "{put:?}");
    // The MD5 of "hello", in quotes.
    let etag = "\"5d41402abc4b2a76b9719d911017c592\"";
    assert_eq!(put.headers["etag"], etag);
    let get = bench.send(bench.call("GET", KEY), &bench.web);
    assert_eq!((get.status, &*get.body), (200, "hello"));
    assert_eq!((&*get.headers["etag"], &*get.headers["content-type"]), (etag, "application/json"));
    assert_eq!(get.headers["x-amz-version-id"], put.headers["x-amz-version-id"]);
    let head = bench.send(bench.call("HEAD", KEY), &bench.root);
    assert_eq!((head.status, &*head.headers["content-length"], &*head.body), (200, "5", ""));
    let part = bench.send(bench.call("GET", KEY).header("range", "bytes=1-2"), &bench.root);
    assert_eq!((part.status, &*part.body, &*part.headers["content-range"]), (206, "el", "bytes 1-2/5"));
    let log = bench.s3.log();
    let names: Vec<&str> = log.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["s3:PutObject", "s3:GetObject", "s3:HeadObject", "s3:GetObject"]);
}

#[test]
fn conditional_puts_answer_as_s3_does() {
    let bench = bench();
    check(&bench.put("x", ("if-match", "\"5d41402abc4b2a76b9719d911017c592\"")), 404, "NoSuchKey");
    let first = bench.put("one", ("if-none-match", "*"));
    assert_eq!(first.status, 200, "{first:?}");
    check(&bench.put("two", ("if-none-match", "*")), 412, "PreconditionFailed");
    check(&bench.put("two", ("if-match", "\"5d41402abc4b2a76b9719d911017c592\"")), 412, "PreconditionFailed");
    check(&bench.put("two", ("if-none-match", "\"x\"")), 501, "NotImplemented");
    assert_eq!(bench.s3.service().object("tokens", &KEY[8..]).unwrap(), "one");
    assert_eq!(bench.put("two", ("if-match", &first.headers["etag"])).status, 200);
    check(&bench.put("three", ("if-match", &first.headers["etag"])), 412, "PreconditionFailed");
    bench.s3.service().delete_raw("tokens", &KEY[8..]);
    check(&bench.put("three", ("if-match", &first.headers["etag"])), 404, "NoSuchKey");
    assert_eq!(bench.put("three", ("if-none-match", "*")).status, 200);
    bench.s3.inject(Fault::on("s3:PutObject", failure("ConditionalRequestConflict")));
    check(&bench.put("four", PLAIN), 409, "ConditionalRequestConflict");
}

#[test]
fn reads_may_be_conditional() {
    let bench = bench();
    let etag = bench.put("one", PLAIN).headers["etag"].clone();
    let get = |name, value: &str| bench.send(bench.call("GET", KEY).header(name, value), &bench.root);
    assert_eq!(get("if-none-match", &etag).status, 304);
    assert_eq!(get("if-none-match", "\"other\"").body, "one");
    assert_eq!(get("if-match", &etag).body, "one");
    check(&get("if-match", "\"other\""), 412, "PreconditionFailed");
}

#[test]
fn an_absent_key_is_403_for_who_may_not_list() {
    let bench = bench();
    check(&bench.send(bench.call("GET", KEY), &bench.root), 404, "NoSuchKey");
    check(&bench.send(bench.call("GET", KEY), &bench.web), 403, "AccessDenied");
    assert_eq!(bench.send(bench.call("HEAD", KEY), &bench.root).status, 404);
    assert_eq!(bench.send(bench.call("HEAD", KEY), &bench.web).status, 403);
    check(&bench.send(bench.call("GET", "/other/key"), &bench.root), 404, "NoSuchBucket");
}

#[test]
fn a_role_gets_what_its_policy_allows() {
    let bench = bench();
    let s3 = bench.s3.service();
    s3.put_raw("tokens", "factories/demo/db/token.json", "db's");
    s3.put_raw("tokens", "factories/demo/web/token.json", "web's");
    let db = bench.call("GET", "/tokens/factories/demo/db/token.json");
    check(&bench.send(db.clone(), &bench.web), 403, "AccessDenied");
    assert_eq!(bench.send(bench.call("GET", KEY), &bench.web).body, "web's");
    check(&bench.send(bench.call("PUT", KEY).body("mine"), &bench.web), 403, "AccessDenied");
    check(&bench.send(bench.call("DELETE", KEY), &bench.web), 403, "AccessDenied");
    assert_eq!(s3.object("tokens", "factories/demo/web/token.json").unwrap(), "web's");
    // To put with If-Match is to read.
    let blind = Policy::none().allow(&["s3:PutObject"], "arn:aws:s3:::tokens/*");
    bench.credentials.set_policy("web", blind);
    assert_eq!(bench.send(bench.call("PUT", KEY).body("mine"), &bench.web).status, 200);
    let matched = bench.call("PUT", KEY).header("if-match", "\"x\"").body("mine");
    check(&bench.send(matched, &bench.web), 403, "AccessDenied");
    // What a policy says changes for sessions already given out.
    bench.credentials.set_policy("web", Policy::everything());
    assert_eq!(bench.send(db, &bench.web).body, "db's");
}

#[test]
fn the_owner_of_a_bucket_may_be_asked_for() {
    let bench = bench();
    bench.put("one", PLAIN);
    for method in ["GET", "PUT", "DELETE"] {
        let call = bench.call(method, KEY).header("x-amz-expected-bucket-owner", "999999999999");
        check(&bench.send(call, &bench.root), 403, "AccessDenied");
    }
    let call = bench.call("GET", KEY).header("x-amz-expected-bucket-owner", ACCOUNT);
    assert_eq!(bench.send(call, &bench.root).body, "one");
}

#[test]
fn only_signed_requests_of_living_keys_in_time_are_served() {
    let bench = bench();
    bench.s3.service().put_raw("tokens", "factories/demo/web/token.json", "web's");
    let get = || bench.call("GET", KEY);
    let signed = |keys: &Keys| get().sign(keys, "eu-west-1", "s3", bench.clock.now());
    check(&get().send(), 403, "AccessDenied");
    check(
        &signed(&Keys { secret: "wrong".to_owned(), ..bench.web.clone() }).send(),
        403,
        "SignatureDoesNotMatch",
    );
    check(
        &signed(&Keys { access_key: "AKIAX".to_owned(), ..bench.web.clone() }).send(),
        403,
        "InvalidAccessKeyId",
    );
    check(&signed(&Keys { session_token: None, ..bench.web.clone() }).send(), 400, "InvalidToken");
    check(&signed(&bench.web).header("x-amz-date", "20260101T000000Z").send(), 403, "SignatureDoesNotMatch");
    let mut call = signed(&bench.root);
    call.method = "DELETE";
    check(&call.send(), 403, "SignatureDoesNotMatch");
    let mut call = bench.call("PUT", KEY).body("a").sign(&bench.root, "eu-west-1", "s3", bench.clock.now());
    call.body = b"b".to_vec();
    let tampered = call.send();
    assert_eq!(tampered.status / 100, 4, "{tampered:?}");
    assert_eq!(bench.s3.service().object("tokens", &KEY[8..]).unwrap(), "web's");
    assert_eq!(signed(&bench.web).send().body, "web's");
    // A clock that is wrong by more than a quarter of an hour; the reply says the right time.
    let early = signed(&bench.web);
    bench.clock.advance(SignedDuration::from_mins(16));
    let late = early.send();
    check(&late, 403, "RequestTimeTooSkewed");
    let date = jiff::fmt::rfc2822::parse(&late.headers["date"]).unwrap().timestamp();
    assert!(date.duration_since(bench.clock.now()).abs() < SignedDuration::from_mins(1));
    assert_eq!(signed(&bench.web).send().status, 200);
    bench.clock.advance(SignedDuration::from_hours(6));
    check(&signed(&bench.web).send(), 400, "ExpiredToken");
}

#[test]
fn old_versions_stay_and_can_be_restored() {
    let bench = bench();
    let key = &KEY[8..];
    let s3 = bench.s3.service();
    let one = bench.put("one", PLAIN).headers["x-amz-version-id"].clone();
    bench.put("two", PLAIN);
    assert_eq!(bench.send(bench.call("DELETE", KEY), &bench.root).status, 204);
    assert_eq!(s3.object("tokens", key), None);
    assert!(s3.keys("tokens").is_empty());
    let old = bench.send(bench.call("GET", &format!("{KEY}?versionId={one}")), &bench.root);
    assert_eq!(old.body, "one");
    assert!(s3.restore("tokens", key, &one) && !s3.restore("tokens", key, "none"));
    assert_eq!(bench.send(bench.call("GET", KEY), &bench.root).body, "one");
    let bodies: Vec<_> = s3.versions("tokens", key).into_iter().map(|v| v.body).collect();
    let want = [Some("one"), Some("two"), None, Some("one")];
    assert_eq!(bodies, want.map(|b| b.map(bytes::Bytes::from)));
    assert_eq!(s3.keys("tokens"), [key]);
}

#[test]
fn checksums_are_checked_kept_and_given_back() {
    let bench = bench();
    // CRC-32 of "hello" is 0x3610a686.
    let good = bench.put("hello", ("x-amz-checksum-crc32", "NhCmhg=="));
    assert_eq!(good.headers["x-amz-checksum-crc32"], "NhCmhg==");
    check(&bench.put("jello", ("x-amz-checksum-crc32", "NhCmhg==")), 400, "BadDigest");
    let asked = bench.call("GET", KEY).header("x-amz-checksum-mode", "ENABLED");
    assert_eq!(bench.send(asked, &bench.web).headers["x-amz-checksum-crc32"], "NhCmhg==");
    let unasked = bench.send(bench.call("GET", KEY), &bench.web);
    assert!(!unasked.headers.contains_key("x-amz-checksum-crc32"));
}

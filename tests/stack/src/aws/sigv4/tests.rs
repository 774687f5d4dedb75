use super::*;
use crate::aws::{Keys, Policy};
use crate::clock::Clock;
use bytes::Bytes;

/// The example of AWS's own documentation: ListUsers, on 30 August 2015.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
    SignedHeaders=content-type;host;x-amz-date, \
    Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";

fn example() -> Request {
    let mut headers = http::HeaderMap::new();
    for (name, value) in [
        ("host", "iam.amazonaws.com"),
        ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("x-amz-date", "20150830T123600Z"),
        ("authorization", AUTHORIZATION),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    Request {
        method: http::Method::GET,
        path: "/".to_owned(),
        query: "Version=2010-05-08&Action=ListUsers".to_owned(),
        headers,
        body: Bytes::new(),
        peer: ([127, 0, 0, 1], 1).into(),
    }
}

/// What comes of the example after this change, at this time.
fn verdict(at: &str, change: impl FnOnce(&mut Request)) -> Result<String, Refusal> {
    let clock = Clock::new();
    let at: Timestamp = at.parse().unwrap();
    clock.advance(at.duration_since(clock.now()));
    let credentials = Credentials::new("123456789012", clock);
    credentials.set_policy("lister", Policy::none());
    credentials.add(
        "lister",
        Keys {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: None,
            expires: None,
        },
    );
    let mut request = example();
    change(&mut request);
    verify(&request, &credentials, "us-east-1", "iam", WINDOW).map(|c| c.arn)
}

const THEN: &str = "2015-08-30T12:36:00Z";

#[test]
fn the_documented_example_is_accepted() {
    let arn = "arn:aws:iam::123456789012:user/lister".to_owned();
    assert_eq!(verdict(THEN, |_| ()), Ok(arn.clone()));
    assert_eq!(verdict("2015-08-30T12:40:59Z", |_| ()), Ok(arn.clone()));
    assert_eq!(verdict("2015-08-30T12:31:01Z", |_| ()), Ok(arn));
}

fn set(name: &'static str, value: &str) -> impl FnOnce(&mut Request) {
    move |r| drop(r.headers.insert(name, value.parse().unwrap()))
}

fn replaced(from: &str, to: &str) -> impl FnOnce(&mut Request) {
    let header = AUTHORIZATION.replace(from, to);
    move |r| drop(r.headers.insert("authorization", header.parse().unwrap()))
}

fn check(at: &str, change: impl FnOnce(&mut Request), says: &str) {
    let refusal = verdict(at, change).unwrap_err();
    assert!(format!("{refusal:?}").contains(says), "{refusal:?} instead of {says}");
}

#[test]
fn whatever_is_changed_is_noticed() {
    check(THEN, |r| r.body = Bytes::from_static(b"x"), "does not match the signature");
    check(THEN, |r| r.method = http::Method::POST, "does not match the signature");
    check(THEN, |r| r.path = "/x".to_owned(), "does not match the signature");
    check(THEN, |r| r.query.push_str("&x=1"), "does not match the signature");
    check(THEN, set("host", "kms.amazonaws.com"), "does not match the signature");
    check(THEN, set("x-amz-date", "20150830T123601Z"), "does not match the signature");
    check(THEN, replaced("5d672d79", "5d672d78"), "does not match the signature");
    check(THEN, set("x-amz-target", "x"), "'x-amz-target' must be a 'SignedHeader'");
    check(THEN, replaced("host;", ""), "'Host'");
}

#[test]
fn scope_keys_and_time_are_checked() {
    check(THEN, replaced("us-east-1", "eu-west-1"), "valid region, not 'eu-west-1'");
    check(THEN, replaced("/iam/", "/kms/"), "correct service: 'iam'");
    check(THEN, replaced("/20150830/", "/20150829/"), "does not match YYYYMMDD");
    check(THEN, replaced("AKIDEXAMPLE", "AKIDOTHER"), "Keys(Key)");
    check(THEN, set("x-amz-security-token", "x"), "Keys(Token)");
    check(
        "2015-08-30T12:41:01Z",
        |_| (),
        "Signature expired: 20150830T123600Z is now earlier than 20150830T123601Z (20150830T124101Z - 5 min.)",
    );
    check("2015-08-30T12:30:59Z", |_| (), "Signature not yet current: 20150830T123600Z is still later than");
}

#[test]
fn what_is_missing_is_named() {
    let gone = |name: &'static str| move |r: &mut Request| drop(r.headers.remove(name));
    check(THEN, gone("authorization"), "Missing");
    check(THEN, gone("x-amz-date"), "X-Amz-Date");
    check(THEN, set("authorization", "Bearer x"), "not AWS4-HMAC-SHA256");
    check(THEN, replaced("Signature=", "Sig="), "requires 'Signature' parameter");
    check(THEN, replaced("/aws4_request", ""), "exactly 5");
    check(THEN, set("x-amz-date", "20150830"), "ISO-8601");
}

use super::*;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

/// A metadata service that gives these answers in turn, one connection each, and tells what was asked.
fn serve(answers: Vec<&'static str>) -> (Imds, Receiver<String>) {
    serve_at("127.0.0.1:0", answers)
}

fn serve_at(address: &str, answers: Vec<&'static str>) -> (Imds, Receiver<String>) {
    let listener = TcpListener::bind(address).unwrap();
    let endpoint: Endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (to, asked) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
            let _gone = to.send(head);
            // One connection each, said so: else the client would take it for the next request.
            let answer = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            let _gone = stream.write_all(answer.as_bytes());
            let _gone = stream.shutdown(std::net::Shutdown::Write);
            let _rest = stream.read(&mut [0; 64]);
        }
    });
    (Imds::new(&endpoint).unwrap(), asked)
}

fn block_on<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(story)
}

const DOCUMENT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 118\r\n\r\n{\"accountId\":\"123456789012\",\"instanceId\":\"i-0123456789abcdef0\",\"privateIp\":\"10.0.0.5\",\"region\":\"eu-west-1\",\"x\":\"yyyy\"}";
const SESSION: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nSESSION=";
const OTHER_SESSION: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nSECOND";
const EXPIRED: &str = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
const ABSENT: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n";
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
const ROLE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nweb";
const TAG: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nblue";
const MOVED: &str = "HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/\r\nContent-Length: 0\r\n\r\n";

#[test]
fn version_two_in_as_few_requests_as_can_be() {
    let (imds, asked) = serve(vec![SESSION, DOCUMENT, TAG, ABSENT]);
    let needs = Needs { hostname: false, tags: ["Name".to_owned(), "Role".to_owned()].into() };
    let facts = block_on(imds.facts(&needs)).unwrap();
    assert_eq!(facts.instance_id.as_str(), "i-0123456789abcdef0");
    assert_eq!(facts.tags, [("Name".to_owned(), "blue".to_owned())].into());
    let asked: Vec<String> = asked.iter().collect();
    assert!(asked[0].starts_with("PUT /latest/api/token HTTP/1.1\r\n"), "{}", asked[0]);
    assert!(asked[0].to_lowercase().contains("x-aws-ec2-metadata-token-ttl-seconds: 21600\r\n"));
    for (at, path) in [(1, "dynamic/instance-identity/document"), (2, "meta-data/tags/instance/Name")] {
        assert!(asked[at].starts_with(&format!("GET /latest/{path} HTTP/1.1\r\n")), "{}", asked[at]);
        assert!(asked[at].to_lowercase().contains("x-aws-ec2-metadata-token: session=\r\n"), "{}", asked[at]);
    }
}

#[test]
fn a_session_that_is_not_known_any_more_is_opened_once_more() {
    let (imds, asked) = serve(vec![SESSION, ROLE, EXPIRED, OTHER_SESSION, FORBIDDEN]);
    let error = block_on(imds.credentials()).err().unwrap();
    assert!(
        error.to_string().contains("answers 403 for /latest/meta-data/iam/security-credentials/web"),
        "{error}"
    );
    let asked: Vec<String> = asked.iter().collect();
    assert!(asked[4].to_lowercase().contains("x-aws-ec2-metadata-token: second\r\n"), "{}", asked[4]);
}

#[test]
fn answers_that_are_no_facts() {
    let check = |answers: Vec<&'static str>, say: &str, class: Class, passes: bool| {
        let (imds, _) = serve(answers);
        let error = match block_on(imds.facts(&Needs::default())) {
            Err(error) => error,
            Ok(facts) => panic!("{facts:?}, not {say}"),
        };
        assert!(error.to_string().contains(say), "{error} should say {say:?}");
        assert_eq!((error.class(), error.may_pass()), (class, passes), "{error}");
        assert!(!imprint_core::error::chain(&error).contains("SESSION"));
    };
    check(vec![FORBIDDEN], "refuses to give a session", Class::Config, false);
    check(vec![BUSY], "answers 503 for /latest/api/token", Class::Transient, true);
    check(vec![EXPIRED], "answers 401 for /latest/api/token", Class::Transient, true);
    check(vec![SESSION, ABSENT], "answers 404 for /latest/dynamic", Class::Transient, true);
    check(vec![SESSION, EXPIRED], "answers 401", Class::Transient, true);
    check(vec![SESSION, MOVED], "answers 302", Class::Protocol, false);
    check(vec![SESSION, ROLE], "is not an identity document", Class::Protocol, false);
    check(
        vec!["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\nb"],
        "is not one line",
        Class::Protocol,
        false,
    );
    check(
        vec!["HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nhalf"],
        "does not answer",
        Class::Transient,
        true,
    );
    check(vec!["garbage\r\n\r\n"], "does not answer", Class::Transient, true);
    let huge: &'static str = format!("HTTP/1.1 200 OK\r\n\r\n{}", "a".repeat(LARGEST + 1)).leak();
    check(vec![huge], "has more than 64 KiB", Class::Protocol, false);
}

#[test]
fn an_instance_without_a_role() {
    for answers in [vec![SESSION, ABSENT], vec![SESSION, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]] {
        let (imds, _) = serve(answers);
        let error = block_on(imds.credentials()).err().unwrap();
        assert!(matches!(error, Error::NoRole) && error.may_pass());
        assert_eq!((error.class(), error.hint().is_some()), (Class::Config, true));
    }
}

#[test]
fn over_ipv6() {
    let (imds, asked) = serve_at("[::1]:0", vec![SESSION, DOCUMENT]);
    assert!(imds.endpoint.as_str().starts_with("http://[::1]:"));
    assert_eq!(block_on(imds.facts(&Needs::default())).unwrap().instance_id.as_str(), "i-0123456789abcdef0");
    assert!(asked.iter().all(|head| head.to_lowercase().contains("host: [::1]:")));
}

#[test]
fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint: Endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let error = block_on(Imds::new(&endpoint).unwrap().facts(&Needs::default())).unwrap_err();
    assert!(error.may_pass() && error.hint().is_some_and(|hint| hint.contains("a route to it")), "{error}");
    assert_eq!(error.class(), Class::Transient);
}

/// A service whose answers never arrive, as seen from `root`; with what was asked in the end.
fn silent(root: &Path) -> (Error, usize) {
    // The kernel completes the connections of a listener that nobody asks.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint: Endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let imds = Imds::in_root(&endpoint, root).unwrap();
    let error = runtime.block_on(imds.facts(&Needs::default())).unwrap_err();
    listener.set_nonblocking(true).unwrap();
    (error, std::iter::from_fn(|| listener.accept().ok()).count())
}

#[test]
fn a_service_that_takes_the_connection_and_does_not_answer() {
    let root = tempfile::tempdir().unwrap();
    let (error, _) = silent(root.path());
    assert!(matches!(error, Error::HopLimit { contained: false, .. }), "{error:?}");
    assert_eq!((error.class(), error.may_pass()), (Class::Transient, true));

    // In a container there is no doubt, and nothing to wait for.
    std::fs::write(root.path().join(".dockerenv"), "").unwrap();
    let (error, asked) = silent(root.path());
    assert!(matches!(error, Error::HopLimit { contained: true, .. }), "{error:?}");
    assert_eq!((error.class(), error.may_pass(), asked), (Class::Config, false, 2));
    assert!(error.to_string().contains("hop limit"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("HttpPutResponseHopLimit")));
}

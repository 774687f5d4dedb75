//! The rotator as a Lambda function that serves several invocations in one process: how often it logs in,
//! and what becomes of its configuration when that lies in S3. Lambda's runtime interface is played here,
//! so that it is the stack's servers that are asked.

use crate::{Place, no_secret, programs, site};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

/// A process that waits for its next invocation.
struct Warm {
    interface: TcpListener,
    process: Child,
    arn: String,
}

impl Warm {
    fn start(site: &Place, config: &str) -> Self {
        let interface = TcpListener::bind("127.0.0.1:0").unwrap();
        let log = std::fs::File::create(site.folder().join("function.log")).unwrap();
        let process = Command::new(programs().rotator)
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", interface.local_addr().unwrap().to_string())
            .env("AWS_LAMBDA_FUNCTION_NAME", "rotator")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "warm")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "warm")
            .env("IMPRINT_ROTATOR_CONFIG", config)
            .env("IMPRINT_ROTATOR_API_KEY", site.stack.rotator_login().1)
            .envs(site.stack.environment(Some(&site.stack.session("rotator"))))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let arn = format!("arn:aws:lambda:eu-west-1:{}:function:rotator", site.stack.options().aws_account);
        Self { interface, process, arn }
    }

    /// One invocation: the reply, or Lambda's error.
    fn invoke(&self, event: &Value) -> Result<Value, Value> {
        let (mut poll, head, _) = self.next();
        assert!(head.starts_with("GET /2018-06-01/runtime/invocation/next "), "{head}");
        let (id, body) = ("8476a536-e9f4-11e8-9739-2dfe598c3fcd", event.to_string());
        let end = SystemTime::UNIX_EPOCH.elapsed().unwrap() + Duration::from_secs(300);
        let reply = format!(
            "HTTP/1.1 200 OK\r\nLambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Deadline-Ms: {}\r\n\
             Lambda-Runtime-Invoked-Function-Arn: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            end.as_millis(),
            self.arn,
            body.len()
        );
        poll.write_all(reply.as_bytes()).unwrap();
        drop(poll);
        let (mut answer, head, body) = self.next();
        answer.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
        let said: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {head}{body}"));
        let path = head.split(' ').nth(1).unwrap();
        if path.ends_with("/response") { Ok(said) } else { Err(said) }
    }

    /// The next request, whole.
    fn next(&self) -> (TcpStream, String, String) {
        let (mut from, _) = self.interface.accept().unwrap();
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.to_lowercase();
                let length = length.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                let whole = match length {
                    Some(length) => body.len() >= length.trim().parse().unwrap(),
                    None => !head.to_lowercase().contains("chunked") || body.ends_with("0\r\n\r\n"),
                };
                if whole {
                    assert!(length.is_some() || body.is_empty(), "a body of a length that is told: {head}");
                    return (from, head.to_owned(), body.to_owned());
                }
            }
            let read = from.read(&mut part).unwrap();
            assert!(read > 0, "the request ends early: {text}");
            bytes.extend_from_slice(&part[..read]);
        }
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _status = self.process.wait();
    }
}

fn results(report: &Value) -> Vec<(&str, &str)> {
    let rows = report["factories"].as_array().unwrap_or_else(|| panic!("no outcomes: {report}"));
    rows.iter().map(|row| (row["factory"].as_str().unwrap(), row["result"].as_str().unwrap())).collect()
}

fn log(site: &Place) -> String {
    let log = std::fs::read_to_string(site.folder().join("function.log")).unwrap();
    no_secret(site, &[&log]);
    log
}

#[test]
fn a_warm_function_logs_in_once_until_conjur_says_no() {
    let site = site();
    let warm = Warm::start(&site, site.folder().join("rotator.toml").to_str().unwrap());
    let conjur = &site.stack.conjur;
    for (invocation, result) in [(1, "rotated"), (2, "kept"), (3, "kept")] {
        let report = warm.invoke(&json!({})).unwrap();
        assert_eq!(results(&report), [("web/factory", result), ("db/factory", result)], "{invocation}");
        assert_eq!(conjur.count("authenticate"), 1, "after invocation {invocation}: {}", log(&site));
    }
    // To Conjur the token is over, whatever the function's own clock says.
    conjur.service().advance(Duration::from_secs(481));
    let report = warm.invoke(&json!({})).unwrap();
    assert_eq!(results(&report), [("web/factory", "kept"), ("db/factory", "kept")]);
    assert_eq!(conjur.count("authenticate"), 2);
    let _report = warm.invoke(&json!({})).unwrap();
    assert_eq!(conjur.count("authenticate"), 2);
    assert!(log(&site).contains("logging in once more"));
}

fn put(site: &Place, name: &str, text: &str) {
    let bucket = &site.stack.options().bucket;
    let _version =
        site.stack.s3.service().put_raw(bucket, &format!("config/{name}"), text.as_bytes().to_vec());
}

/// The site's configuration as objects.
fn in_s3(site: &Place) -> String {
    let ca = format!("{:?}", site.ca_file());
    let lines = site.rotator_config().replace(&ca, "\"ca.pem\"");
    lines.lines().filter(|line| !line.starts_with("api_key_file")).map(|line| format!("{line}\n")).collect()
}

const PLACE: &str = "s3://imprint-tokens/config/rotator.toml";

#[test]
fn a_configuration_in_s3_is_read_anew_and_serves_until_it_changes() {
    let site = site();
    put(&site, "rotator.toml", &in_s3(&site));
    put(&site, "ca.pem", &site.stack.ca.pem());
    let mut warm = Warm::start(&site, PLACE);
    let both = |result| [("web/factory", result), ("db/factory", result)];
    assert_eq!(results(&warm.invoke(&json!({})).unwrap()), both("rotated"));
    site.stack.clear_logs();
    assert_eq!(results(&warm.invoke(&json!({})).unwrap()), both("kept"));
    let paths = site.stack.s3.log().into_iter().map(|logged| logged.path);
    let paths: Vec<_> = paths.filter(|path| path.contains("/config/")).collect();
    assert_eq!(paths, ["/imprint-tokens/config/rotator.toml", "/imprint-tokens/config/ca.pem"]);
    assert_eq!(site.stack.conjur.count("authenticate"), 0, "the same configuration, the same login");

    // One factory less; then a fault, which is told with its line; then the old one.
    let text = in_s3(&site);
    put(&site, "rotator.toml", text.split("\n[[factory]]\nid = \"db/factory\"").next().unwrap());
    assert_eq!(results(&warm.invoke(&json!({})).unwrap()), [("web/factory", "kept")]);
    assert_eq!(site.stack.conjur.count("authenticate"), 1, "another configuration, another login");
    put(&site, "rotator.toml", &text.replace("deployment", "concurrency = 0\ndeploymint"));
    let failed = warm.invoke(&json!({})).unwrap_err();
    assert_eq!(failed["errorType"], "config", "{failed}");
    let said = failed["errorMessage"].as_str().unwrap();
    for say in [
        PLACE,
        "concurrency: must be a whole number",
        "deploymint is not a known setting",
        "deployment is missing",
    ] {
        assert!(said.contains(say), "{say}: {said}");
    }
    put(&site, "rotator.toml", &text);
    assert_eq!(results(&warm.invoke(&json!({})).unwrap()), both("kept"));
    // Another CA is another configuration too, and it is not Conjur's.
    put(&site, "ca.pem", &imprint_stack::ca::Ca::named("somebody else's CA").pem());
    assert_eq!(warm.invoke(&json!({})).unwrap_err()["errorType"], "refused");
    put(&site, "ca.pem", &site.stack.ca.pem());
    assert_eq!(results(&warm.invoke(&json!({})).unwrap()), both("kept"));
    let _nothing_secret = log(&site);

    // A function of another account: the bucket is a stranger's to it.
    warm = Warm::start(&site, PLACE);
    warm.arn = warm.arn.replace(&site.stack.options().aws_account, "999999999999");
    site.stack.conjur.clear_log();
    let failed = warm.invoke(&json!({})).unwrap_err();
    assert_eq!(failed["errorType"], "config", "{failed}");
    assert!(failed["errorMessage"].as_str().unwrap().contains("whose the bucket is"), "{failed}");
    assert_eq!(site.stack.conjur.log().len(), 0);
}

#[test]
fn a_command_takes_its_configuration_from_s3_too() {
    let site = site();
    put(&site, "rotator.toml", &in_s3(&site));
    put(&site, "ca.pem", &site.stack.ca.pem());
    let own = site.stack.options().aws_account.clone();
    let run = |arguments: &[&str], owner: &str, code: i32, say: &str| {
        let mut command = site.rotator(arguments);
        command.env("IMPRINT_ROTATOR_API_KEY", site.stack.rotator_login().1);
        command.env("IMPRINT_ROTATOR_CONFIG_OWNER", owner);
        let ran = imprint_e2e::Ran::of(&mut command).expect(code);
        no_secret(&site, &[&ran.out, &ran.err]);
        assert!(
            ran.err.contains(say) || ran.out.contains(say),
            "should say {say}:\n{}\n{}",
            ran.out,
            ran.err
        );
    };
    run(&["rotate", "--config", PLACE], &own, 0, "web/factory");
    run(&["status", "--config", PLACE, "--config-owner", &own], "999999999999", 0, "web/factory");
    run(&["status", "--config", PLACE], "999999999999", 78, "whose the bucket is");
    run(&["status", "--config", PLACE], "", 78, "nobody says which AWS account owns the bucket");
    run(
        &["status", "--config", "s3://imprint-tokens/config/none.toml"],
        &own,
        78,
        "config/none.toml cannot be read",
    );
    run(&["status", "--config", "s3://imprint-tokens"], &own, 78, "is no address of an object");

    put(&site, "rotator.toml", &in_s3(&site).replace("ca.pem", "lost.pem"));
    run(&["status", "--config", PLACE], &own, 78, "s3://imprint-tokens/config/lost.pem cannot be read");
    put(&site, "rotator.toml", "account = 1\nappliance_url = 2\n");
    run(
        &["status", "--config", PLACE],
        &own,
        78,
        "s3://imprint-tokens/config/rotator.toml: line 2: appliance_url",
    );
    put(&site, "rotator.toml", &format!("{}{}", in_s3(&site), "# \n".repeat(400_000)));
    run(&["status", "--config", PLACE], &own, 65, "it has more than 1048576 bytes");

    // A thousand factories are more than 100 KB; Conjur has two of them.
    let more = (0..1000).map(|at| {
        format!("\n[[factory]]\nid = \"applications/team-{at:04}/web\"\nhosts_branch = \"applications/team-{at:04}/hosts\"\n")
    });
    put(&site, "rotator.toml", &(in_s3(&site) + &more.collect::<String>()));
    run(&["policy", "--config", PLACE], &own, 0, "team-0999");
}

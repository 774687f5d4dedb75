//! Section K, events: what the function is sent that is no event. It says so, does nothing, tells no secret, and
//! waits for the next one.

use crate::check::with_room;
use crate::place::{Place, no_secret, site_of};
use crate::proof;
use crate::row::MARK;
use bytes::Bytes;
use imprint_stack::server::{Request, Response, Server, Service};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// Lambda's runtime interface, which gives out one event.
struct Runtime {
    event: Mutex<Option<Bytes>>,
    /// `response` or `error`, and its body.
    end: Mutex<Option<(String, String)>>,
}

impl Service for Runtime {
    async fn answer(&self, request: Request) -> Response {
        let name = self.name_of(&request);
        if name != "next" {
            let body = String::from_utf8_lossy(&request.body).into_owned();
            *self.end.lock().unwrap() = Some((name, body));
            let mut reply = Response::new(Bytes::from_static(b"{\"status\":\"OK\"}"));
            *reply.status_mut() = http::StatusCode::ACCEPTED;
            return reply;
        }
        let Some(event) = self.event.lock().unwrap().take() else { return std::future::pending().await };
        let mut reply = Response::new(event);
        for (name, value) in [
            ("lambda-runtime-aws-request-id", "11111111-2222-3333-4444-555555555555"),
            ("lambda-runtime-deadline-ms", "4000000000000"),
            ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-west-1:123456789012:function:rotator"),
            ("lambda-runtime-trace-id", "Root=1-0-0"),
        ] {
            reply.headers_mut().insert(name, value.parse().unwrap());
        }
        reply
    }

    fn name_of(&self, request: &Request) -> String {
        request.path.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

fn command(site: &Place, runtime: &Server<Runtime>) -> Command {
    let mut command = site.rotator(&[]);
    let at = runtime.url().trim_start_matches("http://").to_owned();
    for (name, value) in [
        ("AWS_LAMBDA_RUNTIME_API", at.as_str()),
        ("AWS_LAMBDA_FUNCTION_NAME", "rotator"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "x"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "x"),
    ] {
        command.env(name, value);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// One event: what was answered, after the function has asked for the next one.
fn check(event: &[u8], end: &str, say: &str) -> String {
    let site = site_of(vec!["web".to_owned()]);
    let runtime =
        Server::start(Runtime { event: Mutex::new(Some(event.to_vec().into())), end: Mutex::default() });
    let mut function = command(&site, &runtime).spawn().unwrap();
    // It lives on: its second poll is only logged once it was read whole, so its connection is counted.
    let mut ended = None;
    while ended.is_none() && function.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
        ended = runtime.service().end.lock().unwrap().clone();
    }
    let lives = function.try_wait().unwrap().is_none();
    function.kill().unwrap();
    let output = function.wait_with_output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let Some((is, body)) = ended else { return format!("it ended: {said}") };
    no_secret(&site, &[&said, &body]);
    let asked = site.stack.requests();
    let told = [MARK, LIKE_A_TOKEN].iter().any(|word| said.contains(word) || body.contains(word));
    if is != end || !body.contains(say) || !lives || told || (end == "error" && asked > 0) {
        return format!("{is}: {body}\nlives: {lives}, told: {told}, asked: {asked}\n{said}");
    }
    String::new()
}

/// As a token is, which somebody may have put into the wrong place.
const LIKE_A_TOKEN: &str = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";

#[test]
fn events_that_are_none() {
    let text = |text: &str| text.as_bytes().to_vec();
    let wrong = "the event is not understood";
    let batch = |body: &str| {
        format!(r#"{{"Records":[{{"eventSource":"aws:sqs","messageId":"m","body":{body:?}}}]}}"#).into_bytes()
    };
    let rows: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("a good one", text(r#"{"command":"rotate"}"#), "response", "rotated"),
        ("null", text("null"), "error", wrong),
        ("a list", text("[]"), "error", wrong),
        ("a number", text("7"), "error", wrong),
        ("a string", text("\"rotate\""), "error", wrong),
        ("another command", text(r#"{"command":"enroll"}"#), "error", wrong),
        ("a member that nobody knows", text(r#"{"command":"rotate","all":true}"#), "error", wrong),
        ("a command of a number", text(r#"{"command":1}"#), "error", wrong),
        ("a factory that is none", text(r#"{"factories":["web/*"]}"#), "error", wrong),
        (
            "a factory that is not configured",
            text(r#"{"factories":["other/factory"]}"#),
            "error",
            "not in the configuration",
        ),
        ("a secret for a command", text(&format!(r#"{{"command":"{LIKE_A_TOKEN}"}}"#)), "error", wrong),
        ("a batch without records", text(r#"{"Records":[]}"#), "error", wrong),
        ("a batch of another source", text(r#"{"Records":[{"eventSource":"aws:s3"}]}"#), "error", wrong),
        (
            "a batch whose body is none",
            batch(&format!("<html>{MARK}</html>")),
            "response",
            "batchItemFailures",
        ),
        ("a long text", text(&format!(r#"{{"command":"{}"}}"#, "x".repeat(900_000))), "error", wrong),
        (
            "a thousand unknown members",
            text(&format!(
                "{{{}}}",
                (0..1000).map(|n| format!("\"m{n}\":{n}")).collect::<Vec<_>>().join(",")
            )),
            "error",
            wrong,
        ),
        ("100 brackets", text(&format!("{}{}", "[".repeat(100), "]".repeat(100))), "error", wrong),
        ("no JSON", text(&format!("<html>{MARK}</html>")), "error", ""),
        ("nothing", text(""), "error", ""),
        ("half of one", text(r#"{"command":"rot"#), "error", ""),
        ("a byte order mark", text("\u{feff}{\"command\":\"rotate\"}"), "error", ""),
        ("not UTF-8", b"{\"command\":\"\xff\"}".to_vec(), "error", ""),
        ("numbers that are none", text(r#"{"now":NaN}"#), "error", ""),
        ("10,000 brackets", text(&"[".repeat(10_000)), "error", ""),
    ];
    let failed: Vec<String> = std::thread::scope(|scope| {
        let running: Vec<_> = rows
            .iter()
            .map(|(what, event, end, say)| (what, scope.spawn(move || with_room(|| check(event, end, say)))))
            .collect();
        let ended = running.into_iter().filter_map(|(what, running)| {
            let wrong = running.join().unwrap_or_else(|_| "it could not be tried".to_owned());
            proof::add("K123", wrong.is_empty());
            (!wrong.is_empty()).then(|| format!("{what}: {wrong}"))
        });
        ended.collect()
    });
    proof::write();
    assert!(failed.is_empty(), "{} of {} events:\n{}", failed.len(), rows.len(), failed.join("\n"));
}

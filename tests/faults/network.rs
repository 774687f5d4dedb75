//! Section B: connections that break, hang, drip or lead elsewhere, at every server and at each stage.

use crate::row::At::{Conjur, Imds, Kms, S3};
use crate::row::{At, Left, MARK, Row, Run, raw, row, status};
use crate::talk::{Does, Talk};
use imprint_stack::fault::{FaultKind, Then};
use std::time::Duration;

/// A request of each kind that an enrollment makes, and what else is asked again with it.
const REQUESTS: [(At, &str, &[&str]); 8] = [
    (Imds, "imds:token", &[]),
    (Imds, "imds:document", &["imds:token"]),
    (Imds, "imds:role", &["imds:token"]),
    (Imds, "imds:credentials", &["imds:token", "imds:role"]),
    (S3, "s3:GetObject", &[]),
    (Kms, "kms:Decrypt", &["s3:GetObject"]),
    (Conjur, "redeem", &[]),
    (Conjur, "authenticate", &[]),
];

pub fn rows() -> Vec<Row> {
    [breaks(), endless(), redirects(), proxies(), addresses()].into_iter().flatten().collect()
}

/// What breaks once, and what is right for it: a new connection.
fn breaks() -> Vec<Row> {
    let cut = |kept, then| FaultKind::Cut { kept, then };
    let kinds: [(&str, &str, FaultKind); 15] = [
        ("B20", "reset before it was read", FaultKind::Reset),
        ("B20", "closed before it was read", FaultKind::Close),
        ("B20", "reset after it was carried out", FaultKind::LostReply),
        ("B20", "reset within the status line", cut(5, Then::Reset)),
        ("B20", "reset within the headers", cut(30, Then::Reset)),
        ("B20", "closed within the headers", cut(30, Then::Close)),
        ("B20", "half a body, then FIN", FaultKind::Truncate(7)),
        ("B20", "bytes that are no HTTP", raw(format!("SSH-2.0-{MARK}\r\n"))),
        ("B20", "HTTP/2 in the place of HTTP/1", raw(*b"\0\0\x06\x04\0\0\0\0\0\0\x05\0\0@\0")),
        ("B20", "a NUL in a header", raw(*b"HTTP/1.1 200 OK\r\nx\0y: z\r\n\r\n")),
        ("B18", "silence", FaultKind::Hang),
        ("B18", "silence within the headers", cut(30, Then::Silence)),
        ("B18", "silence in its middle", cut(200, Then::Silence)),
        ("B18", "silence after it", cut(usize::MAX, Then::Silence)),
        ("B19", "a byte at a time", FaultKind::Drip { chunk: 1, pause: Duration::from_millis(400) }),
    ];
    let mut rows = Vec::new();
    for (at, name, also) in REQUESTS {
        for (id, what, kind) in &kinds {
            let row = row(id, format!("{name}: {what}, then well")).fault(at, name, kind.clone(), 1);
            // To Conjur, an answer that comes too late is pushback; a call may take 30 s.
            let row = if at == Conjur && row.is_slow() { row.within(60) } else { row };
            let mut row = row.most(name, 2);
            for other in also {
                row = row.most(other, 2);
            }
            rows.push(row);
        }
    }
    for (id, what, kind) in &kinds[..10] {
        rows.push(
            row(id, format!("verify: {what}, then well"))
                .command(Run::Enrolled("verify"))
                .fault(Conjur, "authenticate", kind.clone(), 1)
                .most("authenticate", 2)
                .left(Left::Old),
        );
    }
    for (at, name, _) in REQUESTS {
        let row =
            row("B20", format!("{name}: always reset")).always(at, name, FaultKind::Reset).repeats(75, "");
        let row = if name == "redeem" { row.most("redeem", 3) } else { row };
        rows.push(if name == "authenticate" { row.left(Left::New) } else { row });
    }
    rows
}

/// Heads and bodies without end are read to a cap.
fn endless() -> Vec<Row> {
    let ok = |at| if at == Conjur { "201 Created" } else { "200 OK" };
    let mut rows = Vec::new();
    for (at, name, _) in REQUESTS {
        let code = if name == "authenticate" { "200 OK" } else { ok(at) };
        let head = |more: &str| format!("HTTP/1.1 {code}\r\netag: \"x\"\r\n{more}");
        let endless =
            |first: String, again: String| FaultKind::Endless { first: first.into(), again: again.into() };
        let headers = endless(head(""), format!("x-more: {}\r\n", "y".repeat(1000)));
        let line = endless(head("x-long: "), "y".repeat(1000));
        let body = endless(head("content-length: 10000000000\r\n\r\n"), "z".repeat(10_000));
        let chunks =
            endless(head("transfer-encoding: chunked\r\n\r\n"), format!("64\r\n{}\r\n", "z".repeat(100)));
        for (what, kind) in
            [("headers", headers), ("one header", line), ("a body of 10 GB", body), ("chunks", chunks)]
        {
            let row = row("B19", format!("{name}: {what} without end")).always(at, name, kind);
            // A head without end is no reply; a body without end is one, and too large.
            let is_body = matches!(what, "a body of 10 GB" | "chunks");
            let code = match (at, is_body) {
                (Imds | Conjur, true) => 76,
                (S3, true) => 65,
                _ => 75,
            };
            let row = if code == 75 { row.repeats(75, "") } else { row.ends(code, "") };
            let row = if name == "redeem" { row.most("redeem", 3) } else { row };
            rows.push(if name == "authenticate" { row.left(Left::New) } else { row });
        }
    }
    rows
}

/// A redirect is an answer like any other: where it leads, nobody is asked.
fn redirects() -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, name, _) in REQUESTS {
        for code in [301, 307] {
            let row = row("B17", format!("{name}: {code} to plain HTTP elsewhere"))
                .arrange(move |world| {
                    let trap = world.trap();
                    let redirect =
                        imprint_stack::fault::Fault::on(name, status(code, &[("location", &trap)], MARK));
                    world.inject(at, redirect.forever());
                })
                .ends(76, "");
            rows.push(if name == "authenticate" { row.left(Left::New) } else { row });
        }
    }
    rows
}

/// What a proxy in between may do to the way to Conjur; nothing that is secret reaches it.
fn proxies() -> Vec<Row> {
    let by = |what: &str, does: Option<Does>| {
        row("B14", format!("a proxy that {what}"))
            .arrange(move |world| {
                let port = match &does {
                    Some(does) => world.talk(Talk::start(does.clone())),
                    None => Talk::nobody(),
                };
                world.set("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
            })
            .repeats(75, "")
            .never("redeem")
    };
    let says = |text: String| Some(Does::Says(text.into_bytes()));
    let answer = |status: &str, more: &str| {
        says(format!("HTTP/1.1 {status}\r\n{more}content-length: {}\r\n\r\n{MARK}", MARK.len()))
    };
    vec![
        by(
            "wants a login",
            answer("407 Proxy Authentication Required", "proxy-authenticate: Basic realm=\"x\"\r\n"),
        ),
        by("forbids it", answer("403 Forbidden", "")),
        by("finds nobody", answer("502 Bad Gateway", "")),
        by("is late", answer("504 Gateway Timeout", "")),
        by("redirects", answer("302 Found", "location: http://127.0.0.1:1/\r\n")),
        by("gives a page for a tunnel", says(format!("HTTP/1.1 200 OK\r\n\r\n<html>{MARK}</html>"))),
        by("opens a tunnel to nothing", says("HTTP/1.1 200 Connection established\r\n\r\n".to_owned())),
        by("speaks something else", says(format!("SSH-2.0-{MARK}\r\n"))),
        by("closes", Some(Does::Hangs)),
        by("says nothing", Some(Does::Silent)),
        by("sends all back", Some(Does::Echoes)),
        by("is not there", None),
        row("B13", "a proxy for everything, of which nothing here is asked").arrange(|world| {
            let trap = world.talk(Talk::trap());
            for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"] {
                world.set(name, format!("http://127.0.0.1:{trap}"));
            }
            world.set("NO_PROXY", "localhost");
        }),
    ]
}

/// Where Conjur is looked for.
fn addresses() -> Vec<Row> {
    let at =
        |id, what: &str, url: fn() -> String| row(id, what).arrange(move |world| world.conjur_at(&url()));
    vec![
        at("B23", "nobody listens there", || format!("https://localhost:{}", Talk::nobody()))
            .repeats(75, "cannot be reached"),
        // A label of 64 bytes is no name that a resolver asks for.
        at("B21", "a name without any address", || format!("https://{}:4443", "x".repeat(64)))
            .repeats(75, "cannot be reached"),
        at("B21", "another loopback address, where nobody listens", || {
            format!("https://127.0.0.9:{}", Talk::nobody())
        })
        .repeats(75, "cannot be reached"),
        at("B21", "IPv6 alone, where nobody listens", || format!("https://[::1]:{}", Talk::nobody()))
            .repeats(75, "cannot be reached"),
        row("B24", "connections are cut while the agent waits for its role")
            .fault(Imds, "imds:credentials", FaultKind::Delay(Duration::from_secs(1)), 1)
            .meanwhile(|world| {
                while world.machine.imds.count("imds:role") == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                world.site.stack.s3.cut();
                world.site.stack.kms.cut();
                world.site.stack.conjur.cut();
            })
            .most("s3:GetObject", 2)
            .most("kms:Decrypt", 2)
            .most("redeem", 2),
    ]
}

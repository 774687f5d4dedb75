//! Section F: what Conjur answers to a redeem, to the login that proves it, and to a rotation of the key.

use crate::row::At::Conjur;
use crate::row::{Left, MARK, Row, Run, page, row, status};
use crate::wire::{GOOD, STRANGE};
use imprint_stack::fault::FaultKind;
use std::time::Duration;

/// What each status means at any call to Conjur that wants another. 401 is not here: it is said of a key, a
/// token and an address, and each call has a use for it.
const STATUSES: [(u16, i32); 44] = [
    (202, 76),
    (204, 76),
    (206, 76),
    (226, 76),
    (300, 76),
    (301, 76),
    (302, 76),
    (303, 76),
    (304, 76),
    (307, 76),
    (308, 76),
    (400, 76),
    (402, 76),
    (403, 77),
    (404, 77),
    (405, 77),
    (406, 76),
    (407, 76),
    (408, 75),
    (409, 75),
    (410, 76),
    (411, 76),
    (412, 76),
    (413, 76),
    (414, 76),
    (415, 76),
    (417, 76),
    (418, 76),
    (421, 76),
    (422, 77),
    (425, 76),
    (428, 76),
    (429, 75),
    (431, 76),
    (451, 76),
    (500, 75),
    (501, 75),
    (502, 75),
    (503, 75),
    (504, 75),
    (505, 75),
    (507, 75),
    (511, 75),
    (599, 75),
];

pub fn rows() -> Vec<Row> {
    [redeem(), bodies(), ids(), retry_after(), login(), proof(), key(), lag()].into_iter().flatten().collect()
}

/// A row that ends with this class, at once or at its deadline.
fn judged(row: Row, code: i32, say: &str) -> Row {
    if code == 75 { row.repeats(code, say) } else { row.ends(code, say) }
}

fn redeem() -> Vec<Row> {
    let mut rows: Vec<Row> = STATUSES
        .into_iter()
        .map(|(code, exit)| {
            let row = row("F66", format!("redeem answered {code}")).always(Conjur, "redeem", page(code));
            let row = judged(row, exit, &format!("answered {code}"));
            // A gateway that gave up may have let it through: it counts as carried out.
            if code == 504 { row.most("redeem", 3) } else { row }
        })
        .collect();
    // The number of tokens, of hosts, of anything else that is no 201.
    rows.push(row("F66", "redeem answered 200").always(Conjur, "redeem", page(200)).ends(76, "answered 200"));
    rows.push(
        row("F62", "redeem answered 401")
            .always(Conjur, "redeem", page(401))
            .ends(77, "answered 401")
            .most("s3:GetObject", 2)
            .most("kms:Decrypt", 2),
    );
    for (code, times) in [(500, 2), (502, 3), (503, 1), (429, 1), (408, 1)] {
        rows.push(
            row("F66", format!("redeem answered {code}, then well"))
                .fault(Conjur, "redeem", page(code), times)
                .pushed_back()
                .most("redeem", 1 + times as usize),
        );
    }
    // What is asked for while Conjur restarts is asked for again.
    rows.push(
        row("F74", "Conjur refuses connections until somebody has unsealed")
            .arrange(|world| world.site.stack.conjur.pause())
            .meanwhile(|world| {
                while world.site.stack.kms.count("kms:Decrypt") == 0 {
                    std::thread::sleep(Duration::from_millis(5));
                }
                world.site.stack.conjur.resume();
            }),
    );
    rows.push(
        row("F74", "Conjur is away")
            .arrange(|world| world.site.stack.conjur.pause())
            .repeats(75, "cannot be reached"),
    );
    let whole = |s: &mut imprint_stack::conjur::Settings| s.api_key_default = false;
    rows.push(
        row("F65", "a server that makes no key without the annotation")
            .arrange(move |world| world.site.stack.conjur.service().configure(whole)),
    );
    rows.push(
        row("F66", "a server without host factories")
            .arrange(|world| {
                world.site.stack.conjur.service().configure(|s| s.host_factories_enabled = false);
            })
            .ends(77, "this server has no host factories"),
    );
    rows.push(
        row("F66", "a server whose database is down")
            .arrange(|world| world.site.stack.conjur.service().configure(|s| s.database_down = true))
            .repeats(75, "answered 500"),
    );
    rows
}

/// 201 with something else in it. What came may have killed a key, so the redeem is not repeated.
fn bodies() -> Vec<Row> {
    let key = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";
    let host = |api_key: &str| {
        format!(r#"{{"id":"demo:host:web/x","owner":"demo:host_factory:web/factory","api_key":{api_key}}}"#)
    };
    let created = |body: &str| status(201, &[("content-type", "application/json")], body);
    let mut rows = Vec::new();
    for (what, api_key, say) in [
        ("null", "null".to_owned(), "not the JSON"),
        ("a list", format!("[\"{key}\"]"), "not the JSON"),
        ("a number", "7".to_owned(), "not the JSON"),
        ("empty", "\"\"".to_owned(), "API key has 0 bytes"),
        ("with a newline", format!("\"{key}\\n\""), "API key has a character"),
        ("with a quote", format!("\"{key}\\\"\""), "API key has a character"),
        ("with a blank", format!("\"{key} login x\""), "API key has a character"),
        ("with NUL", format!("\"{key}\\u0000\""), "API key has a character"),
        ("beyond ASCII", format!("\"{key}é\""), "API key has a character"),
        ("of 60,000 bytes", format!("\"{}\"", "a".repeat(60_000)), "API key has 60000 bytes"),
    ] {
        let body = host(&api_key);
        rows.push(
            row("F68", format!("a key that is {what}"))
                .always(Conjur, "redeem", created(&body))
                .ends(76, say),
        );
    }
    for (what, body, code, say) in [
        ("a megabyte", "x".repeat(1 << 20), 76, "more than 65536 bytes"),
        ("a portal's page", format!("<html>{MARK}</html>"), 76, "not the JSON"),
        ("nothing", String::new(), 76, "not the JSON"),
        ("another host", host(&format!("\"{key}\"")), 65, "not \"demo:host:web/hosts/"),
        ("no api_key", host("1").replace("api_key", "apikey"), 76, "not the JSON"),
    ] {
        let kind = created(&body);
        rows.push(row("F73", format!("201 with {what}")).always(Conjur, "redeem", kind).ends(code, say));
    }
    for (what, rewrite) in STRANGE {
        rows.push(
            row("F68", format!("201 and {what}"))
                .always(Conjur, "redeem", FaultKind::Rewritten(rewrite))
                .ends(76, "the answer of localhost"),
        );
    }
    for (what, rewrite) in GOOD {
        let good = FaultKind::Rewritten(rewrite);
        rows.push(row("F66", format!("201 and {what}")).fault(Conjur, "redeem", good, 1));
    }
    rows
}

/// Ids that Conjur and its readers must see alike.
fn ids() -> Vec<Row> {
    let with = |template: &'static str| {
        row("F69", format!("the host id {template}")).arrange(move |world| {
            world.machine.imds.service().change(|instance| *instance = instance.clone().tag("Name", "a b"));
            world.replace("hosts_branch = \"web/hosts\"", &format!("host_id = {template:?}"));
        })
    };
    vec![
        with("web/hosts/x@y+z=1_2-{instance_id}"),
        with("web/hosts/{tag:Name}-{instance_id}").ends(78, "").most("imds:tag", 1),
        with("web/hosts/a%2Fb-{instance_id}").ends(78, "host_id"),
        with("web/hosts//{instance_id}").ends(78, "host_id"),
        with("/web/hosts/{instance_id}").ends(78, "host_id"),
        with("conjur/hosts/{instance_id}").ends(78, "host_id"),
        with("web/hosts/é-{instance_id}").ends(78, "host_id"),
    ]
}

fn retry_after() -> Vec<Row> {
    let mut rows = Vec::new();
    let soon = |value: &str| status(503, &[("retry-after", value)], MARK);
    for value in ["0", "", "-1", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "1e9", "99999999999999999999999"] {
        rows.push(
            row("F72", format!("retry-after: {value:?}"))
                .fault(Conjur, "redeem", soon(value), 1)
                .pushed_back()
                .most("redeem", 2),
        );
    }
    for value in ["10", "1000000000"] {
        // It is asked for longer than this run may last.
        rows.push(
            row("F72", format!("retry-after: {value:?} with 2 s left"))
                .always(Conjur, "redeem", soon(value))
                .repeats(75, "answered 503")
                .most("redeem", 1),
        );
    }
    rows
}

/// The login with the bytes on the disk: what was redeemed is stored by then, and good.
fn login() -> Vec<Row> {
    let mut rows = Vec::new();
    for (code, exit) in STATUSES {
        // The states of a deployment that a login meets; the rest is the redeem's table.
        if !matches!(code, 204 | 301 | 302 | 403 | 404 | 405 | 407 | 418 | 422 | 429 | 500 | 502 | 503 | 504)
        {
            continue;
        }
        let row = row("F71", format!("authenticate answered {code}"));
        let row = row.always(Conjur, "authenticate", page(code));
        rows.push(judged(row, exit, &format!("answered {code}")).left(Left::New));
    }
    for (code, times) in [(500, 2), (502, 2), (503, 1)] {
        rows.push(
            row("F60", format!("authenticate answered {code}, then well"))
                .fault(Conjur, "authenticate", page(code), times)
                .pushed_back()
                .most("authenticate", 1 + times as usize),
        );
    }
    rows.push(
        row("F61", "the new key is refused once")
            .fault(Conjur, "authenticate", page(401), 1)
            .most("redeem", 2)
            .most("authenticate", 2),
    );
    rows.push(
        row("F61", "every new key is refused")
            .always(Conjur, "authenticate", page(401))
            .ends(77, "was redeemed 3 times, and no key authenticates")
            .left(Left::New)
            .most("redeem", 3)
            .most("authenticate", 3),
    );
    for (what, rewrite) in STRANGE {
        // Whether it is a good access token is for the server to say that gets it; its form is looked at.
        if matches!(what, "every member twice") {
            continue;
        }
        rows.push(
            row("F73", format!("authenticate and {what}"))
                .always(Conjur, "authenticate", FaultKind::Rewritten(rewrite))
                .ends(76, "the answer of localhost")
                .left(Left::New),
        );
    }
    rows.push(
        row("F73", "authenticate gives a portal's page")
            .always(Conjur, "authenticate", page(200))
            .ends(76, "not the JSON")
            .left(Left::New),
    );
    // The timer's proof: what the disk has is not touched, whatever is answered.
    for (code, exit) in
        [(401, 77), (403, 77), (404, 77), (302, 76), (200, 76), (418, 76), (429, 75), (500, 75), (503, 75)]
    {
        let row = row("F62", format!("verify answered {code}")).command(Run::Enrolled("verify"));
        let row = row.always(Conjur, "authenticate", page(code));
        rows.push(judged(row, exit, "").left(Left::Old));
    }
    rows
}

/// The question whether the layer may read its variable.
fn proof() -> Vec<Row> {
    [(200, 76), (302, 76), (401, 77), (403, 77), (404, 77), (429, 75), (500, 75), (503, 75)]
        .into_iter()
        .map(|(code, exit)| {
            let row = row("F77", format!("the proof answered {code}"));
            let row = row.always(Conjur, "resource", page(code));
            let say =
                if code == 404 { "may not read variable".to_owned() } else { format!("answered {code}") };
            judged(row, exit, &say).left(Left::New)
        })
        .collect()
}

/// `rotate-key`, whose answer kills a key.
fn key() -> Vec<Row> {
    let rotate = |what: String| row("F60", what).command(Run::Enrolled("rotate-key"));
    let mut rows = Vec::new();
    for (code, exit) in [
        (204, 76),
        (302, 76),
        (400, 76),
        (401, 77),
        (403, 77),
        (404, 77),
        (405, 77),
        (422, 77),
        (429, 75),
        (500, 75),
        (503, 75),
    ] {
        let row = rotate(format!("rotate-key answered {code}")).always(Conjur, "rotate_key", page(code));
        rows.push(judged(row, exit, &format!("answered {code}")).left(Left::Old));
    }
    let bad = status(200, &[], &format!("<html>{MARK}</html>"));
    rows.push(
        rotate("rotate-key gives a page, and the old key lives".to_owned())
            .always(Conjur, "rotate_key", bad)
            .ends(76, "API key has")
            .left(Left::Old)
            .most("rotate_key", 3)
            .most("authenticate", 3),
    );
    // A new key was made, and what came is none: the old one is dead, and a redeem mends it.
    let mended = |row: Row| row.most("authenticate", 2);
    for (what, kind) in [
        ("cut in its body", FaultKind::Truncate(20)),
        ("not UTF-8", FaultKind::Rewritten(crate::wire::not_utf_8)),
        ("UTF-16", FaultKind::Rewritten(crate::wire::utf_16)),
        ("with garbage behind it", FaultKind::Rewritten(crate::wire::with_garbage)),
        ("blank", FaultKind::Rewritten(crate::wire::blank)),
    ] {
        rows.push(mended(rotate(format!("a new key that is {what}")).fault(Conjur, "rotate_key", kind, 1)));
    }
    rows
}

/// Leader and follower: one server by two names, so that the second login is the follower's.
fn lag() -> Vec<Row> {
    let two = |what: &str| {
        row("F67", what).arrange(|world| {
            let port = world.site.stack.conjur.port();
            world.follower_at(&format!("https://127.0.0.1:{port}"));
        })
    };
    vec![
        two("a follower that keeps up").most("authenticate", 2),
        two("a follower that lags twice")
            .past(1, Conjur, "authenticate", page(401), 2)
            .most("authenticate", 4),
        two("a follower that restarts").past(1, Conjur, "authenticate", page(503), 1).most("authenticate", 3),
        two("a follower that never catches up")
            .past(1, Conjur, "authenticate", page(401), u32::MAX)
            .repeats(75, "does not take the new key, though the leader does")
            .left(Left::New)
            .most("redeem", 1),
        row("F67", "a follower in the place of the leader")
            .always(Conjur, "redeem", page(405))
            .ends(77, "set leader_url to the leader"),
    ]
}

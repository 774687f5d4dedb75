//! Section K: each call of a rotation fails, in each way. One token is published at the end, or the old one stays;
//! no live token is left that the next runs do not know of; and the next plain run ends well, as does a boot.

mod publish;

use crate::row::At::{Conjur, Kms};
use crate::row::{Left, Row, Run, page, row, status};
use crate::wire::STRANGE;
use imprint_stack::fault::FaultKind;
use imprint_stack::kms;

const FIRST: Run = Run::Rotator(&["rotate"]);
const AGAIN: Run = Run::Published(&["rotate", "--now"]);
const INCIDENT: Run = Run::Published(&["rotate", "--now", "--revoke-superseded"]);

/// A first rotation of one factory, in which this fault is met.
fn first(id: &'static str, what: impl Into<String>) -> Row {
    row(id, what).command(FIRST).most("s3:GetObject", 2)
}

fn again(id: &'static str, what: impl Into<String>) -> Row {
    row(id, what).command(AGAIN).most("s3:GetObject", 3)
}

fn judged(row: Row, code: i32) -> Row {
    let row = if code == 75 { row.repeats(75, "") } else { row.ends(code, "") };
    row.most("s3:GetObject", 40)
}

pub fn rows() -> Vec<Row> {
    [login_and_list(), mint(), seal(), publish::rows()].into_iter().flatten().collect()
}

fn login_and_list() -> Vec<Row> {
    let mut rows = Vec::new();
    for (id, name) in [("K118", "authenticate"), ("K109", "list_factories")] {
        for (code, exit) in [
            (200, 76),
            (204, 76),
            (302, 76),
            (400, 76),
            (401, 77),
            (403, 77),
            (404, 77),
            (429, 75),
            (500, 75),
            (503, 75),
        ] {
            let row = first(id, format!("{name} answered {code}")).always(Conjur, name, page(code));
            rows.push(judged(row, exit).never("mint").most("authenticate", 40).most("list_factories", 40));
        }
        for (code, times) in [(500, 2), (503, 1)] {
            rows.push(
                first(id, format!("{name} answered {code}, then well"))
                    .fault(Conjur, name, page(code), times)
                    .most(name, 1 + times as usize),
            );
        }
    }
    rows.push(
        first("K118", "the login is forgotten between two calls")
            .fault(Conjur, "mint", page(401), 1)
            .most("authenticate", 2)
            .most("mint", 2),
    );
    rows
}

/// A mint whose reply is not what was asked for leaves a token that nobody has the text of: its label names it, and
/// it is revoked later.
fn mint() -> Vec<Row> {
    let mut rows = Vec::new();
    for (code, exit) in [
        (201, 76),
        (302, 76),
        (400, 76),
        (403, 77),
        (404, 77),
        (405, 77),
        (422, 77),
        (429, 75),
        (500, 75),
        (503, 75),
    ] {
        let id = if code == 422 { "K117" } else { "K109" };
        let row = first(id, format!("mint answered {code}")).always(Conjur, "mint", page(code));
        rows.push(judged(row, exit));
    }
    for (what, kind) in [("a reset", FaultKind::LostReply), ("half a body", FaultKind::Truncate(30))] {
        rows.push(
            first("K109", format!("the first mint's reply is lost by {what}"))
                .fault(Conjur, "mint", kind, 1)
                .says("an orphan with the label")
                .most("mint", 2)
                .orphans(1),
        );
    }
    rows.push(
        first("K109", "every mint's reply is lost")
            .always(Conjur, "mint", FaultKind::LostReply)
            .repeats(75, "an orphan with the label")
            .most("mint", 2)
            .orphans(2),
    );
    let with: [(&str, Rewrite, &str); 3] = [
        ("two tokens", |reply| edited(reply, twice), "has 2 tokens; 1 were asked for"),
        (
            "another end",
            |reply| edited(reply, |text| text.replacen("\"expiration\":\"20", "\"expiration\":\"21", 1)),
            "has a token that ends",
        ),
        ("no networks", |reply| edited(reply, without_networks), "has a token with other networks"),
    ];
    for (what, rewrite, say) in with {
        rows.push(
            first("K116", format!("the mint gives {what}"))
                .always(Conjur, "mint", FaultKind::Rewritten(rewrite))
                .ends(76, say)
                .orphans(1),
        );
    }
    for (what, body, say) in [
        ("no token", "[]", "has 0 tokens"),
        ("an object", "{}", "not the JSON"),
        ("nothing", "", "not the JSON"),
    ] {
        rows.push(
            first("K116", format!("the mint gives {what}"))
                .always(Conjur, "mint", status(200, &[], body))
                .ends(76, say),
        );
    }
    for (what, rewrite) in STRANGE {
        // A list in a list is read as no token; two lists side by side are no JSON.
        rows.push(
            first("K116", format!("the mint gives {what}"))
                .always(Conjur, "mint", FaultKind::Rewritten(rewrite))
                .ends(76, "the answer of localhost")
                .orphans(1),
        );
    }
    rows
}

type Rewrite = fn(&http::Response<bytes::Bytes>) -> bytes::Bytes;

fn edited(reply: &http::Response<bytes::Bytes>, edit: impl Fn(&str) -> String) -> bytes::Bytes {
    let text = edit(&String::from_utf8_lossy(reply.body()));
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).into()
}

fn twice(text: &str) -> String {
    let one = text.trim().trim_start_matches('[').trim_end_matches(']');
    format!("[{one},{one}]")
}

fn without_networks(text: &str) -> String {
    let (before, rest) = text.split_once("\"cidr\":[").expect("networks");
    let (_, after) = rest.split_once(']').expect("their end");
    format!("{before}\"cidr\":[]{after}")
}

fn seal() -> Vec<Row> {
    let mut rows = Vec::new();
    for (code, exit) in [
        ("AccessDeniedException", 77),
        ("DisabledException", 77),
        ("KMSInvalidStateException", 77),
        ("NotFoundException", 78),
        ("ThrottlingException", 75),
        ("KMSInternalException", 75),
    ] {
        let row =
            first("K112", format!("kms:Encrypt says {code}")).always(Kms, "kms:Encrypt", kms::failure(code));
        // What was minted for it is nobody's, and is revoked.
        rows.push(judged(row, exit).says("is revoked").most("revoke", 1).most("mint", 1));
    }
    for (code, times) in [("ThrottlingException", 3), ("KMSInternalException", 2)] {
        rows.push(
            first("K112", format!("kms:Encrypt says {code}, then well"))
                .fault(Kms, "kms:Encrypt", kms::failure(code), times)
                .most("kms:Encrypt", 1 + times as usize),
        );
    }
    for (what, body) in [("no blob", "{}"), ("no key", r#"{"CiphertextBlob":"QUFB"}"#)] {
        rows.push(
            first("K112", format!("kms:Encrypt gives {what}"))
                .always(Kms, "kms:Encrypt", status(200, &[], body))
                .ends(76, "has no")
                .most("revoke", 1),
        );
    }
    // What is sealed is not the token: nobody could open it, which is seen when it is read back.
    rows.push(
        first("K111", "kms:Encrypt gives another blob")
            .always(
                Kms,
                "kms:Encrypt",
                status(200, &[], r#"{"CiphertextBlob":"QUFB","KeyId":"arn:aws:kms:x"}"#),
            )
            .ends(65, "")
            .left(Left::New)
            .orphans(1)
            .most("revoke", 1),
    );
    rows
}

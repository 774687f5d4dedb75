//! The put, the read back, the replacement of what is published, and the end of an incident; then each call in
//! another frame, or broken.

use super::{INCIDENT, again, edited, first, judged};
use crate::row::At::{Conjur, Kms, S3};
use crate::row::{At, Left, Row, page, row, status};
use crate::wire::{BROKEN, GOOD};
use imprint_stack::fault::FaultKind;
use imprint_stack::{kms, s3};

pub fn rows() -> Vec<Row> {
    [put(), read_back(), replaced(), incident(), broken()].into_iter().flatten().collect()
}

fn put() -> Vec<Row> {
    let mut rows = Vec::new();
    for (code, exit) in [
        ("AccessDenied", 77),
        ("NoSuchBucket", 78),
        ("PermanentRedirect", 78),
        ("PreconditionFailed", 75),
        ("ConditionalRequestConflict", 75),
        ("InvalidAccessKeyId", 77),
    ] {
        let row =
            first("K108", format!("s3:PutObject says {code}")).always(S3, "s3:PutObject", s3::failure(code));
        let row = judged(row, exit).says("is revoked").most("revoke", 1).most("mint", 1);
        rows.push(if code == "PreconditionFailed" { row.most("s3:PutObject", 1) } else { row });
    }
    for (code, times) in [("SlowDown", 3), ("InternalError", 2), ("ConditionalRequestConflict", 1)] {
        rows.push(
            first("K112", format!("s3:PutObject says {code}, then well"))
                .fault(S3, "s3:PutObject", s3::failure(code), times)
                .most("s3:PutObject", 1 + times as usize),
        );
    }
    // A put without a plain answer may be carried out yet, so its token is not revoked.
    rows.push(
        first("K110", "s3:PutObject is never answered plainly")
            .always(S3, "s3:PutObject", s3::failure("InternalError"))
            .repeats(75, "may be published yet")
            .orphans(1),
    );
    rows.push(
        first("K110", "s3:PutObject gives a page")
            .always(S3, "s3:PutObject", page(200))
            .ends(75, "may be published yet")
            .orphans(1),
    );
    for (what, kind) in [
        ("its reply is lost", FaultKind::LostReply),
        ("its reply is cut", FaultKind::Cut { kept: 20, then: imprint_stack::fault::Then::Reset }),
        ("its reply is a page", FaultKind::Rewritten(|reply| edited(reply, |_| "<html>".to_owned()))),
    ] {
        // The repeat meets its own object.
        rows.push(
            first("K110", format!("s3:PutObject is carried out, and {what}"))
                .fault(S3, "s3:PutObject", kind, 1)
                .most("s3:PutObject", 2)
                .most("s3:GetObject", 3),
        );
    }
    rows
}

/// What is read back is not what was put.
fn read_back() -> Vec<Row> {
    let after_put = |what: &str, kind: FaultKind| {
        first("K111", format!("the read back {what}")).past(1, S3, "s3:GetObject", kind, u32::MAX)
    };
    let lie = |reply: &http::Response<bytes::Bytes>| {
        let text = "HTTP/1.1 200 OK\r\netag: \"lie\"\r\ncontent-length: 2\r\n\r\n{}";
        assert!(!reply.body().is_empty());
        bytes::Bytes::from_static(text.as_bytes())
    };
    let there = |row: Row, code, say: &str| row.ends(code, say).left(Left::New).most("revoke", 1);
    vec![
        there(after_put("gives something else", FaultKind::Rewritten(lie)), 65, "does not read back"),
        // S3's own checksum tells that it is none of its answers.
        after_put("is changed on its way", FaultKind::Body("{}".into()))
            .repeats(75, "was not read back")
            .left(Left::New)
            .most("s3:GetObject", 40),
        there(after_put("finds no object", s3::failure("NoSuchKey")), 65, "does not read back"),
        there(after_put("is forbidden", s3::failure("AccessDenied")), 77, ""),
        after_put("fails", s3::failure("InternalError"))
            .repeats(75, "was not read back")
            .left(Left::New)
            .most("s3:GetObject", 40),
        first("K111", "the read back fails twice, then well")
            .past(1, S3, "s3:GetObject", s3::failure("SlowDown"), 2)
            .most("s3:GetObject", 4),
        there(
            first("K111", "the read back cannot be unsealed").always(
                Kms,
                "kms:Decrypt",
                kms::failure("AccessDeniedException"),
            ),
            77,
            "was not read back",
        ),
        there(
            first("K111", "the read back unseals to something else").always(
                Kms,
                "kms:Decrypt",
                status(200, &[], r#"{"Plaintext":"QUFBQQ=="}"#),
            ),
            65,
            "does not read back",
        ),
        first("K112", "the unsealing of the read back is throttled, then well")
            .fault(Kms, "kms:Decrypt", kms::failure("ThrottlingException"), 2)
            .most("kms:Decrypt", 3),
    ]
}

/// A token is published, and another is asked for: what fails leaves it where it was.
fn replaced() -> Vec<Row> {
    let fails = |what: &str, at: At, name: &str, kind: FaultKind, code| {
        let row = again("K110", format!("a replacement: {what}")).always(at, name, kind);
        judged(row, code).left(Left::Old).most("revoke", 1)
    };
    vec![
        fails("no list", Conjur, "list_factories", page(403), 77),
        fails("what is there is forbidden", S3, "s3:GetObject", s3::failure("AccessDenied"), 77),
        fails("no mint", Conjur, "mint", page(403), 77),
        fails("no seal", Kms, "kms:Encrypt", kms::failure("AccessDeniedException"), 77),
        fails("no put", S3, "s3:PutObject", s3::failure("AccessDenied"), 77),
        fails("another run's put came first", S3, "s3:PutObject", s3::failure("PreconditionFailed"), 75),
        fails(
            "no put, and no revoke of what it was minted for",
            S3,
            "s3:PutObject",
            s3::failure("AccessDenied"),
            77,
        )
        .always(Conjur, "revoke", page(403))
        .says("lives on")
        .orphans(1),
        again("K108", "the published object was deleted meanwhile")
            .arrange(|world| {
                let key = world.site.stack.object_key("web");
                world.site.stack.s3.service().delete_raw("imprint-tokens", &key);
            })
            // What agents may have fetched of it before is left to expire.
            .orphans(1),
        again("K111", "what is published is garbage")
            .arrange(|world| world.object(b"garbage"))
            .says("is replaced"),
        again("K109", "Conjur has forgotten every token").arrange(|world| {
            let _gone = world.site.stack.conjur.service().drop_tokens("web/factory");
        }),
    ]
}

/// An incident: what is older is revoked once the new one was read back, and not before.
fn incident() -> Vec<Row> {
    let run = |what: &str| {
        row("K120", format!("an incident: {what}"))
            .command(INCIDENT)
            .most("s3:GetObject", 40)
            .most("list_factories", 40)
            .most("authenticate", 40)
    };
    let mut rows = vec![
        run("all is well"),
        run("the new one cannot be published")
            .always(S3, "s3:PutObject", s3::failure("AccessDenied"))
            .ends(77, "")
            .left(Left::Old)
            .most("s3:GetObject", 40),
        run("the new one cannot be read back")
            .always(Kms, "kms:Decrypt", kms::failure("AccessDeniedException"))
            .ends(77, "")
            .left(Left::New)
            .never("revoke"),
    ];
    for (code, exit) in [(200, 76), (403, 77), (500, 75), (503, 75)] {
        let row = run(&format!("revoke answered {code}")).always(Conjur, "revoke", page(code));
        rows.push(judged(row, exit).left(Left::New).says("lives on").most("revoke", 40));
    }
    for code in [404, 422] {
        // Somebody else was first.
        rows.push(run(&format!("revoke answered {code}")).always(Conjur, "revoke", page(code)));
    }
    for (what, kind) in [("lost", FaultKind::LostReply), ("reset", FaultKind::Reset)] {
        rows.push(
            run(&format!("the reply to revoke is {what}")).fault(Conjur, "revoke", kind, 1).most("revoke", 2),
        );
    }
    rows
}

/// Each call once in another frame, or broken.
fn broken() -> Vec<Row> {
    let calls: [(At, &str); 6] = [
        (Conjur, "authenticate"),
        (Conjur, "list_factories"),
        (Conjur, "mint"),
        (Kms, "kms:Encrypt"),
        (S3, "s3:PutObject"),
        (Kms, "kms:Decrypt"),
    ];
    let mut rows = Vec::new();
    for (at, name) in calls {
        for (what, rewrite) in GOOD {
            rows.push(first("K112", format!("{name}: {what}")).fault(
                at,
                name,
                FaultKind::Rewritten(rewrite),
                1,
            ));
        }
        for (what, rewrite) in BROKEN {
            if what == "longer than it says" {
                continue;
            }
            let row = first("K112", format!("{name}: {what}, then well"));
            let row =
                row.fault(at, name, FaultKind::Rewritten(rewrite), 1).most(name, 2).most("s3:GetObject", 3);
            rows.push(if name == "mint" { row.orphans(1) } else { row });
        }
    }
    rows
}

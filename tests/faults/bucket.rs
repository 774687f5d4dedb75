//! Section D: what S3 answers, and what lies in the bucket.

use crate::row::At::S3;
use crate::row::{Left, MARK, Row, Run, page, row, status};
use crate::wire::{BROKEN, GOOD};
use imprint_stack::fault::FaultKind;
use imprint_stack::s3;

/// What a status without any code of S3's means: something else answered.
const PAGES: [(u16, i32); 32] = [
    (200, 76),
    (204, 76),
    (206, 76),
    (301, 76),
    (302, 76),
    (303, 76),
    (304, 76),
    (307, 76),
    (308, 76),
    (400, 76),
    (401, 76),
    (402, 76),
    (404, 76),
    (405, 76),
    (407, 76),
    (408, 75),
    (411, 76),
    (413, 76),
    (418, 76),
    (421, 76),
    (425, 76),
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
];

/// S3's own codes.
const CODES: [(&str, i32); 17] = [
    ("AccessDenied", 69),
    ("AuthorizationHeaderMalformed", 78),
    ("BadDigest", 77),
    ("ExpiredToken", 75),
    ("IllegalLocationConstraintException", 78),
    ("InternalError", 75),
    ("InvalidAccessKeyId", 77),
    ("InvalidObjectState", 77),
    ("InvalidToken", 77),
    ("NoSuchBucket", 78),
    ("NoSuchKey", 69),
    ("PermanentRedirect", 78),
    ("RequestTimeout", 75),
    ("ServiceUnavailable", 75),
    ("SignatureDoesNotMatch", 77),
    ("SlowDown", 75),
    ("TemporaryRedirect", 76),
];

/// A row that ends with this class, at once or at its deadline.
fn judged(row: Row, code: i32, say: &str) -> Row {
    if matches!(code, 69 | 75) { row.repeats(code, say) } else { row.ends(code, say) }
}

pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = PAGES
        .into_iter()
        .map(|(code, exit)| {
            let row = row("D37", format!("a page with {code}")).always(S3, "s3:GetObject", page(code));
            judged(row, exit, "s3:GetObject").never("redeem")
        })
        .collect();
    for (code, exit) in CODES {
        let row = row("D38", code).always(S3, "s3:GetObject", s3::failure(code));
        let row = judged(row, exit, code).never("redeem");
        // Credentials that are not known yet are waited for, and asked for again.
        let young = matches!(code, "ExpiredToken" | "InvalidAccessKeyId" | "InvalidToken");
        rows.push(if young { row.repeats(exit, code).never("redeem") } else { row });
    }
    for (code, times) in [("SlowDown", 3), ("InternalError", 2), ("NoSuchKey", 2), ("AccessDenied", 2)] {
        rows.push(
            row("D37", format!("{code}, then well"))
                .fault(S3, "s3:GetObject", s3::failure(code), times)
                .most("s3:GetObject", 1 + times as usize),
        );
    }
    rows.extend(objects());
    rows.extend(frames());
    rows.extend(around());
    rows
}

/// What lies under the key.
fn objects() -> Vec<Row> {
    let with = |id, what: &str, change: fn(Vec<u8>) -> Vec<u8>| {
        row(id, what).arrange(move |world| {
            let object = world.site.stack.published("web").expect("an object").to_vec();
            world.object(&change(object));
        })
    };
    let refused = |what, change, say| with("D40", what, change).ends(65, say).never("kms:Decrypt");
    vec![
        refused("no bytes", |_| Vec::new(), "empty"),
        refused("half of it", |it| it[..it.len() / 2].to_vec(), "format version 1"),
        refused("something behind it", |it| [it.as_slice(), b"{}"].concat(), "format version 1"),
        refused("a byte order mark", |it| [b"\xef\xbb\xbf", it.as_slice()].concat(), "format version 1"),
        refused("NUL bytes", |it| vec![0; it.len()], "format version 1"),
        refused("a member twice", |it| again(it, "{", "{\"account\":\"demo\","), "format version 1"),
        refused("a member nobody knows", |it| again(it, "{", "{\"more\":1,"), "format version 1"),
        refused("a number that is none", |it| again(it, "\"spread_s\":0", "\"spread_s\":NaN"), "format"),
        refused("a negative window", |it| again(it, "\"spread_s\":0", "\"spread_s\":-1"), "format"),
        refused(
            "another spelling of a URL",
            |it| again(it, "https://localhost", "HTTPS://localhost"),
            "appliance_url",
        ),
        refused("30,000 brackets", |_| vec![b'['; 16_000], "format version 1"),
        refused("more than 16 KiB", |it| [it.as_slice(), &[b' '; 20_000]].concat(), "16384 bytes"),
        refused("two megabytes", |it| [it.as_slice(), &[b' '; 2 << 20]].concat(), "16384 bytes"),
        refused("UTF-16", |it| it.iter().flat_map(|byte| [*byte, 0]).collect(), "format version 1"),
        with("D40", "blanks that JSON allows", |it| again(it, "{", "{ \n ")),
    ]
}

fn again(object: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let text = String::from_utf8(object).expect("text");
    assert!(text.contains(from), "{from} is not in {text}");
    text.replacen(from, to, 1).into_bytes()
}

/// How a good object comes over the wire.
fn frames() -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, rewrite) in GOOD {
        rows.push(row("D41", format!("the object in {what}")).fault(
            S3,
            "s3:GetObject",
            FaultKind::Rewritten(rewrite),
            1,
        ));
    }
    for (what, rewrite) in BROKEN {
        // What is cut to half of its length looks like half of an object, which nobody who repeats can tell.
        if what == "longer than it says" {
            continue;
        }
        rows.push(
            row("D40", format!("the object in {what}, then well"))
                .fault(S3, "s3:GetObject", FaultKind::Rewritten(rewrite), 1)
                .most("s3:GetObject", 2),
        );
    }
    rows
}

/// The bucket, its owner, its versions, its region.
fn around() -> Vec<Row> {
    let deleted = |world: &mut crate::world::World| {
        world.site.stack.s3.service().delete_raw("imprint-tokens", &world.site.stack.object_key("web"));
    };
    let to_trap = |id, what: &str, code: u16, say: &'static str| {
        row(id, what)
            .arrange(move |world| {
                let trap = world.trap();
                let redirect = status(code, &[("location", &trap)], MARK);
                world
                    .site
                    .stack
                    .s3
                    .inject(imprint_stack::fault::Fault::on("s3:GetObject", redirect).forever());
            })
            .ends(76, say)
    };
    vec![
        row("D44", "a delete marker").arrange(deleted).repeats(69, "s3:GetObject"),
        row("D42", "a bucket of another account")
            .arrange(|world| {
                world.replace("bucket_owner = \"123456789012\"", "bucket_owner = \"210987654321\"")
            })
            .repeats(69, "bucket_owner is not the bucket's owner"),
        row("D42", "a bucket that is not there")
            .arrange(|world| world.replace("bucket = \"imprint-tokens\"", "bucket = \"imprint-others\""))
            .ends(78, "NoSuchBucket"),
        row("D43", "an older token that is over was put back")
            .arrange(|world| world.publish(-60))
            .repeats(69, "expired"),
        row("D43", "an older token that is good was put back")
            .command(Run::Enrolled("enroll"))
            .arrange(|world| {
                let (stack, key) = (&world.site.stack, world.site.stack.object_key("web"));
                let first = stack.s3.service().versions("imprint-tokens", &key).remove(0).id;
                let token = stack.conjur.service().tokens("web/factory").remove(0).token;
                let mut binding =
                    world.binding(token.as_bytes(), imprint_core::second::Second::from_unix(4_000_000_000));
                binding.issued_at = binding.issued_at.plus(std::time::Duration::from_secs(5));
                world.put(token.as_bytes(), &binding);
                std::fs::remove_file(world.machine.path("etc/conjur.identity")).expect("an identity");
                let _enrolled = imprint_e2e::Ran::of(&mut world.machine.imprint(&["enroll"])).expect(0);
                std::fs::remove_file(world.machine.path("etc/conjur.identity")).expect("an identity");
                assert!(world.site.stack.s3.service().restore("imprint-tokens", &key, &first));
            })
            .says("before the last one that was used here"),
        to_trap("D39", "a redirect to another place", 307, "s3:GetObject"),
        to_trap("D39", "a permanent redirect", 301, "s3:GetObject"),
        row("D41", "an enrolled machine asks nobody")
            .command(Run::Enrolled("enroll"))
            .left(Left::Old)
            .arrange(|world| {
                world.site.stack.s3.pause();
                world.site.stack.kms.pause();
                world.site.stack.conjur.pause();
            }),
    ]
}

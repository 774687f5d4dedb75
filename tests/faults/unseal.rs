//! Section E: what KMS answers, and what comes out of a sealed token.

use crate::row::At::Kms;
use crate::row::{Row, page, row, status};
use crate::wire::{BROKEN, GOOD, STRANGE, two_framings};
use imprint_core::second::Second;
use imprint_stack::fault::FaultKind;
use imprint_stack::kms::failure;

/// Each exception that Decrypt is documented with, and those of any call to AWS.
const EXCEPTIONS: [(&str, i32); 27] = [
    ("AccessDeniedException", 77),
    ("DependencyTimeoutException", 75),
    ("DisabledException", 77),
    ("DryRunOperationException", 77),
    ("ExpiredTokenException", 75),
    ("IncompleteSignature", 77),
    ("IncorrectKeyException", 65),
    ("InternalFailure", 75),
    ("InvalidCiphertextException", 65),
    ("InvalidGrantTokenException", 77),
    ("InvalidKeyUsageException", 77),
    ("InvalidSignatureException", 77),
    ("KMSInternalException", 75),
    ("KMSInvalidStateException", 77),
    ("KeyUnavailableException", 75),
    ("LimitExceededException", 77),
    ("MalformedHttpRequestException", 77),
    ("NotAuthorized", 77),
    ("NotFoundException", 78),
    ("OptInRequired", 77),
    ("RequestExpired", 75),
    ("ServiceUnavailable", 75),
    ("SomethingNewException", 77),
    ("ThrottlingException", 75),
    ("UnknownOperationException", 77),
    ("UnrecognizedClientException", 77),
    ("ValidationException", 77),
];

/// What a status without any code of KMS's means.
const PAGES: [(u16, i32); 22] = [
    (204, 76),
    (301, 76),
    (302, 76),
    (304, 76),
    (307, 76),
    (400, 76),
    (401, 76),
    (403, 76),
    (404, 76),
    (405, 76),
    (407, 76),
    (408, 75),
    (413, 76),
    (421, 76),
    (429, 75),
    (431, 76),
    (451, 76),
    (500, 75),
    (502, 75),
    (503, 75),
    (504, 75),
    (511, 75),
];

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (code, exit) in EXCEPTIONS {
        let id = if code == "IncorrectKeyException" { "E51" } else { "E50" };
        let row = row(id, code).always(Kms, "kms:Decrypt", failure(code)).never("redeem");
        // What IAM may still settle is waited for, with new credentials.
        let young = matches!(code, "AccessDeniedException" | "UnrecognizedClientException");
        rows.push(if exit == 75 || young { row.repeats(exit, code) } else { row.ends(exit, code) });
    }
    for (code, times) in [
        ("ThrottlingException", 3),
        ("KMSInternalException", 2),
        ("DependencyTimeoutException", 2),
        ("KeyUnavailableException", 2),
        ("RequestExpired", 1),
    ] {
        // The object is fetched again with it: another may lie there by then.
        rows.push(
            row("E49", format!("{code}, then well"))
                .fault(Kms, "kms:Decrypt", failure(code), times)
                .most("kms:Decrypt", 1 + times as usize)
                .most("s3:GetObject", 1 + times as usize),
        );
    }
    for (code, exit) in PAGES {
        let row = row("E50", format!("a page with {code}")).always(Kms, "kms:Decrypt", page(code));
        let row = row.never("redeem");
        rows.push(if exit == 75 { row.repeats(exit, "kms:Decrypt") } else { row.ends(exit, "kms:Decrypt") });
    }
    rows.extend(plaintexts());
    rows.extend(replies());
    rows
}

/// A sealed token that opens, and has something else in it.
fn plaintexts() -> Vec<Row> {
    let with = |what: &str, plaintext: &'static [u8]| {
        row("E55", format!("sealed is {what}"))
            .arrange(move |world| {
                let far = Second::from_unix(4_000_000_000);
                world.put(plaintext, &world.binding(plaintext, far));
            })
            .ends(65, "no host factory token")
            .never("redeem")
    };
    vec![
        with("one byte", b"x"),
        with("a page", b"<html>SECRET</html>"),
        with("not UTF-8", b"\xff\xfe0123456789abcdefghjkmnpqrstvwxyz0123456789abcdef"),
        with("a token and a newline", b"0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh\n"),
        with("a token with a quote", b"0123456789abcdefghjkmnpqrstvwxyz0123456789abcdef\"gh"),
        with("four kilobytes", &[b'a'; 4096]),
        row("E55", "sealed is another token than the binding names")
            .arrange(|world| {
                let far = Second::from_unix(4_000_000_000);
                let token = b"0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";
                world.put(token, &world.binding(b"another", far));
            })
            .ends(65, "binding names")
            .never("redeem"),
        row("E55", "sealed is a token that Conjur does not know")
            .arrange(|world| {
                let far = Second::from_unix(4_000_000_000);
                let token = b"0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";
                world.put(token, &world.binding(token, far));
            })
            .ends(77, "does not take the token")
            .most("s3:GetObject", 2)
            .most("kms:Decrypt", 2),
    ]
}

/// What KMS's reply is like.
fn replies() -> Vec<Row> {
    let json = |body: &str| status(200, &[("content-type", "application/x-amz-json-1.1")], body);
    let mut rows = Vec::new();
    for (what, body, code, say) in [
        ("no plaintext", r#"{"KeyId":"x"}"#.to_owned(), 76, "has no Plaintext"),
        ("an empty plaintext", r#"{"Plaintext":""}"#.to_owned(), 65, "no host factory token"),
        ("another plaintext", r#"{"Plaintext":"SECRET=="}"#.to_owned(), 75, "kms:Decrypt"),
        ("a plaintext that is no base64", r#"{"Plaintext":"!!"}"#.to_owned(), 75, "kms:Decrypt"),
        ("a plaintext of a number", r#"{"Plaintext":7}"#.to_owned(), 75, "kms:Decrypt"),
        (
            "a plaintext of half a megabyte",
            format!(r#"{{"Plaintext":"{}"}}"#, "QUFB".repeat(1 << 17)),
            65,
            "token",
        ),
        ("two megabytes", format!(r#"{{"Plaintext":"{}"}}"#, "QUFB".repeat(1 << 19)), 75, "kms:Decrypt"),
        ("a page", "<html>b0dy-of-a-fault</html>".to_owned(), 75, "kms:Decrypt"),
        ("nothing", String::new(), 76, "has no Plaintext"),
    ] {
        let row = row("E55", format!("Decrypt gives {what}")).always(Kms, "kms:Decrypt", json(&body));
        let row = row.never("redeem");
        rows.push(if code == 75 { row.repeats(code, say) } else { row.ends(code, say) });
    }
    for (what, rewrite) in GOOD {
        let good = FaultKind::Rewritten(rewrite);
        rows.push(row("E49", format!("Decrypt's answer in {what}")).fault(Kms, "kms:Decrypt", good, 1));
    }
    for (what, rewrite) in BROKEN.into_iter().chain(STRANGE) {
        // The frame is right in these, and the reader of AWS's JSON takes them.
        if matches!(what, "every member twice" | "garbage behind it" | "two framings, of which one is empty")
        {
            continue;
        }
        rows.push(
            row("E49", format!("Decrypt's answer in {what}, then well"))
                .fault(Kms, "kms:Decrypt", FaultKind::Rewritten(rewrite), 1)
                .most("kms:Decrypt", 2)
                .most("s3:GetObject", 2),
        );
    }
    rows.push(
        row("E49", "Decrypt's answer in two framings")
            .always(Kms, "kms:Decrypt", FaultKind::Rewritten(two_framings))
            .ends(76, "has no Plaintext"),
    );
    rows.push(row("E51", "Decrypt names another key, and the plaintext is the binding's").fault(
        Kms,
        "kms:Decrypt",
        FaultKind::Rewritten(|reply| {
            let text = String::from_utf8_lossy(reply.body())
                .replace("arn:aws:kms:eu-west-1", "arn:aws:kms:us-east-1");
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()).into()
        }),
        1,
    ));
    rows
}

//! Section B, TLS: who may be spoken to, and in which version. Nothing is sent to anybody else.

use crate::row::{Row, row};
use crate::talk::{Does, Talk};
use imprint_stack::ca::Ca;

/// A server's hello of TLS 1.1, with a suite of its time.
fn hello_of_1_1() -> Vec<u8> {
    let mut hello = vec![0x03, 0x02];
    hello.extend_from_slice(&[7; 32]);
    // No session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    hello.extend_from_slice(&[0, 0x00, 0x2f, 0]);
    let length = u8::try_from(hello.len()).expect("a short hello");
    let mut message = vec![0x02, 0, 0, length];
    message.append(&mut hello);
    let length = u8::try_from(message.len()).expect("a short message");
    let mut record = vec![0x16, 0x03, 0x02, 0, length];
    record.append(&mut message);
    record
}

/// A fatal alert.
fn alert(code: u8) -> Vec<u8> {
    vec![0x15, 0x03, 0x03, 0, 2, 2, code]
}

pub fn rows() -> Vec<Row> {
    [certificates(), handshakes()].into_iter().flatten().collect()
}

/// Certificates that are good for somebody else.
fn certificates() -> Vec<Row> {
    let mut rows = vec![
        row("B15", "a certificate of another name")
            .arrange(|world| {
                let leaf = world.site.stack.ca.leaf(&["conjur.example.org"]);
                world.stranger(leaf);
            })
            .ends(77, "certificate")
            .says("ca_file"),
        row("B15", "a certificate of an address, and a name was asked for")
            .arrange(|world| {
                let leaf = world.site.stack.ca.leaf(&["127.0.0.1"]);
                world.stranger(leaf);
            })
            .ends(77, "certificate"),
        row("B16", "a certificate of another authority of the same name")
            .arrange(|world| world.stranger(Ca::named("Imprint stack CA").leaf(&["localhost"])))
            .ends(77, "certificate")
            .says("ca_file"),
        row("B15", "a certificate that ended long ago")
            .arrange(|world| {
                let leaf = world.site.stack.ca.leaf_of(&["localhost"], 2000..=2001);
                world.stranger(leaf);
            })
            .repeats(77, "its certificate ended 2001-01-01T00:00:00Z"),
        row("B15", "a certificate that has not begun")
            .arrange(|world| {
                let leaf = world.site.stack.ca.leaf_of(&["localhost"], 4000..=4001);
                world.stranger(leaf);
            })
            .repeats(77, "its certificate begins 4000-01-01T00:00:00Z"),
        row("B15", "a server that wants a certificate of us")
            .arrange(|world| {
                let leaf = world.site.stack.ca.leaf_for_known(&["localhost"]);
                world.stranger(leaf);
            })
            .repeats(75, ""),
    ];
    for (name, port) in [("AWS_ENDPOINT_URL_S3", "s3"), ("AWS_ENDPOINT_URL_KMS", "kms")] {
        rows.push(
            row("B15", format!("{port} with a certificate of a private authority"))
                .arrange(move |world| {
                    let leaf = world.site.stack.ca.leaf(&["127.0.0.1"]);
                    let server = imprint_stack::server::Server::start_tls_with(
                        imprint_stack::conjur::Conjur::new(imprint_stack::conjur::Version::V1_24_0, "demo"),
                        leaf,
                    );
                    world.set(name, format!("https://127.0.0.1:{}", server.port()));
                    world.strangers.push(server);
                })
                .ends(77, "certificate")
                .says("ca_file")
                .never("redeem"),
        );
    }
    rows
}

/// Peers that speak TLS badly, or not at all.
fn handshakes() -> Vec<Row> {
    let by = |id, what: &str, does: Does| {
        row(id, what)
            .arrange(move |world| {
                let port = world.talk(Talk::start(does.clone()));
                world.conjur_at(&format!("https://localhost:{port}"));
            })
            .repeats(75, "cannot be reached")
    };
    let says = |bytes: Vec<u8>| Does::Says(bytes);
    vec![
        by("B17", "TLS 1.1 alone", says(hello_of_1_1())),
        by("B17", "an alert: protocol version", says(alert(70))),
        by("B17", "an alert: handshake failure", says(alert(40))),
        by("B17", "an alert: the name is not known here", says(alert(112))),
        by("B17", "an alert: insufficient security", says(alert(71))),
        by("B17", "an alert: internal error", says(alert(80))),
        by("B17", "plain HTTP where TLS should be", says(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
        by("B20", "closed in the middle of the handshake", says(hello_of_1_1()[..9].to_vec())),
        by("B20", "closed before the handshake", Does::Hangs),
        by("B20", "our own hello sent back", Does::Echoes),
        // As it looks when the server's large packets are lost on the way.
        by("B23", "silence after our hello", Does::Silent),
    ]
}

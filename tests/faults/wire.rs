//! What is made of a good reply on its way: other framings of the same body, and other bodies in the same frame.

use bytes::Bytes;
use http::Response;

type Reply = Response<Bytes>;

/// These headers and this body, with the reply's own status.
fn written(reply: &Reply, version: &str, headers: &[&str], body: &[u8]) -> Bytes {
    let mut bytes = format!("{version} {}\r\n", reply.status()).into_bytes();
    for (name, value) in reply.headers() {
        if name != "content-length" {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
    }
    headers.iter().for_each(|header| bytes.extend_from_slice(format!("{header}\r\n").as_bytes()));
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes.into()
}

fn same(reply: &Reply, body: &[u8]) -> Bytes {
    written(reply, "HTTP/1.1", &[&format!("content-length: {}", body.len())], body)
}

fn chunked(reply: &Reply, extension: &str, end: &str) -> Bytes {
    let (body, mut chunks) = (reply.body(), Vec::new());
    for piece in body.chunks(100) {
        chunks.extend_from_slice(format!("{:x}{extension}\r\n", piece.len()).as_bytes());
        chunks.extend_from_slice(piece);
        chunks.extend_from_slice(b"\r\n");
    }
    chunks.extend_from_slice(end.as_bytes());
    written(reply, "HTTP/1.1", &["transfer-encoding: chunked"], &chunks)
}

/// HTTP/1.0, whose body ends with the connection.
pub fn http_1_0(reply: &Reply) -> Bytes {
    written(reply, "HTTP/1.0", &[], reply.body())
}

/// As a load balancer ends an idle connection: the reply is whole, and then it is closed without a word.
pub fn closed_after(reply: &Reply) -> Bytes {
    same(reply, reply.body())
}

/// Interim replies first.
pub fn after_interim(reply: &Reply) -> Bytes {
    let mut bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".to_vec();
    bytes.extend_from_slice(&same(reply, reply.body()));
    bytes.into()
}

/// In chunks, with extensions and trailers.
pub fn in_chunks(reply: &Reply) -> Bytes {
    chunked(reply, ";name=value", "0\r\nx-trailer: yes\r\n\r\n")
}

/// In chunks whose extensions are far larger than they.
pub fn extension_bomb(reply: &Reply) -> Bytes {
    chunked(reply, &format!(";{}", "x".repeat(64 * 1024)), "0\r\n\r\n")
}

/// In chunks of which the last never comes.
pub fn unfinished_chunks(reply: &Reply) -> Bytes {
    chunked(reply, "", "")
}

/// In chunks whose sizes are no numbers.
pub fn broken_chunks(reply: &Reply) -> Bytes {
    written(reply, "HTTP/1.1", &["transfer-encoding: chunked"], b"zz\r\nnothing\r\n0\r\n\r\n")
}

/// Longer than it says.
pub fn too_long(reply: &Reply) -> Bytes {
    let length = format!("content-length: {}", reply.body().len() / 2);
    written(reply, "HTTP/1.1", &[&length], reply.body())
}

/// Two lengths that differ.
pub fn two_lengths(reply: &Reply) -> Bytes {
    let lengths = [reply.body().len(), reply.body().len() + 7].map(|n| format!("content-length: {n}"));
    written(reply, "HTTP/1.1", &[&lengths[0], &lengths[1]], reply.body())
}

/// A length that is none.
pub fn no_length(reply: &Reply) -> Bytes {
    written(reply, "HTTP/1.1", &["content-length: many"], reply.body())
}

/// Both framings at once, which is how requests are smuggled.
pub fn two_framings(reply: &Reply) -> Bytes {
    let headers = ["content-length: 3", "transfer-encoding: chunked"];
    written(reply, "HTTP/1.1", &headers, b"0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
}

/// Compressed, though nobody asked for that; a gzip of one stored block.
pub fn gzip(reply: &Reply) -> Bytes {
    let body = reply.body();
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut packed = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x01".to_vec();
    packed.extend_from_slice(&length.to_le_bytes());
    packed.extend_from_slice(&(!length).to_le_bytes());
    packed.extend_from_slice(body);
    packed.extend_from_slice(&[0; 8]);
    let length = format!("content-length: {}", packed.len());
    written(reply, "HTTP/1.1", &["content-encoding: gzip", &length], &packed)
}

/// Under a byte order mark.
pub fn marked(reply: &Reply) -> Bytes {
    same(reply, &[b"\xef\xbb\xbf", reply.body().as_ref()].concat())
}

/// In another character set, and saying so.
pub fn utf_16(reply: &Reply) -> Bytes {
    let wide: Vec<u8> = reply.body().iter().flat_map(|byte| [*byte, 0]).collect();
    same(reply, &wide)
}

/// With a byte that no text of UTF-8 has, in its middle.
pub fn not_utf_8(reply: &Reply) -> Bytes {
    let mut body = reply.body().to_vec();
    let middle = body.len() / 2;
    body.insert(middle, 0xff);
    same(reply, &body)
}

/// Something behind it.
pub fn with_garbage(reply: &Reply) -> Bytes {
    same(reply, &[reply.body().as_ref(), b"{}\0"].concat())
}

/// Nothing but whitespace.
pub fn blank(reply: &Reply) -> Bytes {
    same(reply, b" \n")
}

/// Every member twice.
pub fn doubled(reply: &Reply) -> Bytes {
    let text = String::from_utf8_lossy(reply.body());
    let text = text.trim();
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    same(reply, format!("{{{inner},{inner}}}").as_bytes())
}

/// So deep that a reader which follows falls.
pub fn deep(reply: &Reply) -> Bytes {
    same(reply, "[".repeat(30_000).as_bytes())
}

/// Numbers that JSON does not have.
pub fn not_a_number(reply: &Reply) -> Bytes {
    same(reply, br#"{"id":NaN,"owner":Infinity,"api_key":-0,"Plaintext":NaN,"accountId":NaN}"#)
}

/// A list where an object belongs.
pub fn a_list(reply: &Reply) -> Bytes {
    same(reply, &[b"[", reply.body().as_ref(), b"]"].concat())
}

/// A name and what it does to a reply.
pub type Wire = (&'static str, fn(&Reply) -> Bytes);

/// The same reply in another frame: it serves as well.
pub const GOOD: [Wire; 4] = [
    ("HTTP/1.0", http_1_0),
    ("interim replies first", after_interim),
    ("chunks with extensions and trailers", in_chunks),
    ("closed after it without a word", closed_after),
];

/// A frame that does not hold the reply: the connection broke.
pub const BROKEN: [Wire; 6] = [
    ("a bomb of chunk extensions", extension_bomb),
    ("chunks without an end", unfinished_chunks),
    ("chunks of no size", broken_chunks),
    ("two lengths", two_lengths),
    ("a length that is none", no_length),
    ("longer than it says", too_long),
];

/// A good frame, and a body that is not what it should be.
pub const STRANGE: [Wire; 11] = [
    ("gzip that nobody asked for", gzip),
    ("a byte order mark", marked),
    ("UTF-16", utf_16),
    ("not UTF-8", not_utf_8),
    ("garbage behind it", with_garbage),
    ("blank", blank),
    ("every member twice", doubled),
    ("30,000 brackets", deep),
    ("numbers that are none", not_a_number),
    ("a list for an object", a_list),
    ("two framings, of which one is empty", two_framings),
];

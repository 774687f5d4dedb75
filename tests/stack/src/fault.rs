//! Faults: what a test asks a server to do wrong, to which request, and how often.

use bytes::Bytes;
use std::time::Duration;

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum FaultKind {
    /// The service answers, and its body is replaced; status and headers stay.
    Body(Bytes),
    /// The connection is closed in good order (FIN) before the service sees the request.
    Close,
    /// The service answers, and its reply, head and body, breaks off after so many bytes.
    Cut {
        /// Bytes that are written; the head counts.
        kept: usize,
        /// What becomes of the connection.
        then: Then,
    },
    /// The answer comes after this time.
    Delay(Duration),
    /// The service answers, and its reply trickles: `chunk` bytes, then `pause`, and so on.
    Drip {
        /// Bytes written at once; at least one.
        chunk: usize,
        /// Time between two writes.
        pause: Duration,
    },
    /// The service does not see the request: these bytes are written, and then the others again and again, until
    /// the client leaves.
    Endless {
        /// Such as the head of a reply.
        first: Bytes,
        /// Such as a header, or a piece of a body; at least one byte.
        again: Bytes,
    },
    /// The request is read and never answered.
    Hang,
    /// The service acts on the request; then the connection is reset instead of answered.
    LostReply,
    /// The connection is reset before the service sees the request; it acts on it all the same, right
    /// after the next request of the same name was carried out: a proxy held it back.
    Overtaken,
    /// These bytes are written instead of an HTTP reply, then the connection is closed.
    Raw(Bytes),
    /// The connection is reset (RST) before the service sees the request.
    Reset,
    /// The service answers, and what is made of its reply is written instead; then the connection is closed.
    Rewritten(fn(&http::Response<Bytes>) -> Bytes),
    /// This reply is sent; the service does not see the request.
    Status {
        /// HTTP status.
        code: u16,
        /// Headers by name and value.
        headers: Vec<(String, String)>,
        /// The body.
        body: Bytes,
    },
    /// The service answers with its full content-length, but the body ends after so many bytes.
    Truncate(usize),
}

/// What becomes of a connection whose reply broke off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// FIN, in good order.
    Close,
    /// RST.
    Reset,
    /// It stays open, and nothing more comes.
    Silence,
}

/// One fault: it waits for a request of its name, then strikes as often as it was told.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The exact name of the requests it strikes (see [`crate::server::Service::name_of`]).
    pub matches: String,
    /// So many requests of that name pass unharmed first.
    pub skip: u32,
    /// How many requests it strikes; `u32::MAX` is for ever.
    pub times: u32,
    /// What it does to them.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault that strikes the next request of this name, once.
    #[must_use]
    pub fn on(name: &str, kind: FaultKind) -> Self {
        Self { matches: name.to_owned(), skip: 0, times: 1, kind }
    }

    /// A reply with this status and body, once.
    #[must_use]
    pub fn status(name: &str, code: u16, body: impl Into<Bytes>) -> Self {
        Self::on(name, FaultKind::Status { code, headers: Vec::new(), body: body.into() })
    }

    /// The same fault, `n` times.
    #[must_use]
    pub fn times(self, n: u32) -> Self {
        Self { times: n, ..self }
    }

    /// The same fault, after `n` requests of its name have passed.
    #[must_use]
    pub fn skip(self, n: u32) -> Self {
        Self { skip: n, ..self }
    }

    /// The same fault, every time.
    #[must_use]
    pub fn forever(self) -> Self {
        self.times(u32::MAX)
    }
}

/// Takes the fault that strikes this request: the first of its name with times left.
pub(crate) fn strike(faults: &mut [Fault], name: &str) -> Option<FaultKind> {
    for fault in faults.iter_mut().filter(|f| f.matches == name) {
        if fault.skip > 0 {
            fault.skip -= 1;
        } else if fault.times == u32::MAX {
            return Some(fault.kind.clone());
        } else if fault.times > 0 {
            fault.times -= 1;
            return Some(fault.kind.clone());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fault: Fault, struck: &str) {
        let mut faults = [fault];
        let seen: String = (0..struck.len())
            .map(|_| match strike(&mut faults, "redeem") {
                Some(_) => 'x',
                None => '-',
            })
            .collect();
        assert_eq!(seen, struck);
    }

    #[test]
    fn a_fault_strikes_as_told() {
        let fault = || Fault::on("redeem", FaultKind::Reset);
        check(fault(), "x---");
        check(fault().times(2), "xx--");
        check(fault().skip(2), "--x-");
        check(fault().skip(1).times(2), "-xx-");
        check(fault().forever(), "xxxx");
        check(Fault::on("mint", FaultKind::Reset).forever(), "----");
    }
}

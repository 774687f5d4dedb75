//! The identity in its file, a netrc: a host id and its API key for one Conjur.
//!
//! It is written in the one form that every known reader takes: three lines, one machine, LF, no quotes, no
//! comments. In a file of its own that is all there is. In one that other programs write in too, the entry
//! is found whatever it looks like, and replaced by that form; every other byte stays (see `netrc`).
//! What is neither is damage, and is made anew. The other files are in `sinks`.

use crate::netrc::{self, Entry, Netrc};
use imprint_core::name::{ApplianceUrl, HostId};
use imprint_core::token::ApiKey;
use imprint_core::{Class, Classified};
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// The largest identity file that is read, in bytes.
pub const LARGEST: usize = 64 * 1024;

/// The longest entry that is written, in bytes; a test compares it with the names' own caps.
pub const LONGEST: usize = 1300;

/// Host id and API key for one Conjur.
pub struct Identity {
    /// The Conjur that knows the host.
    pub appliance_url: ApplianceUrl,
    /// The host.
    pub host_id: HostId,
    /// Its API key.
    pub api_key: ApiKey,
}

/// Why there is no identity in these bytes. Never holds a byte of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// No bytes, or nothing but blanks.
    #[error("it is empty")]
    Empty,
    /// It is larger than it can rightly be.
    #[error("it has more than {LARGEST} bytes")]
    Large,
    /// Something is wrong with a line, counted from 1.
    #[error("line {0} is not what imprint writes")]
    Line(usize),
    /// What stands there for this Conjur is no host's: a person has logged in, say.
    #[error("its entry for this Conjur is not of a host")]
    Others,
    /// It ends in the middle.
    #[error("it is cut off")]
    Truncated,
    /// Two entries for this Conjur that differ: readers do not agree which one counts.
    #[error("it has two entries for this Conjur")]
    Twice,
    /// Entries of another program, and no edit that all readers would take alike.
    #[error("it has entries of another program, and cannot be edited: {0}")]
    Unsafe(netrc::Error),
}

impl Error {
    /// Whether there is something of somebody else, which is never overwritten.
    #[must_use]
    pub const fn is_anothers(&self) -> bool {
        match self {
            Self::Large | Self::Others | Self::Unsafe(_) => true,
            Self::Empty | Self::Line(_) | Self::Truncated | Self::Twice => false,
        }
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Empty
            | Self::Large
            | Self::Line(_)
            | Self::Others
            | Self::Truncated
            | Self::Twice
            | Self::Unsafe(_) => Class::Tampered,
        }
    }
}

impl Identity {
    /// The file's bytes.
    #[must_use]
    pub fn to_netrc(&self) -> Zeroizing<String> {
        // Reserved at once: growing would leave copies of the key behind.
        let mut text = Zeroizing::new(String::with_capacity(LONGEST));
        let (machine, login) = (self.appliance_url.machine(), self.host_id.login());
        // Writing to a String cannot fail.
        let _always =
            write!(text, "machine {machine}\n    login {login}\n    password {}\n", self.api_key.expose());
        text
    }

    /// Finds the identity for this Conjur in a netrc. `None`: there is none, but something of others.
    /// A file that has nothing but an identity in our form is ours, whichever Conjur it is for.
    ///
    /// # Errors
    /// When what is there is damaged, or not ours to judge.
    pub fn find(bytes: &[u8], url: &ApplianceUrl) -> Result<Option<Self>, Error> {
        let alone = Self::parse(bytes);
        if alone.is_ok() || is_blank(bytes) {
            return alone.map(Some);
        }
        let machine = url.machine();
        let Some(netrc) = shared(bytes, &machine)? else { return alone.map(Some) };
        let mut found: Option<Self> = None;
        for entry in &netrc.ours {
            let next = Self::of_entry(entry, url, netrc.text())?;
            match &found {
                Some(first) if first.host_id != next.host_id || !first.api_key.same_as(&next.api_key) => {
                    return Err(Error::Twice);
                }
                Some(_) | None => found = Some(next),
            }
        }
        Ok(found)
    }

    fn of_entry(entry: &Entry<'_>, url: &ApplianceUrl, text: &str) -> Result<Self, Error> {
        let line = |ok: bool| if ok { Ok(()) } else { Err(Error::Line(1)) };
        line(!entry.is_twice)?;
        let login = entry.login.ok_or(Error::Truncated)?;
        let no_host = if is_of_a_host(entry) { Error::Truncated } else { Error::Others };
        let id = login.strip_prefix("host/").ok_or(no_host)?;
        let password = entry.password.filter(|_| !entry.may_be_cut(text)).ok_or(Error::Truncated)?;
        Ok(Self {
            appliance_url: url.clone(),
            host_id: id.parse().map_err(|_| Error::Line(1))?,
            api_key: ApiKey::new(Zeroizing::new(password.to_owned())).map_err(|_| Error::Line(1))?,
        })
    }

    /// The bytes of a file with this identity: what is there is edited when others have a part in it, and
    /// else replaced.
    ///
    /// # Errors
    /// When what is there is not ours to edit.
    pub fn put_into(&self, there: &[u8]) -> Result<Zeroizing<String>, Error> {
        let (entry, machine) = (self.to_netrc(), self.appliance_url.machine());
        if is_blank(there) || Self::parse(there).is_ok() {
            return Ok(entry);
        }
        let Some(netrc) = shared(there, &machine)? else { return Ok(entry) };
        if netrc.ours.iter().any(|entry| !is_of_a_host(entry)) {
            return Err(Error::Others);
        }
        Ok(netrc.with(&entry))
    }

    /// The bytes of a file without the identity for this Conjur; `None` when nothing is left. An entry of
    /// a person stays.
    ///
    /// # Errors
    /// When what is there is not ours to edit.
    pub fn take_from(there: &[u8], url: &ApplianceUrl) -> Result<Option<Zeroizing<String>>, Error> {
        if is_blank(there) || Self::parse(there).is_ok() {
            return Ok(None);
        }
        let machine = url.machine();
        let Some(netrc) = shared(there, &machine)? else { return Ok(None) };
        let left = netrc.without(is_of_a_host);
        Ok(Some(left).filter(|left| !is_blank(left.as_bytes())))
    }

    /// Reads the bytes of a file that has nothing else.
    ///
    /// # Errors
    /// When they are anything but what [`Self::to_netrc`] writes; other indentation is taken.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if is_blank(bytes) {
            return Err(Error::Empty);
        }
        let mut lines = bytes.split_inclusive(|b| *b == b'\n');
        let mut value = |number: usize, keyword: &str| {
            let line = lines.next().ok_or(Error::Truncated)?;
            let text = std::str::from_utf8(line).map_err(|_| Error::Line(number))?;
            // Without its newline, the value itself may be cut.
            let text = text.strip_suffix('\n').ok_or(Error::Truncated)?;
            let text = text.trim_start_matches([' ', '\t']);
            text.strip_prefix(keyword).and_then(|rest| rest.strip_prefix(' ')).ok_or(Error::Line(number))
        };
        let machine = value(1, "machine")?;
        let login = value(2, "login")?;
        let password = value(3, "password")?;
        if lines.next().is_some() {
            return Err(Error::Line(4));
        }
        let url = machine.strip_suffix("/authn").ok_or(Error::Others)?;
        let appliance_url: ApplianceUrl = url.parse().map_err(|_| Error::Line(1))?;
        if appliance_url.as_str() != url {
            return Err(Error::Line(1));
        }
        let id = login.strip_prefix("host/").ok_or(Error::Others)?;
        Ok(Self {
            appliance_url,
            host_id: id.parse().map_err(|_| Error::Line(2))?,
            api_key: ApiKey::new(Zeroizing::new(password.to_owned())).map_err(|_| Error::Line(3))?,
        })
    }
}

/// A file in which others have a part; `None` when it is damage of our own file, to be made anew.
fn shared<'a>(bytes: &'a [u8], machine: &str) -> Result<Option<Netrc<'a>>, Error> {
    // Before any damage is judged: what is damaged is made anew, what is another's never.
    match Netrc::read(bytes, machine) {
        Ok(netrc) => {
            Ok(Some(netrc).filter(|netrc| !netrc.ours.is_empty() || !netrc.has_others || is_others(bytes)))
        }
        Err(error) if is_others(bytes) => Err(Error::Unsafe(error)),
        Err(_) => Ok(None),
    }
}

/// Or was, before it was cut off.
fn is_of_a_host(entry: &Entry<'_>) -> bool {
    entry.login.is_none_or(|login| login.starts_with("host/") || "host/".starts_with(login))
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

/// Whether a netrc has anything that imprint did not write, judged word by word as its readers do: they
/// care neither for lines nor for what a comment hides. A beginning of our own form is none of it.
fn is_others(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // Its last word may be cut, unless a blank follows; then the last word here is empty.
    let mut words: Vec<&[u8]> = bytes.split(u8::is_ascii_whitespace).collect();
    let cut = words.pop().unwrap_or_default();
    words.retain(|word| !word.is_empty());
    let after = |keyword: &'static [u8]| {
        words
            .iter()
            .zip(words.iter().skip(1))
            .filter(move |(word, _)| **word == keyword)
            .map(|(_, next)| *next)
    };
    let machines = words.iter().chain([&cut]).filter(|word| **word == b"machine").count();
    // One line for a whole entry is a form that imprint never writes.
    let first = bytes.split(|b| *b == b'\n').find(|line| !line.iter().all(u8::is_ascii_whitespace));
    let in_one_line = first.is_some_and(|line| {
        line.split(u8::is_ascii_whitespace).any(|word| matches!(word, b"login" | b"password"))
    });
    machines > 1
        || words.iter().chain([&cut]).any(|word| matches!(*word, b"default" | b"macdef" | b"account"))
        || after(b"machine").any(|name| !name.ends_with(b"/authn"))
        || after(b"login").any(|login| !login.starts_with(b"host/"))
        || machines == 1 && in_one_line
}

#[cfg(test)]
pub(crate) mod tests;

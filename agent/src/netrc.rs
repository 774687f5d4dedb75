//! A netrc that other programs write in as well: who has which entry, and an edit that leaves every byte of
//! theirs as it is.
//!
//! Its readers (Python, Go, Ruby, Puppet) do not agree on quotes, backslashes and comments. What they would
//! not all cut into the same words is not edited: [`Error`] says what and where. Macros (`macdef`) and the
//! `default` entry are known, and `default` stays last, as Go insists.

use std::ops::Range;
use zeroize::Zeroizing;

/// Words that begin something, and so cannot safely be a value.
const KEYWORDS: [&str; 7] = ["machine", "default", "macdef", "login", "user", "password", "account"];

/// Why a netrc is not edited. Never holds a byte of it; lines are counted from 1.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// A comment that one reader takes for an entry of ours.
    #[error("the comment in line {0} names this Conjur, and not every reader skips it")]
    Comment(usize),
    /// Characters that end a word or a line for some readers only.
    #[error("it has characters that not every reader takes")]
    Characters,
    /// A keyword in the place of a value.
    #[error("line {0} has a keyword in the place of a value")]
    Keyword(usize),
    /// A macro without the empty line that ends it.
    #[error("the macro in line {0} has no end")]
    Macro(usize),
    /// A keyword without a value.
    #[error("the value in line {0} is missing")]
    Missing(usize),
    /// Quotes or a backslash that readers take in different ways.
    #[error("line {0} has quotes that not every reader takes in the same way")]
    Quotes(usize),
    /// A word that a netrc does not have.
    #[error("line {0} has a word that is no keyword")]
    Word(usize),
}

/// What a netrc has for one machine.
#[derive(Debug, Eq, PartialEq)]
pub struct Entry<'a> {
    /// Its login, if it has one.
    pub login: Option<&'a str>,
    /// Its password, if it has one.
    pub password: Option<&'a str>,
    /// Something is said twice.
    pub is_twice: bool,
    /// From its first word to the end of its last.
    span: Range<usize>,
    comments: Vec<&'a str>,
}

impl Entry<'_> {
    /// Whether its last word may be cut off: nothing follows it.
    #[must_use]
    pub const fn may_be_cut(&self, text: &str) -> bool {
        self.span.end == text.len()
    }
}

/// What was found out about a netrc.
#[derive(Debug)]
pub struct Netrc<'a> {
    text: &'a str,
    /// The entries of the machine that was asked for, in their order.
    pub ours: Vec<Entry<'a>>,
    /// Whether there is anything of others: entries, macros, a default.
    pub has_others: bool,
    default: Option<usize>,
}

impl<'a> Netrc<'a> {
    /// Reads a netrc, with an eye on one machine.
    ///
    /// # Errors
    /// When its readers would not agree on what is in it.
    pub fn read(bytes: &'a [u8], machine: &str) -> Result<Self, Error> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::Characters)?;
        let odd = |c: char| {
            c != ' ' && c != '\t' && c != '\n' && c != '\r' && (c.is_control() || c.is_whitespace())
        };
        if text.starts_with('\u{feff}') || text.contains(odd) || text.replace("\r\n", "").contains('\r') {
            return Err(Error::Characters);
        }
        let mut netrc = Self { text, ours: Vec::new(), has_others: false, default: None };
        let mut words = Words { text, at: 0 };
        while let Some(word) = words.keyword(machine, &mut Vec::new())? {
            match word.text {
                "machine" => {
                    let name = words.value()?.text;
                    let entry = words.entry(word.span, machine)?;
                    if name == machine {
                        netrc.ours.push(entry);
                    } else {
                        netrc.has_others = true;
                    }
                }
                "default" => {
                    netrc.has_others = true;
                    netrc.default.get_or_insert(word.span.start);
                    words.entry(word.span, machine)?;
                }
                "macdef" => {
                    netrc.has_others = true;
                    words.skip_macro(word.span.start)?;
                }
                _ => return Err(Error::Word(words.line(word.span.start))),
            }
        }
        Ok(netrc)
    }

    /// All of it.
    #[must_use]
    pub const fn text(&self) -> &str {
        self.text
    }

    /// The netrc with this entry in the place of all of ours, or after all others but the default one.
    /// `entry` is of whole lines; every other byte stays.
    #[must_use]
    pub fn with(&self, entry: &str) -> Zeroizing<String> {
        let mut out = Out::new(self.text, entry.len());
        for (number, ours) in self.ours.iter().enumerate() {
            out.cut(ours, (number == 0).then_some(entry));
        }
        if self.ours.is_empty() {
            out.insert(self.default.unwrap_or(self.text.len()), entry);
        }
        out.finish()
    }

    /// The netrc without the entries of ours that `is_meant`; every other byte stays.
    #[must_use]
    pub fn without(&self, is_meant: impl Fn(&Entry<'_>) -> bool) -> Zeroizing<String> {
        let mut out = Out::new(self.text, 0);
        for ours in self.ours.iter().filter(|entry| is_meant(entry)) {
            out.cut(ours, None);
        }
        out.finish()
    }
}

/// A word and where it stands, quotes included.
struct Word<'a> {
    text: &'a str,
    span: Range<usize>,
}

/// The words of a netrc, as all its readers cut them.
struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Words<'a> {
    fn line(&self, at: usize) -> usize {
        self.text.bytes().take(at).filter(|b| *b == b'\n').count() + 1
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The next word; `None` at the end.
    fn next(&mut self) -> Result<Option<Word<'a>>, Error> {
        let rest = self.rest();
        let start = self.at + rest.len() - rest.trim_start_matches(is_blank).len();
        let rest = self.text.get(start..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(None);
        }
        // Counted only for an error: counting for every word would take the square of the file's length.
        let quotes = || Error::Quotes(self.line(start));
        let (text, length) = if let Some(inside) = rest.strip_prefix('"') {
            // With a backslash inside, some readers would look for another end.
            let end = inside.find(['"', '\\', '\n']).ok_or_else(quotes)?;
            let text = inside.get(..end).unwrap_or_default();
            let is_one = text.split(is_blank).all(|word| !KEYWORDS.contains(&word) && !word.starts_with('#'));
            let after = inside.get(end + 1..).unwrap_or_default();
            if !inside[end..].starts_with('"') || !is_one || !after.is_empty() && !after.starts_with(is_blank)
            {
                return Err(quotes());
            }
            (text, end + 2)
        } else {
            let end = rest.find(is_blank).unwrap_or(rest.len());
            let text = rest.get(..end).unwrap_or_default();
            if text.ends_with('\\') {
                return Err(quotes());
            }
            (text, end)
        };
        self.at = start + length;
        Ok(Some(Word { text, span: start..self.at }))
    }

    /// The next word that is no comment.
    fn keyword(&mut self, machine: &str, comments: &mut Vec<&'a str>) -> Result<Option<Word<'a>>, Error> {
        loop {
            let rest = self.rest();
            let rest = rest.trim_start_matches(is_blank);
            if !rest.starts_with('#') {
                return self.next();
            }
            let start = self.text.len() - rest.len();
            let comment = rest.split('\n').next().unwrap_or_default();
            if comment.split(is_blank).any(|word| word.trim_start_matches('#') == machine) {
                return Err(Error::Comment(self.line(start)));
            }
            comments.push(comment.trim_end());
            self.at = start + comment.len();
        }
    }

    fn value(&mut self) -> Result<Word<'a>, Error> {
        let at = self.at;
        let word = self.next()?.ok_or_else(|| Error::Missing(self.line(at)))?;
        if KEYWORDS.contains(&word.text) {
            return Err(Error::Keyword(self.line(word.span.start)));
        }
        if word.text.starts_with('#') {
            return Err(Error::Quotes(self.line(word.span.start)));
        }
        Ok(word)
    }

    /// The rest of an entry whose name is read.
    fn entry(&mut self, from: Range<usize>, machine: &str) -> Result<Entry<'a>, Error> {
        let mut entry = Entry {
            login: None,
            password: None,
            is_twice: false,
            span: from.start..self.at,
            comments: Vec::new(),
        };
        let mut comments = Vec::new();
        loop {
            let before = self.at;
            let Some(word) = self.keyword(machine, &mut comments)? else { return Ok(entry) };
            let twice = match word.text {
                "login" | "user" => entry.login.replace(self.value()?.text).is_some(),
                "password" => entry.password.replace(self.value()?.text).is_some(),
                "account" => self.value().map(|_| false)?,
                "machine" | "default" | "macdef" => {
                    self.at = before;
                    return Ok(entry);
                }
                _ => return Err(Error::Word(self.line(word.span.start))),
            };
            entry.is_twice |= twice;
            entry.span.end = self.at;
            // A comment after the last word is not within the entry.
            entry.comments.append(&mut comments);
        }
    }

    /// To behind the empty line that ends a macro.
    fn skip_macro(&mut self, start: usize) -> Result<(), Error> {
        self.value()?;
        let body = self.rest();
        let body = body.strip_prefix("\r\n").or_else(|| body.strip_prefix('\n')).unwrap_or(body);
        self.at = self.text.len() - body.len();
        for text in body.split_inclusive('\n') {
            self.at += text.len();
            if matches!(text, "\n" | "\r\n") {
                return Ok(());
            }
        }
        Err(Error::Macro(self.line(start)))
    }
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The text that is put together. It holds keys, so it is never grown: growing leaves copies behind.
struct Out<'a> {
    text: &'a str,
    newline: &'static str,
    at: usize,
    out: Zeroizing<String>,
}

impl<'a> Out<'a> {
    fn new(text: &'a str, more: usize) -> Self {
        let newline = if text.contains("\r\n") { "\r\n" } else { "\n" };
        Self {
            text,
            newline,
            at: 0,
            out: Zeroizing::new(String::with_capacity(text.len() * 2 + more * 2 + 16)),
        }
    }

    fn copy_to(&mut self, end: usize) {
        self.out.push_str(self.text.get(self.at..end).unwrap_or_default());
        self.at = end;
    }

    fn line_ends(&mut self) {
        self.out.push_str(self.newline);
    }

    /// Copies what is before an entry, and writes the other in its place, or nothing.
    fn cut(&mut self, ours: &Entry<'_>, replacement: Option<&str>) {
        let Range { start, end } = ours.span;
        let line = self.text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let behind = self.text.get(end..).unwrap_or_default();
        let tail = behind.split_inclusive('\n').next().unwrap_or_default();
        let is_first =
            self.text.get(line.max(self.at)..start).is_some_and(|t| t.trim().is_empty()) && self.at <= line;
        let is_last = tail.trim().is_empty();
        match replacement {
            Some(entry) => {
                self.copy_to(start);
                if !is_first {
                    self.line_ends();
                }
                for (number, text) in entry.lines().enumerate() {
                    if number > 0 {
                        self.line_ends();
                    }
                    self.out.push_str(text);
                }
                for comment in &ours.comments {
                    self.line_ends();
                    self.out.push_str(comment);
                }
                if !is_last && !tail.trim_start().starts_with('#') || behind.is_empty() {
                    self.line_ends();
                }
                self.at = end;
            }
            None => {
                // A line of its own goes as a whole.
                let whole = is_first && is_last;
                self.copy_to(if whole { line } else { start });
                self.at = if whole { end + tail.len() } else { end };
                for comment in &ours.comments {
                    if !whole {
                        self.line_ends();
                    }
                    self.out.push_str(comment);
                    if whole {
                        self.line_ends();
                    }
                }
            }
        }
    }

    /// Copies what is before `at`, and writes an entry on lines of its own.
    fn insert(&mut self, at: usize, entry: &str) {
        let line = self.text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        if self.text.get(line..at).is_some_and(|before| before.trim().is_empty()) {
            self.copy_to(line);
        } else {
            self.copy_to(at);
            self.line_ends();
        }
        for text in entry.lines() {
            self.out.push_str(text);
            self.line_ends();
        }
    }

    fn finish(mut self) -> Zeroizing<String> {
        self.copy_to(self.text.len());
        self.out
    }
}

#[cfg(test)]
mod tests;

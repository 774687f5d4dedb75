//! Reading a TOML configuration so that every problem is told at once, each with its line.
//!
//! serde stops at the first error and names no line for an unknown key. So a file is walked as a
//! tree whose every key and value knows its place: [`read`] hands out the root [`Table`], a program
//! asks it for each setting by name and kind, and whatever was never asked for is unknown. Which
//! settings there are, and how they go together, is the programs' business.

mod kind;

pub use kind::{Read, Value, duration, flag, list, number, text, written};

use crate::error::{Class, Classified};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The largest configuration that is read, in bytes: a thousand host factories take some 200,000.
pub const LARGEST: usize = 1024 * 1024;

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Problem {
    /// Where, counted from 1; `None` for what is missing from the whole file.
    pub line: Option<usize>,
    /// What, naming the setting.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Everything that is wrong with a configuration, in the order of its lines.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            let between = if at == 0 { "" } else { "; " };
            write!(f, "{between}{problem}")?;
        }
        Ok(())
    }
}

impl Classified for Problems {
    fn class(&self) -> Class {
        Class::Config
    }
}

/// Reads a configuration. `take` asks the root table for every setting; it gives `None` when one
/// that it needs was missing or wrong, which the table has then noted.
///
/// # Errors
/// With every problem of syntax, of unknown, missing and wrong settings, and those that `take`
/// reported itself.
pub fn read<T>(text: &str, take: impl FnOnce(&mut Table<'_>) -> Option<T>) -> Result<T, Problems> {
    let alone = |text: String| Err(Problems(vec![Problem { line: None, text }]));
    if text.len() > LARGEST {
        return alone(format!("it has {} bytes; at most {LARGEST} are read", text.len()));
    }
    let (root, syntax) = DeTable::parse_recoverable(text);
    let lines = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    let notes = Notes { lines, found: RefCell::default(), broken: BTreeSet::new() };
    let mut faults = BTreeMap::new();
    for error in syntax {
        // One line often breaks in several ways: the first is the cause.
        faults.entry(error.span().map(|span| notes.line(&span))).or_insert(error.message().to_owned());
    }
    let syntax: Vec<Problem> = faults.into_iter().map(|(line, text)| Problem { line, text }).collect();
    let notes = Notes { broken: syntax.iter().filter_map(|p| p.line).collect(), ..notes };
    let taken = {
        let mut table = Table::new(Some(root.get_ref()), None, String::new(), &notes);
        take(&mut table)
    };
    let mut problems = notes.found.into_inner();
    problems.extend(syntax);
    problems.sort();
    match taken {
        Some(value) if problems.is_empty() => Ok(value),
        None if problems.is_empty() => alone("a setting that is needed is missing".to_owned()),
        Some(_) | None => Err(Problems(problems)),
    }
}

/// A table of the file: its root, a section, or one of several sections of a name.
///
/// When it goes out of scope, the keys that nobody asked for are reported as unknown.
pub struct Table<'a> {
    values: Option<&'a DeTable<'a>>,
    line: Option<usize>,
    path: String,
    asked: BTreeSet<&'static str>,
    refused: Cell<bool>,
    notes: &'a Notes,
}

struct Notes {
    /// Where each line but the first begins.
    lines: Vec<usize>,
    found: RefCell<Vec<Problem>>,
    /// Lines that are not TOML: what they seem to say is not judged, nor what the file seems to lack.
    broken: BTreeSet<usize>,
}

impl Notes {
    fn line(&self, span: &Range<usize>) -> usize {
        1 + self.lines.partition_point(|begins| *begins <= span.start)
    }

    fn note(&self, line: Option<usize>, text: String) {
        if line.is_none_or(|line| !self.broken.contains(&line)) {
            self.found.borrow_mut().push(Problem { line, text });
        }
    }
}

impl<'a> Table<'a> {
    fn new(values: Option<&'a DeTable<'a>>, line: Option<usize>, path: String, notes: &'a Notes) -> Self {
        Self { values, line, path, asked: BTreeSet::new(), refused: Cell::new(false), notes }
    }

    /// Whether the file has this section at all.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        self.values.is_some()
    }

    /// Whether the table has this key, whatever its value.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.find_in(key).is_some()
    }

    /// Whether the table has this key as a list, such as sections `[[key]]`.
    #[must_use]
    pub fn is_list(&self, key: &str) -> bool {
        matches!(self.find_in(key), Some((_, DeValue::Array(_))))
    }

    /// A setting that may be left out. Also `None` when it is wrong, which is then noted.
    pub fn optional<T>(&mut self, key: &'static str, kind: impl Fn(&Value<'_>) -> Read<T>) -> Option<T> {
        let (span, value) = self.find(key)?;
        kind(value)
            .map_err(|wrongs| {
                for wrong in wrongs {
                    self.notes.note(Some(self.notes.line(&span)), format!("{}: {wrong}", self.name(key)));
                }
            })
            .ok()
    }

    /// A setting that must be there. `None` when it is missing or wrong, which is then noted.
    pub fn required<T>(&mut self, key: &'static str, kind: impl Fn(&Value<'_>) -> Read<T>) -> Option<T> {
        if self.find(key).is_none() {
            self.missing(key);
            return None;
        }
        self.optional(key, kind)
    }

    /// A setting with a default. `None` only when it is wrong, which is then noted.
    pub fn or<T>(
        &mut self,
        key: &'static str,
        kind: impl Fn(&Value<'_>) -> Read<T>,
        default: T,
    ) -> Option<T> {
        if self.find(key).is_none() { Some(default) } else { self.optional(key, kind) }
    }

    /// The section `[key]`; when the file has none, an empty one in which every required setting is
    /// missing.
    pub fn section(&mut self, key: &'static str) -> Table<'a> {
        let path = self.name(key);
        match self.find(key) {
            Some((span, DeValue::Table(values))) => {
                Table::new(Some(values), Some(self.notes.line(&span)), path, self.notes)
            }
            Some((span, other)) => {
                let say = format!("{path}: must be a section [{path}], not {}", kind::of(other));
                self.notes.note(Some(self.notes.line(&span)), say);
                let table = Table::new(None, None, path, self.notes);
                // One problem is enough: what it lacks is no second one.
                table.refused.set(true);
                table
            }
            None => Table::new(None, None, path, self.notes),
        }
    }

    /// The sections `[[key]]`, in the file's order.
    pub fn sections(&mut self, key: &'static str) -> Vec<Table<'a>> {
        let path = self.name(key);
        let refuse = |span: &Range<usize>, other| {
            let say = format!("{path}: must be sections [[{path}]], not {}", kind::of(other));
            self.notes.note(Some(self.notes.line(span)), say);
        };
        let Some((span, value)) = self.find_in(key) else { return Vec::new() };
        let found = match value {
            DeValue::Array(items) => items
                .iter()
                .filter_map(|item| match item.get_ref() {
                    DeValue::Table(values) => {
                        let line = Some(self.notes.line(&item.span()));
                        Some(Table::new(Some(values), line, path.clone(), self.notes))
                    }
                    other => {
                        refuse(&item.span(), other);
                        None
                    }
                })
                .collect(),
            other => {
                refuse(&span, other);
                Vec::new()
            }
        };
        self.asked.insert(key);
        found
    }

    /// Every key of this table with its text, for sections whose keys are the operator's to choose.
    pub fn pairs(&mut self) -> BTreeMap<String, String> {
        self.entries(|_, value| text(value))
    }

    /// Every key of this table with what `kind` makes of it and its value, for sections whose keys are the
    /// operator's to choose. What is wrong is noted, and left out.
    pub fn entries<T>(&mut self, kind: impl Fn(&str, &Value<'_>) -> Read<T>) -> BTreeMap<String, T> {
        self.refused.set(true);
        let mut entries = BTreeMap::new();
        for (key, value) in self.values.into_iter().flatten() {
            match kind(key.get_ref(), value.get_ref()) {
                Ok(value) => {
                    entries.insert(key.get_ref().to_string(), value);
                }
                Err(wrongs) => {
                    for wrong in wrongs {
                        let say = format!("{}: {wrong}", self.name(&shown(key.get_ref())));
                        self.notes.note(Some(self.notes.line(&key.span())), say);
                    }
                }
            }
        }
        entries
    }

    /// Reports what is wrong with the setting `key`, at its line; or at the section's, when the
    /// file leaves it out.
    pub fn problem(&self, key: &'static str, what: impl fmt::Display) {
        let line = self.find_in(key).map_or(self.line, |(span, _)| Some(self.notes.line(&span)));
        self.notes.note(line, format!("{}: {what}", self.name(key)));
    }

    /// Reports that `key` is needed here.
    pub fn missing(&self, key: &'static str) {
        // A file that is not TOML may hold it where it could not be read.
        if !self.refused.get() && self.notes.broken.is_empty() {
            self.notes.note(self.line, format!("{} is missing", self.name(key)));
        }
    }

    fn find(&mut self, key: &'static str) -> Option<(Range<usize>, &'a DeValue<'a>)> {
        self.asked.insert(key);
        self.find_in(key)
    }

    fn find_in(&self, key: &str) -> Option<(Range<usize>, &'a DeValue<'a>)> {
        let (name, value) = self.values?.get_key_value(key)?;
        Some((name.span(), value.get_ref()))
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn unknown(&self, key: &Spanned<std::borrow::Cow<'_, str>>) {
        let name = self.name(&shown(key.get_ref()));
        let near = self.asked.iter().find(|known| {
            !self.values.is_some_and(|v| v.contains_key(**known)) && near(known, key.get_ref())
        });
        let guess = near.map(|known| format!(" (is it {known}?)")).unwrap_or_default();
        self.notes.note(Some(self.notes.line(&key.span())), format!("{name} is not a known setting{guess}"));
    }
}

impl Drop for Table<'_> {
    fn drop(&mut self) {
        if !self.refused.get() {
            for (key, _) in self.values.into_iter().flatten() {
                if !self.asked.contains(key.get_ref().as_ref()) {
                    self.unknown(key);
                }
            }
        }
    }
}

/// A key of the file for a message: bounded, and without what could lead a terminal astray.
fn shown(key: &str) -> String {
    key.chars().take(60).flat_map(char::escape_debug).collect()
}

/// Whether two keys differ by no more than two typing slips.
fn near(known: &str, given: &str) -> bool {
    if given.len() > 40 {
        return false;
    }
    let given: Vec<char> = given.chars().collect();
    let mut row: Vec<usize> = (0..=given.len()).collect();
    for (i, a) in known.chars().enumerate() {
        let mut corner = i;
        for (slot, b) in (1..).zip(&given) {
            let (Some(left), Some(up)) = (row.get(slot - 1).copied(), row.get(slot).copied()) else {
                continue;
            };
            let left = if slot == 1 { i + 1 } else { left };
            let best = (corner + usize::from(a != *b)).min(left + 1).min(up + 1);
            corner = up;
            if let Some(place) = row.get_mut(slot) {
                *place = best;
            }
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().is_some_and(|slips| *slips <= 2)
}

#[cfg(test)]
mod tests;

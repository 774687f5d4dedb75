//! `docs/CONFIGURATION.md`, for reading in a browser: the same settings as the man pages of section 5 have, from
//! the same commented configurations, with the files and the environment of [`crate::words`].

use crate::settings::{Block, blocks};
use crate::words::{PROGRAMS, Rows, Settings, Words};
use std::fmt::Write as _;

const HEAD: &str = "# Configuration

Every setting of both programs, and of the rules for instances, made from the commented configurations under `packaging/etc/imprint` by `make
manuals`: change it there. `man imprint.toml`, `man imprint-rotator.toml` and `man imprint-rules.toml` say the same.

Settings in **bold** stand in a usual configuration. The others are commented out there: what is shown is the default
or an example. Unknown settings are refused, and all problems are told at once, each with its line. A span of time is
a number with `s`, `m`, `h` or `d` behind it, or several of them: `90s`, `15m`, `1h30m`.

| to see whether a configuration is right | run |
|---|---|
| the agent's, without asking a server | `imprint doctor --offline` |
| the agent's, with all servers | `imprint doctor`, `imprint enroll --dry-run` |
| the rotator's, with all servers | `imprint-rotator doctor`, `imprint-rotator plan` |
| the rules | `imprint-rotator rules`, and with `--explain` why an instance matches or not |
";

/// The document.
pub(crate) fn configuration() -> String {
    PROGRAMS.iter().fold(HEAD.to_owned(), |text, words| text + &part(words))
}

fn part(words: &Words) -> String {
    let mut text: String = words.settings.iter().map(file).collect();
    for (heading, rows) in [("Files", words.files), ("Environment", words.environment)] {
        named(&mut text, &format!("{heading} of {}", words.name), rows);
    }
    text
}

fn file(settings: &Settings) -> String {
    let mut text = format!("\n## {}\n", settings.path);
    let mut blocks = blocks(settings.text).into_iter();
    if let Some(first) = blocks.next() {
        paragraph(&mut text, &first.words.join(" "));
    }
    let mut in_table = false;
    for block in blocks {
        in_table = setting(&mut text, &block, in_table);
    }
    text
}

/// Adds a block, and tells whether the table is still open.
fn setting(text: &mut String, block: &Block, in_table: bool) -> bool {
    let (sections, settings): (Vec<_>, Vec<_>) =
        block.lines.iter().partition(|(line, _)| line.starts_with('['));
    let words = block.words.join(" ");
    for (section, _) in &sections {
        // Writing to memory cannot fail.
        let _always = write!(text, "\n### `{section}`\n");
    }
    // A section's own comment goes above the settings that follow it.
    let apart = settings.is_empty() || !sections.is_empty();
    if apart {
        paragraph(text, &words);
    }
    if settings.is_empty() {
        return false;
    }
    if apart || !in_table {
        text.push_str("\n| setting | |\n|---|---|\n");
    }
    let shown = |(line, optional): &(String, bool)| {
        let line = line.split(" # ").next().unwrap_or_default().trim().to_owned();
        if *optional { format!("`{}`", cell(&line)) } else { format!("**`{}`**", cell(&line)) }
    };
    let own = |line: &str| line.split_once(" # ").map(|(_, own)| cell(own.trim()));
    if settings.iter().all(|(line, _)| own(line).is_none()) {
        let names: Vec<String> = settings.into_iter().map(shown).collect();
        let words = if apart { String::new() } else { cell(&words) };
        let _always = writeln!(text, "| {} | {words} |", names.join("<br>"));
        return true;
    }
    for (at, setting) in settings.into_iter().enumerate() {
        let common = if at == 0 && !apart { cell(&words) + " " } else { String::new() };
        let _always =
            writeln!(text, "| {} | {common}{} |", shown(setting), own(&setting.0).unwrap_or_default());
    }
    true
}

fn named(text: &mut String, heading: &str, rows: Rows) {
    let _always = write!(text, "\n### {heading}\n\n| name | |\n|---|---|\n");
    for (name, what) in rows {
        let _always = writeln!(text, "| `{}` | {} |", cell(name), cell(what));
    }
}

fn paragraph(text: &mut String, words: &str) {
    if !words.is_empty() {
        let _always = write!(text, "\n{}\n", plain(words));
    }
}

/// What may stand in a table.
fn cell(words: &str) -> String {
    plain(words).replace('|', "\\|")
}

/// Text that Markdown would take for HTML.
fn plain(words: &str) -> String {
    words.replace('<', "&lt;")
}

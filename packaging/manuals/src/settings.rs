//! Man pages of section 5, from the commented configurations: a comment goes with the settings below it.

use crate::Made;
use crate::page::{see_also, title};
use crate::words::{Settings, Words};
use clap_mangen::roff::{Roff, bold, italic, roman};

/// What a configuration is made of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Block {
    /// The comment's words.
    pub(crate) words: Vec<String>,
    /// The lines below it: `name = value` or `[section]`, and whether they may be left out.
    pub(crate) lines: Vec<(String, bool)>,
}

/// The pages of the files that a program reads.
pub(crate) fn pages(words: &Words) -> Made {
    words.settings.iter().flat_map(|file| page(file, words)).collect()
}

fn page(file: &Settings, words: &Words) -> Made {
    let name = file.page;
    let mut roff = Roff::new();
    roff.control("SH", ["NAME"]);
    roff.text([roman(format!("{name} - {} of {}(8)", file.what, words.name))]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([bold(file.path)]);
    let mut blocks = blocks(file.text).into_iter();
    roff.control("SH", ["DESCRIPTION"]);
    if let Some(first) = blocks.next() {
        roff.text([roman(first.words.join(" "))]);
    }
    roff.control("SH", ["SETTINGS"]);
    for block in blocks {
        setting(&mut roff, &block);
    }
    roff.control("SH", ["SPANS OF TIME"]);
    roff.text([roman("A number with s, m, h or d behind it, or several of them: 90s, 15m, 1h30m.")]);
    let program = format!("{}(8)", words.name);
    let others = words.settings.iter().filter(|other| other.page != name);
    let others: Vec<String> = others.map(|other| format!("{}(5)", other.page)).collect();
    let also: Vec<&str> =
        std::iter::once(program.as_str()).chain(others.iter().map(String::as_str)).collect();
    see_also(&mut roff, "", &also);
    // A long value may break at its colons: an ARN is wider than a page.
    let broken =
        |line: &str| if line.starts_with("\\fB") { line.replace(':', ":\\:") } else { line.to_owned() };
    let text: Vec<String> = roff.to_roff().lines().map(broken).collect();
    Made::from([(format!("man/man5/{name}.5").into(), title(name, "5") + &text.join("\n"))])
}

fn setting(roff: &mut Roff, block: &Block) {
    let (sections, settings): (Vec<_>, Vec<_>) =
        block.lines.iter().partition(|(line, _)| line.starts_with('['));
    for (section, _) in &sections {
        roff.control("SS", [section.as_str()]);
    }
    let words = block.words.join(" ");
    // A section's own comment, above the settings that follow it.
    if settings.is_empty() || !sections.is_empty() {
        roff.control("PP", []);
        roff.text([roman(words.as_str())]);
    }
    for (at, (line, optional)) in settings.iter().enumerate() {
        let (line, own) = line.split_once(" # ").unwrap_or((line, ""));
        roff.control(if at == 0 || !own.is_empty() { "TP" } else { "TQ" }, []);
        let mut header = vec![bold(line.trim())];
        if *optional {
            header.push(italic("  (may be left out)"));
        }
        roff.text(header);
        if !own.is_empty() {
            roff.text([roman(own.trim())]);
        }
    }
    if !settings.is_empty() && sections.is_empty() {
        roff.text([roman(words)]);
    }
}

/// Splits a configuration; the first block is what stands on top of the file.
pub(crate) fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    for paragraph in text.split("\n\n") {
        let mut block = Block::default();
        // A line of a comment that has nothing parts its paragraphs, which a page has no use for.
        for line in paragraph.lines().filter(|line| *line != "#") {
            let bare = line.strip_prefix("# ");
            if let Some(words) = bare.filter(|line| !is_setting(line)) {
                block.words.push(words.to_owned());
            } else {
                block.lines.push((bare.unwrap_or(line).to_owned(), bare.is_some()));
            }
        }
        blocks.push(block);
    }
    blocks
}

/// `name = value` or `[section]`; prose has neither form.
fn is_setting(line: &str) -> bool {
    let name = line.split(" = ").next().unwrap_or_default();
    let plain =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b"_-".contains(&b));
    line.starts_with('[') || (line.contains(" = ") && plain(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_goes_with_the_settings_below_it() {
        let text = "# On top\n# of the file.\n\n# Both of\n#\n# them.\na = \"1\"\n# b_c = 2\n\n# A part.\n# [part]\n# d = 3 # three\n";
        let block = |words: &[&str], lines: &[(&str, bool)]| Block {
            words: words.iter().map(ToString::to_string).collect(),
            lines: lines.iter().map(|(line, optional)| ((*line).to_owned(), *optional)).collect(),
        };
        assert_eq!(
            blocks(text),
            [
                block(&["On top", "of the file."], &[]),
                block(&["Both of", "them."], &[("a = \"1\"", false), ("b_c = 2", true)]),
                block(&["A part."], &[("[part]", true), ("d = 3 # three", true)]),
            ]
        );
        assert!(!is_setting("A value = that is prose") && !is_setting("") && is_setting("[a]"));
    }
}

//! Man pages of section 8: one for each program and each of its commands. Name, synopsis, description,
//! options, examples and exit codes come from the command line; files, environment and references from
//! [`crate::words`].

use crate::Made;
use crate::words::{Rows, Words};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

/// The pages of a program: its own, one for each command, and one for each command below those.
pub(crate) fn pages(words: &Words) -> Made {
    let mut command = (words.command)();
    command.build();
    let mut made = Made::new();
    let mut open = vec![&command];
    while let Some(command) = open.pop() {
        let below: Vec<&Command> =
            command.get_subcommands().filter(|each| each.get_name() != "help").collect();
        made.extend([file(command, page(command, &below, words))]);
        open.extend(below);
    }
    made
}

/// The first lines of a page. Words and paths are neither parted nor stretched.
pub(crate) fn title(name: &str, section: &str) -> String {
    let mut roff = Roff::new();
    let source = format!("imprint {}", env!("CARGO_PKG_VERSION"));
    roff.control("TH", [name, section, "", source.as_str(), "Imprint"]);
    roff.control("nh", []);
    roff.control("ad", ["l"]);
    // With the preamble that apostrophes need; and no date, whose empty place the library leaves out.
    roff.render().replace(&format!(".TH {name} {section}  "), &format!(".TH {name} {section} \"\" "))
}

/// A section of pairs: what is named, and what is said of it.
pub(crate) fn rows(roff: &mut Roff, heading: &str, rows: Rows) {
    roff.control("SH", [heading]);
    for (name, text) in rows {
        roff.control("TP", []);
        roff.text([bold(*name)]);
        roff.text([roman(*text)]);
    }
}

/// `SEE ALSO`, but for the page itself.
pub(crate) fn see_also(roff: &mut Roff, own: &str, pages: &[&str]) {
    roff.control("SH", ["SEE ALSO"]);
    let mut line: Vec<Inline> = Vec::new();
    for page in pages.iter().filter(|page| **page != own) {
        let (name, section) = page.split_once('(').unwrap_or((page, ""));
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.push(bold(name));
        line.push(roman(format!("({section}")));
    }
    roff.text(line);
}

fn file(command: &Command, text: String) -> (std::path::PathBuf, String) {
    (format!("man/man8/{}.8", name(command)).into(), text)
}

/// `imprint` or `imprint-enroll`.
fn name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn page(command: &Command, commands: &[&Command], words: &Words) -> String {
    let name = name(command);
    let man = Man::new(command.clone());
    let mut text = title(&name, "8");
    text.push_str(&rendered(|to| man.render_name_section(to)));
    text.push_str(&rendered(|to| man.render_synopsis_section(to)));
    text.push_str(&description(command));
    text.push_str(&rendered(|to| man.render_options_section(to)));

    let mut roff = Roff::new();
    if !commands.is_empty() {
        roff.control("SH", ["COMMANDS"]);
        for each in commands {
            roff.control("TP", []);
            roff.text([bold(self::name(each)), roman("(8)")]);
            roff.text([roman(each.get_about().map(ToString::to_string).unwrap_or_default())]);
        }
    }
    let after = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    for part in after.split("\n\n") {
        after_the_options(&mut roff, part);
    }
    if let Some((_, notes)) = words.notes.iter().find(|(of, _)| *of == name) {
        roff.control("SH", ["NOTES"]);
        for note in *notes {
            roff.control("PP", []);
            roff.text([roman(*note)]);
        }
    }
    rows(&mut roff, "FILES", words.files);
    rows(&mut roff, "ENVIRONMENT", words.environment);
    let mut pages: Vec<String> = vec![format!("{}(8)", words.name)];
    let mut all = (words.command)();
    all.build();
    let others = all.get_subcommands().filter(|each| each.get_name() != "help");
    pages.extend(others.map(|each| format!("{}(8)", self::name(each))));
    pages.extend(words.see_also.iter().map(|page| (*page).to_owned()));
    let pages: Vec<&str> = pages.iter().map(String::as_str).collect();
    see_also(&mut roff, &format!("{name}(8)"), &pages);
    text.push_str(&roff.to_roff());
    text
}

/// What the help says below its first line, which is the name's already; that line alone where there is no
/// more.
fn description(command: &Command) -> String {
    let all =
        command.get_long_about().or_else(|| command.get_about()).map(ToString::to_string).unwrap_or_default();
    let below = all.split_once("\n\n").map_or(all.as_str(), |(_, below)| below);
    let mut roff = Roff::new();
    roff.control("SH", ["DESCRIPTION"]);
    for paragraph in below.split("\n\n") {
        roff.control("PP", []);
        roff.text([roman(paragraph)]);
    }
    roff.to_roff()
}

/// Examples and exit codes, from the form that `imprint_core::help` gives them.
fn after_the_options(roff: &mut Roff, part: &str) {
    let (heading, lines) = part.split_once('\n').unwrap_or((part, ""));
    if heading == "Exit codes:" {
        roff.control("SH", ["EXIT STATUS"]);
        for line in lines.lines() {
            let (code, meaning) = line.trim().split_once(' ').unwrap_or((line, ""));
            roff.control("TP", []);
            roff.text([bold(code)]);
            roff.text(match meaning.trim().split_once(": ") {
                Some((class, meaning)) => vec![italic(class), roman(format!(": {meaning}"))],
                None => vec![roman(meaning.trim())],
            });
        }
    } else {
        roff.control("SH", [heading.trim_end_matches(':').to_uppercase().as_str()]);
        for line in lines.lines() {
            let (line, what) = line.split_once(" # ").unwrap_or((line, ""));
            roff.control("TP", []);
            roff.text([bold(line.trim())]);
            roff.text([roman(what)]);
        }
    }
}

fn rendered(part: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _always = part(&mut bytes);
    // Each part brings the same preamble, and the title has it already.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let kept = text.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "));
    kept.fold(String::new(), |text, line| text + line + "\n")
}

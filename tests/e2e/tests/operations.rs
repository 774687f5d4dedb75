//! What the pages for operators name is there: commands and flags, events, fields, settings, units, paths, exit
//! codes. Links and their anchors are looked at by `tests/tidy.py`.

use crate::docs::document;
use clap::error::ErrorKind;
use imprint_core::error::Class;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const PAGES: [&str; 4] =
    ["docs/CONFIGURATION.md", "docs/INSTALL.md", "docs/LOGGING.md", "docs/OPERATIONS.md"];

const EXAMPLES: &str = "packaging/usr/share/doc/imprint/examples";

/// Paths that no file of this repository writes or reads: those of others, and where packages put the programs.
const KNOWN: [&str; 5] = [
    "/usr/bin",
    "/usr/bin/imprint",
    "/usr/bin/imprint-rotator",
    "/usr/lib/systemd",
    "/var/log/cloud-init-output.log",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every file below a folder of the repository, relative to the root.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
        if root().join(&name).is_dir() {
            found.extend(files(&name));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// The pages, with the READMEs of the examples.
fn pages() -> Vec<(String, String)> {
    let examples = files(EXAMPLES).into_iter().filter(|path| path.ends_with(".md"));
    let all: Vec<String> = PAGES.iter().map(ToString::to_string).chain(examples).collect();
    assert!(all.len() >= 12, "{all:?}");
    all.into_iter().map(|path| (path.clone(), document(&path))).collect()
}

/// What stands between backticks in a text's prose, and the lines of its blocks.
fn spans(text: &str) -> (Vec<String>, Vec<String>) {
    let (mut prose, mut lines) = (String::new(), Vec::new());
    for (at, part) in text.split("```").enumerate() {
        if at % 2 == 0 { prose.push_str(part) } else { lines.extend(part.lines().map(str::to_owned)) }
    }
    // A line may end inside of one.
    let prose = prose.replace('\n', " ");
    let spans = prose.split('`').skip(1).step_by(2);
    (spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect(), lines)
}

/// Commands of the two programs that a text shows.
fn commands(text: &str) -> BTreeSet<String> {
    let (spans, lines) = spans(text);
    let typed = |line: String| {
        let line = line.trim();
        line.strip_prefix("$ ").or_else(|| line.strip_prefix("# ")).map(str::to_owned)
    };
    let shown = spans.into_iter().chain(lines.into_iter().filter_map(typed));
    let ours = |line: &String| line.starts_with("imprint ") || line.starts_with("imprint-rotator ");
    shown.filter(ours).map(|line| line.split([' ']).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn every_command_parses() {
    let mut seen = BTreeMap::new();
    let mut check = |line: &str, page: &str| {
        // What is led into it or out of it is the shell's business.
        let line = line.split([';', '|', '<', '>', '#']).next().unwrap_or_default().trim();
        let words: Vec<&str> = line.split_whitespace().filter(|word| *word != "...").collect();
        let program = match words[0] {
            "imprint" => imprint_agent::cli::command(),
            _ => imprint_rotator::cli::command(),
        };
        match program.try_get_matches_from(&words) {
            Ok(_) => {}
            // A command by its name alone, of one that needs more.
            Err(e) if e.kind() == ErrorKind::DisplayHelp => {}
            Err(e)
                if e.kind() == ErrorKind::MissingRequiredArgument
                    && !words.iter().any(|w| w.starts_with("--")) => {}
            Err(error) => panic!("{page}: {line}: {error}"),
        }
        *seen.entry(words.iter().take(2).map(ToString::to_string).collect::<Vec<_>>()).or_insert(0) += 1;
    };
    for (page, text) in pages() {
        commands(&text).iter().for_each(|line| check(line, &page));
    }
    assert!(seen.len() > 15, "{seen:?}");
    let wrong = std::panic::catch_unwind(|| {
        let words = ["imprint", "forget", "--all"];
        imprint_agent::cli::command().try_get_matches_from(words).unwrap();
    });
    assert!(wrong.is_err());
}

/// Every call of the log in the agent: its level, and what stands before its message.
fn log_calls() -> Vec<(String, String)> {
    let mut calls = Vec::new();
    for path in files("agent/src") {
        let code = document(&path);
        // What a test logs is no promise.
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for call in code.split("log::").skip(1) {
            let Some((level, rest)) = call.split_once("!(") else { continue };
            if !["info", "warn", "error"].contains(&level) {
                continue;
            }
            // The target is a text too, and the first.
            let mut texts = rest.splitn(4, '"');
            let before = if rest.trim_start().starts_with("target:") {
                texts.nth(2).unwrap_or_default()
            } else {
                texts.next().unwrap_or_default()
            };
            calls.push((level.to_owned(), before.to_owned()));
        }
    }
    assert!(calls.len() > 25, "{}", calls.len());
    calls
}

#[test]
fn the_events_are_those_of_the_code_with_their_priorities() {
    let text = document("docs/LOGGING.md");
    let code = document("agent/src/journal.rs");
    let of_code: BTreeMap<&str, &str> = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub const "))
        .filter_map(|line| line.split_once(": &str = \""))
        .filter_map(|(name, id)| Some((name, id.strip_suffix("\";")?)))
        .filter(|(_, id)| id.len() == 32)
        .collect();
    let rows = text.lines().filter(|line| line.starts_with("| `") && line.contains("` | `6f1ed8a3"));
    let rows: BTreeMap<&str, (&str, &str)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            (cells[1], (cells[2], cells[3]))
        })
        .collect();
    assert!(of_code.len() >= 20);
    assert_eq!(rows.iter().map(|(name, (id, _))| (*name, *id)).collect::<BTreeMap<_, _>>(), of_code);
    let calls = log_calls();
    for (name, (_, priority)) in rows {
        let of = |(_, before): &&(String, String)| {
            before.contains(&format!("event::{name},")) || before.contains(&format!("event::{name};"))
        };
        let levels: BTreeSet<&str> = calls.iter().filter(of).map(|(level, _)| level.as_str()).collect();
        let expected = match priority {
            "3" => "error",
            "4" => "warn",
            _ => "info",
        };
        // VERIFY_FAILED is handed over to the one place that tells failures.
        let told_there = levels.is_empty() && name == "VERIFY_FAILED" && expected == "error";
        assert!(told_there || levels == BTreeSet::from([expected]), "{name}: {levels:?}");
    }
}

#[test]
fn the_fields_are_those_of_the_code() {
    let text = document("docs/LOGGING.md");
    let table = text.split("\n### Fields\n").nth(1).unwrap().split("\n### ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    let mut logged = BTreeSet::from(["attempt_id".to_owned()]);
    for (_, before) in log_calls() {
        let Some((fields, _)) = before.split_once(';') else { continue };
        for field in fields.split(',').map(str::trim).filter(|field| !field.is_empty()) {
            let name = field.split_once(" = ").map_or(field, |(name, _)| name);
            if name != "MESSAGE_ID" {
                logged.insert(name.to_owned());
            }
        }
    }
    assert_eq!(documented, logged);
}

#[test]
fn every_setting_is_one() {
    let settings: String = files("packaging/etc/imprint").iter().map(|path| document(path)).collect();
    let members = document("docs/json.md");
    let is_word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let names_one = |name: &str| {
        settings.lines().any(|line| {
            let line = line.strip_prefix("# ").unwrap_or(line);
            line.split_once(" = ").is_some_and(|(key, _)| key == name)
        })
    };
    let mut tried = 0;
    for (page, text) in pages() {
        for span in spans(&text).0 {
            let bare = span.rsplit_once("] ").map_or(span.as_str(), |(_, key)| key);
            let (name, has_value) = bare.split_once(" = ").map_or((bare, false), |(key, _)| (key, true));
            if !is_word(name) || !(has_value || name.contains('_')) {
                continue;
            }
            let is_field = |text: &str| text.contains(&format!("`{name}`"));
            // Fields of the log, members of JSON, and, in the examples, variables of their own.
            let elsewhere = is_field(&members)
                || is_field(&document("docs/LOGGING.md"))
                || (page.starts_with(EXAMPLES) && name.starts_with("imprint_"))
                || (page.starts_with(EXAMPLES) && ["merge_how", "write_files", "no_log"].contains(&name));
            // In the kinds of a source, prose names them.
            let in_prose = settings.contains(&format!(" {name} "));
            assert!(names_one(name) || elsewhere || in_prose, "{page}: {name} is no setting");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
    assert!(!names_one("re_enrol") && names_one("re_enroll"));
}

#[test]
fn every_unit_and_every_path_is_there() {
    let sources = [
        "agent/src",
        "packaging/deb",
        "packaging/etc",
        "packaging/manuals/src",
        "packaging/rpm",
        "packaging/usr/lib",
    ];
    let code: String = sources.iter().flat_map(|folder| files(folder)).map(|path| document(&path)).collect();
    let is_there = |path: &str| root().join("packaging").join(path.trim_start_matches('/')).exists();
    let (mut units, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (page, text) in pages() {
        let (spans, lines) = spans(&text);
        let words: Vec<String> =
            spans.iter().chain(&lines).flat_map(|span| span.split_whitespace()).map(str::to_owned).collect();
        for word in words {
            let word = word.trim_matches(|c: char| !c.is_ascii_alphanumeric() && c != '/');
            let is_unit = [".service", ".timer", ".target"].iter().any(|kind| word.ends_with(kind));
            if is_unit && word.starts_with("imprint") && !word.contains('/') {
                assert!(is_there(&format!("usr/lib/systemd/system/{word}")), "{page}: {word}");
                units.insert(word.to_owned());
            }
            if ["/etc/", "/usr/", "/var/", "/run/"].iter().any(|top| word.starts_with(top)) {
                // What the packages make of the commented configurations.
                let source = word.replacen("/usr/share/imprint/", "/etc/imprint/", 1);
                // A file of the state directory, which the code knows by its name.
                let of_state = word.strip_prefix("/var/lib/imprint/");
                let known = is_there(&source)
                    || code.contains(word)
                    || KNOWN.contains(&word)
                    || of_state.is_some_and(|name| code.contains(&format!("\"{name}\"")));
                // Places on systems whose /usr cannot be written are the example's own.
                assert!(known || page.contains("/ignition/"), "{page}: {word}");
                paths.insert(word.to_owned());
            }
        }
    }
    assert!(units.len() >= 6 && paths.len() >= 10, "{units:?} {paths:?}");
}

#[test]
fn every_exit_code_is_in_the_runbook_and_none_is_invented() {
    let text = document("docs/OPERATIONS.md");
    for class in Class::ALL {
        assert!(text.contains(&format!("\n| {} | {class} | ", class.exit_code())), "{class}");
    }
    let codes: BTreeSet<String> = Class::ALL.iter().map(|class| class.exit_code().to_string()).collect();
    let mut tried = 0;
    for (page, text) in pages() {
        let text = text.replace('\n', " ");
        for code in text.split("exits with ").skip(1) {
            let code: String = code.chars().take_while(char::is_ascii_digit).collect();
            assert!(code.is_empty() || code == "0" || codes.contains(&code), "{page}: {code}");
            tried += usize::from(!code.is_empty());
        }
    }
    assert!(tried >= 4, "{tried}");
}

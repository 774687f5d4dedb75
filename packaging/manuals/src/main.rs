//! Writes the man pages and shell completions under `packaging/usr/share`, and `docs/CONFIGURATION.md`, from the
//! programs' own command lines and the commented configurations. `--check` writes nothing and names each file
//! that differs.

mod completions;
mod document;
mod page;
mod settings;
mod words;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What is made, by its path in the repository, or below [`SHARE`] until all is.
type Made = BTreeMap<PathBuf, String>;

/// Where pages and completions lie.
const SHARE: &str = "packaging/usr/share";

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "the one place that talks to a person")]
fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let end = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => write(&root, &made()).map(|count| println!("manuals: {count} files under {SHARE} and docs")),
        ["--check"] => check(&root, &made()),
        _ => Err("usage: imprint-manuals [--check]".to_owned()),
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn made() -> Made {
    let mut made = Made::new();
    for words in words::PROGRAMS {
        made.extend(page::pages(words));
        made.extend(completions::of(&(words.command)()));
        made.extend(settings::pages(words));
    }
    let mut made: Made = made.into_iter().map(|(path, text)| (Path::new(SHARE).join(path), text)).collect();
    made.insert("docs/CONFIGURATION.md".into(), document::configuration());
    // What generators leave at the ends of lines is nothing to a reader, and noise in a diff.
    made.values_mut().for_each(|text| {
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        *text = format!("{}\n", lines.join("\n").trim_end());
    });
    made
}

fn write(root: &Path, made: &Made) -> Result<usize, String> {
    let say = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    for stale in there(root).into_iter().filter(|path| !made.contains_key(path)) {
        let path = root.join(stale);
        fs::remove_file(&path).map_err(|e| say(&path, e))?;
    }
    for (path, text) in made {
        let path = root.join(path);
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, text)).map_err(|e| say(&path, e))?;
    }
    Ok(made.len())
}

fn check(root: &Path, made: &Made) -> Result<(), String> {
    let mut faults = Vec::new();
    for (path, text) in made {
        match fs::read_to_string(root.join(path)) {
            Ok(there) if there == *text => {}
            Ok(_) => faults.push(format!("{} is not what is made", path.display())),
            Err(error) => faults.push(format!("{}: {error}", path.display())),
        }
    }
    let stale = there(root).into_iter().filter(|path| !made.contains_key(path));
    faults.extend(stale.map(|path| format!("{} is made from nothing", path.display())));
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!(
        "what is made from command lines and configurations is stale; run make manuals\n{}",
        faults.join("\n")
    ))
}

/// The folders of [`SHARE`] whose every file is made here; others, such as `doc`, people write.
const MADE_WHOLLY: [&str; 4] = ["bash-completion", "fish", "man", "zsh"];

/// Every file in those folders, relative to the root.
fn there(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = MADE_WHOLLY.iter().map(|name| root.join(SHARE).join(name)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(below) = path.strip_prefix(root) {
                found.push(below.to_owned());
            }
        }
    }
    found.sort();
    found
}

#[cfg(test)]
mod tests;

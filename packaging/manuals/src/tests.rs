use super::*;
use std::process::{Command, Stdio};

/// Whether a program is there; a test that wants it says so when it is not.
fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|ended| ended.status.success());
    if !found {
        eprintln!("SKIPPED: {program} is not installed, so what is made for it is not tried");
    }
    found
}

/// A path of what is installed.
fn share(path: &str) -> PathBuf {
    Path::new(SHARE).join(path)
}

/// Writes what is made below a folder of its own.
fn written() -> (tempfile::TempDir, Made) {
    let (folder, made) = (tempfile::tempdir().unwrap(), made());
    assert_eq!(write(folder.path(), &made), Ok(made.len()));
    (folder, made)
}

#[test]
fn what_differs_is_named() {
    let (folder, made) = written();
    assert_eq!(check(folder.path(), &made), Ok(()));
    let page = &share("man/man8/imprint-enroll.8");
    fs::write(folder.path().join(page), "old").unwrap();
    fs::write(folder.path().join(share("man/man8/imprint-gone.8")), "old").unwrap();
    fs::remove_file(folder.path().join(share("bash-completion/completions/imprint"))).unwrap();
    let why = check(folder.path(), &made).unwrap_err();
    for name in
        ["imprint-enroll.8 is not what", "imprint-gone.8 is made from nothing", "completions/imprint: "]
    {
        assert!(why.contains(name), "{name}: {why}");
    }
    assert_eq!(why.lines().count(), 4, "{why}");
    write(folder.path(), &made).unwrap();
    assert_eq!(check(folder.path(), &made), Ok(()));
}

#[test]
fn the_document_has_every_setting_once_and_no_table_breaks() {
    let made = made();
    let text = &made[Path::new("docs/CONFIGURATION.md")];
    for settings in words::PROGRAMS.iter().flat_map(|words| words.settings) {
        let (_, part) = text.split_once(&format!("\n## {}\n", settings.path)).unwrap();
        let part = part.split("\n## ").next().unwrap();
        for (line, optional) in settings::blocks(settings.text).iter().skip(1).flat_map(|block| &block.lines)
        {
            let line = line.split(" # ").next().unwrap().trim();
            let shown = match (line.starts_with('['), optional) {
                (true, _) => format!("\n### `{line}`\n"),
                (false, true) => format!("`{line}`"),
                (false, false) => format!("**`{line}`**"),
            };
            assert!(part.contains(&shown), "{shown}:\n{part}");
        }
    }
    for row in text.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(row.replace("\\|", "").matches('|').count(), 3, "{row}");
    }
}

#[test]
fn every_command_has_its_page_with_every_part() {
    let made = made();
    let part = |text: &str, heading: &str| text.contains(&format!("\n.SH {heading}\n"));
    for words in words::PROGRAMS {
        let command = (words.command)();
        let mut names = vec![words.name.to_owned()];
        names.extend(command.get_subcommands().map(|c| format!("{}-{}", words.name, c.get_name())));
        for name in names {
            let text = &made[&share(&format!("man/man8/{name}.8"))];
            for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "FILES", "ENVIRONMENT"]
            {
                assert!(part(text, heading), "{name} has no {heading}:\n{text}");
            }
            assert!(text.contains(&format!("\n.TH {name} 8 \"\" \"imprint ")), "{name}:\n{text}");
            assert!(part(text, "\"EXIT STATUS\"") && part(text, "\"SEE ALSO\""), "{name}:\n{text}");
        }
        // Each setting of the sample has its entry.
        let text = &made[&share(&format!("man/man5/{}.toml.5", words.name))];
        for key in ["account", "appliance_url", "leader_url", "bucket_owner", "region"] {
            assert!(text.contains(&format!("\n\\fB{key} = ")), "{key}:\n{text}");
        }
    }
    let text = &made[&share("man/man5/imprint-rules.toml.5")];
    for key in ["promote_from", "instance_profile", "vpc", "subnet", "tags", "younger_than"] {
        assert!(text.contains(&format!("\n\\fB{key} = ")), "{key}:\n{text}");
    }
}

#[test]
fn man_renders_them_without_a_warning() {
    if !has("man") {
        return;
    }
    let (folder, made) = written();
    for path in made.keys().filter(|path| path.starts_with(share("man"))) {
        let mut man = Command::new("man");
        man.args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]).arg(folder.path().join(path));
        let ended = man.env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80").output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && said.is_empty(), "{}: {said}", path.display());
        assert!(!ended.stdout.is_empty(), "{}", path.display());
    }
}

#[test]
fn the_shells_parse_their_completions() {
    let (folder, made) = written();
    let mut tried = 0;
    for (shell, below) in [("bash", "bash-completion"), ("zsh", "zsh"), ("fish", "fish")] {
        let files: Vec<_> = made.keys().filter(|path| path.starts_with(share(below))).collect();
        assert_eq!(files.len(), 2, "{files:?}");
        if !has(shell) {
            continue;
        }
        for path in files {
            let ended = Command::new(shell).arg("-n").arg(folder.path().join(path)).output().unwrap();
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success() && said.is_empty(), "{}: {said}", path.display());
            tried += 1;
        }
    }
    assert!(tried >= 2, "not even bash was tried");
}

#[test]
fn every_folder_that_something_is_made_in_is_looked_through_and_no_other() {
    let (folder, made) = written();
    for path in made.keys() {
        let Ok(below) = path.strip_prefix(SHARE) else { continue };
        let first = below.iter().next().unwrap().to_str().unwrap();
        assert!(MADE_WHOLLY.contains(&first), "{}", path.display());
    }
    let put = |below: &str| {
        let path = folder.path().join(share(below));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    };
    put("doc/imprint/README");
    check(folder.path(), &made).unwrap();
    put("man/man8/old.8");
    assert!(check(folder.path(), &made).unwrap_err().contains("man/man8/old.8 is made from nothing"));
}

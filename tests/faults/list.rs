//! Every kind of fault of the network, the servers, the disk and the rotator, by number: in a row or two of words,
//! where it is proved, or why it is not tried. A test holds this list against the rows and against the repository.

mod conjur;
mod servers;

use How::{Elsewhere, NotBuilt, NotTried, Rows};

/// Where a kind of fault is dealt with.
pub enum How {
    /// By tests of these names.
    Elsewhere(&'static [&'static str]),
    /// It would be a feature that there is no call for.
    NotBuilt(&'static str),
    /// It cannot be shown here.
    NotTried(&'static str),
    /// By rows of this suite.
    Rows,
}

/// A kind of fault: its number, its words, where it is dealt with.
pub type Entry = (&'static str, &'static str, &'static [How]);

/// All of them, in their order.
pub fn entries() -> impl Iterator<Item = &'static Entry> {
    servers::LIST.iter().chain(conjur::LIST)
}

/// The words of a number.
pub fn words(id: &str) -> Option<&'static str> {
    entries().find(|(of, ..)| *of == id).map(|(_, words, _)| *words)
}

/// The tests that prove it beside the rows, as text.
pub fn elsewhere(id: &str) -> String {
    let hows = entries().find(|(of, ..)| *of == id).map_or(&[][..], |(.., hows)| hows);
    let names = hows.iter().filter_map(|how| match how {
        Elsewhere(names) => Some(names.join(", ")),
        NotBuilt(_) | NotTried(_) | Rows => None,
    });
    let names: Vec<String> = names.collect();
    if names.is_empty() { String::new() } else { format!("also proved by {}", names.join(", ")) }
}

/// What is not tried, and why.
pub fn not_tried() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    let whys = |(id, words, hows): &'static Entry| {
        hows.iter().filter_map(move |how| match how {
            NotBuilt(why) => Some((*id, *words, format!("not built: {why}"))),
            NotTried(why) => Some((*id, *words, (*why).to_owned())),
            Elsewhere(_) | Rows => None,
        })
    };
    entries().flat_map(whys)
}

/// The sections, and the numbers that each must have.
const SECTIONS: [(char, std::ops::RangeInclusive<u32>); 8] = [
    ('B', 13..=24),
    ('C', 25..=36),
    ('D', 37..=46),
    ('E', 47..=58),
    ('F', 59..=77),
    ('G', 78..=88),
    ('K', 108..=124),
    ('L', 125..=130),
];

#[test]
fn every_number_is_dealt_with() {
    let all: Vec<String> = SECTIONS
        .into_iter()
        .flat_map(|(letter, numbers)| numbers.map(move |number| format!("{letter}{number}")))
        .collect();
    let listed: Vec<&str> = entries().map(|(id, ..)| *id).collect();
    assert_eq!(listed, all);
    let tried: std::collections::BTreeSet<&str> = crate::all().iter().map(|row| row.id).collect();
    let says = |hows: &[How]| hows.iter().any(|how| matches!(how, Rows));
    let differ: Vec<_> = entries().filter(|(id, _, hows)| tried.contains(id) != says(hows)).collect();
    let differ: Vec<&str> = differ.iter().map(|(id, ..)| *id).collect();
    assert!(differ.is_empty(), "whether there are rows of {differ:?} is not what the list says");
    assert!(entries().all(|(.., hows)| !hows.is_empty()));
    assert!(crate::all().len() >= 120);
}

#[test]
fn every_test_that_is_named_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut code = String::new();
    for folder in ["core/src", "agent/src", "rotator/src", "tests"] {
        for file in sources(&root.join(folder)) {
            code.push_str(&std::fs::read_to_string(file).expect("a source"));
        }
    }
    let mut missing = Vec::new();
    for (id, _, hows) in entries() {
        for names in hows.iter().filter_map(|how| if let Elsewhere(names) = how { Some(names) } else { None })
        {
            for name in *names {
                let head = format!("fn {name}(");
                let is_test =
                    |(at, _)| code[..at].rsplit("\n\n").next().is_some_and(|it| it.contains("#[test]"));
                if !code.match_indices(&head).any(is_test) {
                    missing.push(format!("{id}: {name}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no tests of these names: {missing:?}");
}

fn sources(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| match path.extension() {
            _ if path.is_dir() => sources(&path),
            Some(name) if name == "rs" => vec![path],
            Some(_) | None => Vec::new(),
        })
        .collect()
}

//! What stands below the options in a help text of either program: examples and exit codes. The man
//! pages are made from the same text, so its form is settled here.

use crate::error::Class;

/// Every class, each in its usual words.
pub const EVERY_CLASS: [(Class, &str); 9] = {
    let mut all = [(Class::Bug, ""); 9];
    let mut at = 0;
    while at < all.len() {
        all[at].0 = Class::ALL[at];
        at += 1;
    }
    all
};

/// Examples, each a line with what it is for, then what each exit code means: 0, and the classes that the
/// command can end with, in the order of their codes. A class without words of its own has its usual ones.
#[must_use]
pub fn examples_and_exit_codes(examples: &[(&str, &str)], good: &str, classes: &[(Class, &str)]) -> String {
    let width = examples.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
    let mut text = "Examples:\n".to_owned();
    for (line, what) in examples {
        text.push_str(&format!("  {line:width$}   # {what}\n"));
    }
    let mut classes = classes.to_vec();
    classes.sort_by_key(|(class, _)| class.exit_code());
    text.push_str(&format!("\nExit codes:\n   0  {good}"));
    for (class, words) in classes {
        let words = if words.is_empty() { class.meaning() } else { words };
        text.push_str(&format!("\n  {}  {class}: {words}", class.exit_code()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form() {
        let text = examples_and_exit_codes(
            &[("imprint enroll", "at boot"), ("imprint status", "any time")],
            "well",
            &[(Class::Config, ""), (Class::Absent, "nothing there")],
        );
        assert_eq!(
            text,
            "Examples:\n  imprint enroll   # at boot\n  imprint status   # any time\n\n\
             Exit codes:\n   0  well\n  69  absent: nothing there\n  78  config: a setting on this machine is wrong"
        );
        let all = examples_and_exit_codes(&[], "well", &EVERY_CLASS);
        assert!(
            Class::ALL.iter().all(|class| all.contains(&format!("\n  {}  {class}: ", class.exit_code())))
        );
    }
}

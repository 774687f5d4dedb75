//! [`Secrets`]: what nobody may tell, and the search for it.
//!
//! A secret slips out as it is, but also in base64, in hexadecimal, in a URL or cut short. So its middle is
//! looked for, in each of these forms: whoever shows a part of a secret that helps to guess it shows that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use memchr::memmem::Finder;
use std::path::Path;
use std::{fs, io};

/// How much of a secret's middle is looked for, in bytes: no other text has it by chance.
const PART: usize = 20;

/// Secrets, in each of their forms.
pub struct Secrets(Vec<Form>);

struct Form {
    name: String,
    finder: Finder<'static>,
}

impl Secrets {
    /// Of these texts, each with a name for people.
    ///
    /// # Panics
    /// When a text is too short to be told from others: that is a fault of the test.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(secrets.into_iter().flat_map(|(name, text)| forms(&name, text.as_bytes())).collect())
    }

    /// And these.
    #[must_use]
    pub fn and(mut self, more: impl IntoIterator<Item = (String, String)>) -> Self {
        self.0.extend(Self::new(more).0);
        self
    }

    /// Which of them stands in these bytes, and in which form.
    #[must_use]
    pub fn found_in(&self, bytes: &[u8]) -> Option<&str> {
        self.0.iter().find(|form| form.finder.find(bytes).is_some()).map(|form| form.name.as_str())
    }

    /// How often they stand in these bytes, each form for itself.
    #[must_use]
    pub fn count_in(&self, bytes: &[u8]) -> Vec<(&str, usize)> {
        let count = |form: &Form| form.finder.find_iter(bytes).count();
        self.0.iter().map(|form| (form.name.as_str(), count(form))).filter(|(_, count)| *count > 0).collect()
    }

    /// The files below a folder that tell a secret, but those that may; each with what it tells. A file that
    /// goes away meanwhile tells nothing.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn told_below(&self, folder: &Path, may: &dyn Fn(&Path) -> bool) -> io::Result<Vec<String>> {
        let mut told = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if let Some(found) = self.found_in(entry.file_name().as_encoded_bytes()) {
                told.push(format!("the name of {}: {found}", path.display()));
            }
            if entry.file_type()?.is_dir() {
                told.extend(self.told_below(&path, may)?);
            } else if entry.file_type()?.is_file()
                && !may(&path)
                && let Some(found) = fs::read(&path).ok().and_then(|bytes| self.found_in(&bytes))
            {
                told.push(format!("{}: {found}", path.display()));
            }
        }
        Ok(told)
    }
}

/// The middle of a secret in each form in which it may be told.
fn forms(name: &str, secret: &[u8]) -> Vec<Form> {
    assert!(secret.len() >= PART, "{name} is too short to be looked for");
    let from = (secret.len() - PART) / 2;
    let part = &secret[from..from + PART];
    let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        ("as it is", part.to_vec()),
        ("in capital hexadecimal", hex.to_uppercase().into_bytes()),
        ("in hexadecimal", hex.into_bytes()),
    ];
    // Where it begins within a longer text decides which of three forms it has.
    for before in 0..3 {
        let text = STANDARD_NO_PAD.encode([vec![0; before], part.to_vec()].concat());
        let whole = (before * 8).div_ceil(6)..(before + PART) * 8 / 6;
        let text = &text[whole];
        forms.push(("in base64", text.into()));
        forms.push(("in base64 for URLs", text.replace('+', "-").replace('/', "_").into()));
    }
    let escaped = percent_encoding::percent_encode(part, percent_encoding::NON_ALPHANUMERIC).to_string();
    forms.push(("in a URL", escaped.into()));
    forms.push(("in JSON", String::from_utf8_lossy(part).replace('/', "\\/").into()));
    let mut seen = Vec::new();
    forms.retain(|(_, bytes)| {
        !seen.contains(bytes) && {
            seen.push(bytes.clone());
            true
        }
    });
    let form = |(how, bytes): (&str, Vec<u8>)| Form {
        name: format!("{name} {how}"),
        finder: Finder::new(&bytes).into_owned(),
    };
    forms.into_iter().map(form).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    fn secrets() -> Secrets {
        Secrets::new([("the key".to_owned(), SECRET.to_owned())])
    }

    #[test]
    fn each_form_is_found() {
        let check = |text: String, found: bool| {
            assert_eq!(secrets().found_in(text.as_bytes()).is_some(), found, "{text}");
        };
        check(format!("secret={SECRET}&x"), true);
        check(format!("secret={}...", &SECRET[..32]), true);
        check(format!("...{}", &SECRET[9..]), true);
        check(format!("%2F{}", SECRET.replace('/', "%2F").replace('+', "%2B")), true);
        check(SECRET.replace('/', "\\/"), true);
        check(SECRET.bytes().map(|b| format!("{b:02x}")).collect(), true);
        check(SECRET.bytes().map(|b| format!("{b:02X}")).collect(), true);
        for before in ["", "a", "ab", "abc"] {
            check(STANDARD_NO_PAD.encode(format!("{before}{SECRET}!")), true);
            let url = STANDARD_NO_PAD.encode(format!("{before}{SECRET}"));
            check(url.replace('+', "-").replace('/', "_"), true);
        }
        check(SECRET[..12].to_owned(), false);
        check(String::new(), false);
        check(SECRET.to_lowercase(), false);
        assert_eq!(secrets().count_in(format!("{SECRET} {SECRET}").as_bytes()), [("the key as it is", 2)]);
    }

    #[test]
    fn files_and_their_names_are_looked_at_but_those_that_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("etc")).unwrap();
        fs::write(path.join("etc/identity"), SECRET).unwrap();
        fs::write(path.join("etc/other"), "nothing").unwrap();
        let told = |may: &dyn Fn(&Path) -> bool| secrets().told_below(path, may).unwrap();
        assert_eq!(told(&|path| path.ends_with("identity")), Vec::<String>::new());
        assert_eq!(told(&|_| false), [format!("{}: the key as it is", path.join("etc/identity").display())]);
        let token = "3kqv0e21f5zhn6n1xr03h0jq8mv7";
        fs::write(path.join(format!("etc/{token}")), "").unwrap();
        let told =
            Secrets::new([("a token".to_owned(), token.to_owned())]).told_below(path, &|_| true).unwrap();
        assert_eq!(
            told,
            [format!("the name of {}: a token as it is", path.join("etc").join(token).display())]
        );
    }
}

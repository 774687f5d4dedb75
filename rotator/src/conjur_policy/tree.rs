//! Records by their ids, and the YAML that declares them: an id with slashes lies in nested policies, each of
//! which is declared once, whoever shares it.

use std::collections::BTreeMap;

/// How wide comments are.
const WIDTH: usize = 100;

/// A policy's content.
#[derive(Default)]
pub(super) struct Tree {
    notes: Vec<String>,
    records: Vec<Record>,
    policies: BTreeMap<String, Self>,
}

struct Record {
    kind: &'static str,
    name: String,
    notes: Vec<String>,
    fields: Vec<String>,
}

impl Tree {
    /// Declares a record of this id, below its comments; `fields` are lines of YAML.
    pub(super) fn record(&mut self, id: &str, kind: &'static str, notes: &[String], fields: &[String]) {
        let (policy, name) = match id.rsplit_once('/') {
            Some((branch, name)) => (self.at(branch), name),
            None => (self, id),
        };
        let (name, notes, fields) = (name.to_owned(), notes.to_vec(), fields.to_vec());
        policy.records.push(Record { kind, name, notes, fields });
    }

    /// Declares a policy of this id.
    pub(super) fn branch(&mut self, id: &str, notes: &[String]) {
        self.at(id).notes.extend_from_slice(notes);
    }

    fn at(&mut self, branch: &str) -> &mut Self {
        branch.split('/').fold(self, |policy, part| policy.policies.entry(part.to_owned()).or_default())
    }

    /// As statements of Conjur's policy; empty when nothing is declared.
    pub(super) fn to_yaml(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, indent: usize) {
        let mut line = |indent: usize, text: &str| {
            out.extend(std::iter::repeat_n(' ', indent));
            out.push_str(text);
            out.push('\n');
        };
        for record in &self.records {
            for note in &record.notes {
                comment(note, indent).lines().for_each(|text| line(0, text));
            }
            let (kind, name) = (record.kind, scalar(&record.name));
            if record.fields.is_empty() {
                line(indent, &format!("- !{kind} {name}"));
            } else {
                line(indent, &format!("- !{kind}"));
                line(indent + 2, &format!("id: {name}"));
                record.fields.iter().for_each(|field| line(indent + 2, field));
            }
        }
        for (name, policy) in &self.policies {
            let mut body = String::new();
            policy.write(&mut body, indent + 4);
            for note in &policy.notes {
                comment(note, indent).lines().for_each(|text| line(0, text));
            }
            let name = scalar(name);
            if body.is_empty() {
                line(indent, &format!("- !policy {name}"));
            } else {
                line(indent, "- !policy");
                line(indent + 2, &format!("id: {name}"));
                line(indent + 2, "body:");
                body.lines().for_each(|text| line(0, text));
            }
        }
    }
}

/// A comment, broken into lines.
pub(super) fn comment(text: &str, indent: usize) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() || indent + 3 + line.len() + word.len() <= WIDTH => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{:indent$}# {line}\n", "")).collect()
}

/// An id as a scalar: plain where every reader takes it for a text, else quoted. No name of ours holds a quote,
/// a backslash or a control character.
pub(crate) fn scalar(id: &str) -> String {
    let words = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];
    let is_text = id.starts_with(|first: char| first.is_ascii_alphabetic())
        && !words.iter().any(|word| id.eq_ignore_ascii_case(word));
    if is_text { id.to_owned() } else { format!("\"{id}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_another_type_is_quoted() {
        let check = |id: &str, wanted: &str| assert_eq!(scalar(id), wanted);
        check("web", "web");
        check("app/web-1.example_2", "app/web-1.example_2");
        check("web@example+x=y", "web@example+x=y");
        for id in [
            "1",
            "1e3",
            "0x1f",
            "1.5",
            "2026-11-22",
            "-",
            "---",
            "-a",
            ".5",
            "_",
            "true",
            "No",
            "NULL",
            "y",
            "/a/b",
        ] {
            check(id, &format!("\"{id}\""));
        }
    }

    #[test]
    fn shared_policies_are_declared_once() {
        let mut tree = Tree::default();
        let note = |text: &str| [text.to_owned()];
        tree.record("a/b/web", "layer", &note("one"), &[]);
        tree.branch("a/hosts", &note("two"));
        tree.record("a/b/db", "layer", &[], &["owner: !group x".to_owned()]);
        tree.record("top", "layer", &[], &[]);
        let wanted = "\
- !layer top
- !policy
  id: a
  body:
    - !policy
      id: b
      body:
        # one
        - !layer web
        - !layer
          id: db
          owner: !group x
    # two
    - !policy hosts
";
        assert_eq!(tree.to_yaml(), wanted);
        assert_eq!(Tree::default().to_yaml(), "");
    }

    #[test]
    fn comments_are_broken_between_words() {
        let text = "word ".repeat(60);
        let lines = comment(&text, 4);
        assert!(lines.lines().count() > 2);
        assert!(lines.lines().all(|line| line.len() <= WIDTH && line.starts_with("    # word")), "{lines}");
        assert_eq!(lines.matches("word").count(), 60);
    }
}

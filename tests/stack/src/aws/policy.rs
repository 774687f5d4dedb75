//! A small IAM: allow statements with wildcards and `kms:EncryptionContext` conditions.
//!
//! There is no deny, no policy variable and no other condition; those are tried against an
//! emulator that has all of IAM.

use std::collections::BTreeMap;

/// What a role may do; nothing that is not said.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    statements: Vec<Allow>,
}

#[derive(Clone, Debug)]
struct Allow {
    actions: Vec<String>,
    resource: String,
    context: BTreeMap<String, String>,
}

impl Policy {
    /// A policy that allows nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// A policy that allows everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::none().allow(&["*"], "*")
    }

    /// Allows these actions on this ARN; `*` and `?` are wildcards in both.
    #[must_use]
    pub fn allow(mut self, actions: &[&str], resource: &str) -> Self {
        self.statements.push(Allow {
            actions: actions.iter().map(|&a| a.to_owned()).collect(),
            resource: resource.to_owned(),
            context: BTreeMap::new(),
        });
        self
    }

    /// Narrows the statement just added: the encryption context must hold this pair
    /// (`StringEquals` on `kms:EncryptionContext:<key>`).
    #[must_use]
    pub fn when(mut self, key: &str, value: &str) -> Self {
        if let Some(last) = self.statements.last_mut() {
            last.context.insert(key.to_owned(), value.to_owned());
        }
        self
    }

    /// Whether it allows this action on this ARN with this encryption context.
    #[must_use]
    pub fn allows(&self, action: &str, resource: &str, context: &BTreeMap<String, String>) -> bool {
        self.statements.iter().any(|allow| {
            allow.actions.iter().any(|a| glob(a, action))
                && glob(&allow.resource, resource)
                && allow.context.iter().all(|(k, v)| context.get(k) == Some(v))
        })
    }
}

/// Whether the pattern, in which `*` is any text and `?` one character, matches all of the text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern.len() == text.len() && pairs(pattern, text);
    };
    // Byte positions are tried one by one: ARNs are short.
    head.len() <= text.len()
        && pairs(head, text)
        && (head.len()..=text.len()).filter(|&at| text.is_char_boundary(at)).any(|at| glob(rest, &text[at..]))
}

/// Whether the text begins with the pattern, `?` being any byte.
fn pairs(pattern: &str, text: &str) -> bool {
    pattern.bytes().zip(text.bytes()).all(|(p, t)| p == b'?' || p == t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_those_of_iam() {
        for (pattern, text, want) in [
            ("*", "anything", true),
            ("*", "", true),
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("abc", "abcd", false),
            ("s3:Get*", "s3:GetObject", true),
            ("s3:Get*", "s3:PutObject", false),
            ("arn:aws:s3:::b/factories/*/token.json", "arn:aws:s3:::b/factories/a/web/token.json", true),
            ("arn:aws:s3:::b/factories/*/token.json", "arn:aws:s3:::b/factories/token.json", false),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_condition_binds_its_own_statement() {
        let policy = Policy::none()
            .allow(&["kms:Decrypt"], "key")
            .when("factory", "web")
            .allow(&["kms:Encrypt"], "key");
        let context = |value: &str| {
            BTreeMap::from([("factory".to_owned(), value.to_owned()), ("x".to_owned(), String::new())])
        };
        assert!(policy.allows("kms:Decrypt", "key", &context("web")));
        assert!(!policy.allows("kms:Decrypt", "key", &context("db")));
        assert!(!policy.allows("kms:Decrypt", "key", &BTreeMap::new()));
        assert!(!policy.allows("kms:Decrypt", "other", &context("web")));
        assert!(policy.allows("kms:Encrypt", "key", &BTreeMap::new()));
        assert!(!Policy::none().allows("kms:Encrypt", "key", &context("web")));
        assert!(Policy::everything().allows("s3:GetObject", "any", &context("web")));
    }
}

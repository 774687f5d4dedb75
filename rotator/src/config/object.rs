//! A configuration that is an object in S3, with the CA files that it names as objects beside it.
//!
//! The settings say which Conjur gets tokens and which bucket takes them, so the bucket's owner is always
//! expected by S3 itself: a bucket of that name in somebody else's account is refused.

use super::{Beside, Config, Error, LARGEST_FILE, LoginBy, read, read_file};
use imprint_core::aws::{Aws, Bucket};
use imprint_core::caller::Caller;
use imprint_core::door::Trust;
use imprint_core::error::{Class, Classified as _};
use imprint_core::retry::Retry;
use imprint_core::settings::{LARGEST, Problem, Problems};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// So long it is tried; reading is neutral.
const WITHIN: Duration = Duration::from_secs(20);

/// The object, not read yet.
#[derive(Debug)]
pub struct Object {
    bucket: Bucket,
    key: String,
    url: String,
}

/// What was read: two that are equal are one configuration.
#[derive(Debug, Eq, PartialEq)]
pub struct Content {
    url: String,
    text: String,
    /// The files that it names without a `/` in front, by their names.
    beside: BTreeMap<PathBuf, String>,
}

impl Object {
    /// The object of this key, in a bucket of this account. Nothing is sent but what the credentials' chain
    /// needs.
    ///
    /// # Errors
    /// When no region is known.
    pub async fn new(bucket: &str, key: String, owner: &str, caller: &Caller) -> Result<Self, Error> {
        let url = format!("s3://{bucket}/{key}");
        let failed = |source| Error::Object { url: url.clone(), source: Box::new(source) };
        let aws = Aws::with_default_chain(None, &Trust::Public, caller).await.map_err(failed)?;
        Ok(Self { bucket: aws.bucket(bucket, Some(owner)), key, url })
    }

    /// `s3:GetObject` of it and of each CA file that it names.
    ///
    /// # Errors
    /// When one of them cannot be read.
    pub async fn fetch(&self) -> Result<Content, Error> {
        let retry = Retry::new(WITHIN, 3);
        let text = self.get(&retry, &self.key, LARGEST).await?;
        let mut content = Content { url: self.url.clone(), text, beside: BTreeMap::new() };
        for name in content.names() {
            if let Some(key) = self.beside(&name) {
                let text = self.get(&retry, &key, usize::try_from(LARGEST_FILE).unwrap_or(LARGEST)).await?;
                content.beside.insert(name, text);
            }
        }
        Ok(content)
    }

    async fn get(&self, retry: &Retry, key: &str, most: usize) -> Result<String, Error> {
        let (bucket, _) = self.url.split_at(self.url.len() - self.key.len());
        let url = format!("{bucket}{key}");
        let again = |error: &Error| error.class() == Class::Transient;
        let get = async || {
            let got = self.bucket.get(key, most).await;
            got.map_err(|source| Error::Object { url: url.clone(), source: Box::new(source) })
        };
        let object = retry.run("read the configuration", again, get).await?;
        String::from_utf8(object.bytes).map_err(|_| {
            let problem = Problem { line: None, text: "it is no UTF-8 text".to_owned() };
            Error::Settings { path: url.into(), source: Problems(vec![problem]) }
        })
    }

    /// The key of what lies beside it under this name.
    fn beside(&self, name: &Path) -> Option<String> {
        let plain = is_beside(name) && name.components().all(|part| matches!(part, Component::Normal(_)));
        let folder = self.key.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        name.to_str().filter(|_| plain).map(|name| format!("{folder}{name}"))
    }
}

impl Content {
    /// The configuration.
    ///
    /// # Errors
    /// With every problem, at its line of the object.
    pub fn config(&self) -> Result<Config, Error> {
        self.parse(&|name| match self.beside.get(name) {
            Some(text) => Ok(Zeroizing::new(text.clone())),
            None if is_beside(name) => {
                let why = "it is no name of an object beside the configuration";
                let source = io::Error::new(io::ErrorKind::InvalidInput, why);
                Err(Error::Read { path: name.to_owned(), source })
            }
            None => read_file(name, LARGEST_FILE),
        })
        .map_err(|source| Error::Settings { path: PathBuf::from(&self.url), source })
    }

    /// The files that it names, learned by reading it without them.
    fn names(&self) -> BTreeSet<PathBuf> {
        let names = RefCell::new(BTreeSet::new());
        let _without = self.parse(&|name| {
            if is_beside(name) {
                names.borrow_mut().insert(name.to_owned());
            }
            Err(Error::None)
        });
        names.into_inner()
    }

    fn parse(&self, file: &dyn Fn(&Path) -> Result<Zeroizing<String>, Error>) -> Result<Config, Problems> {
        read::config(&self.text, file, Beside::Objects)
    }
}

fn is_beside(name: &Path) -> bool {
    !name.is_absolute()
}

/// Whether a key file may be named so: an object is no place for a key in clear.
pub(super) fn is_no_key_file(login_by: &LoginBy) -> bool {
    matches!(login_by, LoginBy::KeyFile(path) if is_beside(path))
}

#[cfg(test)]
mod tests;

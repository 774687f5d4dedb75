//! The set of files that an enrollment leaves: pem, conf, on request an environment file and JSON, and last
//! the identity. All or none: whoever sees the identity finds the others.
//!
//! A file that holds the key has the identity's owner, group and mode, and goes when the identity goes.
//! `fallback` says where the files are when their file system is read-only.

pub mod fallback;

use crate::config::{Config, Files};
use crate::identity::{self, Identity};
use crate::step::OnDisk;
use crate::store::{self, Disk, Target, Writable};
use crate::{sinks, state};
use imprint_core::name::ApplianceUrl;
use imprint_core::{Class, Classified};
use std::path::Path;
use zeroize::Zeroizing;

/// Why the files cannot be written or read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The identity file is not usable.
    #[error("the identity file {path} cannot be used")]
    Identity {
        /// The file.
        path: String,
        /// What is wrong with it.
        #[source]
        source: identity::Error,
    },
    /// There is no identity.
    #[error("there is no identity at {0}")]
    Missing(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    Storage(#[from] store::Error),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Identity { source, .. } => source.class(),
            Self::Missing(_) => Class::Absent,
            Self::Storage(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Identity { source, .. } if source.is_anothers() => {
                Some("set another path as [files] identity, or mend or remove the file")
            }
            Self::Identity { .. } | Self::Missing(_) => Some("run imprint enroll"),
            Self::Storage(error) => error.hint(),
        }
    }
}

/// What stands at the identity's path, without its secret.
///
/// # Errors
/// When it cannot be read, or is no plain file.
pub fn on_disk(config: &Config) -> Result<OnDisk, store::Error> {
    let bytes = match store::read(&config.files.identity.path, identity::LARGEST) {
        Ok(Some(bytes)) => Zeroizing::new(bytes),
        Ok(None) => return Ok(OnDisk::Missing),
        // No file of ours is that large.
        Err(store::Error::Large { .. }) => return Ok(OnDisk::Unusable(identity::Error::Large)),
        Err(error) => return Err(error),
    };
    Ok(match Identity::find(&bytes, &config.appliance_url) {
        Ok(Some(identity)) => OnDisk::Good {
            appliance_url: identity.appliance_url.to_string(),
            host_id: identity.host_id.to_string(),
        },
        Ok(None) => OnDisk::Missing,
        Err(error) => OnDisk::Unusable(error),
    })
}

/// The identity on the disk.
///
/// # Errors
/// When there is none, or it cannot be read or used.
pub fn read_back(config: &Config) -> Result<Identity, Error> {
    let path = || config.files.identity.path.display().to_string();
    let bytes = there(config)?.ok_or_else(|| Error::Missing(path()))?;
    let found = Identity::find(&bytes, &config.appliance_url);
    found.map_err(|source| unusable(config, source))?.ok_or_else(|| Error::Missing(path()))
}

/// Proves that all files and the state can be written together, while nothing is at stake. The space
/// for the files stays taken until the proofs are released or dropped; that of the state is free again.
///
/// # Errors
/// With the first that cannot.
pub fn prove_writable<'a, D: Disk>(disk: &'a D, config: &Config) -> Result<Vec<Writable<'a, D>>, Error> {
    let files = &config.files;
    // What others have in the file stays, beside an entry of any length.
    let identity = there(config)?.map_or(0, |bytes| bytes.len()) + identity::LONGEST;
    if identity > identity::LARGEST {
        return Err(store::Error::Large { path: files.identity.path.clone(), most: identity::LARGEST }.into());
    }
    let mut all = Vec::new();
    if let Some(ca) = &config.ca {
        all.push((&files.pem, ca.pem().len()));
    }
    all.push((&files.conf, conf(config).len()));
    all.extend([&files.env, &files.json].into_iter().flatten().map(|target| (target, sinks::LONGEST)));
    all.push((&files.identity, identity));
    // The note that comes next is flushed to the file system of the state.
    let state = state::prove_writable(disk, &files.state_dir)?;
    let proofs = store::prove_all(disk, &all, &state)?;
    state.release()?;
    Ok(proofs)
}

/// Writes all files, the identity last: all or none. In a file that others have a part in, our entry for a
/// `former` Conjur goes as well: its key would stay for ever.
///
/// # Errors
/// When one cannot be written, or the identity's file is not ours to edit.
pub fn write(
    disk: &impl Disk,
    config: &Config,
    identity: &Identity,
    former: Option<&ApplianceUrl>,
) -> Result<(), Error> {
    let before = there(config)?;
    let netrc = identity.put_into(before.as_deref().map_or(&[], Vec::as_slice));
    let mut netrc = netrc.map_err(|source| unusable(config, source))?;
    if let Some(former) = former.filter(|url| **url != config.appliance_url) {
        let left = Identity::take_from(netrc.as_bytes(), former);
        // `None`: the file has nothing but the new entry.
        netrc = left.map_err(|source| unusable(config, source))?.unwrap_or(netrc);
    }
    let conf = conf(config);
    let sinks = sinks_of(config, identity);
    let mut all: Vec<(&Target, &[u8])> = Vec::new();
    if let Some(ca) = &config.ca {
        all.push((&config.files.pem, ca.pem().as_bytes()));
    }
    all.push((&config.files.conf, conf.as_bytes()));
    all.extend(sinks.iter().map(|(target, bytes)| (*target, bytes.as_slice())));
    all.push((&config.files.identity, netrc.as_bytes()));
    store::put_all(disk, &all)?;
    Ok(fallback::remove_left(disk, &config.files)?)
}

/// Removes the identity and whatever else holds its key, and no copy is kept: that of the configuration,
/// and that of a `former` Conjur. Entries of others in the same file stay, and so do the files that hold no
/// secret.
///
/// # Errors
/// When one is no plain file or not ours to edit, or cannot be removed.
pub fn remove(disk: &impl Disk, config: &Config, former: Option<&ApplianceUrl>) -> Result<(), Error> {
    let files = &config.files;
    let mut left = there(config)?;
    for url in std::iter::once(&config.appliance_url).chain(former) {
        let Some(bytes) = left.take() else { break };
        let taken = Identity::take_from(&bytes, url).map_err(|source| unusable(config, source))?;
        // The bytes of the text itself: a copy would not be wiped with it.
        left = taken.map(|mut text| Zeroizing::new(std::mem::take(&mut *text).into_bytes()));
    }
    match left {
        Some(left) => store::put(disk, &files.identity, &left)?,
        None => store::remove(disk, &files.identity.path)?,
    }
    for target in [&files.env, &files.json].into_iter().flatten() {
        store::remove(disk, &target.path)?;
    }
    Ok(fallback::remove_left(disk, files)?)
}

/// Brings back the files beside the identity. Pem is the configuration's `ca_file` and follows it, so that a
/// new CA reaches the clients. Conf is written where it is gone; one that is there is left alone, whatever it
/// says: an operator may have added to it. What holds the key is ours alone, and is made to say what the
/// identity says.
///
/// # Errors
/// When one cannot be written, or there is no identity to tell of.
pub fn restore(disk: &impl Disk, config: &Config) -> Result<(), Error> {
    let gone = |path: &Path| path.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound);
    let conf = conf(config);
    let mut all: Vec<(&Target, &[u8])> = Vec::new();
    let follows = |pem: &str| match store::read(&config.files.pem.path, pem.len()) {
        Ok(Some(is)) => is == pem.as_bytes(),
        Ok(None) | Err(store::Error::Large { .. }) => false,
        // A link that an operator has put there, say.
        Err(_) => true,
    };
    if let Some(ca) = config.ca.as_ref().filter(|ca| !follows(ca.pem())) {
        all.push((&config.files.pem, ca.pem().as_bytes()));
    }
    if gone(&config.files.conf.path) {
        all.push((&config.files.conf, conf.as_bytes()));
    }
    let mut sinks = Vec::new();
    if config.files.env.is_some() || config.files.json.is_some() {
        sinks = sinks_of(config, &read_back(config)?);
    }
    for (target, bytes) in &sinks {
        let is = store::read(&target.path, sinks::LONGEST).map(|is| is.map(Zeroizing::new));
        if matches!(is, Err(store::Error::Large { .. })) || is?.as_deref() != Some(&**bytes) {
            all.push((target, bytes.as_slice()));
        }
    }
    Ok(store::put_all(disk, &all)?)
}

/// Puts the same bytes once more, when a file that holds the key has another owner, group or mode than it
/// shall have, or an access list: whoever opened it too wide meanwhile has no further use of it. Says
/// whether one had.
///
/// # Errors
/// When one cannot be read or written.
pub fn mend_access(disk: &impl Disk, files: &Files) -> Result<bool, store::Error> {
    let mut mended = false;
    for target in [Some(&files.identity), files.env.as_ref(), files.json.as_ref()].into_iter().flatten() {
        let Some((bytes, looks)) = store::read_with_looks(&target.path, identity::LARGEST)? else { continue };
        let bytes = Zeroizing::new(bytes);
        if !looks.are_of(target) {
            store::put(disk, target, &bytes)?;
            mended = true;
        }
    }
    Ok(mended)
}

/// Removes the drafts that a killed run has left, of the files and of the state: they may hold a key.
///
/// # Errors
/// When one cannot be removed.
pub fn tidy(disk: &impl Disk, files: &Files) -> Result<(), store::Error> {
    let all =
        [Some(&files.pem), Some(&files.conf), files.env.as_ref(), files.json.as_ref(), Some(&files.identity)];
    for target in all.into_iter().flatten() {
        let _was_there = store::remove_draft(disk, &target.path)?;
    }
    let _was_there = store::remove_draft(disk, &state::path(&files.state_dir))?;
    Ok(())
}

/// What stands in the identity's file.
fn there(config: &Config) -> Result<Option<Zeroizing<Vec<u8>>>, store::Error> {
    Ok(store::read(&config.files.identity.path, identity::LARGEST)?.map(Zeroizing::new))
}

fn unusable(config: &Config, source: identity::Error) -> Error {
    Error::Identity { path: config.files.identity.path.display().to_string(), source }
}

/// The files beside the identity that hold its key.
fn sinks_of<'a>(config: &'a Config, identity: &Identity) -> Vec<(&'a Target, Zeroizing<Vec<u8>>)> {
    let (account, pem) = (&config.account, pem(config));
    let mut sinks = Vec::new();
    if let Some(target) = &config.files.env {
        let mut text = sinks::env(account, pem, identity);
        // The bytes of the text itself: a copy would not be wiped with it.
        sinks.push((target, Zeroizing::new(std::mem::take(&mut *text).into_bytes())));
    }
    if let Some(target) = &config.files.json {
        sinks.push((target, sinks::json(account, pem, identity)));
    }
    sinks
}

fn pem(config: &Config) -> Option<&Path> {
    config.ca.is_some().then_some(config.files.pem.path.as_path())
}

/// What `conf` says.
#[must_use]
pub fn conf(config: &Config) -> String {
    sinks::conf(&config.account, &config.appliance_url, pem(config), &config.files.identity.path)
}

#[cfg(test)]
mod tests;

//! The set of files that an enrollment leaves: pem, conf, then the identity, each durable before the
//! next, so that whoever sees the identity finds the other two.

use crate::config::{Config, Files};
use crate::identity::{self, Identity};
use crate::state;
use crate::step::OnDisk;
use crate::store::{self, Disk, Target, Writable};
use imprint_core::{Class, Classified};
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
    let files = &config.files;
    let bytes = match store::read(&files.identity.path, identity::LARGEST) {
        Ok(Some(bytes)) => Zeroizing::new(bytes),
        Ok(None) => return Ok(OnDisk::Missing),
        // No identity of ours is that large.
        Err(store::Error::Large { .. }) => return Ok(OnDisk::Unusable(identity::Error::Others)),
        Err(error) => return Err(error),
    };
    Ok(match Identity::parse(&bytes) {
        Ok(identity) => OnDisk::Good {
            appliance_url: identity.appliance_url.to_string(),
            host_id: identity.host_id.to_string(),
        },
        Err(error) => OnDisk::Unusable(error),
    })
}

/// The identity on the disk.
///
/// # Errors
/// When there is none, or it cannot be read or used.
pub fn read_back(config: &Config) -> Result<Identity, Error> {
    let files = &config.files;
    let path = || files.identity.path.display().to_string();
    let bytes =
        store::read(&files.identity.path, identity::LARGEST)?.ok_or_else(|| Error::Missing(path()))?;
    let bytes = Zeroizing::new(bytes);
    Identity::parse(&bytes).map_err(|source| Error::Identity { path: path(), source })
}

/// Proves that all files and the state can be written together, while nothing is at stake. The space
/// for the files stays taken until the proofs are released or dropped; that of the state is free again.
///
/// # Errors
/// With the first that cannot.
pub fn prove_writable<'a, D: Disk>(disk: &'a D, config: &Config) -> Result<Vec<Writable<'a, D>>, Error> {
    let files = &config.files;
    let conf = conf(config);
    let mut all = Vec::new();
    if let Some(ca) = &config.ca {
        all.push((&files.pem, ca.pem().len()));
    }
    all.push((&files.conf, conf.len()));
    all.push((&files.identity, identity::LONGEST));
    // The note that comes next is flushed to the file system of the state.
    let state = state::prove_writable(disk, &files.state_dir)?;
    let proofs = store::prove_all(disk, &all, &state)?;
    state.release()?;
    Ok(proofs)
}

/// Writes pem, conf and identity, in this order: all or none.
///
/// # Errors
/// When one cannot be written.
pub fn write(disk: &impl Disk, config: &Config, identity: &Identity) -> Result<(), Error> {
    let (conf, netrc) = (conf(config), identity.to_netrc());
    let mut all: Vec<(&Target, &[u8])> = Vec::new();
    if let Some(ca) = &config.ca {
        all.push((&config.files.pem, ca.pem().as_bytes()));
    }
    all.push((&config.files.conf, conf.as_bytes()));
    all.push((&config.files.identity, netrc.as_bytes()));
    Ok(store::put_all(disk, &all)?)
}

/// Removes the identity, and no copy is kept. What holds no secret stays.
///
/// # Errors
/// When it is no plain file, or cannot be removed.
pub fn remove(disk: &impl Disk, config: &Config) -> Result<(), Error> {
    Ok(store::remove(disk, &config.files.identity.path)?)
}

/// Writes pem and conf where they are gone. Ones that are there are left alone, whatever they say:
/// an operator may have added to them.
///
/// # Errors
/// When one cannot be written.
pub fn restore(disk: &impl Disk, config: &Config) -> Result<(), Error> {
    let gone = |path: &std::path::Path| {
        path.symlink_metadata().is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    };
    if let Some(ca) = config.ca.as_ref().filter(|_| gone(&config.files.pem.path)) {
        store::put(disk, &config.files.pem, ca.pem().as_bytes())?;
    }
    if gone(&config.files.conf.path) {
        store::put(disk, &config.files.conf, conf(config).as_bytes())?;
    }
    Ok(())
}

/// Puts the same identity once more, when its file has another owner, group or mode than it shall have:
/// whoever opened it too wide meanwhile has no further use of it. Says whether it had.
///
/// # Errors
/// When it cannot be read or written.
pub fn mend_access(disk: &impl Disk, files: &Files) -> Result<bool, store::Error> {
    let Some((bytes, looks)) = store::read_with_looks(&files.identity.path, identity::LARGEST)? else {
        return Ok(false);
    };
    let bytes = Zeroizing::new(bytes);
    if looks.are_of(&files.identity) {
        return Ok(false);
    }
    store::put(disk, &files.identity, &bytes)?;
    Ok(true)
}

/// What `conf` says.
#[must_use]
pub fn conf(config: &Config) -> String {
    let pem = config.ca.is_some().then_some(config.files.pem.path.as_path());
    identity::conf(&config.account, &config.appliance_url, pem, &config.files.identity.path)
}

//! The note that an image is being made from this very instance: `imprint forget --bake` writes it, and
//! `enroll` refuses where it is found.
//!
//! It names the instance, so nobody has to remove it: what is made from the image is another instance, to
//! which it says nothing. The first enrollment there removes it.

use crate::facts::InstanceId;
use crate::store::{self, Disk, Target};
use std::path::{Path, PathBuf};

/// The largest note that is read, in bytes.
const LARGEST: usize = 256;

/// Where the note lies.
#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("baked-on")
}

/// The instance that the note names. One that cannot be read names none: it may have come with the image, and
/// must not keep a whole fleet from its identities.
#[must_use]
pub fn noted(state_dir: &Path) -> Option<InstanceId> {
    let bytes = store::read(&path(state_dir), LARGEST).ok()??;
    std::str::from_utf8(&bytes).ok()?.trim_end().parse().ok()
}

/// Writes the note, durably.
///
/// # Errors
/// When the disk does not take it.
pub fn note(disk: &impl Disk, state_dir: &Path, here: &InstanceId) -> Result<(), store::Error> {
    let target = Target { path: path(state_dir), mode: 0o600, owner: None, group: None, label: None };
    store::put(disk, &target, format!("{here}\n").as_bytes())
}

/// Removes it; none is no error.
///
/// # Errors
/// When the disk does not let it go.
pub fn remove(disk: &impl Disk, state_dir: &Path) -> Result<(), store::Error> {
    store::remove(disk, &path(state_dir))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Real;

    #[test]
    fn what_is_noted_is_read_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let here: InstanceId = "i-0123456789abcdef0".parse().unwrap();
        assert_eq!(noted(dir.path()), None);
        note(&Real, dir.path(), &here).unwrap();
        assert_eq!(noted(dir.path()), Some(here));
        for other in ["", "\n", "i-1 i-2", "\u{e9}", &"i".repeat(LARGEST + 1)] {
            std::fs::write(path(dir.path()), other).unwrap();
            assert_eq!(noted(dir.path()), None, "{other:?}");
        }
        remove(&Real, dir.path()).unwrap();
        remove(&Real, dir.path()).unwrap();
        assert!(!path(dir.path()).exists());
    }
}

//! What lies on a machine's disk, as values: to be put back before the next try, to be searched, and to be
//! compared.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The folders of a machine that its programs may change.
pub const FOLDERS: [&str; 2] = ["etc", "var"];

/// One entry of the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Node {
    /// A directory of this mode.
    Folder(u32),
    /// A file of this mode, and what is in it.
    File(u32, Vec<u8>),
}

impl Node {
    /// The mode.
    #[must_use]
    pub const fn mode(&self) -> u32 {
        match self {
            Self::Folder(mode) | Self::File(mode, _) => *mode,
        }
    }

    /// What is in it, if it is a file.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Folder(_) => None,
            Self::File(_, bytes) => Some(bytes),
        }
    }
}

/// All entries below a root, by their paths below it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Image(pub BTreeMap<PathBuf, Node>);

impl Image {
    /// What is there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of(root: &Path) -> io::Result<Self> {
        let mut image = Self::default();
        for folder in FOLDERS {
            image.add(root, Path::new(folder))?;
        }
        Ok(image)
    }

    fn add(&mut self, root: &Path, below: &Path) -> io::Result<()> {
        let at = root.join(below);
        let look = at.symlink_metadata()?;
        let mode = look.mode() & 0o7777;
        if !look.is_dir() {
            self.0.insert(below.to_owned(), Node::File(mode, fs::read(&at)?));
            return Ok(());
        }
        self.0.insert(below.to_owned(), Node::Folder(mode));
        for entry in fs::read_dir(&at)? {
            self.add(root, &below.join(entry?.file_name()))?;
        }
        Ok(())
    }

    /// Makes the disk what this says.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, root: &Path) -> io::Result<()> {
        for folder in FOLDERS {
            match fs::remove_dir_all(root.join(folder)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        for (below, node) in &self.0 {
            let at = root.join(below);
            match node {
                Node::Folder(mode) => DirBuilder::new().mode(*mode).create(&at)?,
                Node::File(mode, bytes) => {
                    OpenOptions::new()
                        .write(true)
                        .create_new(true)
                        .mode(*mode)
                        .open(&at)?
                        .write_all(bytes)?;
                }
            }
            fs::set_permissions(&at, fs::Permissions::from_mode(node.mode()))?;
        }
        Ok(())
    }

    /// The text of a file.
    #[must_use]
    pub fn text(&self, below: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.0.get(Path::new(below))?.bytes()?).into_owned())
    }

    /// Paths and modes, without what is in the files.
    #[must_use]
    pub fn looks(&self) -> Vec<(PathBuf, u32)> {
        self.0.iter().map(|(path, node)| (path.clone(), node.mode())).collect()
    }

    /// A file in which one of these texts stands, and which more than its owner may read.
    #[must_use]
    pub fn open_with(&self, texts: &[String]) -> Option<(&Path, u32)> {
        let is_open = |node: &Node| node.mode() & 0o077 != 0;
        let has = |bytes: &[u8]| texts.iter().any(|text| holds(bytes, text.as_bytes()));
        let found = self.0.iter().find(|(_, node)| is_open(node) && node.bytes().is_some_and(has));
        found.map(|(path, node)| (path.as_path(), node.mode()))
    }

    /// The files in which one of these texts stands.
    pub fn files_with<'a>(&'a self, texts: &'a [String]) -> impl Iterator<Item = (&'a Path, u32)> {
        let has = |bytes: &[u8]| texts.iter().any(|text| holds(bytes, text.as_bytes()));
        self.0
            .iter()
            .filter(move |(_, node)| node.bytes().is_some_and(has))
            .map(|(path, node)| (path.as_path(), node.mode()))
    }
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && bytes.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_is_there_again() {
        let root = tempfile::tempdir().unwrap();
        for folder in ["etc/imprint", "var/lib"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(root.path().join("etc/key"), "the key").unwrap();
        fs::set_permissions(root.path().join("etc/key"), fs::Permissions::from_mode(0o640)).unwrap();
        let before = Image::of(root.path()).unwrap();
        fs::write(root.path().join("etc/litter"), "the key").unwrap();
        fs::remove_dir_all(root.path().join("var")).unwrap();
        before.put(root.path()).unwrap();
        assert_eq!(Image::of(root.path()).unwrap(), before);
        let found: Vec<_> = before.files_with(&["the key".to_owned()][..]).map(|(_, mode)| mode).collect();
        assert_eq!(found, [0o640]);
        assert_eq!((before.text("etc/key").unwrap().as_str(), before.text("etc")), ("the key", None));
    }
}

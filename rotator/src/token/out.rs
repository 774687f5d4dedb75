//! Where minted tokens go: a new file that nobody else may read, or standard output when that was asked for.
//!
//! The file is made before a token is minted, so that what would fail afterwards fails before; it is removed
//! when nothing comes into it.

use super::Error;
use imprint_core::token::Token;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What stands for standard output on the command line.
const STANDARD_OUTPUT: &str = "-";

/// Standard output, as far as it matters here.
pub trait Screen: Write {
    /// Whether a person looks at it.
    fn is_terminal(&self) -> bool;
}

impl Screen for io::Stdout {
    fn is_terminal(&self) -> bool {
        io::IsTerminal::is_terminal(&self.lock())
    }
}

/// Whether `--out` names standard output.
#[must_use]
pub fn is_standard(out: &Path) -> bool {
    out.as_os_str() == STANDARD_OUTPUT
}

/// An open place.
pub(super) enum Out<'a> {
    File { path: PathBuf, file: fs::File },
    Standard(&'a mut dyn Screen),
}

impl<'a> Out<'a> {
    pub(super) fn open(out: &Path, reveal: bool, screen: &'a mut dyn Screen) -> Result<Self, Error> {
        if is_standard(out) {
            if screen.is_terminal() && !reveal {
                return Err(Error::Terminal);
            }
            return Ok(Self::Standard(screen));
        }
        let path = out.to_owned();
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => Ok(Self::File { path, file }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists(path)),
            Err(source) => Err(Error::File { action: "cannot make", path, source }),
        }
    }

    /// Writes each token on a line of its own, and gives the place back when that failed.
    pub(super) fn put<'t>(&mut self, tokens: impl Iterator<Item = &'t Token>) -> Result<(), Error> {
        let mut text = Zeroizing::new(String::with_capacity(16 * 1024));
        for token in tokens {
            text.push_str(token.expose());
            text.push('\n');
        }
        let (written, path) = match self {
            Self::File { path, file } => {
                (file.write_all(text.as_bytes()).and_then(|()| file.sync_all()), path.clone())
            }
            Self::Standard(screen) => {
                crate::progress::finish();
                (
                    screen.write_all(text.as_bytes()).and_then(|()| screen.flush()),
                    PathBuf::from("standard output"),
                )
            }
        };
        written.map_err(|source| Error::File { action: "cannot write to", path, source })
    }

    /// Removes the file again.
    pub(super) fn discard(self) {
        if let Self::File { path, .. } = self {
            // What failed before is what is told.
            let _told_already = fs::remove_file(path);
        }
    }
}

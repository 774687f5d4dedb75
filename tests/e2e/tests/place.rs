//! What the end-to-end tests and those of `tests/root` stand on: a site with its folder, the programs that
//! cargo has built for them, and the search for secrets that were told.

use imprint_core::sealed::context_key;
use imprint_e2e::{Programs, Site};
use imprint_stack::{Options, Stack};
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use tempfile::TempDir;

/// A site whose folder goes with it. When it goes, what its programs said and what lies in the folder is searched
/// for secrets, whatever its test was about.
pub struct Place {
    pub site: Site,
    _folder: TempDir,
    may_tell: Mutex<Vec<String>>,
}

impl Place {
    /// Files of this name may hold a secret in this place.
    #[allow(dead_code, reason = "some of the programs of tests have no such file")]
    pub fn may_tell(&self, name: &str) {
        self.may_tell.lock().unwrap_or_else(PoisonError::into_inner).push(name.to_owned());
    }
}

/// What holds a secret by its nature: the identity, and the files that the site's functions log in with.
const HOLD_SECRETS: [&str; 4] = ["conjur.identity", "minter.key", "reaper.key", "rotator.key"];

impl Drop for Place {
    fn drop(&mut self) {
        // One failure is enough.
        if std::thread::panicking() {
            return;
        }
        let may_tell = self.may_tell.lock().unwrap_or_else(PoisonError::into_inner);
        imprint_e2e::nothing_is_told(&self.site, &|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            HOLD_SECRETS.contains(&name) || may_tell.iter().any(|may| may == name)
        });
    }
}

impl Deref for Place {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

pub fn programs() -> Programs {
    Programs::named().unwrap_or_else(|| Programs {
        agent: env!("CARGO_BIN_EXE_e2e-imprint").into(),
        rotator: env!("CARGO_BIN_EXE_e2e-imprint-rotator").into(),
    })
}

pub fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The usual site; nothing is published yet.
pub fn site() -> Place {
    site_of(Options::new(context_key::HOST_FACTORY).layers)
}

/// A site of these layers; nothing is published yet.
pub fn site_of(layers: Vec<String>) -> Place {
    let folder = folder();
    let stack = Stack::start(Options { layers, ..Options::new(context_key::HOST_FACTORY) });
    Place { site: Site::with(folder.path(), programs(), stack), _folder: folder, may_tell: Mutex::default() }
}

/// The usual site with a token published for each layer.
pub fn published() -> Place {
    let site = site();
    let _said = imprint_e2e::Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    site
}

/// No token, no API key, no AWS secret key and no session token of this site stands in any of these texts, which a
/// test has from elsewhere than [`imprint_e2e::Ran`].
#[track_caller]
pub fn no_secret(site: &Site, texts: &[&str]) {
    let secrets = site.stack.secrets();
    for text in texts {
        let found = secrets.found_in(text.as_bytes());
        assert!(found.is_none(), "{found:?} is told:\n{text}");
    }
}

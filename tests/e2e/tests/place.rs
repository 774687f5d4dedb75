//! What the end-to-end tests and those of `tests/root` stand on: a site with its folder, the programs that
//! cargo has built for them, and the search for secrets that were told.

use imprint_core::sealed::context_key;
use imprint_e2e::{Programs, Site};
use imprint_stack::{Options, Stack};
use std::ops::Deref;
use tempfile::TempDir;

/// A site whose folder goes with it.
pub struct Place {
    pub site: Site,
    _folder: TempDir,
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
    Place { site: Site::with(folder.path(), programs(), stack), _folder: folder }
}

/// The usual site with a token published for each layer.
pub fn published() -> Place {
    let site = site();
    let _said = imprint_e2e::Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    site
}

/// No token, no API key, no AWS secret key and no session token of this site stands in any of these
/// texts.
#[track_caller]
pub fn no_secret(site: &Site, texts: &[&str]) {
    let conjur = site.stack.conjur.service();
    let mut secrets = vec![site.stack.rotator_login().1, conjur.admin_key()];
    for layer in &site.stack.options().layers {
        secrets.extend(conjur.tokens(&site.stack.factory(layer)).into_iter().map(|row| row.token));
    }
    secrets.extend(conjur.hosts().iter().filter_map(|host| conjur.key_of(host)));
    secrets.extend(site.stack.credentials.secrets());
    assert!(secrets.iter().all(|s| s.len() >= 40), "a secret to look for is too short to be one");
    for (text, secret) in texts.iter().flat_map(|t| secrets.iter().map(move |s| (t, s))) {
        assert!(!text.contains(secret.as_str()), "a secret is told:\n{text}");
    }
}

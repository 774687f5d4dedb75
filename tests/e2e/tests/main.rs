//! End to end: what the programs are made of and the programs themselves, against servers on real
//! sockets. One binary, so it links once.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what tests share fails as a test does"
)]

mod bad_config;
mod bad_disk;
mod bad_replies;
mod bad_token;
mod conjur_client;
mod docs;
mod emulator;
mod genuine;
mod journey;
mod lambda;
mod process;
mod readers;

use imprint_e2e::{Programs, Site};
use std::ops::Deref;
use tempfile::TempDir;

/// A site whose folder goes with it.
struct Place {
    site: Site,
    _folder: TempDir,
}

impl Deref for Place {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

fn programs() -> Programs {
    Programs::named().unwrap_or_else(|| Programs {
        agent: env!("CARGO_BIN_EXE_e2e-imprint").into(),
        rotator: env!("CARGO_BIN_EXE_e2e-imprint-rotator").into(),
    })
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// The usual site; nothing is published yet.
fn site() -> Place {
    let folder = folder();
    Place { site: Site::new(folder.path(), programs()), _folder: folder }
}

/// The usual site with a token published for each layer.
fn published() -> Place {
    let site = site();
    let _said = imprint_e2e::Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    site
}

/// What a failed enrollment must be like: one reason and its hint, its exit code, nothing written,
/// nothing told.
#[track_caller]
fn refused(site: &Site, machine: &imprint_e2e::Machine, code: i32, say: &str) {
    let ran = imprint_e2e::Ran::of(&mut machine.imprint(&["enroll", "--deadline", "3s"])).expect(code);
    assert!(ran.err.contains(say), "should say {say:?}:\n{}", ran.err);
    assert!(ran.err.lines().any(|l| l.contains("hint")), "no hint:\n{}", ran.err);
    assert_eq!(machine.etc(), ["imprint"], "something was written");
    no_secret(site, &[&ran.out, &ran.err]);
}

/// No token, no API key, no AWS secret key and no session token of this site stands in any of these
/// texts.
#[track_caller]
fn no_secret(site: &Site, texts: &[&str]) {
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

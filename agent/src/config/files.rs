//! The `[files]` section: what is written, where, and how it looks there.

use super::Outside;
use super::kinds::{AbsolutePath, FileMode, Label};
use crate::store::Target;
use imprint_core::settings::{Table, text};
use std::path::{Path, PathBuf};

/// The files that are written.
#[derive(Clone, Debug)]
pub struct Files {
    /// Host id and API key.
    pub identity: Target,
    /// Where clients find the rest.
    pub conf: Target,
    /// The CA bundle; only written when there is one.
    pub pem: Target,
    /// Login and key as variables of an environment; `None` for none.
    pub env: Option<Target>,
    /// The same as JSON; `None` for none.
    pub json: Option<Target>,
    /// Where all of them go when the file system of one is read-only; `None` for nowhere.
    pub fallback_dir: Option<PathBuf>,
    /// Lock and state.
    pub state_dir: PathBuf,
}

impl Files {
    pub(super) fn take(table: &mut Table<'_>, outside: &impl Outside) -> Option<Self> {
        let mut path = |key, default| table.or(key, text, AbsolutePath::known(default)).map(|path| path.0);
        let identity = path("identity", "/etc/conjur.identity");
        let conf = path("conf", "/etc/conjur.conf");
        let pem = path("pem", "/etc/conjur.pem");
        let state_dir = path("state_dir", "/var/lib/imprint");
        let mut path = |key| table.optional(key, text::<AbsolutePath>).map(|path| path.0);
        let (env, json, fallback_dir) = (path("env"), path("json"), path("fallback_dir"));
        let label = table.optional("selinux_label", text::<Label>).map(|label| label.0);
        let mode = table.or("mode", text, FileMode(0o600));
        let owner = id_of(table, "owner", "/etc/passwd", "user", outside);
        let group = id_of(table, "group", "/etc/group", "group", outside);
        let paths = [&identity, &conf, &pem, &state_dir, &env, &json, &fallback_dir];
        if paths.iter().enumerate().any(|(at, path)| path.is_some() && paths[..at].contains(path)) {
            table.problem("identity", "two settings of this section name the same path");
        }
        let (owner, group, mode) = (owner?, group?, mode?.0);
        let secret = |path| Target { path, mode, owner, group, label: label.clone() };
        Some(Self {
            identity: secret(identity?),
            // These two hold no secret, and every user's client reads them.
            conf: Target { path: conf?, mode: 0o644, owner: None, group: None, label: label.clone() },
            pem: Target { path: pem?, mode: 0o644, owner: None, group: None, label: label.clone() },
            env: env.map(secret),
            json: json.map(secret),
            fallback_dir,
            state_dir: state_dir?,
        })
    }
}

/// A user or group by name or number. The outer `None` says that it is wrong.
fn id_of(
    table: &mut Table<'_>,
    key: &'static str,
    list: &str,
    kind: &str,
    outside: &impl Outside,
) -> Option<Option<u32>> {
    let Some(name) = table.or(key, |value| text::<String>(value).map(Some), None)? else { return Some(None) };
    // The system takes the highest number for "leave it as it is".
    let is_id = |number: &u32| *number != u32::MAX;
    if let Ok(number) = name.parse() {
        if !is_id(&number) {
            table.problem(key, format_args!("{number} is no {kind}"));
            return None;
        }
        return Some(Some(number));
    }
    let bytes = match outside.file(Path::new(list), 1024 * 1024) {
        Ok(bytes) => bytes,
        Err(error) => {
            table.problem(key, format_args!("{list} cannot be read: {error}"));
            return None;
        }
    };
    let found = String::from_utf8_lossy(&bytes).lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name.as_str())).then(|| fields.nth(1)?.parse().ok().filter(is_id)).flatten()
    });
    if found.is_none() {
        let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
        table.problem(key, format_args!("there is no {kind} {shown} in {list}; a number is taken too"));
        return None;
    }
    Some(found)
}

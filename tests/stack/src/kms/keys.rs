//! The keys of one account in one region, found by id, ARN or alias.

use super::error::Error;
use crate::aws::uuid;
use crate::hold;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// One symmetric key.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) arn: String,
    pub(super) material: [u8; 32],
    pub(super) enabled: bool,
    pub(super) pending_deletion: bool,
}

impl Key {
    /// The state that DescribeKey names.
    pub(super) fn state(&self) -> &'static str {
        match (self.pending_deletion, self.enabled) {
            (true, _) => "PendingDeletion",
            (false, true) => "Enabled",
            (false, false) => "Disabled",
        }
    }

    /// Refuses what a key in its present state does not do.
    pub(super) fn usable(&self) -> Result<(), Error> {
        if self.pending_deletion {
            Err(Error::new("KMSInvalidStateException", &format!("{} is pending deletion.", self.arn)))
        } else if self.enabled {
            Ok(())
        } else {
            Err(Error::new("DisabledException", &format!("{} is disabled.", self.arn)))
        }
    }
}

/// All keys and aliases.
pub(super) struct Keys {
    /// `arn:aws:kms:REGION:ACCOUNT:`
    prefix: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By key id.
    keys: BTreeMap<String, Key>,
    /// Key ids by `alias/...`.
    aliases: BTreeMap<String, String>,
}

impl Keys {
    pub(super) fn new(region: &str, account: &str) -> Self {
        Self { prefix: format!("arn:aws:kms:{region}:{account}:"), state: Mutex::default() }
    }

    /// Makes a key; returns its ARN.
    pub(super) fn add(&self) -> String {
        let id = uuid();
        let arn = format!("{}key/{id}", self.prefix);
        let material = std::array::from_fn(|_| fastrand::u8(..));
        let key = Key { id: id.clone(), arn: arn.clone(), material, enabled: true, pending_deletion: false };
        hold(&self.state).keys.insert(id, key);
        arn
    }

    pub(super) fn alias(&self, alias: &str, key: &str) {
        let id = key.rsplit('/').next().unwrap_or(key);
        hold(&self.state).aliases.insert(alias.to_owned(), id.to_owned());
    }

    /// Changes the key of this ARN; nothing happens if there is none.
    pub(super) fn change(&self, key: &str, change: impl FnOnce(&mut Key)) {
        let id = key.rsplit('/').next().unwrap_or(key);
        hold(&self.state).keys.get_mut(id).map(change);
    }

    /// The key of this id, ARN, alias or alias ARN.
    pub(super) fn find(&self, id: &str) -> Result<Key, Error> {
        let state = hold(&self.state);
        let local = if id.starts_with("arn:") {
            // An ARN of another region or account names nothing here.
            id.strip_prefix(self.prefix.as_str())
                .ok_or_else(|| Error::new("NotFoundException", &format!("Invalid arn {id}")))?
        } else {
            id
        };
        if local.starts_with("alias/") {
            let missing = || {
                let message = format!("Alias {}{local} is not found.", self.prefix);
                Error::new("NotFoundException", &message)
            };
            let id = state.aliases.get(local).ok_or_else(missing)?;
            return state.keys.get(id).cloned().ok_or_else(missing);
        }
        let local = local.strip_prefix("key/").unwrap_or(local);
        state.keys.get(local).cloned().ok_or_else(|| {
            Error::new("NotFoundException", &format!("Key '{}key/{local}' does not exist", self.prefix))
        })
    }
}

//! The credentials of an instance's role, as the SDK's clients find them.

use super::Credentials;
use super::connector::is_only_asked;
use aws_credential_types::Credentials as Keys;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, future};
use std::sync::{Arc, Mutex, PoisonError};

/// What the role has given, shared with the clients that sign with it.
#[derive(Clone, Default)]
pub(super) struct Held(Arc<Mutex<Option<Keys>>>);

impl Held {
    pub(super) fn replace(&self, with: &Credentials) {
        let keys = Keys::new(
            with.access_key_id.clone(),
            with.secret_access_key.to_string(),
            with.session_token.as_ref().map(|token| token.to_string()),
            None,
            "imprint",
        );
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

impl ProvideCredentials for Held {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let keys = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        future::ProvideCredentials::ready(match keys {
            Some(keys) => Ok(keys),
            // What is signed with these never leaves: it is only asked where it would go.
            None if is_only_asked() => Ok(Keys::new("none", "none", None, None, "imprint")),
            None => Err(CredentialsError::not_loaded("the role's credentials are not there yet")),
        })
    }
}

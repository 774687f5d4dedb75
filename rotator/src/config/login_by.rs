//! [`LoginBy`]: with what the rotator logs in at Conjur. One way at a time; the configuration says which.

use imprint_core::aws::Sts;
use imprint_core::conjur::ServiceId;
use imprint_core::settings::{Table, flag, text};
use std::path::{Path, PathBuf};

/// A way to log in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum LoginBy {
    /// The API key in this file.
    KeyFile(PathBuf),
    /// The API key in the environment.
    #[default]
    KeyVariable,
    /// The AWS role that this process has, which Conjur's authn-iam asks STS for.
    Role {
        /// The id of Conjur's webservice.
        service: ServiceId,
        /// The STS that Conjur shall ask; that of the region when `None`.
        sts: Option<Sts>,
    },
    /// The API key that `seal-login` has put into the bucket.
    SealedKey,
}

impl LoginBy {
    /// The same, with a relative key file in this folder.
    pub(super) fn beside(self, folder: &Path) -> Self {
        match self {
            Self::KeyFile(name) => Self::KeyFile(folder.join(name)),
            Self::KeyVariable | Self::Role { .. } | Self::SealedKey => self,
        }
    }

    /// Whether AWS is needed for it.
    #[must_use]
    pub const fn needs_aws(&self) -> bool {
        match self {
            Self::KeyFile(_) | Self::KeyVariable => false,
            Self::Role { .. } | Self::SealedKey => true,
        }
    }
}

/// Reads `api_key_file`, `authn_iam` with `sts`, or `sealed_login`; `login` and `region` are the settings
/// that they must go together with.
pub(super) fn login_by(root: &mut Table<'_>, login: Option<&str>, region: Option<&str>) -> Option<LoginBy> {
    let key_file = root.or("api_key_file", |value| text::<PathBuf>(value).map(Some), None);
    let service = root.or("authn_iam", |value| text::<ServiceId>(value).map(Some), None);
    let sts = root.or("sts", |value| text::<Sts>(value).map(Some), None);
    let sealed = root.or("sealed_login", flag, false);
    let ways = ["api_key_file", "authn_iam", "sealed_login"].map(|key| {
        let is_one = root.has(key) && (key != "sealed_login" || sealed != Some(false));
        is_one.then_some(key)
    });
    let mut ways = ways.into_iter().flatten();
    if let Some(first) = ways.next() {
        for other in ways {
            root.problem(other, format!("there is {first} already; the rotator logs in in one way"));
        }
    }
    if root.has("sts") && !root.has("authn_iam") {
        root.problem("sts", "is for authn_iam alone");
    }
    if root.has("authn_iam") {
        if let Some(login) = login
            && !names_a_role(login)
        {
            root.problem(
                "login",
                "must be host/.../<AWS account's 12 digits>/<role's name>: authn_iam compares it with what STS says",
            );
        }
        if let (Some(region), false) = (region, root.has("sts"))
            && let Err(no_sts) = region.parse::<Sts>()
        {
            root.problem("authn_iam", format!("aws.region is {region}, and the STS {no_sts}"));
        }
    }
    let (key_file, service, sts) = (key_file?, service?, sts?);
    Some(match (key_file, service, sealed?) {
        (Some(path), ..) => LoginBy::KeyFile(path),
        (None, Some(service), _) => LoginBy::Role { service, sts },
        (None, None, true) => LoginBy::SealedKey,
        (None, None, false) => LoginBy::KeyVariable,
    })
}

/// Whether Conjur could find account and role at the end of this login.
fn names_a_role(login: &str) -> bool {
    let mut parts = login.rsplit('/');
    let (Some(role), Some(account)) = (parts.next(), parts.next()) else { return false };
    login.starts_with("host/")
        && parts.next().is_some()
        && (1..=64).contains(&role.len())
        && account.len() == 12
        && account.bytes().all(|b| b.is_ascii_digit())
}

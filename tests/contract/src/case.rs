//! One case: an exchange with a server, as the files in `cases/` write it down. Files run in the order of their names and cases in
//! the order of the file, since later ones use what earlier ones got; the README beside the files explains every field.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::target::Settings;

/// The files, in the order in which they run.
pub(crate) const FILES: [(&str, &str); 14] = [
    ("01-login", include_str!("../cases/01-login.toml")),
    ("02-policy", include_str!("../cases/02-policy.toml")),
    ("03-mint", include_str!("../cases/03-mint.toml")),
    ("04-redeem", include_str!("../cases/04-redeem.toml")),
    ("05-revoke", include_str!("../cases/05-revoke.toml")),
    ("06-rotate", include_str!("../cases/06-rotate.toml")),
    ("07-show", include_str!("../cases/07-show.toml")),
    ("08-secrets", include_str!("../cases/08-secrets.toml")),
    ("09-lifecycle", include_str!("../cases/09-lifecycle.toml")),
    ("10-information", include_str!("../cases/10-information.toml")),
    ("11-forms", include_str!("../cases/11-forms.toml")),
    ("12-settings", include_str!("../cases/12-settings.toml")),
    ("13-fleet", include_str!("../cases/13-fleet.toml")),
    ("14-printed", include_str!("../cases/14-printed.toml")),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// One exchange and what must come back.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Unique; begins with the number that the recording has.
    pub(crate) name: String,
    /// A few words for a reader.
    pub(crate) what: String,
    /// Method and request target.
    pub(crate) send: String,
    /// Send the access token of this login of ours.
    pub(crate) token: Option<String>,
    /// Send this host factory token.
    pub(crate) redeem: Option<String>,
    /// Send `login:password` by basic authentication.
    pub(crate) basic: Option<String>,
    /// Send this `Authorization` as it stands.
    pub(crate) authorization: Option<String>,
    /// Further request headers.
    #[serde(default)]
    pub(crate) with: BTreeMap<String, String>,
    /// `name=value`, each encoded, sent as a form.
    pub(crate) form: Option<Vec<String>>,
    /// The body as it stands.
    pub(crate) body: Option<String>,
    /// Base64 of a body that is no text.
    pub(crate) bytes: Option<String>,
    /// Send the body in chunks.
    #[serde(default)]
    pub(crate) chunked: bool,
    /// Connect from this loopback address.
    pub(crate) from: Option<std::net::IpAddr>,
    /// Seconds to let pass first.
    #[serde(default)]
    pub(crate) wait: u64,
    /// Preparation for other cases: not counted.
    #[serde(default)]
    pub(crate) step: bool,
    /// What a server must be like for this case.
    pub(crate) needs: Option<Needs>,
    /// Why, when that is not plain.
    pub(crate) because: Option<String>,
    /// Recorded on this version alone.
    pub(crate) only: Option<String>,
    /// Settings of the stand-in for this case.
    pub(crate) settings: Option<Settings>,
    /// What comes back.
    pub(crate) reply: Reply,
    /// What comes back from 1.22.3, where that differs.
    pub(crate) reply_1_22_3: Option<Reply>,
}

/// What a server must be like.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Needs {
    /// Reached over loopback: the case says from which address it comes.
    Loopback,
    /// Its settings are ours to change, or what the case leaves could not be removed.
    StandIn,
}

/// What must come back. Absent fields are not looked at.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// The content type; JSON when the body is said to be.
    #[serde(rename = "type")]
    pub(crate) content_type: Option<String>,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// No body at all.
    #[serde(default)]
    pub(crate) empty: bool,
    /// The text, or a placeholder.
    pub(crate) text: Option<String>,
    /// A part of the text.
    pub(crate) contains: Option<String>,
    /// A pattern of JSON.
    pub(crate) json: Option<String>,
    /// Code and message of an error in JSON.
    pub(crate) error: Option<(String, String)>,
    /// The full id that a 404 in JSON names.
    pub(crate) missing: Option<String>,
    /// A host as redeem shows it.
    pub(crate) host: Option<Host>,
    /// An access token for this login.
    pub(crate) access_token: Option<String>,
    /// Keep the access token under this name.
    pub(crate) save: Option<String>,
}

/// A host as redeem shows it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Host {
    /// Its identifier.
    pub(crate) id: String,
    /// The factory of ours that owns it.
    #[serde(default = "web")]
    pub(crate) by: String,
    /// `name=value`, sorted by name.
    #[serde(default)]
    pub(crate) annotations: Vec<String>,
    /// Keep the key under this name.
    pub(crate) key: Option<String>,
}

fn web() -> String {
    "web".to_owned()
}

/// Every case with the name of its file. An unreadable file is a mistake of ours and says where.
pub(crate) fn all() -> Result<Vec<(&'static str, Case)>, String> {
    let mut all = Vec::new();
    for (name, text) in FILES {
        let file: File = toml::from_str(text).map_err(|error| format!("cases/{name}.toml: {error}"))?;
        all.extend(file.case.into_iter().map(|case| (name, case)));
    }
    Ok(all)
}

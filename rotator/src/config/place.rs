//! [`Place`]: where a configuration lies, a file or an object in S3.

use super::{Config, Error, FILE_VARIABLE, OWNER_VARIABLE, Object};
use imprint_core::caller::Caller;
use std::path::{Path, PathBuf};

/// Where a configuration lies.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A file of this machine.
    File(PathBuf),
    /// An object in S3.
    Object {
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
        /// The AWS account that must own the bucket: whoever owns it says where tokens go.
        owner: String,
    },
}

impl Place {
    /// What the command line names, or else the environment. An object's bucket must belong to `owner`, or to
    /// the account that [`OWNER_VARIABLE`] names, or to `own`.
    ///
    /// # Errors
    /// When nothing is named, an address is none, or nobody says whose bucket it is.
    pub fn of(
        named: Option<&Path>,
        owner: Option<&str>,
        own: Option<&str>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let variable = |name| environment(name).filter(|value| !value.is_empty());
        let path = named
            .map(Path::to_owned)
            .or_else(|| variable(FILE_VARIABLE).map(PathBuf::from))
            .ok_or(Error::None)?;
        let Some(address) = path.to_str().and_then(|text| text.strip_prefix("s3://")) else {
            return Ok(Self::File(path));
        };
        let url = || format!("s3://{address}");
        let Some((bucket, key)) =
            address.split_once('/').filter(|(bucket, key)| is_bucket(bucket) && is_key(key))
        else {
            return Err(Error::Address(url().chars().take(200).flat_map(char::escape_debug).collect()));
        };
        let owner =
            owner.map(str::to_owned).or_else(|| variable(OWNER_VARIABLE)).or_else(|| own.map(str::to_owned));
        let owner = owner.ok_or_else(|| Error::NoOwner(url()))?;
        if owner.len() != 12 || !owner.bytes().all(|b| b.is_ascii_digit()) {
            return Err(Error::Owner);
        }
        Ok(Self::Object { bucket: bucket.to_owned(), key: key.to_owned(), owner })
    }
}

impl Config {
    /// Reads the configuration at this place; an object as whoever the AWS SDK's default chain finds.
    ///
    /// # Errors
    /// When it cannot be read, or anything in it is wrong.
    pub async fn at(place: Place, caller: &Caller) -> Result<Self, Error> {
        match place {
            Place::File(path) => Self::of_file(path),
            Place::Object { bucket, key, owner } => {
                let object = Object::new(&bucket, key, &owner, caller).await?;
                object.fetch().await?.config()
            }
        }
    }
}

/// Enough of S3's rules that nothing else can be meant.
fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
}

fn is_key(key: &str) -> bool {
    key.len() <= 512
        && !key.split('/').any(|part| part.is_empty() || part == "." || part == "..")
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b))
}

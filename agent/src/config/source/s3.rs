//! A source of kind "s3": an object in a bucket, of the layer or of this instance alone, and what unseals it.

use super::super::kinds::{AccountId, BucketName, InstanceFrom, KmsKey, ObjectKey, Region};
use super::super::{Outside, bundle};
use super::Of;
use crate::binding::Scopes;
use crate::facts::InstanceId;
use imprint_core::door::CaBundle;
use imprint_core::name::FactoryId;
use imprint_core::sealed::{instance_key, layer_key};
use imprint_core::settings::{Table, text};
use std::fmt;
use std::str::FromStr;

/// An object in a bucket.
#[derive(Clone, Debug)]
pub struct S3 {
    /// Bucket.
    pub bucket: String,
    /// The account that must own the bucket; `None` for any.
    pub bucket_owner: Option<String>,
    /// Which object.
    pub object: Object,
    /// What unseals it, and where the bucket is.
    pub kms: Kms,
}

/// Which object of a bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Object {
    /// The one under the instance's own key, with a token of this factory for that instance alone.
    Instance(FactoryId),
    /// The one of this key, which the instances of a layer share.
    Layer(String),
}

/// The one KMS key that may unseal.
#[derive(Clone, Debug)]
pub struct Kms {
    /// The key.
    pub key: KmsKey,
    /// Its region, and the bucket's; `None` for the instance's.
    pub region: Option<String>,
    /// Certificates to trust beside the public ones: of a proxy that opens TLS.
    pub ca: Option<CaBundle>,
}

impl S3 {
    pub(super) fn take(table: &mut Table<'_>, outside: &impl Outside, of: Of<'_>) -> Option<Self> {
        let bucket = table.required("bucket", text::<BucketName>);
        let bucket_owner = table.optional("bucket_owner", text::<AccountId>);
        let key = table.required("kms_key", text::<KmsKey>);
        let object = Object::take(table, of);
        let kms = Kms::take(table, outside, key);
        Some(Self {
            bucket: bucket?.0,
            bucket_owner: bucket_owner.map(|id| id.0),
            object: object?,
            kms: kms?,
        })
    }
}

/// For a log line.
impl fmt::Display for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.object)
    }
}

impl Object {
    /// Its key, on this instance.
    #[must_use]
    pub fn key(&self, here: &InstanceId) -> String {
        match self {
            Self::Instance(factory) => instance_key(here.as_str(), factory),
            Self::Layer(key) => key.clone(),
        }
    }

    /// What a token there may be for.
    #[must_use]
    pub const fn scopes(&self) -> Scopes {
        match self {
            Self::Instance(_) => Scopes::Instance,
            Self::Layer(_) => Scopes::Any,
        }
    }

    fn take(table: &mut Table<'_>, of: Of<'_>) -> Option<Self> {
        let scope = table.or("scope", text::<Scope>, Scope::Layer);
        let object = table.optional("object", text::<ObjectKey>).map(|key| Self::Layer(key.0));
        match scope? {
            Scope::Instance => {
                if table.has("object") {
                    table.problem("object", "is of no use beside scope = \"instance\", which names the key");
                }
                if of.instance == Some(InstanceFrom::Machine) {
                    table.problem(
                        "scope",
                        "\"instance\" is for EC2 instances, and [instance] id is \"machine\"",
                    );
                }
                Some(Self::Instance(of.factory?.clone()))
            }
            Scope::Layer => object.or_else(|| Some(Self::Layer(layer_key(of.account?, of.factory?)))),
        }
    }
}

/// For a log line: before it is known which instance this is, its place is left open.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(factory) => f.write_str(&instance_key("{instance_id}", factory)),
            Self::Layer(key) => f.write_str(key),
        }
    }
}

#[derive(Clone, Copy)]
enum Scope {
    Instance,
    Layer,
}

impl FromStr for Scope {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match text {
            "instance" => Ok(Self::Instance),
            "layer" => Ok(Self::Layer),
            _ => Err("must be layer or instance"),
        }
    }
}

impl Kms {
    pub(super) fn take(table: &mut Table<'_>, outside: &impl Outside, key: Option<KmsKey>) -> Option<Self> {
        let region = table.optional("region", text::<Region>).map(|region| region.0);
        let ca = bundle(table, outside);
        Some(Self { key: key?, region, ca: ca? })
    }
}

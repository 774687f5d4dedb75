//! What an answer of EC2, or of STS, means. Bytes in, typed values out: pure, capped before it comes here, fuzzed.

use super::{Instance, Life};
use crate::name::InstanceId;
use crate::second::Second;
use quick_xml::events::Event;
use quick_xml::{Reader, de};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The largest answer that is read, in bytes: a page of 200 instances with fifty tags each has about 4 MiB.
pub const LARGEST: usize = 16 * 1024 * 1024;

/// One page of instances.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// In EC2's order.
    pub instances: Vec<Instance>,
    /// What asks for the next page; `None` after the last.
    pub next: Option<String>,
}

/// Why an answer is not understood. None holds a part of it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Not the XML that it should be.
    #[error("it is not the XML that EC2 writes")]
    Form,
    /// More bytes than [`LARGEST`].
    #[error("it has {0} bytes; at most {LARGEST} are read")]
    TooLarge(usize),
    /// An instance without what every one has, or with something that is not what it should be.
    #[error("an instance's {field} is not what it should be")]
    Instance {
        /// EC2's name of the member.
        field: &'static str,
    },
}

/// Of `DescribeInstances`.
///
/// # Errors
/// When anything in it is not understood: a decision over instances is not made on a part of them.
pub fn instances(body: &[u8]) -> Result<Page, Error> {
    if body.len() > LARGEST {
        return Err(Error::TooLarge(body.len()));
    }
    let text = std::str::from_utf8(body).map_err(|_| Error::Form)?;
    if root(text).as_deref() != Some("DescribeInstancesResponse") {
        return Err(Error::Form);
    }
    let described: Described = de::from_str(text).map_err(|_| Error::Form)?;
    let mut instances = Vec::new();
    for reservation in described.reservations.item {
        for row in reservation.instances.item {
            instances.push(instance(&reservation.owner, row)?);
        }
    }
    Ok(Page { instances, next: described.next.filter(|next| !next.is_empty()) })
}

/// Of `GetCallerIdentity`: the caller's AWS account, twelve digits.
///
/// # Errors
/// When it is not one.
pub fn account(body: &[u8]) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(rename = "GetCallerIdentityResult")]
        result: Identity,
    }
    #[derive(Deserialize)]
    struct Identity {
        #[serde(rename = "Account")]
        account: String,
    }
    let text = std::str::from_utf8(body).map_err(|_| Error::Form)?;
    let answer: Answer = de::from_str(text).map_err(|_| Error::Form)?;
    let account = answer.result.account;
    if is_account(&account) { Ok(account) } else { Err(Error::Form) }
}

/// The name of a document's outermost element: serde takes any.
fn root(text: &str) -> Option<String> {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) | Event::Empty(tag) => {
                return String::from_utf8(tag.name().as_ref().to_vec()).ok();
            }
            Event::Decl(_) | Event::Comment(_) | Event::Text(_) => {}
            Event::CData(_)
            | Event::DocType(_)
            | Event::End(_)
            | Event::Eof
            | Event::GeneralRef(_)
            | Event::PI(_) => {
                return None;
            }
        }
    }
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

fn instance(owner: &str, row: Row) -> Result<Instance, Error> {
    let wrong = |field| Error::Instance { field };
    let account_id = owner.to_owned();
    if !is_account(&account_id) {
        return Err(wrong("ownerId"));
    }
    let id: InstanceId = row.id.parse().map_err(|_| wrong("instanceId"))?;
    let life = Life::named(&row.state.name).ok_or(wrong("instanceState"))?;
    let primary = row.interfaces.item.iter().find(|interface| interface.is_primary());
    let attached_at = primary
        .and_then(|interface| interface.attachment.as_ref()?.attached_at.as_deref())
        .map(Second::from_rfc3339)
        .transpose()
        .map_err(|_| wrong("attachTime"))?;
    let v6 =
        row.interfaces.item.iter().flat_map(|interface| &interface.v6.item).map(|v6| v6.address.as_str());
    let addresses = row
        .private_ip
        .as_deref()
        .filter(|address| !address.is_empty())
        .into_iter()
        .chain(v6)
        .map(str::parse::<IpAddr>)
        .collect::<Result<_, _>>()
        .map_err(|_| wrong("address"))?;
    let tags: BTreeMap<String, String> = row.tags.item.into_iter().map(|tag| (tag.key, tag.value)).collect();
    Ok(Instance {
        id,
        account_id,
        life,
        ami: row.ami,
        subnet: row.subnet,
        vpc: row.vpc,
        instance_profile: row.profile.map(|profile| profile.arn),
        addresses,
        attached_at,
        tags,
    })
}

#[derive(Deserialize)]
struct Described {
    // EC2 writes an empty one where there is nobody. An answer without it tells nothing of anybody.
    #[serde(rename = "reservationSet")]
    reservations: Set<Reservation>,
    #[serde(rename = "nextToken")]
    next: Option<String>,
}

/// EC2's lists: `<item>`s in an element of the list's name, and nothing else, or it might be what we do not see.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set<T> {
    #[serde(default = "Vec::new")]
    item: Vec<T>,
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { item: Vec::new() }
    }
}

#[derive(Deserialize)]
struct Reservation {
    #[serde(rename = "ownerId")]
    owner: String,
    #[serde(rename = "instancesSet")]
    instances: Set<Row>,
}

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "instanceId")]
    id: String,
    #[serde(rename = "imageId")]
    ami: Option<String>,
    #[serde(rename = "instanceState")]
    state: State,
    #[serde(rename = "privateIpAddress")]
    private_ip: Option<String>,
    #[serde(rename = "subnetId")]
    subnet: Option<String>,
    #[serde(rename = "vpcId")]
    vpc: Option<String>,
    #[serde(rename = "iamInstanceProfile")]
    profile: Option<Profile>,
    #[serde(rename = "tagSet", default)]
    tags: Set<Tag>,
    #[serde(rename = "networkInterfaceSet", default)]
    interfaces: Set<Interface>,
}

#[derive(Deserialize)]
struct State {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    arn: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
struct Interface {
    attachment: Option<Attachment>,
    #[serde(rename = "ipv6AddressesSet", default)]
    v6: Set<V6>,
}

impl Interface {
    /// The one that an instance has for its whole life: the first of the first card.
    fn is_primary(&self) -> bool {
        self.attachment
            .as_ref()
            .is_some_and(|at| at.device == "0" && at.card.as_deref().unwrap_or("0") == "0")
    }
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(rename = "deviceIndex")]
    device: String,
    #[serde(rename = "networkCardIndex")]
    card: Option<String>,
    #[serde(rename = "attachTime")]
    attached_at: Option<String>,
}

#[derive(Deserialize)]
struct V6 {
    #[serde(rename = "ipv6Address")]
    address: String,
}

#[cfg(test)]
mod tests;

//! IMDSv2 of one instance: what an agent asks for at boot, and the refusals around it.
//!
//! Source: "Use the Instance Metadata Service" in the EC2 User Guide. Version 1 is off: a
//! request without a token gets 401. The hop limit is out of reach on loopback; a test that
//! wants it injects [`crate::fault::FaultKind::Hang`] on `imds:token`.

use crate::aws::{Credentials, Keys, random};
use crate::clock::Clock;
use crate::hold;
use crate::server::{Request, Response, Service};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

/// How long a session of the instance's role lasts.
const SESSION: SignedDuration = SignedDuration::from_hours(6);
/// A session with less than this left is replaced.
const SPARE: SignedDuration = SignedDuration::from_mins(30);
/// The longest life of an IMDS token, in seconds.
const LONGEST: i64 = 21_600;

/// The instance whose metadata a server tells.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `i-` and 17 hex digits.
    pub id: String,
    /// The AWS account id.
    pub account: String,
    /// The region; the availability zone is its `a`.
    pub region: String,
    /// The name of the role of its instance profile; `None` for an instance without a profile.
    pub role: Option<String>,
    /// Its host name.
    pub hostname: String,
    /// Its private IPv4 address.
    pub private_ip: String,
    /// What was given to it at launch; `None` for nothing.
    pub user_data: Option<String>,
    /// Its tags; `None` if tags in metadata are off.
    pub tags: Option<BTreeMap<String, String>>,
}

impl Instance {
    /// An instance of this role with everything else made up; tags are off.
    #[must_use]
    pub fn of(role: &str) -> Self {
        let address = format!("10.{}.{}.{}", fastrand::u8(..), fastrand::u8(..), fastrand::u8(1..=254));
        Self {
            id: format!("i-{}", random(b"0123456789abcdef", 17)),
            account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            role: Some(role.to_owned()),
            hostname: format!("ip-{}.eu-west-1.compute.internal", address.replace('.', "-")),
            private_ip: address,
            user_data: None,
            tags: None,
        }
    }

    /// The same instance, with this tag, and tags in metadata on.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.get_or_insert_default().insert(key.to_owned(), value.to_owned());
        self
    }
}

/// The stand-in for the metadata service of one instance.
pub struct Imds {
    credentials: Credentials,
    state: Mutex<State>,
}

struct State {
    instance: Instance,
    /// When each token ends.
    tokens: BTreeMap<String, Timestamp>,
    session: Option<Keys>,
    last_updated: Timestamp,
}

impl Imds {
    /// The metadata service of this instance; sessions of its role are entered into the registry.
    #[must_use]
    pub fn new(credentials: Credentials, instance: Instance) -> Self {
        let last_updated = credentials.clock().now();
        let state = State { instance, tokens: BTreeMap::new(), session: None, last_updated };
        Self { credentials, state: Mutex::new(state) }
    }

    /// The instance as it is told of now.
    #[must_use]
    pub fn instance(&self) -> Instance {
        hold(&self.state).instance.clone()
    }

    /// Changes the instance: another id (a cloned image), another role, new tags.
    pub fn change(&self, change: impl FnOnce(&mut Instance)) {
        let mut state = hold(&self.state);
        change(&mut state.instance);
        state.session = None;
    }

    /// Ends all tokens, as after a change of the metadata options.
    pub fn forget_tokens(&self) {
        hold(&self.state).tokens.clear();
    }

    fn clock(&self) -> &Clock {
        self.credentials.clock()
    }

    /// `PUT /latest/api/token`.
    fn token(&self, request: &Request) -> Response {
        // A token never leaves through a reverse proxy.
        if request.headers.contains_key("x-forwarded-for") {
            return status(StatusCode::FORBIDDEN);
        }
        let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds");
        let Some(ttl) = ttl.and_then(|t| t.parse::<i64>().ok()).filter(|t| (1..=LONGEST).contains(t)) else {
            return status(StatusCode::BAD_REQUEST);
        };
        let token = format!("{}==", random(ALPHABET, 54));
        let end = self.clock().now() + SignedDuration::from_secs(ttl);
        hold(&self.state).tokens.insert(token.clone(), end);
        let mut reply = text(token);
        reply.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", HeaderValue::from(ttl));
        reply
    }

    fn get(&self, request: &Request) -> Response {
        let now = self.clock().now();
        let mut state = hold(&self.state);
        let token = request.header("x-aws-ec2-metadata-token").unwrap_or_default();
        if state.tokens.get(token).is_none_or(|end| *end <= now) {
            return status(StatusCode::UNAUTHORIZED);
        }
        let path = latest(&request.path);
        if let Some(role) = state.instance.role.clone()
            && path == format!("{META}iam/security-credentials/{role}")
        {
            return json_text(&state.credentials(&self.credentials, &role));
        }
        match leaf_or_listing(&state.tree(), &path) {
            Some(body) if body.starts_with('{') => json_text(&body),
            Some(body) => text(body),
            None => status(StatusCode::NOT_FOUND),
        }
    }
}

/// The path at the latest version of the service: `/2021-03-23/meta-data/` and its like have the same tree.
fn latest(path: &str) -> String {
    let dated = path.strip_prefix('/').and_then(|rest| rest.split_once('/')).filter(|(version, _)| {
        version.len() == 10 && version.bytes().all(|b| b.is_ascii_digit() || b == b'-')
    });
    dated.map_or_else(|| path.to_owned(), |(_, rest)| format!("/latest/{rest}"))
}

const META: &str = "/latest/meta-data/";
/// The hardware address of its one network card.
pub const MAC: &str = "02:00:00:00:00:02";
const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl State {
    /// The document of the role's session, with a new one if the old is nearly over.
    fn credentials(&mut self, credentials: &Credentials, role: &str) -> String {
        let now = credentials.clock().now();
        let fresh = |k: &Keys| k.expires.is_some_and(|end| end.duration_since(now) > SPARE);
        let keys = match self.session.take().filter(fresh) {
            Some(keys) => keys,
            None => {
                self.last_updated = now;
                credentials.session(role, &self.instance.id, SESSION)
            }
        };
        let second = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let document = json!({
            "Code": "Success",
            "LastUpdated": second(self.last_updated),
            "Type": "AWS-HMAC",
            "AccessKeyId": keys.access_key,
            "SecretAccessKey": keys.secret,
            "Token": keys.session_token,
            "Expiration": keys.expires.map(second),
        });
        self.session = Some(keys);
        format!("{document:#}")
    }

    /// Every leaf by its path, but for the session's document.
    fn tree(&self) -> BTreeMap<String, String> {
        let i = &self.instance;
        let zone = format!("{}a", i.region);
        let document = json!({
            "accountId": i.account,
            "architecture": "x86_64",
            "availabilityZone": zone,
            "billingProducts": null,
            "devpayProductCodes": null,
            "imageId": "ami-0123456789abcdef0",
            "instanceId": i.id,
            "instanceType": "t3.micro",
            "kernelId": null,
            "marketplaceProductCodes": null,
            "pendingTime": "2026-01-01T00:00:00Z",
            "privateIp": i.private_ip,
            "ramdiskId": null,
            "region": i.region,
            "version": "2017-09-30",
        });
        let mut leaves: BTreeMap<String, String> = [
            ("/latest/dynamic/instance-identity/document".to_owned(), format!("{document:#}")),
            (format!("{META}ami-id"), "ami-0123456789abcdef0".to_owned()),
            (format!("{META}hostname"), i.hostname.clone()),
            (format!("{META}instance-id"), i.id.clone()),
            (format!("{META}instance-type"), "t3.micro".to_owned()),
            (format!("{META}local-hostname"), i.hostname.clone()),
            (format!("{META}local-ipv4"), i.private_ip.clone()),
            (format!("{META}mac"), MAC.to_owned()),
            (format!("{META}placement/availability-zone"), zone),
            (format!("{META}placement/region"), i.region.clone()),
            (format!("{META}services/domain"), "amazonaws.com".to_owned()),
            (format!("{META}services/partition"), "aws".to_owned()),
        ]
        .into();
        if let Some(role) = &i.role {
            let info = json!({
                "Code": "Success",
                "LastUpdated": self.last_updated.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                "InstanceProfileArn": format!("arn:aws:iam::{}:instance-profile/{role}", i.account),
                "InstanceProfileId": "AIPA0123456789ABCDEFG",
            });
            leaves.insert(format!("{META}iam/info"), format!("{info:#}"));
            // For the listing alone; its content is made when it is asked for.
            leaves.insert(format!("{META}iam/security-credentials/{role}"), String::new());
        }
        for (name, value) in [
            ("device-number", "0"),
            ("interface-id", "eni-0123456789abcdef0"),
            ("local-ipv4s", &i.private_ip),
            ("mac", MAC),
            ("subnet-id", "subnet-0123456789abcdef0"),
            // Without it, an instance is one of EC2 Classic.
            ("vpc-id", "vpc-0123456789abcdef0"),
        ] {
            leaves.insert(format!("{META}network/interfaces/macs/{MAC}/{name}"), value.to_owned());
        }
        if let Some(text) = &i.user_data {
            leaves.insert("/latest/user-data".to_owned(), text.clone());
        }
        for (key, value) in i.tags.iter().flatten() {
            leaves.insert(format!("{META}tags/instance/{key}"), value.clone());
        }
        leaves
    }
}

/// The leaf at a path, or what lies below it, a line each.
fn leaf_or_listing(leaves: &BTreeMap<String, String>, path: &str) -> Option<String> {
    let path = percent_decode_str(path).decode_utf8().ok()?;
    if let Some(leaf) = leaves.get(&*path) {
        return Some(leaf.clone());
    }
    let folder = format!("{}/", path.trim_end_matches('/'));
    let below: BTreeSet<&str> = leaves
        .keys()
        .filter_map(|leaf| leaf.strip_prefix(&folder))
        // Tags may hold slashes in their keys; they are listed whole.
        .map(|rest| if folder.ends_with("/tags/instance/") { rest } else { first(rest) })
        .collect();
    let lines: Vec<&str> = below.into_iter().collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The first part of a path, with its slash if more follows.
fn first(rest: &str) -> &str {
    rest.find('/').map_or(rest, |at| &rest[..=at])
}

fn text(body: String) -> Response {
    let mut reply = Response::new(Bytes::from(body));
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    reply
}

fn json_text(body: &str) -> Response {
    // IMDS calls its documents plain text, too.
    text(body.to_owned())
}

fn status(code: StatusCode) -> Response {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = code;
    reply
}

impl Service for Imds {
    async fn answer(&self, request: Request) -> Response {
        let mut reply = match (&request.method, request.path.as_str()) {
            (&Method::PUT, "/latest/api/token") => self.token(&request),
            (&Method::GET, _) => self.get(&request),
            (&Method::PUT, _) => status(StatusCode::FORBIDDEN),
            (_, _) => status(StatusCode::METHOD_NOT_ALLOWED),
        };
        reply.headers_mut().insert(header::SERVER, HeaderValue::from_static("EC2ws"));
        reply
    }

    fn name_of(&self, request: &Request) -> String {
        let path = latest(&request.path);
        let path = path.as_str();
        let below = |folder: &str| path.strip_prefix(META).and_then(|p| p.strip_prefix(folder));
        let name = if path == "/latest/api/token" {
            "token"
        } else if path == "/latest/dynamic/instance-identity/document" {
            "document"
        } else if let Some(role) = below("iam/security-credentials/") {
            if role.is_empty() { "role" } else { "credentials" }
        } else if let Some(tag) = below("tags/instance/") {
            if tag.is_empty() { "tags" } else { "tag" }
        } else if below("tags/instance").is_some() {
            "tags"
        } else {
            "other"
        };
        format!("imds:{name}")
    }
}

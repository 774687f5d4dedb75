//! EC2's DescribeInstances and STS's GetCallerIdentity: the two calls of the query protocol.
//!
//! Source: the API references of EC2 (2016-11-15) and STS (2011-06-15). One region, one account. Filters
//! are `instance-id`, `instance-state-name`, `tag:<key>`, `image-id`, `subnet-id` and `vpc-id`.

use crate::aws::sigv4::{self, Refusal};
use crate::aws::{Caller, Credentials, Unknown, uuid};
use crate::clock::http_date;
use crate::hold;
use crate::server::{Request, Response, Service};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use jiff::SignedDuration;
use percent_encoding::percent_decode_str;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Mutex;

/// How old a request may be, for EC2 and STS.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// The most values that one filter takes.
const MOST_VALUES: usize = 200;

/// An instance as EC2 knows it.
#[derive(Clone, Debug)]
pub struct Ec2Instance {
    /// Its id.
    pub id: String,
    /// `pending`, `running`, ...
    pub state: String,
    /// Its primary private address.
    pub private_ip: Option<IpAddr>,
    /// Its image.
    pub ami: String,
    /// Its subnet.
    pub subnet: String,
    /// Its VPC.
    pub vpc: String,
    /// The name of its instance profile.
    pub profile: Option<String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// When its primary interface was attached, RFC 3339.
    pub attached_at: String,
}

impl Ec2Instance {
    /// A running instance.
    #[must_use]
    pub fn running(id: &str, private_ip: &str) -> Self {
        Self {
            id: id.to_owned(),
            state: "running".to_owned(),
            private_ip: private_ip.parse().ok(),
            ami: "ami-0123456789abcdef0".to_owned(),
            subnet: "subnet-0123456789abcdef0".to_owned(),
            vpc: "vpc-0123456789abcdef0".to_owned(),
            profile: Some("web".to_owned()),
            tags: BTreeMap::new(),
            attached_at: "2026-11-22T08:00:00.000Z".to_owned(),
        }
    }
}

/// The stand-in for EC2 and STS.
pub struct Ec2 {
    region: String,
    credentials: Credentials,
    instances: Mutex<BTreeMap<String, Ec2Instance>>,
}

struct Error {
    code: &'static str,
    says: String,
    status: StatusCode,
}

impl Error {
    fn new(code: &'static str, status: StatusCode, says: &str) -> Self {
        Self { code, says: says.to_owned(), status }
    }

    fn bad(code: &'static str, says: &str) -> Self {
        Self::new(code, StatusCode::BAD_REQUEST, says)
    }
}

impl Ec2 {
    /// An EC2 of this region without instances, for the holders of these credentials.
    #[must_use]
    pub fn new(credentials: Credentials, region: &str) -> Self {
        Self { region: region.to_owned(), credentials, instances: Mutex::default() }
    }

    /// Makes an instance known, or changes it.
    pub fn put(&self, instance: Ec2Instance) {
        hold(&self.instances).insert(instance.id.clone(), instance);
    }

    /// Moves an instance to a state.
    pub fn set_state(&self, id: &str, state: &str) {
        if let Some(instance) = hold(&self.instances).get_mut(id) {
            instance.state = state.to_owned();
        }
    }

    /// EC2 no longer knows an instance, or not yet.
    pub fn forget(&self, id: &str) {
        hold(&self.instances).remove(id);
    }

    fn respond(&self, request: &Request) -> Result<String, Error> {
        let form = form(&request.body);
        let service = if form.get("Action").is_some_and(|action| action == "GetCallerIdentity") {
            "sts"
        } else {
            "ec2"
        };
        let caller =
            sigv4::verify(request, &self.credentials, &self.region, service, WINDOW).map_err(refused)?;
        match (form.get("Action").map(String::as_str), form.get("Version").map(String::as_str)) {
            (Some("DescribeInstances"), Some("2016-11-15")) => self.describe(&caller, &form),
            (Some("GetCallerIdentity"), Some("2011-06-15")) => Ok(self.identity(&caller)),
            (action, _) => {
                let says =
                    format!("The action {} is not valid for this web service.", action.unwrap_or_default());
                Err(Error::bad("InvalidAction", &says))
            }
        }
    }

    fn describe(&self, caller: &Caller, form: &BTreeMap<String, String>) -> Result<String, Error> {
        if !caller.policy.allows("ec2:DescribeInstances", "*", &BTreeMap::new()) {
            let says = format!(
                "You are not authorized to perform this operation. User: {} is not authorized to perform: \
                 ec2:DescribeInstances because no identity-based policy allows the ec2:DescribeInstances action",
                caller.arn
            );
            return Err(Error::new("UnauthorizedOperation", StatusCode::FORBIDDEN, &says));
        }
        let filters = filters(form)?;
        let instances = hold(&self.instances);
        if let Some(id) =
            form.iter().find(|(key, id)| key.starts_with("InstanceId.") && !instances.contains_key(*id))
        {
            let says = format!("The instance ID '{}' does not exist", id.1);
            return Err(Error::bad("InvalidInstanceID.NotFound", &says));
        }
        let most: usize = match form.get("MaxResults").map(|most| most.parse()) {
            None => usize::MAX,
            Some(Ok(most)) if (5..=1000).contains(&most) => most,
            Some(_) => {
                return Err(Error::bad(
                    "InvalidParameterValue",
                    "Value for parameter maxResults is invalid.",
                ));
            }
        };
        let from: usize = match form.get("NextToken").map(|token| token.strip_prefix("page-").map(str::parse))
        {
            None => 0,
            Some(Some(Ok(from))) => from,
            Some(_) => return Err(Error::bad("InvalidNextToken", "The token is invalid.")),
        };
        let found: Vec<&Ec2Instance> =
            instances.values().filter(|one| filters.iter().all(|f| f.takes(one))).collect();
        let mut rows = String::new();
        for (at, instance) in found.iter().enumerate().skip(from).take(most) {
            let _written = write!(
                rows,
                "<item><reservationId>r-{at:017x}</reservationId><ownerId>{}</ownerId><groupSet/><instancesSet>{}</instancesSet></item>",
                self.credentials.account(),
                self.row(instance)
            );
        }
        let end = from.saturating_add(most);
        let next =
            if end < found.len() { format!("<nextToken>page-{end}</nextToken>") } else { String::new() };
        Ok(format!(
            "<DescribeInstancesResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><requestId>{}</requestId>\
             <reservationSet>{rows}</reservationSet>{next}</DescribeInstancesResponse>",
            uuid()
        ))
    }

    fn row(&self, instance: &Ec2Instance) -> String {
        let gone = instance.state == "terminated";
        let tags: String = instance
            .tags
            .iter()
            .map(|(key, value)| {
                format!("<item><key>{}</key><value>{}</value></item>", escaped(key), escaped(value))
            })
            .collect();
        let mut row = format!(
            "<item><instanceId>{}</instanceId><imageId>{}</imageId><instanceState><code>16</code><name>{}</name></instanceState>\
             <tagSet>{tags}</tagSet>",
            instance.id, instance.ami, instance.state
        );
        // A terminated instance has no network any more.
        if let Some(ip) = instance.private_ip.filter(|_| !gone) {
            let _written = write!(
                row,
                "<subnetId>{}</subnetId><vpcId>{}</vpcId><privateIpAddress>{ip}</privateIpAddress><networkInterfaceSet><item>\
                 <attachment><deviceIndex>0</deviceIndex><attachTime>{}</attachTime></attachment></item></networkInterfaceSet>",
                instance.subnet, instance.vpc, instance.attached_at
            );
        }
        if let Some(profile) = instance.profile.as_ref().filter(|_| !gone) {
            let account = self.credentials.account();
            let _written = write!(
                row,
                "<iamInstanceProfile><arn>arn:aws:iam::{account}:instance-profile/{profile}</arn><id>AIPA</id></iamInstanceProfile>"
            );
        }
        row.push_str("</item>");
        row
    }

    fn identity(&self, caller: &Caller) -> String {
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
             <Arn>{}</Arn><UserId>AROA</UserId><Account>{}</Account></GetCallerIdentityResult>\
             <ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata></GetCallerIdentityResponse>",
            caller.arn,
            self.credentials.account(),
            uuid()
        )
    }
}

/// One filter: any of its values.
struct Filter {
    name: String,
    values: BTreeSet<String>,
}

impl Filter {
    fn takes(&self, instance: &Ec2Instance) -> bool {
        let is = |value: &str| self.values.contains(value);
        match self.name.as_str() {
            "instance-id" => is(&instance.id),
            "instance-state-name" => is(&instance.state),
            "image-id" => is(&instance.ami),
            "subnet-id" => is(&instance.subnet),
            "vpc-id" => is(&instance.vpc),
            other => {
                let tag = other.strip_prefix("tag:").and_then(|key| instance.tags.get(key));
                tag.is_some_and(|value| is(value))
            }
        }
    }
}

fn filters(form: &BTreeMap<String, String>) -> Result<Vec<Filter>, Error> {
    let mut filters = Vec::new();
    for at in 1.. {
        let Some(name) = form.get(&format!("Filter.{at}.Name")) else { break };
        let known = ["instance-id", "instance-state-name", "image-id", "subnet-id", "vpc-id"];
        if !known.contains(&name.as_str()) && !name.starts_with("tag:") {
            let says = format!("The filter '{name}' is invalid");
            return Err(Error::bad("InvalidParameterValue", &says));
        }
        let value = |n: usize| form.get(&format!("Filter.{at}.Value.{n}")).cloned();
        let values: BTreeSet<String> = (1..).map_while(value).collect();
        if values.len() > MOST_VALUES {
            let says = "The maximum number of filter values specified on a single call is 200";
            return Err(Error::bad("FilterLimitExceeded", says));
        }
        filters.push(Filter { name: name.clone(), values });
    }
    Ok(filters)
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body);
    let decode = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (decode(key), decode(value)))
        .collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn refused(why: Refusal) -> Error {
    let unauthorized = |code, says: &str| Error::new(code, StatusCode::UNAUTHORIZED, says);
    match why {
        Refusal::Incomplete(says) => Error::bad("IncompleteSignature", &says),
        Refusal::Keys(Unknown::Expired) => Error::bad("RequestExpired", "Request has expired."),
        Refusal::Keys(Unknown::Key | Unknown::Token) => {
            unauthorized("AuthFailure", "AWS was not able to validate the provided access credentials")
        }
        Refusal::Missing => {
            Error::bad("MissingAuthenticationToken", "Request is missing Authentication Token")
        }
        Refusal::Signature(says) => Error::new("SignatureDoesNotMatch", StatusCode::FORBIDDEN, &says),
    }
}

impl Service for Ec2 {
    async fn answer(&self, request: Request) -> Response {
        let (status, body) = match self.respond(&request) {
            Ok(body) => (StatusCode::OK, body),
            Err(Error { code, says, status }) => (
                status,
                format!(
                    "<Response><Errors><Error><Code>{code}</Code><Message>{}</Message></Error></Errors><RequestID>{}</RequestID></Response>",
                    escaped(&says),
                    uuid()
                ),
            ),
        };
        let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}");
        let mut reply = Response::new(Bytes::from(body));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml;charset=UTF-8"));
        let date = http_date(self.credentials.clock().now());
        headers.insert(header::DATE, HeaderValue::try_from(date).expect("a date is ASCII"));
        reply
    }

    fn name_of(&self, request: &Request) -> String {
        format!("ec2:{}", form(&request.body).get("Action").map_or("other", String::as_str))
    }
}

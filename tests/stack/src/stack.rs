//! Everything at once: Conjur, S3, KMS and EC2 as an operator would have set them up for two layers.
//!
//! Each layer has a host factory, a variable that only its hosts may read, an object key of its
//! own in the bucket and an IAM role that may read that object and unseal that factory's token,
//! and nothing else. The rotator has a role, a session and a Conjur host.

use crate::aws::{Credentials, Keys, Policy};
use crate::ca::Ca;
use crate::clock::Clock;
use crate::conjur::{Conjur, Version};
use crate::ec2::Ec2;
use crate::imds::{Imds, Instance};
use crate::kms::Kms;
use crate::s3::S3;
use crate::secrets::Secrets;
use crate::server::Server;
use bytes::Bytes;
use jiff::SignedDuration;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// What a stack is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which Conjur it has.
    pub version: Version,
    /// The Conjur account.
    pub account: String,
    /// The AWS account id.
    pub aws_account: String,
    /// The AWS region.
    pub region: String,
    /// The bucket of the sealed tokens.
    pub bucket: String,
    /// The alias of the KMS key, with `alias/`.
    pub alias: String,
    /// The encryption context key under which a sealed token names its host factory; the role of a
    /// layer may unseal only with its own factory there.
    pub factory_context_key: String,
    /// The layers' names.
    pub layers: Vec<String>,
    /// Where the servers listen, in the network namespace of the thread that starts them.
    pub address: IpAddr,
    /// Where the metadata services of its instances listen.
    pub imds_address: IpAddr,
    /// Further names of Conjur in its certificate, beside `localhost` and its address.
    pub conjur_names: Vec<String>,
    /// The names of S3 and KMS in their certificates; without any they speak plain HTTP.
    pub aws_names: Vec<String>,
}

impl Options {
    /// The usual stack: Conjur 1.24.0, account `demo`, layers `web` and `db`.
    #[must_use]
    pub fn new(factory_context_key: &str) -> Self {
        Self {
            version: Version::V1_24_0,
            account: "demo".to_owned(),
            aws_account: "123456789012".to_owned(),
            region: "eu-west-1".to_owned(),
            bucket: "imprint-tokens".to_owned(),
            alias: "alias/imprint".to_owned(),
            factory_context_key: factory_context_key.to_owned(),
            layers: vec!["web".to_owned(), "db".to_owned()],
            address: Ipv4Addr::LOCALHOST.into(),
            imds_address: Ipv4Addr::LOCALHOST.into(),
            conjur_names: Vec::new(),
            aws_names: Vec::new(),
        }
    }
}

/// The running servers, and what an operator knows of them. All stop when it is dropped.
pub struct Stack {
    /// Conjur, over TLS.
    pub conjur: Server<Conjur>,
    /// S3, with the bucket.
    pub s3: Server<S3>,
    /// KMS, with the key and its alias.
    pub kms: Server<Kms>,
    /// EC2 without instances, and STS.
    pub ec2: Server<Ec2>,
    /// The authority of Conjur's certificate.
    pub ca: Ca,
    /// Who may do what at AWS.
    pub credentials: Credentials,
    /// The ARN of the key.
    pub key: String,
    options: Options,
    clock: Clock,
    /// The value of each layer's variable.
    secrets: BTreeMap<String, String>,
    rotator_key: String,
    reaper_key: String,
    minter_key: String,
}

/// The Conjur id of the rotator's host.
const ROTATOR: &str = "imprint/rotator";

/// The Conjur id of the host that removes and pins hosts.
const REAPER: &str = "imprint/reaper";

/// The Conjur id of the host that mints for one instance and promotes.
const MINTER: &str = "imprint/minter";

impl Stack {
    /// Starts all of it.
    ///
    /// # Panics
    /// If a socket cannot be bound.
    #[must_use]
    pub fn start(options: Options) -> Self {
        let clock = Clock::new();
        let credentials = Credentials::new(&options.aws_account, clock.clone());
        let kms = Kms::new(credentials.clone(), &options.region);
        let key = kms.add_key();
        kms.add_alias(&options.alias, &key);
        let ec2 = Ec2::new(credentials.clone(), &options.region);
        let s3 = S3::new(credentials.clone());
        s3.add_bucket(&options.bucket, &options.aws_account);
        let conjur = Conjur::new(options.version, &options.account);
        conjur.ask_sts_of(credentials.clone());
        let mut created = conjur
            .load_policy("root", &conjur_policy(&options.layers))
            .expect("a policy that this Conjur takes");
        let mut key_of = |host: &str| {
            let id = format!("{}:host:{host}", options.account);
            created.remove(&id).expect("the key of the host just made")
        };
        let [rotator_key, reaper_key, minter_key] = [ROTATOR, REAPER, MINTER].map(&mut key_of);
        let mut secrets = BTreeMap::new();
        for layer in &options.layers {
            let secret = format!("{layer}-{:032x}", fastrand::u128(..));
            assert!(conjur.set_secret(&format!("{layer}/password"), secret.as_bytes()));
            secrets.insert(layer.clone(), secret);
        }
        let ca = Ca::named("Imprint stack CA");
        let own = options.address.to_string();
        let names: Vec<&str> = options.aws_names.iter().map(String::as_str).collect();
        let conjur_names: Vec<&str> =
            ["localhost", &own].into_iter().chain(options.conjur_names.iter().map(String::as_str)).collect();
        let aws = || (!names.is_empty()).then(|| ca.leaf(&names));
        let stack = Self {
            conjur: Server::start_at(options.address, conjur, Some(ca.leaf(&conjur_names))),
            s3: Server::start_at(options.address, s3, aws()),
            kms: Server::start_at(options.address, kms, aws()),
            ec2: Server::start_at(options.address, ec2, aws()),
            ca,
            credentials,
            key,
            options,
            clock,
            secrets,
            rotator_key,
            reaper_key,
            minter_key,
        };
        stack.set_roles();
        stack
    }

    /// Gives every role its policy; a test that changed one puts it back by this.
    pub fn set_roles(&self) {
        let bucket = format!("arn:aws:s3:::{}", self.options.bucket);
        let rotator = Policy::none()
            .allow(&["s3:GetObject", "s3:PutObject"], &format!("{bucket}/factories/*"))
            .allow(&["s3:GetObject"], &format!("{bucket}/config/*"))
            .allow(&["s3:GetObject"], &format!("{bucket}/logins/*"))
            .allow(&["s3:ListBucket"], &bucket)
            .allow(&["kms:Encrypt", "kms:Decrypt", "kms:DescribeKey"], &self.key);
        self.credentials.set_policy("rotator", rotator);
        let fleet = Policy::none()
            .allow(&["s3:GetObject", "s3:PutObject"], &format!("{bucket}/fleet/*"))
            .allow(&["s3:ListBucket"], &bucket)
            .allow(&["ec2:DescribeInstances"], "*");
        self.credentials.set_policy("fleet", fleet);
        let instances = Policy::none()
            .allow(&["s3:GetObject", "s3:PutObject"], &format!("{bucket}/instances/*"))
            .allow(&["s3:GetObject", "s3:PutObject"], &format!("{bucket}/promotions/*"))
            .allow(&["s3:ListBucket"], &bucket)
            .allow(&["kms:Encrypt", "kms:Decrypt"], &self.key)
            .when("imprint:scope", "instance")
            .allow(&["ec2:DescribeInstances"], "*");
        self.credentials.set_policy("instances", instances);
        self.credentials.set_policy("operator", Policy::everything());
        for layer in &self.options.layers {
            let policy = Policy::none()
                .allow(&["s3:GetObject"], &format!("{bucket}/{}", self.object_key(layer)))
                .allow(&["kms:Decrypt"], &self.key)
                .when(&self.options.factory_context_key, &self.factory(layer));
            self.credentials.set_policy(&self.role(layer), policy);
        }
    }

    /// What it was made of.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The host factory of a layer, without account and kind.
    #[must_use]
    pub fn factory(&self, layer: &str) -> String {
        format!("{layer}/factory")
    }

    /// The policy branch under which a layer's hosts lie.
    #[must_use]
    pub fn hosts_branch(&self, layer: &str) -> String {
        format!("{layer}/hosts")
    }

    /// The variable that the hosts of a layer may read, without account and kind.
    #[must_use]
    pub fn variable(&self, layer: &str) -> String {
        format!("{layer}/password")
    }

    /// The value of that variable.
    ///
    /// # Panics
    /// If there is no such layer.
    #[must_use]
    pub fn secret(&self, layer: &str) -> &str {
        self.secrets.get(layer).expect("a layer of this stack")
    }

    /// All that nobody may tell: tokens and keys of Conjur, the layers' secrets, keys and sessions of AWS, in every
    /// form in which they could slip out.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        let mut all = self.conjur.service().secrets();
        all.extend(self.secrets.iter().map(|(layer, text)| (format!("the secret of {layer}"), text.clone())));
        all.extend(self.credentials.secrets().into_iter().map(|text| ("a key of AWS".to_owned(), text)));
        Secrets::new(all)
    }

    /// The name of the IAM role of a layer's instances.
    #[must_use]
    pub fn role(&self, layer: &str) -> String {
        format!("instance-{layer}")
    }

    /// The object key of a layer's sealed token.
    #[must_use]
    pub fn object_key(&self, layer: &str) -> String {
        format!("factories/{}/{}/token.json", self.options.account, self.factory(layer))
    }

    /// A layer's sealed token as it lies in the bucket now.
    #[must_use]
    pub fn published(&self, layer: &str) -> Option<Bytes> {
        self.s3.service().object(&self.options.bucket, &self.object_key(layer))
    }

    /// A session of twelve hours of the role `rotator`, `fleet`, `instances`, `operator` (who may do everything), or
    /// of a layer's role.
    #[must_use]
    pub fn session(&self, role: &str) -> Keys {
        self.credentials.session(role, "stack", SignedDuration::from_hours(12))
    }

    /// The rotator's login at Conjur and its API key.
    #[must_use]
    pub fn rotator_login(&self) -> (String, String) {
        (format!("host/{ROTATOR}"), self.rotator_key.clone())
    }

    /// The login at Conjur, and its API key, of the functions that remove and pin hosts.
    #[must_use]
    pub fn reaper_login(&self) -> (String, String) {
        (format!("host/{REAPER}"), self.reaper_key.clone())
    }

    /// The login at Conjur, and its API key, of the functions that mint for one instance and promote.
    #[must_use]
    pub fn minter_login(&self) -> (String, String) {
        (format!("host/{MINTER}"), self.minter_key.clone())
    }

    /// The layer that a layer's hosts are in, as Conjur names it, without account and kind.
    #[must_use]
    pub fn nodes(&self, layer: &str) -> String {
        format!("{layer}/nodes")
    }

    /// Starts the metadata service of a new instance of a layer.
    #[must_use]
    pub fn instance(&self, layer: &str) -> Server<Imds> {
        self.instance_with(layer, |_| ())
    }

    /// The same, of an instance that the test has a say in.
    #[must_use]
    pub fn instance_with(&self, layer: &str, change: impl FnOnce(&mut Instance)) -> Server<Imds> {
        let mut instance = Instance::of(&self.role(layer));
        instance.account.clone_from(&self.options.aws_account);
        instance.region.clone_from(&self.options.region);
        change(&mut instance);
        Server::start_at(self.options.imds_address, Imds::new(self.credentials.clone(), instance), None)
    }

    /// The environment that leads an AWS SDK to S3, KMS, EC2 and STS of this stack, and, with keys, who it is.
    /// An instance's own process gets none: it asks its IMDS.
    #[must_use]
    pub fn environment(&self, keys: Option<&Keys>) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("AWS_ENDPOINT_URL_S3", self.s3.url()),
            ("AWS_ENDPOINT_URL_KMS", self.kms.url()),
            ("AWS_ENDPOINT_URL_EC2", self.ec2.url()),
            ("AWS_ENDPOINT_URL_STS", self.ec2.url()),
            ("AWS_REGION", self.options.region.clone()),
        ];
        if let Some(keys) = keys {
            environment.push(("AWS_ACCESS_KEY_ID", keys.access_key.clone()));
            environment.push(("AWS_SECRET_ACCESS_KEY", keys.secret.clone()));
            environment.extend(keys.session_token.clone().map(|token| ("AWS_SESSION_TOKEN", token)));
        }
        environment
    }

    /// How many requests Conjur, S3, KMS and EC2 have had since their logs were cleared.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.conjur.log().len() + self.s3.log().len() + self.kms.log().len() + self.ec2.log().len()
    }

    /// Clears the logs of Conjur, S3, KMS and EC2.
    pub fn clear_logs(&self) {
        self.conjur.clear_log();
        self.s3.clear_log();
        self.kms.clear_log();
        self.ec2.clear_log();
    }

    /// Moves the clocks of all servers on, as if so much time had passed.
    pub fn advance(&self, by: Duration) {
        self.conjur.service().advance(by);
        self.clock.advance(SignedDuration::try_from(by).expect("less than the age of the universe"));
    }

    /// Moves the clocks of all servers by seconds, back if negative: to them, this machine's is off.
    pub fn shift(&self, seconds: i64) {
        self.conjur.service().shift(seconds);
        self.clock.advance(SignedDuration::from_secs(seconds));
    }
}

/// The policy of a deployment: a branch for each layer; the rotator with the two privileges that it needs on
/// each factory; the reaper, which lists each layer and changes each branch of hosts; the minter, which does both.
fn conjur_policy(layers: &[String]) -> String {
    let mut yaml = "\
- !policy
  id: imprint
  body:
    - !host
      id: rotator
      annotations:
        authn/api-key: true
    - !host
      id: reaper
      annotations:
        authn/api-key: true
    - !host
      id: minter
      annotations:
        authn/api-key: true
"
    .to_owned();
    for layer in layers {
        yaml.push_str(&format!(
            "\
- !policy
  id: {layer}
  body:
    - !layer nodes
    - !host-factory
      id: factory
      layers: [ !layer nodes ]
    - !policy hosts
    - !variable password
    - !permit
      role: !layer nodes
      privileges: [ read, execute ]
      resource: !variable password
- !permit
  role: [ !host {ROTATOR}, !host {MINTER} ]
  privileges: [ execute, update ]
  resource: !host-factory {layer}/factory
- !permit
  role: [ !host {REAPER}, !host {MINTER} ]
  privileges: [ read ]
  resource: !layer {layer}/nodes
- !permit
  role: [ !host {REAPER}, !host {MINTER} ]
  privileges: [ read, update ]
  resource: !policy {layer}/hosts
"
        ));
    }
    yaml
}

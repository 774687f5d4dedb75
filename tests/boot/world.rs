//! The world around a guest: its network, and the servers that it reaches by name. All of it is in the network
//! namespace of this process.

use crate::cases::{Case, Package, Trouble};
use crate::example::Packages;
use crate::{Failed, dhcp};
use imprint_core::sealed::context_key;
use imprint_e2e::{Programs, Ran, Site};
use imprint_stack::fault::{Fault, FaultKind};
pub use imprint_stack::imds::MAC;
use imprint_stack::imds::{Imds, Instance};
use imprint_stack::server::Server;
use imprint_stack::{Options, Stack};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

/// Where the guest's router and the servers are.
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Where the guest is.
const GUEST: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
/// Where EC2's metadata service is.
const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The names of Conjur, S3 and KMS, and of the web server with the packages.
const NAMES: [&str; 4] = ["conjur.example.org", "s3.example.org", "kms.example.org", "packages.example.org"];

/// The world of one case.
pub struct World {
    pub site: Site,
    pub imds: Server<Imds>,
    /// What user-data downloads from, where it does.
    _packages: Option<Server<Packages>>,
}

impl World {
    /// Servers with a published token, and an instance of layer `web`.
    pub fn new(case: &Case, folder: &Path) -> Result<Self, Failed> {
        ip("link set lo up")?;
        // The rotator of this mount namespace knows the names, too.
        let hosts = folder.join("hosts");
        std::fs::write(&hosts, names())?;
        must(Command::new("mount").arg("--bind").arg(&hosts).arg("/etc/hosts"))?;
        ip(&format!("address add {METADATA}/32 dev lo"))?;
        plug_in()?;
        dhcp::serve(ROUTER, GUEST)?;
        let mut options = Options::new(context_key::HOST_FACTORY);
        options.address = ROUTER.into();
        let [conjur, s3, kms, packages] = NAMES.map(str::to_owned);
        options.conjur_names = vec![conjur];
        options.aws_names = vec![s3, kms, ROUTER.to_string()];
        // With a dot in it, a bucket is no part of the server's name.
        options.bucket = "imprint.tokens".to_owned();
        let own = std::env::current_exe()?;
        let programs =
            Programs::named().unwrap_or_else(|| Programs::shipped(own.parent().expect("a folder")));
        let site = Site::with(folder, programs, Stack::start(options));
        let ca = format!("[aws]\nca_file = {:?}\n", site.ca_file());
        let rotator = site.rotator_config().replace("[aws]\n", &ca);
        // The binding holds Conjur's URL as the rotator knows it, and the agent's must be the same.
        let rotator = rotator.replace(&site.stack.conjur.url(), &url(&site));
        imprint_e2e::write(&site.folder().join("rotator.toml"), 0o644, &rotator);
        let rotated = Ran::of(&mut site.rotator(&["rotate"]));
        if rotated.code != 0 {
            return Err(format!("the rotator: {}{}", rotated.out, rotated.err).into());
        }
        let instance = Self::instance(&site);
        let at = SocketAddr::new(IpAddr::V4(METADATA), 80);
        let imds = Server::start_on(at, Imds::new(site.stack.credentials.clone(), instance), None);
        let packages = match case.package {
            Some(_) => None,
            None => {
                let at = SocketAddr::new(ROUTER.into(), 443);
                let leaf = site.stack.ca.leaf(&[&packages]);
                Some(Server::start_on(at, Packages::new(&Package::Deb.file()?)?, Some(leaf)))
            }
        };
        site.stack.clear_logs();
        Ok(Self { site, imds, _packages: packages })
    }

    /// A new instance at the guest's address.
    fn instance(site: &Site) -> Instance {
        let mut instance = Instance::of(&site.stack.role("web"));
        instance.private_ip = GUEST.to_string();
        instance.hostname = format!("ip-{}", GUEST.to_string().replace('.', "-"));
        instance
    }

    /// The guest's disk is started as another instance.
    pub fn clone_instance(&self) {
        let id = Self::instance(&self.site).id;
        self.imds.service().change(|instance| instance.id = id);
        self.imds.service().forget_tokens();
    }

    /// The host id that the instance's configuration gives it.
    pub fn host_id(&self) -> String {
        let (instance, stack) = (self.imds.service().instance(), &self.site.stack);
        format!("{}/{}/{}/{}", stack.hosts_branch("web"), instance.account, instance.region, instance.id)
    }

    /// The agent's configuration, as the guest reaches the servers.
    pub fn config(&self, case: &Case) -> String {
        let (stack, options) = (&self.site.stack, self.site.stack.options());
        let system = match (case.own_firmware, case.firmware) {
            (true, _) => "",
            (false, true) => "[system]\nsys_root = \"/etc/firmware\"\n\n",
            (false, false) => "[system]\nsys_root = \"/etc/no-firmware\"\n\n",
        };
        format!(
            "{settings}account = {account:?}\nappliance_url = {url:?}\nca_file = \"/etc/imprint/ca.pem\"\n\
             host_factory = {factory:?}\nhosts_branch = {branch:?}\nproof_variable = {variable:?}\n\n\
             [source]\nbucket = {bucket:?}\nbucket_owner = {owner:?}\nkms_key = {key:?}\nca_file = \"/etc/imprint/ca.pem\"\n\n\
             {system}[files]\n{files}",
            settings = case.settings,
            account = options.account,
            url = self.url(),
            factory = stack.factory("web"),
            branch = stack.hosts_branch("web"),
            variable = stack.variable("web"),
            bucket = options.bucket,
            owner = options.aws_account,
            key = stack.key,
            files = case.files,
        )
    }

    /// Conjur, as the guest reaches it.
    pub fn url(&self) -> String {
        url(&self.site)
    }

    /// What leads the agent to this world's S3 and KMS.
    pub fn environment(&self) -> String {
        let stack = &self.site.stack;
        format!(
            "AWS_ENDPOINT_URL_S3=https://{}:{}\nAWS_ENDPOINT_URL_KMS=https://{}:{}\n",
            NAMES[1],
            stack.s3.port(),
            NAMES[2],
            stack.kms.port()
        )
    }

    /// Makes the trouble that is there from the start.
    pub fn begin(&self, trouble: Trouble) {
        let refused = |name: &str| Fault::on(name, FaultKind::Reset).times(3);
        match trouble {
            Trouble::ConjurDown(_) => self.site.stack.conjur.pause(),
            Trouble::Crash => self.site.stack.conjur.inject(Fault::on("redeem", FaultKind::Hang)),
            Trouble::ImdsRefuses => {
                // The token is what cloud-init asks for first, the role what the agent alone asks for.
                ["imds:token", "imds:role", "imds:credentials"]
                    .iter()
                    .for_each(|name| self.imds.inject(refused(name)));
            }
            Trouble::NoProfile(_) => self.imds.service().change(|instance| instance.role = None),
            Trouble::Refused => {
                self.site.stack.conjur.inject(Fault::status("redeem", 403, "").forever());
            }
            Trouble::Nothing => {}
        }
    }

    /// Ends the trouble that passes by itself.
    pub fn end(&self, trouble: Trouble) {
        match trouble {
            Trouble::ConjurDown(_) => self.site.stack.conjur.resume(),
            Trouble::NoProfile(_) => {
                let role = self.site.stack.role("web");
                self.imds.service().change(|instance| instance.role = Some(role));
            }
            Trouble::Crash | Trouble::ImdsRefuses | Trouble::Nothing | Trouble::Refused => {}
        }
    }

    /// Everything that must not be told.
    pub fn secrets(&self) -> Vec<String> {
        let (stack, conjur) = (&self.site.stack, self.site.stack.conjur.service());
        let mut secrets = vec![stack.rotator_login().1, conjur.admin_key(), stack.secret("web").to_owned()];
        secrets.extend(conjur.tokens(&stack.factory("web")).into_iter().map(|row| row.token));
        secrets.extend(conjur.hosts().iter().filter_map(|host| conjur.key_of(host)));
        secrets.extend(stack.credentials.secrets());
        secrets
    }

    /// Requests to the metadata service that cloud-init did not send.
    pub fn metadata_requests(&self) -> usize {
        let log = self.imds.log();
        let agents = log.iter().map(|r| r.headers.get("user-agent").and_then(|agent| agent.to_str().ok()));
        let theirs = ["Cloud-Init/", "python-requests/"];
        agents
            .filter(|agent| !agent.is_some_and(|agent| theirs.iter().any(|its| agent.starts_with(its))))
            .count()
    }
}

/// Conjur by its name.
fn url(site: &Site) -> String {
    format!("https://{}:{}", NAMES[0], site.stack.conjur.port())
}

/// An `/etc/hosts` with the names of this world.
pub fn names() -> String {
    format!("127.0.0.1 localhost\n{ROUTER} {}\n", NAMES.join(" "))
}

/// The cable between the router and the guest's eth0. It goes with the guest.
pub fn plug_in() -> Result<(), Failed> {
    lay_cable(&format!("link add ec2 type veth peer name eth0 address {MAC}"))
}

/// The router's end of a cable that this command of ip makes.
pub fn lay_cable(making: &str) -> Result<(), Failed> {
    let _there_or_not = ip("link delete ec2");
    ip(making)?;
    ip(&format!("address add {ROUTER}/24 dev ec2"))?;
    ip("link set ec2 up")?;
    ip("route add 255.255.255.255/32 dev ec2")
}

fn ip(arguments: &str) -> Result<(), Failed> {
    must(Command::new("ip").args(arguments.split(' ')))
}

/// Runs a program that must succeed.
pub fn must(command: &mut Command) -> Result<(), Failed> {
    let ran = Ran::of(command);
    if ran.code == 0 { Ok(()) } else { Err(format!("{command:?}: {}{}", ran.out, ran.err).into()) }
}

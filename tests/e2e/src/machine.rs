//! An EC2 instance as the agent sees it: a metadata service, a sysfs, an `/etc` and a `/var/lib`.

use crate::{Site, client, write};
use imprint_stack::imds::{Imds, Instance};
use imprint_stack::server::Server;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One instance of a layer.
pub struct Machine {
    /// Its metadata service.
    pub imds: Server<Imds>,
    layer: String,
    root: PathBuf,
    environment: Vec<(&'static str, String)>,
    program: PathBuf,
}

impl Machine {
    pub(crate) fn new(site: &Site, layer: &str) -> Self {
        let imds = site.stack.instance(layer);
        let instance = imds.service().instance();
        let root = site.folder().join(&instance.id);
        let machine = Self {
            layer: layer.to_owned(),
            root,
            environment: site.stack.environment(None),
            program: site.agent().get_program().into(),
            imds,
        };
        machine.set_dmi(&instance.id);
        for folder in ["etc", "var/lib"] {
            fs::create_dir_all(machine.path(folder)).expect("the folders that every system has");
        }
        write(&machine.path("etc/imprint/config.toml"), 0o644, &machine.usual_config(site));
        machine
    }

    /// The instance, as its metadata service tells of it.
    #[must_use]
    pub fn instance(&self) -> Instance {
        self.imds.service().instance()
    }

    /// A path below the machine's root.
    #[must_use]
    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    /// The host id that its configuration gives it.
    #[must_use]
    pub fn host_id(&self) -> String {
        let instance = self.instance();
        format!("{}/hosts/{}/{}/{}", self.layer, instance.account, instance.region, instance.id)
    }

    /// Its configuration's text, to change it.
    ///
    /// # Panics
    /// When it is not there.
    #[must_use]
    pub fn config(&self) -> String {
        fs::read_to_string(self.path("etc/imprint/config.toml")).expect("a configuration")
    }

    /// Another configuration.
    pub fn set_config(&self, text: &str) {
        write(&self.path("etc/imprint/config.toml"), 0o644, text);
    }

    /// What the machine's firmware says it is.
    pub fn set_dmi(&self, id: &str) {
        write(&self.path("sys/class/dmi/id/board_asset_tag"), 0o444, &format!("{id}\n"));
    }

    /// `imprint` with these arguments, and this machine's configuration.
    #[must_use]
    pub fn imprint(&self, arguments: &[&str]) -> Command {
        let mut command = crate::bare(&self.program);
        command.args(arguments).arg("--config").arg(self.path("etc/imprint/config.toml"));
        command.envs(self.environment.clone());
        command
    }

    /// The identity file's text, if there is one.
    #[must_use]
    pub fn identity_text(&self) -> Option<String> {
        fs::read_to_string(self.path("etc/conjur.identity")).ok()
    }

    /// Login and API key of the identity file.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn identity(&self) -> (String, String) {
        client::netrc(&self.identity_text().expect("an identity file"))
    }

    /// The names of the files in its `/etc`, sorted: litter shows here.
    ///
    /// # Panics
    /// When it cannot be read.
    #[must_use]
    pub fn etc(&self) -> Vec<String> {
        names(&self.path("etc"))
    }

    fn usual_config(&self, site: &Site) -> String {
        let (stack, options) = (&site.stack, site.stack.options());
        format!(
            "account = {account:?}\nappliance_url = {url:?}\nca_file = {ca:?}\nhost_factory = {factory:?}\nhosts_branch = {branch:?}\n\
             proof_variable = {variable:?}\ndeadline = \"20s\"\n\n\
             [source]\nbucket = {bucket:?}\nbucket_owner = {owner:?}\nkms_key = {key:?}\n\n\
             [files]\nidentity = {identity:?}\nconf = {conf:?}\npem = {pem:?}\nstate_dir = {state:?}\n\n\
             [imds]\nendpoint = {imds:?}\n\n[system]\nsys_root = {sys:?}\n",
            account = options.account,
            url = stack.conjur.url(),
            ca = site.ca_file(),
            factory = stack.factory(&self.layer),
            branch = stack.hosts_branch(&self.layer),
            variable = stack.variable(&self.layer),
            bucket = options.bucket,
            owner = options.aws_account,
            key = stack.key,
            identity = self.path("etc/conjur.identity"),
            conf = self.path("etc/conjur.conf"),
            pem = self.path("etc/conjur.pem"),
            state = self.path("var/lib/imprint"),
            imds = self.imds.url(),
            sys = self.path("sys"),
        )
    }
}

/// The names in a folder, sorted.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

//! What the end-to-end tests, the demo and the bench share: a [`Site`] as an operator sets it up, and
//! [`Machine`]s that boot in it. The programs are the real binaries, run as processes with nothing in
//! their environment but what a test gives them.
#![expect(clippy::expect_used, reason = "scaffolding that cannot be put up must stop the test that wants it")]

pub mod client;
pub mod cloud;
pub mod machine;
pub mod peers;
pub mod proxy;
pub mod web;

pub use machine::Machine;

use imprint_core::sealed::context_key;
use imprint_stack::{Options, Stack};
use std::cell::RefCell;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Where the two programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `imprint`
    pub agent: PathBuf,
    /// `imprint-rotator`
    pub rotator: PathBuf,
}

impl Programs {
    /// The programs of this folder, by the names under which they are shipped.
    #[must_use]
    pub fn shipped(folder: &Path) -> Self {
        Self { agent: folder.join("imprint"), rotator: folder.join("imprint-rotator") }
    }

    /// `IMPRINT_E2E_BIN_DIR`, when it is set: the same tests on packaged files.
    #[must_use]
    pub fn named() -> Option<Self> {
        std::env::var_os("IMPRINT_E2E_BIN_DIR").map(|folder| Self::shipped(Path::new(&folder)))
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
    /// From start to end.
    pub wall: Duration,
}

thread_local! {
    /// What programs said that were run by this thread.
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Insists that of the site's secrets none stands in what this thread's programs have said so far, and none in a
/// file of the site's folder, but in those that `may`.
///
/// # Panics
/// When one does.
#[track_caller]
pub fn nothing_is_told(site: &Site, may: &dyn Fn(&Path) -> bool) {
    let secrets = site.stack.secrets();
    SAID.with_borrow(|said| {
        for text in said {
            assert!(
                secrets.found_in(text.as_bytes()).is_none(),
                "{:?} is told:\n{text}",
                secrets.found_in(text.as_bytes())
            );
        }
    });
    let told = secrets.told_below(site.folder(), may).expect("the site's folder");
    assert!(told.is_empty(), "files tell secrets: {told:?}");
}

impl Ran {
    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn of(command: &mut Command) -> Self {
        let from = Instant::now();
        let Output { status, stdout, stderr } = command.output().expect("the program starts");
        let ran = Self {
            code: status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&stdout).into_owned(),
            err: String::from_utf8_lossy(&stderr).into_owned(),
            wall: from.elapsed(),
        };
        SAID.with_borrow_mut(|said| said.extend([ran.out.clone(), ran.err.clone()]));
        ran
    }

    /// The same, of one whose standard output is a secret: nobody looks for secrets in that.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn of_one_that_tells(command: &mut Command) -> Self {
        let ran = Self::of(command);
        SAID.with_borrow_mut(|said| said.retain(|text| *text != ran.out));
        ran
    }

    /// Insists on this exit code.
    ///
    /// # Panics
    /// When it is another, with all that the program said.
    #[track_caller]
    #[must_use]
    pub fn expect(self, code: i32) -> Self {
        assert!(self.code == code, "exit {} instead of {code}\n{}\n{}", self.code, self.out, self.err);
        self
    }
}

/// A stack, the rotator's files, and a folder in which machines live.
pub struct Site {
    /// Conjur, S3, KMS and EC2.
    pub stack: Stack,
    programs: Programs,
    folder: PathBuf,
}

impl Site {
    /// The usual stack, with its files below `folder`.
    ///
    /// # Panics
    /// When a file cannot be written.
    #[must_use]
    pub fn new(folder: &Path, programs: Programs) -> Self {
        Self::with(folder, programs, Stack::start(Options::new(context_key::HOST_FACTORY)))
    }

    /// The same with a stack of the caller's.
    ///
    /// # Panics
    /// When a file cannot be written.
    #[must_use]
    pub fn with(folder: &Path, programs: Programs, stack: Stack) -> Self {
        let site = Self { stack, programs, folder: folder.to_owned() };
        write(&folder.join("conjur-ca.pem"), 0o644, &site.stack.ca.pem());
        write(&folder.join("rotator.key"), 0o600, &site.stack.rotator_login().1);
        write(&folder.join("reaper.key"), 0o600, &site.stack.reaper_login().1);
        write(&folder.join("minter.key"), 0o600, &site.stack.minter_login().1);
        write(&folder.join("rotator.toml"), 0o644, &site.rotator_config());
        site
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Conjur's certificate authority, as a file.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("conjur-ca.pem")
    }

    /// The configuration of the rotator: every layer of the stack.
    #[must_use]
    pub fn rotator_config(&self) -> String {
        let (stack, options) = (&self.stack, self.stack.options());
        let mut text = format!(
            "account = {account:?}\nappliance_url = {url:?}\nca_file = {ca:?}\nlogin = {login:?}\napi_key_file = {key:?}\n\
             deployment = \"1f2e3d4c\"\n\n[aws]\nbucket = {bucket:?}\nbucket_owner = {owner:?}\nkey = {alias:?}\n",
            account = options.account,
            url = stack.conjur.url(),
            ca = self.ca_file(),
            login = stack.rotator_login().0,
            key = self.folder.join("rotator.key"),
            bucket = options.bucket,
            owner = options.aws_account,
            alias = options.alias,
        );
        let (login, key) = (stack.reaper_login().0, self.folder.join("reaper.key"));
        text.push_str(&format!("\n[fleet]\nlogin = {login:?}\napi_key_file = {key:?}\n"));
        let (login, key) = (stack.minter_login().0, self.folder.join("minter.key"));
        text.push_str(&format!(
            "\n[instances]\nlogin = {login:?}\napi_key_file = {key:?}\nany_address = true\n"
        ));
        for layer in &options.layers {
            let (id, branch, nodes) = (stack.factory(layer), stack.hosts_branch(layer), stack.nodes(layer));
            text.push_str(&format!(
                "\n[[factory]]\nid = {id:?}\nhosts_branch = {branch:?}\nlayer = {nodes:?}\n"
            ));
        }
        text
    }

    /// The rules for instances, which the rotator's configuration names from now on.
    ///
    /// # Panics
    /// When a file cannot be written.
    pub fn set_rules(&self, rules: &str) {
        write(&self.folder.join("rules.toml"), 0o644, rules);
        let config = self.rotator_config().replace("\n[fleet]\n", "\n[fleet]\nrules_file = \"rules.toml\"\n");
        write(&self.folder.join("rotator.toml"), 0o644, &config);
    }

    /// `imprint-rotator` with these arguments, with the rotator's role and configuration.
    #[must_use]
    pub fn rotator(&self, arguments: &[&str]) -> Command {
        let mut command = bare(&self.programs.rotator);
        command.args(arguments).env("IMPRINT_ROTATOR_CONFIG", self.folder.join("rotator.toml"));
        command.envs(self.stack.environment(Some(&self.stack.session("rotator"))));
        command
    }

    /// The same with the role of the fleet's functions.
    #[must_use]
    pub fn fleet(&self, arguments: &[&str]) -> Command {
        let mut command = self.rotator(arguments);
        command.envs(self.stack.environment(Some(&self.stack.session("fleet"))));
        command
    }

    /// The same with the role of the functions that mint for one instance and promote.
    #[must_use]
    pub fn instances(&self, arguments: &[&str]) -> Command {
        let mut command = self.rotator(arguments);
        command.envs(self.stack.environment(Some(&self.stack.session("instances"))));
        command
    }

    /// A new instance of a layer, before its first boot.
    #[must_use]
    pub fn machine(&self, layer: &str) -> Machine {
        Machine::new(self, layer)
    }

    fn agent(&self) -> Command {
        bare(&self.programs.agent)
    }
}

/// A command with an empty environment, so that nothing of the caller's machine (proxies, AWS
/// profiles, a journal) decides how a test ends.
fn bare(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// A file of this mode, with the folders above it.
///
/// # Panics
/// When it cannot be written.
pub fn write(path: &Path, mode: u32, text: &str) {
    let folder = path.parent().expect("a path with a folder");
    fs::create_dir_all(folder).expect("folders can be made");
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path).expect("a file");
    file.set_permissions(fs::Permissions::from_mode(mode)).expect("its mode");
    file.write_all(text.as_bytes()).expect("its text");
}

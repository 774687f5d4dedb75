//! [`World`]: the servers, the machine and the published token that a row is tried in, each row in one of its own.

use crate::place::{Place, site_of};
use crate::row::{At, Row, Run};
use crate::talk::Talk;
use imprint_core::door::CaBundle;
use imprint_core::sealed::{Binding, Scope, SealedToken};
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use imprint_e2e::{Machine, Ran};
use imprint_stack::conjur::{Conjur, Version};
use imprint_stack::fault::Fault;
use imprint_stack::server::{Logged, Server};
use std::fs::File;
use std::process::Command;
use std::time::Duration;

/// How long after its deadline a program may end: the longest call that may be under way then is 30 s, and the
/// rest is for a machine that is busy with other things.
const SLACK: u64 = 120;

/// Where a row is tried.
pub struct World {
    pub site: Place,
    pub machine: Machine,
    /// The machine's API keys that were in use at some time.
    pub keys: Vec<String>,
    /// What else the program finds in its environment.
    pub environment: Vec<(String, String)>,
    /// Files that somebody has open meanwhile.
    pub held: Vec<File>,
    /// Peers that no request may reach, or that only talk; they live as long as this.
    pub talks: Vec<Talk>,
    /// Servers that are not part of the stack.
    pub strangers: Vec<Server<Conjur>>,
}

impl World {
    /// The world before a row's fault.
    pub fn of(row: &Row) -> Self {
        let site = site_of(vec!["web".to_owned()]);
        let machine = site.machine("web");
        machine.set_config(&machine.config().replace("deadline = \"20s\"\n", ""));
        let (keys, environment, held, talks, strangers) = Default::default();
        let mut world = Self { site, machine, keys, environment, held, talks, strangers };
        match &row.run {
            Run::Agent(_) => world.publish(3600),
            Run::Enrolled(_) => {
                world.publish(3600);
                let _enrolled = Ran::of(&mut world.machine.imprint(&["enroll"])).expect(0);
                world.keys.push(world.machine.identity().1);
            }
            Run::Rotator(_) => {}
            Run::Published(_) => {
                let _rotated = Ran::of(&mut world.site.rotator(&["rotate"])).expect(0);
            }
        }
        world
    }

    /// Mints, seals and publishes what the machine's configuration wants, behind the rotator's back; good for so
    /// many seconds.
    pub fn publish(&self, seconds: i64) {
        let expires_at = Second::from_unix(Second::now().unix() + seconds);
        let token = self.site.stack.conjur.service().add_token("web/factory", expires_at.unix(), &[]);
        let token = token.expect("a factory");
        self.put(token.as_bytes(), &self.binding(token.as_bytes(), expires_at));
    }

    /// The binding of a token, as the machine's configuration wants it.
    pub fn binding(&self, token: &[u8], expires_at: Second) -> Binding {
        let (stack, config) = (&self.site.stack, self.machine.config());
        let set = |name: &str| {
            let line = config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            line.map(|value| value.trim_matches('"').to_owned())
        };
        let url = set("appliance_url").expect("an appliance");
        let parsed = |url: &str| url.parse().expect("a URL");
        let bundle = CaBundle::from_pem(&stack.ca.pem()).expect("an authority");
        Binding {
            account: "demo".parse().expect("an account"),
            host_factory: stack.factory("web").parse().expect("a factory"),
            leader_url: parsed(&set("leader_url").unwrap_or_else(|| url.clone())),
            appliance_url: parsed(&url),
            ca_sha256: bundle.digests(),
            issued_at: Second::now(),
            expires_at,
            cidr: Vec::new(),
            fingerprint: Fingerprint::of(token),
            rotation_id: "r-faults".to_owned(),
            spread_s: 0,
            scope: Scope::Layer,
            hosts_branch: stack.hosts_branch("web").parse().expect("a branch"),
        }
    }

    /// Seals these bytes and puts them where the machine looks.
    pub fn put(&self, plaintext: &[u8], binding: &Binding) {
        let stack = &self.site.stack;
        let blob = stack.kms.service().seal(&stack.key, plaintext, &binding.context());
        let sealed = SealedToken::new(binding.clone(), blob, stack.key.clone()).expect("a sealed token");
        self.object(&sealed.to_bytes());
    }

    /// Puts these bytes where the machine looks.
    pub fn object(&self, bytes: &[u8]) {
        let key = self.site.stack.object_key("web");
        self.site.stack.s3.service().put_raw("imprint-tokens", &key, bytes.to_vec());
    }

    /// The machine's Conjur is elsewhere from now on, and its token says so too.
    pub fn conjur_at(&self, url: &str) {
        let own = format!("appliance_url = {:?}", self.site.stack.conjur.url());
        self.machine.set_config(&self.machine.config().replace(&own, &format!("appliance_url = {url:?}")));
        self.publish(3600);
    }

    /// The machine logs in there, and redeems at the usual place.
    pub fn follower_at(&self, url: &str) {
        let usual = self.site.stack.conjur.url();
        let both = format!("appliance_url = {url:?}\nleader_url = {usual:?}");
        let own = format!("appliance_url = {usual:?}");
        self.machine.set_config(&self.machine.config().replace(&own, &both));
        self.publish(3600);
    }

    /// A Conjur with these settings of TLS, where the machine finds it.
    pub fn stranger(&mut self, config: imprint_stack::ca::ServerConfig) {
        let server = Server::start_tls_with(Conjur::new(Version::V1_24_0, "demo"), config);
        self.conjur_at(&server.url());
        self.strangers.push(server);
    }

    /// Something that only talks; its port.
    pub fn talk(&mut self, talk: Talk) -> u16 {
        let port = talk.port();
        self.talks.push(talk);
        port
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.push((name.to_owned(), value.into()));
    }

    pub fn replace(&self, from: &str, to: &str) {
        let config = self.machine.config();
        assert!(config.contains(from), "{from} is not in {config}");
        self.machine.set_config(&config.replace(from, to));
    }

    /// The program of a row, which is killed when it does not end.
    pub fn command(&self, row: &Row) -> Command {
        let within = format!("{}s", row.within);
        let program = match &row.run {
            Run::Agent(command) | Run::Enrolled(command) => {
                self.machine.imprint(&[command, "--deadline", &within])
            }
            Run::Rotator(arguments) | Run::Published(arguments) => {
                let longest = format!("\n[policy]\nlongest_run = \"{}s\"\n", row.within.min(300));
                self.rotator(&(self.site.rotator_config() + &longest));
                self.site.rotator(arguments)
            }
        };
        let mut bounded = self.bounded(&program, row.within);
        if let Some(line) = row.shell {
            let mut shell = Command::new("bash");
            shell.args(["-c", &format!("{line}; exec \"$@\""), "bash"]);
            shell.arg(bounded.get_program()).args(bounded.get_args()).env_clear();
            shell.envs(bounded.get_envs().filter_map(|(name, value)| Some((name, value?))));
            bounded = shell;
        }
        bounded
    }

    /// The same program under a limit; its exit code is 124 when it does not end.
    pub fn bounded(&self, program: &Command, within: u32) -> Command {
        let mut command = Command::new("timeout");
        let limit = Duration::from_secs(u64::from(within) + SLACK);
        command.arg("--kill-after=5").arg(limit.as_secs().to_string());
        command.arg(program.get_program()).args(program.get_args()).env_clear();
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        // What a program would leave there is found.
        command.env("TMPDIR", self.machine.path("tmp"));
        command
    }

    /// The rotator's configuration.
    pub fn rotator(&self, text: &str) {
        imprint_e2e::write(&self.site.folder().join("rotator.toml"), 0o644, text);
    }

    pub fn usual_rotator(&self) {
        self.rotator(&self.site.rotator_config());
    }

    pub fn inject(&self, at: At, fault: Fault) {
        match at {
            At::Conjur => self.site.stack.conjur.inject(fault),
            At::Imds => self.machine.imds.inject(fault),
            At::Kms => self.site.stack.kms.inject(fault),
            At::S3 => self.site.stack.s3.inject(fault),
        }
    }

    pub fn clear_faults(&self) {
        self.site.stack.conjur.clear_faults();
        self.machine.imds.clear_faults();
        self.site.stack.kms.clear_faults();
        self.site.stack.s3.clear_faults();
    }

    pub fn clear_logs(&self) {
        self.site.stack.clear_logs();
        self.machine.imds.clear_log();
    }

    /// Every request since the logs were cleared.
    pub fn requests(&self) -> Vec<Logged> {
        let stack = &self.site.stack;
        let logs = [self.machine.imds.log(), stack.s3.log(), stack.kms.log(), stack.conjur.log()];
        logs.into_iter().flatten().collect()
    }

    /// Every address of the machine's configuration is to be followed nowhere: a place that must stay empty.
    pub fn trap(&mut self) -> String {
        let port = self.talk(Talk::trap());
        format!("http://127.0.0.1:{port}/trap")
    }
}

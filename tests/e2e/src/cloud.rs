//! The AWS emulator with enforced IAM, laid out as the Terraform module lays out AWS: bucket, key, a
//! role for each layer of a [`Site`], the rotator's role. Conjur remains the site's own.

use crate::peers::Peers;
use crate::{Machine, Ran, Site, bare, web, write};
use imprint_core::door::Trust;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The emulator's region.
pub const REGION: &str = "us-east-1";

/// The largest package that Lambda takes in a request, in bytes (its quotas page).
const LARGEST_PROGRAM: u64 = 50 * 1024 * 1024;

/// A process that runs until this is dropped: it ends when its standard input does, so also when the
/// test that has the other end is killed.
struct Emulator {
    process: Child,
    url: String,
    imds: Vec<String>,
}

impl Emulator {
    fn start(peers: &Peers, log: &Path) -> Self {
        let mut command = peers.script("ministack_strict.py");
        command.args(["--instances", "2"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::create(log).expect("a log"));
        let mut process = command.spawn().expect("Python starts");
        let mut line = String::new();
        let out = process.stdout.take().expect("a pipe");
        let _bytes = BufReader::new(out).read_line(&mut line).expect("the first line");
        if line.is_empty() {
            let _status = process.wait();
            let said = std::fs::read_to_string(log).unwrap_or_default();
            assert!(!line.is_empty(), "the emulator does not start: {said}");
        }
        let said: Value = serde_json::from_str(&line).expect("JSON");
        let imds = said["imds"].as_array().expect("its metadata services");
        let imds = imds.iter().map(text).collect();
        Self { url: text(&said["url"]), process, imds }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _status = self.process.wait();
    }
}

/// The emulator, and what was laid out in it.
pub struct Cloud {
    emulator: Emulator,
    peers: Peers,
    made: Value,
    folder: PathBuf,
}

/// One request as the emulator saw it.
#[derive(Debug)]
pub struct Seen {
    /// Such as `kms:Decrypt`, `s3:GET /bucket/key`, `imds:PUT /latest/api/token`.
    pub name: String,
    /// Who signed it; empty for an unsigned one.
    pub access_key: String,
}

/// How an invocation of a Lambda function ended.
#[derive(Debug)]
pub struct Invoked {
    /// Whether Lambda counts it as an error.
    pub failed: bool,
    /// The function's reply, or Lambda's `errorType` and `errorMessage`.
    pub reply: Value,
    /// The end of its log.
    pub log: String,
}

impl Cloud {
    /// Starts it and lays it out for every layer of the site; role and layer have the same name.
    #[must_use]
    pub fn start(peers: Peers, site: &Site) -> Self {
        let folder = site.folder().join("cloud");
        std::fs::create_dir_all(&folder).expect("a folder");
        let emulator = Emulator::start(&peers, &folder.join("emulator.log"));
        let mut cloud = Self { emulator, peers, made: Value::Null, folder };
        let options = site.stack.options();
        let mut words = vec!["layout".to_owned(), "--account".to_owned(), options.account.clone()];
        words.extend(["--bucket".to_owned(), options.bucket.clone()]);
        for layer in &options.layers {
            words.extend(["--layer".to_owned(), format!("{layer}={}", site.stack.factory(layer))]);
        }
        cloud.made = cloud.provision(&words);
        cloud
    }

    /// `imprint-rotator` with these arguments, the site's configuration and a session of its role.
    #[must_use]
    pub fn rotator(&self, site: &Site, arguments: &[&str]) -> Command {
        let mut command = site.rotator(arguments);
        self.lead_here(&mut command);
        command.envs(self.session(&self.role("rotator")));
        command
    }

    /// Instance `number` as a machine of a layer, with that layer's role.
    #[must_use]
    pub fn machine(&self, site: &Site, layer: &str, number: usize) -> Machine {
        let shown = self.control(&json!({"instances": {number.to_string(): {"role": layer}}}));
        let machine = site.machine(layer);
        machine.set_dmi(&text(&shown["instances"][number]["instance_id"]));
        let config = machine.config().replace(&machine.imds.url(), &self.emulator.imds[number]);
        machine.set_config(&config.replace(&site.stack.key, &text(&self.made["key_arn"])));
        machine
    }

    /// `imprint` on such a machine: no credentials are in its environment, only the way to S3 and KMS.
    #[must_use]
    pub fn imprint(&self, machine: &Machine, arguments: &[&str]) -> Command {
        let mut command = machine.imprint(arguments);
        self.lead_here(&mut command);
        command
    }

    /// Changes an instance: `role`, `tags`, ...
    pub fn set_instance(&self, number: usize, change: &Value) {
        let _shown = self.control(&json!({"instances": {number.to_string(): change}}));
    }

    /// The object key of a layer's sealed token.
    #[must_use]
    pub fn object(&self, layer: &str) -> String {
        text(&self.made["objects"][layer])
    }

    /// The ARN of a layer's role, or of that of the rotator or the fleet's functions.
    #[must_use]
    pub fn role(&self, of: &str) -> String {
        text(match of {
            "rotator" => &self.made["rotator_role"],
            "fleet" => &self.made["fleet_role"],
            "instances" => &self.made["instances_role"],
            layer => &self.made["roles"][layer],
        })
    }

    /// A session of a role, as variables of the environment.
    #[must_use]
    pub fn session(&self, role: &str) -> Vec<(String, String)> {
        let given = self.provision(&["session".to_owned(), role.to_owned()]);
        given
            .as_object()
            .expect("a session")
            .iter()
            .map(|(name, value)| (name.clone(), text(value)))
            .collect()
    }

    /// The AWS command line with a session of the rotator's role, who may put sealed tokens.
    ///
    /// # Panics
    /// When it fails.
    pub fn aws(&self, arguments: &[&str]) {
        self.aws_as("rotator", arguments);
    }

    /// The same with a session of another role.
    ///
    /// # Panics
    /// When it fails.
    pub fn aws_as(&self, role: &str, arguments: &[&str]) {
        let mut command = self.peers.program("aws");
        self.lead_here(&mut command);
        command.envs(self.session(&self.role(role))).env("AWS_REGION", REGION).env("HOME", &self.folder);
        let _said = Ran::of(command.args(arguments)).expect(0);
    }

    /// What was asked since the last call of this; the control path is not counted.
    #[must_use]
    pub fn requests(&self) -> Vec<Seen> {
        let shown = self.control(&Value::Null);
        let _shown = self.control(&json!({"log": []}));
        let log = shown["log"].as_array().expect("a log").iter();
        log.map(|entry| Seen { name: text(&entry["name"]), access_key: text(&entry["access_key"]) }).collect()
    }

    /// Makes a Lambda function of a program, which lies as `bootstrap` in its package: without debug
    /// symbols if it is too large, as Lambda itself would refuse it.
    pub fn function(&self, name: &str, role: &str, program: &Path, environment: &Value) {
        // Long, for a machine on which much else runs: whoever means a short one says so.
        self.function_of(name, role, program, environment, 600);
    }

    /// The same with a time-out of so many seconds.
    pub fn function_of(&self, name: &str, role: &str, program: &Path, environment: &Value, seconds: u32) {
        let mut packed = program.to_owned();
        if std::fs::metadata(program).expect("the program").len() > LARGEST_PROGRAM {
            packed = self.folder.join(name);
            let _said = Ran::of(bare(Path::new("strip")).arg("-o").arg(&packed).arg(program)).expect(0);
        }
        let words = ["function", "--name", name, "--role", role, "--environment", &environment.to_string()];
        let mut words = words.map(str::to_owned).to_vec();
        words.push(format!("--seconds={seconds}"));
        words.push(packed.display().to_string());
        let _made = self.provision(&words);
    }

    /// Invokes a function and waits for its end.
    #[must_use]
    pub fn invoke(&self, name: &str, event: &Value) -> Invoked {
        let words = ["invoke", "--payload", &event.to_string(), name].map(str::to_owned);
        let said = self.provision(&words);
        let failed = said["failed"].as_bool().expect("whether it failed");
        Invoked { failed, reply: said["reply"].clone(), log: text(&said["log"]) }
    }

    /// Lets a rule of EventBridge invoke a function, at a rate whose minutes pass in seconds; an empty one
    /// takes the rule away.
    pub fn every(&self, rate: &str, name: &str) {
        let _made = self.provision(&["schedule", "--every", rate, name].map(str::to_owned));
    }

    /// Lets EventBridge Scheduler invoke a function once, soon; with its own event, or with this input.
    pub fn once(&self, name: &str, input: Option<&Value>) {
        let mut words = ["schedule", "--once", name].map(str::to_owned).to_vec();
        words.extend(input.map(|input| format!("--input={input}")));
        let _made = self.provision(&words);
    }

    /// Starts so many instances at EC2; their ids.
    #[must_use]
    pub fn instances(&self, count: usize) -> Vec<String> {
        let said = self.provision(&["instances", "--count", &count.to_string()].map(str::to_owned));
        said["instances"].as_array().expect("ids").iter().map(text).collect()
    }

    /// Ends an instance at EC2.
    pub fn terminate(&self, instance: &str) {
        let _done = self.provision(&["terminate", instance].map(str::to_owned));
    }

    /// A function's log in CloudWatch Logs, once `count` of its lines have this text.
    #[must_use]
    pub fn log(&self, name: &str, of: &str, count: usize) -> String {
        let words = ["log", "--of", of, "--count", &count.to_string(), name].map(str::to_owned);
        let said = self.provision(&words);
        let lines = said["lines"].as_array().expect("lines");
        lines.iter().map(|line| text(line) + "\n").collect()
    }

    /// The metrics in a log, each of which fits the published schema of its format.
    #[must_use]
    pub fn metrics(&self, log: &str) -> Vec<Value> {
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("\"CloudWatchMetrics\"")).collect();
        let file = self.folder.join("metrics");
        write(&file, 0o644, &lines.iter().map(|line| format!("{line}\n")).collect::<String>());
        let mut command = self.peers.script("check_emf.py");
        let ran = Ran::of(command.stdin(File::open(file).expect("the lines"))).expect(0);
        assert_eq!(ran.out.trim(), lines.len().to_string());
        lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn provision(&self, words: &[String]) -> Value {
        let mut command = self.peers.script("provision.py");
        command.arg("--url").arg(&self.emulator.url).args(words).env("HOME", &self.folder);
        let ran = Ran::of(&mut command).expect(0);
        serde_json::from_str(&ran.out).expect("JSON")
    }

    fn control(&self, wanted: &Value) -> Value {
        let url = format!("{}/_strict", self.emulator.url);
        let body = if wanted.is_null() { String::new() } else { wanted.to_string() };
        let method = if wanted.is_null() { "GET" } else { "POST" };
        let reply = web::send(&Trust::Public, method, &url, &[("Content-Type", "application/json")], &body);
        let (status, said) = reply.expect("the emulator answers");
        assert_eq!(status, 200, "{said}");
        serde_json::from_str(&said).expect("JSON")
    }

    /// Takes the way to the site's own AWS away, and shows the one to the emulator.
    fn lead_here(&self, command: &mut Command) {
        for name in ["S3", "KMS", "EC2", "STS"].map(|service| format!("AWS_ENDPOINT_URL_{service}")) {
            command.env_remove(name);
        }
        command.env("AWS_ENDPOINT_URL", &self.emulator.url).env("AWS_REGION", REGION);
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

//! What must be so after a boot, and in the end on the disk.

use crate::cases::{Boot, Case, End, Image, Trouble, UserData};
use crate::example;
use crate::guest::{Disk, Guest};
use crate::world::World;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

pub const ENROLLED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d40";
const FAILED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d41";
const NOTHING_TO_DO: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d42";
const PARENTS_IDENTITY_REMOVED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d43";
const FALLBACK: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d61";
const EVENTS: [&str; 5] = [ENROLLED, FAILED, NOTHING_TO_DO, PARENTS_IDENTITY_REMOVED, FALLBACK];

/// What was seen of one boot.
pub struct Seen {
    pub since: SystemTime,
    pub journal: Vec<Value>,
    pub console: String,
    /// systemctl status of what is ours, cloud-init's own report, and more for a person.
    pub status: String,
    /// Properties of imprint.service.
    pub active: String,
    pub result: String,
    pub code: String,
    pub restarts: String,
    /// Whether the target was reached.
    pub target: String,
    /// What the application read.
    pub digest: String,
    pub app: String,
    /// Mode, owner, group and name of the files that are ours.
    pub files: String,
    pub datasource: String,
    /// The units of ours that failed.
    pub failed: String,
    /// What other parts of user-data left.
    pub theirs: String,
    /// How imprint-verify.service ended when it was started; empty where it was not.
    pub verify: String,
}

impl Seen {
    /// Asks a guest that has settled.
    pub fn of(case: &Case, world: &World, guest: &Guest, console: &Path) -> Self {
        let show = |name: &str| guest.property("imprint.service", name);
        let run = |words: &[&str]| guest.run(words).out.trim().to_owned();
        // What needs the identity would start the unit, which is for user-data to do.
        let is_late = case.is_late() && show("ActiveState") == "active";
        if case.trouble == Trouble::Crash || is_late {
            // Before 254, systemd fails what waits for a unit with the unit's first crash.
            let _started = guest.run(&["systemctl", "start", "app.service"]);
        }
        let mut status = String::new();
        for words in [
            &[
                "systemctl",
                "status",
                "--no-pager",
                "-l",
                "imprint.service",
                "imprint-identity.target",
                "app.service",
            ][..],
            &["cloud-init", "status", "--long"],
            &["systemctl", "list-jobs", "--no-pager"],
            &["systemctl", "--failed", "--no-pager"],
            &["systemd-analyze", "--no-pager"],
        ] {
            status.push_str(&format!("$ {}\n{}\n\n", words.join(" "), run(words)));
        }
        let (active, result) = (show("ActiveState"), show("Result"));
        // The requests of the boot are counted before more are made.
        let counted = (world.site.stack.requests(), world.metadata_requests());
        let verify = if case.end == End::Enrolled && case.image != Image::Group {
            let started = guest.run(&["systemctl", "start", "imprint-verify.service"]);
            format!("{} {}", started.code, guest.property("imprint-verify.service", "Result"))
        } else {
            String::new()
        };
        status.push_str(&format!(
            "requests of the boot: {} to servers, {} to the metadata service\n",
            counted.0, counted.1
        ));
        let list = "cd / && find etc/conjur.* run/imprint var/lib/imprint etc/.conjur* -printf '%m %u:%g /%p\\n' 2>/dev/null | sort -k3";
        Self {
            since: guest.since,
            journal: guest.journal(),
            console: fs::read_to_string(console).unwrap_or_default(),
            status,
            active,
            result,
            code: show("ExecMainStatus"),
            restarts: show("NRestarts"),
            target: guest.property("imprint-identity.target", "ActiveState"),
            digest: run(&["cat", "/run/app/digest"]),
            app: guest.property("app.service", "ActiveState"),
            files: run(&["sh", "-c", list]),
            datasource: run(&["cat", "/run/cloud-init/result.json"]),
            failed: run(&[
                "systemctl",
                "list-units",
                "--failed",
                "--plain",
                "--no-legend",
                "imprint*",
                "app*",
            ]),
            verify,
            theirs: run(&["sh", "-c", "cat /etc/theirs*"]),
        }
    }
}

/// Judges a case, boot by boot.
pub struct Judge<'a> {
    case: &'a Case,
    world: &'a World,
    pub faults: Vec<String>,
}

/// A field of a journal entry.
pub fn field<'a>(entry: &'a Value, name: &str) -> &'a str {
    entry.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Whether the journal could still look at the process.
fn is_looked_up(entry: &Value) -> bool {
    field(entry, "_COMM") == "imprint"
}

impl<'a> Judge<'a> {
    pub fn new(case: &'a Case, world: &'a World) -> Self {
        Self { case, world, faults: Vec::new() }
    }

    fn must(&mut self, is_so: bool, fault: impl FnOnce() -> String) {
        if !is_so {
            self.faults.push(fault());
        }
    }

    /// One boot; returns how long it took to its identity, for the table.
    pub fn boot(&mut self, boot: Boot, seen: &Seen) -> String {
        let faults = self.faults.len();
        self.every_boot(seen);
        let ours = self.without_rights(&seen.journal);
        let events: Vec<&str> =
            ours.iter().map(|e| field(e, "MESSAGE_ID")).filter(|id| EVENTS.contains(id)).collect();
        let want = self.events(boot);
        self.must(events == want, || format!("events {events:?} instead of {want:?}"));
        match self.case.end {
            End::Enrolled => self.enrolled(boot, seen, &ours),
            End::Failed(code, class) => self.failed(code, class, seen, &ours),
            End::Skipped => self.skipped(seen),
        }
        for fault in &mut self.faults[faults..] {
            *fault = format!("{boot:?}: {fault}");
        }
        let is_end = |entry: &&&Value| [ENROLLED, NOTHING_TO_DO].contains(&field(entry, "MESSAGE_ID"));
        ours.iter().find(is_end).map_or_else(
            || "-".to_owned(),
            |entry| {
                let micros: u128 = field(entry, "__REALTIME_TIMESTAMP").parse().unwrap_or_default();
                let on = seen.since.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
                format!("{:.1} s", micros.saturating_sub(on) as f64 / 1e6)
            },
        )
    }

    /// The unit's lines, each of which must come from a process without rights. The journal looks a process up when it
    /// reads its line; one that lived for milliseconds may be gone by then, and of that one it knows unit and user alone.
    fn without_rights<'j>(&mut self, journal: &'j [Value]) -> Vec<&'j Value> {
        let ours: Vec<&Value> = journal
            .iter()
            .filter(|e| field(e, "_SYSTEMD_UNIT") == "imprint.service")
            .filter(|e| ["imprint", ""].contains(&field(e, "_COMM")))
            .collect();
        self.must(self.case.end == End::Skipped || !ours.is_empty(), || {
            "the unit did not run: nothing of it is in the journal".to_owned()
        });
        for entry in &ours {
            let trusted = [("_UID", "0"), ("_CAP_EFFECTIVE", "0"), ("SYSLOG_IDENTIFIER", "imprint")];
            let is_known = is_looked_up(entry);
            for (name, value) in trusted.into_iter().filter(|(name, _)| is_known || *name != "_CAP_EFFECTIVE")
            {
                self.must(field(entry, name) == value, || {
                    format!("{name} is {:?} in the journal: {}", field(entry, name), field(entry, "MESSAGE"))
                });
            }
            // What goes to standard output is for the person who calls.
            let is_line = field(entry, "_TRANSPORT") == "journal";
            self.must(!is_line || !field(entry, "ATTEMPT_ID").is_empty(), || {
                format!("a line without its attempt: {}", field(entry, "MESSAGE"))
            });
        }
        ours
    }

    /// The same for a machine that is off by now: what its journal, its console and its disk tell.
    pub fn emulated(&mut self, journal: &[Value], console: &str, disk: &Disk) {
        self.nothing_is_told(journal, &[("the console", console)]);
        let ours = self.without_rights(journal);
        let enrolled = ours
            .iter()
            .any(|e| field(e, "MESSAGE_ID") == ENROLLED && field(e, "HOST_ID") == self.world.host_id());
        self.must(enrolled, || "no line says that it was enrolled".to_owned());
        let of_app =
            |e: &&Value| field(e, "_SYSTEMD_UNIT") == "app.service" && field(e, "MESSAGE").contains(" read ");
        self.must(journal.iter().any(|e| of_app(&e)), || "the application read nothing".to_owned());
        let log = fs::read_to_string(disk.path("/var/log/cloud-init.log")).unwrap_or_default();
        self.must(log.contains("Loaded datasource DataSourceEc2"), || {
            "cloud-init did not find EC2".to_owned()
        });
        for (path, mode) in
            [("etc/conjur.identity", 0o600), ("etc/conjur.conf", 0o644), ("var/lib/imprint", 0o700)]
        {
            let found =
                fs::metadata(disk.path(path)).map(|file| (file.mode() & 0o7777, file.uid(), file.gid()));
            self.must(matches!(found, Ok(is) if is == (mode, 0, 0)), || format!("/{path}: {found:?}"));
        }
        self.disk(disk);
    }

    fn events(&self, boot: Boot) -> Vec<&'static str> {
        match (self.case.end, boot) {
            (End::Skipped, _) => vec![],
            (End::Failed(..), _) => vec![FAILED],
            (End::Enrolled, _) if self.case.image == Image::ReadOnlyEtc => vec![FALLBACK, ENROLLED],
            (End::Enrolled, Boot::First | Boot::Baked) => vec![ENROLLED],
            (End::Enrolled, Boot::Again) => vec![NOTHING_TO_DO],
            (End::Enrolled, Boot::Cloned) => vec![PARENTS_IDENTITY_REMOVED, ENROLLED],
        }
    }

    /// What holds for every boot, however it ends.
    fn every_boot(&mut self, seen: &Seen) {
        self.must(seen.datasource.contains("DataSourceEc2"), || {
            format!("cloud-init did not find EC2: {}", seen.datasource)
        });
        self.nothing_is_told(
            &seen.journal,
            &[("the console", &seen.console), ("systemctl status", &seen.status)],
        );
    }

    /// What the servers were asked, and what the journal and these texts tell: no secret.
    fn nothing_is_told(&mut self, journal: &[Value], texts: &[(&str, &str)]) {
        for entry in journal {
            let text = field(entry, "MESSAGE");
            self.must(!text.contains("ordering cycle"), || text.to_owned());
        }
        let log = self.world.imds.log();
        let v1 =
            log.iter().find(|r| r.method == "GET" && !r.headers.contains_key("x-aws-ec2-metadata-token"));
        self.must(v1.is_none(), || format!("a request without a metadata token: {v1:?}"));
        self.must(!log.is_empty(), || "nobody asked the metadata service, not even cloud-init".to_owned());
        let journal = serde_json::to_string(journal).unwrap_or_default();
        for (place, text) in texts.iter().chain(&[("the journal", journal.as_str())]) {
            self.must(!text.is_empty(), || format!("{place} is empty, so it is not watched"));
            for secret in self.world.secrets() {
                self.must(!text.contains(&secret), || format!("a secret is in {place}"));
            }
        }
    }

    fn enrolled(&mut self, boot: Boot, seen: &Seen, ours: &[&Value]) {
        let state = (seen.active.as_str(), seen.result.as_str(), seen.code.as_str());
        self.must(state == ("active", "success", "0"), || format!("imprint.service is {state:?}"));
        let restarts = if self.case.trouble == Trouble::Crash { "1" } else { "0" };
        self.must(seen.restarts == restarts, || format!("it was restarted {} times", seen.restarts));
        self.must(seen.failed.is_empty(), || format!("failed: {}", seen.failed));
        self.must(seen.target == "active", || format!("imprint-identity.target is {}", seen.target));
        let host = self.world.host_id();
        // Who enrolls lives for long enough.
        let known = boot == Boot::Again || ours.iter().any(|e| is_looked_up(e));
        self.must(known, || "no line tells which rights its process had".to_owned());
        let named = ours.iter().any(|e| field(e, "HOST_ID") == host);
        self.must(named, || format!("no line names {host}"));
        let want = digest(self.world.site.stack.secret("web"));
        self.must(seen.digest == want, || {
            format!("the application is {} and read {:?}", seen.app, seen.digest)
        });
        self.must(!seen.console.contains("imprint: cannot"), || "the console tells a failure".to_owned());
        self.must(seen.verify.is_empty() || seen.verify == "0 success", || {
            format!("imprint-verify.service: {}", seen.verify)
        });
        let others = matches!(self.case.user_data, UserData::Example([_, _, ..]));
        let theirs = if others { example::THEIRS } else { "" };
        self.must(seen.theirs == theirs, || format!("other parts of user-data left {:?}", seen.theirs));
        let files = self.files();
        self.must(seen.files == files, || format!("files:\n{}\ninstead of\n{files}", seen.files));
        if boot == Boot::Again && self.case.image != Image::ReadOnlyEtc {
            // Where the firmware tells no id, the metadata service does, in two requests.
            let allowed = if self.case.firmware { 0 } else { 2 };
            let counts = format!("requests of the boot: 0 to servers, {allowed} to");
            // The application's own requests are not ours.
            let servers = self.world.site.stack.conjur.log().iter().filter(|r| r.name == "redeem").count()
                + self.world.site.stack.s3.log().len()
                + self.world.site.stack.kms.log().len();
            self.must(servers == 0, || format!("{servers} requests to redeem, S3 and KMS"));
            let metadata = seen.status.contains(&format!("{allowed} to the metadata service"));
            self.must(metadata, || format!("not: {counts} the metadata service"));
        }
    }

    /// The files that an enrollment leaves, as they must be.
    fn files(&self) -> String {
        let (secret, group) =
            if self.case.image == Image::Group { ("640", "imprint") } else { ("600", "root") };
        let below = if self.case.image == Image::ReadOnlyEtc { "/run/imprint" } else { "/etc" };
        let mut lines = [
            format!("644 root:root {below}/conjur.conf"),
            format!("{secret} root:{group} {below}/conjur.identity"),
            format!("644 root:root {below}/conjur.pem"),
            "755 root:root /run/imprint".to_owned(),
            "700 root:root /var/lib/imprint".to_owned(),
            "600 root:root /var/lib/imprint/lock".to_owned(),
            "600 root:root /var/lib/imprint/state.json".to_owned(),
        ];
        lines.sort_by(|a, b| a.split(' ').nth(2).cmp(&b.split(' ').nth(2)));
        lines.join("\n")
    }

    fn failed(&mut self, code: u8, class: &str, seen: &Seen, ours: &[&Value]) {
        let state = (seen.active.as_str(), seen.result.as_str(), seen.code.as_str());
        let want = code.to_string();
        self.must(state == ("failed", "exit-code", &want), || format!("imprint.service is {state:?}"));
        self.must(seen.restarts == "0", || format!("it was restarted {} times", seen.restarts));
        for words in [
            "Active: failed",
            &format!("status={code}"),
            "Status: \"cannot enroll: ",
            &format!("({class})\""),
        ] {
            self.must(seen.status.contains(words), || format!("systemctl status does not say {words:?}"));
        }
        let told = ours.iter().find(|e| field(e, "MESSAGE_ID") == FAILED);
        for (name, value) in [("CLASS", class), ("PRIORITY", "3")] {
            let is = told.map(|e| field(e, name)).unwrap_or_default();
            self.must(is == value, || format!("{name} is {is:?} in the journal"));
        }
        self.must(told.is_some_and(|e| !field(e, "HINT").is_empty()), || "no hint in the journal".to_owned());
        let line = seen.console.lines().find(|line| line.contains("imprint: cannot enroll: "));
        self.must(line.is_some_and(|line| line.contains("; hint: ") && line.contains("; attempt ")), || {
            format!("the console's line: {line:?}")
        });
        self.without(seen);
    }

    fn skipped(&mut self, seen: &Seen) {
        let state = (seen.active.as_str(), seen.result.as_str());
        self.must(state == ("inactive", "success"), || format!("imprint.service is {state:?}"));
        self.must(seen.status.contains("ConditionPathExists=/etc/imprint/config.toml was not met"), || {
            "systemctl status does not say why".to_owned()
        });
        self.without(seen);
    }

    /// What needs the identity did not start without it.
    fn without(&mut self, seen: &Seen) {
        self.must(seen.target != "active", || {
            "imprint-identity.target was reached without an identity".to_owned()
        });
        self.must(seen.digest.is_empty() && seen.app == "inactive", || {
            format!("the application is {}", seen.app)
        });
        self.must(!seen.files.contains("conjur."), || format!("files without an enrollment: {}", seen.files));
    }

    /// The image that was made of the disk: nothing of the enrollment is in it.
    pub fn baked(&mut self, ran: &imprint_e2e::Ran, disk: &Disk) {
        self.must(ran.code == 0, || format!("cloud-init clean: {} {}{}", ran.code, ran.out, ran.err));
        for path in ["etc/conjur.identity", "etc/conjur.conf", "etc/conjur.pem", "var/lib/imprint/state.json"]
        {
            self.must(!disk.path(path).exists(), || format!("/{path} is in the image"));
        }
        let before = self.faults.len();
        self.disk_without(disk, false);
        for fault in &mut self.faults[before..] {
            *fault = format!("the image: {fault}");
        }
    }

    /// What was written since the package was installed holds no secret but where it belongs.
    pub fn disk(&mut self, disk: &Disk) {
        self.disk_without(disk, self.case.end == End::Enrolled && self.case.image != Image::ReadOnlyEtc);
    }

    /// The same, where an identity is to be on the disk or not.
    fn disk_without(&mut self, disk: &Disk, on_disk: bool) {
        let secrets = self.world.secrets();
        let (mut looked, mut identities) = (0, 0);
        let mut folders = vec![disk.written.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
                if kind.is_dir() {
                    folders.push(path);
                    continue;
                }
                if !kind.is_file() {
                    continue;
                }
                let bytes = fs::read(&path).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                looked += 1;
                let is_identity = path == disk.written.join("etc/conjur.identity");
                identities += usize::from(is_identity);
                for secret in secrets.iter().filter(|secret| text.contains(secret.as_str())) {
                    // The identity holds the host's present key, and nothing else.
                    let own = self.world.site.stack.conjur.service().key_of(&self.world.host_id());
                    let belongs = is_identity && own.as_ref() == Some(secret);
                    let name = path.strip_prefix(&disk.written).unwrap_or(&path).display().to_string();
                    self.must(belongs, || format!("a secret is in /{name}"));
                }
            }
        }
        self.must(looked > 20, || format!("only {looked} files on the disk were looked at"));
        self.must(identities == usize::from(on_disk), || format!("{identities} identities on the disk"));
    }
}

/// As the application writes it.
fn digest(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

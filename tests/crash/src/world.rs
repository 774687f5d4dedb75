//! A site and a machine in it that can be put back to how they were, and the questions that are asked of
//! them after every interruption.

use crate::call::{Call, Does, Namer};
use crate::image::Image;
use crate::promotion::privileged;
use crate::scenario::{End, Scenario, THEIRS};
use crate::setting::{Broken, Setting};
use imprint_core::sealed::context_key;
use imprint_e2e::{Machine, Programs, Ran, Site, client};
use imprint_stack::conjur::Backup;
use imprint_stack::{Options, Stack};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// What may stand where: the files that hold the key.
const HOLD_THE_KEY: [&str; 3] = ["etc/conjur.identity", "etc/conjur.env", "etc/conjur.json"];

/// The identity's file.
pub const IDENTITY: &str = "etc/conjur.identity";

/// How often a run and the ones after it may redeem more than an undisturbed one.
const MORE_REDEEMS: usize = 2;

/// A scenario's machine and servers, as they were before the command.
pub struct World {
    /// What is tried.
    pub scenario: &'static Scenario,
    /// The servers.
    pub site: Site,
    /// The machine.
    pub machine: Machine,
    /// Its disk before the command.
    pub before: Image,
    /// Its disk after an undisturbed command.
    pub after: Image,
    conjur: Backup,
    /// Redeems of an undisturbed command.
    redeems: usize,
    folder: TempDir,
}

impl World {
    /// Sets it up, and runs the command once undisturbed.
    ///
    /// # Errors
    /// When the undisturbed command does not end as the scenario says.
    pub fn new(scenario: &'static Scenario, programs: &Programs) -> Result<Self, Broken> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let stack = Stack::start(Options::new(context_key::HOST_FACTORY));
        let site = Site::with(folder.path(), programs.clone(), stack);
        let _said = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
        let machine = (scenario.prepare)(&site);
        let before = Image::of(&machine.path("")).map_err(|e| e.to_string())?;
        let conjur = site.stack.conjur.service().backup();
        let after = Image::default();
        let mut world = Self { scenario, site, machine, before, after, conjur, redeems: 0, folder };
        world.reset()?;
        let ran = Ran::of(&mut world.command());
        if ran.code != 0 {
            return Err(format!("undisturbed, it ends with {}: {}", ran.code, ran.err));
        }
        world.redeems = world.redeemed();
        world.after = world.image()?;
        world.is_well_at_the_end()?;
        Ok(world)
    }

    /// Conjur before the command.
    #[must_use]
    pub const fn conjur(&self) -> &Backup {
        &self.conjur
    }

    /// Puts other ones in their place.
    ///
    /// # Errors
    /// When the disk cannot be written.
    pub fn put(&self, disk: &Image, conjur: &Backup) -> Result<(), Broken> {
        disk.put(&self.machine.path("")).map_err(|e| format!("the disk cannot be put back: {e}"))?;
        self.site.stack.conjur.service().restore(conjur);
        self.site.stack.clear_logs();
        self.machine.imds.clear_log();
        Ok(())
    }

    /// What the disk has now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn image(&self) -> Result<Image, Broken> {
        Image::of(&self.machine.path("")).map_err(|e| format!("the disk cannot be read: {e}"))
    }

    fn redeemed(&self) -> usize {
        self.site.stack.conjur.count("redeem")
    }

    /// The hosts that the machine may be.
    #[must_use]
    pub fn hosts(&self) -> [String; 2] {
        [self.machine.host_id(), privileged(&self.machine)]
    }

    /// Whether the identity is whole: absent where it may be, what it was before to the byte, or one that
    /// Conjur takes; and whether nobody else may read a file with a key in it.
    ///
    /// # Errors
    /// With what is wrong.
    pub fn is_whole(&self, disk: &Image) -> Result<(), Broken> {
        self.keys_are_closed(disk)?;
        let (was, is) = (self.before.text(IDENTITY), disk.text(IDENTITY));
        match is {
            None if was.is_none() || self.scenario.may_vanish => Ok(()),
            None => Err("the identity is gone".to_owned()),
            Some(_) if is == was => Ok(()),
            Some(text) => self.is_of_us(&text, was.as_deref()).map(drop),
        }
    }

    /// Login and key, if it is an identity that is whole and that Conjur takes by now.
    fn is_of_us(&self, text: &str, was: Option<&str>) -> Result<(String, String), Broken> {
        let theirs = if was == Some(THEIRS) { THEIRS } else { "" };
        let own = text.strip_prefix(theirs).ok_or("another program's entry is gone")?;
        // Three lines and no more: the form that `identity` writes.
        let words: Vec<&str> = own.split_whitespace().collect();
        let ["machine", url, "login", login, "password", key] = words.as_slice() else {
            return Err(format!("the identity is no identity: {} bytes", text.len()));
        };
        let is_ours = *url == format!("{}/authn", self.site.stack.conjur.url()) && own.ends_with('\n');
        let host = login.strip_prefix("host/").unwrap_or_default();
        if !is_ours || !self.hosts().iter().any(|own| own == host) {
            return Err(format!("the identity is of {login} at {url}"));
        }
        if self.site.stack.conjur.service().key_of(host).as_deref() != Some(*key) {
            return Err(format!("the identity is a new one of {host}, and Conjur does not take its key"));
        }
        Ok(((*login).to_owned(), (*key).to_owned()))
    }

    /// Files with a key in them let in nobody whom the identity's own mode does not.
    fn keys_are_closed(&self, disk: &Image) -> Result<(), Broken> {
        match disk.open_with(&self.secrets()) {
            Some((path, mode)) => Err(format!("{} has a secret in it and mode {mode:o}", path.display())),
            None => Ok(()),
        }
    }

    fn is_well_at_the_end(&self) -> Result<(), Broken> {
        let disk = self.image()?;
        if disk.looks() != self.after.looks() {
            let more: Vec<_> =
                disk.looks().into_iter().filter(|it| !self.after.looks().contains(it)).collect();
            let less: Vec<_> =
                self.after.looks().into_iter().filter(|it| !disk.looks().contains(it)).collect();
            return Err(format!("the disk has {more:?} too much, and lacks {less:?}"));
        }
        let secrets = self.secrets();
        let elsewhere = disk
            .files_with(&secrets)
            .find(|(path, _)| !HOLD_THE_KEY.iter().any(|own| Path::new(own) == *path));
        if let Some((path, _)) = elsewhere {
            return Err(format!("a secret is left in {}", path.display()));
        }
        match self.scenario.end {
            End::Forgotten if disk.text(IDENTITY).is_some() => Err("the identity is still there".to_owned()),
            End::Forgotten => Ok(()),
            End::Enrolled | End::Promoted => self.authenticates(&disk),
        }
    }

    /// A client that shares no line with the agent logs in and reads what the host may read; whatever else holds
    /// the key holds the same one; and nobody holds the lock.
    fn authenticates(&self, disk: &Image) -> Result<(), Broken> {
        let text = disk.text(IDENTITY).ok_or("there is no identity")?;
        let (login, key) = self.is_of_us(&text, self.before.text(IDENTITY).as_deref())?;
        let layer = if self.scenario.end == End::Promoted { "db" } else { "web" };
        if !login.starts_with(&format!("host/{layer}/")) {
            return Err(format!("the identity is of {login}"));
        }
        let (url, account) = (self.site.stack.conjur.url(), &self.site.stack.options().account);
        let read = client::secret(
            &url,
            account,
            &self.site.ca_file(),
            &login,
            &key,
            &self.site.stack.variable(layer),
        );
        if read.as_deref() != Ok(self.site.stack.secret(layer)) {
            return Err(format!("{login} cannot read its variable: {}", read.err().unwrap_or_default()));
        }
        let also = HOLD_THE_KEY.iter().filter_map(|path| Some((path, disk.text(path)?)));
        if let Some((path, _)) = also.into_iter().find(|(_, text)| !text.contains(&key)) {
            return Err(format!("{path} has another key"));
        }
        let lock =
            File::open(self.machine.path("var/lib/imprint/lock")).map_err(|e| format!("the lock: {e}"))?;
        lock.try_lock().map_err(|e| format!("the lock is held: {e}"))
    }
}

impl Setting for World {
    fn reset(&self) -> Result<(), Broken> {
        self.put(&self.before, &self.conjur)
    }

    fn command(&self) -> Command {
        self.machine.imprint(self.scenario.command)
    }

    fn namer(&self) -> Namer {
        let stack = &self.site.stack;
        let servers = BTreeMap::from([
            (stack.conjur.port(), "conjur"),
            (stack.s3.port(), "s3"),
            (stack.kms.port(), "kms"),
            (self.machine.imds.port(), "imds"),
        ]);
        Namer::new(&self.machine.path(""), self.folder.path(), servers)
    }

    fn secrets(&self) -> Vec<String> {
        let (stack, conjur) = (&self.site.stack, self.site.stack.conjur.service());
        let mut secrets: Vec<String> = self.hosts().iter().filter_map(|host| conjur.key_of(host)).collect();
        for layer in &stack.options().layers {
            secrets.extend(conjur.tokens(&stack.factory(layer)).into_iter().map(|row| row.token));
        }
        let old = self.before.text(IDENTITY).unwrap_or_default();
        secrets.extend(
            old.split_whitespace().filter(|word| word.len() > 40 && !word.contains('/')).map(str::to_owned),
        );
        secrets.push(stack.rotator_login().1);
        secrets.extend(stack.credentials.secrets());
        secrets
    }

    fn may_end_with(&self, call: &Call) -> &'static [i32] {
        match call.does {
            // 78: a file that the configuration names is one of its settings, and told with its line.
            Does::Look if call.subject.ends_with("conjur-ca.pem") => &[78],
            // 73: storage.
            Does::Change | Does::Look if call.path.is_some() => &[0, 73],
            // 75: it may pass.
            Does::Connect | Does::Receive | Does::Send => &[0, 75],
            // A reader that is gone is no failure of the agent's.
            Does::Say => &[0],
            // 70: the kernel gives no event queue.
            Does::Change | Does::Look | Does::Stand => &[0, 70, 73, 75],
        }
    }

    fn is_whole_now(&self) -> Result<(), Broken> {
        self.is_whole(&self.image()?)
    }

    fn ends_well(&self) -> Result<(), Broken> {
        for again in self.scenario.again {
            let ran = Ran::of(&mut self.machine.imprint(again));
            self.is_silent(&[&ran.out, &ran.err])?;
            if ran.code != 0 {
                return Err(format!("{again:?} ends with {} after it: {}", ran.code, ran.err));
            }
        }
        let redeemed = self.redeemed();
        if redeemed > self.redeems + MORE_REDEEMS {
            return Err(format!("{redeemed} redeems in place of {}", self.redeems));
        }
        self.is_well_at_the_end()?;
        if self.scenario.end == End::Forgotten {
            let ran = Ran::of(&mut self.machine.imprint(&["enroll"]));
            if ran.code != 0 {
                return Err(format!("enroll ends with {} after it: {}", ran.code, ran.err));
            }
            self.authenticates(&self.image()?)?;
        }
        Ok(())
    }
}

//! The rotator, interrupted between any two of its requests. It has no files: what it leaves are tokens at
//! Conjur and an object in S3.
//!
//! After any interruption the next run ends with one published token that Conjur lists. A run that dies
//! between mint and publish leaves one token that nobody will ever redeem, an orphan; it is revoked as soon as
//! no run of that age can be alive and, where the line of labels does not tell, the overlap and a boot are over. What was published before stays until its own end, or goes at once where
//! that was asked for.

use crate::call::{Call, Does, Namer};
use crate::setting::{Broken, Setting};
use bytes::Bytes;
use imprint_core::sealed::{SealedToken, context_key};
use imprint_core::token::Fingerprint;
use imprint_e2e::{Programs, Ran, Site};
use imprint_stack::conjur::Backup;
use imprint_stack::{Options, Stack};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::process::Command;
use tempfile::TempDir;

/// Longer ago than any run can be alive, and than the overlap and a boot: of what was minted then and never
/// published, everything is known. In seconds.
const LONG_AGO: u32 = 2 * 60 * 60;

/// A command of the rotator, and what there is before it.
#[derive(Clone, Copy)]
pub struct Rotation {
    /// Its name in the report.
    pub name: &'static str,
    /// The command that is interrupted.
    pub command: &'static [&'static str],
    /// What is run after that.
    pub again: &'static [&'static str],
    /// Whether something was published before.
    published: bool,
    /// Whether that is to go.
    revokes: bool,
}

const ROTATE: &[&str] = &["rotate"];
const INCIDENT: &[&str] = &["rotate", "--now", "--revoke-superseded"];

/// All of them.
pub const ROTATIONS: &[Rotation] = &[
    Rotation {
        name: "rotate, nothing published",
        command: ROTATE,
        again: ROTATE,
        published: false,
        revokes: false,
    },
    Rotation {
        name: "rotate --now, one published",
        command: &["rotate", "--now"],
        again: ROTATE,
        published: true,
        revokes: false,
    },
    Rotation {
        name: "rotate --now --revoke-superseded",
        command: INCIDENT,
        again: INCIDENT,
        published: true,
        revokes: true,
    },
];

/// The layer.
const LAYER: &str = "web";

/// A site as it is before the rotation.
pub struct Published {
    rotation: &'static Rotation,
    site: Site,
    conjur: Backup,
    object: Option<Bytes>,
    /// The token that was published before.
    old: Option<String>,
    folder: TempDir,
}

impl Published {
    /// Sets it up, and runs the command once undisturbed.
    ///
    /// # Errors
    /// When the undisturbed run does not end as it must.
    pub fn new(rotation: &'static Rotation, programs: &Programs) -> Result<Self, Broken> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let options = Options { layers: vec![LAYER.to_owned()], ..Options::new(context_key::HOST_FACTORY) };
        let site = Site::with(folder.path(), programs.clone(), Stack::start(options));
        if rotation.published {
            let _said = Ran::of(&mut site.rotator(ROTATE)).expect(0);
        }
        let conjur = site.stack.conjur.service().backup();
        let object = site.stack.published(LAYER);
        let mut here = Self { rotation, site, conjur, object, old: None, folder };
        here.old = if here.object.is_some() { Some(here.published()?) } else { None };
        here.reset()?;
        let ran = Ran::of(&mut here.command());
        if ran.code != 0 || Some(here.published()?) == here.old {
            return Err(format!("undisturbed, it ends with {}: {}{}", ran.code, ran.out, ran.err));
        }
        here.ends_well()?;
        Ok(here)
    }

    /// The token that agents find, which Conjur lists and which is good for a while.
    fn published(&self) -> Result<String, Broken> {
        let object = self.site.stack.published(LAYER).ok_or("nothing is published")?;
        let sealed = SealedToken::parse(&object).map_err(|e| format!("what is published: {e}"))?;
        let fingerprint = sealed.binding().fingerprint.to_string();
        let now = self.site.stack.conjur.service().now();
        if sealed.binding().expires_at.unix() <= now || !self.listed().contains(&fingerprint) {
            return Err(format!("{fingerprint} is published, and Conjur does not take it"));
        }
        Ok(fingerprint)
    }

    fn listed(&self) -> BTreeSet<String> {
        let tokens = self.site.stack.conjur.service().tokens(&self.site.stack.factory(LAYER));
        tokens.iter().map(|row| Fingerprint::of(row.token.as_bytes()).to_string()).collect()
    }

    /// All of it was minted long ago. The label is `2001:db8:<deployment>:<mint time>:<random>`, each of them 32
    /// bits.
    fn grow_old(&self) {
        let stack = &self.site.stack;
        stack.conjur.service().change_networks(&stack.factory(LAYER), |_, networks| {
            for network in networks {
                if let IpNet::V6(label) = *network
                    && label.prefix_len() == 128
                {
                    let older = u128::from(label.addr()) - (u128::from(LONG_AGO) << 32);
                    *network = IpNet::new_assert(Ipv6Addr::from(older).into(), 128);
                }
            }
        });
    }

    /// How many tokens Conjur lists beside the one that is published and the one that was before.
    fn unknown(&self, published: &str) -> usize {
        self.listed().iter().filter(|it| *it != published && self.old.as_ref() != Some(it)).count()
    }

    fn run(&self, arguments: &[&str]) -> Result<(), Broken> {
        let ran = Ran::of(&mut self.site.rotator(arguments));
        self.is_silent(&[&ran.out, &ran.err])?;
        if ran.code == 0 {
            return Ok(());
        }
        Err(format!("{arguments:?} ends with {} after it: {}{}", ran.code, ran.out, ran.err))
    }

    fn orphans_go(&self) -> Result<(), Broken> {
        self.run(&["rotate"])?;
        let published = self.published()?;
        let mut may_be: BTreeSet<String> = BTreeSet::from([published]);
        may_be.extend(self.old.clone().filter(|_| !self.rotation.revokes));
        let listed = self.listed();
        match listed.difference(&may_be).count() {
            0 => Ok(()),
            more => Err(format!("{more} tokens stay that nobody published: {listed:?}, not {may_be:?}")),
        }
    }
}

impl Setting for Published {
    fn reset(&self) -> Result<(), Broken> {
        let stack = &self.site.stack;
        stack.conjur.service().restore(&self.conjur);
        let (bucket, key) = (&stack.options().bucket, stack.object_key(LAYER));
        match &self.object {
            Some(object) => drop(stack.s3.service().put_raw(bucket, &key, object.clone())),
            None => stack.s3.service().delete_raw(bucket, &key),
        }
        stack.clear_logs();
        Ok(())
    }

    fn command(&self) -> Command {
        self.site.rotator(self.rotation.command)
    }

    fn namer(&self) -> Namer {
        let stack = &self.site.stack;
        let servers = [(stack.conjur.port(), "conjur"), (stack.s3.port(), "s3"), (stack.kms.port(), "kms")];
        Namer::new(self.folder.path(), self.folder.path(), BTreeMap::from(servers))
    }

    fn secrets(&self) -> Vec<String> {
        let stack = &self.site.stack;
        let tokens = stack.conjur.service().tokens(&stack.factory(LAYER));
        let own = [stack.rotator_login().1, stack.conjur.service().admin_key()];
        tokens.into_iter().map(|row| row.token).chain(own).chain(stack.credentials.secrets()).collect()
    }

    fn may_end_with(&self, call: &Call) -> &'static [i32] {
        match call.does {
            // Its configuration, and what that names.
            Does::Change | Does::Look if call.subject.starts_with("$root/") => &[0, 78],
            Does::Change | Does::Connect | Does::Look | Does::Receive | Does::Send => &[0, 75],
            // 73: done and not told, since what was asked for can be a report.
            Does::Say => &[0, 73],
            Does::Stand => &[0, 70, 75],
        }
    }

    /// What was published is there still, or another one that is as good.
    fn is_whole_now(&self) -> Result<(), Broken> {
        if self.object.is_none() && self.site.stack.published(LAYER).is_none() {
            return Ok(());
        }
        let published = self.published()?;
        let more = self.unknown(&published);
        if more > 1 { Err(format!("{more} tokens are listed that nobody published")) } else { Ok(()) }
    }

    fn ends_well(&self) -> Result<(), Broken> {
        self.run(self.rotation.again)?;
        let published = self.published()?;
        // At most one that a run left which was interrupted.
        let more = self.unknown(&published);
        if more > 1 {
            return Err(format!("{more} tokens stay that nobody published"));
        }
        self.grow_old();
        self.orphans_go()
    }
}

//! `imprint status`: what is known without asking anybody. Never a secret, never a request.

use crate::bake;
use crate::config::Config;
use crate::facts;
use crate::files;
use crate::state::{self, Failure, Found, MadeFor, Phase, Verified};
use crate::step::{Known, OnDisk, Refusal, Rules, Step, Why, Wishes, next_step};
use crate::store;
use imprint_core::second::Second;
use serde::Serialize;
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// The state of this machine's enrollment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    schema: u32,
    /// Whether `enroll` would find nothing to do.
    enrolled: bool,
    /// What `enroll` would do.
    next: String,
    host_id: Option<String>,
    instance_id: Option<String>,
    /// The instance that the state was written on.
    made_on: Option<String>,
    since: Option<String>,
    /// The run that made the identity or tried to, as servers saw it.
    attempt_id: Option<String>,
    /// When Conjur was first seen not to take the key any more; null while it does.
    key_died_at: Option<String>,
    /// When a key that had died was last replaced.
    re_enrolled_at: Option<String>,
    /// Whether the identity came by a promotion.
    promoted: bool,
    /// The privileged factory of the configuration.
    promotion: Option<String>,
    /// Fingerprint of the token that was redeemed.
    token: Option<String>,
    appliance_url: String,
    identity: Identity,
    state: String,
    last_verify: Option<Verified>,
    last_failure: Option<Failure>,
}

#[derive(Clone, Debug, Serialize)]
struct Identity {
    path: String,
    condition: String,
    host_id: Option<String>,
}

impl Status {
    /// Looks at the machine.
    ///
    /// # Errors
    /// When the state or the identity cannot be read at all.
    pub fn of(config: &Config, wanted: &MadeFor, now: Second) -> Result<Self, store::Error> {
        let state = state::read(&config.files.state_dir)?;
        let identity = files::on_disk(config)?;
        let here = facts::here(config);
        let baked_on = bake::noted(&config.files.state_dir);
        let known = Known {
            here: here.as_ref(),
            wanted,
            template: &config.host_id,
            promotion: config.promotion.as_ref().map(|to| &to.host_id),
            state: &state,
            identity: &identity,
            baked_on: baked_on.as_ref(),
            rules: Rules::new(config, Wishes::default()),
            now,
        };
        let next = next_step(&known);
        let good = match &state {
            Found::Good(state) => Some(state),
            Found::Missing | Found::Unreadable(_) => None,
        };
        let (condition, host_id) = match &identity {
            OnDisk::Good { host_id, .. } => ("good".to_owned(), Some(host_id.clone())),
            OnDisk::Missing => ("missing".to_owned(), None),
            OnDisk::Unusable(error) => (format!("unusable: {error}"), None),
        };
        Ok(Self {
            schema: SCHEMA,
            enrolled: next == Step::Nothing,
            next: words(&next),
            host_id: good.map(|s| s.host_id.clone()),
            instance_id: here.map(|id| id.to_string()),
            made_on: good.map(|s| s.instance_id.clone()),
            since: good.filter(|s| s.phase == Phase::Enrolled).map(|s| s.since.to_string()),
            attempt_id: good.and_then(|s| s.attempt_id.clone()),
            key_died_at: good.and_then(|s| s.key_died_at).map(|at| at.to_string()),
            re_enrolled_at: good.and_then(|s| s.re_enrolled_at).map(|at| at.to_string()),
            promoted: good.is_some_and(|s| s.promoted),
            promotion: config.promotion.as_ref().map(|to| to.host_factory.to_string()),
            token: good.and_then(|s| s.token.clone()),
            appliance_url: config.appliance_url.to_string(),
            identity: Identity { path: config.files.identity.path.display().to_string(), condition, host_id },
            state: match &state {
                Found::Good(_) => "good".to_owned(),
                Found::Missing => "missing".to_owned(),
                Found::Unreadable(why) => format!("unreadable: {why}"),
            },
            last_verify: good.and_then(|s| s.last_verify.clone()),
            last_failure: good.and_then(|s| s.last_failure.clone()),
        })
    }

    /// As JSON, on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Texts, flags and numbers always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        writeln!(f, "enrolled      {}", if self.enrolled { "yes" } else { "no" })?;
        writeln!(f, "next enroll   {}", self.next)?;
        writeln!(f, "host          {}", or(&self.host_id))?;
        writeln!(f, "Conjur        {}", self.appliance_url)?;
        writeln!(f, "instance      {}", or(&self.instance_id.clone().or_else(|| self.made_on.clone())))?;
        writeln!(f, "since         {}", or(&self.since))?;
        writeln!(f, "token         {}", or(&self.token))?;
        writeln!(f, "attempt       {}", or(&self.attempt_id))?;
        writeln!(f, "identity      {} ({})", self.identity.path, self.identity.condition)?;
        match (self.promoted, &self.promotion) {
            (true, _) => writeln!(f, "promotion     done")?,
            (false, Some(factory)) => writeln!(f, "promotion     awaited, to a host of {factory}")?,
            (false, None) => {}
        }
        if let Some(at) = &self.key_died_at {
            writeln!(f, "key           dead since {at} at the latest")?;
        }
        if let Some(at) = &self.re_enrolled_at {
            writeln!(f, "re-enrolled   {at}")?;
        }
        let verify = self.last_verify.as_ref().map(|v| format!("{} ({})", v.at, v.outcome));
        write!(f, "last verify   {}", or(&verify))?;
        if let Some(failure) = &self.last_failure {
            write!(f, "\nlast failure  {} ({}) {}", failure.at, failure.class, failure.what)?;
            if let Some(hint) = &failure.hint {
                write!(f, "\n              hint: {hint}")?;
            }
            if let Some(attempt) = &failure.attempt_id {
                write!(f, "\n              attempt: {attempt}")?;
            }
        }
        Ok(())
    }
}

/// What `enroll` would do, in words.
pub(crate) fn words(step: &Step) -> String {
    match step {
        Step::Nothing => "would do nothing".to_owned(),
        Step::Enroll(
            why @ (Why::Asked
            | Why::ConfigChanged
            | Why::FirstBoot
            | Why::IdentityLost
            | Why::Interrupted
            | Why::KeyDied
            | Why::PromotedKeyDied
            | Why::RotationInterrupted
            | Why::StateLost),
        ) => format!("would enroll: {}", why.as_str()),
        Step::ShowPromoted => "would show the promoted identity to Conjur".to_owned(),
        Step::EnrollAsOneself { parent } => format!("would enroll: this image was made from {parent}"),
        Step::Refuse(
            refusal @ (Refusal::Bake { .. }
            | Refusal::Foreign { .. }
            | Refusal::KeyDead { .. }
            | Refusal::ParentsHost { .. }
            | Refusal::Shared(_)
            | Refusal::TwoParties { .. }
            | Refusal::Unclear { .. }),
        ) => format!("would refuse: {refusal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::Effects as _;
    use crate::enroll::made_for;
    use crate::enroll::tests::scene::{Scene, status};

    fn of(scene: &Scene) -> (serde_json::Value, String) {
        let status = Status::of(&scene.config, &made_for(&scene.config), scene.now()).unwrap();
        let (json, text) = (status.to_json(), status.to_string());
        if let Ok(identity) = std::fs::read_to_string(&scene.config.files.identity.path)
            && let Some(key) = identity.lines().nth(2).and_then(|line| line.trim().strip_prefix("password "))
        {
            assert!(!json.contains(key) && !text.contains(key), "{text}");
        }
        (serde_json::from_str(&json).unwrap(), text)
    }

    #[test]
    fn what_is_told() {
        let scene = Scene::new();
        let (json, text) = of(&scene);
        assert_eq!(
            (&json["schema"], &json["enrolled"], &json["state"]),
            (&1.into(), &false.into(), &"missing".into())
        );
        assert_eq!(json["instance_id"], "i-0123456789abcdef0");
        assert!(text.contains("next enroll   would enroll: first boot"), "{text}");

        scene.fail("redeem", status(403));
        scene.run().unwrap_err();
        let (json, text) = of(&scene);
        assert_eq!(json["last_failure"]["class"], "refused");
        assert!(text.contains("is owned by something other") && text.contains("hint: "), "{text}");
        assert_eq!(json["since"], serde_json::Value::Null);

        scene.run().unwrap();
        let (json, text) = of(&scene);
        assert_eq!((&json["enrolled"], &json["last_failure"]), (&true.into(), &serde_json::Value::Null));
        assert_eq!(json["host_id"], json["identity"]["host_id"]);
        assert_eq!(
            (&json["last_verify"]["outcome"], &json["since"]),
            (&"ok".into(), &"2026-11-22T08:00:00Z".into())
        );
        assert!(text.starts_with("enrolled      yes\nnext enroll   would do nothing\n"), "{text}");

        scene.firmware("i-0fedcba9876543210");
        let (json, _) = of(&scene);
        assert_eq!((&json["enrolled"], &json["made_on"]), (&false.into(), &"i-0123456789abcdef0".into()));
        assert_eq!(json["next"], "would enroll: this image was made from i-0123456789abcdef0");

        std::fs::write(&scene.config.files.identity.path, "").unwrap();
        std::fs::write(scene.config.files.state_dir.join("state.json"), "x").unwrap();
        let (json, _) = of(&scene);
        assert_eq!(json["identity"]["condition"], "unusable: it is empty");
        assert!(json["state"].as_str().unwrap().starts_with("unreadable: "));
    }

    #[test]
    fn a_failure_is_over_when_the_next_run_finds_nothing_to_do() {
        let scene = Scene::new();
        scene.run().unwrap();
        let path = &scene.config.files.identity.path;
        let identity = std::fs::read(path).unwrap();
        std::fs::remove_file(path).unwrap();
        std::os::unix::fs::symlink("elsewhere", path).unwrap();
        scene.run().unwrap_err();
        std::fs::remove_file(path).unwrap();
        std::fs::write(path, identity).unwrap();
        assert_eq!(of(&scene).0["last_failure"]["class"], "storage");
        assert!(matches!(scene.run(), Ok(crate::enroll::Outcome::NothingToDo(_))));
        assert_eq!(of(&scene).0["last_failure"], serde_json::Value::Null);
    }
}

//! What an event asks for: the function's side of the command line.
//!
//! A scheduled event asks for what is due. A direct invoke names a command, and gives its flags as members:
//! `{"command": "rotate", "factories": ["app/web"], "now": true}`. Whoever may invoke the function may send any
//! of them, so a member that is not known is refused rather than passed over.

use super::ec2::{self, Changes};
use crate::rotate::Ask;
use imprint_core::error::{Class, Classified};
use imprint_core::name::{FactoryId, InstanceId};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;
use std::str::FromStr;

/// What to send instead of what is not understood.
const HINT: &str = "send a scheduled event, or {\"command\": \"rotate\", \"factories\": [\"id\", ...], \"now\": true, \"revoke_superseded\": true}, or \"plan\", \"status\" (with \"hosts\": true of the fleet), \"decommission\", \"mint\", \"promote\" or \"pin\" as the command; see docs/json.md";

/// Why an event asks for nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A mint for nobody.
    #[error("the event is not understood: mint needs instances")]
    ForNobody,
    /// Nobody is removed by pinning.
    #[error("the event is not understood: even_all is for decommission")]
    EvenAll,
    /// Revoking without minting would leave nothing to redeem.
    #[error("the event is not understood: revoke_superseded needs now")]
    NeedsNow,
    /// Another form, another command, another member, or a factory's id that is none.
    #[error("the event is not understood: {0}")]
    NotUnderstood(String),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::EvenAll | Self::ForNobody | Self::NeedsNow | Self::NotUnderstood(_) => Class::Usage,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::EvenAll | Self::ForNobody | Self::NeedsNow | Self::NotUnderstood(_) => Some(HINT),
        }
    }
}

/// A command, as its flags ask for it.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub enum Command {
    /// What follows from instances that began, and from others that ended.
    #[serde(skip)]
    Changed(Changes),
    /// Removes hosts whose instances are gone.
    Decommission(Fleet),
    /// Mints for single instances, as the rules allow: an event is no operator.
    Mint(Mint),
    /// Nothing: an event told of what needs no deed.
    #[serde(skip)]
    Nothing,
    /// Ties hosts to the addresses of their instances.
    Pin(Fleet),
    /// What `rotate` would do now.
    Plan(Plan),
    /// Does what is due for promotions, as the rules say.
    Promote(Promote),
    /// Replaces what is due, or what is asked for.
    Rotate(Rotate),
    /// What is published, or what hosts there are.
    Status(Status),
}

/// The flags of `decommission`, and of `pin`, which knows no `even_all`.
#[derive(Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// Only these; all when empty.
    #[serde(default, deserialize_with = "ids")]
    pub factories: Vec<FactoryId>,
    /// Only the hosts of these; all when empty.
    #[serde(default, deserialize_with = "ids")]
    pub instances: Vec<InstanceId>,
    /// Look and decide, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Believe EC2 also when it knows not one of many instances.
    #[serde(default)]
    pub even_all: bool,
}

/// The flags of `mint`.
#[derive(Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Mint {
    /// Tokens of these; of all that the rules allow when empty.
    #[serde(default, deserialize_with = "ids")]
    pub factories: Vec<FactoryId>,
    /// For these.
    #[serde(default, deserialize_with = "ids")]
    pub instances: Vec<InstanceId>,
}

/// The flags of `promote`.
#[derive(Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Promote {
    /// These; all that the rules promote when empty.
    #[serde(default, deserialize_with = "ids")]
    pub instances: Vec<InstanceId>,
    /// To hosts of this factory; of all that the rules promote to when left out.
    #[serde(default, deserialize_with = "maybe")]
    pub to: Option<FactoryId>,
    /// Look and decide, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The flags of `plan`.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Only these; all when empty.
    #[serde(default, deserialize_with = "ids")]
    pub factories: Vec<FactoryId>,
    /// As `rotate` would with `now`.
    #[serde(default)]
    pub now: bool,
}

/// The flags of `rotate`.
#[derive(Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Rotate {
    #[serde(default, deserialize_with = "ids")]
    factories: Vec<FactoryId>,
    #[serde(default)]
    now: bool,
    #[serde(default)]
    revoke_superseded: bool,
}

/// The flags of `status`.
#[derive(Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// Only these; all when empty.
    #[serde(default, deserialize_with = "ids")]
    pub factories: Vec<FactoryId>,
    /// The hosts and their instances, not the tokens.
    #[serde(default)]
    pub hosts: bool,
}

impl Rotate {
    /// The same for a run.
    #[must_use]
    pub fn ask(self) -> Ask {
        let Self { factories, now, revoke_superseded } = self;
        Ask { now, revoke_superseded, factories }
    }
}

impl Command {
    /// The command of an event.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn of(mut event: Value) -> Result<Self, Error> {
        if let Some(changes) = ec2::changes(&event) {
            return Ok(match (changes.began.is_empty(), changes.ended.is_empty()) {
                _ if !changes.strange.is_empty() => Self::Changed(changes),
                (true, true) => Self::Nothing,
                (true, false) => Self::Decommission(Fleet { instances: changes.ended, ..Fleet::default() }),
                (false, _) => Self::Changed(changes),
            });
        }
        // EventBridge's events carry their source, whatever else is in them.
        if event.get("source").is_some_and(Value::is_string) && event.get("detail-type").is_some() {
            return Ok(Self::Rotate(Rotate::default()));
        }
        if let Some(members) = event.as_object_mut() {
            members.entry("command").or_insert_with(|| "rotate".into());
        }
        match Self::deserialize(event)
            .map_err(|why| Error::NotUnderstood(without_secrets(&why.to_string())))?
        {
            Self::Rotate(Rotate { revoke_superseded: true, now: false, .. }) => Err(Error::NeedsNow),
            Self::Pin(Fleet { even_all: true, .. }) => Err(Error::EvenAll),
            Self::Mint(Mint { instances, .. }) if instances.is_empty() => Err(Error::ForNobody),
            command => Ok(command),
        }
    }

    /// Its name, as on the command line.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Changed(_) | Self::Mint(_) => "mint",
            Self::Decommission(_) => "decommission",
            Self::Nothing => "nothing",
            Self::Pin(_) => "pin",
            Self::Plan(_) => "plan",
            Self::Promote(_) => "promote",
            Self::Rotate(_) => "rotate",
            Self::Status(_) => "status",
        }
    }
}

/// A message of serde's, which repeats what it did not expect: a word as long as a token's is left out, since
/// it may be one that somebody pasted.
fn without_secrets(message: &str) -> String {
    const LONGEST: usize = 32;
    let mut told = String::new();
    for piece in message.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = piece.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if word.len() > LONGEST {
            told.push_str("(a long word)");
            told.push_str(piece.get(word.len()..).unwrap_or_default());
        } else {
            told.push_str(piece);
        }
    }
    told
}

fn maybe<'de, D: Deserializer<'de>>(from: D) -> Result<Option<FactoryId>, D::Error> {
    let text = Option::<String>::deserialize(from)?;
    text.map(|text| text.parse().map_err(D::Error::custom)).transpose()
}

fn ids<'de, D: Deserializer<'de>, Id: FromStr<Err: fmt::Display>>(from: D) -> Result<Vec<Id>, D::Error> {
    let texts = Vec::<String>::deserialize(from)?;
    texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use imprint_core::error::chain;
    use serde_json::json;

    fn rotate(now: bool, factories: &[&str]) -> Command {
        let factories = factories.iter().map(|id| id.parse().unwrap()).collect();
        Command::Rotate(Rotate { factories, now, revoke_superseded: false })
    }

    #[test]
    fn what_events_ask_for() {
        let check = |event: Value, wanted: Command| match Command::of(event.clone()) {
            Ok(command) => assert_eq!(command, wanted, "{event}"),
            Err(error) => panic!("{event}: {error:?}"),
        };
        let due = || rotate(false, &[]);
        check(json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}), due());
        check(
            json!({"source": "aws.scheduler", "detail-type": "Scheduled Event", "id": "1", "detail": "{}"}),
            due(),
        );
        check(json!({}), due());
        check(json!({"command": "rotate"}), due());
        check(json!({"now": true}), rotate(true, &[]));
        check(json!({"factories": ["app/web", "db"], "now": false}), rotate(false, &["app/web", "db"]));
        check(json!({"command": "rotate", "factories": ["db"], "now": true}), rotate(true, &["db"]));
        let web = || vec!["app/web".parse().unwrap()];
        check(json!({"command": "status"}), Command::Status(Status { factories: vec![], hosts: false }));
        check(
            json!({"command": "status", "factories": ["app/web"]}),
            Command::Status(Status { factories: web(), hosts: false }),
        );
        check(
            json!({"command": "status", "hosts": true}),
            Command::Status(Status { factories: vec![], hosts: true }),
        );
        check(
            json!({"command": "plan", "factories": ["app/web"], "now": true}),
            Command::Plan(Plan { factories: web(), now: true }),
        );
        let instances = || vec!["i-1".parse().unwrap()];
        let gone = Fleet { instances: instances(), ..Fleet::default() };
        let change = |state: &str| {
            let detail = json!({"instance-id": "i-1", "state": state});
            json!({"source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification", "detail": detail})
        };
        check(change("terminated"), Command::Decommission(gone));
        for state in ["pending", "running"] {
            let began = Changes { began: instances(), ..Changes::default() };
            check(change(state), Command::Changed(began));
        }
        check(change("stopped"), Command::Nothing);
        check(
            json!({"Records": [{"eventSource": "aws:sqs", "messageId": "1", "body": "{}"}]}),
            Command::Changed(Changes {
                records: Some(vec![]),
                strange: vec!["1".to_owned()],
                ..Changes::default()
            }),
        );
        check(
            json!({"command": "mint", "instances": ["i-1"], "factories": ["app/web"]}),
            Command::Mint(Mint { factories: web(), instances: instances() }),
        );
        check(json!({"command": "decommission"}), Command::Decommission(Fleet::default()));
        check(
            json!({"command": "decommission", "factories": ["app/web"], "dry_run": true, "even_all": true}),
            Command::Decommission(Fleet {
                factories: web(),
                dry_run: true,
                even_all: true,
                instances: vec![],
            }),
        );
        check(
            json!({"command": "pin", "instances": ["i-1"]}),
            Command::Pin(Fleet { instances: instances(), ..Fleet::default() }),
        );
        let whole = Promote { instances: instances(), to: web().pop(), dry_run: true };
        let event = json!({"command": "promote", "instances": ["i-1"], "to": "app/web", "dry_run": true});
        check(event, Command::Promote(whole));
        check(json!({"command": "promote"}), Command::Promote(Promote::default()));
        let incident = Command::of(json!({"now": true, "revoke_superseded": true})).unwrap();
        let Command::Rotate(incident) = incident else { panic!("{incident:?}") };
        let asked = Ask { now: true, revoke_superseded: true, factories: vec![] };
        assert_eq!(incident.ask(), asked);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let check = |event: Value, say: &str| {
            let error = Command::of(event.clone()).expect_err(&event.to_string());
            assert_eq!(error.class(), Class::Usage, "{event}");
            let told = chain(&error);
            assert!(told.starts_with("the event is not understood: ") && told.contains(say), "{told}");
            assert!(error.hint().is_some_and(|hint| hint.contains("\"command\"")));
        };
        check(
            json!({"command": "enroll"}),
            "unknown variant `enroll`, expected one of `decommission`, `mint`, `pin`, `plan`, `promote`, `rotate`, `status`",
        );
        check(json!({"command": "Rotate"}), "unknown variant");
        check(json!({"command": "nothing"}), "unknown variant");
        check(json!({"command": "changed"}), "unknown variant");
        check(json!({"command": "mint"}), "mint needs instances");
        check(
            json!({"command": "mint", "instances": ["i-1"], "without_rule": true}),
            "unknown field `without_rule`",
        );
        check(json!({"command": "pin", "even_all": true}), "even_all is for decommission");
        check(json!({"command": "pin", "instances": ["i/1"]}), "instance-id \"i/1\" is not one");
        check(json!({"command": "decommission", "now": true}), "unknown field `now`");
        check(json!({"command": 1}), "invalid type");
        check(json!({"command": null}), "invalid type");
        check(json!({"factories": ["app/*"]}), "host factory \"app/*\" may have only");
        check(json!({"revoke_superseded": true}), "revoke_superseded needs now");
        check(json!({"factory": "app/web"}), "unknown field `factory`");
        check(json!({"command": "status", "now": true}), "unknown field `now`");
        check(json!({"factories": "app/web"}), "invalid type");
        check(json!({"now": "yes"}), "invalid type");
        check(json!({"Records": []}), "unknown field `Records`");
        let token = "3t9ebd413qx44v19shb2q34jg1213c7x7c23vyn06dvdwhh21xcd0qg";
        for event in
            [json!({"command": token}), json!({"now": token}), json!({"factories": [format!("{token}*")]})]
        {
            let told = chain(&Command::of(event).unwrap_err());
            assert!(told.contains("(a long word)") && !told.contains(&token[..33]), "{told}");
        }
        check(json!([1]), "");
        check(json!(null), "");
        check(json!("rotate"), "");
    }
}

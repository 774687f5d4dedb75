//! Who says for which instance a token may be minted: the rules, or an operator who knows better.

use crate::config::Factory;
use crate::fleet::host::Place;
use crate::fleet::rules::{Rule, Rules, Verdict};
use imprint_core::aws::ec2::Instance;
use imprint_core::name::FactoryId;
use imprint_core::second::Second;

/// Judges an instance by facts that EC2 tells.
#[derive(Clone, Copy, Debug)]
pub enum Judge<'a> {
    /// The rules of the configuration.
    Rules(&'a Rules),
    /// An operator has said that no rule is needed.
    WithoutRule,
}

/// What a token is minted for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// The first identity of an instance.
    Birth,
    /// Its identity of another factory.
    Promotion,
}

/// What is reported in the place of a rule's name.
const NONE: &str = "none, as was asked for";

impl Judge<'_> {
    /// The name of the rule by which this instance may have a token of this factory for this purpose.
    ///
    /// # Errors
    /// With why there is none.
    pub fn rule(
        &self,
        purpose: Purpose,
        factory: &Factory,
        instance: &Instance,
        place: &Place,
        now: Second,
    ) -> Result<String, String> {
        let Self::Rules(rules) = self else { return Ok(NONE.to_owned()) };
        let verdict = rules.judge(&factory.id, instance, place, now);
        matching(&verdict, purpose).map(|rule| rule.name.clone()).ok_or_else(|| why_none(&verdict, purpose))
    }

    /// The factories from whose hosts the rules promote to this one; none without rules.
    pub fn promoted_from<'b>(&'b self, factory: &'b FactoryId) -> impl Iterator<Item = &'b FactoryId> {
        let rules = match self {
            Self::Rules(rules) => Some(rules),
            Self::WithoutRule => None,
        };
        rules.into_iter().flat_map(|rules| rules.of(factory)).filter_map(|rule| rule.promote_from.as_ref())
    }
}

fn matching<'a>(verdict: &Verdict<'a>, purpose: Purpose) -> Option<&'a Rule> {
    let is_for = |rule: &&Rule| rule.promote_from.is_some() == (purpose == Purpose::Promotion);
    let may = verdict.never.is_none();
    let mut matches = verdict.rules.iter().filter(|judged| may && judged.matches()).map(|judged| judged.rule);
    matches.find(is_for)
}

fn why_none(verdict: &Verdict<'_>, purpose: Purpose) -> String {
    let other = match purpose {
        Purpose::Birth => Purpose::Promotion,
        Purpose::Promotion => Purpose::Birth,
    };
    match (&verdict.never, matching(verdict, other)) {
        (Some(never), _) => never.to_string(),
        (None, Some(rule)) if purpose == Purpose::Birth => {
            format!("rule {} promotes to it, and imprint-rotator promote goes by that", rule.name)
        }
        (None, Some(rule)) => format!("rule {} has no promote_from", rule.name),
        (None, None) if verdict.rules.is_empty() => "no rule is for this factory".to_owned(),
        (None, None) => "no rule matches it".to_owned(),
    }
}

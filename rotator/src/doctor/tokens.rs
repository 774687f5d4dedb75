//! What is published, and what Conjur has of ours beside it: the facts of `status`.

use super::{asked, some};
use crate::config::{Config, Factory};
use crate::effects::Effects;
use crate::plan::{Standing, Step, Why};
use crate::rotate::worst;
use crate::survey::{Survey, Surveyed};
use imprint_core::checks::Check;
use imprint_core::error::{Class, Classified, chain};
use imprint_core::sealed::{SealedToken, layer_key};
use imprint_core::token::AccessToken;

/// The names of these checks.
pub(super) const NAMES: [&str; 4] = ["published", "kms-published", "orphans", "expired"];

pub(super) async fn checks(
    config: &Config,
    factories: &[&Factory],
    session: Option<&AccessToken>,
    on: &impl Effects,
    checks: &mut Vec<Check>,
) {
    let Some(session) = session else {
        checks.extend(NAMES.map(|name| Check::skipped(name, "nobody is logged in at Conjur")));
        return;
    };
    let survey = match Survey::ask(config, on, session, factories.to_vec(), false).await {
        Ok(survey) => survey,
        Err(error) => {
            checks.push(Check::of("published", &error));
            let because = "Conjur gives no list of the factories";
            checks.extend(NAMES.iter().skip(1).map(|name| Check::skipped(name, because)));
            return;
        }
    };
    checks.push(published(&survey));
    checks.push(opens(config, &survey, on).await);
    let of = |standing| {
        let tokens = survey.factories.iter().filter_map(|seen| seen.tokens.as_ref().ok()).flatten();
        tokens.filter(|token| token.standing == Some(standing)).count()
    };
    checks.push(match of(Standing::Orphan) {
        0 => Check::ok("orphans", "no token of ours lives that nobody can hold"),
        count => Check::warning(
            "orphans",
            format!("{count} tokens were minted and never published"),
            "imprint-rotator rotate revokes them, as token revoke --orphans does",
        ),
    });
    checks.push(match of(Standing::Expired) {
        // A run deletes one of each factory.
        count if count <= 10 * factories.len() => {
            Check::ok("expired", format!("{count} expired tokens of ours wait to be deleted"))
        }
        count => Check::warning(
            "expired",
            format!("{count} expired tokens of ours are at Conjur"),
            "imprint-rotator token revoke --expired deletes them at once",
        ),
    });
}

fn published(survey: &Survey<'_>) -> Check {
    const NAME: &str = "published";
    let errors: Vec<_> =
        survey.factories.iter().flat_map(|seen| seen.errors().map(move |error| (seen, error))).collect();
    if let Some((seen, error)) = errors.first() {
        let class = worst(errors.iter().map(|(_, error)| error.class())).unwrap_or(error.class());
        let more = if errors.len() == 1 { String::new() } else { format!(", and {} more", errors.len() - 1) };
        let detail = format!("{}: {}{more}", seen.factory.id, chain(*error));
        return Check::failure(NAME, class, detail, error.hint().unwrap_or("see imprint-rotator status"));
    }
    let why = |seen: &&Surveyed<'_>| match seen.plan.as_ref().map(|plan| plan.step) {
        Some(Step::Mint(why)) => Some(why),
        Some(Step::Keep { .. } | Step::Unshared) | None => None,
    };
    let with = |those: &[Why]| {
        let there = survey.factories.iter().filter(|seen| why(seen).is_some_and(|why| those.contains(&why)));
        there.map(|seen| seen.factory).collect::<Vec<_>>()
    };
    let named = |those: &[&Factory]| some(&those.iter().map(|f| f.id.as_str()).collect::<Vec<_>>());
    let (bad, none) =
        (with(&[Why::Tampered, Why::Unreadable]), with(&[Why::Expired, Why::Nothing, Why::Unlisted]));
    let due = with(&[Why::Changed, Why::Due]);
    let (none, none_given): (Vec<&Factory>, Vec<&Factory>) = none.into_iter().partition(|f| f.mint);
    // No run replaces it, so a run fails from then on.
    let given = [none_given, due.iter().copied().filter(|f| !f.mint).collect()].concat();
    if !bad.is_empty() {
        return Check::failure(
            NAME,
            Class::Tampered,
            format!("the rotator never wrote what is published for {}", named(&bad)),
            "see who may put into the bucket; rotate or publish replaces it",
        );
    }
    if !none.is_empty() {
        return Check::failure(
            NAME,
            Class::Absent,
            format!("agents find nothing to redeem for {}", named(&none)),
            "run imprint-rotator rotate",
        );
    }
    if !given.is_empty() {
        return Check::failure(
            NAME,
            Class::Absent,
            format!("a token that is minted elsewhere is needed for {}", named(&given)),
            "mint one elsewhere, and give it to imprint-rotator publish",
        );
    }
    let shared = survey.factories.iter().filter(|seen| seen.factory.shared).count();
    Check::ok(NAME, format!("{shared} factories have a good token; {} of them are due", due.len()))
}

/// Whether the key still opens what is published for the first factory that has something.
async fn opens(config: &Config, survey: &Survey<'_>, on: &impl Effects) -> Check {
    const NAME: &str = "kms-published";
    let Some(seen) = survey.factories.iter().find(|seen| seen.binding().is_some()) else {
        return Check::skipped(NAME, "nothing is published");
    };
    let id = &seen.factory.id;
    let object = match asked(on.fetch(&layer_key(&config.account, id))).await {
        Ok(object) => object,
        Err(trouble) => return Check::of(NAME, &trouble),
    };
    let Ok(sealed) = SealedToken::parse(&object.bytes) else {
        return Check::skipped(NAME, "it was changed in this moment");
    };
    match asked(on.decrypt(sealed.ciphertext(), &sealed.binding().context())).await {
        Ok(_secret) => Check::ok(NAME, format!("the published token of {id} opens")),
        Err(trouble) => Check::of(NAME, &trouble),
    }
}

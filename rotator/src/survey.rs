//! A look at every factory: what S3 holds, what Conjur lists, and what a run would do about it. Reads only.
//!
//! `status`, `plan` and `token` tell of it or begin with it. The facts and the decision are those of a run;
//! what a run would learn at its put alone, this takes for unknown.

use crate::config::{Config, Factory};
use crate::effects::{self, Effects};
use crate::plan::{Facts, Listed, Plan, Published, Standing, plan, standings, wanted};
use crate::progress;
use crate::rotate::Error;
use futures_util::{StreamExt as _, stream};
use imprint_core::conjur::Minted;
use imprint_core::sealed::{self, Binding, SealedToken, layer_key};
use imprint_core::second::Second;
use imprint_core::token::AccessToken;
use std::cell::Cell;
use std::collections::BTreeMap;

/// Several factories at one time.
pub struct Survey<'a> {
    /// When.
    pub now: Second,
    /// One a factory, in the order asked for.
    pub factories: Vec<Surveyed<'a>>,
}

/// One factory.
pub struct Surveyed<'a> {
    /// The factory.
    pub factory: &'a Factory,
    /// What is published: nothing, a binding, something else; or why that is not known.
    pub published: Result<Option<Result<Binding, sealed::Error>>, Error>,
    /// Its tokens, in Conjur's order; an error when Conjur does not list the factory.
    pub tokens: Result<Vec<Known>, Error>,
    /// What a run would do; `None` when it could do nothing, or not all is known.
    pub plan: Option<Plan>,
}

/// A token at Conjur, with its secret.
pub struct Known {
    /// The token.
    pub minted: Minted,
    /// The same for decisions.
    pub listed: Listed,
    /// What it is; `None` while it is not known what is published.
    pub standing: Option<Standing>,
}

impl<'a> Survey<'a> {
    /// Asks Conjur for its list, and S3 once a factory; `asked`: as if a new token were asked for in any case.
    ///
    /// # Errors
    /// When Conjur gives no list.
    pub async fn ask(
        config: &Config,
        on: &impl Effects,
        with: &AccessToken,
        factories: Vec<&'a Factory>,
        asked: bool,
    ) -> Result<Self, effects::Error> {
        let listed = on.list_factories(with).await?;
        let mut listed: BTreeMap<_, _> =
            listed.into_iter().map(|factory| (factory.id, factory.tokens)).collect();
        // Before the gets: what is not there, and was minted long before this, never will be.
        let now = on.now();
        let (count, done) = (factories.len(), Cell::new(0_usize));
        let parts: Vec<_> =
            factories.into_iter().map(|factory| (factory, listed.remove(&factory.id))).collect();
        let factories = stream::iter(parts)
            .map(async |(factory, tokens)| {
                let tokens = match tokens {
                    Some(tokens) => Ok(tokens),
                    None => shown(config, on, with, factory).await,
                };
                let published = published(config, on, factory).await;
                done.set(done.get() + 1);
                log::trace!(target: progress::TARGET, done = done.get(), of = count; "factories");
                surveyed(config, factory, published, tokens, now, asked)
            })
            .buffered(config.concurrency)
            .collect()
            .await;
        Ok(Self { now, factories })
    }
}

impl Surveyed<'_> {
    /// The published binding, when there is one.
    #[must_use]
    pub fn binding(&self) -> Option<&Binding> {
        self.published.as_ref().ok()?.as_ref()?.as_ref().ok()
    }

    /// What could not be learned, the worse first.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        self.tokens.as_ref().err().into_iter().chain(self.published.as_ref().err())
    }
}

/// The tokens of a factory that no page showed: it may have moved from one to another while they were read.
async fn shown(
    config: &Config,
    on: &impl Effects,
    with: &AccessToken,
    factory: &Factory,
) -> Result<Vec<Minted>, Error> {
    let unseen = || Error::Unseen { factory: factory.id.clone(), login: config.login.clone() };
    on.show_factory(with, &factory.id).await?.map(|factory| factory.tokens).ok_or_else(unseen)
}

async fn published(
    config: &Config,
    on: &impl Effects,
    factory: &Factory,
) -> Result<Option<Result<Binding, sealed::Error>>, Error> {
    let key = layer_key(&config.account, &factory.id);
    match on.fetch(&key).await {
        Ok(object) => Ok(Some(SealedToken::parse(&object.bytes).map(|sealed| sealed.binding().clone()))),
        Err(error) if error.is_surely_absent() => Ok(None),
        Err(error) if error.is_absent() => Err(Error::Untold { factory: factory.id.clone(), key }),
        Err(error) => Err(error.into()),
    }
}

fn surveyed<'a>(
    config: &Config,
    factory: &'a Factory,
    published: Result<Option<Result<Binding, sealed::Error>>, Error>,
    tokens: Result<Vec<Minted>, Error>,
    now: Second,
    asked: bool,
) -> Surveyed<'a> {
    let tokens = match tokens {
        Ok(tokens) => tokens,
        Err(error) => return Surveyed { factory, published, tokens: Err(error), plan: None },
    };
    let listed: Vec<Listed> = tokens.iter().map(Listed::of).collect();
    let wanted = wanted(config, factory, now);
    let facts = |published| Facts {
        policy: &config.policy,
        deployment: config.deployment,
        published,
        wanted: &wanted,
        listed: &listed,
        given: !factory.mint,
        shared: factory.shared,
        asked,
    };
    let facts = published.as_ref().ok().map(|published| {
        facts(match published {
            None => Published::Nothing,
            Some(Ok(binding)) => Published::Sealed(binding),
            Some(Err(_)) => Published::Unreadable,
        })
    });
    let (plan, standings) = match &facts {
        Some(facts) => {
            (Some(plan(facts, now)), standings(facts, now).into_iter().map(Some).collect::<Vec<_>>())
        }
        None => (None, vec![None; listed.len()]),
    };
    let known = tokens.into_iter().zip(listed).zip(standings);
    let tokens = known.map(|((minted, listed), standing)| Known { minted, listed, standing }).collect();
    Surveyed { factory, published, tokens: Ok(tokens), plan }
}

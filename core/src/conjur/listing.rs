//! Host factories with their tokens: all that the caller sees, page by page, and one alone.
//!
//! Pages are cut by a count of rows, in the order of the ids. A factory that is made or deleted between
//! two pages moves the rows behind it, so one may come twice and another not at all: whoever misses one
//! asks for it alone. A factory whose page cannot be taken is left out too, and shows what is wrong with
//! it when it is asked for alone; the others do not suffer from it.

use super::wire::{Body, encode, session};
use super::{Conjur, Error, Factory};
use crate::name::FactoryId;
use crate::token::AccessToken;
use reqwest::Method;
use std::collections::BTreeMap;

/// Rows of a page. Each shows all its factory's tokens, expired ones too, so the size of a page is
/// anybody's guess; 200 with a few tokens each take some 300 KB.
const PAGE: usize = 200;

/// The most rows that are gone through. What lies behind them is asked for alone.
const MOST_ROWS: usize = 20_000;

/// After so many pages that were too large, the same: eight lead to the one factory that makes them so.
const MOST_TOO_LARGE: u32 = 40;

impl Conjur {
    /// `GET /resources/{account}/host_factory`: the `wanted` ones of all factories that the caller has any
    /// privilege on, with their tokens in clear.
    ///
    /// # Errors
    /// See [`Error`]. A factory that is not in the list may be there all the same: see [`Self::factory`].
    pub async fn list_factories(
        &self,
        with: &AccessToken,
        wanted: impl Fn(&FactoryId) -> bool,
    ) -> Result<Vec<Factory>, Error> {
        let mut found = BTreeMap::new();
        let (mut offset, mut limit) = (0, PAGE);
        let (mut before, mut too_large) = (None, 0);
        while offset < MOST_ROWS && too_large < MOST_TOO_LARGE {
            let path = format!("/resources/{}/host_factory?limit={limit}&offset={offset}", self.account);
            let reply =
                self.send("list_factories", Method::GET, &path, Some(session(with)), Body::None).await;
            let page = match reply {
                Err(Error::TooLarge { .. }) => {
                    too_large += 1;
                    // One that is too large by itself has more tokens than anybody reads.
                    (offset, limit) = if limit > 1 { (offset, limit / 2) } else { (offset + 1, 1) };
                    continue;
                }
                reply => reply?.expect(200)?.factories(&self.account, limit, &wanted)?,
            };
            let is_last = page.rows < limit;
            // A server that does not know of pages shows the first one for ever.
            let is_again = page.first.is_some() && page.first == before;
            // The later page knows better.
            found.extend(page.factories.into_iter().map(|factory| (factory.id.clone(), factory)));
            if is_last || is_again {
                break;
            }
            (offset, limit, before) = (offset + page.rows, PAGE.min(limit * 2), page.first);
        }
        Ok(found.into_values().collect())
    }

    /// `GET /resources/{account}/host_factory/{id}`: one factory with its tokens in clear. `None`: there is
    /// none, or the caller has no privilege on it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn factory(&self, with: &AccessToken, id: &FactoryId) -> Result<Option<Factory>, Error> {
        let path = format!("/resources/{}/host_factory/{}", self.account, encode(id.as_str()));
        let reply = self.send("show_factory", Method::GET, &path, Some(session(with)), Body::None).await?;
        match reply.status() {
            404 => Ok(None),
            _ => reply.expect(200)?.factory(&self.account, id).map(Some),
        }
    }
}

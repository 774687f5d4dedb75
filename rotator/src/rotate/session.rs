//! The login that all factories of a run share.

use crate::effects::{Effects, Error};
use imprint_core::retry::Retry;
use imprint_core::token::AccessToken;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::sync::Mutex;

/// An access token, renewed once when Conjur stops taking it: it lives for about eight minutes, and
/// a run may last longer.
pub(crate) struct Session<'a, E> {
    on: &'a E,
    retry: &'a Retry,
    token: RefCell<Rc<AccessToken>>,
    logins: Cell<u32>,
    /// So that many factories whose calls fail at once make one new login.
    renewing: Mutex<()>,
}

impl<'a, E: Effects> Session<'a, E> {
    pub(crate) async fn open(on: &'a E, retry: &'a Retry) -> Result<Self, Error> {
        let token = RefCell::new(Rc::new(login(on, retry).await?));
        Ok(Self { on, retry, token, logins: Cell::new(1), renewing: Mutex::new(()) })
    }

    /// Makes a call, as often as `again` and `retry` allow; once more after a new login, when the
    /// answer is 401, since then nothing was done.
    pub(crate) async fn with<T>(
        &self,
        retry: &Retry,
        what: &str,
        again: impl Fn(&Error) -> bool,
        mut call: impl AsyncFnMut(&AccessToken) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let seen = self.logins.get();
        match retry.run(what, &again, async || call(&self.token()).await).await {
            Err(error) if error.is_unauthorized() => {
                self.renew(seen, error).await?;
                retry.run(what, &again, async || call(&self.token()).await).await
            }
            ended => ended,
        }
    }

    fn token(&self) -> Rc<AccessToken> {
        Rc::clone(&self.token.borrow())
    }

    async fn renew(&self, seen: u32, refused: Error) -> Result<(), Error> {
        let _alone = self.renewing.lock().await;
        if self.logins.get() != seen {
            return Ok(());
        }
        if seen > 1 {
            // A fresh login is not taken either: a third would not help.
            return Err(refused);
        }
        log::info!("Conjur no longer takes the access token; logging in once more");
        let token = login(self.on, self.retry).await?;
        self.logins.set(seen + 1);
        *self.token.borrow_mut() = Rc::new(token);
        Ok(())
    }
}

/// Logging in changes nothing at Conjur, so it may be repeated.
async fn login(on: &impl Effects, retry: &Retry) -> Result<AccessToken, Error> {
    retry.run("log in to Conjur", super::is_transient, async || on.authenticate().await).await
}

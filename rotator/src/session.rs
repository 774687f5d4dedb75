//! The login that all factories of a run share, and runs of one process with it: those of rotation and those
//! of the fleet's functions.

use crate::effects::Error;
use imprint_core::error::{Class, Classified as _};
use imprint_core::retry::Retry;
use imprint_core::second::Second;
use imprint_core::token::AccessToken;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Mutex;

/// Who can log in at Conjur: a part of each list of permissions.
#[expect(async_fn_in_trait, reason = "flows run on one thread and nothing is spawned, so no Send is needed")]
pub trait LogIn {
    /// Conjur: the login itself. What it asks of AWS, where it is by role or sealed key, is in
    /// [`crate::login::Effects`].
    async fn authenticate(&self) -> Result<AccessToken, Error>;
    /// The wall clock.
    fn now(&self) -> Second;
}

/// Whether a call that may be repeated without harm is worth repeating.
pub(crate) fn is_transient(error: &Error) -> bool {
    error.class() == Class::Transient
}

/// An access token is renewed when less than this is left of it, or a quarter of its life if that is
/// shorter: a call may wait for its turn and take its time.
const MARGIN: Duration = Duration::from_secs(60);

/// An access token that outlives a run, for the next one of the same process and configuration. It is in
/// memory alone, and wiped when another takes its place.
#[derive(Clone, Default)]
pub struct Kept(Rc<RefCell<Option<Login>>>);

#[derive(Clone)]
struct Login {
    token: Rc<AccessToken>,
    /// From when on it is renewed, by the clock of this machine; `None` when it does not tell, and is then
    /// used by one run, until Conjur says 401.
    stale_from: Option<Second>,
    /// Conjur's time and this machine's in the same moment, as near as one request tells; `None` when it does not.
    clocks: Option<(Second, Second)>,
}

impl Login {
    /// Conjur issued it after `asked`; a life by its clock is as long by ours.
    fn new(token: AccessToken, asked: Second) -> Self {
        let stale_from = token.lifetime().map(|life| asked.plus(life - MARGIN.min(life / 4)));
        let clocks = token.issued_at().map(|conjurs| (conjurs, asked));
        Self { token: Rc::new(token), stale_from, clocks }
    }

    fn is_stale(&self, now: Second) -> bool {
        self.stale_from.is_some_and(|stale| stale <= now)
    }
}

impl Kept {
    /// What a run that begins now may use.
    fn fresh(&self, now: Second) -> Option<Login> {
        self.0.borrow().clone().filter(|login| login.stale_from.is_some() && !login.is_stale(now))
    }
}

/// An access token, renewed before it ends, and once in a run when Conjur does not take it.
pub(crate) struct Session<'a, E> {
    on: &'a E,
    retry: &'a Retry,
    kept: Kept,
    login: RefCell<Login>,
    logins: Cell<u32>,
    /// Whether a login was made because of a 401.
    again: Cell<bool>,
    /// So that many factories whose calls fail at once make one new login.
    renewing: Mutex<()>,
}

impl<'a, E: LogIn> Session<'a, E> {
    /// Logs in, unless what is kept is good.
    pub(crate) async fn open(on: &'a E, retry: &'a Retry, kept: &Kept) -> Result<Self, Error> {
        let login = match kept.fresh(on.now()) {
            Some(login) => login,
            None => log_in(on, retry).await?,
        };
        *kept.0.borrow_mut() = Some(login.clone());
        let (login, logins, again) = (RefCell::new(login), Cell::new(0), Cell::new(false));
        let kept = kept.clone();
        Ok(Self { on, retry, kept, login, logins, again, renewing: Mutex::new(()) })
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
        self.renew_in_time().await;
        let seen = self.logins.get();
        match retry.run(what, &again, async || call(&self.token()).await).await {
            Err(error) if error.is_unauthorized() => {
                self.renew(seen, error).await?;
                retry.run(what, &again, async || call(&self.token()).await).await
            }
            ended => ended,
        }
    }

    /// The time by Conjur's clock: the same for all who look after a fleet, wherever they run. This machine's
    /// where Conjur does not tell its own.
    pub(crate) fn now_at_conjur(&self) -> Second {
        let now = self.on.now();
        match self.login.borrow().clocks {
            Some((conjurs, ours)) if ours <= now => conjurs.plus(now.since(ours)),
            // Set back since the login.
            Some((conjurs, _)) => conjurs,
            None => now,
        }
    }

    fn token(&self) -> Rc<AccessToken> {
        Rc::clone(&self.login.borrow().token)
    }

    /// Before it ends. When that fails, the token is still good for a moment, and Conjur has the last word.
    async fn renew_in_time(&self) {
        let is_stale = || self.login.borrow().is_stale(self.on.now());
        if !is_stale() {
            return;
        }
        let _alone = self.renewing.lock().await;
        if !is_stale() {
            return;
        }
        match once(self.on).await {
            Ok(login) => self.replace(login),
            Err(error) => log::warn!("the access token is about to end and was not renewed: {error}"),
        }
    }

    async fn renew(&self, seen: u32, refused: Error) -> Result<(), Error> {
        let _alone = self.renewing.lock().await;
        if self.logins.get() != seen {
            return Ok(());
        }
        if self.again.replace(true) {
            // A fresh login was not taken either: a third would not help.
            return Err(refused);
        }
        log::info!("Conjur no longer takes the access token; logging in once more");
        self.replace(log_in(self.on, self.retry).await?);
        Ok(())
    }

    fn replace(&self, login: Login) {
        *self.kept.0.borrow_mut() = Some(login.clone());
        *self.login.borrow_mut() = login;
        self.logins.set(self.logins.get() + 1);
    }
}

/// Logging in changes nothing at Conjur, so it may be repeated.
async fn log_in(on: &impl LogIn, retry: &Retry) -> Result<Login, Error> {
    retry.run("log in to Conjur", is_transient, async || once(on).await).await
}

async fn once(on: &impl LogIn) -> Result<Login, Error> {
    let asked = on.now();
    Ok(Login::new(on.authenticate().await?, asked))
}

#[cfg(test)]
mod tests;

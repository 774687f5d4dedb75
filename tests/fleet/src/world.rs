//! [`World`]: IMDS, S3, KMS and Conjur as models in virtual time, and what was asked of them, by the second.
//!
//! What the models know is what was measured or is documented: S3 takes 5,500 gets a second of one prefix and
//! says 503 beyond, KMS 10,000 decrypts a second in one region, and a genuine Conjur on two cores made 140 hosts
//! and took 160 logins a second. That it has a queue of 20 s of work and answers 503 beyond is invented.

use crate::lanes::{Lane, Rate};
use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Seconds of work that may wait at Conjur.
const PATIENCE: f64 = 20.0;

/// Whoever waits longer for Conjur's answer has hung up: the agent's own time-out.
const CLIENT: f64 = 30.0;

/// There and back, in seconds, to IMDS, S3, KMS and Conjur.
const WAYS: [f64; 4] = [0.001, 0.03, 0.02, 0.02];

/// What the servers are.
#[derive(Clone, Debug)]
pub struct Model {
    /// New hosts a second at Conjur.
    pub creations: f64,
    /// Logins a second at Conjur.
    pub logins: f64,
    /// Whether hosts and logins are made by the same processors, so that one takes the time of the other.
    pub is_shared: bool,
    /// Gets a second at S3, and decrypts a second at KMS.
    pub aws: (f64, f64),
    /// The part of instances whose metadata service does not answer the first time.
    pub no_imds: f64,
    /// The part of requests that S3, KMS and Conjur answer with some 5xx without reason.
    pub random_5xx: f64,
    /// Seconds in which Conjur is away.
    pub away: Option<Range<f64>>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            creations: 140.0,
            logins: 160.0,
            is_shared: false,
            aws: (5_500.0, 10_000.0),
            no_imds: 0.005,
            random_5xx: 0.01,
            away: None,
        }
    }
}

/// Requests by the second in which they came.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Series(pub Vec<u32>);

impl Series {
    /// One more, at this time in seconds.
    pub fn add(&mut self, at: f64) {
        let second = at as usize;
        if self.0.len() <= second {
            self.0.resize(second + 1, 0);
        }
        self.0[second] += 1;
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|n| u64::from(*n)).sum()
    }

    /// The most a second, from this second on, in steps of so many seconds.
    #[must_use]
    pub fn peak_from(&self, second: usize, width: usize) -> f64 {
        let from = self.0.get(second..).unwrap_or_default();
        let sums = from.chunks(width).map(|step| step.iter().map(|n| f64::from(*n)).sum::<f64>());
        sums.fold(0.0, f64::max) / width as f64
    }
}

/// What was asked of the servers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// Of the metadata service.
    pub imds: u64,
    /// Gets that S3 answered, and those of them with SlowDown.
    pub gets: (u64, u64),
    /// Decrypts that KMS answered, and those of them with ThrottlingException.
    pub decrypts: (u64, u64),
    /// Redeems that came to Conjur.
    pub redeems: Series,
    /// Redeems that it turned away with 503.
    pub refused: Series,
    /// Logins that came to Conjur.
    pub logins: Series,
    /// Connections that Conjur did not take, since it was away.
    pub unreached: Series,
}

/// The servers.
#[derive(Debug)]
pub struct World {
    model: Model,
    start: Instant,
    s3: RefCell<Rate>,
    kms: RefCell<Rate>,
    creations: RefCell<Lane>,
    logins: RefCell<Lane>,
    tally: RefCell<Tally>,
    /// Whether what waited when Conjur went away was dropped.
    came_back: Cell<bool>,
}

/// How a request ends that is not simply answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The service has had too many.
    Slow,
    /// This status.
    Status(u16),
    /// Nobody listens.
    Away,
    /// The connection broke after the request was sent.
    Broke,
}

/// What is asked of Conjur.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ask {
    /// A new host.
    Redeem,
    /// An access token.
    Login,
}

impl World {
    /// Servers that have nothing to do yet; their time begins now.
    #[must_use]
    pub fn new(model: Model) -> Self {
        Self {
            start: Instant::now(),
            s3: RefCell::new(Rate::new(model.aws.0)),
            kms: RefCell::new(Rate::new(model.aws.1)),
            creations: RefCell::new(Lane::new(model.creations, PATIENCE)),
            logins: RefCell::new(Lane::new(model.logins, PATIENCE)),
            tally: RefCell::default(),
            came_back: Cell::new(false),
            model,
        }
    }

    /// Seconds since the servers are there.
    #[must_use]
    pub fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    /// What was asked until now.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// Forgets what was asked until now.
    pub fn count_anew(&self) {
        self.tally.replace(Tally::default());
    }

    /// The metadata service of one instance; `drawn`, from 0 to 1, is that instance's luck with this request.
    ///
    /// # Errors
    /// When it is not there yet.
    pub async fn imds(&self, is_first: bool, drawn: f64) -> Result<(), Fault> {
        self.tally.borrow_mut().imds += 1;
        sleep(Duration::from_secs_f64(WAYS[0])).await;
        if is_first && drawn < self.model.no_imds { Err(Fault::Status(404)) } else { Ok(()) }
    }

    /// S3, asked for an object of the one prefix.
    ///
    /// # Errors
    /// SlowDown, or some 5xx.
    pub async fn s3(&self, drawn: f64) -> Result<(), Fault> {
        sleep(Duration::from_secs_f64(WAYS[1])).await;
        let taken = self.s3.borrow_mut().take(self.now());
        let mut tally = self.tally.borrow_mut();
        tally.gets.0 += 1;
        tally.gets.1 += u64::from(!taken);
        self.answered_by_aws(taken, drawn)
    }

    /// KMS, asked to decrypt.
    ///
    /// # Errors
    /// ThrottlingException, or some 5xx.
    pub async fn kms(&self, drawn: f64) -> Result<(), Fault> {
        sleep(Duration::from_secs_f64(WAYS[2])).await;
        let taken = self.kms.borrow_mut().take(self.now());
        let mut tally = self.tally.borrow_mut();
        tally.decrypts.0 += 1;
        tally.decrypts.1 += u64::from(!taken);
        self.answered_by_aws(taken, drawn)
    }

    fn answered_by_aws(&self, taken: bool, drawn: f64) -> Result<(), Fault> {
        match taken {
            false => Err(Fault::Slow),
            true if drawn < self.model.random_5xx => Err(Fault::Status(500)),
            true => Ok(()),
        }
    }

    /// Conjur. `done` is called in the moment in which the work is done, whether or not the answer arrives.
    ///
    /// # Errors
    /// 503 when too much waits, some 5xx, nobody there, or a connection that broke.
    pub async fn conjur(&self, ask: Ask, drawn: f64, done: impl FnOnce()) -> Result<(), Fault> {
        sleep(Duration::from_secs_f64(WAYS[3])).await;
        let now = self.now();
        let away = self.model.away.clone().unwrap_or(f64::INFINITY..f64::INFINITY);
        if away.contains(&now) {
            self.tally.borrow_mut().unreached.add(now);
            return Err(Fault::Away);
        }
        {
            let mut tally = self.tally.borrow_mut();
            match ask {
                Ask::Redeem => tally.redeems.add(now),
                Ask::Login => tally.logins.add(now),
            }
        }
        if drawn < self.model.random_5xx {
            // One of four, each as likely.
            let which = (drawn / self.model.random_5xx * 4.0) as usize;
            return Err(Fault::Status([500, 502, 503, 504][which.min(3)]));
        }
        let Some(until) = self.enter(ask, now, &away) else {
            if ask == Ask::Redeem {
                self.tally.borrow_mut().refused.add(now);
            }
            return Err(Fault::Status(503));
        };
        let at = |seconds| self.start + Duration::from_secs_f64(seconds);
        if now < away.start && until >= away.start {
            sleep_until(at(away.start)).await;
            return Err(Fault::Broke);
        }
        if until - now > CLIENT {
            sleep_until(at(now + CLIENT)).await;
            done();
            // As a gateway that gave up waiting; the agent judges both alike.
            return Err(Fault::Status(504));
        }
        sleep_until(at(until)).await;
        done();
        Ok(())
    }

    fn enter(&self, ask: Ask, now: f64, away: &Range<f64>) -> Option<f64> {
        let (lane, takes) = match ask {
            Ask::Redeem => (&self.creations, 1.0 / self.model.creations),
            Ask::Login if self.model.is_shared => (&self.creations, 1.0 / self.model.logins),
            Ask::Login => (&self.logins, 1.0 / self.model.logins),
        };
        if away.end <= now && !self.came_back.replace(true) {
            self.creations.borrow_mut().go_away();
            self.logins.borrow_mut().go_away();
        }
        let mut lane = lane.borrow_mut();
        lane.enter_with(now, takes)
    }
}

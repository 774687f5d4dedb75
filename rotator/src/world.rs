//! A small Conjur, S3 and KMS whose every call can fail, before or after it was carried out.

use crate::config::Config;
use crate::effects::{Context, Effects, Error};
use crate::session::LogIn;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use imprint_core::aws::{self, ETag, Encrypted, Object, Only};
use imprint_core::conjur::{self, Factory, Mint, Minted, Revoked};
use imprint_core::name::FactoryId;
use imprint_core::sealed::SealedToken;
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, Token};
use ipnet::IpNet;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How a call fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// It is carried out, and its reply lost.
    LostReply,
    /// It is not carried out; the server is busy.
    NotDone,
    /// A put meets another one, is not carried out and should be tried again.
    Contended,
    /// No answer comes; a put is carried out at the next [`World::land`].
    LandsLater,
    /// It is refused.
    Refused,
    /// Conjur no longer takes the access token.
    Unauthorized,
}

#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) factory: String,
    pub(crate) text: String,
    pub(crate) expires_at: Second,
    pub(crate) cidr: Vec<IpNet>,
}

#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) factories: Vec<String>,
    /// Those that a listing misses, since the rows moved between two pages.
    pub(crate) off_the_pages: Vec<String>,
    pub(crate) tokens: Vec<Known>,
    pub(crate) objects: BTreeMap<String, (Vec<u8>, u32)>,
    pub(crate) sealed: Vec<(Vec<u8>, Context)>,
    /// Everything that was ever put.
    pub(crate) put: Vec<Vec<u8>>,
    /// Puts that were sent and not yet carried out, and when they are.
    delayed: Vec<(Second, String, Vec<u8>, Only)>,
    /// Names of the calls, in order.
    pub(crate) calls: Vec<&'static str>,
    minted: u32,
}

type Change = Box<dyn Fn(&World)>;
type Script = Box<dyn Fn(usize, &str) -> Option<Fault>>;
type Watch = Box<dyn Fn(&World, &str)>;
type Pace = Box<dyn Fn() -> [Duration; 2]>;

pub(crate) struct World {
    pub(crate) state: RefCell<State>,
    /// Whether, and how, the call of this number (from 1) and name fails.
    pub(crate) fault: Script,
    /// Factories for which Conjur is always too busy to mint.
    pub(crate) busy: Vec<String>,
    /// What somebody else does just before the call of this number.
    pub(crate) meanwhile: Option<(usize, Change)>,
    /// How long a call takes until it is carried out, and from then to its reply.
    pub(crate) pace: Pace,
    /// How long a put without an answer takes until it is carried out; `None` leaves it to [`World::land`].
    pub(crate) late: Option<Duration>,
    /// What must hold after every call.
    pub(crate) watch: Watch,
    /// How long an access token says that it lives; it says nothing without.
    pub(crate) life: Option<u64>,
    pub(crate) base: Cell<Second>,
    start: Instant,
    in_flight: Cell<usize>,
    pub(crate) most_in_flight: Cell<usize>,
}

impl World {
    /// Everything is as its operator made it, and nothing published.
    pub(crate) fn new(config: &Config) -> Self {
        let factories = config.factories.iter().map(|factory| factory.id.to_string()).collect();
        Self {
            state: RefCell::new(State { factories, ..State::default() }),
            fault: Box::new(|_, _| None),
            busy: Vec::new(),
            meanwhile: None,
            pace: Box::new(|| [Duration::ZERO; 2]),
            late: None,
            watch: Box::new(|_, _| ()),
            life: None,
            base: Cell::new(Second::from_unix(1_800_000_000)),
            start: Instant::now(),
            in_flight: Cell::new(0),
            most_in_flight: Cell::new(0),
        }
    }

    /// The sealed token under a factory's key, when it is one.
    pub(crate) fn published(&self, factory: &str) -> Option<SealedToken> {
        let key = format!("factories/prod/{factory}/token.json");
        SealedToken::parse(&self.state.borrow().objects.get(&key)?.0).ok()
    }

    /// Whether an agent could use what is published: it opens, and Conjur takes the token.
    pub(crate) fn is_usable(&self, factory: &str) -> bool {
        let Some(sealed) = self.published(factory) else { return false };
        let state = self.state.borrow();
        let Some(text) = open(&state, sealed.ciphertext(), &sealed.binding().context()) else { return false };
        state.tokens.iter().any(|token| {
            token.factory == factory && token.text.as_bytes() == text && token.expires_at > self.now()
        })
    }

    /// The wall clock.
    pub(crate) fn now(&self) -> Second {
        self.base.get().plus(self.start.elapsed())
    }

    pub(crate) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.state.borrow_mut().calls)
    }

    /// Carries out the puts that were held up under way, each if its condition still holds.
    pub(crate) fn land(&self) {
        self.land_until(Second::from_unix(i64::MAX));
    }

    fn land_until(&self, now: Second) {
        let mut state = self.state.borrow_mut();
        for (at, key, bytes, only) in std::mem::take(&mut state.delayed) {
            if at <= now {
                let _held = state.put(&key, bytes, &only);
            } else {
                state.delayed.push((at, key, bytes, only));
            }
        }
    }

    pub(crate) async fn call<T>(
        &self,
        name: &'static str,
        act: impl FnOnce(&mut State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.in_flight.set(self.in_flight.get() + 1);
        self.most_in_flight.set(self.most_in_flight.get().max(self.in_flight.get()));
        // Others get their turn at every call.
        tokio::task::yield_now().await;
        let [until, reply] = (self.pace)();
        if !until.is_zero() {
            tokio::time::sleep(until).await;
        }
        if self.late.is_some() {
            self.land_until(self.now());
        }
        let number = {
            let mut state = self.state.borrow_mut();
            state.calls.push(name);
            state.calls.len()
        };
        if let Some((at, change)) = &self.meanwhile
            && *at == number
        {
            change(self);
        }
        let fault = (self.fault)(number, name);
        let done = match fault {
            Some(Fault::LostReply) | None => Some(act(&mut self.state.borrow_mut())),
            Some(_not_now) => None,
        };
        self.in_flight.set(self.in_flight.get() - 1);
        (self.watch)(self, name);
        if !reply.is_zero() {
            tokio::time::sleep(reply).await;
        }
        match (fault, done) {
            (None, Some(done)) => done,
            (Some(fault), _) => Err(error(name, fault)),
            (None, None) => panic!("a call that neither fails nor is done"),
        }
    }
}

fn error(name: &'static str, fault: Fault) -> Error {
    let conjur = |status| {
        conjur::Error::Status { operation: name, server: "it".into(), status, retry_after: None }.into()
    };
    let aws = |code: &str, status| {
        aws::Error::Answered { operation: name, resource: "it".into(), code: code.into(), status }.into()
    };
    match (name.contains(':'), fault) {
        (true, Fault::LostReply | Fault::NotDone) => aws("SlowDown", 503),
        (true, Fault::Contended) => aws("ConditionalRequestConflict", 409),
        (true, Fault::LandsLater) => {
            let (operation, resource) = (name, "it".to_owned());
            aws::Error::TimedOut { operation, resource, within: Duration::from_secs(20) }.into()
        }
        (true, Fault::Refused | Fault::Unauthorized) => aws("AccessDenied", 403),
        (false, Fault::LostReply) => conjur(500),
        (false, Fault::NotDone | Fault::Contended | Fault::LandsLater) => conjur(429),
        (false, Fault::Refused) => conjur(403),
        (false, Fault::Unauthorized) => conjur(401),
    }
}

impl State {
    fn put(&mut self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, Error> {
        let there = self.objects.get(key).map(|(_, tag)| ETag::new(&tag.to_string()));
        let wanted = match only {
            Only::IfAbsent => None,
            Only::IfMatch(tag) => Some(tag.clone()),
        };
        if there != wanted {
            let (resource, code) = (key.into(), "PreconditionFailed".into());
            return Err(
                aws::Error::Answered { operation: "s3:PutObject", resource, code, status: 412 }.into()
            );
        }
        let tag = u32::try_from(self.put.len()).unwrap() + 1;
        self.put.push(bytes.clone());
        self.objects.insert(key.to_owned(), (bytes, tag));
        Ok(ETag::new(&tag.to_string()))
    }
}

fn open(state: &State, ciphertext: &[u8], context: &Context) -> Option<Vec<u8>> {
    let at: usize = std::str::from_utf8(ciphertext).ok()?.strip_prefix("sealed ")?.parse().ok()?;
    let (text, sealed_under) = state.sealed.get(at)?;
    (sealed_under == context).then(|| text.clone())
}

fn token(known: &Known) -> Minted {
    Minted {
        token: Token::new(Zeroizing::new(known.text.clone())).unwrap(),
        expires_at: known.expires_at,
        cidr: known.cidr.clone(),
    }
}

impl LogIn for World {
    async fn authenticate(&self) -> Result<AccessToken, Error> {
        // Conjur's clock is a year ahead of ours.
        let iat = self.now().unix() + 31_536_000;
        let claims =
            self.life.map(|life| format!(r#"{{"iat":{iat},"exp":{}}}"#, iat + i64::try_from(life).unwrap()));
        let token = claims
            .map_or("{}".to_owned(), |claims| format!(r#"{{"payload":"{}"}}"#, URL_SAFE.encode(claims)));
        self.call("authenticate", |_| Ok(AccessToken::new(Zeroizing::new(token.clone().into_bytes())))).await
    }

    fn now(&self) -> Second {
        Self::now(self)
    }
}

impl Effects for World {
    async fn encrypt(&self, token: &Token, context: &Context) -> Result<Encrypted, Error> {
        self.call("kms:Encrypt", |state| {
            let ciphertext = format!("sealed {}", state.sealed.len()).into_bytes();
            state.sealed.push((token.expose().as_bytes().to_vec(), context.clone()));
            Ok(Encrypted { ciphertext, key_arn: "arn:aws:kms:eu-west-1:123456789012:key/k".into() })
        })
        .await
    }

    async fn decrypt(&self, ciphertext: &[u8], context: &Context) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.call("kms:Decrypt", |state| {
            open(state, ciphertext, context).map(Zeroizing::new).ok_or_else(|| {
                aws::Error::Answered {
                    operation: "kms:Decrypt",
                    resource: "it".into(),
                    code: "InvalidCiphertextException".into(),
                    status: 400,
                }
                .into()
            })
        })
        .await
    }

    async fn fetch(&self, key: &str) -> Result<Object, Error> {
        self.call("s3:GetObject", |state| match state.objects.get(key) {
            Some((bytes, tag)) => Ok(Object { bytes: bytes.clone(), etag: ETag::new(&tag.to_string()) }),
            None => Err(aws::Error::Answered {
                operation: "s3:GetObject",
                resource: key.into(),
                code: "NoSuchKey".into(),
                status: 404,
            }
            .into()),
        })
        .await
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, Error> {
        let put = self.call("s3:PutObject", |state| state.put(key, bytes.clone(), only)).await;
        if let Err(Error::Aws(aws::Error::TimedOut { .. })) = put {
            let lands = self.now().plus(self.late.unwrap_or_default());
            self.state.borrow_mut().delayed.push((lands, key.to_owned(), bytes, only.clone()));
        }
        put
    }

    async fn list_factories(&self, _: &AccessToken) -> Result<Vec<Factory>, Error> {
        self.call("list_factories", |state| {
            let of = |id: &String| state.tokens.iter().filter(|t| t.factory == *id).map(token).collect();
            let listed = state.factories.iter().filter(|id| !state.off_the_pages.contains(id));
            Ok(listed.map(|id| Factory { id: id.parse().unwrap(), tokens: of(id) }).collect())
        })
        .await
    }

    async fn show_factory(&self, _: &AccessToken, id: &FactoryId) -> Result<Option<Factory>, Error> {
        self.call("show_factory", |state| {
            let of = state.tokens.iter().filter(|t| t.factory == id.as_str()).map(token).collect();
            let known = state.factories.iter().any(|known| known == id.as_str());
            Ok(known.then(|| Factory { id: id.clone(), tokens: of }))
        })
        .await
    }

    async fn mint(&self, _: &AccessToken, ask: &Mint<'_>) -> Result<Vec<Minted>, Error> {
        let is_busy = self.busy.iter().any(|id| id == ask.factory.as_str());
        self.call("mint", |state| {
            if is_busy {
                return Err(error("mint", Fault::NotDone));
            }
            state.minted += 1;
            let known = Known {
                factory: ask.factory.to_string(),
                text: format!("{:048}", state.minted),
                expires_at: ask.expires_at,
                cidr: ask.cidr.to_vec(),
            };
            state.tokens.push(known.clone());
            Ok(vec![token(&known)])
        })
        .await
    }

    async fn revoke(&self, _: &AccessToken, token: &Token) -> Result<Revoked, Error> {
        self.call("revoke", |state| {
            let before = state.tokens.len();
            state.tokens.retain(|known| known.text != token.expose());
            Ok(if state.tokens.len() < before { Revoked::Now } else { Revoked::WasGone })
        })
        .await
    }
}

//! What the doctor found, as plain data: the judgments are pure functions of it.

use crate::config::S3;
use crate::effects;
use crate::facts::Facts;
use crate::state::Found;
use crate::step::{OnDisk, Step};
use imprint_core::conjur::Health;
use imprint_core::error::chain;
use imprint_core::sealed::Binding;
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use imprint_core::{Class, Classified};
use std::net::IpAddr;

/// Something that failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Trouble {
    /// Who must act.
    pub(super) class: Class,
    /// What and why.
    pub(super) what: String,
    /// What to do.
    pub(super) hint: Option<String>,
    /// The error code of AWS, if it answered.
    pub(super) code: Option<String>,
    /// The status of Conjur, if it answered.
    pub(super) status: Option<u16>,
}

impl Trouble {
    pub(super) fn of(error: &impl Classified) -> Self {
        Self {
            class: error.class(),
            what: chain(error),
            hint: error.hint().map(str::to_owned),
            code: None,
            status: None,
        }
    }

    pub(super) fn of_effect(error: &effects::Error) -> Self {
        let code =
            if let effects::Error::Aws(error) = error { error.code().map(str::to_owned) } else { None };
        let status = error.conjur().and_then(imprint_core::conjur::Error::status);
        Self { code, status, ..Self::of(error) }
    }
}

/// What came of a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Asked<T> {
    /// It failed.
    Failed(Trouble),
    /// It was not asked, because of this.
    Skipped(&'static str),
    /// The answer.
    Told(T),
}

impl<T> Asked<T> {
    pub(super) fn map<U>(self, answer: impl FnOnce(T) -> U) -> Asked<U> {
        match self {
            Self::Failed(trouble) => Asked::Failed(trouble),
            Self::Skipped(because) => Asked::Skipped(because),
            Self::Told(told) => Asked::Told(answer(told)),
        }
    }

    pub(super) const fn told(&self) -> Option<&T> {
        match self {
            Self::Told(answer) => Some(answer),
            Self::Failed(_) | Self::Skipped(_) => None,
        }
    }
}

/// All that can be seen without asking anybody.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) now: Second,
    pub(super) is_root: bool,
    /// Permission bits, owner and group of the configuration.
    pub(super) config: Asked<Access>,
    /// The instance-id, as far as the machine tells it.
    pub(super) here: Option<String>,
    pub(super) state: Asked<Found>,
    pub(super) identity: Asked<OnDisk>,
    /// What `enroll` would do.
    pub(super) next: Option<Step>,
    /// Of the identity file: what it has, and what it should have.
    pub(super) access: Option<(Access, Access)>,
    /// Files that the sources of a token name, each with what it is.
    pub(super) inputs: Vec<(String, Input)>,
    pub(super) places: Vec<Place>,
    /// conf and pem: what stands there, against what `enroll` writes.
    pub(super) copies: Vec<(String, Copied)>,
    pub(super) lock: Holder,
    /// Names of variables that clients of Conjur prefer to our files.
    pub(super) variables: Vec<String>,
    /// Files that clients of Conjur prefer to ours.
    pub(super) shadows: Vec<String>,
    /// Names of `AWS_` variables that are set.
    pub(super) aws_variables: Vec<String>,
    /// `AWS_ENDPOINT_URL...` variables that are plain http to another machine.
    pub(super) plain_endpoints: Vec<String>,
    /// Each server, and how it is reached.
    pub(super) ways: Vec<(String, super::proxy::Way)>,
}

/// Mode, owner and group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Access {
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
}

/// Where a file goes.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) path: String,
    /// The store's own judgment of directory and target.
    pub(super) fit: Result<(), Trouble>,
    /// The file system that it is on; `None` when it could not be asked.
    pub(super) disk: Option<Room>,
}

/// What a file system has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) read_only: bool,
    /// Whether this user may write in the directory.
    pub(super) writable: bool,
    pub(super) bytes: u64,
    /// `None` where the file system does not count them.
    pub(super) inodes: Option<u64>,
}

/// A file that holds no secret, against what it should hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Copied {
    Different,
    Missing,
    Same,
}

/// A file with a token, or with what opens one. Its content is not looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Input {
    Missing,
    /// This user may not read it.
    Closed,
    /// Everybody may read it; these are its permission bits.
    Open(u32),
    Ready,
}

/// Who holds the lock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Holder {
    Nobody,
    /// A process, whose id the kernel may tell.
    Process(Option<u32>),
    Unknown(Trouble),
}

/// What the servers said.
#[derive(Clone, Debug)]
pub(super) struct Servers {
    /// What the templates need: of the metadata service, or off EC2 of the machine itself.
    pub(super) facts: Asked<Facts>,
    /// When the role's credentials end.
    pub(super) credentials: Asked<Option<Second>>,
    /// Names of S3 and KMS, as far as they are known, and what they resolve to.
    pub(super) aws_names: Vec<(String, Asked<String>)>,
    /// The sealed token's size and its binding, of the bucket or of the file that is sealed with client data.
    pub(super) object: Asked<(usize, Result<Binding, Trouble>)>,
    /// The same object, whoever owns the bucket; asked when the configured owner got a no.
    pub(super) any_owner: Asked<()>,
    /// Fingerprint of what was unsealed; `None` when that is no token.
    pub(super) unsealed: Asked<Option<Fingerprint>>,
    /// The buckets beside the first, and the binding of what opens there.
    pub(super) other_buckets: Vec<(S3, Asked<Binding>)>,
    /// The binding of what waits for this instance's promotion, if it opens.
    pub(super) promotion: Asked<Binding>,
    /// Whether what is sealed with client data opens with this machine's facts.
    pub(super) opened: Asked<()>,
    /// The appliance, and the leader where that is another server.
    pub(super) conjurs: Vec<Server>,
    /// Whether the host may read the proof variable.
    pub(super) proof: Asked<bool>,
    /// What servers say of the time.
    pub(super) dates: Vec<Date>,
    /// This machine's addresses: the one that EC2 tells, and those it would speak to Conjur from.
    pub(super) addresses: Vec<IpAddr>,
}

/// One Conjur server.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) url: String,
    pub(super) is_leader: bool,
    /// The addresses of its name.
    pub(super) name: Asked<String>,
    /// Whether a connection is taken.
    pub(super) connection: Asked<()>,
    pub(super) health: Asked<Option<Health>>,
    /// Whether the identity authenticates.
    pub(super) login: Asked<()>,
}

/// A server's word on the time.
#[derive(Clone, Debug)]
pub(super) struct Date {
    pub(super) server: String,
    /// What it said.
    pub(super) said: Second,
    /// This machine's clock at that moment.
    pub(super) own: Second,
}

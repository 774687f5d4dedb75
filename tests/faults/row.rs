//! [`Row`]: one fault, and what must come of it. The sections make rows; `check` judges them.

use crate::world::World;
use imprint_stack::fault::{Fault, FaultKind, Then};

/// The server at which a fault waits for its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum At {
    Conjur,
    Imds,
    Kms,
    S3,
}

/// What is run while the fault is there.
#[derive(Clone, Debug)]
pub enum Run {
    /// `imprint`, as a machine that was never enrolled.
    Agent(&'static str),
    /// `imprint`, as a machine that is enrolled.
    Enrolled(&'static str),
    /// `imprint-rotator`, where nothing is published.
    Rotator(&'static [&'static str]),
    /// `imprint-rotator`, where a token is published.
    Published(&'static [&'static str]),
}

/// What must be there afterwards: the identity of a machine, or the object of a factory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Left {
    /// A complete one that was not there before, and that authenticates or opens.
    New,
    /// None, and nothing else was written.
    None,
    /// The one that was there before, not a byte of it changed, and nothing beside it.
    Old,
}

type Arrange = Box<dyn Fn(&mut World) + Send + Sync>;
type After = Box<dyn Fn(&World) -> Result<(), String> + Send + Sync>;
type Meanwhile = Box<dyn Fn(&World) + Send + Sync>;

/// One fault, and what must come of it.
pub struct Row {
    /// The fault's number in the list.
    pub id: &'static str,
    /// What is tried, in some words.
    pub what: String,
    pub run: Run,
    /// Its `--deadline`, in seconds.
    pub within: u32,
    pub faults: Vec<(At, Fault)>,
    /// What is spoiled before it runs.
    pub arrange: Option<Arrange>,
    /// What happens while it runs.
    pub meanwhile: Option<Meanwhile>,
    /// A line of shell before the program.
    pub shell: Option<&'static str>,
    /// What is looked at afterwards.
    pub after: Option<After>,
    /// The exit code.
    pub code: i32,
    /// Others that are as good.
    pub or: &'static [i32],
    /// What standard error must say.
    pub say: Vec<String>,
    pub left: Left,
    /// The most requests of each name; of a name that is not here, `usual`.
    pub most: Vec<(&'static str, usize)>,
    /// The most requests of any other name.
    pub usual: usize,
    /// How many live tokens of the rotator's that nobody can find may be left.
    pub orphans: usize,
}

/// A passing failure is repeated until the deadline of these rows, which is seconds away: its pauses double,
/// so that more than this would need more luck than there is.
const REPEATED: usize = 40;

/// Far away: nothing of a row that ends by itself waits for it, whatever the machine is busy with.
const FAR: u32 = 300;

/// The window after a pushback, and with it the longest wait, ends before this.
const PUSHED: u32 = 20;

/// Near: what is repeated until then fails.
const NEAR: u32 = 2;

impl Row {
    fn of(id: &'static str, what: impl Into<String>, run: Run) -> Self {
        Self {
            id,
            what: what.into(),
            run,
            within: FAR,
            faults: Vec::new(),
            arrange: None,
            meanwhile: None,
            shell: None,
            after: None,
            code: 0,
            or: &[],
            say: Vec::new(),
            left: Left::New,
            most: Vec::new(),
            usual: 1,
            orphans: 0,
        }
    }

    /// A fault strikes so often.
    pub fn fault(mut self, at: At, name: &str, kind: FaultKind, times: u32) -> Self {
        self.faults.push((at, Fault::on(name, kind).times(times)));
        self
    }

    /// The same, always.
    pub fn always(self, at: At, name: &str, kind: FaultKind) -> Self {
        self.fault(at, name, kind, u32::MAX)
    }

    /// The same so often, but the first so many requests pass.
    pub fn past(mut self, skip: u32, at: At, name: &str, kind: FaultKind, times: u32) -> Self {
        self.faults.push((at, Fault::on(name, kind).times(times).skip(skip)));
        self
    }

    pub fn arrange(mut self, arrange: impl Fn(&mut World) + Send + Sync + 'static) -> Self {
        self.arrange = Some(Box::new(arrange));
        self
    }

    pub fn meanwhile(mut self, meanwhile: impl Fn(&World) + Send + Sync + 'static) -> Self {
        self.meanwhile = Some(Box::new(meanwhile));
        self
    }

    pub fn command(mut self, run: Run) -> Self {
        self.run = run;
        self
    }

    pub fn after(mut self, after: impl Fn(&World) -> Result<(), String> + Send + Sync + 'static) -> Self {
        self.after = Some(Box::new(after));
        self
    }

    pub fn shell(mut self, line: &'static str) -> Self {
        self.shell = Some(line);
        self
    }

    /// It ends at once with this code, and nothing is written.
    pub fn ends(mut self, code: i32, say: &str) -> Self {
        (self.code, self.left) = (code, Left::None);
        self.says(say)
    }

    /// It ends with one of these, and nothing is written.
    pub fn ends_somehow(self, codes: &'static [i32]) -> Self {
        Self { or: codes, ..self.ends(codes[0], "") }
    }

    /// It is repeated until the deadline, and then ends with this code; nothing is written.
    pub fn repeats(mut self, code: i32, say: &str) -> Self {
        (self.within, self.usual) = (NEAR, REPEATED);
        self.ends(code, say)
    }

    pub fn says(mut self, say: &str) -> Self {
        self.say.push(say.to_owned());
        self
    }

    pub fn left(mut self, left: Left) -> Self {
        self.left = left;
        self
    }

    pub fn within(mut self, seconds: u32) -> Self {
        self.within = seconds;
        self
    }

    /// Whether a call of its own has to run into its time-out.
    pub fn is_slow(&self) -> bool {
        let silent = |kind: &FaultKind| match kind {
            FaultKind::Hang | FaultKind::Drip { .. } | FaultKind::Endless { .. } => true,
            FaultKind::Cut { then, .. } => *then == Then::Silence,
            _ => false,
        };
        self.within == NEAR || self.faults.iter().any(|(_, fault)| silent(&fault.kind))
    }

    /// Conjur pushes back in it, which is answered by a wait within a window that ends with the run.
    pub fn pushed_back(self) -> Self {
        self.within(PUSHED)
    }

    /// At most so many requests of this name.
    pub fn most(mut self, name: &'static str, most: usize) -> Self {
        self.most.retain(|(of, _)| *of != name);
        self.most.push((name, most));
        self
    }

    /// None of this name.
    pub fn never(self, name: &'static str) -> Self {
        self.most(name, 0)
    }

    pub fn orphans(mut self, most: usize) -> Self {
        self.orphans = most;
        self
    }
}

/// A first boot, in which this fault is met.
pub fn row(id: &'static str, what: impl Into<String>) -> Row {
    Row::of(id, what, Run::Agent("enroll"))
}

/// Stands in the body of every fault, and must never be told.
pub const MARK: &str = "b0dy-of-a-fault";

/// A reply of this status with a page as a portal, a proxy or a framework would send it.
pub fn page(code: u16) -> FaultKind {
    status(code, &[("content-type", "text/html; charset=utf-8")], &format!("<html>{MARK}</html>"))
}

/// A reply of this status.
pub fn status(code: u16, headers: &[(&str, &str)], body: &str) -> FaultKind {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    FaultKind::Status { code, headers, body: body.to_owned().into() }
}

/// Bytes in the place of a reply.
pub fn raw(bytes: impl Into<Vec<u8>>) -> FaultKind {
    FaultKind::Raw(bytes.into().into())
}

//! The points of one command, counted from an undisturbed run, and what happens there.

use crate::call::{Call, Does, errors};
use crate::setting::{Broken, Setting};
use crate::tracer::{Ended, Then};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::fmt;

/// What happens at a point.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// The process is killed when the call has been carried out.
    KilledAfter,
    /// The process is killed before the call is carried out.
    KilledBefore,
    /// The call fails.
    Fails(Errno),
    /// A write takes only half of what it is given.
    TakesHalf,
}

/// A call of the undisturbed run, and what happens there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Point {
    /// Which call.
    pub call: Call,
    /// What happens.
    pub what: What,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nth = self.call.nth + 1;
        match self.what {
            What::KilledAfter => write!(f, "killed after {} #{nth}", self.call.key()),
            What::KilledBefore => write!(f, "killed before {} #{nth}", self.call.key()),
            What::Fails(errno) => write!(f, "{errno:?} from {} #{nth}", self.call.key()),
            What::TakesHalf => write!(f, "half of {} #{nth}", self.call.key()),
        }
    }
}

/// How a try ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Tried {
    /// All promises were held.
    Held,
    /// The run did not come to that call: what the network brings in one piece or in two is its own affair.
    NotReached,
    /// One was broken.
    Broke(Broken),
}

/// The calls of one undisturbed run, with those that failed by themselves told apart.
///
/// # Errors
/// When the run does not end well.
pub fn recorded(setting: &impl Setting) -> Result<Vec<(Call, i64)>, Broken> {
    setting.reset()?;
    let mut namer = setting.namer();
    let mut calls = Vec::new();
    let ended = setting.watched(&mut |stop| {
        if let (Some(call), Some(returned)) = (namer.name(stop), stop.returned) {
            calls.push((call, returned));
        }
        Then::Go
    })?;
    if ended.code == Some(0) { Ok(calls) } else { Err(format!("a watched run ends with {ended:?}")) }
}

/// Where the process is killed: before and after each call that changes something or reaches a server, and
/// after each that brings something from one.
#[must_use]
pub fn kills(calls: &[(Call, i64)]) -> Vec<Point> {
    let mut points = Vec::new();
    for (call, returned) in calls {
        let at = |what| Point { call: call.clone(), what };
        if call.does.matters() {
            points.extend([at(What::KilledBefore), at(What::KilledAfter)]);
        } else if call.does == Does::Receive && *returned > 0 {
            points.push(at(What::KilledAfter));
        }
    }
    points
}

/// Which calls fail, and with what: all of them, with every error that fits.
#[must_use]
pub fn failures(calls: &[(Call, i64)]) -> Vec<Point> {
    let mut points = Vec::new();
    for (call, returned) in calls {
        let at = |what| Point { call: call.clone(), what };
        points.extend(errors(call).iter().map(|errno| at(What::Fails(*errno))));
        if call.name == "write" && call.does == Does::Change && *returned > 1 {
            points.push(at(What::TakesHalf));
        }
    }
    points
}

/// Lets it happen, and asks whether what was promised is held.
#[must_use]
pub fn tried(setting: &impl Setting, point: &Point) -> Tried {
    match try_it(setting, point) {
        Ok(true) => Tried::Held,
        Ok(false) => Tried::NotReached,
        Err(broken) => Tried::Broke(broken),
    }
}

fn try_it(setting: &impl Setting, point: &Point) -> Result<bool, Broken> {
    setting.reset()?;
    let mut namer = setting.namer();
    let mut is_reached = false;
    let ended = setting.watched(&mut |stop| {
        let Some(call) = namer.name(stop) else { return Then::Go };
        if !call.is(&point.call) {
            return Then::Go;
        }
        let then = match (point.what, stop.returned) {
            (What::KilledBefore, None) | (What::KilledAfter, Some(_)) => Then::Kill,
            (What::Fails(errno), None) => Then::Fail(errno),
            (What::TakesHalf, None) => Then::Shorten(stop.arguments[2] / 2),
            _ => Then::Go,
        };
        is_reached |= then != Then::Go;
        then
    })?;
    if !is_reached {
        return Ok(false);
    }
    if ended.hung {
        return Err(format!("it hangs: {}", ended.err));
    }
    setting.is_silent(&[&ended.out, &ended.err])?;
    match point.what {
        What::KilledBefore | What::KilledAfter if ended.signal == Some(Signal::SIGKILL) => {}
        What::KilledBefore | What::KilledAfter => return Err(format!("it was not killed: {ended:?}")),
        What::Fails(_) | What::TakesHalf => judge(setting, point, &ended)?,
    }
    setting.is_whole_now()?;
    setting.ends_well()?;
    Ok(true)
}

/// A run in which one call fails ends well, or with the code that says who must act.
fn judge(setting: &impl Setting, point: &Point, ended: &Ended) -> Result<(), Broken> {
    let told = |say: &str| format!("{say}: {:?} {:?}\n{}{}", ended.code, ended.signal, ended.out, ended.err);
    // An interrupted call, or one that takes less than it is given, is no failure.
    let is_survived = matches!(point.what, What::TakesHalf | What::Fails(Errno::EINTR | Errno::EOPNOTSUPP));
    let may_end_with = if is_survived { &[0] } else { setting.may_end_with(&point.call) };
    let Some(code) = ended.code else { return Err(told("it dies")) };
    if !may_end_with.contains(&code) {
        return Err(told("it ends with another code than one of the documented"));
    }
    // `forget` that cannot look at a file again says that it may be there still.
    let says_what = ended.err.contains("os error") || ended.err.contains("still there: ");
    if code == 73 && !(says_what && ended.err.contains("hint")) {
        return Err(told("it does not say what failed, and what to do"));
    }
    if code != 0 && ended.err.trim().is_empty() {
        return Err(told("it says nothing"));
    }
    if ended.err.contains("panicked") {
        return Err(told("it panics"));
    }
    Ok(())
}

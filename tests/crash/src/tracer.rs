//! Runs a program under ptrace and stops it at the entry and at the exit of every system call.
//!
//! Whoever watches says what becomes of the call: it is carried out, it fails with an error of the
//! watcher's, it gets fewer bytes to write, or the process is killed there. Threads are followed; their
//! calls come in the order in which the kernel tells of them.
//!
//! strace's injection does the same, but it counts the calls of each kind and each thread by itself, so
//! that "the third write to this file" cannot be said, and a kill strikes only before a call. Nothing here
//! is unsafe: the program is started by a shell that stops itself until it is seized.

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSliceMut, Read as _, Seek as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// How long a run may take before it counts as hung. Far above any deadline that the runs have.
const HUNG_AFTER: Duration = Duration::from_secs(90);

/// A system call, at its entry or, with what it returned, at its exit.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// The thread.
    pub thread: Pid,
    /// The system call's number.
    pub number: i64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// What it returned, a negative errno for a failure; `None` at the entry.
    pub returned: Option<i64>,
}

impl Stop {
    /// Up to `most` bytes of the program's memory.
    #[must_use]
    pub fn bytes(&self, at: u64, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; most];
        let base = usize::try_from(at).unwrap_or_default();
        let from = [RemoteIoVec { base, len: most }];
        let read = process_vm_readv(self.thread, &mut [IoSliceMut::new(&mut bytes)], &from);
        bytes.truncate(read.unwrap_or_default());
        bytes
    }

    /// The text that ends with a zero byte, as paths do.
    #[must_use]
    pub fn text(&self, at: u64) -> String {
        // A read that would cross into a page that is not there gives nothing, so it ends with the page.
        let page = 4096 - usize::try_from(at % 4096).unwrap_or_default();
        let mut bytes = self.bytes(at, page);
        if !bytes.contains(&0) {
            bytes.extend(self.bytes(at + u64::try_from(page).unwrap_or_default(), 4096));
        }
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
    }

    /// What a descriptor of the program leads to, as the kernel names it.
    #[must_use]
    pub fn path_of(&self, descriptor: u64) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/fd/{descriptor}", self.thread)).ok()
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Then {
    /// It goes on.
    Go,
    /// At the entry: it is not carried out, and fails with this. At the exit: as [`Self::Go`].
    Fail(Errno),
    /// The process is killed: at the entry before the call is carried out, at the exit after that.
    Kill,
    /// At the entry: the third argument, a number of bytes, becomes this.
    Shorten(u64),
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The exit code; `None` for a signal.
    pub code: Option<i32>,
    /// The signal.
    pub signal: Option<Signal>,
    /// Whether it had to be killed since it did not end.
    pub hung: bool,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started or traced, and on machines whose registers this does not know.
pub fn run(program: &Command, watch: &mut dyn FnMut(&Stop) -> Then) -> io::Result<Ended> {
    let (mut out, mut err) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args());
    shell.env_clear().envs(program.get_envs().filter_map(|(k, v)| Some((k, v?))));
    shell.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
    let id = i32::try_from(shell.spawn()?.id()).map_err(io::Error::other)?;
    let pid = Pid::from_raw(id);
    waitpid(pid, Some(WaitPidFlag::WUNTRACED))?;
    let also = ptrace::Options::PTRACE_O_TRACESYSGOOD
        | ptrace::Options::PTRACE_O_TRACECLONE
        | ptrace::Options::PTRACE_O_TRACEEXEC
        | ptrace::Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, also)?;
    kill(pid, Signal::SIGCONT)?;

    let (over, told) = mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let hung = told.recv_timeout(HUNG_AFTER) == Err(mpsc::RecvTimeoutError::Timeout);
        hung && kill(pid, Signal::SIGKILL).is_ok()
    });
    let end = follow(pid, watch);
    drop(over);
    let hung = watchdog.join().unwrap_or_default();
    if end.is_err() {
        let _it_may_be_gone = kill(pid, Signal::SIGKILL);
    }
    let (code, signal) = end?;
    Ok(Ended { code, signal, hung, out: said(&mut out)?, err: said(&mut err)? })
}

fn said(file: &mut File) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What is known of a thread between two of its stops.
#[derive(Default)]
struct Thread {
    /// The call that it is in.
    entered: Option<Stop>,
    /// What the call is to return.
    fails: Option<Errno>,
}

fn follow(pid: Pid, watch: &mut dyn FnMut(&Stop) -> Then) -> io::Result<(Option<i32>, Option<Signal>)> {
    let mut threads: BTreeMap<Pid, Thread> = BTreeMap::new();
    // The shell itself is of no interest.
    let mut has_started = false;
    loop {
        // Only what this thread has started: others run programs of their own beside it.
        let status = waitpid(Pid::from_raw(-1), Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD))?;
        let go_on = |pid, signal| {
            let end = if has_started { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) };
            // Killed meanwhile: its end is told next.
            if end == Err(Errno::ESRCH) { Ok(()) } else { end }
        };
        match status {
            WaitStatus::Exited(gone, code) if gone == pid => return Ok((Some(code), None)),
            WaitStatus::Signaled(gone, signal, _) if gone == pid => return Ok((None, Some(signal))),
            WaitStatus::PtraceEvent(at, _, libc::PTRACE_EVENT_EXEC) => {
                has_started = true;
                ptrace::syscall(at, None)?;
            }
            WaitStatus::PtraceSyscall(at) => match at_a_call(at, threads.entry(at).or_default(), watch) {
                Ok(Then::Kill) => kill(pid, Signal::SIGKILL)?,
                Ok(_) | Err(Errno::ESRCH) => go_on(at, None)?,
                Err(error) => return Err(error.into()),
            },
            WaitStatus::PtraceEvent(at, _, _) => go_on(at, None)?,
            WaitStatus::Stopped(at, signal) => go_on(at, Some(signal))?,
            WaitStatus::Exited(..)
            | WaitStatus::Signaled(..)
            | WaitStatus::Continued(_)
            | WaitStatus::StillAlive => {}
        }
    }
}

fn at_a_call(at: Pid, thread: &mut Thread, watch: &mut dyn FnMut(&Stop) -> Then) -> nix::Result<Then> {
    // Which of the two it is, the kernel says; what is in the registers means one or the other.
    let is_entry = ptrace::syscall_info(at)?.op == libc::PTRACE_SYSCALL_INFO_ENTRY;
    if is_entry {
        let stop = registers::entered(at)?;
        thread.entered = Some(stop);
        let then = watch(&stop);
        match then {
            Then::Fail(errno) => {
                registers::skip(at)?;
                thread.fails = Some(errno);
            }
            Then::Shorten(bytes) => registers::shorten(at, bytes)?,
            Then::Go | Then::Kill => {}
        }
        return Ok(then);
    }
    let Some(entered) = thread.entered.take() else { return Ok(Then::Go) };
    let returned = match thread.fails.take() {
        Some(errno) => {
            let returned = -i64::from(errno as i32);
            registers::return_with(at, returned)?;
            returned
        }
        None => registers::returned(at)?,
    };
    Ok(watch(&Stop { returned: Some(returned), ..entered }))
}

/// Where a call's number, arguments and result are, on the one architecture on which a call can be taken back
/// by its registers alone.
#[cfg(target_arch = "x86_64")]
mod registers {
    use super::Stop;
    use nix::sys::ptrace::{getregs, setregs};
    use nix::unistd::Pid;

    pub(super) fn entered(thread: Pid) -> nix::Result<Stop> {
        let is = getregs(thread)?;
        let arguments = [is.rdi, is.rsi, is.rdx, is.r10, is.r8, is.r9];
        Ok(Stop { thread, number: is.orig_rax.cast_signed(), arguments, returned: None })
    }

    pub(super) fn skip(thread: Pid) -> nix::Result<()> {
        let mut is = getregs(thread)?;
        is.orig_rax = u64::MAX;
        setregs(thread, is)
    }

    pub(super) fn shorten(thread: Pid, bytes: u64) -> nix::Result<()> {
        let mut is = getregs(thread)?;
        is.rdx = bytes;
        setregs(thread, is)
    }

    pub(super) fn returned(thread: Pid) -> nix::Result<i64> {
        Ok(getregs(thread)?.rax.cast_signed())
    }

    pub(super) fn return_with(thread: Pid, value: i64) -> nix::Result<()> {
        let mut is = getregs(thread)?;
        is.rax = value.cast_unsigned();
        setregs(thread, is)
    }
}

/// Elsewhere every run ends with an error that says so.
#[cfg(not(target_arch = "x86_64"))]
mod registers {
    use super::Stop;
    use nix::errno::Errno;
    use nix::unistd::Pid;

    pub(super) fn entered(_: Pid) -> nix::Result<Stop> {
        Err(Errno::ENOSYS)
    }

    pub(super) fn skip(_: Pid) -> nix::Result<()> {
        Err(Errno::ENOSYS)
    }

    pub(super) fn shorten(_: Pid, _: u64) -> nix::Result<()> {
        Err(Errno::ENOSYS)
    }

    pub(super) fn returned(_: Pid) -> nix::Result<i64> {
        Err(Errno::ENOSYS)
    }

    pub(super) fn return_with(_: Pid, _: i64) -> nix::Result<()> {
        Err(Errno::ENOSYS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).env("PATH", "/usr/bin:/bin");
        command
    }

    fn writes(stop: &Stop) -> bool {
        stop.number == libc::SYS_write
    }

    #[test]
    fn a_program_runs_as_if_nobody_watched() {
        let mut calls = 0;
        let ended = run(&sh("echo said; echo cried >&2; exit 3"), &mut |_| {
            calls += 1;
            Then::Go
        })
        .unwrap();
        assert_eq!((ended.code, ended.signal, ended.hung), (Some(3), None, false));
        assert_eq!((ended.out.as_str(), ended.err.as_str()), ("said\n", "cried\n"));
        assert!(calls > 10, "{calls}");
    }

    #[test]
    fn a_call_fails_is_cut_short_and_is_the_last_one() {
        let check = |then: Then, at_entry: bool, code: Option<i32>, out: &str| {
            let ended = run(&sh("echo said || exit 4"), &mut |stop| {
                let here = writes(stop) && stop.returned.is_none() == at_entry;
                if here && stop.arguments[0] == 1 { then } else { Then::Go }
            })
            .unwrap();
            assert_eq!((ended.code, ended.out.as_str()), (code, out), "{then:?} {}", ended.err);
        };
        check(Then::Go, true, Some(0), "said\n");
        check(Then::Fail(Errno::ENOSPC), true, Some(4), "");
        check(Then::Kill, true, None, "");
        check(Then::Kill, false, None, "said\n");
        // The shell writes on where it was.
        check(Then::Shorten(1), true, Some(0), "said\n");
    }

    #[test]
    fn what_a_call_is_about_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut seen = Vec::new();
        let _ended = run(&sh(&format!("printf text > {}", path.display())), &mut |stop| {
            if writes(stop) && stop.returned.is_none() {
                let length = usize::try_from(stop.arguments[2]).unwrap();
                seen.push((stop.path_of(stop.arguments[0]), stop.bytes(stop.arguments[1], length)));
            }
            if stop.number == libc::SYS_openat && stop.text(stop.arguments[1]).ends_with("/file") {
                seen.push((None, b"opened".to_vec()));
            }
            Then::Go
        })
        .unwrap();
        let opened = (None, b"opened".to_vec());
        assert_eq!(seen, [opened.clone(), opened, (Some(path), b"text".to_vec())]);
    }
}

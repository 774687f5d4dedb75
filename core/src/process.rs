//! What a program does before it reads anything: its memory, and with it tokens and keys, stays out of core
//! dumps, and no file that it makes is open to others unless it says so.

use rustix::fs::Mode;
use rustix::io::Result;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask};

/// Sets the umask to 077 and forbids core dumps of this process. The latter both ways, since each alone has a hole: a core pattern with a
/// pipe (systemd-coredump) ignores the limit, and a change of credentials resets the flag. The flag
/// also keeps other programs of the same user from reading the memory.
///
/// # Errors
/// As prctl(2) and setrlimit(2), after both were tried.
pub fn close() -> Result<()> {
    let _as_it_was = umask(Mode::RWXG | Mode::RWXO);
    let flag = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).and(flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{dumpable_behavior, getrlimit};

    #[test]
    fn nothing_is_dumped_and_nothing_is_open() {
        close().unwrap();
        close().unwrap();
        assert_eq!(umask(Mode::RWXG | Mode::RWXO), Mode::RWXG | Mode::RWXO);
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        // What the program looks at of itself is there all the same.
        std::fs::metadata("/proc/self/fd/2").unwrap();
    }
}

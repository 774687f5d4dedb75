//! Keeps the process's memory, and with it tokens and keys, out of core dumps.

use rustix::io::Result;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Forbids core dumps of this process. Both ways, since each alone has a hole: a core pattern with a
/// pipe (systemd-coredump) ignores the limit, and a change of credentials resets the flag. The flag
/// also keeps other programs of the same user from reading the memory.
///
/// # Errors
/// As prctl(2) and setrlimit(2), after both were tried.
pub fn forbid() -> Result<()> {
    let flag = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).and(flag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{dumpable_behavior, getrlimit};

    #[test]
    fn nothing_is_dumped() {
        forbid().unwrap();
        forbid().unwrap();
        assert_eq!(dumpable_behavior(), Ok(DumpableBehavior::NotDumpable));
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        // What the program looks at of itself is there all the same.
        std::fs::metadata("/proc/self/fd/2").unwrap();
    }
}

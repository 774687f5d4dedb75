//! The program `imprint-rotator`; see `lib.rs`.

/// Freed memory is wiped, so that copies of secrets which libraries make do not outlive them.
#[global_allocator]
static WIPING: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    imprint_rotator::main()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    /// The kernel still shows what was freed; the system's allocator alone would leave it there.
    #[test]
    fn what_is_freed_is_wiped() {
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let secret = vec![0xa5_u8; 1024];
        let at = u64::try_from(secret.as_ptr().addr()).unwrap();
        let mut seen = [0; 1024];
        memory.read_exact_at(&mut seen, at).unwrap();
        assert_eq!(seen, [0xa5; 1024]);
        drop(secret);
        memory.read_exact_at(&mut seen, at).unwrap();
        assert!(seen.windows(4).all(|four| four != [0xa5; 4]), "{seen:x?}");
    }
}

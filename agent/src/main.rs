//! The program `imprint`; see `lib.rs`.

/// Freed memory is wiped, so that copies of secrets which libraries make do not outlive them.
#[global_allocator]
static WIPING: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    imprint_agent::main()
}

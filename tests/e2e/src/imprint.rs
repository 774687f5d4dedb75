//! The program once more, so that this package's tests find it; see its own `main.rs`.

/// Freed memory is wiped, as in the shipped program.
#[global_allocator]
static WIPING: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    imprint_agent::main()
}

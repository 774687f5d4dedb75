//! The program; see lib.rs.
use zeroizing_alloc::ZeroAlloc;

/// Wipes what libraries freed: copies of tokens and keys among it.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<std::alloc::System> = ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    imprint_rotator::main()
}

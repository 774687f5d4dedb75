//! The program `imprint` with the system's allocator, which does not wipe what is freed: for the bench.

fn main() -> std::process::ExitCode {
    imprint_agent::main()
}

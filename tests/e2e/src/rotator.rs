//! The program; see lib.rs.
fn main() -> std::process::ExitCode {
    imprint_rotator::main()
}

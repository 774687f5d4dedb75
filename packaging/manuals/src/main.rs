//! Writes the man pages and shell completions under `packaging/usr/share`.

fn main() {}

//! One line on the console when a boot's enrollment fails: EC2 shows it in the instance's console
//! output, where it can be read of an instance that nobody can log in to.

use rustix::fs::{Mode, OFlags, open};
use std::path::{Path, PathBuf};

/// The longest line, in bytes.
const LONGEST: usize = 1000;

/// `/dev/console` at a boot: for root, when systemd runs the program.
#[must_use]
pub fn automatic() -> Option<PathBuf> {
    let at_boot = rustix::process::geteuid().is_root() && crate::journal::is_under_systemd();
    at_boot.then(|| "/dev/console".into())
}

/// Writes one line, without waiting. It is the last resort, so nobody is told when it fails.
pub fn tell(device: &Path, line: &str) {
    let mut line: String = line.chars().filter(|c| !c.is_control()).collect();
    while line.len() > LONGEST {
        line.pop();
    }
    line.push_str("\r\n");
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(file) = open(device, flags, Mode::empty()) {
        let _last_resort = rustix::io::write(&file, line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bounded_line_and_never_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let device = dir.path().join("console");
        tell(&device, "nobody there");
        assert!(!device.exists());
        std::fs::write(&device, "").unwrap();
        tell(&device, &format!("a\u{1b}[2J\nb{}", "é".repeat(2000)));
        let text = std::fs::read_to_string(&device).unwrap();
        assert!(text.starts_with("a[2Jbé") && text.ends_with("é\r\n") && text.len() <= LONGEST + 2);
    }
}

//! Whether this process runs in a container: one hop more to the metadata service than its answer may take.

use std::fs;
use std::path::Path;

/// Files that Docker and Podman put into each container.
const MARKS: [&str; 2] = [".dockerenv", "run/.containerenv"];

/// What the control groups of containers are called.
const GROUPS: [&str; 6] = ["docker", "containerd", "kubepods", "libpod", "lxc", "/ecs/"];

/// Looks in this root, which is `/` but for tests.
pub(super) fn is_one(root: &Path) -> bool {
    // Files of the kernel, which are short; what cannot be read tells nothing.
    let groups = fs::read_to_string(root.join("proc/1/cgroup")).unwrap_or_default();
    let manager = fs::read_to_string(root.join("run/systemd/container")).unwrap_or_default();
    MARKS.iter().any(|mark| root.join(mark).exists())
        || GROUPS.iter().any(|group| groups.contains(group))
        || !manager.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_a_container() {
        let check = |path: &str, text: &str, want: bool| {
            let root = tempfile::tempdir().unwrap();
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
            assert_eq!(is_one(root.path()), want, "{path} {text}");
        };
        check(".dockerenv", "", true);
        check("run/.containerenv", "engine=\"podman\"", true);
        check("run/systemd/container", "systemd-nspawn\n", true);
        check("proc/1/cgroup", "12:pids:/kubepods/besteffort/pod1/2\n", true);
        check("proc/1/cgroup", "1:name=systemd:/docker/0123\n", true);
        check("proc/1/cgroup", "0::/init.scope\n", false);
        check("proc/1/cgroup", "0::/\n", false);
        check("etc/os-release", "docker", false);
    }
}

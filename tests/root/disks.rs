//! Disks as they can be: full, read-only, with a file that nothing may replace. All is found before
//! anything is redeemed, and nothing is left behind.

use crate::{Ran, in_namespace, no_secret, published};

/// What is said of a machine's `/etc` after the program has ended, by its own shell: the namespace is
/// gone with it.
const LISTED: &str = "
list() { echo \"exit $?\"; ls -A $root/etc | sed 's/^/in etc: /'; } >&2
trap list EXIT
\"$@\"
exit";

/// An enrollment on a disk that `script` makes must end with 73 before a redeem, with no litter.
#[track_caller]
fn check(script: &str, say: &str, left: &[&str]) {
    let site = published();
    let machine = site.machine("web");
    let enroll = machine.imprint(&["enroll", "--deadline", "3s"]);
    let ran = Ran::of(&mut in_namespace(&machine, &format!("{script}{LISTED}"), &enroll)).expect(73);
    assert!(ran.err.contains(say) && ran.err.contains("hint"), "should say {say:?}:\n{}", ran.err);
    let listed: Vec<&str> = ran.err.lines().filter_map(|line| line.strip_prefix("in etc: ")).collect();
    assert_eq!(listed, left, "{}", ran.err);
    no_secret(&site, &[&ran.out, &ran.err]);
    assert_eq!(site.stack.conjur.count("redeem"), 0);
}

/// Puts a small file system over `/etc`, with the configuration in it, and then no room for a byte.
fn full(mount: &str) -> String {
    format!(
        "cp -r $root/etc $root/etc.copy; {mount}; cp -r $root/etc.copy/. $root/etc
        dd if=/dev/zero of=$root/etc/fill bs=4k 2>/dev/null || dd if=/dev/zero of=$root/etc/fill2 bs=1 2>/dev/null || true"
    )
}

#[test]
#[ignore = "needs root: make test-root"]
fn a_read_only_disk() {
    check("mount --bind $root/etc $root/etc; mount -o remount,bind,ro $root/etc", "ead-only", &["imprint"]);
}

#[test]
#[ignore = "needs root: make test-root"]
fn a_full_disk() {
    let left = ["fill", "fill2", "imprint"];
    check(&full("mount -t tmpfs -o size=64k,mode=755 none $root/etc"), "No space left", &left);
    let ext4 = "truncate -s 4M $root/disk; mkfs.ext4 -q -m 0 $root/disk; mount -o loop $root/disk $root/etc; rmdir $root/etc/lost+found";
    check(&full(ext4), "No space left", &left);
    // Room for a byte, and no name left for a file.
    let nameless =
        "cp -r $root/etc $root/etc.copy; mount -t tmpfs -o size=1m,nr_inodes=4,mode=755 none $root/etc
        cp -r $root/etc.copy/. $root/etc; touch $root/etc/fill";
    check(nameless, "No space left", &["fill", "imprint"]);
}

#[test]
#[ignore = "needs root: make test-root"]
fn a_file_that_nothing_may_replace() {
    for (attribute, say) in [("i", "is immutable"), ("a", "is append-only")] {
        let script = format!(
            "truncate -s 8M $root/disk; mkfs.ext4 -q $root/disk; cp -r $root/etc $root/etc.copy; mount -o loop $root/disk $root/etc
            rmdir $root/etc/lost+found; cp -r $root/etc.copy/. $root/etc; touch $root/etc/conjur.conf; chattr +{attribute} $root/etc/conjur.conf"
        );
        check(&script, say, &["conjur.conf", "imprint"]);
    }
    let mounted =
        "touch $root/etc/conjur.identity; mount --bind $root/etc/conjur.identity $root/etc/conjur.identity";
    check(mounted, "is a mount point", &["conjur.identity", "imprint"]);
    // A directory with the attribute takes no new name.
    let directory = "truncate -s 8M $root/disk; mkfs.ext4 -q $root/disk; cp -r $root/etc $root/etc.copy; mount -o loop $root/disk $root/etc
        rmdir $root/etc/lost+found; cp -r $root/etc.copy/. $root/etc; chattr +i $root/etc";
    check(directory, "Operation not permitted", &["imprint"]);
}

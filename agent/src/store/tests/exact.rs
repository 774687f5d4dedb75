//! Who may use a file, before its first byte; and who could swap it, from its directory up to the root.

use super::*;
use rustix::fs::{XattrFlags, setxattr};
use std::os::unix::fs::{chown, symlink};

const LABEL: &str = "security.selinux";

fn aloud(may: bool, what: &str) -> bool {
    if !may {
        let line = format!("SKIPPED: {what}\n");
        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
    }
    may
}

fn is_root() -> bool {
    aloud(rustix::process::geteuid().is_root(), "what only root may do to a file")
}

/// Whether a label can be set: by root, on most file systems, unless a container forbids it. `make
/// test-root` insists on it.
fn may_label() -> bool {
    let file = tempfile::NamedTempFile::new().unwrap();
    let may = setxattr(file.path(), LABEL, b"a:b:c:s0\0", XattrFlags::empty()).is_ok();
    aloud(may, "no SELinux label can be set here")
}

/// An access list as the kernel takes it: the owner, user 1234, the group, the mask and others.
fn acl(user: u16, group: u16) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in
        [(1u16, 7u16, u32::MAX), (2, user, 1234), (4, group, u32::MAX), (16, 7, u32::MAX), (32, 0, u32::MAX)]
    {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

#[test]
fn owner_group_mode_label_and_no_access_list_before_the_first_byte() {
    let dir = tempfile::tempdir().unwrap();
    let listed = setxattr(dir.path(), "system.posix_acl_default", &acl(6, 5), XattrFlags::empty());
    if !aloud(listed != Err(Errno::OPNOTSUPP), "this file system has no access lists") {
        return;
    }
    listed.unwrap();
    // What the list would do to a file that is made the usual way.
    std::fs::write(dir.path().join("usual"), "").unwrap();
    let (_, looks) = read_with_looks(&dir.path().join("usual"), 1).unwrap().unwrap();
    assert!(looks.has_acl);

    let root = is_root();
    let own = target(dir.path(), 0o640);
    let (owner, group) = if root { (Some(1000), Some(50)) } else { (own.owner, None) };
    let label = may_label().then(|| "system_u:object_r:etc_t:s0".to_owned());
    let target = Target { owner, group, label: label.clone(), ..own };
    let disk = Faulty::at(0, Errno::IO);
    put(&disk, &target, b"secret").unwrap();
    prove_writable(&Faulty { is_simple: true, ..Faulty::at(0, Errno::IO) }, &target, 5)
        .unwrap()
        .release()
        .unwrap();
    let group = group.unwrap_or_else(|| rustix::process::getegid().as_raw());
    let label = label.map(|label| [label.as_bytes(), b"\0"].concat());
    let expect: Dressed = (0o640, owner.unwrap(), group, 0, label.clone(), false);
    assert_eq!(*disk.dressed.borrow(), [expect]);
    let (_, looks) = read_with_looks(&target.path, 10).unwrap().unwrap();
    assert!(looks.are_of(&target), "{looks:?}");

    // A list that is given later is seen, though owner, group and mode are as they should be.
    setxattr(&target.path, disk::ACL, &acl(4, 4), XattrFlags::empty()).unwrap();
    std::fs::set_permissions(&target.path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let (_, looks) = read_with_looks(&target.path, 10).unwrap().unwrap();
    assert!(!looks.are_of(&target) && looks.stat.st_mode & 0o7777 == 0o640);
}

#[test]
fn a_file_keeps_the_label_of_the_one_that_it_replaces() {
    if !may_label() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let target = Target { label: Some("configured".to_owned()), ..target(dir.path(), 0o600) };
    let label = |path: &Path| {
        let mut label = [0; 100];
        let size = rustix::fs::getxattr(path, LABEL, label.as_mut_slice()).ok()?;
        Some(String::from_utf8_lossy(&label[..size]).into_owned())
    };
    put(&Real, &target, b"1").unwrap();
    assert_eq!(label(&target.path).as_deref(), Some("configured\0"));
    setxattr(&target.path, LABEL, b"an operator's\0", XattrFlags::empty()).unwrap();
    put(&Real, &target, b"2").unwrap();
    assert_eq!(label(&target.path).as_deref(), Some("an operator's\0"));
    let other = Target { path: dir.path().join("other"), ..target.clone() };
    put_all(&Real, &[(&target, b"3"), (&other, b"3")]).unwrap();
    assert_eq!(label(&target.path).as_deref(), Some("an operator's\0"));
    assert_eq!(label(&other.path).as_deref(), Some("configured\0"));
    remove(&Real, &target.path).unwrap();
    put(&Real, &Target { label: None, ..target.clone() }, b"4").unwrap();
    assert_eq!(label(&target.path), None);
    // A file system without labels cannot do what it shall: it is said, and nothing is left.
    let error = put(&Real, &Target { path: "/proc/imprint".into(), ..target }, b"5").unwrap_err();
    assert!(error.to_string().contains("cannot"), "{error}");
}

#[test]
fn every_directory_on_the_way_is_judged() {
    let dir = tempfile::tempdir().unwrap();
    let at = |below: &str| dir.path().join(below);
    std::fs::create_dir_all(at("way/etc")).unwrap();
    let mode = |below: &str, mode: u32| {
        std::fs::set_permissions(at(below), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let check = |path: &Path, say: Option<&str>| {
        let target = Target { path: path.join("file"), ..target(dir.path(), 0o600) };
        let judged = judge(&Real, &target);
        assert_eq!(judged, put(&Real, &target, b"x"), "{path:?}");
        match (&judged, say) {
            (Ok(()), None) => remove(&Real, &target.path).unwrap(),
            (Err(error), Some(say)) => {
                assert!(error.to_string().contains(say), "{error} should say {say:?}");
                assert!(error.hint().is_some() && error.class() == Class::Storage);
            }
            (judged, say) => panic!("{path:?}: {judged:?}, not {say:?}"),
        }
    };
    check(&at("way/etc"), None);
    mode("way", 0o777);
    check(&at("way/etc"), Some("/way is world-writable"));
    // Where the sticky bit keeps others from what is not theirs; but the file itself needs more.
    mode("way", 0o1777);
    check(&at("way/etc"), None);
    check(&at("way"), Some("/way is world-writable"));
    symlink("etc", at("way/link")).unwrap();
    check(&at("way/link"), None);
    check(&at("way/link/../etc/."), None);
    // A link is only as good as the directory that it lies in.
    std::fs::create_dir(at("open")).unwrap();
    symlink(at("way/etc"), at("open/link")).unwrap();
    check(&at("open/link"), None);
    mode("open", 0o777);
    check(&at("open/link"), Some("/open is world-writable"));
    symlink(at("open/link"), at("link")).unwrap();
    check(&at("link"), Some("/open is world-writable"));
    symlink("round", at("round")).unwrap();
    check(&at("round"), Some("cannot open the directory"));
    check(Path::new("etc"), Some("is no absolute path"));
    check(&at("none/etc"), Some("cannot open the directory"));
    std::fs::write(at("plain"), "").unwrap();
    check(&at("plain/etc"), Some("/plain is not a directory"));
    if is_root() {
        chown(at("way"), None, Some(50)).unwrap();
        mode("way", 0o775);
        check(&at("way/etc"), Some("/way is writable by its group"));
        mode("way", 0o755);
        chown(at("way"), Some(65534), None).unwrap();
        check(&at("way/etc"), Some("/way belongs to another user"));
        chown(at("way"), Some(0), None).unwrap();
        check(&at("way/etc"), None);
        mode("way", 0o1777);
        std::os::unix::fs::lchown(at("way/link"), Some(65534), None).unwrap();
        check(&at("way/link"), Some("/way/link is a link of another user"));
    }
}

#[test]
fn a_directory_where_others_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let check = |mode: u32, good: bool| {
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let end = put(&Real, &target(dir.path(), 0o600), b"x");
        assert_eq!(end.is_ok(), good, "{mode:o}: {end:?}");
    };
    check(0o755, true);
    check(0o777, false);
    check(0o1777, false);
    check(0o700, true);
    let none = Target { path: dir.path().join("no/file"), ..target(dir.path(), 0o600) };
    let error = put(&Real, &none, b"x").unwrap_err();
    assert!(imprint_core::error::chain(&error).contains("cannot open the directory"), "{error}");
    assert_eq!(error.hint(), Some("make the directory, or set another path in [files]"));
    if std::fs::metadata(dir.path()).unwrap().uid() == 0 {
        std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
        check(0o700, false);
    }
}

#[test]
fn only_our_own_group_may_write_in_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let real = *Folders::new(&Real).folder(dir.path()).unwrap().stat();
    let check = |mode: u32, group: u32, expect: bool| {
        let mut stat = real;
        (stat.st_mode, stat.st_gid) = (mode, group);
        assert_eq!(unfit(&stat, 1000, true).is_some(), expect, "{mode:o} {group}");
    };
    check(0o40770, 50, true);
    check(0o42775, 50, true);
    check(0o40755, 50, false);
    check(0o40775, 0, false);
    check(0o40775, 1000, false);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(dir.path(), None, Some(50)).unwrap();
        let check = |mode: u32, good: bool| {
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            let end = put(&Real, &target(dir.path(), 0o640), b"x");
            assert_eq!(end.is_ok(), good, "{mode:o}: {end:?}");
        };
        check(0o770, false);
        check(0o2755, true);
        let own = rustix::process::getegid().as_raw();
        assert_eq!(std::fs::metadata(dir.path().join("file")).unwrap().gid(), own);
        put(&Real, &Target { group: Some(51), ..target(dir.path(), 0o640) }, b"x").unwrap();
        assert_eq!(std::fs::metadata(dir.path().join("file")).unwrap().gid(), 51);
    }
}

#[test]
fn an_owner_that_is_right_needs_no_right_to_set_one() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Faulty { is_sandboxed: true, ..Faulty::at(0, Errno::IO) };
    let (own, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let check = |owner: Option<u32>, group: Option<u32>, good: bool| {
        let end = put(&disk, &Target { owner, group, ..target(dir.path(), 0o640) }, b"x");
        assert_eq!(end.is_ok(), good, "{owner:?} {group:?}: {end:?}");
    };
    check(None, None, true);
    check(Some(own), Some(group), true);
    check(Some(own), None, true);
    check(None, Some(group + 1), false);
    check(Some(own + 1), None, false);
}

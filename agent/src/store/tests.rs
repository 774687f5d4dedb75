mod exact;
mod faults;

use super::place::unfit;
use super::*;
use rustix::fs::{FileType, Stat, StatxAttributes};
use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

/// The real disk, whose call number `fails_at` (from 1) gives an error instead.
pub struct Faulty {
    pub fails_at: usize,
    /// And every one that comes after it.
    pub for_good: bool,
    /// It can neither exchange two names nor promise space.
    pub is_simple: bool,
    /// A sandbox without fchown(2) lies around the process.
    pub is_sandboxed: bool,
    pub errno: Errno,
    pub calls: Cell<usize>,
    /// What every file that is there shall have.
    pub attributes: StatxAttributes,
    /// What a file was like when its first byte was about to be written.
    pub dressed: RefCell<Vec<Dressed>>,
}

/// Mode, owner, group, size, label, and whether there is an access list.
type Dressed = (u32, u32, u32, i64, Option<Vec<u8>>, bool);

fn dressed(file: &OwnedFd) -> Dressed {
    let stat = rustix::fs::fstat(file).unwrap();
    let mut label = [0; 100];
    let label = rustix::fs::fgetxattr(file, "security.selinux", label.as_mut_slice())
        .ok()
        .map(|size| label.get(..size).unwrap().to_vec());
    let acl = rustix::fs::fgetxattr_query(file, disk::ACL).is_ok();
    (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid, stat.st_size, label, acl)
}

impl Faulty {
    pub fn at(fails_at: usize, errno: Errno) -> Self {
        Self {
            fails_at,
            for_good: false,
            is_simple: false,
            is_sandboxed: false,
            errno,
            calls: Cell::new(0),
            attributes: StatxAttributes::empty(),
            dressed: RefCell::default(),
        }
    }

    fn call<T>(&self, real: impl FnOnce() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
        self.calls.set(self.calls.get() + 1);
        let at = self.calls.get();
        let fails = at == self.fails_at || self.for_good && self.fails_at > 0 && at > self.fails_at;
        if fails { Err(self.errno) } else { real() }
    }
}

impl Disk for Faulty {
    fn open_root(&self) -> rustix::io::Result<OwnedFd> {
        self.call(|| Real.open_root())
    }
    fn open_below(&self, dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
        self.call(|| Real.open_below(dir, name))
    }
    fn read_link(&self, link: &OwnedFd) -> rustix::io::Result<PathBuf> {
        self.call(|| Real.read_link(link))
    }
    fn look(&self, at: &OwnedFd) -> rustix::io::Result<Stat> {
        self.call(|| Real.look(at))
    }
    fn open_dir(&self, at: &OwnedFd) -> rustix::io::Result<OwnedFd> {
        self.call(|| Real.open_dir(at))
    }
    fn stat(&self, dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<Option<Stat>> {
        self.call(|| Real.stat(dir, name))
    }
    fn attributes(&self, dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<StatxAttributes> {
        self.call(|| Real.attributes(dir, name))?;
        Ok(self.attributes)
    }
    fn label(&self, dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<Option<Vec<u8>>> {
        self.call(|| Real.label(dir, name))
    }
    fn create(&self, dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
        self.call(|| Real.create(dir, name))
    }
    fn drop_acl(&self, file: &OwnedFd) -> rustix::io::Result<()> {
        self.call(|| Real.drop_acl(file))
    }
    fn set_label(&self, file: &OwnedFd, label: &[u8]) -> rustix::io::Result<()> {
        self.call(|| Real.set_label(file, label))
    }
    fn reserve(&self, file: &OwnedFd, size: usize) -> rustix::io::Result<()> {
        self.call(|| if self.is_simple { Err(Errno::OPNOTSUPP) } else { Real.reserve(file, size) })
    }
    fn exchange(&self, dir: &OwnedFd, one: &OsStr, other: &OsStr) -> rustix::io::Result<()> {
        self.call(|| if self.is_simple { Err(Errno::INVAL) } else { Real.exchange(dir, one, other) })
    }
    fn set_owner(&self, file: &OwnedFd, owner: Option<u32>, group: Option<u32>) -> rustix::io::Result<()> {
        self.call(|| if self.is_sandboxed { Err(Errno::PERM) } else { Real.set_owner(file, owner, group) })
    }
    fn set_mode(&self, file: &OwnedFd, mode: u32) -> rustix::io::Result<()> {
        self.call(|| Real.set_mode(file, mode))
    }
    fn write(&self, file: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<()> {
        self.dressed.borrow_mut().push(dressed(file));
        // A full disk takes a part first.
        self.call(|| Real.write(file, bytes)).inspect_err(|_| {
            let _part = Real.write(file, bytes.get(..bytes.len() / 2).unwrap_or_default());
        })
    }
    fn sync(&self, file: &OwnedFd) -> rustix::io::Result<()> {
        self.call(|| Real.sync(file))
    }
    fn rename(&self, dir: &OwnedFd, from: &OsStr, to: &OsStr) -> rustix::io::Result<()> {
        self.call(|| Real.rename(dir, from, to))
    }
    fn remove(&self, dir: &OwnedFd, name: &OsStr) -> rustix::io::Result<()> {
        self.call(|| Real.remove(dir, name))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn target(dir: &Path, mode: u32) -> Target {
    let own = rustix::process::geteuid().as_raw();
    Target { path: dir.join("file"), mode, owner: Some(own), group: None, label: None }
}

#[test]
fn what_was_put_is_there_whole_and_exact() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, bytes) in [(0o600, vec![b'a'; 300_000]), (0o640, vec![]), (0o644, b"x\n".to_vec())] {
        let target = target(dir.path(), mode);
        put(&Real, &target, &bytes).unwrap();
        assert_eq!(read(&target.path, 400_000), Ok(Some(bytes)));
        assert_eq!(std::fs::metadata(&target.path).unwrap().permissions().mode() & 0o7777, mode);
        assert_eq!(names(dir.path()), ["file"]);
    }
    // What a crash left behind goes.
    std::fs::write(dir.path().join(".file.imprint-draft"), "secret").unwrap();
    put(&Real, &target(dir.path(), 0o600), b"new").unwrap();
    assert_eq!(names(dir.path()), ["file"]);
    prove_writable(&Real, &target(dir.path(), 0o600), 1000).unwrap().release().unwrap();
    assert_eq!(
        (names(dir.path()), read(&dir.path().join("file"), 10)),
        (vec!["file".into()], Ok(Some(b"new".to_vec())))
    );
    std::fs::write(dir.path().join(".file.imprint-draft"), "secret").unwrap();
    remove(&Real, &dir.path().join("file")).unwrap();
    remove(&Real, &dir.path().join("file")).unwrap();
    remove(&Real, &dir.path().join("no/such/dir/file")).unwrap();
    assert!(names(dir.path()).is_empty());
}

#[test]
fn what_is_no_plain_file_of_ours_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("other");
    std::fs::write(&other, "theirs").unwrap();
    type Make<'a> = (&'a str, &'a dyn Fn(&Path));
    let make: [Make<'_>; 5] = [
        ("a symbolic link", &|path| std::os::unix::fs::symlink(&other, path).unwrap()),
        ("a symbolic link", &|path| std::os::unix::fs::symlink("/nowhere", path).unwrap()),
        ("a directory", &|path| std::fs::create_dir(path).unwrap()),
        ("hard link", &|path| std::fs::hard_link(&other, path).unwrap()),
        ("a FIFO", &|path| {
            use rustix::fs::{CWD, Mode, mknodat};
            mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        }),
    ];
    for (at, (what, make)) in make.iter().enumerate() {
        let below = dir.path().join(at.to_string());
        std::fs::create_dir(&below).unwrap();
        let target = target(&below, 0o600);
        make(&target.path);
        let errors = [
            put(&Real, &target, b"x").err(),
            prove_writable(&Real, &target, 1).map(drop).err(),
            remove(&Real, &target.path).err(),
            // Reading one of two names harms nobody.
            read(&target.path, 10).err().filter(|_| *what != "hard link"),
        ];
        assert!(errors.iter().take(3).all(Option::is_some), "{what}: {errors:?}");
        for error in errors.into_iter().flatten() {
            assert!(error.to_string().contains(what), "{error}");
            assert!(error.hint().is_some());
        }
        assert_eq!(names(&below), ["file"]);
        assert_eq!(std::fs::read(&other).unwrap(), b"theirs");
    }
    let error =
        put(&Real, &Target { path: "/".into(), mode: 0o600, owner: None, group: None, label: None }, b"")
            .unwrap_err();
    assert!(matches!(error, Error::Target { .. }), "{error}");
}

#[test]
fn a_file_that_cannot_be_replaced_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let target = target(dir.path(), 0o600);
    let check = |attributes: StatxAttributes, say: &str| {
        let disk = Faulty { attributes, ..Faulty::at(0, Errno::IO) };
        let errors = [
            put(&disk, &target, b"x").err(),
            prove_writable(&disk, &target, 1).map(drop).err(),
            remove(&disk, &target.path).err(),
        ];
        for error in errors {
            let error = error.unwrap();
            assert!(error.to_string().ends_with(say), "{error}");
            assert_eq!((error.class(), error.hint().is_some()), (Class::Storage, true));
        }
        assert_eq!(read(&target.path, 10), Ok(Some(b"old".to_vec())));
    };
    // Where there is nothing yet, nothing is held.
    put(&Faulty { attributes: StatxAttributes::IMMUTABLE, ..Faulty::at(0, Errno::IO) }, &target, b"old")
        .unwrap();
    check(StatxAttributes::IMMUTABLE, "/file is immutable");
    check(StatxAttributes::APPEND, "/file is append-only");
    check(StatxAttributes::MOUNT_ROOT | StatxAttributes::COMPRESSED, "/file is a mount point");
    put(&Faulty { attributes: StatxAttributes::COMPRESSED, ..Faulty::at(0, Errno::IO) }, &target, b"x")
        .unwrap();
    // What the kernel says: every Linux has something mounted here.
    let error = put(&Real, &Target { path: "/proc".into(), ..target }, b"x").unwrap_err();
    assert_eq!(error, Error::Held { path: "/proc".into(), by: Hold::MountPoint });
}

#[test]
fn what_was_proved_stays_taken_until_it_is_released_or_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let target = target(dir.path(), 0o600);
    let proof = prove_writable(&Real, &target, 5000).unwrap();
    let draft = dir.path().join(".file.imprint-draft");
    assert_eq!(std::fs::metadata(&draft).unwrap().len(), 5000);
    proof.release().unwrap();
    assert!(names(dir.path()).is_empty());
    drop(prove_writable(&Real, &target, 5000).unwrap());
    assert!(names(dir.path()).is_empty());
}

#[test]
fn reading_is_capped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    assert_eq!(read(&path, 3), Ok(None));
    std::fs::write(&path, "abc").unwrap();
    assert_eq!(read(&path, 3), Ok(Some(b"abc".to_vec())));
    assert_eq!(read(&path, 2), Err(Error::Large { path: path.clone(), most: 2 }));
    assert!(matches!(read(Path::new("/dev/zero"), 3), Err(Error::Target { what: "a device", .. })));
}

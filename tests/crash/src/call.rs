//! Which system calls can matter, what each is about, and which errors fit it.
//!
//! A call is named by what it does and to what: `rename $root/etc/.conjur.conf.imprint-draft`,
//! `sendto conjur`. Machines and ports differ from run to run, these names do not, and the third call of
//! one name is the third one in every run.

use crate::tracer::Stop;
use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a call does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Does {
    /// Changes a file or a directory, makes it last, or takes a lock.
    Change,
    /// Opens a connection.
    Connect,
    /// Looks at a file without changing it.
    Look,
    /// Takes what a server has sent.
    Receive,
    /// Tells the person or program that called.
    Say,
    /// Sends to a server.
    Send,
    /// Asks the system for what the program itself runs on: a socket, an event queue, a thread.
    Stand,
}

impl Does {
    /// Whether the world may be another one before and after the call.
    #[must_use]
    pub const fn matters(self) -> bool {
        match self {
            Self::Change | Self::Connect | Self::Send => true,
            Self::Look | Self::Receive | Self::Say | Self::Stand => false,
        }
    }
}

/// Where a call says what it is about.
#[derive(Clone, Copy)]
enum About {
    /// A descriptor: the first argument.
    Descriptor,
    /// Nothing.
    Nothing,
    /// A path: this argument.
    Path(usize),
    /// A descriptor of a directory, and a path below it: the argument after it.
    Below(usize),
}

/// One system call of a run, named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Call {
    /// The system call.
    pub name: &'static str,
    /// What it does.
    pub does: Does,
    /// On what: a path with the machine's root as `$root`, a server, `stdout`.
    pub subject: String,
    /// The same as a path, where it is one.
    pub path: Option<PathBuf>,
    /// How often this was called on this before.
    pub nth: u32,
}

impl Call {
    /// Whether it is the same call of another run, perhaps on another machine.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (self.name, &self.subject, self.nth) == (other.name, &other.subject, other.nth)
    }

    /// The name and what it is about.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{} {}", self.name, self.subject)
    }
}

/// Number, name, what it does, and where it says on what.
const CALLS: &[(i64, &str, Does, About)] = &[
    (libc::SYS_chmod, "chmod", Does::Change, About::Path(0)),
    (libc::SYS_chown, "chown", Does::Change, About::Path(0)),
    (libc::SYS_clone, "clone", Does::Stand, About::Nothing),
    (libc::SYS_clone3, "clone3", Does::Stand, About::Nothing),
    (libc::SYS_connect, "connect", Does::Connect, About::Descriptor),
    (libc::SYS_epoll_create1, "epoll_create1", Does::Stand, About::Nothing),
    (libc::SYS_eventfd2, "eventfd2", Does::Stand, About::Nothing),
    (libc::SYS_fallocate, "fallocate", Does::Change, About::Descriptor),
    (libc::SYS_fchmod, "fchmod", Does::Change, About::Descriptor),
    (libc::SYS_fchmodat, "fchmodat", Does::Change, About::Below(0)),
    (libc::SYS_fchown, "fchown", Does::Change, About::Descriptor),
    (libc::SYS_fchownat, "fchownat", Does::Change, About::Below(0)),
    (libc::SYS_fdatasync, "fdatasync", Does::Change, About::Descriptor),
    (libc::SYS_fgetxattr, "fgetxattr", Does::Look, About::Descriptor),
    (libc::SYS_flock, "flock", Does::Change, About::Descriptor),
    (libc::SYS_fremovexattr, "fremovexattr", Does::Change, About::Descriptor),
    (libc::SYS_fsetxattr, "fsetxattr", Does::Change, About::Descriptor),
    (libc::SYS_fstat, "fstat", Does::Look, About::Descriptor),
    (libc::SYS_fsync, "fsync", Does::Change, About::Descriptor),
    (libc::SYS_ftruncate, "ftruncate", Does::Change, About::Descriptor),
    (libc::SYS_getdents64, "getdents64", Does::Look, About::Descriptor),
    (libc::SYS_lchown, "lchown", Does::Change, About::Path(0)),
    (libc::SYS_link, "link", Does::Change, About::Path(0)),
    (libc::SYS_linkat, "linkat", Does::Change, About::Below(0)),
    (libc::SYS_lsetxattr, "lsetxattr", Does::Change, About::Path(0)),
    (libc::SYS_mkdir, "mkdir", Does::Change, About::Path(0)),
    (libc::SYS_mkdirat, "mkdirat", Does::Change, About::Below(0)),
    (libc::SYS_newfstatat, "newfstatat", Does::Look, About::Below(0)),
    (libc::SYS_open, "open", Does::Look, About::Path(0)),
    (libc::SYS_openat, "openat", Does::Look, About::Below(0)),
    (libc::SYS_pwrite64, "pwrite64", Does::Change, About::Descriptor),
    (libc::SYS_read, "read", Does::Look, About::Descriptor),
    (libc::SYS_readlinkat, "readlinkat", Does::Look, About::Below(0)),
    (libc::SYS_recvfrom, "recvfrom", Does::Receive, About::Descriptor),
    (libc::SYS_recvmsg, "recvmsg", Does::Receive, About::Descriptor),
    (libc::SYS_rename, "rename", Does::Change, About::Path(0)),
    (libc::SYS_renameat, "renameat", Does::Change, About::Below(0)),
    (libc::SYS_renameat2, "renameat2", Does::Change, About::Below(0)),
    (libc::SYS_rmdir, "rmdir", Does::Change, About::Path(0)),
    (libc::SYS_sendmsg, "sendmsg", Does::Send, About::Descriptor),
    (libc::SYS_sendto, "sendto", Does::Send, About::Descriptor),
    (libc::SYS_setxattr, "setxattr", Does::Change, About::Path(0)),
    (libc::SYS_socket, "socket", Does::Stand, About::Nothing),
    (libc::SYS_statx, "statx", Does::Look, About::Below(0)),
    (libc::SYS_symlinkat, "symlinkat", Does::Change, About::Below(1)),
    (libc::SYS_truncate, "truncate", Does::Change, About::Path(0)),
    (libc::SYS_unlink, "unlink", Does::Change, About::Path(0)),
    (libc::SYS_unlinkat, "unlinkat", Does::Change, About::Below(0)),
    (libc::SYS_write, "write", Does::Change, About::Descriptor),
    (libc::SYS_writev, "writev", Does::Change, About::Descriptor),
];

/// The flags of an open that change something.
const OPENS_TO_WRITE: u64 =
    (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC).cast_unsigned() as u64;

/// Names the calls of one run.
pub struct Namer {
    /// Folders, the inner ones first, and what they are called.
    folders: [(PathBuf, &'static str); 2],
    servers: BTreeMap<u16, &'static str>,
    /// Where sockets lead, by descriptor.
    peers: BTreeMap<u64, String>,
    counted: BTreeMap<String, u32>,
    /// The call that each thread is in.
    entered: BTreeMap<Pid, Call>,
    has_begun: bool,
}

impl Namer {
    /// For a machine with this root, in this folder of a site, and servers on these ports.
    #[must_use]
    pub fn new(root: &Path, site: &Path, servers: BTreeMap<u16, &'static str>) -> Self {
        Self {
            folders: [(root.to_owned(), "$root"), (site.to_owned(), "$site")],
            servers,
            peers: BTreeMap::new(),
            counted: BTreeMap::new(),
            entered: BTreeMap::new(),
            has_begun: false,
        }
    }

    /// The call, if it is of a kind that can matter. Before the program has opened its first file below the
    /// machine's root, none does: the C library loads it.
    pub fn name(&mut self, stop: &Stop) -> Option<Call> {
        if stop.returned.is_some() {
            return self.entered.remove(&stop.thread);
        }
        let call = self.entering(stop)?;
        self.entered.insert(stop.thread, call.clone());
        Some(call)
    }

    fn entering(&mut self, stop: &Stop) -> Option<Call> {
        let (_, name, does, about) = *CALLS.iter().find(|(number, ..)| *number == stop.number)?;
        let [first, second, third, ..] = stop.arguments;
        if name == "connect" {
            let peer = self.peer(&stop.bytes(second, usize::try_from(third).ok()?.min(128)));
            self.peers.insert(first, peer);
        }
        let path = match about {
            About::Descriptor => stop.path_of(first),
            About::Nothing => None,
            About::Path(at) => Some(stop.text(*stop.arguments.get(at)?).into()),
            About::Below(at) => below(stop, *stop.arguments.get(at)?, *stop.arguments.get(at + 1)?),
        };
        // An event queue of the program's own.
        if path.as_deref().is_some_and(|path| path.starts_with("anon_inode:[eventfd]")) {
            return None;
        }
        let is_file = path.as_deref().is_some_and(|path| path.is_absolute());
        let is_std = matches!(about, About::Descriptor) && (1..=2).contains(&first);
        self.has_begun |= path
            .as_deref()
            .is_some_and(|path| self.folders.iter().any(|(folder, _)| path.starts_with(folder)));
        let (does, subject) = match (does, about) {
            (Does::Change, About::Descriptor) if is_std => {
                (Does::Say, if first == 1 { "stdout" } else { "stderr" }.to_owned())
            }
            (does, About::Descriptor) if !is_file => {
                let peer = self.peers.get(&first).cloned().unwrap_or_else(|| "elsewhere".to_owned());
                (
                    if name == "read" {
                        Does::Receive
                    } else if does == Does::Change {
                        Does::Send
                    } else {
                        does
                    },
                    peer,
                )
            }
            (does, _) => (does, path.as_deref().map(|path| self.shown(path)).unwrap_or_default()),
        };
        let flags = if name == "open" { second } else { third };
        let does = match name {
            "open" | "openat" if flags & OPENS_TO_WRITE != 0 => Does::Change,
            _ => does,
        };
        if !self.has_begun {
            return None;
        }
        let path = path.filter(|_| is_file);
        let call = Call { name, does, subject, path, nth: 0 };
        let counted = self.counted.entry(call.key()).or_default();
        *counted += 1;
        Some(Call { nth: *counted - 1, ..call })
    }

    /// Source: ip(7): a family, and for IPv4 and IPv6 the port in the two bytes after it.
    fn peer(&self, address: &[u8]) -> String {
        let &[family, _, high, low, ..] = address else { return "elsewhere".to_owned() };
        let port = u16::from_be_bytes([high, low]);
        match i32::from(family) {
            libc::AF_INET | libc::AF_INET6 => {
                self.servers.get(&port).map_or("elsewhere", |name| name).to_owned()
            }
            _ => "elsewhere".to_owned(),
        }
    }

    fn shown(&self, path: &Path) -> String {
        let below =
            self.folders.iter().find_map(|(folder, name)| Some((path.strip_prefix(folder).ok()?, name)));
        below
            .map_or_else(|| path.display().to_string(), |(below, name)| format!("{name}/{}", below.display()))
    }
}

/// The path that `*at` calls take: below a directory that is open, unless it begins at the root.
#[must_use]
pub fn below(stop: &Stop, directory: u64, name: u64) -> Option<PathBuf> {
    let name = PathBuf::from(stop.text(name));
    if name.is_absolute() {
        return Some(name);
    }
    // AT_FDCWD is a negative int in the low half of the register.
    let directory = if directory & 0xffff_ffff == u64::from(libc::AT_FDCWD.cast_unsigned()) {
        std::fs::read_link(format!("/proc/{}/cwd", stop.thread)).ok()?
    } else {
        stop.path_of(directory)?
    };
    Some(if name.as_os_str().is_empty() { directory } else { directory.join(name) })
}

/// The errors that the manual page of the call lists and that a disk, a network or a limit of this process
/// can bring about.
#[must_use]
pub fn errors(call: &Call) -> &'static [Errno] {
    use Errno::{
        EAGAIN, ECONNREFUSED, ECONNRESET, EDQUOT, EINTR, EIO, EMFILE, ENETUNREACH, ENOBUFS, ENOLCK, ENOSPC,
        EOPNOTSUPP, EPIPE, EROFS,
    };
    match (call.does, call.name) {
        (Does::Change, "openat" | "open") => &[EMFILE, ENOSPC, EROFS, EDQUOT, EIO, EINTR],
        (Does::Change, "write" | "pwrite64" | "writev") => &[ENOSPC, EIO, EDQUOT, EINTR],
        (Does::Change, "fsync" | "fdatasync") => &[EIO, ENOSPC, EDQUOT, EROFS, EINTR],
        (Does::Change, "fallocate") => &[ENOSPC, EIO, EDQUOT, EINTR, EOPNOTSUPP],
        (Does::Change, "flock") => &[EINTR, ENOLCK],
        (Does::Change, "ftruncate" | "truncate") => &[EIO, EINTR],
        (Does::Change, "unlink" | "unlinkat" | "rmdir" | "fchmod" | "fremovexattr") => &[EIO, EROFS],
        (Does::Change, _) => &[ENOSPC, EIO, EROFS, EDQUOT],
        (Does::Connect, _) => &[ECONNREFUSED, ENETUNREACH, EINTR],
        (Does::Look, "openat" | "open") => &[EMFILE, EIO, EINTR],
        (Does::Look, "read") => &[EIO, EINTR],
        (Does::Look, _) => &[EIO],
        (Does::Receive, _) => &[ECONNRESET, EINTR],
        (Does::Say, _) => &[ENOSPC, EIO, EPIPE, EINTR],
        (Does::Send, _) => &[ECONNRESET, ENOBUFS, EINTR],
        (Does::Stand, "clone" | "clone3") => &[EAGAIN],
        (Does::Stand, _) => &[EMFILE],
    }
}

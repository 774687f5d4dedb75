//! What can be seen on the machine itself: files, owners, space, the lock, the environment. Nothing is
//! written, and nothing is sent.

use super::ask::{aws_host, host_and_port};
use super::found::{Access, Asked, Copied, Holder, Input, Machine, Place, Room, Trouble};
use super::proxy::{self, Way};
use crate::bake;
use crate::config::{Config, Outside, Source};
use crate::enroll::made_for;
use crate::step::{Known, Rules, Wishes, next_step};
use crate::store::{self, Target};
use crate::{facts, files, state};
use imprint_core::second::Second;
use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Variables by which clients of Conjur find another identity than the one in our files.
const PREFERRED: [&str; 12] = [
    "CONJURRC",
    "CONJUR_ACCOUNT",
    "CONJUR_APPLIANCE_URL",
    "CONJUR_AUTHN_API_KEY",
    "CONJUR_AUTHN_LOGIN",
    "CONJUR_AUTHN_TOKEN",
    "CONJUR_AUTHN_TOKEN_FILE",
    "CONJUR_CERT_FILE",
    "CONJUR_CONFIG_FILE",
    "CONJUR_CREDENTIAL_STORAGE",
    "CONJUR_IDENTITY_FILE",
    "CONJUR_NETRC_PATH",
];

/// Variables that lead the SDK elsewhere, or look as if they gave the agent other credentials.
const OF_AWS: [&str; 11] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_KMS",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_REGION",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// The largest `conf` or `pem` that is compared.
const LARGEST: usize = 1024 * 1024;

/// Looks at the machine.
pub(super) fn machine(config: &Config, path: &Path, now: Second, outside: &impl Outside) -> Machine {
    let state = asked(state::read(&config.files.state_dir));
    let identity = asked(files::on_disk(config));
    let here = facts::here(config);
    let next = match (&state, &identity) {
        (Asked::Told(state), Asked::Told(identity)) => {
            let wanted = made_for(config);
            let rules = Rules::new(config, Wishes::default());
            let template = &config.host_id;
            let here = here.as_ref();
            let baked_on = bake::noted(&config.files.state_dir);
            let promotion = config.promotion.as_ref().map(|to| &to.host_id);
            Some(next_step(&Known {
                here,
                wanted: &wanted,
                template,
                promotion,
                state,
                identity,
                baked_on: baked_on.as_ref(),
                rules,
                now,
            }))
        }
        (Asked::Failed(_) | Asked::Skipped(_) | Asked::Told(_), _) => None,
    };
    let is_set = |name: &&&str| outside.env(name).is_some_and(|value| !value.is_empty());
    let set = |names: &[&str]| names.iter().filter(is_set).map(ToString::to_string).collect();
    let aws_variables: Vec<String> = set(&OF_AWS);
    Machine {
        now,
        is_root: rustix::process::geteuid().is_root(),
        config: match std::fs::metadata(path) {
            Ok(is) => Asked::Told(Access { mode: is.mode() & 0o7777, owner: is.uid(), group: is.gid() }),
            Err(_) => Asked::Skipped("the configuration's owner cannot be read"),
        },
        here: here.map(|id| id.to_string()),
        state,
        identity,
        next,
        access: access(&config.files.identity),
        inputs: inputs(config),
        places: places(config),
        copies: copies(config),
        lock: holder(&config.files.state_dir.join("lock")),
        variables: set(&PREFERRED),
        shadows: shadows(config, outside),
        plain_endpoints: aws_variables
            .iter()
            .filter(|name| name.starts_with("AWS_ENDPOINT_URL"))
            .filter(|name| outside.env(name).is_some_and(|url| is_plain(&url)))
            .cloned()
            .collect(),
        aws_variables,
        ways: ways(config, outside),
    }
}

fn asked<T>(end: Result<T, store::Error>) -> Asked<T> {
    match end {
        Ok(answer) => Asked::Told(answer),
        Err(error) => Asked::Failed(Trouble::of(&error)),
    }
}

/// Plain http, to another machine than this one.
fn is_plain(url: &str) -> bool {
    let Ok(url) = url::Url::parse(url) else { return false };
    let here = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback() || ip.is_link_local(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback() || ip.segments().starts_with(&[0xfd00, 0x0ec2]),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => true,
    };
    url.scheme() == "http" && !here
}

/// What the identity file has and should have; `None` when it is not there, or no plain file.
fn access(target: &Target) -> Option<(Access, Access)> {
    let is = std::fs::symlink_metadata(&target.path).ok().filter(std::fs::Metadata::is_file)?;
    let should = Access {
        mode: target.mode,
        owner: target.owner.unwrap_or_else(|| rustix::process::geteuid().as_raw()),
        group: target.group.unwrap_or_else(|| rustix::process::getegid().as_raw()),
    };
    Some((Access { mode: is.mode() & 0o7777, owner: is.uid(), group: is.gid() }, should))
}

/// Every file that a source names, and whether it could be read.
fn inputs(config: &Config) -> Vec<(String, Input)> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for source in &config.sources {
        let opener = match source {
            Source::ClientData { file, opener } | Source::File { file, opener, .. } => {
                paths.push(file.clone());
                opener
            }
            Source::Credential { name, directory, opener } => {
                paths.extend(directory.as_ref().map(|directory| directory.join(name)));
                opener
            }
            Source::Stdin { opener } => opener,
            Source::S3(_) => continue,
        };
        paths.extend([&opener.facts_file, &opener.secret_file].into_iter().flatten().cloned());
    }
    paths.into_iter().map(|path| (path.display().to_string(), input(&path))).collect()
}

fn input(path: &Path) -> Input {
    let Ok(is) = std::fs::metadata(path) else { return Input::Missing };
    if rustix::fs::accessat(CWD, path, rustix::fs::Access::READ_OK, AtFlags::EACCESS).is_err() {
        Input::Closed
    } else if is.mode() & 0o004 != 0 {
        Input::Open(is.mode() & 0o7777)
    } else {
        Input::Ready
    }
}

/// Every file that an enrollment writes.
fn places(config: &Config) -> Vec<Place> {
    let files = &config.files;
    let mut targets = vec![files.identity.clone(), files.conf.clone()];
    targets.extend(config.ca.is_some().then(|| files.pem.clone()));
    targets.extend(files.env.clone());
    targets.extend(files.json.clone());
    // A state directory that is not there yet is made by the first run.
    let path = match files.state_dir.exists() {
        true => files.state_dir.join("state.json"),
        false => files.state_dir.clone(),
    };
    targets.push(Target { path, mode: 0o600, owner: None, group: None, label: None });
    // And so is the fallback directory, when it is in use.
    if let Some(dir) = files.fallback_dir.as_ref().filter(|dir| !dir.exists()) {
        for target in targets.iter_mut().filter(|target| target.path.starts_with(dir)) {
            target.path.clone_from(dir);
        }
    }
    targets.iter().map(place).collect()
}

fn place(target: &Target) -> Place {
    Place {
        path: target.path.display().to_string(),
        fit: store::judge(&store::Real, target).map_err(|error| Trouble::of(&error)),
        disk: target.path.parent().and_then(room),
    }
}

fn room(directory: &Path) -> Option<Room> {
    let disk = rustix::fs::statvfs(directory).ok()?;
    let write = rustix::fs::accessat(CWD, directory, rustix::fs::Access::WRITE_OK, AtFlags::EACCESS);
    Some(Room {
        read_only: disk.f_flag.contains(StatVfsMountFlags::RDONLY),
        writable: write.is_ok(),
        bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        inodes: (disk.f_files > 0).then_some(disk.f_favail),
    })
}

fn copies(config: &Config) -> Vec<(String, Copied)> {
    let files = &config.files;
    let mut all = vec![(&files.conf.path, files::conf(config).into_bytes())];
    all.extend(config.ca.as_ref().map(|ca| (&files.pem.path, ca.pem().as_bytes().to_vec())));
    let copied = |path: &Path, should: &[u8]| match store::read(path, LARGEST) {
        Ok(Some(is)) if is == should => Copied::Same,
        Ok(None) => Copied::Missing,
        Ok(Some(_)) | Err(_) => Copied::Different,
    };
    all.into_iter().map(|(path, should)| (path.display().to_string(), copied(path, &should))).collect()
}

/// Whether another process holds the lock. It is asked for as readers share it, and let go at once.
fn holder(lock: &Path) -> Holder {
    let trouble = |action, errno| {
        Holder::Unknown(Trouble::of(&store::Error::Call { action, path: lock.to_owned(), errno }))
    };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(lock, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Holder::Nobody,
        Err(errno) => return trouble("cannot open", errno),
    };
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Holder::Nobody,
        Err(Errno::WOULDBLOCK) => {
            let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
            let inode = rustix::fs::fstat(&file).map(|stat| stat.st_ino).unwrap_or_default();
            Holder::Process(process_of(&locks, inode))
        }
        Err(errno) => trouble("cannot ask for", errno),
    }
}

/// The process that holds a lock on this inode, by a text in the form of `/proc/locks`.
fn process_of(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, "WRITE", process, file, ..] = words.as_slice() else { return None };
        let of_file = file.rsplit(':').next()?.parse() == Ok(inode);
        of_file.then(|| process.parse().ok()).flatten()
    })
}

/// Files that clients of Conjur read after, and hence rather than, `/etc/conjur.conf`.
fn shadows(config: &Config, outside: &impl Outside) -> Vec<String> {
    let mut paths: Vec<PathBuf> = Vec::new();
    if let Some(home) = outside.env("HOME").filter(|home| home.starts_with('/')) {
        paths.push(Path::new(&home).join(".conjurrc"));
    }
    paths.push("/opt/conjur/etc/plugins.yml".into());
    // Where clients look by themselves, when our files lie elsewhere.
    for (usual, ours) in
        [("/etc/conjur.conf", &config.files.conf.path), ("/etc/conjur.identity", &config.files.identity.path)]
    {
        if ours.starts_with("/etc") && ours != Path::new(usual) {
            paths.push(usual.into());
        }
    }
    paths.iter().filter(|path| path.exists()).map(|path| path.display().to_string()).collect()
}

fn ways(config: &Config, outside: &impl Outside) -> Vec<(String, Way)> {
    let mut servers = vec![config.appliance_url.as_str()];
    if config.leader_url != config.appliance_url {
        servers.push(config.leader_url.as_str());
    }
    let env = |name: &str| outside.env(name);
    let mut ways = Vec::new();
    for url in servers {
        let host = host_and_port(url).map(|(host, _)| host).unwrap_or_default();
        // Plain http never goes through a proxy.
        let way = if url.starts_with("http://") { Way::Direct } else { proxy::way(&host, env) };
        ways.push((url.to_owned(), way));
    }
    let Some(s3) = config.s3() else { return ways };
    for service in ["s3", "kms"] {
        if let Some((host, is_https)) = aws_host(service, s3.kms.region.as_deref(), env) {
            let way = if is_https { proxy::way(&host, env) } else { Way::Direct };
            ways.push((host, way));
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_lock() {
        let locks = "1: POSIX  ADVISORY  WRITE 700 08:01:131 0 EOF\n2: FLOCK  ADVISORY  WRITE 812 08:01:132 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 813 08:01:132 0 EOF\n3: FLOCK  ADVISORY  READ  900 08:01:133 0 EOF\n";
        assert_eq!(process_of(locks, 132), Some(812));
        for other in [131, 133, 134, 0] {
            assert_eq!(process_of(locks, other), None, "{other}");
        }
        assert_eq!(process_of("", 1), None);

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        assert_eq!(holder(&path), Holder::Nobody);
        assert!(!path.exists());
        let file = std::fs::File::create(&path).unwrap();
        assert_eq!(holder(&path), Holder::Nobody);
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
        assert!(matches!(holder(&path), Holder::Process(_)));
    }

    #[test]
    fn what_is_plain_http_to_another_machine() {
        for url in ["http://s3.example.org", "http://10.0.0.5:9000/", "http://[fd12::5]:9000/"] {
            assert!(is_plain(url), "{url}");
        }
        for url in ["https://s3.example.org", "http://127.0.0.1:1", "http://localhost:1", "http://[::1]", "x"]
        {
            assert!(!is_plain(url), "{url}");
        }
    }
}

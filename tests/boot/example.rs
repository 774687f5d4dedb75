//! The examples of user-data that the package has, as a reader makes them theirs: names, addresses and checksums are
//! replaced, as their README says. And the web server that one of them downloads the package from.

use crate::Failed;
use crate::cases::Package;
use crate::world::World;
use bytes::Bytes;
use imprint_e2e::Ran;
use imprint_stack::server::{Request, Response, Service};
use sha2::Digest as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the parts of others leave in the guest.
pub const THEIRS: &str = "their file\ntheir command\ntheir script";

/// The examples, as they are packed.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/usr/share/doc/imprint/examples")
}

/// User-data of these parts, of which those of others are beside the guest's programs.
pub fn user_data(parts: &[&str], world: &World) -> Result<String, Failed> {
    let examples = folder().join("cloud-init");
    let others = Path::new(env!("CARGO_MANIFEST_DIR")).join("../boot/guest");
    let mut paths = Vec::new();
    for part in parts {
        let is_theirs = part.starts_with("theirs");
        let path = if is_theirs { &others } else { &examples }.join(part);
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let text = if is_theirs { text } else { replaced(&text, world)? };
        if let [_only] = parts {
            return Ok(text);
        }
        let path = world.site.folder().join(part);
        fs::write(&path, text)?;
        paths.push(path);
    }
    let joined = Ran::of(Command::new("python3").arg(examples.join("multipart.py")).args(paths));
    if joined.code == 0 { Ok(joined.out) } else { Err(format!("multipart.py: {}", joined.err).into()) }
}

/// An example with this world's names, addresses and checksums.
fn replaced(text: &str, world: &World) -> Result<String, Failed> {
    let (stack, options) = (&world.site.stack, world.site.stack.options());
    // AWS is trusted by a CA that everybody has, and a machine shows its firmware: neither is so here.
    let key = format!(
        "kms_key = {:?}\nca_file = \"/etc/imprint/ca.pem\"\n\n[system]\nsys_root = \"/etc/firmware\"",
        stack.key
    );
    let mut pairs = vec![
        (r#"account = "prod""#, format!("account = {:?}", options.account)),
        ("https://conjur.example.org", world.url()),
        (r#""app/web""#, format!("{:?}", stack.factory("web"))),
        (r#""app/hosts""#, format!("{:?}", stack.hosts_branch("web"))),
        (r#""imprint-tokens-123456789012""#, format!("{:?}", options.bucket)),
        (r#""123456789012""#, format!("{:?}", options.aws_account)),
        (r#"kms_key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555""#, key),
        ("(the certificate of Conjur's CA, as PEM)", stack.ca.pem().trim_end().to_owned()),
    ];
    if text.contains("sha256sum") {
        let last = if std::env::consts::ARCH == "aarch64" { '2' } else { '1' };
        let stands_for = format!("{}{last}", "0".repeat(63));
        let line = text.lines().find(|line| line.contains(&stands_for)).ok_or("no checksum")?;
        let name = Package::Deb.file()?;
        let version =
            text.lines().find_map(|line| line.trim().strip_prefix("version=")).ok_or("no version")?;
        let name = name.file_name().and_then(|name| name.to_str()).ok_or("a name")?;
        if !name.starts_with(&format!("imprint_{version}-")) {
            return Err(format!("the example downloads version {version}, and here is {name}").into());
        }
        let digest = sha2::Sha256::digest(fs::read(Package::Deb.file()?)?);
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        pairs.push((line, line.replace(&stands_for, &digest)));
    }
    let mut made = text.to_owned();
    for (from, to) in pairs {
        let [before, after] = made.split(from).collect::<Vec<_>>()[..] else {
            return Err(format!("{from:?} is not in the example once").into());
        };
        // Further lines are indented as the first one is.
        let line = before.rsplit('\n').next().unwrap_or_default();
        let indentation = &line[..line.len() - line.trim_start().len()];
        let to = to.replace('\n', &format!("\n{indentation}"));
        made = format!("{before}{to}{after}");
    }
    Ok(made)
}

/// A web server with one package of one version.
pub struct Packages {
    path: String,
    package: Bytes,
}

impl Packages {
    /// As `/imprint/VERSION/FILE`.
    pub fn new(file: &Path) -> Result<Self, Failed> {
        let name = file.file_name().and_then(|name| name.to_str()).ok_or("a name")?;
        let version = name.split(['_', '-']).nth(1).ok_or("a version")?;
        Ok(Self { path: format!("/imprint/{version}/{name}"), package: fs::read(file)?.into() })
    }
}

impl Service for Packages {
    async fn answer(&self, request: Request) -> Response {
        if request.path == self.path {
            return Response::new(self.package.clone());
        }
        let mut none = Response::new(Bytes::new());
        *none.status_mut() = reqwest::StatusCode::NOT_FOUND;
        none
    }

    fn name_of(&self, request: &Request) -> String {
        request.path.clone()
    }
}

//! What a user would write instead: the scripts in `peers/`, and what they are told.

use imprint_e2e::{Machine, Site};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The scripts, beside this file.
pub(crate) fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/peers")
}

/// One of the scripts, told of the site and the machine; `None` where what it needs is not there.
pub(crate) fn peer(site: &Site, machine: &Machine, script: &Path) -> Option<Command> {
    let found = |name: &str| {
        std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join(name)).find(|p| p.exists())
    };
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/venv/bin");
    found("curl").and(found("jq"))?;
    let mut command = if script.extension()? == "py" {
        Command::new(Some(venv.join("python")).filter(|p| p.exists())?)
    } else {
        Command::new("/usr/bin/bash")
    };
    let tool = |name: &str| Some(venv.join(name)).filter(|p| p.exists());
    command.arg(script).env("PATH", std::env::var_os("PATH")?).env("HOME", site.folder());
    command.env("AWS", tool("aws")?).env("ANSIBLE", tool("ansible-playbook")?);
    tell(&mut command, site, machine);
    Some(command)
}

/// Tells a contestant that has no configuration of the site and the machine.
pub(crate) fn tell(command: &mut Command, site: &Site, machine: &Machine) {
    let (stack, options) = (&site.stack, site.stack.options());
    command.envs(stack.environment(None)).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.imds.url());
    command.env("BUCKET", &options.bucket).env("OBJECT", stack.object_key("web"));
    command.env("ACCOUNT", &options.account).env("VARIABLE", stack.variable("web"));
    command.env("CONJUR", stack.conjur.url()).env("CONJUR_CA", site.ca_file());
    command.env("HOST_ID", machine.host_id()).env("OUT", machine.path("etc/conjur.identity"));
}

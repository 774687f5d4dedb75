#!/usr/bin/env python3
"""Checks the examples with the programs that will read them: `make examples` runs it.

A check is a function that returns how many files it has seen to be right. What is checked by a program of
somebody else says so in its docstring; what no such program could be had for says what is checked instead.
"""

import collections.abc
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.parse

import hcl2
import puppetparser.parser
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "packaging/build"))
import tree  # noqa: E402, it says what the packages are called

EXAMPLES = ROOT / "packaging/usr/share/doc/imprint/examples"
CLOUD_INIT = EXAMPLES / "cloud-init"
DEBIAN = ROOT / "target/examples/debian"
TOOLS = pathlib.Path(sys.executable).parent

START = "systemctl start --no-block imprint.service"
FORGET = "imprint forget --bake"

# What a person puts in the place of an example's parameters.
PARAMETERS = {
    "CaCertificate": "Y2VydGlmaWNhdGU=",
    "AWS::AccountId": "123456789012",
    "Account": "prod",
    "ApplianceUrl": "https://conjur.example.org",
    "HostFactory": "app/web",
    "HostsBranch": "app/hosts",
    "TokenBucket": "imprint-tokens-123456789012",
    "TokenKey": "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555",
}


def main() -> None:
    """Runs every check; exits with 1 at the first fault."""
    # Where the machine's programs and the checkers' own are found, and no person's settings are.
    os.environ["PATH"] = f"{TOOLS}:{os.environ['PATH']}"
    os.environ["HOME"] = str(ROOT / "target/examples")
    os.environ["PYTHONPATH"] = str(DEBIAN / "usr/lib/python3/dist-packages")
    for check in CHECKS:
        print(f"{check.__name__.replace('_', ' ')}: {check()}", flush=True)


def ran(*arguments: object, well: bool = True, **more: object) -> subprocess.CompletedProcess:
    """Runs a program that must end well, or must not."""
    words = [str(word) for word in arguments]
    end = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300, **more)
    if (end.returncode == 0) != well:
        sys.exit(f"{' '.join(words)} exited with {end.returncode}:\n{end.stdout}{end.stderr}")
    return end


def expect(holds: bool, fault: str) -> None:
    """Ends the program with the fault, unless it holds."""
    if not holds:
        sys.exit(fault)


def document(path: pathlib.Path) -> dict:
    """A YAML file; CloudFormation's short forms (!Ref x) come as their values."""
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_multi_constructor("!", lambda by, _, node: by.construct_scalar(node))
    return yaml.load(path.read_text(), loader)  # noqa: S506, it is a safe loader's kin


def cloud_configs() -> dict[str, str]:
    """Every cloud-config among the examples, by what it is."""
    found = {path.name: path.read_text() for path in sorted(CLOUD_INIT.glob("*.yaml"))}
    template = document(EXAMPLES / "cloudformation/template.yaml")
    data = template["Resources"]["Template"]["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]
    found["template.yaml"] = re.sub(r"\$\{([\w:]+)\}", lambda name: PARAMETERS[name[1]], data)
    return found


def cloud_init(*arguments: object, well: bool = True) -> subprocess.CompletedProcess:
    """Debian's cloud-init."""
    return ran(sys.executable, "-m", "cloudinit.cmd.main", *arguments, well=well)


def cloud_init_takes_each_cloud_config() -> int:
    """By `cloud-init schema`, which must refuse one with a fault, too."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "user-data"
        for name, text in cloud_configs().items():
            path.write_text(text)
            said = cloud_init("schema", "--config-file", path)
            expect("Valid cloud-config" in said.stdout, f"{name}: {said.stdout}")
        path.write_text(cloud_configs()["baked.yaml"] + "bootcmd: 7\n")
        said = cloud_init("schema", "--config-file", path, well=False)
        expect("bootcmd: 7" in said.stdout + said.stderr, f"another fault than was made: {said.stderr}")
    return len(cloud_configs())


def joined_parts_are_all_kept() -> int:
    """By cloud-init's own reading of what multipart.py makes: nothing of others is lost, ours is last."""
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        theirs, other, data = here / "theirs.yaml", here / "other.sh", here / "user-data"
        theirs.write_text("#cloud-config\nruncmd: [ theirs ]\nwrite_files: [ { path: /theirs } ]\n")
        other.write_text("#!/bin/sh\necho other\n")
        join = [sys.executable, CLOUD_INIT / "multipart.py"]
        for ours in sorted(CLOUD_INIT.glob("*.yaml")):
            for more in [], ["--gzip"]:
                args = [str(word) for word in [*join, *more, theirs, other, ours]]
                data.write_bytes(subprocess.run(args, check=True, capture_output=True).stdout)
                merged = json.loads(ran(sys.executable, "-c", MERGED, data).stdout)
                expect(merged["runcmd"][0] == "theirs", f"{ours.name}: {merged['runcmd']}")
                expect(len(merged["runcmd"]) == 2, f"{ours.name}: {merged['runcmd']}")
                paths = [each["path"] for each in merged["write_files"]]
                expect(paths[:2] == ["/theirs", "/etc/imprint/config.toml"], f"{ours.name}: {paths}")
        ran(*join, other, CLOUD_INIT / "baked.sh")
        other.write_text("echo other\n")
        expect("begins with none" in ran(*join, other, well=False).stderr, "a part of no kind is taken")
        other.write_text("#!/bin/sh\n" + "#" * 16384)
        expect("EC2 takes 16384" in ran(*join, other, well=False).stderr, "too large a part is taken")
    return len(list(CLOUD_INIT.glob("*.yaml")))


# Reads user-data as cloud-init does at boot, and prints the cloud-config that is made of all its parts.
MERGED = """
import json, sys
from cloudinit.handlers.cloud_config import CloudConfigPartHandler
from cloudinit.helpers import Paths
from cloudinit.user_data import UserDataProcessor
paths = Paths({'cloud_dir': '/nonexistent', 'run_dir': '/nonexistent'})
handler = CloudConfigPartHandler(paths)
for part in UserDataProcessor(paths).process(open(sys.argv[1], 'rb').read()).walk():
    kind, name, payload = part.get_content_type(), part.get_filename(), part.get_payload(decode=True)
    if kind == 'text/cloud-config':
        handler.handle_part(None, kind, name, payload.decode(), None, part)
print(json.dumps(handler.cloud_buf))
"""


def user_data_starts_the_unit() -> int:
    """By reading: each starts the unit without waiting, as its last step, never the program, and is small."""
    texts = cloud_configs() | {path.name: path.read_text() for path in CLOUD_INIT.glob("*.sh")}
    for name, text in texts.items():
        expect(len(text) < 8 * 1024, f"{name} leaves no room for other parts")
        expect("imprint enroll" not in text, f"{name} runs the program")
        last = text.strip().splitlines()[-1]
        last = last if name.endswith(".sh") else str(yaml.safe_load(text)["runcmd"][-1])
        expect(START in re.sub(r"[\[\]',]", "", last), f"{name} ends with {last}")
    return len(texts)


def packages_are_called_as_they_are_made() -> int:
    """By comparison with what `make package` makes: one that is made up is a 404 at a first boot."""
    version = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    made = {
        name(package, version, arch)
        for name in (tree.deb, tree.rpm)
        for package in tree.PACKAGES
        for arch in tree.DEBIANS
    }
    texts = [*EXAMPLES.rglob("*"), *(ROOT / "docs").glob("*.md"), ROOT / "packaging/README.md"]
    named = set()
    for path in (path for path in texts if path.is_file()):
        text = re.sub(r"\$(version\b|{version})", version, path.read_text())
        found = re.findall(r"\bimprint[\w.-]*\d[\w.-]*\.(?:deb|rpm)\b", text)
        named |= {(name, path) for name in found}
    for name, path in sorted(named):
        expect(name in made, f"{path} names {name}, which nothing makes; there are {sorted(made)}")
    installed = {name for name, _ in named}
    both = {name("imprint", version, arch) for name in (tree.deb, tree.rpm) for arch in tree.DEBIANS}
    expect(both <= installed, f"no example names {both - installed}")
    return len(named)


def the_installer() -> str:
    """What download.yaml writes and runs."""
    files = yaml.safe_load((CLOUD_INIT / "download.yaml").read_text())["write_files"]
    return next(each["content"] for each in files if each["path"] == "/run/install-imprint")


def only_the_package_that_was_meant_is_installed() -> int:
    """By running the installer with stand-ins for curl, the package managers and systemctl."""
    script, both = the_installer(), (CLOUD_INIT / "download.sh").read_text()
    body = script.split("set -euo pipefail\n")[1]
    expect(body in both, "download.sh installs otherwise than download.yaml")
    tried = 0
    for manager, kind, sums in ("apt-get", "deb", ("1", "2")), ("dnf", "rpm", ("3", "4")):
        for machine in 0, 1:
            for good in True, False:
                with tempfile.TemporaryDirectory() as folder:
                    said = installs(script, pathlib.Path(folder), kind, machine, good and sums[machine])
                expect((manager in said) == good, f"{manager}, {machine}, {good}: {said}")
                expect(("systemctl" in said) == good, f"{manager}, {machine}, {good}: {said}")
                tried += 1
    return tried


def installs(script: str, folder: pathlib.Path, kind: str, machine: int, is_meant: str | bool) -> str:
    """The programs that the installer called, when the package is the one that was meant, or is not."""
    package = b"a package"
    digest = subprocess.run(["sha256sum"], input=package, capture_output=True, check=True).stdout.decode()[
        :64
    ]
    if is_meant:
        script = re.sub(rf"sha256=0+{is_meant} ", f"sha256={digest} ", script)
    (folder / "package").write_bytes(package)
    names = {"deb": [("amd64", "arm64")[machine], ""], "rpm": ["", ("x86_64", "aarch64")[machine]]}[kind]
    stubs = {
        "curl": 'while [ "$1" != --output ]; do shift; done; cp "$STUBS/package" "$2"',
        "apt-get": 'echo "apt-get $*" >>"$STUBS/said"',
        "dnf": 'echo "dnf $*" >>"$STUBS/said"',
        "systemctl": 'echo "systemctl $*" >>"$STUBS/said"',
        "uname": f"echo {names[1]}",
    } | ({"dpkg": f"echo {names[0]}"} if kind == "deb" else {})
    programs = folder / "bin"
    programs.mkdir()
    # No program of the machine but these, or its own dpkg would be found.
    for name in "bash", "cp", "mktemp", "rm", "sha256sum":
        (programs / name).symlink_to(ran("which", name).stdout.strip())
    for name, body in stubs.items():
        (programs / name).write_text(f"#!{programs}/bash\n{body}\n")
        (programs / name).chmod(0o755)
    (folder / "script").write_text(script)
    environment = {"PATH": str(programs), "STUBS": str(folder), "TMPDIR": str(folder)}
    run = f"bash {folder}/script && {START}"
    subprocess.run([programs / "bash", "-c", run], env=environment, capture_output=True, check=False)
    said = folder / "said"
    return said.read_text() if said.exists() else ""


def embedded_scripts_are_clean() -> int:
    """By shellcheck, also of what lies inside of other files."""
    scripts = {"download.yaml": the_installer()}
    for phase in image_builder()["phases"]:
        for step in phase["steps"]:
            # Image Builder replaces these before a shell sees them.
            text = re.sub(r"\{\{ \w+ \}\}", "value", "\n".join(step["inputs"]["commands"]))
            scripts[f"component.yaml {step['name']}"] = f"#!/bin/bash\n{text}\n"
    for at, lines in enumerate(packer_shells()):
        declared = "export PACKAGE SHA256"
        scripts[f"imprint.pkr.hcl {at}"] = "\n".join(
            ["#!/bin/bash", "set -euo pipefail", declared, *lines, ""]
        )
    hook = ROOT / "packaging/etc/cloud/clean.d/50-imprint"
    scripts[hook.name] = hook.read_text()
    expect(hook.stat().st_mode & 0o111 == 0o111, f"{hook} cannot be executed, so cloud-init passes over it")
    for name, text in scripts.items():
        end = subprocess.run(["shellcheck", "-"], input=text, capture_output=True, text=True, check=False)
        expect(end.returncode == 0, f"{name}:\n{end.stdout}{end.stderr}")
    return len(scripts)


def ignition_takes_what_butane_gives() -> int:
    """By ignition-validate. Butane cannot be had, so that both say the same is compared here: files, modes,
    contents, checksums and units.
    """
    path = EXAMPLES / "ignition/imprint.ign"
    ran(DEBIAN / "usr/bin/ignition-validate", path)
    source, given = document(path.with_suffix(".bu")), json.loads(path.read_text())
    expect(
        source["version"] == "1.4.0" and given["ignition"]["version"] == "3.3.0",
        "versions do not go together",
    )
    for wanted, file in zip(source["storage"]["files"], given["storage"]["files"], strict=True):
        contents = dict(file["contents"])
        if "inline" in wanted["contents"]:
            contents = {"inline": urllib.parse.unquote(contents["source"].removeprefix("data:,"))}
        expect({**file, "contents": contents} == wanted, f"{file} is not {wanted}")
    expect(source["systemd"] == given["systemd"], "the units differ")
    with tempfile.TemporaryDirectory() as folder:
        broken = pathlib.Path(folder) / "broken.ign"
        broken.write_text(path.read_text().replace("sha512-0", "sha512-", 1))
        ran(DEBIAN / "usr/bin/ignition-validate", broken, well=False)
    return 1


def cloudformation_lints_clean() -> int:
    """By cfn-lint. What the role may do is compared with the README's policy of a layer."""
    path = EXAMPLES / "cloudformation/template.yaml"
    ran("cfn-lint", path)
    role = document(path)["Resources"]["Role"]["Properties"]["Policies"][0]["PolicyDocument"]
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    values = PARAMETERS | {"AWS::Partition": "aws"}
    for given, wanted in zip(role["Statement"], json.loads(blocks[0])["Statement"], strict=True):
        text = re.sub(r"\$\{([\w:]+)\}", lambda name: values[name[1]], json.dumps(given))
        for name in "TokenKey", "HostFactory", "Account":
            text = text.replace(f'"{name}"', f'"{values[name]}"')
        expect(json.loads(text) == wanted, f"{text} is not {wanted}")
    return 1


def image_builder() -> dict:
    """The component."""
    return document(EXAMPLES / "image-builder/component.yaml")


def image_builder_component_has_its_form() -> int:
    """No program for it can be had. So its form is compared with what the user guide says ("Use the AWSTOE
    component document framework"), and where it ends.
    """
    component = image_builder()
    expect(set(component) == {"name", "description", "schemaVersion", "parameters", "phases"}, "members")
    expect([phase["name"] for phase in component["phases"]] == ["build", "validate"], "phases")
    names = [next(iter(parameter)) for parameter in component["parameters"]]
    for phase in component["phases"]:
        for step in phase["steps"]:
            expect(set(step) == {"name", "action", "inputs"}, f"members of {step}")
            expect(step["action"] == "ExecuteBash" and set(step["inputs"]) == {"commands"}, f"{step}")
            used = re.findall(r"\{\{ (\w+) \}\}", str(step))
            expect(set(used) <= set(names), f"{used} is not declared")
    last = component["phases"][0]["steps"][-1]["inputs"]["commands"][-1]
    expect(last.endswith(FORGET), f"the bake ends with {last}")
    return 1


def packer_shells() -> list[list[str]]:
    """The lines of each shell provisioner."""
    template = hcl2.loads((EXAMPLES / "packer/imprint.pkr.hcl").read_text())
    [build] = template["build"]
    shells = [each['"shell"'] for each in build["provisioner"] if '"shell"' in each]
    return [[json.loads(line) for line in shell["inline"]] for shell in shells]


def packer_template_parses() -> int:
    """By python-hcl2: the language alone. Packer cannot be had, so `packer validate` is not run."""
    first, last = packer_shells()
    expect(FORGET in first, "nothing keeps the build instance from enrolling")
    expect(FORGET in last and "cloud-init clean --logs --machine-id" in last, f"the bake ends with {last}")
    return 1


def puppet_class_parses() -> int:
    """By puppetparser, which knows the language and not the types of resources."""
    text = (EXAMPLES / "puppet/imprint.pp").read_text()
    [parsed], _ = puppetparser.parser.parse(text)
    expect(parsed.name == "imprint", f"{parsed.name}")
    try:
        puppetparser.parser.parse(text.replace("ensure => installed", "ensure = installed"))
    except Exception:  # noqa: BLE001, whichever it has for a fault
        return 1
    sys.exit("puppetparser takes anything")


def ansible_play_lints_clean() -> int:
    """By ansible-playbook --syntax-check and ansible-lint."""
    play = EXAMPLES / "ansible/enroll.yml"
    ran("ansible-playbook", "--syntax-check", "--inventory", "localhost,", play)
    ran("ansible-lint", "--offline", "--profile", "production", play.name, cwd=play.parent)
    secret = [task for task in yaml.safe_load(play.read_text())[0]["tasks"][3]["block"] if task.get("no_log")]
    expect(len(secret) == 2, "a task that sees the token may log it")
    return 1


def all_configure_the_same() -> int:
    """By comparison: the agent's configuration is one and the same; a test in Rust has the agent read it."""
    found = {}
    for path in sorted(EXAMPLES.rglob("*")):
        if path.is_file() and "ansible" not in path.parts and 'account = "prod"' in path.read_text():
            lines = path.read_text().splitlines()
            start = next(at for at, line in enumerate(lines) if line.strip() == 'account = "prod"')
            found[path] = [line.strip() for line in lines[start : start + 10]]
    ignition = json.loads((EXAMPLES / "ignition/imprint.ign").read_text())["storage"]["files"][-1]
    inline = urllib.parse.unquote(ignition["contents"]["source"].removeprefix("data:,"))
    found[EXAMPLES / "ignition/imprint.ign"] = inline.splitlines()
    template = yaml.safe_load(cloud_configs()["template.yaml"])["write_files"][1]["content"]
    found[EXAMPLES / "cloudformation/template.yaml"] = template.splitlines()
    wanted = found[CLOUD_INIT / "baked.sh"]
    for path, config in found.items():
        expect(config == wanted, f"{path} configures otherwise: {config}")
    return len(found)


CHECKS: list[collections.abc.Callable[[], int]] = [
    cloud_init_takes_each_cloud_config,
    joined_parts_are_all_kept,
    user_data_starts_the_unit,
    packages_are_called_as_they_are_made,
    only_the_package_that_was_meant_is_installed,
    embedded_scripts_are_clean,
    ignition_takes_what_butane_gives,
    cloudformation_lints_clean,
    image_builder_component_has_its_form,
    packer_template_parses,
    puppet_class_parses,
    ansible_play_lints_clean,
    all_configure_the_same,
]

if __name__ == "__main__":
    main()

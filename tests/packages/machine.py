"""A machine to install into: a small Debian under a layer of its own, which is thrown away at the end."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

PROJECT = pathlib.Path(__file__).resolve().parent.parent.parent
OUT = PROJECT / "target/package"
ROOTS = [pathlib.Path(root) for root in os.environ["IMPRINT_ROOTS"].split(":")]

# As an enrollment leaves them: an identity that another program has a part in, and the state.
OURS = "machine https://conjur.example.org/authn\n  login host/app/hosts/i-1\n  password 3k1-key-of-ours\n"
OTHERS = "machine other.example.org\n  login somebody\n  password keep-me\n"
CONFIG = """# written by an operator
account = "prod"
appliance_url = "https://conjur.example.org"
host_factory = "app/web"
hosts_branch = "app/hosts"

[source]
bucket = "imprint-tokens-123456789012"
bucket_owner = "123456789012"
kms_key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
"""
IDENTITY = "/etc/conjur.identity"
STATE = "/var/lib/imprint/state.json"
MARKER = "/etc/imprint/forget-on-removal"


class Machine:
    """A root file system with programs in it, as seen by a test."""

    def __init__(self, place):
        """`place` is the folder that is its root."""
        self.place = pathlib.Path(place)

    def path(self, path):
        """Where a path of the machine is for the test."""
        return self.place / path.lstrip("/")

    def run(self, *command, expect=0):
        """Runs a command in the machine; what it says, on either output."""
        done = subprocess.run(
            ["chroot", self.place, *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if expect is not None and done.returncode != expect:
            raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def write(self, path, text, mode=0o644):
        """Writes a file of the machine."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def bring(self, file):
        """Copies a file into the machine's /tmp; its path there."""
        shutil.copy(file, self.path("/tmp"))
        return f"/tmp/{pathlib.Path(file).name}"

    def enroll(self):
        """Leaves what an enrollment leaves, and the settings that it was done with."""
        self.write("/etc/imprint/config.toml", CONFIG)
        self.write(IDENTITY, OURS + OTHERS, 0o600)
        self.path(STATE).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.write(STATE, "{}", 0o600)

    def seen(self, *paths):
        """What nobody may have touched: bytes, mode, owner, inode and time of the last change of each."""
        return {path: (self.path(path).read_bytes(), facts(self.path(path))) for path in paths}


def facts(path):
    """What stat tells of a file that tells two apart."""
    stat = path.stat()
    return stat.st_mode, stat.st_uid, stat.st_gid, stat.st_ino, stat.st_ctime_ns


@contextlib.contextmanager
def machine(root):
    """A fresh machine over one of ROOTS."""
    with tempfile.TemporaryDirectory(prefix="imprint-packages-") as folder:
        folder = pathlib.Path(folder)
        subprocess.run(["mount", "-t", "tmpfs", "layer", folder], check=True)
        try:
            for name in ("upper", "work", "root"):
                (folder / name).mkdir()
            layers = f"lowerdir={root},upperdir={folder}/upper,workdir={folder}/work"
            subprocess.run(["mount", "-t", "overlay", "root", "-o", layers, folder / "root"], check=True)
            for device in ("null", "urandom"):
                (folder / "root/dev" / device).touch()
                subprocess.run(
                    ["mount", "--bind", f"/dev/{device}", folder / "root/dev" / device], check=True
                )
            yield Machine(folder / "root")
        finally:
            subprocess.run(["umount", "--recursive", "--lazy", folder], check=True)


def one(pattern):
    """The one file of target/package that fits."""
    found = sorted(OUT.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{len(found)} files in {OUT} fit {pattern}, not one: make package")
    return found[0]


def preset():
    """The units that can be enabled, each with whether the preset enables it."""
    usr = PROJECT / "packaging/usr/lib/systemd"
    enabled = {
        name
        for file in usr.glob("system-preset/*")
        for name in re.findall(r"^enable\s+(\S+)", file.read_text(), re.MULTILINE)
    }
    return {
        unit.name: unit.name in enabled
        for unit in sorted(usr.glob("system/*"))
        if unit.is_file() and "\n[Install]\n" in unit.read_text()
    }

"""What a program is made of: the crates of its dependency tree, as cargo resolves it for one target.

The tree is that of the program alone, with the features that it is built with; dependencies of tests
are not in it.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
import subprocess
import tomllib

from tree import PACKAGES, ROOT

LINE = re.compile(r"(?P<depth>\d+)(?P<name>\S+) v(?P<version>\S+)(?P<rest>.*)")


@dataclasses.dataclass(frozen=True, order=True)
class Crate:
    """A crate of one version; no two of the tree have the same."""

    name: str
    version: str


def linked(package, target):
    """What ends up in the program: each crate with the crates that it uses."""
    return graph(package, target, "normal,no-proc-macro")


def built_with(package, target):
    """The same, with what runs while it is built."""
    return graph(package, target, "normal,build")


def graph(package, target, edges):
    """Each crate of the tree, with the crates that it uses."""
    form = ("--prefix", "depth", "--format", "{p}")
    text = cargo("tree", "-p", package, "--target", target, "--edges", edges, *form)
    uses = {}
    path = []
    for line in text.splitlines():
        found = LINE.fullmatch(line)
        if not found:
            raise SystemExit(f"cargo tree says what nobody here understands: {line}")
        crate = Crate(found["name"], found["version"])
        uses.setdefault(crate, set())
        del path[int(found["depth"]) :]
        if path:
            uses[path[-1]].add(crate)
        path.append(crate)
    return uses


@functools.cache
def described(target):
    """What the manifests say of each crate: (license, folder, where it comes from)."""
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--filter-platform", target))
    return {
        Crate(package["name"], package["version"]): (
            package["license"],
            pathlib.Path(package["manifest_path"]).parent,
            package["source"],
        )
        for package in metadata["packages"]
    }


@functools.cache
def checksums():
    """The SHA-256 of each crate's file in the registry, as Cargo.lock has it."""
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    return {
        Crate(package["name"], package["version"]): package["checksum"]
        for package in lock["package"]
        if "checksum" in package
    }


def version():
    """The version of the programs."""
    metadata = json.loads(cargo("metadata", "--format-version", "1", "--no-deps"))
    (found,) = {package["version"] for package in metadata["packages"] if package["name"] in PACKAGES}
    return found


def cargo(command, *arguments):
    """What a command of cargo prints."""
    program = os.environ.get("CARGO", "cargo")
    done = subprocess.run(
        [program, command, "--locked", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout

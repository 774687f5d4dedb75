"""Which file goes where: from the folders below packaging/, which mirror the target tree, to packages.

A file whose name says so (OF_THE_ROTATOR) belongs to the package imprint-rotator, any other to imprint. What
lies below packaging/etc is configuration and stays as people left it; the commented TOML files are
no configuration but the text of one: see EXAMPLE. What the packages themselves are called stands here, too.
"""

import dataclasses
import gzip
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

AGENT = "imprint"
ROTATOR = "imprint-rotator"
PACKAGES = (AGENT, ROTATOR)

# What deb and rpm call an architecture.
DEBIANS = {"x86_64": "amd64", "aarch64": "arm64"}
# Of the package itself, counted up when it changes and the program does not.
RELEASE = 1

# Every machine needs settings of its own, and the comments change with each release. As a conffile, such
# a file would make dpkg ask at each upgrade, and fail where nobody answers. So packages bring the text
# where nobody edits it, and the file below /etc is its owner's alone: no package writes it.
EXAMPLE = re.compile(r"etc/imprint/([^/]+\.toml)")

# Debian's place for completions of zsh, and everybody else's.
ZSH = ("usr/share/zsh/vendor-completions/", "usr/share/zsh/site-functions/")

# rules.toml, beside rotator.toml, says which instances of a fleet may have what.
OF_THE_ROTATOR = re.compile(r"_?imprint-rotator\b.*|(rotator|rules)\.toml|imprint-rules\.toml\.5")


@dataclasses.dataclass(frozen=True)
class File:
    """One file of a package: its path without the first slash, its bytes and its mode."""

    path: str
    data: bytes
    mode: int = 0o644
    # Kept as people left it, by dpkg and rpm.
    is_config: bool = False


def deb(package, version, arch):
    """What the deb is called."""
    return f"{package}_{version}-{RELEASE}_{DEBIANS[arch]}.deb"


def rpm(package, version, arch):
    """What the rpm is called."""
    return f"{package}-{version}-{RELEASE}.{arch}.rpm"


def mirrored():
    """All files below packaging/ that mirror the target tree, as (package, file)."""
    for top in ("etc", "usr"):
        for source in sorted((ROOT / "packaging" / top).rglob("*")):
            if source.is_symlink() or not (source.is_file() or source.is_dir()):
                raise SystemExit(f"{source} is neither file nor folder; packages bring no links")
            if source.is_file():
                yield package_of(source.name), mirror(source)


def package_of(name):
    """The package that a file of this name belongs to."""
    return ROTATOR if OF_THE_ROTATOR.fullmatch(name) else AGENT


def mirror(source):
    """The file that one below packaging/ becomes."""
    path = source.relative_to(ROOT / "packaging").as_posix()
    # git keeps one bit of the mode; the umask of a checkout decides the others.
    mode = 0o755 if source.stat().st_mode & 0o100 else 0o644
    data = source.read_bytes()
    if example := EXAMPLE.fullmatch(path):
        return File(f"usr/share/imprint/{example[1]}", data, mode)
    if re.fullmatch(r"usr/share/man/man\d/[^/]+\.\d", path):
        return File(path + ".gz", squeezed(data), mode)
    return File(path, data, mode, is_config=path.startswith("etc/"))


def elsewhere(path):
    """The path that a file has on systems that are not Debian's kin."""
    return path.replace(*ZSH) if path.startswith(ZSH[0]) else path


def squeezed(data):
    """As gzip -9n makes it: without a name and a time."""
    return gzip.compress(data, 9, mtime=0)


def units(files):
    """The unit files among these that can be enabled, and those of them that the preset enables."""
    names = [
        file.path.rpartition("/")[2]
        for file in files
        if file.path.startswith("usr/lib/systemd/system/") and b"\n[Install]\n" in file.data
    ]
    presets = [file.data.decode() for file in files if "/systemd/system-preset/" in file.path]
    wanted = set(re.findall(r"^enable\s+(\S+)", "\n".join(presets), re.MULTILINE))
    if wanted - set(names):
        raise SystemExit(f"the preset enables {sorted(wanted - set(names))}, which no package brings")
    return names, [name for name in names if name in wanted]

#!/usr/bin/env python3
"""Makes everything that is handed out, for one architecture, out of the programs in target/pack/ARCH:

    pack.py ARCH

deb and rpm of the agent and of the rotator, one tarball of both, and the Lambda function's zip. They
lie in target/package and are the same bytes wherever they are made. SOURCE_DATE_EPOCH is the time of
all that is in them.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

import archive
import crates
import notices
import sbom
from tree import (
    DEBIANS,
    PACKAGES,
    RELEASE,
    ROOT,
    ROTATOR,
    File,
    deb,
    elsewhere,
    mirrored,
    rpm,
    squeezed,
    units,
)

OUT = ROOT / "target/package"


def main():
    """Packs one architecture."""
    arch = sys.argv[1]
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    version = crates.version()
    OUT.mkdir(parents=True, exist_ok=True)

    files = {package: [] for package in PACKAGES}
    for package, file in mirrored():
        files[package].append(file)
    programs = {package: (ROOT / "target/pack" / arch / package).read_bytes() for package in PACKAGES}
    for package, program in programs.items():
        files[package].append(File(f"usr/bin/{package}", program, 0o755))
    texts = {package: notices.collect(package, f"{arch}-unknown-linux-gnu") for package in PACKAGES}

    for package in PACKAGES:
        parts = package, version, epoch, files[package], texts[package]
        # nfpm takes Debian's name of an architecture for either.
        make(Debian(*parts), DEBIANS[arch], deb(package, version, arch))
        make(Rpm(*parts), DEBIANS[arch], rpm(package, version, arch))
        bill = sbom.bill(package, f"{arch}-unknown-linux-gnu", epoch, programs[package])
        write(f"{package}-{version}-{arch}.cdx.json", bill)

    licenses = [
        File("LICENSE", (ROOT / "LICENSE").read_bytes()),
        *(File(f"THIRD-PARTY-{package}.txt", texts[package]) for package in PACKAGES),
    ]
    everything = [file for package in PACKAGES for file in files[package]]
    folder = f"imprint-{version}-linux-{arch}"
    write(f"{folder}.tar.gz", archive.tarball([*everything, *licenses], folder, epoch))

    bundle = [File("bootstrap", programs[ROTATOR], 0o755), licenses[0], licenses[2]]
    write(f"{ROTATOR}-{version}-lambda-{arch}.zip", archive.zipped(bundle, epoch))


class Debian:
    """What a deb has that an rpm has not."""

    packager = "deb"

    def __init__(self, package, version, epoch, files, notice):
        """Adds the files that Debian's policy asks for."""
        when = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(epoch))
        log = (
            f"{package} ({version}-{RELEASE}) unstable; urgency=medium\n\n"
            f"  * What changed is told in changelog.gz.\n\n -- {MAINTAINER}  {when}\n"
        )
        docs = f"usr/share/doc/{package}"
        self.package, self.version, self.epoch = package, version, epoch
        self.files = [
            *files,
            File(f"{docs}/changelog.gz", squeezed((ROOT / "CHANGELOG.md").read_bytes())),
            File(f"{docs}/changelog.Debian.gz", squeezed(log.encode())),
            File(f"{docs}/copyright", (ROOT / "packaging/deb/copyright").read_bytes()),
            File(f"{docs}/third-party.txt.gz", squeezed(notice)),
            *overrides(package),
        ]
        self.scripts = scripts(
            "deb", package, {"postinstall": "postinst", "preremove": "prerm", "postremove": "postrm"}
        )


class Rpm:
    """What an rpm has that a deb has not."""

    packager = "rpm"

    def __init__(self, package, version, epoch, files, notice):
        """Adds the licenses."""
        place = f"usr/share/licenses/{package}"
        self.package, self.version, self.epoch = package, version, epoch
        self.files = [
            *(File(elsewhere(file.path), file.data, file.mode, file.is_config) for file in files),
            File(f"usr/share/doc/{package}/CHANGELOG.md", (ROOT / "CHANGELOG.md").read_bytes()),
            File(f"{place}/LICENSE", (ROOT / "LICENSE").read_bytes()),
            File(f"{place}/third-party.txt.gz", squeezed(notice)),
        ]
        self.scripts = scripts(
            "rpm", package, {"postinstall": "post", "preremove": "preun", "postremove": "postun"}
        )


MAINTAINER = "The Imprint contributors <imprint@noreply.invalid>"


def overrides(package):
    """What lintian is told to accept, with the reasons."""
    source = ROOT / f"packaging/deb/{package}.lintian-overrides"
    if source.is_file():
        yield File(f"usr/share/lintian/overrides/{package}", source.read_bytes())


def scripts(kind, package, names):
    """The maintainer's scripts of a package, by what nfpm calls them."""
    found = {}
    for key, name in names.items():
        source = ROOT / f"packaging/{kind}/{package}.{name}.sh"
        if source.is_file():
            found[key] = source.read_text()
    return found


def make(form, arch, name):
    """Lays the files out, describes them to nfpm and lets it make the package."""
    stage = ROOT / "target/pack/stage" / name
    shutil.rmtree(stage, ignore_errors=True)
    (stage / "scripts").mkdir(parents=True)

    contents = [{"dst": "/etc/imprint", "type": "dir", "file_info": {"mode": 0o755}}]
    for file in sorted(form.files, key=lambda file: file.path):
        place = stage / "root" / file.path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(file.data)
        contents.append(
            {
                "src": str(place),
                "dst": "/" + file.path,
                "type": kind(form.packager, file),
                "file_info": {"mode": file.mode, "owner": "root", "group": "root"},
            }
        )

    enabled = {}
    can_be, is_enabled = units(form.files)
    for key, text in form.scripts.items():
        place = stage / "scripts" / key
        text = text.replace("@UNITS@", " ".join(can_be)).replace("@ENABLED@", " ".join(is_enabled))
        place.write_text(text)
        enabled[key] = str(place)

    # JSON is YAML; the head of the description is written by hand.
    head = (ROOT / f"packaging/nfpm/{form.package}.yaml").read_text()
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(form.epoch))
    described = {
        "arch": arch,
        "version": form.version,
        "release": str(RELEASE),
        "maintainer": MAINTAINER,
        "mtime": moment,
        "contents": contents,
        "scripts": enabled,
    }
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in described.items()]
    (stage / "nfpm.yaml").write_text(head + "".join(lines))
    nfpm = pathlib.Path(sys.executable).with_name("nfpm")
    command = [
        nfpm,
        "package",
        "--config",
        stage / "nfpm.yaml",
        "--packager",
        form.packager,
        "--target",
        OUT / name,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    print(f"{name}: {(OUT / name).stat().st_size} bytes")


def kind(packager, file):
    """What nfpm calls this kind of file."""
    if file.is_config:
        return "config|noreplace"
    if packager == "rpm" and file.path.startswith("usr/share/licenses/"):
        return "license"
    if packager == "rpm" and file.path.startswith(("usr/share/doc/", "usr/share/man/")):
        return "doc"
    return "file"


def write(name, data):
    """Writes one finished file."""
    (OUT / name).write_bytes(data)
    print(f"{name}: {len(data)} bytes")


if __name__ == "__main__":
    main()

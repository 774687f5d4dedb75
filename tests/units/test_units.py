"""What can be known of the units without booting them: `make units`.

They are loaded by systemd's own tools, below a root of their own. That they also run is the business of
tests/boot.
"""

import configparser
import functools
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import cloud_init

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PACKAGING = ROOT / "packaging"
UNITS = PACKAGING / "usr/lib/systemd/system"
HOST = pathlib.Path("/lib/systemd/system")

# The exposure that `systemd-analyze security` may find, times ten; 14 is what a root service that writes in
# /etc and speaks to servers can reach.
THRESHOLD = 14

SERVICES = [
    "imprint.service",
    "imprint-promote.service",
    "imprint-rotate-key.service",
    "imprint-verify.service",
]
OURS = sorted(path.name for path in UNITS.iterdir())


def run(*words):
    """What a program said, on both outputs; it fails the test when the program cannot be run."""
    ran = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=120)
    return ran.returncode, (ran.stdout + ran.stderr).strip()


def settings(unit):
    """The lines of a unit by section, each `Key=value`, in their order."""
    sections, section = {}, []
    for line in (UNITS / unit).read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            section.append(line)
    return sections


class Root:
    """A root with systemd's own units, ours, stand-ins for the programs, and perhaps cloud-init."""

    def __init__(self, cloud=None, change=None):
        """`change` may edit our units' texts: it gets a name and a text, and returns the text."""
        self.folder = tempfile.TemporaryDirectory(prefix="imprint-units-")
        self.path = pathlib.Path(self.folder.name)
        self.units = self.path / "usr/lib/systemd/system"
        shutil.copytree(HOST, self.units, symlinks=True, ignore=shutil.ignore_patterns("*.d"))
        (self.path / "lib").symlink_to("usr/lib")
        # Of the host's own packages only systemd's is of interest; others may have faults of theirs.
        theirs = subprocess.run(["dpkg", "-L", "systemd"], capture_output=True, text=True).stdout
        known = {pathlib.Path(line).name for line in theirs.splitlines()}
        for unit in self.units.iterdir():
            if known and unit.name not in known:
                shutil.rmtree(unit) if unit.is_dir() and not unit.is_symlink() else unit.unlink()
        for name in OURS:
            text = (UNITS / name).read_text()
            (self.units / name).write_text(change(name, text) if change else text)
        program = self.path / "usr/bin/imprint"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        for name, lines in (cloud or {}).items():
            body = (
                "" if name.endswith(".target") else "\n[Service]\nType=oneshot\nExecStart=/usr/bin/imprint\n"
            )
            (self.units / name).write_text(f"[Unit]\nDescription={name}\n{lines}{body}")
        self.want("multi-user.target", "imprint.service")
        self.want("timers.target", "imprint-verify.timer")
        if cloud:
            self.want("multi-user.target", "cloud-init.target")
            for name in [name for name in cloud if name.endswith(".service")]:
                self.want("cloud-init.target", name)

    def want(self, target, unit):
        """Enables a unit."""
        link = self.path / "etc/systemd/system" / f"{target}.wants" / unit
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"/usr/lib/systemd/system/{unit}")

    def verify(self, *units):
        """What systemd finds wrong with units; nothing is what it should be."""
        words = ["systemd-analyze", "verify", "--man=no", f"--root={self.path}"]
        code, said = run(*words, *(str(self.units / unit) for unit in units))
        return said if said or code == 0 else f"exit {code}"

    def __enter__(self):
        """It is there from its making on."""
        return self

    def __exit__(self, *_):
        """It goes with all that was put into it."""
        self.folder.cleanup()


class Units(unittest.TestCase):
    """The units."""

    def test_systemd_has_nothing_to_say(self):
        """It ends with 0 also for an unknown key, so any word of it counts."""
        with Root() as root:
            self.assertEqual(root.verify(*OURS), "")

        def misspell(_, text):
            return text.replace("NoNewPrivileges=", "NoNewPriviledges=")

        with Root(change=misspell) as root:
            self.assertIn("NoNewPriviledges", root.verify(*OURS))

    def test_sandboxes_are_closed(self):
        """Each relaxation costs, and may not go unseen."""

        def exposure(path):
            words = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
            return run(*words, f"--threshold={THRESHOLD}", str(path))

        for unit in SERVICES:
            code, said = exposure(UNITS / unit)
            self.assertEqual(code, 0, f"{unit}: {said[-300:]}")
        with Root(change=lambda _, text: text.replace("PrivateUsers=yes", "PrivateUsers=no")) as root:
            self.assertNotEqual(exposure(root.units / "imprint.service")[0], 0)

    def test_all_services_have_the_same_sandbox(self):
        """A line that is missing in one of them is a mistake."""

        def sandbox(unit):
            lines = settings(unit)["Service"]
            return lines[lines.index("CapabilityBoundingSet=") :]

        for unit in SERVICES:
            self.assertEqual(sandbox(unit), sandbox("imprint.service"), unit)

    def test_no_cycle_with_cloud_init(self):
        """On a cycle systemd drops a job and goes on: the unit would never start, and nothing would fail."""
        for name, cloud in cloud_init.DISTRIBUTIONS.items():
            with self.subTest(name), Root(cloud) as root:
                self.assertEqual(root.verify("multi-user.target"), "")

        def late(name, text):
            after = "After=network-online.target"
            return text.replace(after, f"{after} cloud-final.service") if name == "imprint.service" else text

        with Root(cloud_init.DISTRIBUTIONS["Debian 12"], late) as root:
            self.assertIn("ordering cycle", root.verify("multi-user.target"))

    def test_what_must_not_stand_there(self):
        """Each of these was a bug of some unit of this kind."""
        for unit in OURS:
            for lines in settings(unit).values():
                for line in lines:
                    # Hides an identity that is empty, or a parent's.
                    self.assertNotRegex(line, r"^Condition\w*=!", unit)
                    # Goes with the service, and with it the lock that somebody holds.
                    self.assertNotRegex(line, r"^RuntimeDirectory=", unit)
                    # Older systemd refuses the unit.
                    oneshot = "Type=oneshot" in lines
                    self.assertFalse(oneshot and line.startswith("Restart="), unit)

    def test_the_preset_names_what_can_be_enabled(self):
        """What is not in the preset follows the distribution's rule."""
        preset = PACKAGING / "usr/lib/systemd/system-preset/80-imprint.preset"
        words = [line.split() for line in preset.read_text().splitlines() if not line.startswith("#")]
        named = {unit: verb for verb, unit in words}
        self.assertEqual(set(named), {unit for unit in OURS if "Install" in settings(unit)})
        enabled = {unit for unit, verb in named.items() if verb == "enable"}
        self.assertEqual(enabled, {"imprint.service", "imprint-verify.timer"})

    def test_timers_have_their_services_and_manuals(self):
        """A name that nothing bears is silently ignored."""
        for unit in OURS:
            if unit.endswith(".timer"):
                self.assertIn(unit.replace(".timer", ".service"), OURS)
            for page in re.findall(r"man:([\w.-]+)\((\d)\)", (UNITS / unit).read_text()):
                path = PACKAGING / f"usr/share/man/man{page[1]}/{page[0]}.{page[1]}"
                self.assertTrue(path.is_file(), f"{unit}: {path}")

    def test_examples_are_drop_ins(self):
        """They are copied as they are."""
        examples = PACKAGING / "usr/share/doc/imprint/examples/systemd"
        found = sorted(examples.glob("*.d/*.conf"))
        self.assertTrue(found)
        for example in found:
            with self.subTest(example.name), Root() as root:
                unit = example.parent.name.removesuffix(".d")
                if unit not in OURS:
                    (root.units / unit).write_text("[Service]\nExecStart=/usr/bin/imprint\n")
                shutil.copytree(example.parent, root.path / "etc/systemd/system" / example.parent.name)
                self.assertEqual(root.verify(unit), "")


class Catalog(unittest.TestCase):
    """The message catalog against the code that logs."""

    @functools.cached_property
    def events(self):
        """Every event of the agent: its name by its id."""
        source = (ROOT / "agent/src/journal.rs").read_text()
        return {
            found[2]: found[1] for found in re.finditer(r'pub const (\w+): &str = "([0-9a-f]{32})";', source)
        }

    @functools.cached_property
    def entries(self):
        """The catalog's entries: the text by the id."""
        text = (PACKAGING / "usr/lib/systemd/catalog/imprint.catalog").read_text()
        parts = re.split(r"^-- ([0-9a-f]+)\n", text, flags=re.MULTILINE)[1:]
        return dict(zip(parts[::2], parts[1::2], strict=True))

    def test_every_event_is_explained_and_every_entry_is_an_event(self):
        """An id that only one side has says nothing to anybody."""
        self.assertGreater(len(self.events), 15)
        self.assertEqual(set(self.entries), set(self.events))

    def test_entries_are_whole(self):
        """A subject, who defines it, a manual that is there, and a text; fields that the code logs."""
        # Fields come as `name = ...`, alone as `name`, or as `name,` in a log line's head.
        code = "\n".join(path.read_text() for path in sorted((ROOT / "agent/src").rglob("*.rs")))
        for event, text in self.entries.items():
            name = self.events[event]
            head, _, body = text.partition("\n\n")
            header = configparser.ConfigParser(delimiters=":", interpolation=None)
            header.read_string(f"[entry]\n{head}")
            self.assertEqual(header["entry"]["Defined-By"], "Imprint", name)
            self.assertTrue(body.strip(), name)
            page, section = re.fullmatch(r"man:([\w.-]+)\((\d)\)", header["entry"]["Documentation"]).groups()
            self.assertTrue((PACKAGING / f"usr/share/man/man{section}/{page}.{section}").is_file(), name)
            lines = [line for line in code.split(";\n") if f"event::{name}" in line]
            for field in re.findall(r"@(\w+)@", text):
                logged = "".join(lines) + ("MESSAGE_ID = id, class, hint" if "FAILED" in name else "")
                self.assertRegex(logged, rf"\b{field.lower()}\b", f"{name} has no field {field}")

    def test_journalctl_takes_it(self):
        """It compiles the catalog as an installation does."""
        with tempfile.TemporaryDirectory() as folder:
            catalog = pathlib.Path(folder) / "usr/lib/systemd/catalog"
            catalog.mkdir(parents=True)
            shutil.copy(PACKAGING / "usr/lib/systemd/catalog/imprint.catalog", catalog)
            code, said = run("journalctl", f"--root={folder}", "--update-catalog")
            self.assertEqual((code, said), (0, ""))
            self.assertTrue((pathlib.Path(folder) / "var/lib/systemd/catalog/database").is_file())


class Parts(unittest.TestCase):
    """What lies beside the units."""

    def test_users_and_temporary_files(self):
        """Both tools read their files as an installation would."""
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for name, program in (("sysusers.d", "systemd-sysusers"), ("tmpfiles.d", "systemd-tmpfiles")):
                target = root / "usr/lib" / name
                target.mkdir(parents=True)
                shutil.copy(PACKAGING / "usr/lib" / name / "imprint.conf", target)
                words = ["--create"] if name == "tmpfiles.d" else []
                (root / "etc").mkdir(exist_ok=True)
                (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\n")
                code, said = run(program, f"--root={folder}", *words, "imprint.conf")
                self.assertEqual(code, 0, said)
            self.assertRegex((root / "etc/group").read_text(), r"(?m)^imprint:x:\d+:$")
            self.assertEqual((root / "run/imprint").stat().st_mode & 0o7777, 0o755)


if __name__ == "__main__":
    unittest.main()

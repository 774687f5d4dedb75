"""The Debian packages, by dpkg itself, on the oldest Debian that is meant and on a newer one."""

import pathlib
import subprocess
import tempfile
import unittest

import machine
from machine import CONFIG, IDENTITY, MARKER, OTHERS, OURS, ROOTS, STATE, one

AGENT = one("imprint_*_amd64.deb")
ROTATOR = one("imprint-rotator_*_amd64.deb")


class Deb(unittest.TestCase):
    """Each test gets a fresh machine of each kind."""

    def on_each(self, check):
        """Runs a check on a machine of each kind."""
        for root in ROOTS:
            with self.subTest(root.name), machine.machine(root) as debian:
                check(debian)

    def test_install(self):
        """Files, modes and owners are right, the programs run, and nothing is enrolled or started."""

        def check(debian):
            said = install(debian, AGENT, ROTATOR)
            self.assertNotIn("warning", said.lower())
            for program in ("imprint", "imprint-rotator"):
                self.assertEqual(debian.run(program, "--version").split()[0], program)
            # It is there, finds no settings, and says so: class config.
            self.assertIn("/etc/imprint/config.toml", debian.run("imprint", "status", expect=78))
            listed = debian.run("dpkg", "-L", "imprint", "imprint-rotator").split()
            for path in (path for path in listed if path.startswith("/")):
                stat = debian.path(path).lstat()
                self.assertEqual((stat.st_uid, stat.st_gid), (0, 0), path)
                is_open = debian.path(path).is_dir() or path.startswith("/usr/bin/imprint")
                wanted = 0o755 if is_open or stat.st_mode & 0o100 else 0o644
                self.assertEqual(stat.st_mode & 0o7777, wanted, path)
            self.assertEqual(debian.run("dpkg", "--verify", "imprint", "imprint-rotator"), "")
            for path in (IDENTITY, STATE, "/etc/imprint/config.toml", "/etc/conjur.conf"):
                self.assertFalse(debian.path(path).exists(), path)

        self.on_each(check)

    def test_units(self):
        """What the preset enables is enabled, nothing else is; what somebody chose stays over an upgrade."""
        units = machine.preset()
        if not units:
            self.skipTest("SKIPPED: there is no unit in packaging/usr/lib/systemd yet")

        def check(debian):
            def are():
                return {
                    unit: debian.run("systemctl", "is-enabled", unit, expect=None).strip() for unit in units
                }

            install(debian, AGENT)
            self.assertEqual(are(), {unit: "enabled" if on else "disabled" for unit, on in units.items()})
            chosen = {}
            for unit, on in units.items():
                debian.run("systemctl", "disable" if on else "enable", unit)
                chosen[unit] = "disabled" if on else "enabled"
            install(debian, newer(AGENT))
            self.assertEqual(are(), chosen)
            debian.run("dpkg", "--purge", "imprint")
            left = [str(link) for link in debian.path("/etc/systemd").rglob("*imprint*")]
            self.assertEqual(left, [])

        self.on_each(check)

    def test_upgrade(self):
        """An upgrade touches neither settings nor identity nor state, and asks nothing."""

        def check(debian):
            install(debian, AGENT, ROTATOR)
            debian.enroll()
            debian.write("/etc/imprint/rotator.toml", "# mine\n")
            paths = ("/etc/imprint/config.toml", "/etc/imprint/rotator.toml", IDENTITY, STATE)
            before = debian.seen(*paths)
            install(debian, newer(AGENT), newer(ROTATOR))
            self.assertIn("9.0.0-1", debian.run("dpkg-query", "--show", "imprint"))
            self.assertEqual(debian.seen(*paths), before)

        self.on_each(check)

    def test_settings_before_the_package(self):
        """A machine that is given its settings first installs as well, with nobody there to answer."""

        def check(debian):
            debian.enroll()
            before = debian.seen("/etc/imprint/config.toml", IDENTITY, STATE)
            install(debian, AGENT)
            self.assertEqual(debian.seen(*before), before)

        self.on_each(check)

    def test_remove(self):
        """Removing takes the program; settings, identity and state stay."""

        def check(debian):
            install(debian, AGENT)
            debian.enroll()
            before = debian.seen("/etc/imprint/config.toml", IDENTITY, STATE)
            debian.run("dpkg", "--remove", "imprint")
            self.assertFalse(debian.path("/usr/bin/imprint").exists())
            self.assertEqual(debian.seen(*before), before)

        self.on_each(check)

    def test_purge(self):
        """A purge takes the settings too, and says that identity and state stay."""

        def check(debian):
            install(debian, AGENT)
            debian.enroll()
            before = debian.seen(IDENTITY, STATE)
            said = debian.run("dpkg", "--purge", "imprint")
            self.assertIn("kept identity and state: /etc/conjur.identity /var/lib/imprint", said)
            self.assertEqual(debian.seen(*before), before)
            self.assertFalse(debian.path("/etc/imprint").exists())

        self.on_each(check)

    def test_purge_with_everything(self):
        """Asked to, it takes identity and state as well, and leaves what others have in the same file."""

        def check(debian):
            install(debian, AGENT)
            debian.enroll()
            debian.write(MARKER, "")
            said = debian.run("dpkg", "--purge", "imprint")
            self.assertNotIn("kept", said)
            self.assertEqual(debian.path(IDENTITY).read_text(), OTHERS)
            for path in ("/var/lib/imprint", "/etc/imprint", "/usr/bin/imprint"):
                self.assertFalse(debian.path(path).exists(), path)

        self.on_each(check)

    def test_cannot_forget(self):
        """Asked to, and not able to, it stays installed and says what to do; then it can be removed."""

        def check(debian):
            install(debian, AGENT)
            debian.enroll()
            debian.write("/etc/imprint/config.toml", CONFIG + "nonsense = true\n")
            debian.write(MARKER, "")
            said = debian.run("dpkg", "--purge", "imprint", expect=1)
            self.assertIn("nonsense", said)
            self.assertIn(f"remove {MARKER}", said)
            self.assertEqual(debian.path(IDENTITY).read_text(), OURS + OTHERS)
            debian.run("imprint", "--version")
            debian.path(MARKER).unlink()
            debian.run("dpkg", "--purge", "imprint")
            self.assertEqual(debian.path(IDENTITY).read_text(), OURS + OTHERS)

        self.on_each(check)

    def test_hook_of_an_image(self):
        """What cloud-init clean runs stays after a removal, and then lets no identity into an image."""
        hook = "/etc/cloud/clean.d/50-imprint"

        def check(debian):
            install(debian, AGENT)
            # Neither settings nor state: an image for those who configure it.
            debian.run(hook)
            debian.enroll()
            debian.path("/etc/imprint/config.toml").unlink()
            self.assertIn("Remove its identity", debian.run(hook, expect=73))
            debian.enroll()
            debian.run("dpkg", "--remove", "imprint")
            self.assertIn("Remove its identity", debian.run(hook, expect=73))
            debian.path(STATE).unlink()
            debian.run(hook)
            debian.run("dpkg", "--purge", "imprint")
            self.assertFalse(debian.path(hook).exists())

        self.on_each(check)

    def test_both(self):
        """Each of the two goes without the other."""

        def check(debian):
            install(debian, AGENT, ROTATOR)
            debian.enroll()
            debian.write("/etc/imprint/rotator.toml", "# mine\n")
            debian.run("dpkg", "--purge", "imprint-rotator")
            self.assertEqual(debian.path("/etc/imprint/config.toml").read_text(), CONFIG)
            self.assertFalse(debian.path("/etc/imprint/rotator.toml").exists())
            debian.run("imprint", "--version")

        self.on_each(check)


def install(debian, *packages):
    """Installs, without anybody who could answer a question."""
    return debian.run("dpkg", "--install", *(debian.bring(package) for package in packages))


def newer(package):
    """The same package as a later version, for upgrades."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="imprint-newer-"))
    unittest.addModuleCleanup(subprocess.run, ["rm", "-rf", folder], check=True)
    subprocess.run(["dpkg-deb", "--raw-extract", package, folder / "tree"], check=True)
    control = folder / "tree/DEBIAN/control"
    lines = control.read_text().splitlines()
    control.write_text(
        "".join(("Version: 9.0.0-1" if line.startswith("Version:") else line) + "\n" for line in lines)
    )
    made = folder / f"{package.name.split('_')[0]}_9.0.0-1.deb"
    subprocess.run(
        ["dpkg-deb", "--build", "-Znone", folder / "tree", made], check=True, stdout=subprocess.DEVNULL
    )
    return made


if __name__ == "__main__":
    unittest.main()

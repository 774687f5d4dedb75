"""The rpm packages, by rpm itself, into roots that are Debian's: payload and scriptlets are what is tested.

What they require is not (--nodeps): the database of such a root has no glibc in it.
"""

import subprocess
import unittest

import machine
from machine import CONFIG, IDENTITY, MARKER, OTHERS, ROOTS, STATE, one

AGENT = one("imprint-[0-9]*.x86_64.rpm")
ROTATOR = one("imprint-rotator-[0-9]*.x86_64.rpm")


class Rpm(unittest.TestCase):
    """Each test gets a fresh machine of each kind."""

    def on_each(self, check):
        """Runs a check on a machine of each kind."""
        for root in ROOTS:
            with self.subTest(root.name), machine.machine(root) as linux:
                check(linux)

    def test_install(self):
        """Files, modes and owners are right, the programs run, and nothing is enrolled."""

        def check(linux):
            rpm(linux, "--install", AGENT, ROTATOR)
            for program in ("imprint", "imprint-rotator"):
                self.assertEqual(linux.run(program, "--version").split()[0], program)
            self.assertEqual(rpm(linux, "--verify", "imprint", "imprint-rotator"), "")
            listed = rpm(linux, "--query", "--list", "imprint", "imprint-rotator").split()
            for path in listed:
                stat = linux.path(path).lstat()
                self.assertEqual((stat.st_uid, stat.st_gid), (0, 0), path)
                is_open = linux.path(path).is_dir() or path.startswith("/usr/bin/imprint")
                wanted = 0o755 if is_open or stat.st_mode & 0o100 else 0o644
                self.assertEqual(stat.st_mode & 0o7777, wanted, path)
            self.assertNotIn("vendor-completions", " ".join(listed))
            for path in (IDENTITY, STATE, "/etc/imprint/config.toml"):
                self.assertFalse(linux.path(path).exists(), path)

        self.on_each(check)

    def test_requirements(self):
        """They say that glibc 2.17 is enough, and what runs the scriptlets."""
        required = subprocess.run(
            ["rpm", "--query", "--requires", "--package", AGENT],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout.splitlines()
        self.assertIn("glibc >= 2.17", required)
        self.assertIn("/bin/sh", required)

    def test_units(self):
        """What the preset enables is enabled, nothing else is; what somebody chose stays over an upgrade."""
        units = machine.preset()
        if not units:
            self.skipTest("SKIPPED: there is no unit in packaging/usr/lib/systemd yet")

        def check(linux):
            def are():
                return {
                    unit: linux.run("systemctl", "is-enabled", unit, expect=None).strip() for unit in units
                }

            rpm(linux, "--install", AGENT)
            self.assertEqual(are(), {unit: "enabled" if on else "disabled" for unit, on in units.items()})
            chosen = {}
            for unit, on in units.items():
                linux.run("systemctl", "disable" if on else "enable", unit)
                chosen[unit] = "disabled" if on else "enabled"
            rpm(linux, "--upgrade", "--force", AGENT)
            self.assertEqual(are(), chosen)
            rpm(linux, "--erase", "imprint")
            self.assertEqual([str(link) for link in linux.path("/etc/systemd").rglob("*imprint*")], [])

        self.on_each(check)

    def test_upgrade(self):
        """An upgrade touches neither settings nor identity nor state; there is no .rpmnew."""

        def check(linux):
            rpm(linux, "--install", AGENT, ROTATOR)
            linux.enroll()
            before = linux.seen("/etc/imprint/config.toml", IDENTITY, STATE)
            # The same version once more is an upgrade to the scriptlets: $1 is 2, then 1.
            rpm(linux, "--upgrade", "--force", AGENT, ROTATOR)
            self.assertEqual(linux.seen(*before), before)
            self.assertEqual(
                sorted(file.name for file in linux.path("/etc/imprint").iterdir()), ["config.toml"]
            )
            linux.run("imprint", "--version")

        self.on_each(check)

    def test_erase(self):
        """Erasing takes the program; settings, identity and state stay."""

        def check(linux):
            rpm(linux, "--install", AGENT)
            linux.enroll()
            before = linux.seen("/etc/imprint/config.toml", IDENTITY, STATE)
            rpm(linux, "--erase", "imprint")
            self.assertFalse(linux.path("/usr/bin/imprint").exists())
            self.assertEqual(linux.seen(*before), before)

        self.on_each(check)

    def test_erase_with_everything(self):
        """Asked to, it takes identity and state as well, and leaves what others have in the same file."""

        def check(linux):
            rpm(linux, "--install", AGENT)
            linux.enroll()
            linux.write(MARKER, "")
            rpm(linux, "--upgrade", "--force", AGENT)
            self.assertIn("3k1-key-of-ours", linux.path(IDENTITY).read_text(), "an upgrade forgets nothing")
            rpm(linux, "--erase", "imprint")
            self.assertEqual(linux.path(IDENTITY).read_text(), OTHERS)
            self.assertFalse(linux.path("/var/lib/imprint").exists())
            self.assertFalse(linux.path(MARKER).exists())
            self.assertEqual(linux.path("/etc/imprint/config.toml").read_text(), CONFIG)

        self.on_each(check)

    def test_cannot_forget(self):
        """Asked to, and not able to, it stays installed and says what to do."""

        def check(linux):
            rpm(linux, "--install", AGENT)
            linux.enroll()
            linux.write("/etc/imprint/config.toml", CONFIG + "nonsense = true\n")
            linux.write(MARKER, "")
            said = rpm(linux, "--erase", "imprint", expect=1)
            self.assertIn(f"remove {MARKER}", said)
            linux.run("imprint", "--version")
            self.assertIn("3k1-key-of-ours", linux.path(IDENTITY).read_text())

        self.on_each(check)


def rpm(linux, *arguments, expect=0):
    """Runs the rpm of this machine on another one's root; what it says."""
    packages = {"--install", "--upgrade", "--erase", "--verify"} & set(arguments)
    command = ["rpm", "--root", linux.place, "--dbpath", "/var/lib/rpm", *arguments]
    done = subprocess.run(
        [*command, *(["--nodeps"] if packages else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != expect:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    unittest.main()

"""What is asked of a program before it is packed, and what is in the archives."""

import hashlib
import json
import subprocess
import tarfile
import unittest
import zipfile

from machine import OUT, PROJECT, one


class Programs(unittest.TestCase):
    """The programs themselves, and what is not installed by a package manager."""

    def test_portable(self):
        """Ours would start everywhere; a shell that links what this system has is refused."""
        for program in ("imprint", "imprint-rotator"):
            done = portable(PROJECT / "target/pack/x86_64" / program)
            self.assertEqual(done.returncode, 0, done.stderr)
        done = portable("/bin/bash")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "/bin/bash wants (GLIBC_2|libtinfo)")

    def test_lambda(self):
        """The zip has an executable bootstrap: the rotator."""
        with zipfile.ZipFile(one("imprint-rotator-*-lambda-x86_64.zip")) as archive:
            self.assertIsNone(archive.testzip())
            bootstrap = archive.getinfo("bootstrap")
            self.assertEqual(bootstrap.external_attr >> 16, 0o100755)
            self.assertEqual(
                archive.read("bootstrap"), (PROJECT / "target/pack/x86_64/imprint-rotator").read_bytes()
            )

    def test_tarball(self):
        """The tarball has one folder, and in it the target tree, all of it root's."""
        name = one("imprint-*-linux-x86_64.tar.gz")
        with tarfile.open(name) as tar:
            members = tar.getmembers()
        folder = name.name.removesuffix(".tar.gz")
        self.assertEqual({member.name.split("/")[0] for member in members}, {folder})
        self.assertEqual({(member.uid, member.gid) for member in members}, {(0, 0)})
        modes = {member.name.removeprefix(f"{folder}/"): member.mode for member in members}
        self.assertEqual(modes["usr/bin/imprint"], 0o755)
        self.assertEqual(modes["usr/share/imprint/config.toml"], 0o644)

    def test_sums(self):
        """SHA256SUMS names every file and is right."""
        lines = dict(reversed(line.split("  ")) for line in (OUT / "SHA256SUMS").read_text().splitlines())
        files = {file.name for file in OUT.iterdir()} - {"SHA256SUMS"}
        self.assertEqual(set(lines), files)
        for name, digest in lines.items():
            self.assertEqual(hashlib.sha256((OUT / name).read_bytes()).hexdigest(), digest, name)

    def test_bill_of_materials(self):
        """What is linked is required, what only builds is excluded; nothing is of the other program."""

        def scopes(pattern):
            document = json.loads(one(pattern).read_text())
            return {found["name"]: found["scope"] for found in document["components"]}

        agent, rotator = scopes("imprint-[0-9]*-x86_64.cdx.json"), scopes("imprint-rotator-*-x86_64.cdx.json")
        for found in (agent, rotator):
            self.assertEqual(found["rustls"], "required")
            self.assertEqual(found["aws-lc-sys"], "required")
            self.assertEqual(found["cc"], "excluded")
            self.assertEqual(found["serde_derive"], "excluded")
            self.assertNotIn("s3s", found, "it is in tests alone")
        self.assertNotIn("lambda_runtime", agent)
        self.assertEqual(rotator["lambda_runtime"], "required")


def portable(program):
    """What the check says of a program."""
    command = ["bash", "packaging/build/portable.sh", program]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


if __name__ == "__main__":
    unittest.main()

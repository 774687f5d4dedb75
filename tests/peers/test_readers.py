"""The readers read good files and refuse bad ones.

What is tested here is that a reader's success means that the files were read and the key was
used, and that its failure is seen.
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

import small_conjur
from small_conjur import API_KEY, LOGIN, SECRET

HERE = pathlib.Path(__file__).resolve().parent


class ReadersTest(unittest.TestCase):
    """Each reader, with the same files."""

    @classmethod
    def setUpClass(cls):
        """A root with the three files, and the server behind them."""
        cls.root = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        (cls.root / "etc").mkdir()
        cls.url, certificate = cls.enterClassContext(small_conjur.running(cls.root))
        (cls.root / "etc/conjur.pem").write_bytes(certificate.read_bytes())
        # As the agent writes them.
        (cls.root / "etc/conjur.conf").write_text(
            f"account: myorg\nappliance_url: {cls.url}\ncert_file: /etc/conjur.pem\n"
            "netrc_path: /etc/conjur.identity\ncredential_storage: file\nplugins: []\n"
        )

    def identity(self, key):
        """Writes the identity file with a key."""
        (self.root / "etc/conjur.identity").write_text(
            f"machine {self.url}/authn\n  login {LOGIN}\n  password {key}\n"
        )

    def run_reader(self, reader, variable):
        """The finished process of a reader."""
        command = [sys.executable, HERE / reader, "--root", self.root, variable]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    def check(self, reader):
        """Good files give the secret; a wrong key gives a failure that does not show it."""
        self.identity(API_KEY)
        done = self.run_reader(reader, "app/db/password")
        self.assertEqual((done.returncode, done.stdout), (0, SECRET + "\n"), done.stderr)
        self.identity(API_KEY[::-1])
        refused = self.run_reader(reader, "app/db/password")
        self.assertNotEqual(refused.returncode, 0)
        self.assertNotIn(API_KEY[::-1], refused.stdout + refused.stderr)

    def test_sdk(self):
        """The official Python SDK with the standard library's netrc."""
        self.check("read_with_sdk.py")

    def test_sdk_without_the_variable(self):
        """A variable that is not there. (Ansible's lookup would retry that for 40 seconds.)"""
        self.identity(API_KEY)
        self.assertNotEqual(self.run_reader("read_with_sdk.py", "app/db/other").returncode, 0)

    def test_ansible(self):
        """Ansible's lookup."""
        self.check("read_with_ansible.py")


if __name__ == "__main__":
    unittest.main()

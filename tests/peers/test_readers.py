"""The readers read good files and refuse bad ones.

Against a Conjur of a few lines: what is tested here is that a reader's success means that the
files were read and the key was used, and that its failure is seen.
"""

import base64
import datetime
import http.server
import ipaddress
import json
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HERE = pathlib.Path(__file__).resolve().parent
LOGIN = "host/app/hosts/123456789012/us-east-1/i-0123456789abcdef0"
API_KEY = "1p9vgqc3hb8n2y30a1b2c3d4e5f6g7h8j9k0m1n2p3q4r5s6t7"
SECRET = 'se"cr\\et: {{ 1 }} é'
ACCESS_TOKEN = json.dumps(
    {
        "protected": base64.b64encode(b'{"alg":"conjur.org/slosilo/v2"}').decode(),
        "payload": base64.b64encode(b'{"sub":"x","iat":1,"exp":99999999999}').decode(),
        "signature": "c2ln",
    }
)


class Conjur(http.server.BaseHTTPRequestHandler):
    """Authenticates one host and gives it one variable."""

    def do_POST(self):
        """Authenticate: the API key is the body."""
        key = self.rfile.read(int(self.headers["content-length"])).decode()
        path = f"/authn/myorg/{LOGIN.replace('/', '%2F')}/authenticate"
        self.answer(200 if (self.path, key) == (path, API_KEY) else 401, ACCESS_TOKEN)

    def do_GET(self):
        """The variable app/db/password, with the access token in base64."""
        token = base64.b64encode(ACCESS_TOKEN.encode()).decode()
        known = self.headers["authorization"] == f'Token token="{token}"'
        path = self.path.replace("%2F", "/")
        found = path == "/secrets/myorg/variable/app/db/password"
        self.answer(401 if not known else 200 if found else 404, SECRET)

    def answer(self, status, text):
        """A reply; an error has no body."""
        body = text.encode() if status == 200 else b""
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


def self_signed(directory):
    """A certificate of localhost that is its own authority: (PEM path, key path)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "conjur.example.org")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = directory / "conjur.pem", directory / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, private


class ReadersTest(unittest.TestCase):
    """Each reader, with the same files."""

    @classmethod
    def setUpClass(cls):
        """A root with the three files, and the server behind them."""
        cls.root = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        (cls.root / "etc").mkdir()
        certificate, private = self_signed(cls.root)
        cls.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Conjur)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, private)
        cls.server.socket = context.wrap_socket(cls.server.socket, server_side=True)
        threading.Thread(target=cls.server.serve_forever, daemon=True).start()
        cls.addClassCleanup(cls.server.server_close)
        cls.addClassCleanup(cls.server.shutdown)
        cls.url = f"https://localhost:{cls.server.server_address[1]}"
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

"""For the Python tests: a Conjur of a few lines, which knows one host, one token, one variable.

The stand-in that the Rust tests use is another thing altogether (tests/stack); this one only has
to tell a reader that works from one that does not.
"""

import base64
import contextlib
import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

HOST = "app/hosts/123456789012/us-east-1/i-0123456789abcdef0"
LOGIN = f"host/{HOST}"
TOKEN = "3k2v9x1q7m5z8w4p6r0t2y1s3d5f7g9h1j2k4n6q8v0x"
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
        """Authenticate, whose body is the API key; and redeem."""
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if self.path == "/host_factories/hosts":
            asked = urllib.parse.parse_qs(body)
            known = self.headers["authorization"] == f'Token token="{TOKEN}"'
            self.answer(201 if known and asked["id"] == [HOST] else 401, json.dumps({"api_key": API_KEY}))
            return
        path = f"/authn/myorg/{LOGIN.replace('/', '%2F')}/authenticate"
        self.answer(200 if (self.path, body) == (path, API_KEY) else 401, ACCESS_TOKEN)

    def do_GET(self):
        """The variable app/db/password, with the access token in base64."""
        token = base64.b64encode(ACCESS_TOKEN.encode()).decode()
        known = self.headers["authorization"] == f'Token token="{token}"'
        path = self.path.replace("%2F", "/")
        found = path == "/secrets/myorg/variable/app/db/password"
        self.answer(401 if not known else 200 if found else 404, SECRET)

    def answer(self, status, text):
        """A reply; an error has no body."""
        body = text.encode() if status < 300 else b""
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


@contextlib.contextmanager
def running(directory):
    """Serves from `with` to the end of its block; gives the URL and the path of the CA's PEM."""
    certificate, private = self_signed(directory)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Conjur)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"https://localhost:{server.server_address[1]}", certificate
    finally:
        server.shutdown()
        server.server_close()

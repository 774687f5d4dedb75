"""Reads the identity files as any client would, logs in to Conjur, and reads a secret of its layer.

It shares nothing with Imprint: the files are read with Python's own netrc. What it writes into /run/app is
the secret's digest, never the secret.
"""

import base64
import hashlib
import netrc
import pathlib
import ssl
import urllib.parse
import urllib.request

VARIABLE = "web/password"


def conf():
    """`account`, `appliance_url`, `cert_file` and `netrc_path`, from wherever conjur.conf is."""
    places = [pathlib.Path(name) for name in ("/etc/conjur.conf", "/run/imprint/conjur.conf")]
    text = next(path for path in places if path.exists()).read_text()
    pairs = (line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs}


def main():
    """Logs in, and leaves the digest of what it read."""
    at = conf()
    found = netrc.netrc(at["netrc_path"]).authenticators(f"{at['appliance_url']}/authn")
    assert found, "no entry for this Conjur"
    login, _, key = found
    trust = ssl.create_default_context(cafile=at["cert_file"])

    def ask(path, body=None, headers=None):
        request = urllib.request.Request(f"{at['appliance_url']}/{path}", data=body, headers=headers or {})
        with urllib.request.urlopen(request, context=trust, timeout=20) as reply:
            return reply.read()

    def quoted(text):
        return urllib.parse.quote(text, safe="")

    token = ask(f"authn/{at['account']}/{quoted(login)}/authenticate", key.encode())
    authorization = f'Token token="{base64.b64encode(token).decode()}"'
    secret = ask(
        f"secrets/{at['account']}/variable/{quoted(VARIABLE)}", headers={"Authorization": authorization}
    )
    pathlib.Path("/run/app/digest").write_text(hashlib.sha256(secret).hexdigest())
    print(f"app: {login} read {len(secret)} bytes")


main()

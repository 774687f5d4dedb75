#!/usr/bin/env python3
"""Logs in with the identity files and the official Python SDK, and prints a variable's value.

    read_with_sdk.py [--root DIR] VARIABLE
    read_with_sdk.py --conf FILE --identity FILE VARIABLE

`--root` stands before /etc/conjur.conf and before each path that the conf names. Everything is
read by code that the project did not write: the conf by PyYAML, the identity by the standard
library's netrc, the certificate by the SDK. Exits 1 with one line when a reader cannot do it.
"""

import argparse
import netrc
import pathlib
import sys

import yaml
from conjur_api import Client
from conjur_api.models import (
    ConjurConnectionInfo,
    CredentialsData,
    SslVerificationMode,
)
from conjur_api.providers import AuthnAuthenticationStrategy, SimpleCredentialsProvider


def main():
    """Reads the files, fetches, prints."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--root", default="", help="directory that stands for /")
    options.add_argument("--conf", help="instead of ROOT/etc/conjur.conf")
    options.add_argument("--identity", help="instead of ROOT and the conf's netrc_path")
    options.add_argument("variable", help="id of the variable, without account and kind")
    given = options.parse_args()
    try:
        value = read(given)
    except Exception as problem:  # whatever a reader throws, it could not read our files
        sys.exit(f"{type(problem).__name__}: {problem}")
    sys.stdout.buffer.write(value + b"\n")


def read(given):
    """The variable's value, as bytes."""
    conf_path = given.conf or under(given.root, "/etc/conjur.conf")
    conf = yaml.safe_load(pathlib.Path(conf_path).read_text())
    identity = given.identity or under(given.root, conf["netrc_path"])
    machine = conf["appliance_url"] + "/authn"
    found = netrc.netrc(identity).authenticators(machine)
    if found is None:
        raise LookupError(f"{identity} has no entry for {machine}")
    login, _, api_key = found

    where = ConjurConnectionInfo(
        conjur_url=conf["appliance_url"],
        account=conf["account"],
        cert_file=under(given.root, conf["cert_file"]),
    )
    credentials = SimpleCredentialsProvider()
    credentials.save(CredentialsData(machine=conf["appliance_url"], username=login, api_key=api_key))
    client = Client(
        where,
        authn_strategy=AuthnAuthenticationStrategy(credentials),
        ssl_verification_mode=SslVerificationMode.CA_BUNDLE,
        async_mode=False,
    )
    return client.get(given.variable)


def under(root, path):
    """An absolute path of the machine, seen below `root`."""
    return f"{root.rstrip('/')}{path}" if root else path


if __name__ == "__main__":
    main()

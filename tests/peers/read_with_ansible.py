#!/usr/bin/env python3
"""Fetches a variable with Ansible's lookup cyberark.conjur.conjur_variable, and prints its value.

    read_with_ansible.py [--root DIR] VARIABLE
    read_with_ansible.py --conf FILE --identity FILE --cert FILE VARIABLE

`--root` stands before /etc/conjur.conf, /etc/conjur.identity and /etc/conjur.pem. The lookup is
the collection's own, unchanged, run by the `ansible` command beside this interpreter; the only
settings given to it are the places of the three files. Its check of the certificate does not see
the conf's `cert_file`, so the place is given in the environment as its users must do too.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import yaml

LOOKUP = "cyberark.conjur.conjur_variable"
# The minimal callback prints this and the task's result as JSON.
SUCCESS = "localhost | SUCCESS => "


def main():
    """Runs the lookup, prints its value or what Ansible said."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--root", default="", help="directory that stands for /")
    options.add_argument("--conf")
    options.add_argument("--identity")
    options.add_argument("--cert")
    options.add_argument("variable", help="id of the variable, without account and kind")
    given = options.parse_args()
    files = {
        "CONJUR_CONFIG_FILE": given.conf or f"{given.root}/etc/conjur.conf",
        "CONJUR_IDENTITY_FILE": given.identity or f"{given.root}/etc/conjur.identity",
        "CONJUR_CERT_FILE": given.cert or f"{given.root}/etc/conjur.pem",
    }
    with tempfile.TemporaryDirectory() as home:
        done = lookup(given.variable, files, home)
    _, success, result = done.stdout.partition(SUCCESS)
    if done.returncode != 0 or not success:
        sys.exit(f"ansible ended with {done.returncode}: {done.stdout}{done.stderr}")
    print(json.loads(result)["msg"])


def lookup(variable, files, home):
    """Runs Ansible in an environment and home of its own."""
    environment = {
        "ANSIBLE_HOME": home,
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_STDOUT_CALLBACK": "minimal",
        "HOME": home,
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
        **files,
    }
    # A variable id goes in as a value, never as a part of the expression.
    command = [
        pathlib.Path(sys.executable).parent / "ansible",
        "localhost",
        "--inventory",
        "localhost,",
        "--connection",
        "local",
        "--module-name",
        "ansible.builtin.debug",
        "--extra-vars",
        f"@{extra_vars(variable, home)}",
        "--args",
        "msg={{ lookup('" + LOOKUP + "', wanted) }}",
    ]
    return subprocess.run(
        command,
        env=environment,
        cwd=home,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def extra_vars(variable, home):
    """A file of Ansible variables with the id that the lookup asks for."""
    path = pathlib.Path(home, "vars.yml")
    path.write_text(yaml.safe_dump({"wanted": variable}))
    return path


if __name__ == "__main__":
    main()

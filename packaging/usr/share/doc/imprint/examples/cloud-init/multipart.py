#!/usr/bin/python3
"""Joins parts of user-data into one, for EC2: python3 multipart.py THEIRS... OURS > user-data

The order is kept, so name the part of imprint last. Each part is a file that begins with #cloud-config or
with #!. --gzip packs the result, which cloud-init unpacks by itself.
"""

import argparse
import gzip
import pathlib
import sys
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

# What EC2 takes, before base64. Source: EC2 user guide, "Run commands when you launch an EC2 instance with
# user data input".
MOST = 16 * 1024

KINDS = {"#cloud-config": "cloud-config", "#!": "x-shellscript", "#include": "x-include-url"}


def main() -> None:
    """Writes the joined parts to standard output."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--gzip", action="store_true", help="pack the result")
    arguments.add_argument("parts", nargs="+", type=pathlib.Path, metavar="PART", help="ours last")
    said = arguments.parse_args()
    joined = join(said.parts)
    if said.gzip:
        # Without a time, so that the same parts give the same bytes.
        joined = gzip.compress(joined, mtime=0)
    if len(joined) > MOST:
        sys.exit(f"{len(joined)} bytes, and EC2 takes {MOST}: use --gzip, or download what is large")
    sys.stdout.buffer.write(joined)


def join(parts: list[pathlib.Path]) -> bytes:
    """One MIME message of all parts."""
    message = MIMEMultipart(boundary="imprint-user-data")
    for path in parts:
        text = path.read_text(encoding="utf-8")
        kind = next((kind for start, kind in KINDS.items() if text.startswith(start)), None)
        if kind is None:
            sys.exit(f"{path} begins with none of {', '.join(KINDS)}, so cloud-init would pass over it")
        part = MIMEText(text, kind, "us-ascii" if text.isascii() else "utf-8")
        part.add_header("Content-Disposition", "attachment", filename=path.name)
        message.attach(part)
    return message.as_bytes()


if __name__ == "__main__":
    main()

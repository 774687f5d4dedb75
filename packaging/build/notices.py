"""The notices of what is linked into a program: most licenses ask that they go along with it.

Each text stands once, below the crates that it came with. A crate that brings no such file has the
name of its license alone.
"""

import re

import crates

NOTICE = re.compile(r"(licen[cs]e|copying|copyright|notice)([-_.].*)?", re.IGNORECASE)
RULE = "=" * 100


def collect(package, target):
    """The text, as bytes."""
    known = crates.described(target)
    texts = {}
    silent = []
    for crate in sorted(crates.linked(package, target)):
        license_, folder, source = known[crate]
        if not source:
            continue
        found = sorted(file for file in folder.iterdir() if file.is_file() and NOTICE.fullmatch(file.name))
        for file in found:
            text = file.read_text(errors="replace").replace("\r\n", "\n").strip()
            texts.setdefault(text, []).append(f"{crate.name} {crate.version} ({license_}), {file.name}")
        if not found:
            silent.append(f"{crate.name} {crate.version} ({license_})")
    parts = [f"{package} is linked with these crates, and Rust's standard library (MIT OR Apache-2.0)."]
    if silent:
        parts.append("These bring no text of their license:\n\n" + "\n".join(silent))
    for text, owners in sorted(texts.items(), key=lambda item: item[1]):
        parts.append("\n".join(owners) + "\n\n" + text)
    return f"\n\n{RULE}\n".join(parts).encode() + b"\n"

#!/usr/bin/env python3
"""What no linter looks for, asked of every file of the repository: `make check` runs it.

Each rule is a function from a file to its faults, with its reason as the docstring. A rule may
have exceptions, but only by name and with a reason, in this file.
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Files that tell one story in more than LONGEST lines, and why they do.
LONGEST = 500
LONG = {}

# Lock files are the tools' own, a licence's text is not ours to rewrap, and a fuzz seed is bytes.
NOT_OURS = re.compile(r"(fuzz/)?Cargo\.lock|LICENSE|fuzz/seeds/.*")
CODE = {".rs", ".py", ".sh", ".tf"}
LARGEST = 1_000_000  # bytes

# Spelled so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b|\b(todo|unimplemented)!\(")
MACHINE = re.compile(r"(?<![\w.])/(home|root|wo" r"rk|Users)/|\.\./sha" r"red\b")
BARE_LINT = re.compile(r"#!?\[(?:allow|expect)\((?P<inside>[^\]]*)\)\]", re.DOTALL)
VAGUE_NAME = re.compile(
    r"\b(?:struct|enum|trait|mod)\s+(\w*(?:Manager|Handler|Helper|Utils?))\b|\bpub fn (get_\w+)"
)
MOVING_ACTION = re.compile(r"^\s*(?:- )?uses: (?!\./|\S+@[0-9a-f]{40} # v\d)(\S+).*", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:|#)([^)#\s]+)")
ANCHOR = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)#\s]*)#([^)\s]+)\)")
CODE_SPAN = re.compile(r"`([^`]+)`")
PATH_IN_TABLE = re.compile(r"^[\w.-]+(/[\w.-]+)*/?$")


def main():
    """Applies every rule to every file; exits 1 when there is a fault."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    names = sorted(name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file())
    faults = []
    for name in names:
        data = (ROOT / name).read_bytes()
        if len(data) > LARGEST:
            faults.append(f"{name}: over {LARGEST} bytes; a repository is no place for it")
        if NOT_OURS.fullmatch(name) or b"\0" in data:
            continue
        for rule in RULES:
            faults += [f"{name}:{line}: {fault}" for line, fault in rule(name, data.decode())]
    faults += [f"tests/tidy.py: {name} needs no exception" for name in LONG if length(name) <= LONGEST]
    for fault in faults:
        print(fault)
    if faults:
        sys.exit(1)
    print(f"tidy: {len(names)} files, {len(RULES)} rules, no fault")


def length(name):
    """The lines of a file; 0 when there is none."""
    path = ROOT / name
    return path.read_text().count("\n") if path.is_file() else 0


def matches(pattern, text, say):
    """A fault for each match of a pattern, with its line."""
    for found in pattern.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, say(found)


def no_unfinished_work(name, text):
    """What is left to do belongs into an issue, where somebody looks for it."""
    return matches(UNFINISHED, text, lambda found: f"{found[0]} left behind")


def no_machine_paths(name, text):
    """A path of one machine means nothing on another."""
    return matches(MACHINE, text, lambda found: f"{found[0]} is a path of one machine")


def rust_says_what_it_is(name, text):
    """The first thing in a Rust file tells a newcomer what is found there, and what is not."""
    # A tests.rs is a part of the file that names it.
    if name.endswith(".rs") and not name.endswith("/tests.rs") and not text.startswith("//! "):
        yield 1, "does not start with //!"


def lints_are_relaxed_with_reason(name, text):
    """A relaxed lint without its reason cannot be judged by the next person."""
    if name.endswith(".rs"):
        for found in BARE_LINT.finditer(text):
            if "reason" not in found["inside"]:
                yield text.count("\n", 0, found.start()) + 1, "a relaxed lint without a reason"


def names_say_something(name, text):
    """Manager, Handler, Helper, Util and get_ say nothing about what a thing does."""
    if name.endswith(".rs"):
        yield from matches(VAGUE_NAME, text, lambda found: f"{found[1] or found[2]} is a vague name")


def files_are_short(name, text):
    """A file over the limit most often tells two stories."""
    lines = text.count("\n")
    if pathlib.Path(name).suffix in CODE and lines > LONGEST and name not in LONG:
        yield lines, f"over {LONGEST} lines; split it, or give the reason in tests/tidy.py"


def lines_end_cleanly(name, text):
    """Blanks at the end of a line and a missing last newline make noise in every diff."""
    yield from matches(
        re.compile(r"[ \t\r]+$", re.MULTILINE), text, lambda _: "blanks at the end of the line"
    )
    if text and not text.endswith("\n"):
        yield text.count("\n") + 1, "no newline at the end"


def links_lead_somewhere(name, text):
    """Documentation names files by links; a file that moves must not leave one behind."""
    if not name.endswith(".md"):
        return
    here = (ROOT / name).parent
    for line, target in matches(LINK, text, lambda found: found[1]):
        if not (here / target).exists():
            yield line, f"the link to {target} leads nowhere"


def anchors_are_headings(name, text):
    """Alarms and pages lead to a section by its name; one that is renamed must not leave them behind."""
    if not name.endswith(".md"):
        return
    here = ROOT / name
    for line, (target, anchor) in matches(ANCHOR, text, lambda found: (found[1], found[2])):
        page = (here.parent / target).resolve() if target else here
        if page.is_file() and anchor not in anchors(page.read_text()):
            yield line, f"{target or name} has no section #{anchor}"


def anchors(text):
    """The anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ +(.*?) *$", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S), re.M)
    bare = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in bare}


def actions_do_not_move(name, text):
    """A tag of somebody else's action can be moved, and a release is signed with what it then runs."""
    if name.startswith(".github/"):
        yield from matches(MOVING_ACTION, text, lambda found: f"{found[1]} is not the commit of a release")


def tables_name_real_files(name, text):
    """The README's table "I want to know ... -> file" is only good while it is right."""
    if name != "README.md":
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("|"):
            continue
        # The last cell is where to look.
        for target in CODE_SPAN.findall(line.rstrip(" |").rpartition("|")[2]):
            looks_like_path = "/" in target or pathlib.Path(target).suffix in CODE | {".md", ".toml"}
            if looks_like_path and PATH_IN_TABLE.match(target) and not (ROOT / target).exists():
                yield number, f"{target} does not exist"


RULES = [
    no_unfinished_work,
    no_machine_paths,
    rust_says_what_it_is,
    lints_are_relaxed_with_reason,
    names_say_something,
    files_are_short,
    lines_end_cleanly,
    links_lead_somewhere,
    anchors_are_headings,
    actions_do_not_move,
    tables_name_real_files,
]

if __name__ == "__main__":
    main()

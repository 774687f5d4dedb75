#!/usr/bin/env python3
"""Compares terraform/README.md and docs/OPERATIONS.md with the module: `documented.py [--write | --example]`.

The tables of inputs and outputs are made from variables.tf and outputs.tf; with --write they are
written. Each variable must have a type and a description, and a validation unless it is a bool. Each alarm
must have a section below "Alarms", and each such section an alarm. --example prints what the README
begins with, for a plan from a folder in the module.
"""

import pathlib
import re
import sys

MODULE = pathlib.Path(__file__).resolve().parents[2] / "terraform"
BLOCK = re.compile(r'^(variable|output) "(\w+)" \{\n(.*?)^\}', re.DOTALL | re.MULTILINE)
DESCRIPTION = re.compile(r'^  description = "(.*)"$', re.MULTILINE)
MOST_VARIABLES = 25


def main():
    """Writes the tables, or says what is wrong and exits with 1."""
    readme = MODULE / "README.md"
    text = readme.read_text()
    if "--example" in sys.argv[1:]:
        print(re.search(r"^```hcl\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)[1].replace('"..."', '"./.."'))
        return
    wanted = text
    faults = []
    for kind, name in (("variable", "inputs"), ("output", "outputs")):
        blocks = found(kind)
        wanted = with_table(wanted, name, table(kind, blocks))
        if kind == "variable":
            faults += unfinished(blocks)
    if "--write" in sys.argv[1:]:
        readme.write_text(wanted)
    elif wanted != text:
        faults.append("terraform/README.md: run tests/terraform/documented.py --write")
    faults += runbook()
    for fault in faults:
        print(fault)
    sys.exit(bool(faults))


def found(kind):
    """(name, body) of each block of a kind, in the order of the file."""
    text = (MODULE / f"{kind}s.tf").read_text()
    return [(name, body) for of, name, body in BLOCK.findall(text) if of == kind]


def unfinished(blocks):
    """What the variables lack."""
    if len(blocks) > MOST_VARIABLES:
        yield f"{len(blocks)} variables are more than {MOST_VARIABLES}"
    for name, body in blocks:
        for part, pattern in (
            ("type", r"^  type +="),
            ("description", r"^  description +="),
            ("validation", r"^  validation \{|^  type +=  *bool$"),
        ):
            if not re.search(pattern, body, re.MULTILINE):
                yield f"terraform/variables.tf: {name} has no {part}"


def table(kind, blocks):
    """A table of them, as Markdown."""
    head = (
        "| input | default | what it is |\n|---|---|---|"
        if kind == "variable"
        else "| output | what it is |\n|---|---|"
    )
    rows = []
    for name, body in blocks:
        described = DESCRIPTION.search(body)[1].replace('\\"', '"').replace("|", "\\|")
        default = re.search(r"^  default += (.*)$", body, re.MULTILINE)
        shown = f"`{default[1]}`" if default else "required"
        rows.append(
            f"| `{name}` | {shown} | {described} |" if kind == "variable" else f"| `{name}` | {described} |"
        )
    return "\n".join([head, *rows])


def with_table(text, name, made):
    """The text with what stands between the two marks replaced."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, begun, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not begun or not ended:
        raise SystemExit(f"terraform/README.md: the marks of {name} are not there")
    return before + begin + made + end + after


def runbook():
    """What alarms and sections lack of each other."""
    text = (MODULE / "watching.tf").read_text()
    # Those of one function each have the function's name in front.
    alarms = set(re.findall(r'^      "([a-z-]+)" = \{$', text, re.MULTILINE))
    alarms |= {
        f"function-{name}" for name in re.findall(r'"\$\{function\}-(failed|errors|throttled|behind)"', text)
    }
    runbook = (MODULE.parent / "docs/OPERATIONS.md").read_text()
    chapter = runbook.split("\n## Alarms\n")[1].split("\n## ")[0]
    sections = set(re.findall(r"^### (.*)$", chapter, re.MULTILINE))
    for name in sorted(alarms ^ sections):
        yield f"docs/OPERATIONS.md: {name} is {'an alarm' if name in alarms else 'a section'} alone"


if __name__ == "__main__":
    main()

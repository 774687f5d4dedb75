#!/usr/bin/env python3
"""Rebuilds the schema of Terraform's provider hashicorp/aws from the npm package @cdktn/provider-aws.

    schema.py PACKAGE OUT TYPE...

That package is generated from `terraform providers schema -json`, so each of its classes still says of
every argument what it is. A TYPE is a resource (`aws_sqs_queue`) or a data source
(`data.aws_region`); OUT becomes

    {"version": "6.66.0", "schemas": {"provider": BLOCK, "aws_sqs_queue": BLOCK, ...}}

where a BLOCK has `attributes` and `block_types` as Terraform's own JSON has them. What the package
does not carry is lost: which change replaces a resource, which arguments exclude each other, and
the validators of values.
"""

import json
import pathlib
import re
import sys

# One argument in synthesizeHclAttributes() or in a ...ToHclTerraform function.
ENTRY = re.compile(
    r"^\s+(\w+): \{\n\s+value: (?P<value>.*),\n\s+isBlock: (true|false),"
    r'\n\s+type: "(\w+)",\n\s+storageClassType: "(.*)",\n',
    re.MULTILINE,
)
# The comment above an argument's accessors, and the accessors.
FLAGS = re.compile(
    r"// (\w+) - computed: (true|false), optional: (true|false), required: (true|false)\n"
    r"(.*?)(?=\n    // \w+ - computed|\n    // =====|\n\}\n)",
    re.DOTALL,
)
CLASS = re.compile(r"^class (\w+) extends .*?\n(.*?)^\}\n", re.DOTALL | re.MULTILINE)
FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{\n(.*?)^\}\n", re.DOTALL | re.MULTILINE)
NESTED = re.compile(r"(\w+)ToHclTerraform")
VERSION = re.compile(r"providerVersion: '([\d.]+)'")

PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
STORAGE = re.compile(r"(string|number|boolean|any)(List|Map|MapList|ListList|ListMap)?")
GETTERS = {
    "String": "string",
    "Number": "number",
    "Boolean": "bool",
    "List": ["list", "string"],
    "NumberList": ["list", "number"],
    "StringMap": ["map", "string"],
    "BooleanMap": ["map", "bool"],
    "NumberMap": ["map", "number"],
}
# The nesting of a block by the kind that the package calls it.
NESTINGS = {"struct": "single", "list": "list", "set": "set", "map": "map"}


def main():
    """Reads the command line and writes the schemas of the types that it names."""
    package, out, *types = sys.argv[1:]
    library = pathlib.Path(package) / "lib"
    version = VERSION.search((library / "provider/index.js").read_text())[1]
    schemas = {name: schema(library, name) for name in ["provider", *sorted(set(types))]}
    pathlib.Path(out).write_text(json.dumps({"version": version, "schemas": schemas}, indent=1))


def schema(library, name):
    """The block of one resource, data source or of the provider itself."""
    source = Source((library / folder_of(name) / "index.js").read_text())
    bare = name.removeprefix("data.")
    if name != "provider" and f'tfResourceType = "{bare}"' not in source.text:
        raise SystemExit(f"{folder_of(name)} is not {name}")
    return source.block(source.main, source.arguments)


def folder_of(name):
    """Where a type lies in the package."""
    if name == "provider":
        return name
    if name.startswith("data."):
        return name.replace("data.aws_", "data-aws-").replace("_", "-")
    return name.removeprefix("aws_").replace("_", "-")


class Source:
    """The JavaScript of one type."""

    def __init__(self, text):
        self.text = text
        self.classes = {}
        for name, body in CLASS.findall(text):
            self.classes[name] = {found[0]: Flags(*found[1:]) for found in FLAGS.findall(body + "}\n")}
            if "synthesizeHclAttributes" in body:
                self.main, self.arguments = name, ENTRY.findall(body)
        self.functions = {name: ENTRY.findall(body) for name, body in FUNCTION.findall(text)}

    def block(self, class_name, entries):
        """The block of a class, whose arguments are these entries."""
        flags_of = self.classes.get(class_name, {})
        attributes, blocks = {}, {}
        for name, value, is_block, kind, storage in entries:
            flags = flags_of.get(name, Flags("false", "true", "false", ""))
            nested = NESTED.search(value.replace("cdktn.", ""))
            if not nested or nested[1] not in self.functions:
                attributes[name] = {"type": argument_type(storage, kind), **flags.shown()}
                continue
            inner_class = nested[1][0].upper() + nested[1][1:] + "OutputReference"
            inner = self.block(inner_class, self.functions[nested[1]])
            nesting = NESTINGS[kind]
            if is_block == "true":
                # A mapper stands for a list of any length.
                single = "MapperHcl" not in value
                blocks[name] = nested_block(nesting, inner, flags.required, single)
            else:
                object_type = {"nesting_mode": nesting, "attributes": inner["attributes"]}
                attributes[name] = {"nested_type": object_type, **flags.shown()}
        for name, flags in flags_of.items():
            # What is only computed is no argument.
            if name not in attributes and name not in blocks:
                attributes[name] = {"type": self.computed_type(flags.body), "computed": True}
        return {"attributes": attributes, "block_types": blocks}

    def computed_type(self, body):
        """The type of what an accessor gives."""
        if made := re.search(r'new (?:cdktn\.)?(\w+)\(this, "', body):
            return self.complex_type(made[1])
        found = re.search(r"this\.get(\w+)Attribute\(", body)
        given = GETTERS.get(found[1] if found else "", "string")
        if isinstance(given, list) and given[0] == "list" and "Fn.tolist" in body:
            return ["set", *given[1:]]
        return given

    def complex_type(self, name):
        """The type behind a class of the package, or of its base library."""
        if name in GETTERS:
            return GETTERS[name]
        single = re.sub(r"(List|Map)$", "", name)
        single = single if single.endswith("OutputReference") else single + "OutputReference"
        members = self.classes.get(single, {})
        one = ["object", {key: self.computed_type(flags.body) for key, flags in members.items()}]
        if name.endswith("List"):
            return ["list", one]
        return ["map", one] if name.endswith("Map") else one


class Flags:
    """What the comment above an argument says of it."""

    def __init__(self, computed, optional, required, body):
        self.computed, self.optional, self.required = (
            flag == "true" for flag in (computed, optional, required)
        )
        self.body = body

    def shown(self):
        """The flags that are set, as Terraform's JSON has them."""
        return {name: True for name in ("computed", "optional", "required") if getattr(self, name)}


def nested_block(nesting, inner, required, single):
    """A block inside of a block."""
    block = {"nesting_mode": nesting, "block": inner}
    if nesting != "single":
        if required:
            block["min_items"] = 1
        if single:
            block["max_items"] = 1
    return block


def argument_type(storage, kind):
    """Terraform's type for the package's name of it."""
    found = STORAGE.fullmatch(storage)
    if not found:
        return "dynamic"
    inner = PRIMITIVES[found[1]]
    for layer in re.findall("List|Map", found[2] or ""):
        inner = ["map", inner] if layer == "Map" else ["set" if kind == "set" else "list", inner]
    return inner


if __name__ == "__main__":
    main()

"""A program's bill of materials: CycloneDX 1.6, as JSON.

Components that only run while it is built have the scope "excluded". The document says nothing of the
machine that it was made on, and is the same for the same sources and compiler.
"""

import hashlib
import json
import subprocess
import time
import uuid

import crates
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

SPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/#imprint")


def bill(package, target, epoch, program):
    """The document of a program with these bytes, checked against the published schema."""
    linked = crates.linked(package, target)
    uses = crates.built_with(package, target)
    (ours,) = (crate for crate in uses if crate.name == package)
    rust = subprocess.run(
        ["rustc", "--version"], check=True, stdout=subprocess.PIPE, text=True
    ).stdout.split()[1]
    std = {
        "type": "library",
        "bom-ref": f"rust-std@{rust}",
        "name": "rust-std",
        "version": rust,
        "description": "Rust's standard library, which is linked into the program",
        "licenses": [{"expression": "MIT OR Apache-2.0"}],
        "scope": "required",
    }
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch)),
            "component": {
                **component(ours, target),
                "type": "application",
                "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(program).hexdigest()}],
                "properties": [{"name": "imprint:target", "value": target}],
            },
        },
        "components": [
            *(
                {**component(crate, target), "scope": "required" if crate in linked else "excluded"}
                for crate in sorted(uses)
                if crate != ours
            ),
            std,
        ],
        "dependencies": [
            *(
                {"ref": ref(crate), "dependsOn": [ref(used) for used in sorted(uses[crate])]}
                for crate in sorted(uses)
            ),
            {"ref": std["bom-ref"]},
        ],
    }
    # The same content has the same number, other content another one.
    number = uuid.uuid5(SPACE, json.dumps(document, sort_keys=True))
    document["serialNumber"] = number.urn
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault:
        raise SystemExit(f"the SBOM of {package} does not fit CycloneDX's schema: {fault}")
    return text.encode()


def component(crate, target):
    """One crate."""
    license_, _, source = crates.described(target)[crate]
    found = {
        "type": "library",
        "bom-ref": ref(crate),
        "name": crate.name,
        "version": crate.version,
        # Manifests of old crates write "MIT/Apache-2.0" for "or".
        "licenses": [{"expression": license_.replace("/", " OR ")}],
    }
    if source:
        checksum = crates.checksums()[crate]
        found["purl"] = ref(crate)
        # Of the crate's file, which the registry hands out.
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def ref(crate):
    """What a crate is called in the document, and everywhere (package URL)."""
    return f"pkg:cargo/{crate.name}@{crate.version}"

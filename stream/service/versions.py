"""The versions of what is installed: for ``driftline version``, build_info and reports of bugs."""

import platform
from importlib import metadata

SHOWN = ("driftline", "faust-streaming", "aiokafka", "river", "numpy", "msgspec", "datasketches")


def installed() -> dict[str, str]:
    """Version by distribution, and Python's."""
    found: dict[str, str] = {}
    for name in SHOWN:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "python": platform.python_version()}

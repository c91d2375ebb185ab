"""The installed versions of driftline and its libraries, for ``driftline version``, build_info and bug reports."""

import platform
from importlib import metadata

SHOWN = ("driftline", "faust-streaming", "aiokafka", "river", "numpy", "msgspec", "datasketches")


def installed() -> dict[str, str]:
    """The version of each distribution, and of Python."""
    found: dict[str, str] = {}
    for name in SHOWN:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "python": platform.python_version()}

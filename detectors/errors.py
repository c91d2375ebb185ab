"""The exception tree of driftline.

::

    DriftlineError
    ├── SettingsError      a key or value of the settings is wrong; names the key and the nearest known one
    ├── ReferenceError     a reference artefact cannot be built, read or used
    ├── FormatError        a record or file cannot be read; its text is the reason in a dead letter's header
    ├── CheckpointError    a checkpoint or snapshot is broken, missing or of another schema
    ├── BrokerError        the broker or its topics are missing or have wrong settings
    │   └── BrokerAway     no broker answers now; a later attempt may succeed
    └── DetectorCheckError a custom detector breaks the protocol; names the check and the reason

A bug of driftline is an ``AssertionError``. In the work on one unit it puts that unit into quarantine; elsewhere it
ends the process. Everything else is one of these.
"""


class DriftlineError(Exception):
    """Base of all errors that are not bugs of driftline. Its text names the problem, the place and the remedy."""


class SettingsError(DriftlineError):
    """A settings key or value is wrong."""


class ReferenceError(DriftlineError):  # noqa: A001 - the field's word; the builtin is about weak references
    """A reference artefact cannot be built, read or used."""


class FormatError(DriftlineError):
    """A record or file cannot be read; ``str(error)`` is the dead letter's reason."""


class CheckpointError(DriftlineError):
    """A checkpoint or snapshot is broken, missing or of an unknown schema."""


class BrokerError(DriftlineError):
    """The broker or its topics are missing or have wrong settings."""


class BrokerAway(BrokerError):
    """No broker answers now, or it cannot do what it is asked for now. A later attempt may succeed."""


class DetectorCheckError(DriftlineError):
    """A detector breaks the plug-in protocol."""


def reason_of(error: Exception) -> str:
    """The reason of a dead letter: that of a FormatError; any other error is named as one that was not expected."""
    if isinstance(error, FormatError):
        return str(error)
    lines = str(error).splitlines() or [""]
    return f"unexpected {type(error).__name__}: {lines[0][:200]}"

"""The exception tree of driftline.

::

    DriftlineError
    ├── SettingsError      a key or value of the settings is wrong; names the key and the nearest known one
    ├── ReferenceError     a reference artefact cannot be built, read or used
    ├── FormatError        a record or file cannot be read; carries the reason a dead letter is stamped with
    ├── CheckpointError    a checkpoint or snapshot is broken, missing or of another schema
    ├── BrokerError        topics or broker are not as they must be
    └── DetectorCheckError a detector of a user's own breaks the protocol; says which check and why

A bug of ours is an ``AssertionError`` and ends the process; everything a user or the world can cause is one of these.
"""


class DriftlineError(Exception):
    """Base of every error that is not a bug of ours. Its text says what, where and what to do."""


class SettingsError(DriftlineError):
    """A settings key or value is wrong."""


class ReferenceError(DriftlineError):  # noqa: A001 - the field's word; the builtin is about weak references
    """A reference artefact cannot be built, read or used."""


class FormatError(DriftlineError):
    """A record or file cannot be read; ``str(error)`` is the dead letter's reason."""


class CheckpointError(DriftlineError):
    """A checkpoint or snapshot is broken, missing or of an unknown schema."""


class BrokerError(DriftlineError):
    """The broker or its topics are not as they must be."""


class DetectorCheckError(DriftlineError):
    """A detector does not do what the protocol asks of it."""

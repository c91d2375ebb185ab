"""Units that are not watched for now: those in quarantine after an unexpected error, and those refused for a limit."""

import msgspec

from detectors.errors import DriftlineError
from detectors.features import UnitKey

REASON_LENGTH = 300
"""Most characters of a reason."""


class Quarantine(msgspec.Struct, frozen=True, array_like=True):
    """The quarantine of a unit in one partition, as its checkpoint holds it.

    ``ignored``: events that were read and not counted since. ``request``: id of the newest request to release the unit
    when the quarantine began; any other request ends it. ``limit``: instead of a reason, for a unit that was
    refused a place.
    """

    reason: str
    ignored: int = 0
    request: str = ""
    limit: str = ""


class Quarantined(msgspec.Struct, frozen=True, omit_defaults=True):
    """A unit in quarantine, or refused for a limit, as a mark reports it to the judge."""

    model: str
    version: str
    segment: str | None
    reason: str
    ignored: int = 0
    limit: str = ""

    @property
    def unit(self) -> UnitKey:
        return UnitKey(self.model, self.version, self.segment)


def reason_for(stage: str, error: BaseException) -> str:
    """The reason of a quarantine, one line: what was being done, and the error."""
    text = (str(error).splitlines() or [""])[0]
    if not isinstance(error, DriftlineError):
        text = f"unexpected {type(error).__name__}: {text}"
    return f"{stage}: {text}"[:REASON_LENGTH]

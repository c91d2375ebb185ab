"""What the judge wants done, and what it is told of the reading side. Every effect names its unit."""

from typing import Any

import msgspec

from detectors.features import UnitKey
from detectors.incidents.retrain import Outcome
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.topics.drift_events import EventType


class DriftEvent(msgspec.Struct, frozen=True):
    """To be told to the world; ``what`` tells its id from all others of its kind and unit."""

    kind: EventType
    unit: UnitKey
    at_ms: int
    data: dict[str, Any]
    what: tuple[object, ...]


class IncidentRecord(msgspec.Struct, frozen=True):
    """The newest form of an incident."""

    unit: UnitKey
    id: str
    data: dict[str, Any]


class ReferenceBuilt(msgspec.Struct, frozen=True):
    """A reference that the judge made, to be published."""

    unit: UnitKey
    reference: Reference


class RetrainDecided(msgspec.Struct, frozen=True):
    """Whether an incident asks for a retraining, or why not; the request itself is a DriftEvent."""

    unit: UnitKey
    outcome: Outcome


Effect = DriftEvent | IncidentRecord | ReferenceBuilt | RetrainDecided


class Health(msgspec.Struct, frozen=True):
    """Of the reading side. ``records`` and ``invalid`` are of the last minute, by model ("" where it is not known);
    ``labels`` are those read since the worker's start."""

    lag_records: int | None = None
    lag_seconds: float | None = None  # age of the newest event read, while there is more to read
    records: dict[str, int] = {}
    invalid: dict[str, int] = {}
    labels: dict[str, int] = {}


def signals(unit: UnitKey, before: Profile | None, profile: Profile) -> list[DriftEvent]:
    """What detectors said since the shard's profile ``before``, each once."""
    after = before.next_offset if before is not None else -1
    return [
        DriftEvent(
            EventType.SIGNAL,
            unit,
            signal.timestamp_ms,
            {
                **msgspec.to_builtins(signal),
                "model": unit.model,
                "version": unit.version,
                "segment": unit.segment,
                "shard": profile.shard,
            },
            (profile.shard, signal.feature, signal.detector, signal.channel, signal.next_offset, signal.event),
        )
        for signal in profile.signals
        if signal.next_offset > after
    ]

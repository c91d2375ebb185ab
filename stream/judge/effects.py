"""What the judge returns to be published or counted, and what it is given of the reading side."""

from typing import Any

import msgspec

from detectors.features import UnitKey
from detectors.incidents.retrain import Outcome
from detectors.profiles import Profile
from detectors.reference.reference import Reference
from stream.topics.drift_events import EventType


class DriftEvent(msgspec.Struct, frozen=True):
    """A drift event to publish. ``what`` makes its id differ from all others of its kind and unit."""

    kind: EventType
    unit: UnitKey
    at_ms: int
    data: dict[str, Any]
    what: tuple[object, ...]


class IncidentRecord(msgspec.Struct, frozen=True):
    """The newest form of an incident, to publish."""

    unit: UnitKey
    id: str
    data: dict[str, Any]


class ReferenceBuilt(msgspec.Struct, frozen=True):
    """A reference that the judge built, to publish."""

    unit: UnitKey
    reference: Reference


class RetrainDecided(msgspec.Struct, frozen=True):
    """Whether an incident asks for a retraining, or why not, to count. The request itself is a DriftEvent."""

    unit: UnitKey
    outcome: Outcome


Effect = DriftEvent | IncidentRecord | ReferenceBuilt | RetrainDecided
"""Every effect names its unit."""


class Health(msgspec.Struct, frozen=True):
    """How well this worker reads. ``records`` and ``invalid``: of the last minute, by model ("" where it is not known).
    ``labels``: read since the worker's start, by model. ``lag_seconds``: age of the newest event read, while there is
    more to read."""

    lag_records: int | None = None
    lag_seconds: float | None = None
    records: dict[str, int] = {}
    invalid: dict[str, int] = {}
    labels: dict[str, int] = {}


def new_signals(unit: UnitKey, before: Profile | None, profile: Profile) -> list[DriftEvent]:
    """The signals that are new since the shard's profile ``before``, each once."""
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

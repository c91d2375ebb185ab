"""What the observe stage measures of itself, as a protocol. ``stream.metrics.registry`` implements it."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from detectors.columns import Floats
from stream.observe.effects import Effects

SETTING_OF_LIMIT = {
    "units": "units", "models": "models", "versions": "versions_per_model", "segments": "segments_per_model",
}  # fmt: skip

log = logging.getLogger(__name__)


class Telemetry(Protocol):
    """The measurements, each called once per batch.

    ``aged``: ages of the events just read. The first ``rows[0]`` of ``seconds`` belong to ``models[0]``, and so on.
    """

    def counted(self, model: str, outcome: str, count: int) -> None: ...

    def staged(self, stage: str, seconds: float) -> None: ...

    def aged(self, models: Sequence[str], rows: Sequence[int], seconds: Floats) -> None: ...

    def published(self, topic: str, count: int) -> None: ...

    def error(self, component: str) -> None: ...

    def rebalanced(self) -> None: ...

    def limited(self, limit: str, count: int) -> None: ...

    def interrupted(self, topic: str, kind: str) -> None: ...


class Unmeasured:
    """Telemetry that measures nothing."""

    def counted(self, model: str, outcome: str, count: int) -> None: ...

    def staged(self, stage: str, seconds: float) -> None: ...

    def aged(self, models: Sequence[str], rows: Sequence[int], seconds: Floats) -> None: ...

    def published(self, topic: str, count: int) -> None: ...

    def error(self, component: str) -> None: ...

    def rebalanced(self) -> None: ...

    def limited(self, limit: str, count: int) -> None: ...

    def interrupted(self, topic: str, kind: str) -> None: ...


def record_effects(telemetry: Telemetry, effects: Effects, now_ms: int) -> None:
    """Records the outcomes, limits and ages of a batch of events that was read just now, and logs quarantines
    and topics that were made anew."""
    for (model, outcome), count in effects.outcomes.items():
        telemetry.counted(model, outcome, count)
    for limit, count in effects.limited.items():
        telemetry.limited(limit, count)
    for fault in effects.faults:
        telemetry.error("observer.quarantine")
        log.error(
            "%s in %s is in quarantine: %s. Its events are ignored until 'driftline models release'",
            fault.unit, fault.partition, fault.reason, exc_info=fault.error,
        )  # fmt: skip
    for unit, partition, limit in effects.refused:
        log.warning("%s in %s is not watched: limits.%s is reached", unit, partition, SETTING_OF_LIMIT[limit])
    for found in effects.interruptions:
        telemetry.interrupted(found.partition.topic, found.kind)
        log.warning("%s", found.text)
    for unit, partition in effects.released:
        log.info("%s in %s was released from quarantine", unit, partition)
    if effects.timestamps:
        models, times_ms = zip(*effects.timestamps, strict=True)
        telemetry.aged(models, list(map(len, times_ms)), (now_ms - np.concatenate(times_ms)) / 1000.0)


class Stage:
    """Measures how long its ``with`` block takes, as a stage."""

    __slots__ = ("_began", "_name", "_telemetry")

    def __init__(self, name: str, telemetry: Telemetry) -> None:
        self._name = name
        self._telemetry = telemetry
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    def __exit__(self, *_: object) -> None:
        self._telemetry.staged(self._name, asyncio.get_running_loop().time() - self._began)

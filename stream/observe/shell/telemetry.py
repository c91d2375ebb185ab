"""What the observe stage measures of itself, as a protocol. ``stream.metrics.registry`` implements it."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from detectors.columns import Floats
from stream.observe.observer import Effects


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


class Unmeasured:
    """Telemetry that measures nothing."""

    def counted(self, model: str, outcome: str, count: int) -> None: ...

    def staged(self, stage: str, seconds: float) -> None: ...

    def aged(self, models: Sequence[str], rows: Sequence[int], seconds: Floats) -> None: ...

    def published(self, topic: str, count: int) -> None: ...

    def error(self, component: str) -> None: ...

    def rebalanced(self) -> None: ...

    def limited(self, limit: str, count: int) -> None: ...


def record_effects(telemetry: Telemetry, effects: Effects, now_ms: int) -> None:
    """Records the outcomes, limits and ages of a batch of events that was read just now."""
    for (model, outcome), count in effects.outcomes.items():
        telemetry.counted(model, outcome, count)
    for limit, count in effects.limited.items():
        telemetry.limited(limit, count)
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

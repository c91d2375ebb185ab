"""What the observe stage measures of itself, as a protocol; ``stream.metrics`` keeps the numbers."""

import asyncio
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Telemetry(Protocol):
    """What is measured; called once per batch."""

    def counted(self, model: str, outcome: str, count: int) -> None: ...

    def staged(self, stage: str, seconds: float) -> None: ...

    def aged(self, model: str, seconds: npt.NDArray[np.float64]) -> None: ...

    def published(self, topic: str, count: int) -> None: ...

    def error(self, component: str) -> None: ...

    def rebalanced(self) -> None: ...

    def limited(self, limit: str, count: int) -> None: ...


class Unmeasured:
    """Telemetry for nobody."""

    def counted(self, model: str, outcome: str, count: int) -> None: ...

    def staged(self, stage: str, seconds: float) -> None: ...

    def aged(self, model: str, seconds: npt.NDArray[np.float64]) -> None: ...

    def published(self, topic: str, count: int) -> None: ...

    def error(self, component: str) -> None: ...

    def rebalanced(self) -> None: ...

    def limited(self, limit: str, count: int) -> None: ...


class Stage:
    """Measures a stage."""

    __slots__ = ("_began", "_name", "_telemetry")

    def __init__(self, name: str, telemetry: Telemetry) -> None:
        self._name = name
        self._telemetry = telemetry
        self._began = 0.0

    def __enter__(self) -> None:
        self._began = asyncio.get_running_loop().time()

    def __exit__(self, *_: object) -> None:
        self._telemetry.staged(self._name, asyncio.get_running_loop().time() - self._began)

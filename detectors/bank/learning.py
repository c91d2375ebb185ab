"""Numeric features in a shard without a reference: sketches, running mean and variance, serial dependence.

No result depends on how events are split over calls.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from detectors.columns import INVALID, PRESENT, Bytes8, Floats, Integers
from detectors.compiled import compiled
from detectors.features import Kind
from detectors.profiles import FeatureProfile
from detectors.reference.dependence import RunningDependence, RunningState
from detectors.sketches.quantiles import QuantileSketch

HELD = 4096
"""Values that a feature holds back before they go into its sketch: 32 KiB."""

_TOP = float(np.finfo(np.float64).max)


class LearningState(msgspec.Struct, frozen=True):
    """The snapshot of a ``LearningNumbers``."""

    names: list[str]
    present: list[int]
    invalid: list[int]
    sums: bytes
    minimum: bytes
    maximum: bytes
    sketches: list[bytes]
    dependence: list[RunningState] = []
    steps: bytes = b""


class LearningNumbers:
    """Numeric features without a reference: quantile sketch, running mean and variance, extremes, serial dependence."""

    __slots__ = ("_held", "dependence", "index", "invalid", "maximum", "minimum", "present", "sketches", "steps",
                 "sums")  # fmt: skip

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        self.present, self.invalid = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.sums = np.zeros((3, 0))  # pivot (the first value), sum of x - pivot, sum of its square
        self.minimum, self.maximum = np.zeros(0), np.zeros(0)
        self.steps = np.zeros((3, 0))  # the last value, how many were above the one before, how many below
        self.sketches: list[QuantileSketch] = []
        self.dependence: list[RunningDependence] = []
        self._held: list[list[Floats]] = []

    def register(self, names: Sequence[str]) -> None:
        """Starts to monitor features; they were missing in all earlier events."""
        for name in names:
            self.index[name] = len(self.index)
            self.sketches.append(QuantileSketch())
            self.dependence.append(RunningDependence())
            self._held.append([])
        more = len(names)
        self.present = np.concatenate((self.present, np.zeros(more, np.int64)))
        self.invalid = np.concatenate((self.invalid, np.zeros(more, np.int64)))
        self.sums = np.concatenate((self.sums, np.zeros((3, more))), axis=1)
        self.steps = np.concatenate((self.steps, np.zeros((3, more))), axis=1)
        self.minimum = np.concatenate((self.minimum, np.full(more, np.inf)))
        self.maximum = np.concatenate((self.maximum, np.full(more, -np.inf)))

    def update(self, names: Sequence[str], numbers: Floats, status: Bytes8 | None) -> None:
        """Folds in rows of registered features."""
        for column, name in enumerate(names):
            at = self.index[name]
            values = numbers[:, column]
            if status is not None:
                self.invalid[at] += int(np.count_nonzero(status[:, column] == INVALID))
                values = values[status[:, column] == PRESENT]
            if len(values):
                self._fold_in(at, values + 0.0)

    def _fold_in(self, at: int, values: Floats) -> None:
        _learn(values, at, self.present, self.sums, self.steps, self.minimum, self.maximum)
        held = self._held[at]
        held.append(values)
        if sum(map(len, held)) >= HELD:
            self._update_sketch(at)

    def _update_sketch(self, at: int) -> None:
        if self._held[at]:
            values = np.concatenate(self._held[at])
            self.sketches[at].update_many(values)
            self.dependence[at].update(values)
            self._held[at] = []

    def profiles(self) -> list[FeatureProfile]:
        """One profile for each feature. The bank fills in ``missing``."""
        made = []
        for name, at in self.index.items():
            self._update_sketch(at)
            count = int(self.present[at])
            pivot, total, squares = self.sums[:, at].tolist()
            m2 = max(squares - total * total / count, 0.0) if count else 0.0
            mean = pivot + total / count if count else 0.0
            made.append(
                FeatureProfile(
                    feature=name,
                    kind=Kind.NUMERIC,
                    count=count,
                    invalid=int(self.invalid[at]),
                    mean=_finite(mean) if count else None,
                    m2=_finite(m2) if count else None,
                    minimum=float(self.minimum[at]) if count else None,
                    maximum=float(self.maximum[at]) if count else None,
                    sketch=self.sketches[at].to_bytes(),
                    rises=int(self.steps[1, at]),
                    falls=int(self.steps[2, at]),
                    tau=self.dependence[at].factor,
                    local=self.dependence[at].local_ratios or [],
                )
            )
        return made

    def snapshot(self) -> LearningState:
        """The whole state of these features."""
        for at in self.index.values():
            self._update_sketch(at)
        return LearningState(
            list(self.index),
            self.present.tolist(),
            self.invalid.tolist(),
            self.sums.tobytes(),
            self.minimum.tobytes(),
            self.maximum.tobytes(),
            [sketch.to_bytes() for sketch in self.sketches],
            [running.snapshot() for running in self.dependence],
            self.steps.tobytes(),
        )

    @classmethod
    def from_state(cls, state: LearningState) -> "LearningNumbers":
        """The object that ``snapshot`` described; raises CheckpointError when a sketch is broken."""
        learning = cls()
        learning.register(state.names)
        learning.present = np.array(state.present, np.int64)
        learning.invalid = np.array(state.invalid, np.int64)
        learning.sums = np.frombuffer(state.sums, np.float64).reshape(3, -1).copy()
        learning.minimum = np.frombuffer(state.minimum, np.float64).copy()
        learning.maximum = np.frombuffer(state.maximum, np.float64).copy()
        learning.sketches = [QuantileSketch.from_bytes(data) for data in state.sketches]
        if state.steps:
            learning.steps = np.frombuffer(state.steps, np.float64).reshape(3, -1).copy()
        if state.dependence:
            learning.dependence = [RunningDependence.from_state(running) for running in state.dependence]
        return learning


@compiled
def _learn(
    values: Floats, at: int, present: Integers, sums: Floats, steps: Floats, minimum: Floats, maximum: Floats
) -> None:
    if not present[at]:
        sums[0, at] = steps[0, at] = values[0]
    for value in values:
        steps[1, at] += value > steps[0, at]
        steps[2, at] += value < steps[0, at]
        steps[0, at] = value
        distance = value - sums[0, at]
        sums[1, at] += distance
        sums[2, at] += distance * distance
        minimum[at] = min(minimum[at], value)
        maximum[at] = max(maximum[at], value)
    present[at] += len(values)


def _finite(value: float) -> float:
    return min(max(value, -_TOP), _TOP) if not math.isnan(value) else 0.0

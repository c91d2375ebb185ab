"""What a shard keeps of numeric features: under a reference (cells, exact sums, detectors) and without one (sketches).

All features of a shard lie side by side in arrays. Every result is the same however rows were cut into calls: it is an
integer, a minimum, a multiset, or a sum that runs in sequence from the carried value.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from detectors.columns import INVALID, PRESENT, Bytes8, Floats, Integers
from detectors.dependence import RunningDependence, RunningState
from detectors.errors import CheckpointError
from detectors.features import Kind
from detectors.prepared import PreparedReference
from detectors.profiles import FeatureProfile
from detectors.sequential import BUILT_IN, Adwin, Detection, FeatureDetector, PageHinkley, detector_factory
from detectors.sketches import moments
from detectors.sketches.quantiles import QuantileSketch

BLOCK = moments.BLOCK
"""Rows worked on at once: the arrays of 20 features stay in the second-level cache."""

HELD_BLOCKS = 16
"""Blocks whose values outside the reference's range wait for their sketch: at most 64 KiB a feature."""

HELD = 4096
"""Values a learning feature holds back before they go into its sketch: 32 KiB."""


class ReferencedState(msgspec.Struct, frozen=True):
    """Snapshot of ``ReferencedNumbers``."""

    cells: bytes
    present: list[int]
    invalid: list[int]
    sum1: list[bytes]
    sum2: list[bytes]
    minimum: bytes
    maximum: bytes
    sketches: dict[int, bytes]
    adwin_u: bytes
    adwin_spread: bytes
    page_hinkley: bytes
    others: dict[str, list[bytes]]


class ReferencedNumbers:
    """Numeric features that the reference knows, F of them, in its order."""

    __slots__ = (
        "_adwins", "_custom", "_outside", "_page_hinkley", "_prepared", "cells", "invalid", "maximum", "minimum",
        "names", "present", "sketches", "sum1", "sum2", "transform",
    )  # fmt: skip

    def __init__(self, prepared: PreparedReference, detectors: Sequence[str], delta: float, threshold: float) -> None:
        self._prepared, self.transform = prepared, prepared.transform
        self.names = tuple(f.feature for f in prepared.numeric)
        count = len(self.names)
        self.cells = np.zeros(self.transform.total_cells, np.int64)
        self.present, self.invalid = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.sum1, self.sum2 = [0] * count, [0] * count
        self.minimum, self.maximum = np.full(count, np.inf), np.full(count, -np.inf)
        self.sketches: dict[int, QuantileSketch] = {}
        self._outside: dict[int, list[Floats]] = {}  # not yet in their sketch: few at a time cost a sort each
        self._adwins = {channel: Adwin(count, delta) for channel in ("u", "spread") if "adwin" in detectors}
        self._page_hinkley = PageHinkley(count, threshold) if "page_hinkley" in detectors else None
        self._custom: dict[str, tuple[Callable[[], FeatureDetector], list[FeatureDetector]]] = {}
        for name in detectors:
            if name not in BUILT_IN:
                make = detector_factory(name)
                self._custom[name] = (make, [make() for _ in range(count)])

    def update(self, numbers: Floats, status: Bytes8 | None) -> Iterator[tuple[str, Detection]]:
        """Folds at most BLOCK rows in; yields (detector, detection), in no order."""
        present = None
        if status is not None:
            present = status == PRESENT
            self.invalid += np.count_nonzero(status == INVALID, axis=0)
        cells = self.transform.cells(numbers)
        flat = cells + self.transform.offsets[:-1]
        kept = flat.ravel() if present is None else flat[present]
        self.cells += np.bincount(kept, minlength=len(self.cells))
        self.present += len(numbers) if present is None else np.count_nonzero(present, axis=0)
        first, second = moments.moment_sums(numbers, present, self._prepared.centre, self._prepared.scale)
        self.sum1 = list(map(int.__add__, self.sum1, first))
        self.sum2 = list(map(int.__add__, self.sum2, second))
        self._extremes(numbers, present)
        return self._detect(*self.transform.ranks(numbers, cells), present)

    def _extremes(self, numbers: Floats, present: Any) -> None:
        if present is None:
            lowest, highest = numbers.min(axis=0), numbers.max(axis=0)
        else:
            lowest = numbers.min(axis=0, where=present, initial=np.inf)
            highest = numbers.max(axis=0, where=present, initial=-np.inf)
        np.minimum(self.minimum, lowest + 0.0, out=self.minimum)
        np.maximum(self.maximum, highest + 0.0, out=self.maximum)
        below, above = self._prepared.below, self._prepared.above
        for column in np.flatnonzero((lowest < below) | (highest >= above)).tolist():
            values = numbers[:, column] if present is None else numbers[present[:, column], column]
            outside = values[(values < below[column]) | (values >= above[column])]
            held = self._outside.setdefault(column, [])
            held.append(outside)
            if len(held) >= HELD_BLOCKS:
                self._settle(column)

    def _settle(self, column: int) -> None:
        self.sketches.setdefault(column, QuantileSketch()).update_many(np.concatenate(self._outside.pop(column)))

    def _settle_all(self) -> None:
        for column in list(self._outside):
            self._settle(column)

    def _detect(self, u: Floats, z: Floats, present: Any) -> Iterator[tuple[str, Detection]]:
        if self._page_hinkley is not None:
            for detection in self._page_hinkley.update(z, present):
                yield "page_hinkley", detection
        rows: list[Integers | None] = [None] * len(self.names)
        if present is not None:
            whole = present.all(axis=0).tolist()
            rows = [None if whole[column] else np.flatnonzero(present[:, column]) for column in range(len(rows))]
        channels = {"u": u, "spread": np.abs(u - 0.5), "z": z}

        def values(channel: str, column: int) -> Floats:
            given, kept = channels[channel][:, column], rows[column]
            return given if kept is None else given[kept]

        def fired(at: Sequence[int], column: int, channel: str) -> Iterator[Detection]:
            kept = rows[column]
            for row in at:
                yield Detection(int(row if kept is None else kept[row]), column, channel)

        for channel, adwin in self._adwins.items():
            for column in range(len(self.names)):
                # an array makes its floats one by one: a list of them all would go through the cache twice
                if hits := adwin.update(column, array("d", values(channel, column).tobytes())):
                    for detection in fired(hits, column, channel):
                        yield "adwin", detection
        for name, (_, detectors) in self._custom.items():
            for column, detector in enumerate(detectors):
                channel = getattr(detector, "channel", "u")
                for detection in fired(detector.update_many(values(channel, column).tolist()), column, channel):
                    yield name, detection

    def profiles(self) -> list[FeatureProfile]:
        """One per feature, ``missing`` left for the bank to fill in."""
        self._settle_all()
        offsets = self.transform.offsets.tolist()
        return [
            FeatureProfile(
                feature=name,
                kind=Kind.NUMERIC,
                count=count,
                invalid=invalid,
                cells=self.cells[offsets[i] : offsets[i + 1]].tobytes(),
                sum1=self.sum1[i],
                sum2=self.sum2[i],
                minimum=low if count else None,
                maximum=high if count else None,
                sketch=self.sketches[i].to_bytes() if i in self.sketches else b"",
            )
            for i, (name, count, invalid, low, high) in enumerate(
                zip(
                    self.names,
                    self.present.tolist(),
                    self.invalid.tolist(),
                    self.minimum.tolist(),
                    self.maximum.tolist(),
                    strict=True,
                )
            )
        ]

    def snapshot(self) -> ReferencedState:
        """The whole state."""
        self._settle_all()
        return ReferencedState(
            self.cells.tobytes(),
            self.present.tolist(),
            self.invalid.tolist(),
            [_signed(v) for v in self.sum1],
            [_signed(v) for v in self.sum2],
            self.minimum.tobytes(),
            self.maximum.tobytes(),
            {column: self.sketches[column].to_bytes() for column in sorted(self.sketches)},
            self._adwins["u"].snapshot() if self._adwins else b"",
            self._adwins["spread"].snapshot() if self._adwins else b"",
            self._page_hinkley.snapshot() if self._page_hinkley else b"",
            {name: [d.snapshot() for d in detectors] for name, (_, detectors) in self._custom.items()},
        )

    def restore(self, state: ReferencedState) -> int:
        """Takes up a snapshot made under the same reference; how many detectors start cold. CheckpointError."""
        if len(state.cells) != self.cells.nbytes or len(state.present) != len(self.names):
            raise CheckpointError("cells of another reference")
        self.cells = np.frombuffer(state.cells, np.int64).copy()
        self.present = np.array(state.present, np.int64)
        self.invalid = np.array(state.invalid, np.int64)
        self.sum1 = [int.from_bytes(v, "little", signed=True) for v in state.sum1]
        self.sum2 = [int.from_bytes(v, "little", signed=True) for v in state.sum2]
        self.minimum = np.frombuffer(state.minimum, np.float64).copy()
        self.maximum = np.frombuffer(state.maximum, np.float64).copy()
        self.sketches = {column: QuantileSketch.from_bytes(data) for column, data in state.sketches.items()}
        cold = 0
        if self._adwins:
            cold += self._adwins["u"].restore(state.adwin_u) + self._adwins["spread"].restore(state.adwin_spread)
        if self._page_hinkley is not None:
            cold += self._page_hinkley.restore(state.page_hinkley)
        return cold + sum(self._restore_custom(name, state.others.get(name, [])) for name in self._custom)

    def _restore_custom(self, name: str, snapshots: list[bytes]) -> int:
        make, detectors = self._custom[name]
        if len(snapshots) != len(detectors):
            return len(detectors)
        cold = 0
        for column, data in enumerate(snapshots):
            try:
                detectors[column].restore(data)
            except Exception:  # a user's code; whatever it is, the detector starts anew
                detectors[column] = make()
                cold += 1
        return cold


def _signed(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


class LearningState(msgspec.Struct, frozen=True):
    """Snapshot of ``LearningNumbers``."""

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
    """Numeric features that no reference knows: quantile sketch, moments in sequence, extremes, serial dependence."""

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

    def add(self, names: Sequence[str]) -> None:
        """Begins to monitor features; they were missing in everything before."""
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
        """Folds rows in; every name was added."""
        for column, name in enumerate(names):
            at = self.index[name]
            values = numbers[:, column]
            if status is not None:
                self.invalid[at] += int(np.count_nonzero(status[:, column] == INVALID))
                values = values[status[:, column] == PRESENT]
            if len(values):
                self._fold(at, values + 0.0)

    def _fold(self, at: int, values: Floats) -> None:
        if not self.present[at]:
            self.sums[0, at] = self.steps[0, at] = values[0]
        before = np.concatenate((self.steps[:1, at], values[:-1]))
        self.steps[1, at] += np.count_nonzero(values > before)
        self.steps[2, at] += np.count_nonzero(values < before)
        self.steps[0, at] = values[-1]
        self.present[at] += len(values)
        with np.errstate(over="ignore", invalid="ignore"):
            distance = values - self.sums[0, at]
            for row, terms in ((1, distance), (2, distance * distance)):
                self.sums[row, at] = np.cumsum(np.concatenate((self.sums[row, at : at + 1], terms)))[-1]
        self.minimum[at] = min(self.minimum[at], values.min())
        self.maximum[at] = max(self.maximum[at], values.max())
        held = self._held[at]
        held.append(values)
        if sum(map(len, held)) >= HELD:
            self._settle(at)

    def _settle(self, at: int) -> None:
        if self._held[at]:
            values = np.concatenate(self._held[at])
            self.sketches[at].update_many(values)
            self.dependence[at].update(values)
            self._held[at] = []

    def profiles(self) -> list[FeatureProfile]:
        """One per feature, ``missing`` left for the bank to fill in."""
        made = []
        for name, at in self.index.items():
            self._settle(at)
            count = int(self.present[at])
            pivot, total, squares = self.sums[:, at].tolist()
            with np.errstate(over="ignore"):
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
                )
            )
        return made

    def snapshot(self) -> LearningState:
        """The whole state."""
        for at in self.index.values():
            self._settle(at)
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
        """Takes up a snapshot; CheckpointError when a sketch is broken."""
        learning = cls()
        learning.add(state.names)
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


def _finite(value: float) -> float:
    return float(np.nan_to_num(value, nan=0.0))

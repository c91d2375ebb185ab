"""Numeric features in a shard that the reference knows: cells, exact sums, sequential detectors.

The features of a shard lie side by side in arrays. Every result is the same for any cuts between calls: it is an
integer, a minimum or maximum, a multiset, or a sum that continues in sequence from the carried value.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from detectors.bank.prepared import PreparedReference
from detectors.columns import INVALID, PRESENT, Bools, Bytes8, Floats, Integers
from detectors.compiled import EVERYTHING, compiled
from detectors.errors import CheckpointError
from detectors.features import Kind
from detectors.profiles import FeatureProfile
from detectors.sequential.adwin import Adwin
from detectors.sequential.detection import Detection
from detectors.sequential.page_hinkley import PageHinkley
from detectors.sequential.plugins import FeatureDetector, detector_factory, is_compiled
from detectors.sketches.moments import Moments
from detectors.sketches.quantiles import QuantileSketch

BLOCK = 512
"""Rows that are processed at once: the arrays of 20 features then stay in the second-level cache."""

HELD_BLOCKS = 16
"""Blocks whose values outside the reference's range wait for their sketch: at most 64 KiB a feature."""


class ReferencedState(msgspec.Struct, frozen=True):
    """The snapshot of a ``ReferencedNumbers``."""

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
    """The F numeric features that the reference knows, in its order."""

    __slots__ = (
        "_adwins", "_custom", "_outside", "_page_hinkley", "_prepared", "cells", "invalid", "maximum", "minimum",
        "moments", "names", "present", "sketches", "transform",
    )  # fmt: skip

    def __init__(self, prepared: PreparedReference, detectors: Sequence[str], delta: float, threshold: float) -> None:
        self._prepared, self.transform = prepared, prepared.transform
        self.names = tuple(f.feature for f in prepared.numeric)
        count = len(self.names)
        self.cells = np.zeros(self.transform.total_cells, np.int64)
        self.present, self.invalid = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.moments = Moments(prepared.centre, prepared.scale)
        self.minimum, self.maximum = np.full(count, np.inf), np.full(count, -np.inf)
        self.sketches: dict[int, QuantileSketch] = {}
        self._outside: dict[int, list[Floats]] = {}  # held back: each update of a sketch costs a sort
        self._adwins = {channel: Adwin(count, delta) for channel in ("u", "spread") if "adwin" in detectors}
        self._page_hinkley = PageHinkley(count, threshold) if "page_hinkley" in detectors else None
        self._custom: dict[str, tuple[Callable[[], FeatureDetector], list[FeatureDetector]]] = {}
        for name in detectors:
            if not is_compiled(name):
                make = detector_factory(name)
                self._custom[name] = (make, [make() for _ in range(count)])

    def update(self, numbers: Floats, status: Bytes8 | None) -> Iterator[tuple[str, Detection]]:
        """Folds in at most BLOCK rows; yields pairs of detector name and detection, in no order."""
        present = None
        if status is not None:
            present = status == PRESENT
            self.invalid += np.count_nonzero(status == INVALID, axis=0)
        cells = self.transform.cells(numbers)
        self.moments.update(numbers, present)
        mask, known = EVERYTHING if present is None else present, self._prepared
        outside = np.zeros(len(self.names), np.int64)
        limits, extremes = (known.below, known.above), (self.minimum, self.maximum)
        _count(numbers, mask, cells, self.transform.offsets, self.cells, self.present, extremes, limits, outside)
        for column in np.flatnonzero(outside).tolist():
            self._keep_outside(column, numbers[:, column] if present is None else numbers[present[:, column], column])
        return self._detect(*self.transform.ranks(numbers, cells), present)

    def _keep_outside(self, column: int, values: Floats) -> None:
        beyond = (values < self._prepared.below[column]) | (values >= self._prepared.above[column])
        held = self._outside.setdefault(column, [])
        held.append(values[beyond])
        if len(held) >= HELD_BLOCKS:
            self._update_sketch(column)

    def _update_sketch(self, column: int) -> None:
        self.sketches.setdefault(column, QuantileSketch()).update_many(np.concatenate(self._outside.pop(column)))

    def _update_sketches(self) -> None:
        for column in list(self._outside):
            self._update_sketch(column)

    def _detect(self, u: Floats, z: Floats, present: Bools | None) -> Iterator[tuple[str, Detection]]:
        channels = {"u": u, "spread": np.abs(u - 0.5), "z": z}
        if self._page_hinkley is not None:
            for detection in self._page_hinkley.update(z, present):
                yield "page_hinkley", detection
        for channel, adwin in self._adwins.items():
            for row, column in adwin.update(channels[channel], present):
                yield "adwin", Detection(row, column, channel)
        for name, (_, detectors) in self._custom.items():
            for column, detector in enumerate(detectors):
                channel = getattr(detector, "channel", "u")
                rows = np.arange(len(u)) if present is None else np.flatnonzero(present[:, column])
                for at in detector.update_many(channels[channel][rows, column].tolist()):
                    yield name, Detection(int(rows[at]), column, channel)

    def profiles(self) -> list[FeatureProfile]:
        """One profile for each feature. The bank fills in ``missing``."""
        self._update_sketches()
        offsets = self.transform.offsets.tolist()
        sum1, sum2 = self.moments.sums()
        return [
            FeatureProfile(
                feature=name,
                kind=Kind.NUMERIC,
                count=count,
                invalid=invalid,
                cells=self.cells[offsets[i] : offsets[i + 1]].tobytes(),
                sum1=sum1[i],
                sum2=sum2[i],
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
        self._update_sketches()
        sum1, sum2 = self.moments.sums()
        return ReferencedState(
            self.cells.tobytes(),
            self.present.tolist(),
            self.invalid.tolist(),
            [_signed(v) for v in sum1],
            [_signed(v) for v in sum2],
            self.minimum.tobytes(),
            self.maximum.tobytes(),
            {column: self.sketches[column].to_bytes() for column in sorted(self.sketches)},
            self._adwins["u"].snapshot() if self._adwins else b"",
            self._adwins["spread"].snapshot() if self._adwins else b"",
            self._page_hinkley.snapshot() if self._page_hinkley else b"",
            {name: [d.snapshot() for d in detectors] for name, (_, detectors) in self._custom.items()},
        )

    def restore(self, state: ReferencedState) -> int:
        """Restores a snapshot made under the same reference; returns how many detectors start cold.

        Raises CheckpointError for a snapshot of another reference.
        """
        if len(state.cells) != self.cells.nbytes or len(state.present) != len(self.names):
            raise CheckpointError("the snapshot's cells belong to another reference")
        self.cells = np.frombuffer(state.cells, np.int64).copy()
        self.present = np.array(state.present, np.int64)
        self.invalid = np.array(state.invalid, np.int64)
        self.moments.restore(*([int.from_bytes(v, "little", signed=True) for v in w] for w in (state.sum1, state.sum2)))
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
            except Exception:  # a user's code may raise anything; the detector then starts cold
                detectors[column] = make()
                cold += 1
        return cold


@compiled
def _count(
    numbers: Floats,
    present: Bools,
    cells: Integers,
    offsets: Integers,
    counts: Integers,
    presents: Integers,
    extremes: tuple[Floats, Floats],
    limits: tuple[Floats, Floats],
    outside: Integers,
) -> None:
    """Adds to ``counts`` and ``presents``, widens ``extremes``; ``outside`` counts the values beyond ``limits``."""
    masked = len(present) > 0
    lowest, highest = extremes
    below, above = limits
    for column in range(numbers.shape[1]):
        for row in range(len(numbers)):
            if masked and not present[row, column]:
                continue
            value = numbers[row, column] + 0.0  # no negative zero
            counts[offsets[column] + cells[row, column]] += 1
            presents[column] += 1
            lowest[column] = min(lowest[column], value)
            highest[column] = max(highest[column], value)
            outside[column] += value < below[column] or value >= above[column]


def _signed(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)

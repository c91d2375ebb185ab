"""Maps values by the reference: cell, rank u = F_ref(x) and normal score z = Phi^-1(u), for all features at once.

Within a cell u and z are interpolated linearly between tables made once. So a value costs comparisons, one
multiplication and one addition, never a transcendental function, and the same value gives the same bits in any batch.
An atom is mapped to the middle of its jump.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from detectors import values
from detectors.columns import Floats, Integers
from detectors.compiled import compiled
from detectors.reference.reference import FeatureReference

COARSE = (0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995)
"""Quantiles that separate the 16 evidence bins."""

GRID = tuple(sorted({k / 128 for k in range(1, 128)} | {0.001, 0.002, 0.01, 0.99, 0.998, 0.999} | set(COARSE)))
"""Quantiles at which a numeric feature is divided into cells."""


def centre_and_scale(feature: FeatureReference) -> tuple[float, float]:
    """Centre c and scale s of the fixed-point moments: the mean, and the power of two at or above the spread.

    The spread of a constant is its magnitude, and 1 for a constant zero.
    """
    centre = feature.mean if feature.mean is not None and math.isfinite(feature.mean) else 0.0
    spread = feature.std or abs(centre) or 1.0
    if not math.isfinite(spread):
        spread = 1.0
    return centre, math.ldexp(1.0, min(max(math.frexp(spread)[1], -900), 900))


def coarse_bins(feature: FeatureReference) -> Integers:
    """The evidence bin of every cell, shape (cells,), ascending from 0 without gaps.

    A numeric cell belongs to the bin that holds its middle rank, so an atom is never split; bins without a cell
    disappear. The empty outer cells join their neighbours. A categorical feature has one bin for each listed category,
    one for other and one for unseen.

    >>> from detectors.features import Kind
    >>> constant = FeatureReference("x", Kind.NUMERIC, 10, edges=[1.0, 1.0000000000000002], counts=[0, 10, 0])
    >>> coarse_bins(constant).tolist()
    [0, 1, 2]
    """
    if not feature.edges:
        return np.arange(len(feature.categories) + 2, dtype=np.int64)
    counts = np.asarray(feature.counts, np.float64)
    middle = (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1.0)
    bins = np.searchsorted(np.asarray(COARSE), middle, side="right").astype(np.int64)
    occupied = np.flatnonzero(counts)
    if len(occupied) and bins[occupied[0]] == bins[occupied[-1]]:  # a constant: other values get bins of their own
        bins = np.clip(np.arange(len(counts)), occupied[0] - 1, occupied[-1] + 1)
    found = np.zeros(len(bins), np.int64)
    np.cumsum(bins[1:] != bins[:-1], out=found[1:])
    return found


SLOTS = 1024
"""Slots that a feature's range is divided into: 4 KB a feature, and few slots have more than one edge."""


class Transform:
    """Cells, ranks and scores of numeric features in the given order; F features, k_f edges each.

    Cost: about 4 ns a value for ``cells`` and 3 for ``ranks``. A binary search over all edges would take 40 for cells,
    nearly all of it wrongly predicted branches. So a value is first mapped to its slot in an even division of the
    feature's range, and then searched among the slot's few edges.

    >>> from detectors.features import Kind
    >>> x = FeatureReference("x", Kind.NUMERIC, 4, edges=[0.0, 1.0, 2.0], counts=[0, 3, 1, 0])
    >>> t = Transform([x])
    >>> c = t.cells(np.array([[-1.0], [0.5], [1.0], [5.0]]))
    >>> c[:, 0].tolist(), t.ranks(np.array([[-1.0], [0.5], [1.0], [5.0]]), c)[0][:, 0].tolist()
    ([0, 1, 2, 3], [0.125, 0.4375, 0.75, 0.875])
    """

    __slots__ = (
        "_end", "_first", "_flat_edges", "_low", "_per_slot", "_slope_u", "_slope_z", "_start", "_u", "_z", "edges",
        "offsets", "total_cells",
    )  # fmt: skip

    def __init__(self, features: Sequence[FeatureReference]) -> None:
        self.edges = [np.asarray(f.edges, np.float64) for f in features]
        sizes = [len(e) + 1 for e in self.edges]
        self.offsets = np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)
        """Where each feature's cells begin in one flat row of all cells, shape (F + 1,)."""
        self.total_cells = int(self.offsets[-1])
        self._index()
        self._low, self._u, self._slope_u, self._z, self._slope_z = _tables(features, self.edges, self.offsets)

    def _index(self) -> None:
        self._start = np.array([e[0] if len(e) else 0.0 for e in self.edges])
        self._end = np.array([e[-1] if len(e) else 0.0 for e in self.edges])
        with np.errstate(over="ignore", divide="ignore"):
            spans = self._end - self._start
            per_slot = SLOTS / spans
        self._per_slot = np.where(np.isfinite(spans) & np.isfinite(per_slot), per_slot, 0.0)
        self._flat_edges = np.concatenate([np.append(e, np.inf) for e in self.edges] or [np.zeros(0)])
        self._first = np.empty((len(self.edges), SLOTS + 1), np.int32)
        _fill_slots(self._flat_edges, self.offsets, self._start, self._per_slot, self._first)

    def cells(self, numbers: Floats) -> Integers:
        """The cell index of every value within its feature, shape (n, F)."""
        found = np.empty(numbers.shape, np.int64)
        _find_cells(numbers, self._start, self._per_slot, self._first, self._flat_edges, self.offsets, found)
        return found

    def ranks(self, numbers: Floats, cells: Integers) -> tuple[Floats, Floats]:
        """The ranks u in (0, 1) and the scores z, each shape (n, F)."""
        u, z = np.empty(numbers.shape), np.empty(numbers.shape)
        tables = (self._low, self._u, self._slope_u, self._z, self._slope_z)
        _find_ranks(numbers, cells, self.offsets, self._start, self._end, tables, u, z)
        return u, z


@compiled
def _slot(value: float, start: float, per_slot: float) -> int:
    """The slot of a value. It is monotone in the value, which is all that correctness needs."""
    place = (value - start) * per_slot
    if not place > 0.0:  # for the span of a constant this is NaN
        return 0
    return int(place) if place < SLOTS else SLOTS - 1


@compiled
def _fill_slots(
    edges: Floats, offsets: Integers, start: Floats, per_slot: Floats, first: npt.NDArray[np.int32]
) -> None:
    """For every slot the place of the first edge in it or after it; edges are ascending."""
    for column in range(len(first)):
        place, end = offsets[column], offsets[column + 1] - 1
        for slot in range(SLOTS + 1):
            while place < end and _slot(edges[place], start[column], per_slot[column]) < slot:
                place += 1
            first[column, slot] = place


@compiled
def _find_cells(
    numbers: Floats,
    start: Floats,
    per_slot: Floats,
    first: npt.NDArray[np.int32],
    edges: Floats,
    offsets: Integers,
    found: Integers,
) -> None:
    for column in range(numbers.shape[1]):
        for row in range(len(numbers)):
            value = numbers[row, column]
            slot = _slot(value, start[column], per_slot[column])
            low, high = first[column, slot], first[column, slot + 1]
            while low < high:
                middle = (low + high) // 2
                if value >= edges[middle]:
                    low = middle + 1
                else:
                    high = middle
            found[row, column] = low - offsets[column]


@compiled
def _find_ranks(
    numbers: Floats,
    cells: Integers,
    offsets: Integers,
    start: Floats,
    end: Floats,
    tables: tuple[Floats, ...],
    u: Floats,
    z: Floats,
) -> None:
    low, u_low, u_slope, z_low, z_slope = tables
    for column in range(numbers.shape[1]):
        for row in range(len(numbers)):
            cell = offsets[column] + cells[row, column]
            inside = min(max(numbers[row, column], start[column]), end[column]) - low[cell]
            u[row, column] = u_low[cell] + inside * u_slope[cell]
            z[row, column] = z_low[cell] + inside * z_slope[cell]


_score = lru_cache(65_536)(NormalDist().inv_cdf)  # features of equal rows share most of their ranks


def _tables(features: Sequence[FeatureReference], edges: Sequence[Floats], offsets: Integers) -> tuple[Floats, ...]:
    """For each cell of all features in one row: lowest value, u there and its slope, z there and its slope."""
    if not features:
        return tuple(np.zeros(0) for _ in range(5))
    counts = np.concatenate([np.asarray(f.counts, np.float64) for f in features])
    sizes, begin = np.diff(offsets), offsets[:-1]
    total = np.repeat(np.maximum(np.add.reduceat(counts, begin), 1.0), sizes)
    so_far = np.cumsum(counts)  # whole numbers, so that differences are exact
    after = (so_far - np.repeat(so_far[begin] - counts[begin], sizes)) / total
    before = after - counts / total
    least = 1 / (2 * total)
    # The outer cells are points at the ends of the reference: no value is ranked beyond its extremes.
    low = np.concatenate([part for e in edges for part in (e[:1], e)])
    high = np.concatenate([part for e in edges for part in (e[:1], e[1:], e[-1:])])
    spread = np.repeat(np.array([f.std or 0.0 for f in features]), sizes)
    with np.errstate(over="ignore"):  # a value and what rounding makes of it, on both sides
        atom = (high <= np.nextafter(low, np.inf)) | (high - low <= 4 * values.reach(low, spread))
    middle = np.clip((before + after) / 2, least, 1 - least)
    u_low = np.where(atom, middle, np.clip(before, least, 1 - least))
    u_high = np.where(atom, middle, np.clip(after, least, 1 - least))
    z_low = np.fromiter(map(_score, u_low.tolist()), np.float64, len(u_low))
    z_high = np.fromiter(map(_score, u_high.tolist()), np.float64, len(u_high))
    with np.errstate(over="ignore"):
        width = np.where(atom, 1.0, np.maximum(high - low, 1e-300))  # 1 / width stays finite among denormals
    slope = np.where(atom, 0.0, 1.0) / width
    return low, u_low, (u_high - u_low) * slope, z_low, (z_high - z_low) * slope

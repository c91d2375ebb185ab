"""ADWIN over many features at a time: river's, step for step, as one compiled loop over plain arrays.

river's core is called once a value, which costs twice what it computes, and its state can be read only by the river
that wrote it. Here the loop is inside and the state is arrays. A test over millions of values checks that every
detection is river's.
"""

import math
from typing import Any

import msgspec
import numpy as np

from detectors.columns import Bools, Floats, Integers
from detectors.compiled import EVERYTHING, compiled

SCHEMA = 2
MOST = 5
"""Buckets of one size; with one more, the two oldest are merged into one of twice the size."""

CLOCK, GRACE, LEAST = 32, 10, 5
"""Values between two searches for a cut; fewest values in the window; fewest values on either side of a cut."""

FIRST_LEVELS, MORE_LEVELS = 12, 4


class _State(msgspec.Struct, frozen=True):
    """The snapshot of an ``Adwin``.

    ``counts``: buckets by feature and level, int64. ``buckets``: total and variance of each, oldest first, in order of
    feature and level. ``windows``: total, variance, width and ticks of each feature.
    """

    schema: int
    delta: float
    counts: bytes
    buckets: bytes
    windows: bytes


class Adwin:
    """ADWIN on each of F features, exactly ``river.drift.ADWIN(delta)`` on each.

    ADWIN keeps a window of variable length, as buckets of 1, 2, 4, ... values, and fires where two parts of it have
    means further apart than ``sqrt(2/m sigma^2 ln(2 ln n / delta)) + 2/(3m) ln(2 ln n / delta)``, 1/m the sum of the
    parts' reciprocal sizes, n the width, sigma^2 the variance in the window. The bound wants values in [0, 1]. After
    a detection the window starts anew, as river's does before its next value.

    :param features: F >= 0.
    :param delta: in (0, 1); smaller is rarer.

    Cost: about 17 ns a value. Memory: 1.2 KB a feature, and 100 bytes for every doubling above 12,000 values.
    Source: Bifet and Gavalda (2007), doi:10.1137/1.9781611972771.42.

    >>> import random
    >>> rng = random.Random(12345)
    >>> stream = rng.choices([0, 1], k=1000) + rng.choices(range(4, 8), k=1000)
    >>> Adwin(1, 0.002).update(np.array(stream, float)[:, None])
    [(1023, 0)]
    """

    __slots__ = ("_buckets", "_counts", "_windows", "delta")

    def __init__(self, features: int, delta: float) -> None:
        self.delta = delta
        self._counts = np.zeros((features, FIRST_LEVELS), np.int64)
        self._buckets = np.zeros((features, FIRST_LEVELS, MOST + 1, 2))
        self._windows = np.zeros((features, 4))

    def update(self, values: Floats, present: Bools | None = None) -> list[tuple[int, int]]:
        """Adds rows of finite values, shape (n, F), where ``present``; returns (row, feature) of all detections."""
        if not len(values) or not len(self._counts):
            return []
        while self._windows[:, 2].max() + len(values) >= (MOST + 1) << (self._counts.shape[1] - 1):
            self._grow()
        mask = EVERYTHING if present is None else present
        hits: list[Any] = _adwin(values, mask, self._counts, self._buckets, self._windows, self.delta).tolist()
        return [(row, column) for row, column in hits]

    def _grow(self) -> None:
        self._counts = np.pad(self._counts, ((0, 0), (0, MORE_LEVELS)))
        self._buckets = np.pad(self._buckets, ((0, 0), (0, MORE_LEVELS), (0, 0), (0, 0)))

    def snapshot(self) -> bytes:
        """The whole state, in the same bytes for any cuts between calls."""
        levels = int(np.flatnonzero(self._counts.any(axis=0)).max(initial=-1)) + 1
        counts = self._counts[:, :levels].copy()
        buckets = _packed(counts, self._buckets)
        return msgspec.msgpack.encode(
            _State(SCHEMA, self.delta, counts.tobytes(), buckets.tobytes(), self._windows.tobytes())
        )

    def restore(self, data: bytes) -> int:
        """Restores a snapshot; returns how many detectors had to start cold: all or none."""
        features = len(self._counts)
        try:
            state = msgspec.msgpack.decode(data, type=_State)
            counts = np.frombuffer(state.counts, np.int64).reshape(features, -1) if features else self._counts
            buckets, windows = np.frombuffer(state.buckets).reshape(-1, 2), np.frombuffer(state.windows).reshape(-1, 4)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            return features
        sound = (state.schema, state.delta, len(windows)) == (SCHEMA, self.delta, features)
        if not sound or counts.min(initial=0) < 0 or counts.max(initial=0) > MOST or counts.sum() != len(buckets):
            return features
        levels = max(FIRST_LEVELS, counts.shape[1])
        self._counts = np.pad(counts, ((0, 0), (0, levels - counts.shape[1])))
        self._buckets = np.zeros((features, levels, MOST + 1, 2))
        self._buckets[np.arange(MOST + 1) < self._counts[:, :, None]] = buckets
        self._windows = windows.copy()
        return 0


@compiled
def _packed(counts: Integers, buckets: Floats) -> Floats:
    """The buckets in use, in order of feature and level."""
    packed, place = np.empty((counts.sum(), 2)), 0
    for feature in range(counts.shape[0]):
        for level in range(counts.shape[1]):
            for bucket in range(counts[feature, level]):
                packed[place] = buckets[feature, level, bucket]
                place += 1
    return packed


@compiled
def _adwin(
    values: Floats, present: Bools, counts: Integers, buckets: Floats, windows: Floats, delta: float
) -> Integers:
    rows, features = values.shape
    masked = len(present) > 0
    hits = np.empty((features * (rows // GRACE + 1), 2), np.int64)
    found = 0
    for column in range(features):
        own, count = buckets[column], counts[column]
        total, variance, width, tick = windows[column, 0], windows[column, 1], windows[column, 2], windows[column, 3]
        for row in range(rows):
            if masked and not present[row, column]:
                continue
            value = values[row, column]
            if width > 0.0:
                apart = value - total / width
                variance += width * apart * apart / (width + 1.0)
            width += 1.0
            total += value
            tick += 1.0
            _insert(own, count, value)
            if tick % CLOCK == 0.0 and width > GRACE and _cuts(own, count, total, variance, width, delta):
                hits[found, 0], hits[found, 1] = row, column
                found += 1
                count[:] = 0
                total = variance = width = tick = 0.0
        windows[column, 0], windows[column, 1], windows[column, 2], windows[column, 3] = total, variance, width, tick
    return hits[:found]


@compiled
def _insert(buckets: Floats, count: Integers, value: float) -> None:
    """Appends a bucket of one value, and merges two of one size while there are too many."""
    level, size, variance = 0, 1.0, 0.0
    while True:
        own = buckets[level]
        own[count[level], 0], own[count[level], 1] = value, variance
        count[level] += 1
        if count[level] <= MOST:
            return
        apart = own[0, 0] / size - own[1, 0] / size
        value = own[0, 0] + own[1, 0]
        variance = own[0, 1] + own[1, 1] + size * size * apart * apart / (size + size)
        for at in range(2, MOST + 1):
            own[at - 2, 0], own[at - 2, 1] = own[at, 0], own[at, 1]
        count[level] -= 2
        level, size = level + 1, 2.0 * size


@compiled
def _cuts(buckets: Floats, count: Integers, total: float, variance: float, width: float, delta: float) -> bool:
    """Whether the window is cut between any two buckets, searched from the oldest on."""
    strictness = math.log(2 * math.log(width) / delta)
    spread = variance / width
    older_size, older, newer_size, newer = 0.0, 0.0, width, total
    for level in range(len(count) - 1, -1, -1):
        size = 2.0**level
        for at in range(count[level]):
            older_size += size
            newer_size -= size
            older += buckets[level, at, 0]
            newer -= buckets[level, at, 0]
            if newer_size >= LEAST and older_size >= LEAST:
                share = 1.0 / (older_size - LEAST + 1) + 1.0 / (newer_size - LEAST + 1)
                allowed = math.sqrt(2 * share * spread * strictness) + 2 / 3 * strictness * share
                if abs(older / older_size - newer / newer_size) > allowed:
                    return True
    return False

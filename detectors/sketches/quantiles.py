"""A quantile sketch that is a pure function of the multiset of its values.

Why not KLL: its compactions are random, so two runs over the same values differ, and the same events would not give the
same numbers. Here a float64 is mapped to a 64-bit key that sorts as the value does, and the sketch is a sparse
histogram of ``key >> shift``, where ``shift`` is the smallest that needs at most ``LIMIT`` buckets. The set of values
alone determines that shift (a coarser shift never needs more buckets). So neither the order of updates nor the
distribution of values over sketches changes one bit of the result: ``merge`` is exact, commutative and associative.

Error: a quantile is known up to its bucket. ``rank_error`` is the largest share of values in one bucket that holds more
than one representable value, and is known exactly. While ``shift`` is 0 the sketch is exact.
"""

import struct
from collections.abc import Iterable

import numpy as np

from detectors.columns import Floats, Integers
from detectors.compiled import compiled
from detectors.errors import CheckpointError

LIMIT = 2048
"""Buckets: 16 bytes each, so at most 32 KiB a feature while learning; 10,000 normal values: rank error 0.3 %."""

Keys = np.ndarray[tuple[int], np.dtype[np.uint64]]

_SIGN = np.uint64(1 << 63)
_HEAD = struct.Struct("<BBI")
_VERSION = 1


def ordered_keys(values: Floats) -> Keys:
    """uint64 keys that sort as the finite ``values`` do; -0.0 and 0.0 have the same key."""
    bits = (values + 0.0).view(np.uint64)
    return np.where(bits & _SIGN, ~bits, bits | _SIGN)


def key_values(keys: Keys) -> Floats:
    """The inverse of ``ordered_keys``."""
    bits = np.where(keys & _SIGN, keys ^ _SIGN, ~keys)
    return bits.view(np.float64)


@compiled
def _added(keys: Keys, counts: Integers, more: Keys, more_counts: Integers) -> tuple[Keys, Integers]:
    """``keys``, ascending, with ``more`` in any order: each key once, with the sum of its counts."""
    order = np.argsort(more)
    merged, sums = np.empty(len(keys) + len(more), np.uint64), np.empty(len(keys) + len(more), np.int64)
    size = old = new = 0
    while old < len(keys) or new < len(more):
        if new == len(more) or (old < len(keys) and keys[old] <= more[order[new]]):
            key, count = keys[old], counts[old]
            old += 1
        else:
            key, count = more[order[new]], more_counts[order[new]]
            new += 1
        if size and merged[size - 1] == key:
            sums[size - 1] += count
        else:
            merged[size], sums[size] = key, count
            size += 1
    return merged[:size].copy(), sums[:size].copy()


class QuantileSketch:
    """The sketch. ``update_many`` costs about 60 ns a value in batches of 512, ``merge`` O(buckets).

    >>> sketch = QuantileSketch()
    >>> sketch.update_many(np.arange(1001.0))
    >>> [float(v) for v in sketch.quantiles(np.array([0.0, 0.5, 1.0]))]
    [0.0, 500.0, 1000.0]
    >>> (sketch.count, sketch.shift, sketch.rank_error)
    (1001, 0, 0.0)
    """

    __slots__ = ("counts", "keys", "limit", "shift")

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.shift = 0
        self.keys = np.zeros(0, np.uint64)
        self.counts = np.zeros(0, np.int64)

    @property
    def count(self) -> int:
        """The number of values added."""
        return int(self.counts.sum())

    @property
    def rank_error(self) -> float:
        """The largest error of a cumulative share inside the sketch; 0 when exact."""
        return float(self.counts.max() / self.counts.sum()) if self.shift and len(self.counts) else 0.0

    def update_many(self, values: Floats) -> None:
        """Adds finite ``values``, shape (n,)."""
        if len(values):
            self._add(ordered_keys(values) >> np.uint64(self.shift), np.ones(len(values), np.int64))

    def merge(self, other: "QuantileSketch") -> None:
        """Adds the values of ``other``."""
        if other.shift > self.shift:
            self._coarsen(other.shift)
        self._add(other.keys >> np.uint64(self.shift - other.shift), other.counts)

    def subtract(self, other: "QuantileSketch") -> None:
        """Removes the values of ``other``, which must be contained in this sketch: exact at the shift of this one."""
        keys = other.keys >> np.uint64(max(self.shift - other.shift, 0))
        self.keys, self.counts = _added(self.keys, self.counts, keys, -other.counts)
        seen = self.counts > 0
        self.keys, self.counts = self.keys[seen], self.counts[seen]

    def _add(self, keys: Keys, counts: Integers) -> None:
        self.keys, self.counts = _added(self.keys, self.counts, keys, counts)
        while len(self.keys) > self.limit:
            self._coarsen(self.shift + 1)

    def _coarsen(self, shift: int) -> None:
        coarse = self.keys >> np.uint64(shift - self.shift)
        self.keys, self.counts = _added(self.keys[:0], self.counts[:0], coarse, self.counts)
        self.shift = shift

    def buckets(self) -> tuple[Floats, Floats, Integers]:
        """The lowest and highest value and the count of every bucket, ascending; each shape (b,)."""
        low = self.keys << np.uint64(self.shift)
        high = low | np.uint64((1 << self.shift) - 1)
        high = np.where(high == _SIGN - np.uint64(1), high - np.uint64(1), high)  # that is -0.0, which nothing maps to
        least, most = ordered_keys(np.array([-1.0, 1.0]) * np.finfo(np.float64).max)  # beyond them lie infinity and NaN
        return key_values(np.clip(low, least, most)), key_values(np.clip(high, least, most)), self.counts

    def quantiles(self, probabilities: Floats) -> Floats:
        """The values at ``probabilities``: the middle of the bucket that holds rank ceil(p * n), exact at shift 0."""
        low, high, counts = self.buckets()
        ranks = np.maximum(np.ceil(probabilities * self.count - 1e-9), 1)
        at = np.minimum(np.searchsorted(np.cumsum(counts), ranks), len(counts) - 1)
        return np.where(low[at] == high[at], low[at], low[at] / 2 + high[at] / 2)  # halves of denormals vanish

    def to_bytes(self) -> bytes:
        """Version, shift, number of buckets, keys, counts; little-endian. Empty without values."""
        if not len(self.keys):
            return b""
        return _HEAD.pack(_VERSION, self.shift, len(self.keys)) + self.keys.tobytes() + self.counts.tobytes()

    @classmethod
    def from_bytes(cls, data: bytes, limit: int = LIMIT) -> "QuantileSketch":
        """The sketch of these bytes. Raises CheckpointError when ``to_bytes`` cannot have written them."""
        sketch = cls(limit)
        if not data:
            return sketch
        if len(data) < _HEAD.size:
            raise CheckpointError("quantile sketch: truncated")
        version, shift, buckets = _HEAD.unpack_from(data)
        if version != _VERSION or shift > 63 or len(data) != _HEAD.size + 16 * buckets or buckets > limit:
            raise CheckpointError(f"quantile sketch: version {version}, shift {shift}, {buckets} buckets: not valid")
        middle = _HEAD.size + 8 * buckets
        sketch.shift = shift
        sketch.keys = np.frombuffer(data[_HEAD.size : middle], np.uint64).copy()
        sketch.counts = np.frombuffer(data[middle:], np.int64).copy()
        return sketch


def merged(sketches: Iterable["QuantileSketch"]) -> QuantileSketch:
    """One sketch of the values of all ``sketches``."""
    total = QuantileSketch()
    for sketch in sketches:
        total.merge(sketch)
    return total

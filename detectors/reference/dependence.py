"""The serial-dependence factor tau, by which evidence is divided: how much a stream repeats itself.

``tau = max over block lengths b of b * Var(block means of length b) / Var(x)``, at least 1. It is 1 for independent
rows, and tends to (1 + r) / (1 - r) for a first-order autoregression with coefficient r.
Source: batch means, e.g. Flegal and Jones (2010), doi:10.1214/09-AOS735.
"""

import msgspec
import numpy as np

from detectors.columns import Floats, Integers
from detectors.compiled import compiled

MIN_BLOCKS = 5
"""With fewer blocks their variance is too uncertain."""

CHANCE_Z = 3.1
"""A ratio that independent rows reach once in a thousand counts as chance."""

SHORT = 10.0
"""A stretch of n / tau independent rows underestimates its slow movements by a factor of about 1 + SHORT tau / n.

Measured on autoregressions of .8 to .99 and 200 to 10,000 rows."""


def credited(ratio: float, blocks: int) -> float:
    """The part of a ratio of variances over ``blocks`` blocks that is beyond chance.

    It is 1 where independent rows reach the ratio (a quantile of chi-squared over its degrees of freedom; Wilson and
    Hilferty, 1931), else the ratio, lowered by some of its scatter since the largest of several is used.

    >>> [round(credited(*pair), 2) for pair in ((1.3, 100), (1.6, 100), (3.0, 5), (6.0, 5))]
    [1.0, 1.45, 1.0, 4.0]
    """
    freedom = max(blocks - 1, 1)
    scatter = 2 / (9 * freedom)
    if ratio <= float((1 - scatter + CHANCE_Z * scatter**0.5) ** 3):
        return 1.0
    return ratio / float(1 + (1.0 / freedom) ** 0.5)


def corrected(factor: float, rows: int) -> float:
    """tau from the largest ratio found in ``rows`` rows, corrected for slow movements that they do not show; at most
    ``rows``.

    >>> corrected(1.0, 1_000), corrected(10.0, 1_000), corrected(100.0, 1_000)
    (1.0, 11.0, 200.0)
    """
    return 1.0 if factor <= 1.0 else min(factor * (1 + SHORT * factor / rows), float(rows))


def dependence_factor(channel: Floats, longest: int | None = None) -> float:
    """tau of one channel, shape (n,), in log order; from blocks of at most ``longest`` rows. Cost: O(n log n).

    It is the largest ratio over doubling block lengths that is beyond chance, ``corrected`` for the length of the
    stretch.

    >>> dependence_factor(np.tile([0.0, 1.0], 500))
    1.0
    """
    n = len(channel)
    variance = float(channel.var()) if n else 0.0
    if n < 4 * MIN_BLOCKS or variance <= 0.0:
        return 1.0
    total = np.concatenate(([0.0], np.cumsum(channel - channel.mean())))
    best, length = 1.0, 2
    while n // length >= MIN_BLOCKS and length <= (longest or n):
        blocks = n // length
        means = np.diff(total[: blocks * length + 1 : length]) / length
        ratio = length * float(means.var(ddof=1)) / variance
        best = max(best, credited(ratio, blocks))
        length *= 2
    return corrected(best, n)


FIRST = 256
"""First values, among which a running estimate ranks the later ones: 2 KB a feature, only while learning."""

LEVELS = 14
"""Blocks of up to 2^13 values."""


class RunningState(msgspec.Struct, frozen=True):
    """The snapshot of a ``RunningDependence``."""

    first: bytes
    left: list[int]
    blocks: list[int]
    squares: list[int]
    total: int


class RunningDependence:
    """``dependence_factor`` of a stream in little memory. Cost: about 60 ns a value in batches of 512.

    It keeps the ranks of values among the first 256, and for every doubling block length the sum of squared block sums.
    All are integers, so the cuts of the stream do not matter.

    >>> running = RunningDependence()
    >>> running.update(np.tile([0.0, 1.0], 500))
    >>> running.factor
    1.0
    """

    __slots__ = ("_blocks", "_first", "_left", "_order", "_squares", "_total")

    def __init__(self) -> None:
        self._first = np.zeros(0)
        self._order: Floats | None = None
        self._left = [-1] * LEVELS  # the block at each level that waits for its neighbour, else -1
        self._blocks = [0] * LEVELS
        self._squares = [0] * LEVELS
        self._total = 0

    def update(self, values: Floats) -> None:
        """Adds finite ``values``, shape (n,), in log order."""
        if self._order is None:
            need = FIRST - len(self._first)
            self._first = np.concatenate((self._first, values[:need]))
            values = values[need:]
            if len(self._first) < FIRST:
                return
            self._order = np.sort(self._first)
            self._push(self._ranks(self._first))
        if len(values):
            self._push(self._ranks(values))

    def _ranks(self, values: Floats) -> Integers:
        assert self._order is not None
        below, upto = self._order.searchsorted(values, "left"), self._order.searchsorted(values, "right")
        return (below + upto).astype(np.int64)

    def _push(self, sums: Integers) -> None:
        self._total += int(sums.sum())
        levels = np.array((self._left, self._blocks, [0] * LEVELS), np.int64)
        _halve(sums, *levels)
        self._left, self._blocks, squares = levels.tolist()
        self._squares = [before + more for before, more in zip(self._squares, squares, strict=True)]

    @property
    def factor(self) -> float:
        """tau so far; 1 until there are enough values."""
        count = self._blocks[0]
        if count < 4 * MIN_BLOCKS:
            return 1.0
        variance = self._squares[0] / count - (self._total / count) ** 2
        best, total = 1.0, self._total
        for level in range(1, LEVELS):
            total -= max(self._left[level - 1], 0)  # not in a block of this length yet
            blocks, length = self._blocks[level], 1 << level
            if blocks < MIN_BLOCKS or variance <= 0.0:
                break
            between = (self._squares[level] - total * total / blocks) / (blocks - 1)
            best = max(best, credited(between / (length * variance), blocks))
        return corrected(best, count)

    def snapshot(self) -> RunningState:
        """The whole state."""
        return RunningState(
            self._first.tobytes(), list(self._left), list(self._blocks), list(self._squares), self._total
        )

    @classmethod
    def from_state(cls, state: RunningState) -> "RunningDependence":
        """The object that a snapshot describes."""
        running = cls()
        running._first = np.frombuffer(state.first).copy()
        if len(running._first) == FIRST:
            running._order = np.sort(running._first)
        running._left, running._blocks = list(state.left), list(state.blocks)
        running._squares, running._total = list(state.squares), state.total
        return running


@compiled
def _halve(sums: Integers, left: Integers, blocks: Integers, squares: Integers) -> None:
    """Adds block sums to the lowest level, and sums of pairs to the next one, as long as there are pairs."""
    for level in range(len(left)):
        pairs, waits = np.empty(len(sums) // 2 + 1, np.int64), left[level]
        size = 0
        for value in sums:
            squares[level] += value * value
            if waits >= 0:
                pairs[size], waits = waits + value, -1
                size += 1
            else:
                waits = value
        blocks[level] += len(sums)
        left[level] = waits
        if not size:
            return
        sums = pairs[:size]

"""The serial-dependence factor tau, by which evidence is divided: how much a stream repeats itself.

``tau = max over block lengths b of b * Var(block means of length b) / Var(x)``, at least 1. It is 1 for independent
rows, and tends to (1 + r) / (1 - r) for a first-order autoregression with coefficient r.
Source: batch means, e.g. Flegal and Jones (2010), doi:10.1214/09-AOS735.
"""

import math
from collections.abc import Sequence

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


LOCAL_MS, LOCAL_ROWS = 1_024_000, 32
"""Local dependence is that of blocks of up to 1,024 seconds of event time, or of 32 rows where fewer came in them."""


def local_ratios(channel: Floats) -> list[float]:
    """The largest ratio that is beyond chance over neighbouring blocks of up to 1, 2, 4, ... rows of a channel (n,).

    For blocks of b rows with means l and r beside each other it is ``b mean((l - r)^2) / 2 / Var(x)`` (Haar wavelet
    variance; Allan 1966, doi:10.1109/PROC.1966.4634). A season, which moves slowly from one block to the next, hardly
    enters, as it does into the block means of ``dependence_factor``. Cost: O(n).
    """
    running = RunningDependence()
    running.update(np.asarray(channel, np.float64))
    return running.local_ratios or []


def local_factor(ratios: Sequence[float], rows: int, span_ms: int | None) -> float:
    """The local dependence factor from ``local_ratios`` of ``rows`` rows that came in ``span_ms``; 0 if not known.

    >>> local_factor([1.0, 1.0, 1.5, 2.0, 3.0, 3.0, 9.0], 1_000, 86_400_000)
    3.09
    """
    if not ratios:
        return 0.0
    longest = max(rows * LOCAL_MS / span_ms, LOCAL_ROWS) if span_ms else float(rows)
    level = min(int(math.log2(longest)), len(ratios) - 1)
    return corrected(ratios[level], rows)


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
    differences: list[int] = []  # not there in checkpoints of versions that did not measure them


class RunningDependence:
    """``dependence_factor`` of a stream in little memory. Cost: about 60 ns a value in batches of 512.

    It keeps the ranks of values among the first 256, and for every doubling block length the sum of squared block sums
    and of squared differences of neighbouring ones. All are integers, so the result does not depend on how values are
    split over calls.

    >>> running = RunningDependence()
    >>> running.update(np.tile([0.0, 1.0], 500))
    >>> running.factor
    1.0
    """

    __slots__ = ("_blocks", "_differences", "_first", "_left", "_order", "_squares", "_total")

    def __init__(self) -> None:
        self._first = np.zeros(0)
        self._order: Floats | None = None
        self._left = [-1] * LEVELS  # the block at each level that waits for its neighbour, else -1
        self._blocks = [0] * LEVELS
        self._squares = [0] * LEVELS
        self._differences: list[int] | None = [0] * LEVELS
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
        levels = np.array((self._left, self._blocks, [0] * LEVELS, [0] * LEVELS), np.int64)
        _halve(sums, *levels)
        self._left, self._blocks, squares, differences = levels.tolist()
        self._squares = [before + more for before, more in zip(self._squares, squares, strict=True)]
        if self._differences is not None:
            self._differences = [before + more for before, more in zip(self._differences, differences, strict=True)]

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

    @property
    def local_ratios(self) -> list[float] | None:
        """``local_ratios`` of the values so far; None until there are enough, or where they were not measured."""
        count = self._blocks[0]
        if count < 4 * MIN_BLOCKS or self._differences is None:
            return None
        variance = self._squares[0] / count - (self._total / count) ** 2
        found: list[float] = []
        for level in range(LEVELS - 1):
            pairs = self._blocks[level + 1]
            if pairs < MIN_BLOCKS or variance <= 0.0:
                break
            ratio = self._differences[level] / pairs / (2 * (1 << level) * variance)
            found.append(round(max(credited(ratio, pairs + 1), found[-1] if found else 1.0), 4))
        return found or [1.0]

    def snapshot(self) -> RunningState:
        """The whole state of the estimate."""
        parts = list(self._left), list(self._blocks), list(self._squares)
        return RunningState(self._first.tobytes(), *parts, self._total, list(self._differences or []))

    @classmethod
    def from_state(cls, state: RunningState) -> "RunningDependence":
        """The object that a snapshot describes."""
        running = cls()
        running._first = np.frombuffer(state.first).copy()
        if len(running._first) == FIRST:
            running._order = np.sort(running._first)
        running._left, running._blocks = list(state.left), list(state.blocks)
        running._squares, running._total = list(state.squares), state.total
        running._differences = list(state.differences) or None
        return running


@compiled
def _halve(sums: Integers, left: Integers, blocks: Integers, squares: Integers, differences: Integers) -> None:
    """Adds block sums to the lowest level, and sums of pairs to the next one, as long as there are pairs."""
    for level in range(len(left)):
        pairs, waits = np.empty(len(sums) // 2 + 1, np.int64), left[level]
        size = 0
        for value in sums:
            squares[level] += value * value
            if waits >= 0:
                differences[level] += (waits - value) ** 2
                pairs[size], waits = waits + value, -1
                size += 1
            else:
                waits = value
        blocks[level] += len(sums)
        left[level] = waits
        if not size:
            return
        sums = pairs[:size]

"""Blocks of event time: what the recent past of a stream was like, and how much its neighbouring blocks differ.

Blocks have lengths of 1, 4, 16, ... 4,096 seconds and lie at whole multiples of their length. Of every length six
blocks are kept: four of *baseline*, one *guard* block between (a change may have begun in it), and the *present* block.

The dependence factor of a stream is learned from blocks. For a score x (the share of each evidence bin, and of ordered
bins the normal score z and its square) and three neighbouring blocks with means a, b, c of n_a, n_b, n_c events,

    tau = mean of (a - 2 b + c)^2 / (1 / n_a + 4 / n_b + 1 / n_c) / Var(x)

is 1 for independent events of any length. A trend, and so a season, changes it little (Allan variance is that of
first differences: Allan 1966, doi:10.1109/PROC.1966.4634; Hadamard variance that of second ones). One jump is bounded:
no difference counts for more than ``MOST_TIMES`` the mean of those before. Where tau still grows with the length n, as
T n / (n + l), dependence reaches further than blocks do: if it grew by g over the last factor of four, T is 3 / (4 - g)
times as large.
"""

import math

import msgspec
import numpy as np

from detectors.columns import Bools, Floats, Integers
from detectors.compiled import compiled

LENGTHS = 7
FACTOR = 4
BASELINE, GUARD, PRESENT = 4, 4, 5
"""Blocks 0 to 3 are the baseline, block 4 the guard, block 5 the present."""
KEPT = 6
LENGTHS_MS = np.array([1_000 * FACTOR**j for j in range(LENGTHS)], np.int64)

SURE_MS, MOST_EVENTS = 256_000, 1_100
"""Dependence is learned from blocks of up to 256 seconds, and from longer ones where they have at most 1,100 events."""
SEASON_MS, SEASON_GIVES = 1_024_000, 8.0
"""Of blocks longer than 1,024 seconds only ratios above 8 count: a season may give as much."""

MOST_TIMES = 20.0
LEAST_BLOCKS = 20
"""Differences needed before a length counts for the dependence factor."""
FORGET_AT = 8_000.0
"""With so many differences, all of them are halved: a stream may come to depend on time in another way."""
CHANCE_Z = 4.0
"""Standard errors by which a ratio must exceed 1; the largest of some hundred is taken."""

Narrow = np.ndarray[tuple[int, ...], np.dtype[np.int32]]


class BlocksState(msgspec.Struct, frozen=True):
    """The snapshot of a ``Blocks``: little-endian int32, int64 and float64."""

    counts: bytes
    index: list[int]
    squares: bytes
    differences: bytes
    total: bytes
    learned: bytes


class Blocks:
    """The blocks of all components (D) of a unit, in at most B evidence bins. 6.4 KB a feature of 16 bins.

    ``learned``: the dependence factor of every component, shape (D,). ``counts``: (D, LENGTHS, KEPT, B). ``total``:
    (D, B), all events that came while nothing was reported.
    """

    __slots__ = ("_bins_of", "_differences", "_scores", "_squares", "counts", "index", "learned", "total")

    def __init__(self, scores: Floats, bins_of: Integers) -> None:
        components, bins = scores.shape
        self._scores, self._bins_of = scores, bins_of
        self.counts: Narrow = np.zeros((components, LENGTHS, KEPT, bins), np.int32)
        self.index: Integers = np.full(LENGTHS, -1, np.int64)
        self._squares: Floats = np.zeros((components, LENGTHS, bins + 2))
        self._differences: Floats = np.zeros((components, LENGTHS))
        self.total: Floats = np.zeros((components, bins))
        self.learned: Floats = np.ones(components)

    def append(self, table: Floats, now_ms: int, held: Bools) -> None:
        """Adds the counts (D, B) of a look at event time ``now_ms``. ``held``: components of reported features, from
        which nothing is learned.

        Cost: 2 us a feature, once a block of 16 seconds 5 us.
        """
        longest = _append(
            (self.counts, self._squares, self._differences, self.total),
            (self._scores, self._bins_of),
            (table, held),
            self.index,
            now_ms,
        )
        if longest >= 2:
            _dependence(self._squares, self._differences, self.learned)

    def empty(self, component: int) -> None:
        """Drops the blocks of a component: what was reported there is over."""
        self.counts[component] = 0

    def snapshot(self) -> BlocksState:
        """The whole state."""
        return BlocksState(
            self.counts.tobytes(),
            self.index.tolist(),
            self._squares.tobytes(),
            self._differences.tobytes(),
            self.total.tobytes(),
            self.learned.tobytes(),
        )

    def restore(self, state: BlocksState) -> None:
        """Restores ``snapshot``. Raises ValueError when it has another shape."""
        self.counts = np.frombuffer(state.counts, np.int32).reshape(self.counts.shape).copy()
        self.index = np.array(state.index, np.int64)
        self._squares = np.frombuffer(state.squares).reshape(self._squares.shape).copy()
        self._differences = np.frombuffer(state.differences).reshape(self._differences.shape).copy()
        self.total = np.frombuffer(state.total).reshape(self.total.shape).copy()
        self.learned = np.frombuffer(state.learned).reshape(self.learned.shape).copy()


@compiled
def _append(
    state: tuple[Narrow, Floats, Floats, Floats],
    scores: tuple[Floats, Integers],
    look: tuple[Floats, Bools],
    index: Integers,
    now_ms: int,
) -> int:
    """Adds a look. Returns the place of the longest length whose block ended, or -1."""
    counts, squares, differences, total = state
    table, held = look
    longest = -1
    for d in range(len(table)):
        if not held[d]:
            for b in range(table.shape[1]):
                total[d, b] += table[d, b]
    for length in range(LENGTHS):
        new = max(now_ms // LENGTHS_MS[length], index[length])  # event time does not go back
        moved = min(new - index[length], KEPT) if index[length] >= 0 else 0
        index[length] = new
        if moved > 0:
            longest = length
        for d in range(len(table)):
            own = counts[d, length]
            if moved == 1 and not held[d]:
                _difference(own, scores[0][d], total[d], scores[1][d], length, squares[d], differences[d])
            for _ in range(moved):
                for block in range(PRESENT):
                    for b in range(table.shape[1]):
                        own[block, b] = own[block + 1, b]
                own[PRESENT, :] = 0
            for b in range(table.shape[1]):
                own[PRESENT, b] += np.int32(table[d, b])
    return longest


@compiled
def _difference(
    blocks: Narrow, z: Floats, total: Floats, bins: int, length: int, squares: Floats, differences: Floats
) -> None:
    """Adds the second difference of the newest three blocks (KEPT, B), which are complete, to ``squares``."""
    first, middle, last = blocks[KEPT - 3].sum(), blocks[KEPT - 2].sum(), blocks[KEPT - 1].sum()
    if first == 0 or middle == 0 or last == 0:
        return
    if LENGTHS_MS[length] > SURE_MS and last > MOST_EVENTS:
        return
    noise, events, known = 1 / first + 4 / middle + 1 / last, total.sum(), differences[length]
    at, at2, mean, mean2, mean4 = 0.0, 0.0, 0.0, 0.0, 0.0
    for b in range(bins + 2):
        if b < bins:
            found = blocks[KEPT - 3, b] / first - 2 * blocks[KEPT - 2, b] / middle + blocks[KEPT - 1, b] / last
            p = total[b] / events
            variance = p * (1 - p)
            at, at2 = at + found * z[b], at2 + found * z[b] * z[b]
            mean, mean2, mean4 = mean + p * z[b], mean2 + p * z[b] ** 2, mean4 + p * z[b] ** 4
        else:
            found, variance = (at, mean2 - mean**2) if b == bins else (at2, mean4 - mean2**2)
        if variance <= 1e-4:
            continue
        most = MOST_TIMES * (1 + squares[length, b] / known) if known >= 4 else 2.5 * MOST_TIMES
        squares[length, b] += min(found * found / noise / variance, most)
    differences[length] += 1
    if differences[length] > FORGET_AT:
        differences[length] *= 0.5
        squares[length] *= 0.5


@compiled
def _dependence(squares: Floats, differences: Floats, learned: Floats) -> None:
    """Sets ``learned``: the largest ratio over lengths and scores that is beyond chance, more where blocks are few."""
    for d in range(len(squares)):
        best = 1.0
        for score in range(squares.shape[2]):
            before = 0.0
            for length in range(len(LENGTHS_MS)):
                count = differences[d, length]
                if count < LEAST_BLOCKS:
                    continue
                freedom = count / 3
                scatter = 2 / (9 * freedom)
                ratio = squares[d, length, score] / count
                least = SEASON_GIVES if LENGTHS_MS[length] > SEASON_MS else 1.0
                beyond = ratio > max((1 - scatter + CHANCE_Z * math.sqrt(scatter)) ** 3, least)
                if beyond:
                    last = length == len(LENGTHS_MS) - 1 or differences[d, length + 1] < LEAST_BLOCKS
                    grows = last and before > 0 and ratio > before
                    further = min(3 / max(4 - ratio / before, 0.75), 4.0) if grows else 1.0
                    best = max(best, ratio * (1 + math.sqrt(2 / freedom)) * further)
                before = ratio if beyond else 0.0
        learned[d] = best

"""The first events of a stream: how much they depend on each other, known after some hundred of them.

Blocks of event time (see ``blocks``) need twenty of a length before they say how much events depend on each other. On a
new stream groups of at least 64, 256 and 1,024 events, whole looks each, say it sooner. For a score x (as in
``blocks``), a group of n events with mean a, and N events before it with mean A, the residual

    (a - A)^2 / (1 / n + 1 / N) / Var(x)

has a mean of 1 where events are independent, and of about the dependence factor of n events where they are not. The
estimate is the largest mean over scores and sizes, times 1 + 3 sqrt(2 / groups): the mean of so few squares may be too
small by chance. A trend makes it larger. One jump is bounded: no residual counts for more than ``MOST_TIMES`` the mean
of those before.
"""

import math

import msgspec
import numpy as np

from detectors.columns import Bools, Floats, Integers
from detectors.compiled import compiled

SIZES = np.array([64, 256, 1_024], np.int64)
GROWS = 4
"""The sizes grow by this factor."""
LEAST_GROUPS = 3
"""Residuals of a size before it counts."""
LAG, MOST_WAITING = 2, 8
"""The newest 2 residuals of a size do not count yet, and 8 while evidence climbs: a jump is judged by what was known
before it."""
CHANCE_Z, BIN_Z = 3.5, 4.5
"""Standard errors by which a ratio must exceed 1, and that of a single bin: there are many of them."""
MOST_TIMES, MOST_FIRST = 10.0, 50.0
CAUTION = 3.0
SEEN_FROM, UNKNOWN_EVENTS = 4.0, 8_000.0
"""Where ratios are beyond chance (in full from 5 / 4 of it on), events come in sessions whose longest is not known yet:
the factor is 1 + (8,000 / events)^2 times as large."""


HOUR_MS = 3_600_000
MOST_EVENTS = 20_000.0
MOST_HOURS = 4
"""The first events are at most 20,000, and of four hours: then blocks of event time know more."""


class FirstEventsState(msgspec.Struct, frozen=True):
    """The snapshot of a ``FirstEvents``: little-endian float64."""

    began_ms: int | None
    open: bytes
    squares: bytes
    groups: bytes
    climbs: bytes
    tau: bytes


class FirstEvents:
    """Groups of the first events of all components (D), in at most B evidence bins. 2 KB a feature of 16 bins.

    ``tau``: the dependence factor of every component, shape (D,); infinite until it is known. ``climbs`` (3, D): the
    highest climb of the bets on the first events that ended by itself in the first half of them; the highest so far;
    and the number of events from which on the second replaces the first. ``over``: nothing more is learned here.
    """

    __slots__ = ("_began_ms", "_bins_of", "_groups", "_open", "_scores", "_squares", "climbs", "over", "tau")

    def __init__(self, scores: Floats, bins_of: Integers) -> None:
        components, bins = scores.shape
        self._scores, self._bins_of = scores, bins_of
        self._open: Floats = np.zeros((components, len(SIZES), bins))
        self._squares: Floats = np.zeros((components, len(SIZES), 1 + MOST_WAITING, bins + 2))
        self._groups: Floats = np.zeros((2, components, len(SIZES)))  # residuals that count, and that wait
        self._began_ms: int | None = None
        self.over = False
        self.climbs: Floats = np.zeros((3, components))
        self.tau: Floats = np.full(components, np.inf)

    def append(self, table: Floats, total: Floats, now_ms: int, held: Bools, climbing: Bools) -> Floats:
        """Adds the counts (D, B) of a look at event time ``now_ms``. ``total``: those of all looks before it. Nothing
        is learned from the components ``held``; ``climbing``: those whose evidence climbs.

        Returns the dependence factors (D,) as they were before it; infinite for components that are not judged against
        their first events. Cost: 1 us a feature, and nothing once the first events are over.
        """
        if self._began_ms is None:
            self._began_ms = now_ms
            if total.any():  # restored from a version that did not know the first events
                self._began_ms -= (MOST_HOURS + 1) * HOUR_MS
        if self.over:
            return self.tau
        seen = total.sum(axis=1)
        if self.hours(now_ms) > MOST_HOURS or float(seen[: len(seen) // 2].min()) > MOST_EVENTS:
            self.over = True
            self.tau[:] = np.inf
            return self.tau
        doubled = seen >= self.climbs[2]
        self.climbs[0, doubled] = self.climbs[1, doubled]
        self.climbs[2, doubled] = 2 * seen[doubled]
        before = np.where(seen <= MOST_EVENTS, self.tau, np.inf)
        _append(
            table,
            total,
            (held, climbing),
            (self._open, self._squares, self._groups),
            (self._scores, self._bins_of),
            self.tau,
        )
        return before

    def hours(self, now_ms: int) -> float:
        """Hours since the first look."""
        return (now_ms - (now_ms if self._began_ms is None else self._began_ms)) / HOUR_MS

    def snapshot(self) -> FirstEventsState:
        """The whole state; without the groups once the first events are over."""
        open_, squares, groups = (np.zeros(0),) * 3 if self.over else (self._open, self._squares, self._groups)
        return FirstEventsState(
            self._began_ms,
            open_.tobytes(),
            squares.tobytes(),
            groups.tobytes(),
            self.climbs.tobytes(),
            self.tau.tobytes(),
        )

    def restore(self, state: FirstEventsState) -> None:
        """Restores ``snapshot``. Raises ValueError when it has another shape."""
        self._began_ms = state.began_ms
        self.over = state.began_ms is not None and not state.open
        if state.open:
            self._open = np.frombuffer(state.open).reshape(self._open.shape).copy()
            self._squares = np.frombuffer(state.squares).reshape(self._squares.shape).copy()
            self._groups = np.frombuffer(state.groups).reshape(self._groups.shape).copy()
        self.climbs = np.frombuffer(state.climbs).reshape(self.climbs.shape).copy()
        self.tau = np.frombuffer(state.tau).copy()


@compiled
def _append(
    table: Floats,
    total: Floats,
    which: tuple[Bools, Bools],
    state: tuple[Floats, Floats, Floats],
    scores: tuple[Floats, Integers],
    tau: Floats,
) -> None:
    """Adds a look to the open groups, and the residuals of those that it completes."""
    groups, squares, counts = state
    held, climbing = which
    for d in range(len(table)):
        if held[d]:
            continue
        ended = False
        for size in range(len(SIZES)):
            own, events, before = groups[d, size], 0.0, 0.0
            for b in range(table.shape[1]):
                before += total[d, b] - own[b]
                own[b] += table[d, b]
                events += own[b]
            if events < SIZES[size]:
                continue
            if before >= events / 2:
                known, waiting = counts[:, d, size], squares[d, size]
                if known[1] == MOST_WAITING:
                    _count_oldest(known, waiting)
                known[1] += 1
                own_scores = scores[0][d], scores[1][d]
                _residual(own, total[d], table[d], own_scores, waiting[0], known[0], waiting[int(known[1])])
                while known[1] > LAG and (known[0] < LEAST_GROUPS or not climbing[d]):
                    _count_oldest(known, waiting)
                ended = True
            own[:] = 0.0
        if ended:
            tau[d] = _estimate(squares[d, :, 0], counts[0, d], scores[1][d], total[d].sum())


@compiled
def _count_oldest(known: Floats, waiting: Floats) -> None:
    """Adds the oldest residuals that wait (1 to MOST_WAITING) to those that count (0)."""
    waiting[0] += waiting[1]
    for place in range(1, len(waiting) - 1):
        for score in range(waiting.shape[1]):
            waiting[place, score] = waiting[place + 1, score]
    known[0] += 1
    known[1] -= 1


@compiled
def _residual(
    group: Floats,
    total: Floats,
    table: Floats,
    scores: tuple[Floats, int],
    before_it: Floats,
    known: float,
    found_squares: Floats,
) -> None:
    """Fills ``found_squares`` with the squared residuals of a group. ``table`` is its last look.

    ``before_it``: the sums of the ``known`` ones before."""
    z, bins = scores
    events, all_events = group.sum(), total.sum() + table.sum()
    before = all_events - events
    noise = 1 / events + 1 / before
    at, at2, mean, mean2, mean4 = 0.0, 0.0, 0.0, 0.0, 0.0
    for b in range(bins + 2):
        if b < bins:
            every = total[b] + table[b]
            found = group[b] / events - (every - group[b]) / before
            p = every / all_events
            variance = p * (1 - p)
            at, at2 = at + found * z[b], at2 + found * z[b] * z[b]
            mean, mean2, mean4 = mean + p * z[b], mean2 + p * z[b] ** 2, mean4 + p * z[b] ** 4
        else:
            found, variance = (at, mean2 - mean**2) if b == bins else (at2, mean4 - mean2**2)
        most = MOST_TIMES * (1 + before_it[b] / known) if known >= LEAST_GROUPS else MOST_FIRST
        found_squares[b] = min(found * found / noise / variance, most) if variance > 1e-4 else 0.0


@compiled
def _estimate(squares: Floats, groups: Floats, bins: int, events: float) -> float:
    """The dependence factor that (sizes, scores) sums of squared residuals show; infinite where there are too few."""
    best, seen = np.inf, 0.0
    for score in range(bins + 1, -2, -1):  # those of z and its square, every bin, and -1: the mean of the bins
        smaller = 0.0
        for size in range(len(SIZES)):
            count = groups[size]
            if count < LEAST_GROUPS:
                continue
            ratio, used = 0.0, 0
            for b in range(bins if score < 0 else 1):
                own = squares[size, b if score < 0 else score] / count
                ratio, used = ratio + own, used + (own > 0)
            ratio = max(ratio / max(used, 1), 1.0)
            scatter = 2 / (9 * count * max(used / 2, 1.0))  # half of the bins, since shares add up to 1
            chance = (1 - scatter + (BIN_Z if 0 <= score < bins else CHANCE_Z) * math.sqrt(scatter)) ** 3
            seen = max(seen, min(SEEN_FROM * (ratio / chance - 1), 1.0))
            if (0 <= score < bins or size > 0) and ratio <= chance:
                smaller = 0.0
                continue
            last = size == len(SIZES) - 1 or groups[size + 1] < LEAST_GROUPS
            grows = last and smaller > 0 and ratio > smaller
            further = min(3 / max(GROWS - ratio / smaller, 0.75), 4.0) if grows else 1.0
            factor = ratio * further * (1 + CAUTION * math.sqrt(2 / count))
            best = factor if best == np.inf else max(best, factor)
            smaller = ratio
    return best * (1 + seen * (UNKNOWN_EVENTS / max(events, 1.0)) ** 2)

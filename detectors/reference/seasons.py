"""Strata of a reference by time of day (and day of week): what is usual at each hour, and how much days differ."""

from typing import NamedTuple

import numpy as np

from detectors.columns import Floats, Integers
from detectors.reference.reference import Stratum

DAY_MS = 86_400_000
HOURS = 24
MIN_DAYS_OF_DAY, MIN_DAYS_OF_WEEK = 14, 56
"""Two weeks are enough to distinguish hours, eight weeks to distinguish weekdays."""

MIN_PART_ROWS = 48
"""Average rows of a day or part below which dependence within it cannot be estimated."""

PARTS = 16
"""Equal parts that a reference is divided into where its days are too few, to measure how its level moves."""

OUTER = 0.02
"""Beyond these quantiles shares are assumed to move as far as at them."""

MIN_ROWS = 30
"""Rows that a stratum needs. When any hour has fewer, hours are joined in twos, threes, fours, ..."""

CHANCE_Z = 3.0
"""Standard errors by which a stratum's own spread must exceed chance."""

_WIDTHS = (1, 2, 3, 4, 6, 8, 12)
_WEEK_PARTS: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3, 4), (5, 6))


def hour_and_weekday(timestamps_ms: Integers) -> tuple[Integers, Integers]:
    """The UTC hour 0..23 and weekday 0..6 (Monday 0) of each time. 1970-01-01 was a Thursday.

    >>> [int(v[0]) for v in hour_and_weekday(np.array([0]))]
    [0, 3]
    """
    day, rest = np.divmod(timestamps_ms, DAY_MS)
    return rest // 3_600_000, (day + 3) % 7


def strata(cells: Integers, cell_count: int, timestamps_ms: Integers) -> list[Stratum]:
    """The strata of one feature's cells, shape (n,), at their times; none when the reference spans under 14 days.

    ``spread`` of a stratum is the between-day standard deviation of the cumulative share at each cell border, without
    the part that sampling alone gives. It is the stratum's own where that is beyond chance, and at least the one
    estimated from all strata together.
    """
    if not len(cells):
        return []
    days = (int(timestamps_ms.max()) - int(timestamps_ms.min())) / DAY_MS
    if days < MIN_DAYS_OF_DAY:
        return []
    parts = _WEEK_PARTS if days >= MIN_DAYS_OF_WEEK else ((),)
    hour, weekday = hour_and_weekday(timestamps_ms)
    width = _hours_together(hour, weekday, parts)
    if width is None:
        return []
    found = []
    for start in range(0, HOURS, width):
        for weekdays in parts:
            chosen = (hour >= start) & (hour < start + width)
            if weekdays:
                chosen &= np.isin(weekday, weekdays)
            between = _between_days(cells[chosen], cell_count, timestamps_ms[chosen] // DAY_MS)
            found.append((start, weekdays, between))
    pooled = max(float(np.mean([np.mean(b.excess / np.maximum(b.binomial, 1e-3)) for _, _, b in found])), 0.0)
    return [Stratum(start, start + width, days, b.days, b.counts, b.spread(pooled)) for start, days, b in found]


def ranks(cells: Integers, timestamps_ms: Integers, found: list[Stratum]) -> Floats:
    """The middle rank of every row's cell within its stratum, shape (n,): the rank without the season."""
    hour, weekday = hour_and_weekday(timestamps_ms)
    result = np.full(len(cells), 0.5)
    for stratum in found:
        chosen = (hour >= stratum.hour_from) & (hour < stratum.hour_to)
        if stratum.weekdays:
            chosen &= np.isin(weekday, stratum.weekdays)
        counts = np.asarray(stratum.counts, np.float64)
        middle = (np.cumsum(counts) - counts / 2) / max(counts.sum(), 1.0)
        result[chosen] = middle[cells[chosen]]
    return result


def days_of(timestamps_ms: Integers) -> Integers | None:
    """The day of every row, shape (n,), counted from 0; None where days have too few rows."""
    days, day = np.unique(timestamps_ms // DAY_MS, return_inverse=True)
    return day if len(day) >= MIN_PART_ROWS * len(days) else None


def parts_of(rows: int) -> Integers | None:
    """The part, of ``PARTS`` equal ones, of every row, shape (n,); None where they have too few rows."""
    return np.arange(rows) * PARTS // rows if rows >= MIN_PART_ROWS * PARTS else None


def less_part(channel: Floats, part: Integers) -> Floats:
    """``channel`` minus the mean of the row's part."""
    return np.asarray(channel - (np.bincount(part, weights=channel) / np.bincount(part))[part])


def reach(cells: Integers, cell_count: int, part: Integers) -> list[float]:
    """How far the cumulative share at each cell may move from the whole's.

    It is the distance of the furthest part plus the range between parts; beyond the outer quantiles at least as much as
    at them.
    """
    table = np.zeros((int(part.max()) + 1, cell_count))
    np.add.at(table, (part, cells), 1)
    cumulative = np.cumsum(table, axis=1) / table.sum(axis=1, keepdims=True)
    share = np.cumsum(np.bincount(cells, minlength=cell_count)) / len(cells)
    far = np.abs(cumulative - share).max(axis=0) + np.ptp(cumulative, axis=0)
    for outer, at in ((share < OUTER, share >= OUTER), (share > 1 - OUTER, share <= 1 - OUTER)):
        if at.any():
            nearest = np.flatnonzero(at)[0 if outer[0] else -1]
            far[outer] = np.maximum(far[outer], far[nearest])
    return [round(v, 6) for v in far.tolist()]


def expected(code: int, timestamps_ms: Integers, found: list[Stratum]) -> Floats:
    """The share of a category in the stratum of every row, shape (n,)."""
    hour, weekday = hour_and_weekday(timestamps_ms)
    result = np.zeros(len(timestamps_ms))
    for stratum in found:
        chosen = (hour >= stratum.hour_from) & (hour < stratum.hour_to)
        if stratum.weekdays:
            chosen &= np.isin(weekday, stratum.weekdays)
        result[chosen] = stratum.counts[code] / max(sum(stratum.counts), 1)
    return result


def _hours_together(hour: Integers, weekday: Integers, parts: tuple[tuple[int, ...], ...]) -> int | None:
    for width in _WIDTHS:
        group = hour // width
        groups = [group[np.isin(weekday, part)] if part else group for part in parts]
        if all(np.bincount(g, minlength=HOURS // width).min() >= MIN_ROWS for g in groups):
            return width
    return None


class _Between(NamedTuple):
    """The differences of a stratum's cumulative shares between days: variances at each cell border."""

    counts: list[int]
    days: int
    binomial: Floats  # share (1 - share)
    excess: Floats  # variance between days minus that of sampling
    sampling: Floats

    def spread(self, pooled: float) -> list[float]:
        """The standard deviation at each border. ``pooled``: excess as a part of ``binomial``, over all strata."""
        beyond = self.excess > CHANCE_Z * (2 / max(self.days - 1, 1)) ** 0.5 * self.sampling
        own = np.where(beyond, self.excess, 0.0)
        return [round(v, 6) for v in np.sqrt(np.maximum(own, pooled * self.binomial)).tolist()]


def _between_days(cells: Integers, cell_count: int, day: Integers) -> _Between:
    counts = np.bincount(cells, minlength=cell_count)
    days, index = np.unique(day, return_inverse=True)
    table = np.zeros((len(days), cell_count))
    np.add.at(table, (index, cells), 1)
    rows = table.sum(axis=1, keepdims=True)
    cumulative: Floats = np.cumsum(table, axis=1) / rows
    share = np.cumsum(counts) / counts.sum()
    binomial = np.maximum(share * (1 - share), 0.0)
    between = ((cumulative - share) ** 2).sum(axis=0) / max(len(days) - 1, 1)
    sampling = binomial * float((1 / rows).mean())
    return _Between(counts.tolist(), len(days), binomial, between - sampling, sampling)

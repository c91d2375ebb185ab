"""Time-of-day (and day-of-week) strata of a reference: what is usual at this hour, and how much days differ."""

import numpy as np

from detectors.columns import Floats, Integers
from detectors.references import Stratum

DAY_MS = 86_400_000
HOURS = 24
MIN_DAYS_OF_DAY, MIN_DAYS_OF_WEEK = 14, 56
"""Two weeks tell hours apart, eight weeks weekdays."""

MIN_ROWS = 30
"""Rows a stratum needs; when any hour has fewer, hours are joined in twos, threes, fours, ..."""

_WIDTHS = (1, 2, 3, 4, 6, 8, 12)
_WEEK_PARTS: tuple[tuple[int, ...], ...] = ((0, 1, 2, 3, 4), (5, 6))


def hour_and_weekday(timestamps_ms: Integers) -> tuple[Integers, Integers]:
    """UTC hour 0..23 and weekday 0..6 (Monday 0) of each time. 1970-01-01 was a Thursday.

    >>> [int(v[0]) for v in hour_and_weekday(np.array([0]))]
    [0, 3]
    """
    day, rest = np.divmod(timestamps_ms, DAY_MS)
    return rest // 3_600_000, (day + 3) % 7


def strata(cells: Integers, cell_count: int, timestamps_ms: Integers) -> list[Stratum]:
    """Strata of one feature's cells, shape (n,), at their times; none when the reference spans under 14 days.

    ``spread`` of a stratum is the between-day standard deviation of the cumulative share at each cell border, with
    what sampling alone would give taken out.
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
            counts, spread, seen = _stratum(cells[chosen], cell_count, timestamps_ms[chosen] // DAY_MS)
            found.append(Stratum(start, start + width, weekdays, seen, counts, spread))
    return found


def _hours_together(hour: Integers, weekday: Integers, parts: tuple[tuple[int, ...], ...]) -> int | None:
    for width in _WIDTHS:
        group = hour // width
        groups = [group[np.isin(weekday, part)] if part else group for part in parts]
        if all(np.bincount(g, minlength=HOURS // width).min() >= MIN_ROWS for g in groups):
            return width
    return None


def _stratum(cells: Integers, cell_count: int, day: Integers) -> tuple[list[int], list[float], int]:
    counts = np.bincount(cells, minlength=cell_count)
    days, index = np.unique(day, return_inverse=True)
    table = np.zeros((len(days), cell_count))
    np.add.at(table, (index, cells), 1)
    rows = table.sum(axis=1, keepdims=True)
    cumulative: Floats = np.cumsum(table, axis=1) / rows
    share = np.cumsum(counts) / counts.sum()
    between = ((cumulative - share) ** 2).mean(axis=0)
    sampling = share * (1 - share) * float((1 / rows).mean())
    spread = np.sqrt(np.maximum(between - sampling, 0.0))
    return counts.tolist(), [round(v, 6) for v in spread.tolist()], len(days)

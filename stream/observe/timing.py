"""Which rows of a unit in one partition are late. No I/O."""

import numpy as np

from detectors.columns import Integers


class Timing:
    """``newest_ms``: the newest event time; None before the first event."""

    __slots__ = ("_late_ms", "newest_ms")

    def __init__(self, late_ms: int, newest_ms: int | None = None) -> None:
        self._late_ms, self.newest_ms = late_ms, newest_ms

    def in_time(self, times: Integers) -> Integers | None:
        """Rows that are not late; None when all are in time. Advances the newest event time."""
        newest = int(times[0]) if self.newest_ms is None else self.newest_ms
        highest = max(newest, int(times.max()))
        self.newest_ms = highest
        if int(times.min()) >= highest - self._late_ms:
            return None
        before = np.maximum.accumulate(np.concatenate(([newest], times)))[:-1]
        return np.flatnonzero(times >= before - self._late_ms)

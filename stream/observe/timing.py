"""Event time of a unit in one partition: which rows are late, and after which rows it looks. No I/O.

A look is taken at the first row that reaches the next interval of event time, when enough events came since the last
look. It makes a profile.
"""

import numpy as np

from detectors.columns import Integers

GOLDEN = 618
"""Phase shift between neighbouring partitions, in thousandths of a look, in time and in events.

With it the shards of a model look one after the other, so that its profiles are judged several times within one look.
"""


class Timing:
    """``newest_ms``: the newest event time; None before the first event. ``look``: number of the newest look, that is
    its time in looks. ``since_look``: events since that look.
    """

    __slots__ = ("_late_ms", "_look_events", "_look_ms", "_phase_ms", "look", "newest_ms", "since_look")

    def __init__(self, late_ms: int, look_ms: int, look_events: int, partition: int) -> None:
        self._late_ms, self._look_ms, self._look_events = late_ms, look_ms, look_events
        phase = partition * GOLDEN % 1_000
        self._phase_ms = look_ms * phase // 1_000
        self.newest_ms: int | None = None
        self.look, self.since_look = -1, look_events * phase // 1_000

    def restore(self, newest_ms: int | None, look: int, since_look: int) -> None:
        """Continues from the state of a checkpoint."""
        self.newest_ms, self.look, self.since_look = newest_ms, look, since_look

    def in_time(self, times: Integers) -> Integers | None:
        """Rows that are not late; None when all are in time. Advances the newest event time."""
        newest = int(times[0]) if self.newest_ms is None else self.newest_ms
        highest = max(newest, int(times.max()))
        self.newest_ms = highest
        if int(times.min()) >= highest - self._late_ms:
            return None
        before = np.maximum.accumulate(np.concatenate(([newest], times)))[:-1]
        return np.flatnonzero(times >= before - self._late_ms)

    def may_look(self, rows: int, newest_ms: int) -> bool:
        """Whether a look may be due within the next ``rows`` rows, whose highest event time is ``newest_ms``."""
        reached = (newest_ms + self._phase_ms) // self._look_ms
        return self.since_look + rows >= self._look_events and reached > self.look

    def looks(self, times: Integers, before: int | None) -> Integers:
        """The number of the look that is reached at each row.

        ``times``: of all rows, also of those that are left out. ``before``: the newest event time before these rows.
        """
        looks = np.maximum.accumulate(times)
        if before is not None:
            looks = np.maximum(looks, before)
        return (looks + self._phase_ms) // self._look_ms

    def next_look(self, looks: Integers, start: int) -> int:
        """The first row from ``start`` on at which a look is due; ``len(looks)`` or more when there is none."""
        wait = max(self._look_events - self.since_look - 1, 0)
        return max(start + wait, int(np.searchsorted(looks, self.look, side="right")))

    def count(self, rows: int) -> None:
        """Notes that ``rows`` rows came without a look."""
        self.since_look += rows

    def looked(self, look: int) -> None:
        """Notes that the look with that number was taken at the row before."""
        self.look, self.since_look = look, 0

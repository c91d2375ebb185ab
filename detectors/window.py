"""The recent past of one unit: what incidents show as the present, and what a return to the reference is told from."""

from collections import deque

import msgspec
import numpy as np

from detectors.columns import Floats
from detectors.sheets import Sheet

BUCKETS = 8
BUCKET_EVENTS = 128
"""At least so many events a bucket: the window is 1,024 events or 8 looks, whichever is more; 44 KB for 20 features."""

RETURN_Z = 2.5
"""Standard errors that the present may stand outside the band by and still count as back."""


class Bucket(msgspec.Struct):
    """Of the events after the unit's ``first`` one: component counts (D, B) and moment sums (F, 2), as float64."""

    first: int
    events: int
    table: bytes
    sums: bytes


class Window:
    """The newest buckets, oldest first; the last is still filling while it has fewer than BUCKET_EVENTS."""

    __slots__ = ("_buckets",)

    def __init__(self, buckets: list[Bucket] | None = None, shape: tuple[int, int] = (0, 0)) -> None:
        self._buckets: deque[tuple[int, int, Floats, Floats]] = deque(maxlen=BUCKETS)
        for bucket in buckets or []:
            table = np.frombuffer(bucket.table).reshape(shape).copy()
            self._buckets.append((bucket.first, bucket.events, table, np.frombuffer(bucket.sums).reshape(-1, 2).copy()))

    def add(self, table: Floats, sums: Floats, events: int, position: int) -> None:
        """Adds a look of ``events`` events that ended at the unit's event ``position``."""
        if self._buckets and self._buckets[-1][1] < BUCKET_EVENTS:
            first, before, counts, moments = self._buckets[-1]
            counts += table
            moments += sums
            self._buckets[-1] = (first, before + events, counts, moments)
        else:
            self._buckets.append((position - events, events, table.copy(), sums.copy()))

    def since(self, event: int = 0) -> tuple[int, Floats, Floats] | None:
        """Events, counts and moment sums of the buckets that began at ``event`` or later, at least the newest."""
        chosen = [bucket for bucket in self._buckets if bucket[0] >= event] or list(self._buckets)[-1:]
        if not chosen:
            return None
        return (
            sum(bucket[1] for bucket in chosen),
            np.sum([bucket[2] for bucket in chosen], axis=0),
            np.sum([bucket[3] for bucket in chosen], axis=0),
        )

    def snapshot(self) -> list[Bucket]:
        """Plain records."""
        return [Bucket(first, events, t.tobytes(), s.tobytes()) for first, events, t, s in self._buckets]


class Probe:
    """Counts of one feature since it was reported: when a whole window of them fits the reference, it is back.

    What is expected is added up look by look, since it depends on the time of day where the reference has a season.
    """

    __slots__ = ("counts", "events", "expected", "tolerated", "wanted")

    def __init__(self, bins: int, wanted: int) -> None:
        self.wanted = wanted
        self.events = 0
        self.counts, self.expected, self.tolerated = np.zeros((3, 2, bins))

    def add(self, sheet: Sheet, table: Floats, feature: int, events: int) -> bool:
        """True when a whole window has been seen and all of it fits; a window that does not fit starts anew."""
        rows = [feature, len(sheet.layout.names) + feature]
        seen = table[rows]
        arrived = seen.sum(axis=1, keepdims=True)
        self.counts += seen
        self.expected += sheet.shares[rows] * arrived
        self.tolerated += sheet.bands[rows] * arrived
        self.events += events
        if self.events < self.wanted:
            return False
        fits = all(self._fits(sheet, row, component) for row, component in enumerate(rows))
        self.events = 0
        for counts in (self.counts, self.expected, self.tolerated):
            counts[:] = 0.0
        return fits

    def _fits(self, sheet: Sheet, row: int, component: int) -> bool:
        n = float(self.counts[row].sum())
        if n == 0 or not sheet.bands[component].any():
            return row == 0 or n > 0
        p, present, eps = self.expected[row] / n, self.counts[row] / n, self.tolerated[row] / n
        if sheet.ordered[component]:
            p, present = np.cumsum(p), np.cumsum(present)
        error = np.sqrt(np.maximum(p * (1 - p), 1 / n) * sheet.tau[component] / n)
        return bool((np.abs(present - p) <= eps + RETURN_Z * error).all())

"""The recent past of one unit: what incidents show as the present, and what a return to the reference is told from."""

import msgspec
import numpy as np

from detectors.columns import Floats
from detectors.evidence import Sheet

BUCKETS = 16
BUCKET_EVENTS = 64
"""At least so many events a bucket, so the window is 1,024 events or 16 looks, whichever is more."""

RETURN_Z = 2.5
"""Standard errors that the present may stand outside the band by and still count as back."""


class Bucket(msgspec.Struct):
    """``position`` is the unit's event count after it, ``moments`` (count, sum1, sum2) of features before it."""

    events: int
    position: int
    table: bytes  # (D, B) float64 counts of the evidence's components
    moments: dict[str, tuple[int, int, int]] = {}


class Window(msgspec.Struct):
    """The newest buckets, oldest first. The last one is still filling while it has fewer than BUCKET_EVENTS."""

    buckets: list[Bucket] = []

    def add(self, table: Floats, events: int, position: int, moments: dict[str, tuple[int, int, int]]) -> bool:
        """Adds a look; True when it completed a bucket. ``moments`` are those before the look."""
        if self.buckets and self.buckets[-1].events < BUCKET_EVENTS:
            last = self.buckets[-1]
            last.table = (np.frombuffer(last.table) + table.reshape(-1)).tobytes()
            last.events += events
            last.position = position
        else:
            self.buckets.append(Bucket(events, position, table.tobytes(), moments))
            del self.buckets[:-BUCKETS]
        return self.buckets[-1].events >= BUCKET_EVENTS

    def since(self, position: int) -> int:
        """How many of the newest buckets lie after ``position``; at least one."""
        return max(sum(b.position - b.events >= position for b in self.buckets), min(1, len(self.buckets)))

    def table(self, shape: tuple[int, int], newest: int = BUCKETS) -> Floats:
        """Counts of the ``newest`` buckets together, shape (D, B)."""
        total = np.zeros(shape)
        for bucket in self.buckets[-newest:]:
            total += np.frombuffer(bucket.table).reshape(shape)
        return total

    def events(self, newest: int = BUCKETS) -> int:
        """Events in the ``newest`` buckets."""
        return sum(b.events for b in self.buckets[-newest:])

    def moments_before(self, newest: int = BUCKETS) -> dict[str, tuple[int, int, int]]:
        """(count, sum1, sum2) of every feature before the ``newest`` buckets."""
        return self.buckets[-newest:][0].moments if self.buckets else {}


def within_band(sheet: Sheet, component: int, counts: Floats) -> bool:
    """Whether a component's counts look like the reference: every (cumulative) share in its band, give or take
    RETURN_Z standard errors of the counts themselves."""
    p = np.asarray(sheet.bins[component])
    n = float(counts.sum())
    eps = sheet.bands[component]
    if n == 0 or not len(eps):
        return True
    present = counts[: len(p)] / n
    if len(eps) == len(p) - 1:
        p, present = np.cumsum(p)[:-1], np.cumsum(present)[:-1]
    error = np.sqrt(np.maximum(p * (1 - p), 1 / n) * sheet.tau[component] / n)
    return bool((np.abs(present - p) <= eps + RETURN_Z * error).all())

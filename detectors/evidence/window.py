"""The recent past of one unit: what incidents show as the present, and how a return to the reference is recognised."""

from collections import deque

import msgspec
import numpy as np

from detectors.columns import Floats
from detectors.evidence.sheets import Sheet

NEWEST = 4
"""Newest looks that are stored separately, so that events after a change just found are not mixed with earlier ones."""

BUCKETS = 8
BUCKET_EVENTS = 128
"""Older looks are merged until they hold this many events.

The recent past is the newest four looks and before them 1,024 events or 8 looks, the larger of the two."""

OLD = 8
"""Buckets of older looks, each at most half as large as all newer ones: they date a change that took long to find. The
whole window takes 60 KB for 20 features."""

Singles = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

RETURN_Z = 2.5
"""Standard errors beyond the band within which the present still counts as back."""

RETURN_SHARE = 0.5
"""Largest share of the reported distance at which the present counts as back. Standard errors alone would let a feature
with much serial dependence return while its change lasts."""


class Bucket(msgspec.Struct):
    """The events after the unit's event ``first``: counts of components (D, B) as float32, moment sums (F, 3) as
    float64.
    """

    first: int
    events: int
    from_ms: int
    to_ms: int
    table: bytes
    sums: bytes


class Part:
    """One bucket of the window, in arrays."""

    __slots__ = ("events", "first", "from_ms", "sums", "table", "to_ms")

    def __init__(self, first: int, events: int, from_ms: int, to_ms: int, table: Singles, sums: Floats) -> None:
        self.first, self.events = first, events
        self.from_ms, self.to_ms = from_ms, to_ms
        self.table, self.sums = table, sums

    def append(self, later: "Part") -> None:
        """Merges the bucket of the events that follow."""
        self.events += later.events
        self.to_ms = later.to_ms
        self.table = self.table + later.table
        self.sums = self.sums + later.sums


class Window:
    """The newest looks, oldest first; all but the last NEWEST are merged."""

    __slots__ = ("_parts", "_recent")

    def __init__(self, buckets: list[Bucket] | None = None, shape: tuple[int, int] = (0, 0)) -> None:
        self._parts: deque[Part] = deque()
        self._recent: tuple[int, Floats, Floats] | None = None  # the recent past, cached: it is read once a feature
        for b in buckets or []:
            table, sums = np.frombuffer(b.table, np.float32).reshape(shape), np.frombuffer(b.sums).reshape(-1, 3).copy()
            self._parts.append(Part(b.first, b.events, b.from_ms, b.to_ms, table, sums))

    def append(self, table: Floats, sums: Floats, events: int, position: int, now_ms: int) -> None:
        """Appends a look of ``events`` events that ended at the unit's event ``position``, at event time ``now_ms``."""
        parts, self._recent = self._parts, None
        from_ms = min(parts[-1].to_ms, now_ms) if parts else now_ms
        parts.append(Part(position - events, events, from_ms, now_ms, table.astype(np.float32), sums.copy()))
        if len(parts) > NEWEST + 1 and parts[-NEWEST - 2].events < BUCKET_EVENTS:
            parts[-NEWEST - 2].append(parts[-NEWEST - 1])
            del parts[-NEWEST - 1]
        if len(parts) > OLD + BUCKETS + NEWEST:
            self._make_room()

    def _make_room(self) -> None:
        """Merges the oldest two neighbours that may be merged; drops the oldest bucket where none may."""
        parts = self._parts
        newer = sum(part.events for part in parts)
        for at in range(len(parts) - BUCKETS - NEWEST):
            together = parts[at].events + parts[at + 1].events
            newer -= parts[at].events
            if 2 * together <= newer - parts[at + 1].events:
                parts[at].append(parts[at + 1])
                del parts[at + 1]
                return
        parts.popleft()

    def buckets(self) -> list[Part]:
        """All buckets, oldest first."""
        return list(self._parts)

    def since(self, event: int | None = None) -> tuple[int, Floats, Floats] | None:
        """Events, counts and moment sums of the recent past, or from ``event`` on; at least of the newest look."""
        if event is not None:
            return _together([part for part in self._parts if part.first >= event] or list(self._parts)[-1:])
        if self._recent is None:
            self._recent = _together(list(self._parts)[-BUCKETS - NEWEST :])
        return self._recent

    def snapshot(self) -> list[Bucket]:
        """The state as plain records."""
        return [Bucket(p.first, p.events, p.from_ms, p.to_ms, p.table.tobytes(), p.sums.tobytes()) for p in self._parts]


def _together(parts: list[Part]) -> tuple[int, Floats, Floats] | None:
    if not parts:
        return None
    return (
        sum(part.events for part in parts),
        np.sum([part.table for part in parts], axis=0, dtype=np.float64),
        np.sum([part.sums for part in parts], axis=0),
    )


class Probe:
    """Counts of one feature since it was reported. When a whole window of them fits the reference, the feature is back.

    Expected counts are summed look by look, since they depend on the time of day where the reference has a season.
    ``apart``: distances of the values and of the status from the reference (see ``distances``) when the change was
    reported. The larger of the two must have fallen to half.
    """

    __slots__ = ("apart", "counts", "events", "expected", "tolerated", "wanted")

    def __init__(self, bins: int, wanted: int, apart: tuple[float, float] = (0.0, 0.0)) -> None:
        self.wanted, self.apart = wanted, apart
        self.events = 0
        self.counts, self.expected, self.tolerated = np.zeros((3, 2, bins))

    def look(self, sheet: Sheet, table: Floats, feature: int, events: int) -> bool:
        """Adds the counts of a look; True when a whole window was seen and all of it fits.

        A window that does not fit starts again.
        """
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
        fits = fits and self._nearer(sheet, rows)
        self.events = 0
        for counts in (self.counts, self.expected, self.tolerated):
            counts[:] = 0.0
        return fits

    def _nearer(self, sheet: Sheet, rows: list[int]) -> bool:
        """Whether the present is at most RETURN_SHARE as far from the reference as when the change was reported."""
        row = int(self.apart[1] > self.apart[0])
        if not self.apart[row]:
            return True
        return distances(sheet, rows, self.counts, self.expected)[row] <= RETURN_SHARE * self.apart[row]

    def encoded(self) -> bytes:
        """``counts``, ``expected`` and ``tolerated`` as float64, little-endian."""
        return np.stack((self.counts, self.expected, self.tolerated)).tobytes()

    @classmethod
    def restored(cls, bins: int, wanted: int, events: int, data: bytes, apart: tuple[float, float]) -> "Probe":
        """The probe that ``encoded`` wrote as ``data``, with ``events`` seen so far."""
        probe = cls(bins, wanted, apart)
        probe.events = events
        probe.counts, probe.expected, probe.tolerated = np.frombuffer(data).reshape(3, 2, -1).copy()
        return probe

    def _fits(self, sheet: Sheet, row: int, component: int) -> bool:
        n = float(self.counts[row].sum())
        if n == 0 or not sheet.bands[component].any():
            return row == 0 or n > 0
        p, present, eps = self.expected[row] / n, self.counts[row] / n, self.tolerated[row] / n
        if sheet.ordered[component]:
            p, present = np.cumsum(p), np.cumsum(present)
        error = np.sqrt(np.maximum(p * (1 - p), 1 / n) * sheet.tau[component] / n)
        return bool((np.abs(present - p) <= eps + RETURN_Z * error).all())


def distances(sheet: Sheet, components: list[int], counts: Floats, expected: Floats) -> tuple[float, float]:
    """The largest difference of shares between ``counts`` and ``expected``, shape (2, B), for the values and for the
    status of a feature; of cumulative shares where the bins have an order. 0 where nothing was counted.
    """
    found = []
    for row, component in enumerate(components):
        n = float(counts[row].sum())
        apart = (counts[row] - expected[row]) / max(n, 1.0)
        if sheet.ordered[component]:
            apart = np.cumsum(apart)
        found.append(float(np.abs(apart).max()) if n else 0.0)
    return found[0], found[1]

"""What the pages remember besides the newest view: evidence over time, and the rate of events.

It begins when the worker starts. A view that contains the judge's own history takes precedence.
"""

from array import array
from collections import deque

from detectors.features import UnitKey
from stream.http.page.words import Json, finite
from stream.topics.views import Views

MAX_POINTS = 240
"""Most points of a unit. A point has 16 bytes, so 10,000 units use 38 MB at most."""

FIRST_STEP_MS = 1_000
RATE_SAMPLES = 12
RATE_STEP_MS = 2_500
"""Time between two counts. With 12 counts the rate is that of the last half minute."""


class UnitHistory:
    """One unit's evidence by event time. When it is full, of every two neighbours only the larger is kept."""

    __slots__ = ("_counted", "_evidence", "_last_events", "_step_ms", "_times", "rose_ms")

    def __init__(self) -> None:
        self._times = array("d")
        self._evidence = array("d")
        self._step_ms = FIRST_STEP_MS
        self._counted: deque[tuple[int, int]] = deque(maxlen=RATE_SAMPLES)
        self._last_events: int | None = None
        self.rose_ms: int | None = None  # when the event count last rose in this process

    def note(self, detail: Json, now_ms: int) -> None:
        events, when, evidence = (
            detail.get("events"),
            finite(detail.get("last_event_ms")),
            finite(detail.get("evidence_log10")),
        )
        if isinstance(events, int):
            if self._last_events is not None and events > self._last_events:
                self.rose_ms = now_ms
            self._last_events = events
            if not self._counted or now_ms - self._counted[-1][0] >= RATE_STEP_MS:
                self._counted.append((now_ms, events))
        if when is not None and evidence is not None:
            self._append(when, evidence)

    def _append(self, when: float, evidence: float) -> None:
        if self._times and when - self._times[-1] < self._step_ms:
            self._evidence[-1] = max(self._evidence[-1], evidence) if when > self._times[-1] else evidence
            return
        self._times.append(when)
        self._evidence.append(evidence)
        if len(self._times) > MAX_POINTS:
            pairs = range(0, len(self._times) - 1, 2)
            kept = array("d", (max(self._evidence[i], self._evidence[i + 1]) for i in pairs))
            self._times = array("d", (self._times[i] for i in pairs))
            self._evidence = kept
            self._step_ms *= 2

    def points(self) -> list[tuple[float, float]]:
        return list(zip(self._times, self._evidence, strict=True))

    def rate(self, now_ms: int) -> float | None:
        """Events per second over the last half minute; None before there are two samples."""
        if len(self._counted) < 2 or self._last_events is None:
            return None
        first_ms, first = self._counted[0]
        return max(0.0, (self._last_events - first) / max(1, now_ms - first_ms) * 1000)


class History:
    """The history of every unit."""

    __slots__ = ("_units",)

    def __init__(self) -> None:
        self._units: dict[UnitKey, UnitHistory] = {}

    def note_all(self, views: Views, now_ms: int) -> None:
        """Takes a sample of every unit and removes units that no longer exist."""
        present = dict(views.details())
        for unit in self._units.keys() - present.keys():
            del self._units[unit]
        for unit, detail in present.items():
            self._units.setdefault(unit, UnitHistory()).note(detail, now_ms)

    def of(self, detail: Json) -> UnitHistory:
        """The history of a unit; an empty one if it was never sampled."""
        unit = UnitKey(detail["model"], detail["version"], detail.get("segment"))
        return self._units.get(unit) or UnitHistory()

"""Streams into looks: many independent copies of a feature judged side by side, one histogram a second."""

from collections.abc import Iterator

import numpy as np

from detectors import synthetic
from detectors.columns import Floats, Integers
from detectors.merging import Counts
from detectors.reference_builder import build_reference
from detectors.references import Reference
from detectors.sheets import MONTH_SECONDS, EvidenceSettings, Sheets
from detectors.sizes import Yardstick
from detectors.watch import Watch

GUARANTEE = 1e10
"""Feature-events per false alarm that is promised."""

EVENT_MS = 60_000
"""One event a minute, so that a day is synthetic.DAY_EVENTS events."""

RESOLVE_AFTER = 1_000


def settings(features: int) -> EvidenceSettings:
    """The budget that makes GUARANTEE come out, with one event a minute of every feature."""
    seconds = GUARANTEE / features * EVENT_MS / 1000
    return EvidenceSettings(false_alarms_per_month=MONTH_SECONDS / seconds)


class Bench:
    """References of ``features`` independent copies of a null stream, and watches on them."""

    def __init__(self, null: synthetic.Null, rows: int, features: int, seed: int, seasonal: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.null, self.rows, self.features = null, rows, features
        times = np.arange(rows, dtype=np.int64) * EVENT_MS if seasonal else None
        columns = {f"x{i}": null(self.rng, rows, 0) for i in range(features)}
        self.reference: Reference = build_reference("bench", "1", columns, timestamps_ms=times)
        self.sheets = Sheets(self.reference.features, settings(features), kept=48)
        self.yardsticks = [Yardstick(self.sheets.layout, f) for f in range(features)]
        self.edges = [np.asarray(f.edges) for f in self.reference.features]

    def watch(self) -> Watch:
        """A fresh one."""
        return Watch(self.sheets, self.yardsticks, RESOLVE_AFTER)

    def stream(self, events: int, start: int) -> Floats:
        """``events`` more of every copy, shape (events, F)."""
        return np.stack([self.null(self.rng, events, start) for _ in range(self.features)], axis=1)

    def looks(self, values: Floats, look_events: int) -> Iterator[Counts]:
        """``values``, shape (events, F), as counts of ``look_events`` events each."""
        cells = np.empty(values.shape, np.int64)
        for f, edges in enumerate(self.edges):
            cells[:, f] = edges.searchsorted(values[:, f], side="right") + self.sheets.layout.offsets[f]
        total = self.sheets.layout.total
        sums = np.zeros((self.features, 2))
        for start in range(0, len(values), look_events):
            part = cells[start : start + look_events]
            status: Integers = np.tile(np.array([len(part), 0, 0]), (self.features, 1))
            yield Counts(np.bincount(part.reshape(-1), minlength=total), status, sums, len(part))


def alarms(bench: Bench, events: int, look_events: int = 32, block: int = 16_384) -> int:
    """Alarms in ``events`` of the null stream; after each the evidence begins anew."""
    watch = bench.watch()
    seen, found = bench.rows, 0
    while seen - bench.rows < events:
        for counts in bench.looks(bench.stream(min(block, events), seen), look_events):
            seen += counts.events
            fired = watch.look(counts, seen * EVENT_MS, seen).fired
            if fired:
                found += len(fired)
                watch.release(fired)
    return found


def delay(bench: Bench, change: synthetic.Change, horizon: int, warm: int = 1_024, look_events: int = 32) -> int | None:
    """Events from the change to the alarm; None when there is none within ``horizon``, or one before the change."""
    watch = bench.watch()
    start = bench.rows
    values = bench.stream(warm + horizon, start)
    values[warm:] = change(bench.rng, values[warm:].reshape(-1)).reshape(horizon, -1)
    seen = 0
    for counts in bench.looks(values, look_events):
        seen += counts.events
        if watch.look(counts, (start + seen) * EVENT_MS, start + seen).fired:
            return seen - warm if seen > warm else None
    return None

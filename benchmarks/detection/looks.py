"""Turns streams into looks: many independent copies of a feature are judged together, one histogram per look."""

from collections.abc import Iterator, Mapping

import numpy as np
from msgspec.structs import replace

from detectors.calibration import synthetic
from detectors.columns import Floats, Integers
from detectors.evidence.counts import Counts
from detectors.evidence.sheets import MONTH_SECONDS, Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch
from detectors.reference.builder import build_reference
from detectors.reference.reference import Reference
from stream.judge.settings import judge_settings
from stream.settings.settings import Settings

GUARANTEE = 1e10
"""Feature-events per false alarm that the evidence guarantees."""

EVENT_MS = 60_000
"""One event a minute, so that a day is synthetic.DAY_EVENTS events."""

LOOK_EVENTS = 32
RESOLVE_AFTER = 1_000


def budget(features: int, guarantee: float = GUARANTEE) -> float:
    """False alarms per model and month that give ``guarantee`` with one event a minute of every feature."""
    return MONTH_SECONDS / (guarantee / features * EVENT_MS / 1000)


class Desk:
    """Makes watches on one reference of numbers, and looks for them."""

    def __init__(self, reference: Reference, guarantee: float = GUARANTEE) -> None:
        self.reference = reference
        self.features = len(reference.features)
        alarms = budget(self.features, guarantee)
        settings = replace(judge_settings(Settings()).evidence, false_alarms_per_month=alarms)
        self.sheets = Sheets(reference.features, settings, kept=48)
        self._yardsticks = [Yardstick(self.sheets.layout, f) for f in range(self.features)]
        self._edges = [np.asarray(f.edges) for f in reference.features]

    def watch(self) -> Watch:
        """A new watch."""
        return Watch(self.sheets, self._yardsticks, RESOLVE_AFTER)

    def looks(self, values: Floats, look_events: int = LOOK_EVENTS) -> Iterator[Counts]:
        """Counts of ``look_events`` events each, from ``values`` of shape (events, F)."""
        cells = np.empty(values.shape, np.int64)
        for f, edges in enumerate(self._edges):
            cells[:, f] = edges.searchsorted(values[:, f], side="right") + self.sheets.layout.offsets[f]
        total = self.sheets.layout.total
        sums = np.zeros((self.features, 2))
        for start in range(0, len(values), look_events):
            part = cells[start : start + look_events]
            status: Integers = np.tile(np.array([len(part), 0, 0]), (self.features, 1))
            yield Counts(np.bincount(part.reshape(-1), minlength=total), status, sums, len(part))

    def alarms(self, watch: Watch, values: Floats, start: int) -> list[tuple[int, list[int]]]:
        """Every alarm as (events of ``values`` seen, features). After an alarm the evidence starts again.

        ``start``: events before ``values``.
        """
        found, seen = [], 0
        for counts in self.looks(values):
            seen += counts.events
            fired = watch.look(counts, (start + seen) * EVENT_MS, start + seen).fired
            if fired:
                found.append((seen, fired))
                watch.release(fired)
        return found


class Bench:
    """References of ``features`` independent copies of a null stream, and watches on them."""

    def __init__(self, null: synthetic.Null, rows: int, features: int, seed: int, seasonal: bool = False) -> None:
        self.rng = np.random.default_rng(seed)
        self.null, self.rows, self.features = null, rows, features
        times = np.arange(rows, dtype=np.int64) * EVENT_MS if seasonal else None
        columns: Mapping[str, Floats] = {f"x{i}": null(self.rng, rows, 0) for i in range(features)}
        self.desk = Desk(build_reference("bench", "1", columns, timestamps_ms=times))
        self.reference, self.sheets = self.desk.reference, self.desk.sheets
        self.watch, self.looks = self.desk.watch, self.desk.looks

    def stream(self, events: int, start: int) -> Floats:
        """The next ``events`` events of every copy, shape (events, F)."""
        return np.stack([self.null(self.rng, events, start) for _ in range(self.features)], axis=1)


def alarms(bench: Bench, events: int, block: int = 16_384) -> int:
    """Number of alarms in ``events`` events of the null stream. After an alarm the evidence starts again."""
    watch, found = bench.watch(), 0
    for start in range(0, events, block):
        values = bench.stream(min(block, events - start), bench.rows + start)
        found += sum(len(fired) for _, fired in bench.desk.alarms(watch, values, bench.rows + start))
    return found


def delay(bench: Bench, change: synthetic.Change, horizon: int, warm: int = 1_024) -> int | None:
    """Events from the change to the alarm; None when there is none within ``horizon``, or one before the change."""
    values = bench.stream(warm + horizon, bench.rows)
    values[warm:] = change(bench.rng, values[warm:].reshape(-1)).reshape(horizon, -1)
    watch, seen = bench.watch(), 0
    for counts in bench.looks(values):
        seen += counts.events
        if watch.look(counts, (bench.rows + seen) * EVENT_MS, bench.rows + seen).fired:
            return seen - warm if seen > warm else None
    return None

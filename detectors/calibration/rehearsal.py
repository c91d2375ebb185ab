"""The judge's decisions over coded rows: the same watch, the same looks, the same rule for one incident."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from detectors.calibration import stretch
from detectors.calibration.stretch import Codes, Column
from detectors.columns import Bools, Floats, Integers
from detectors.evidence.e_detector import Evidence
from detectors.evidence.sheets import EvidenceSettings, Sheets
from detectors.evidence.watch import Findings, Watch
from detectors.incidents import incident
from detectors.reference.reference import Reference

TABLES_HELD = 256
"""Looks that are counted at once: 2.6 MB of tables for 20 features."""

STRATA_KEPT = 48


class Look(NamedTuple):
    """The counts (D, B) of ``arrived`` events, the time of the newest event before them and of the newest of them."""

    table: Floats
    before_ms: int
    now_ms: int
    arrived: int


class Monitor:
    """The rules that a model is judged by: its reference's bets under a budget, with a look every ``look_events``
    events.
    """

    __slots__ = ("look_events", "resolve_after", "sheets")

    def __init__(
        self, reference: Reference, settings: EvidenceSettings, *, look_events: int, resolve_after: int
    ) -> None:
        self.sheets = Sheets(reference.features, settings, STRATA_KEPT, reference.of_stream)
        self.look_events, self.resolve_after = look_events, resolve_after

    @property
    def features(self) -> int:
        """The number of features, F."""
        return len(self.sheets.layout.names)

    def codes(self, columns: Sequence[Column]) -> Codes:
        """The codes of columns, see ``stretch.codes``."""
        return stretch.codes(columns, self.sheets.layout, self.sheets.base)

    def looks(self, codes: Codes, clock_ms: Integers, before_ms: int | None = None) -> Iterator[Look]:
        """The rows of ``codes`` as looks.

        ``clock_ms``: the newest time so far at every row, shape (n,). ``before_ms``: the newest time before the first
        row.
        """
        before_ms = int(clock_ms[0]) if before_ms is None and len(clock_ms) else before_ms or 0
        step = self.look_events
        shape = self.sheets.base.shares.shape
        for start in range(0, len(codes), step * TABLES_HELD):
            part = codes[start : start + step * TABLES_HELD]
            for k, table in enumerate(stretch.tables(part, step, (shape[0], shape[1]))):
                end = min((k + 1) * step, len(part))
                now_ms = int(clock_ms[start + end - 1])
                yield Look(table, before_ms, now_ms, end - k * step)
                before_ms = now_ms


class Rehearsal:
    """A new watch, and the incidents that the judge would have opened. Cost: about 120 us a look of 20 features."""

    __slots__ = ("_open", "_sheets", "_under_alarm", "events", "incidents", "watch")

    def __init__(self, monitor: Monitor) -> None:
        self._sheets = monitor.sheets
        self.watch = Watch(monitor.sheets, (), monitor.resolve_after)
        self.events = self._under_alarm = 0
        self.incidents = 0
        self._open: list[tuple[int, int, set[int]]] = []  # began, opened, features

    def judge_look(self, look: Look) -> Findings:
        """Judges one look and updates the incidents."""
        self.events += look.arrived
        sheet = self._sheets.over(look.before_ms, look.now_ms)
        findings = self.watch.judge(sheet, look.table, look.now_ms, self.events, look.arrived)
        if findings.returned:
            self._open = [known for known in self._open if not known[2].isdisjoint(self.watch.probes)]
        if findings.fired:
            self._fired(findings.fired)
        if self._open:
            self._under_alarm += look.arrived
        return findings

    @property
    def open_share(self) -> float:
        """The share of events that came while an incident was open."""
        return self._under_alarm / max(self.events, 1)

    def _fired(self, fired: list[int]) -> None:
        fresh = []
        for feature in fired:
            began = self.watch.beginning(feature).event
            for known in self._open:
                if incident.same_change(began, *known[:2]):
                    known[2].add(feature)
                    break
            else:
                fresh.append(feature)
        if fresh:
            self.incidents += 1
            began = min(self.watch.beginning(f).event for f in fresh)
            self._open.append((began, self.events, set(fresh)))


class Course:
    """The results of a rehearsal over n rows at every look, which changes made in the rows are judged against.

    ``shares``: M_f as a share of the model's threshold, shape (looks, F), 0 while the feature is reported already.
    """

    __slots__ = ("_kept", "_monitor", "clock_ms", "codes", "incidents", "open_share", "shares")

    def __init__(self, monitor: Monitor, codes: Codes, clock_ms: Integers, starts: Integers) -> None:
        """Runs the rehearsal. ``starts``: rows at which changes will be made."""
        self._monitor, self.codes, self.clock_ms = monitor, codes, clock_ms
        run = Rehearsal(monitor)
        marks = set((starts // monitor.look_events).tolist())
        self._kept = {}
        shares = []
        for k, look in enumerate(monitor.looks(codes, clock_ms)):
            if k in marks:
                self._kept[k] = run.watch.evidence.snapshot()
            run.judge_look(look)
            share = _shares(run.watch.evidence, run.watch.feature_log10)
            share[list(run.watch.probes)] = 0.0
            shares.append(share)
        self.shares = np.array(shares)
        self.incidents, self.open_share = run.incidents, run.open_share

    def delays(self, changed: Codes, able: Bools, start: int, horizon: int) -> "Found":
        """Events from row ``start`` until each feature is reported, if it alone changed there.

        ``changed``: the codes of the rows with all features changed. Each feature has its own evidence, so one pass
        serves all. None: the feature is not ``able`` to change or not reported within ``horizon`` events. Alarm and
        blame follow the watch: f is found when ``(M_f + sum of the others' M without the change) / F >= 1 / a`` and no
        other has more.
        """
        step, count = self._monitor.look_events, self._monitor.features
        first = start // step
        low, high = first * step, min(-(-(start + horizon) // step) * step, len(self.codes))
        rows = changed[low:high].copy()
        rows[: start - low] = self.codes[low:start]
        evidence = Evidence(self._monitor.sheets)
        evidence.restore(self._kept[first])
        quiet = np.asarray((self.shares[max(first - 1, 0) : -(-high // step)] > 0.0).all(axis=0))
        pending = able & quiet
        found: list[int | None] = [None] * count
        before_ms = int(self.clock_ms[low - 1]) if low else None
        for k, look in enumerate(self._monitor.looks(rows, self.clock_ms[low:high], before_ms), first):
            end = min((k + 1) * step, high)
            if end - start > horizon or not pending.any():
                break
            sheet = self._monitor.sheets.over(look.before_ms, look.now_ms)
            evidence.look(sheet, look.table, look.now_ms, end, look.arrived)
            own = _shares(evidence, evidence.feature_log10)
            others, most = _others(self.shares[k])
            hit = pending & (own + others >= count) & (own >= most)
            for f in np.flatnonzero(hit).tolist():
                found[f] = end - start
            pending &= ~hit
        return Found(found, quiet)


class Found(NamedTuple):
    """The delays in events of all features, None where missed, shape (F,).

    ``quiet`` (F,) is False where the feature is reported without the change too, before it or within the horizon: its
    delay then does not measure the change.
    """

    delays: list[int | None]
    quiet: Bools


def _shares(evidence: Evidence, feature_log10: Floats) -> Floats:
    return np.asarray(10.0 ** np.clip(feature_log10 - evidence.threshold_log10, -300.0, 300.0))


def _others(shares: Floats) -> tuple[Floats, Floats]:
    """The sum and the maximum of all other features' shares, for each feature."""
    if len(shares) < 2:
        return np.zeros(len(shares)), np.zeros(len(shares))
    second, top = np.partition(shares, -2)[-2:]
    most = np.full(len(shares), top)
    most[int(shares.argmax())] = second
    return shares.sum() - shares, most

"""One unit under one reference: its evidence, the reported features that have not returned, and the recent past."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from detectors.columns import Floats, Integers
from detectors.evidence import changepoint, explanations
from detectors.evidence.counts import Counts
from detectors.evidence.day_band import DayBand, day_band
from detectors.evidence.e_detector import Beginning, Evidence, EvidenceState
from detectors.evidence.explanations import Explanations, ExplanationsState
from detectors.evidence.sheets import Sheet, Sheets
from detectors.evidence.sizes import Sizes, Yardstick
from detectors.evidence.window import Bucket, Probe, Window, distances
from detectors.incidents.verdict import Symptom

PROBE_FACTOR, PROBE_LIMIT = 2, 20
"""A change that was found after n events is over when it was absent for 2 n events, within PROBE_LIMIT."""


class Findings(msgspec.Struct, frozen=True):
    """The result of one look: features newly reported, strongest first, and features that are back in the band."""

    fired: list[int]
    returned: list[int]


class Latched(msgspec.Struct, frozen=True):
    """A reported feature with the state of its probe.

    ``wanted``: events that the probe needs. ``apart``: see ``Probe``; 0 in rows of versions without it.
    """

    feature: int
    wanted: int
    events: int
    counts: bytes
    begun: Beginning
    apart: tuple[float, float] = (0.0, 0.0)


class WatchState(msgspec.Struct, frozen=True):
    """The snapshot of a ``Watch``."""

    evidence: EvidenceState
    latched: list[Latched]
    buckets: list[Bucket]
    explanations: ExplanationsState | UnsetType = UNSET


class Watch:
    """Judges what arrives for one unit under a budget of false alarms. Cost: about 120 us a look of 20 features.

    ``resolve_after``: the least number of events that must fit the reference before a reported feature counts as back.
    """

    __slots__ = (
        "_ends",
        "_latched_mask",
        "_resolve_after",
        "begun",
        "evidence",
        "explanations",
        "feature_log10",
        "model_log10",
        "probes",
        "sheets",
        "window",
        "yardsticks",
    )

    def __init__(self, sheets: Sheets, yardsticks: Sequence[Yardstick], resolve_after: int) -> None:
        self.sheets = sheets
        self.yardsticks = yardsticks
        self.evidence = Evidence(sheets)
        self.window = Window()
        self.probes: dict[int, Probe] = {}
        self.explanations: Explanations | None = None  # from the first look on that has event times
        self.begun: dict[int, Beginning] = {}  # beginning of the change of each reported feature
        self._ends = _unexpected_cells(sheets)
        self._weigh()
        self._resolve_after = resolve_after
        self._latched_mask = np.zeros(len(sheets.layout.names), bool)

    def look(
        self,
        arrived: Counts,
        now_ms: int,
        events: int,
        span_ms: tuple[int, int] | None = None,
        slotted: bool = False,
    ) -> Findings:
        """Judges the counts ``arrived`` of one look.

        ``now_ms``: event time of the look. ``events``: the unit's events so far, these included. ``span_ms``: start and
        end of the time in which the counts came, if they did not all come at one time. ``slotted``: they are all of a
        slot of event time. Where the season of the stream is learned (see EvidenceSettings), they are judged against
        the explanations of ``explanations`` and not against the reference alone.
        """
        timed = self.sheets.settings.event_times
        if self.explanations is None and (timed == "all" or (timed == "slots" and slotted)):
            self._explain()
        sheet = self.sheets.over(*(span_ms or (now_ms, now_ms)))
        table = sheet.table(arrived.cells, arrived.statuses)
        unexpected = arrived.cells[self._ends].sum(axis=1)
        self.window.append(table, np.column_stack((arrived.sums, unexpected)), arrived.events, events, now_ms)
        return self.judge(sheet, table, now_ms, events, arrived.events)

    def judge(self, sheet: Sheet, table: Floats, now_ms: int, events: int, arrived: int) -> Findings:
        """The decision of a look without its window: ``table`` holds the counts (D, B) of ``arrived`` events."""
        returned = [f for f, probe in self.probes.items() if probe.look(sheet, table, f, arrived)]
        if self.explanations is not None:
            self.explanations.look(table, now_ms, events, arrived)
            returned = self.explanations.returned(table, arrived, returned)
        if returned:
            self.release(returned)
        if self.explanations is None:
            self.evidence.look(sheet, table, now_ms, events, arrived)
        self._weigh()
        fired = self._alarms()
        for feature in fired:
            begin = self.begun[feature] = self._dated(sheet, feature)
            wanted = PROBE_FACTOR * (events - begin.event)
            wanted = min(max(wanted, self._resolve_after), PROBE_LIMIT * self._resolve_after)
            self.probes[feature] = Probe(table.shape[1], wanted, self._apart(sheet, feature, begin.latest))
            self._latched_mask[feature] = True
        self.evidence.stop_pooling(fired)
        if self.explanations is not None:
            self.explanations.report(fired)
        return Findings(fired, returned)

    def _dated(self, sheet: Sheet, feature: int) -> Beginning:
        """The estimated beginning of the change of a feature that alarms now."""
        if self.explanations is not None:
            return self.explanations.beginning(feature)
        begin = self.evidence.beginning(feature)
        return changepoint.date(sheet, self.window, feature, begin) if self.window.buckets() else begin

    def _explain(self) -> None:
        """Begins to judge against explanations, where the reference has no season of its own."""
        if not self.sheets.seasonal:
            sheets = self.sheets
            self.explanations = Explanations(sheets.base, sheets.settings.threshold_seconds, sheets.own)
            self.explanations.report(list(self.probes))

    def _apart(self, sheet: Sheet, feature: int, since: int) -> tuple[float, float]:
        """How far the feature has been from the reference since that event."""
        recent = self.window.since(since)
        if recent is None:
            return 0.0, 0.0
        components = [feature, len(sheet.layout.names) + feature]
        counts = recent[1][components]
        return distances(sheet, components, counts, sheet.shares[components] * counts.sum(axis=1, keepdims=True))

    def _weigh(self) -> None:
        source = self.evidence if self.explanations is None else self.explanations
        self.feature_log10: Floats = source.feature_log10
        self.model_log10 = self.evidence.model(self.feature_log10)
        """log10 A over all features, the reported ones too."""

    def _alarms(self) -> list[int]:
        """The features to blame now. The budget is spent on features that are not reported yet."""
        if self.model_log10 < self.evidence.threshold_log10:
            return []  # without the reported features it is smaller still
        fresh = np.where(self._latched_mask, -np.inf, self.feature_log10)
        if self.evidence.model(fresh) < self.evidence.threshold_log10:
            return []
        blamed = np.flatnonzero(fresh >= self.evidence.blame_log10)
        if not len(blamed):
            blamed = np.array([int(fresh.argmax())])
        return [int(f) for f in blamed[np.argsort(-fresh[blamed], kind="stable")]]

    def release(self, features: Sequence[int]) -> None:
        """Ends the report of these features, which are back in the band. Their evidence starts again."""
        self.evidence.restart(features)
        if self.explanations is not None:
            self.explanations.restart(features)
        self._weigh()
        for feature in features:
            self.probes.pop(feature, None)
            self.begun.pop(feature, None)
            self._latched_mask[feature] = False

    def beginning(self, feature: int) -> Beginning:
        """The estimated beginning of a reported feature's change, as it was when the change was found."""
        return self.begun[feature]

    def present(self, feature: int, since: int | None = None) -> tuple[Sizes, Symptom, Floats]:
        """Sizes, symptoms and bin counts of a feature in the recent past, or from event ``since`` on."""
        yardstick = self.yardsticks[feature]
        reference = yardstick.feature
        recent = self.window.since(since)
        width = self.sheets.base.shares.shape[1]
        events, table, sums = recent or (
            0,
            np.zeros((2 * len(self.yardsticks), width)),
            np.zeros((len(self.yardsticks), 3)),
        )
        values, status = table[feature], table[len(self.yardsticks) + feature]
        mean, std = yardstick.moments(float(status[0]), sums[feature])
        rows, seen = max(reference.rows, 1), max(float(status[0]), 1.0)
        symptom = Symptom(
            reference.feature,
            reference.kind,
            int(events),
            float(status[1]) / max(events, 1),
            float(status[2]) / max(events, 1),
            reference.missing / rows,
            reference.invalid / rows,
            mean,
            std,
            reference.mean,
            reference.std,
            float(sums[feature, 2]) / seen,
            reference.unlisted,
        )
        return yardstick.sizes(values, mean), symptom, values

    @property
    def dependence(self) -> dict[str, float]:
        """The local dependence factor that the stream has shown of each feature, the larger one of its values and its
        presence; empty where it is not learned."""
        if self.explanations is None:
            return {}
        factors = self.explanations.blocks.learned.reshape(2, -1).max(axis=0)
        return dict(zip(self.sheets.layout.names, np.round(factors, 4).tolist(), strict=True))

    def skew(self, feature: int) -> float | None:
        """How far whole weeks differ from the reference (see ``explanations.skew``); None where they agree, where it is
        not known, and where the reference is of the stream itself."""
        return None if self.explanations is None or self.sheets.own else explanations.skew(self.explanations, feature)

    def day_band(self, feature: int) -> DayBand | None:
        """The last 24 hours beside earlier days; None where the season is not learned, and before two days."""
        if self.explanations is None:
            return None
        return day_band(self.explanations.hours, feature, self.yardsticks[feature].feature)

    def smallest_shift(self, feature: int) -> float | None:
        """The smallest shift that can be found: at the present traffic where the season is learned (see
        ``explanations.smallest_shift``), else with any number of events (see ``Evidence.smallest_shift``)."""
        if self.explanations is None:
            return self.evidence.smallest_shift(self.sheets.base, feature)
        return explanations.smallest_shift(self.explanations, feature, self.evidence.blame_log10)

    def unlike(self, feature: int) -> dict[str, Any]:
        """The explanations against which a reported feature was evidence, as members ``unlike`` and ``unlike_days`` of
        an incident's row; empty where only the reference was compared with."""
        kinds = [] if self.explanations is None else self.explanations.kinds(feature)
        days = 0 if self.explanations is None else self.explanations.hours.days
        return {"unlike": kinds, "unlike_days": days} if kinds else {}

    def factor(self, feature: int) -> float:
        """The dependence factor of a feature's values, by which its evidence is divided now."""
        known = self.sheets.base.tau if self.explanations is None else self.explanations.tau
        return float(known[feature])

    def evidence_of(self, feature: int) -> float:
        """log10 M_f of a feature, finite."""
        return shown(float(self.feature_log10[feature]))

    def snapshot(self) -> WatchState:
        """The state as plain records."""
        latched = [
            Latched(f, p.wanted, p.events, p.encoded(), self.begun[f], p.apart) for f, p in sorted(self.probes.items())
        ]
        found = UNSET if self.explanations is None else self.explanations.snapshot()
        return WatchState(self.evidence.snapshot(), latched, self.window.snapshot(), found)

    def restore(self, state: WatchState) -> bool:
        """Restores a snapshot; returns False when it does not fit the bets of this reference."""
        shape = self.sheets.base.shares.shape
        size = 8 * shape[0] * shape[1]
        if any(2 * len(bucket.table) != size or len(bucket.sums) != 24 * (shape[0] // 2) for bucket in state.buckets):
            return False
        if any(len(one.counts) % 48 or not 0 <= one.feature < shape[0] for one in state.latched):
            return False
        if not self.evidence.restore(state.evidence):
            return False
        self.window = Window(state.buckets, (shape[0], shape[1]))
        for latched in state.latched:
            self.probes[latched.feature] = Probe.restored(
                shape[1], latched.wanted, latched.events, latched.counts, latched.apart
            )
            self.begun[latched.feature] = latched.begun
            self._latched_mask[latched.feature] = True
        self.evidence.stop_pooling(list(self.probes))
        if state.explanations is not UNSET and self.sheets.settings.event_times != "none":
            self._explain()
            if self.explanations is not None and not self.explanations.restore(state.explanations):
                return False
        self._weigh()
        return True


def _unexpected_cells(sheets: Sheets) -> Integers:
    """The two cells of each feature in which the reference has no row, shape (F, 2): below and above, or not listed."""
    layout = sheets.layout
    ends = []
    for f, at, length in zip(layout.features, layout.offsets.tolist(), layout.lengths, strict=False):
        last = at + length - 1
        ends.append((at, last) if f.edges else (last - 1, last) if f.categories else (at, at))
    return np.array(ends, np.int64).reshape(-1, 2)


def shown(log10: float) -> float:
    """log10 as a finite number with three decimals, for people and JSON."""
    return round(max(log10, -9.0), 3) if not math.isnan(log10) else -9.0

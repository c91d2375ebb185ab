"""Evidence against every explanation that is still possible, on a stream whose season the reference does not know.

The bets are those of the e-detector. Only what a bet is divided by differs: N_k(H) is the largest mean that bet k can
have under explanation H, so that L_k / N_k(H) is an e-value for H. An incident needs evidence against one of these:

* **recent**: the recent past moved slowly, and as this time of the day usually moves. With m and s the mean and
  standard deviation of L_k in four baseline blocks and the present one (see ``blocks``), c = |cov(L_k, z)| / sd(z), and
  g the hours since the baseline's middle,

      N_k = (m + t s + sqrt((v g c)^2 + (u g)^2 (s^2 - c^2))) exp(move_k)

  with t the part of a deviation that is too small to matter, v and u the speeds an hour that are allowed in location
  and in every other direction (Cauchy-Schwarz over a chi-square ball), and ``move_k`` of ``hours``. After four days
  ``move_k`` says what the speeds had to, and they fall to a fifth. Every block length that has enough events is used.
  In the first hour, when blocks are few, all that came since the stream began is such a past too, with N_k of at least
  1: a jump must be unlike it, and outside of the reference.
* **reference**: any hour of a day that the reference, or all that came, is a mixture of (``hours.gross``).
* **same hours**: this hour as it was on earlier days, from eight days on (``hours.same``).

R_k of each is the Shiryaev-Roberts statistic, as in the e-detector, and M is half the mean of R over bets and block
lengths of *recent*, a sixth of *reference* and a third of *same hours*. So each of the three alone would raise fewer
false alarms than the budget allows.

Serial dependence: log evidence is divided by the factor that ``blocks`` has learned from the stream. Until that is
known, *recent*, and *reference* on values, have a floor: what the first events show, or one that falls with the number
of events. Heavy tails (one
long session) are in no such factor: so the evidence of a component counts in full only once its best bet has climbed to
``RECORD_TIMES`` the highest climb that has ended by itself so far, and as a part of that before. Records fade over some
weeks.

Measured, not proved: benchmarks/detection, part "ordinary streams".
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from detectors.columns import Bools, Floats, Integers
from detectors.compiled import compiled
from detectors.evidence.blocks import BASELINE, GUARD, LENGTHS, LENGTHS_MS, PRESENT, Blocks, BlocksState, Narrow
from detectors.evidence.e_detector import Beginning
from detectors.evidence.first_events import CAUTION, SIZES, FirstEvents, FirstEventsState
from detectors.evidence.hours import HOUR_MS, Hours, HoursState
from detectors.evidence.sheets import VOID, EvidenceSettings, Sheet, Sheets
from detectors.features import Kind
from detectors.reference.reference import FeatureReference

GROSS, SAME, FIRST = LENGTHS, LENGTHS + 1, LENGTHS + 2
ROWS = LENGTHS + 3
"""Rows of evidence of a component: one a block length, then *reference*, *same hours* and *first events*."""

KINDS = ("recent", "reference", "same-hours", "recent")
WEIGHTS = (1 / 2, 1 / 6, 1 / 3, 1 / 3)
"""The first events are judged in the first hours, the same hours from the ninth day on: they share one weight."""
EVIDENCE, CLIMB, PEAK = 0, 1, 2
MOST_LENGTHS = 4
BASELINE_EVENTS = (200.0, 200_000.0)
INDEPENDENT_EVENTS = 10.0
"""A length is used while its baseline has 200 to 200,000 events, and ten that are independent."""

START_EVENTS = 2_000.0
"""Events before blocks of event time are judged."""
FIRST_HOURS = 1.0
"""In the first hour of a stream, its first events are one more past that the present must be unlike."""
FLOOR_EVENTS = 8_000.0
"""The floor of the dependence factor is what the first events show (see ``first_events``); once they are over it is
1 + (8,000 / events)^2. That of the reference fades like 8,000 / events."""

RECORD_TIMES, RECORD_MORE = 2.0, 2.0
RECORD_FADES = 0.9985
"""A record loses this much an hour: half of it in 19 days."""

SLOW_DAYS, SLOWER = 5, 0.2
SKEW, SKEW_Z = 0.1, 5.0
RETURN_EVENTS, RETURN_MS = 500, 600_000
RETURN_SHIFT, RETURN_Z = 0.12, 3.0
"""A reported feature is back when 500 events in at least ten minutes are within .15 standard deviations of normal (.12
sqrt(q (1 - q)) of a share q) and three standard errors of what was before, or when no bet on the same hours climbs."""
RETURN_CLIMB = 4.0
LONGEST_STEP = 600.0
LONG_STEP = 1.5
BLOCK_EVENTS = 1_000
LARGEST = 1e37
"""The largest evidence of a bet, which a float32 can hold."""

Singles = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

_NORMAL = NormalDist()


class ReturnState(msgspec.Struct, frozen=True):
    """A reported feature: what was before it (2, B), what came in the present window (2, B), what was refuted, and the
    first hour that is no longer compared with (0 in rows of versions without it)."""

    before: bytes
    counts: bytes
    events: int
    from_ms: int
    kinds: list[str]
    until_hour: int = 0


class ExplanationsState(msgspec.Struct, frozen=True):
    """The snapshot of ``Explanations``: little-endian arrays of float64 and int64, and its parts. ``single``: evidence,
    climb and peak are float32, as they are in memory; versions before had float64."""

    shape: tuple[int, int, int]
    evidence: bytes
    climb: bytes
    peak: bytes
    since: bytes
    since_ms: bytes
    records: bytes
    now_ms: int | None
    blocks: BlocksState
    hours: HoursState
    reported: dict[int, ReturnState]
    first: FirstEventsState | UnsetType = UNSET
    room: bytes = b""
    single: bool = False


class Explanations:
    """The evidence of one unit whose profiles have event times. D = 2 F components, at most K bets, at most B bins.

    ``threshold_seconds``: 1 / a. The evidence of one second is capped at half of what an alarm
    needs. ``look`` costs about 10 us a feature. The state is about 45 KB a feature of 16 bins in memory; a row holds it
    compressed.
    """

    __slots__ = (
        "_begun", "_bets", "_cap", "_climbs", "_known", "_reported", "_room", "_running", "_speeds", "_summary",
        "blocks", "first", "hours", "now_ms", "sheet",
    )  # fmt: skip

    def __init__(self, sheet: Sheet, threshold_seconds: float, own: bool = False) -> None:
        self.sheet = sheet
        known = np.maximum(np.where(sheet.local > 0, sheet.local, sheet.tau), 1.0)
        self._known: Floats = np.stack((known, sheet.rows * (own * (sheet.local > 0))))  # factors, own rows
        self._cap = (math.log(threshold_seconds) + math.log(max(int(sheet.used.sum()), 1))) / 2
        features = len(sheet.layout.names)
        self._bets = _bets_of(sheet)
        scores = _scores(sheet)
        values = np.arange(2 * features) < features
        speeds = np.array(
            [
                np.where(values, 0.05, 0.02),
                np.where(sheet.ordered, 0.25, 0.0),
                np.where(values, np.where(sheet.ordered, 0.12, 0.15), 0.05),
            ]
        )  # t, v and u of each component, (3, D)
        self._speeds: Floats = np.stack([speeds, speeds * np.array([[1.0], [SLOWER], [SLOWER]])])
        self.blocks = Blocks(scores, np.array(sheet.bins_of, np.int64))
        self.hours = Hours(self._bets[1], sheet.shares)
        self.first = FirstEvents(scores, np.array(sheet.bins_of, np.int64))
        shape = (2 * features, ROWS, sheet.weights.shape[1])
        self._running: Singles = np.zeros((3, *shape), np.float32)  # evidence, climb and peak of every bet
        self._summary: Floats = np.zeros((2, *shape[:2]))  # the sum of its evidence and the highest climb of every row
        self._begun: Integers = np.zeros((2, *shape), np.int64)  # event and time at which each climb began
        self._climbs: Floats = np.zeros((3, 2 * features))  # the record, highest climbs of the last and this hour
        self._room: Floats = np.ones(2 * features)  # the part of the cap that each component may still use now
        self.now_ms: int | None = None
        self._reported: dict[int, ReturnState] = {}

    @property
    def _live(self) -> Bools:
        """The components that have bets, (D,)."""
        return np.asarray(self._bets[4] > 0)

    @property
    def tau(self) -> Floats:
        """The dependence factor of every component, (D,): learned, and not below the floor."""
        fades = np.minimum(1.0, FLOOR_EVENTS / np.maximum(self.blocks.total.sum(axis=1), 1.0))
        return np.asarray(np.maximum(self.blocks.learned, 1 + (self._known[0] - 1) * fades))

    def look(self, table: Floats, now_ms: int, events: int, arrived: int) -> None:
        """Adds the counts (D, B) of one look at event time ``now_ms``; ``arrived`` of the unit's ``events`` are new."""
        step = 1.0 if self.now_ms is None else min(max((now_ms - self.now_ms) / 1_000, 0.0), LONGEST_STEP)
        self.now_ms = max(now_ms, self.now_ms or now_ms)
        held = np.zeros(len(table), bool)
        for feature in self._reported:
            held[[feature, len(table) // 2 + feature]] = True
        if self.hours.begins(self.now_ms):
            self.hours.begin(self.now_ms, self.tau, self.blocks.total, self._live, self._until())
            self._end_hour(held)
        self.hours.append(table)
        early = self.first.append(table, self.blocks.total, self.now_ms, held, self._climbing())
        self.blocks.append(table, self.now_ms, held)
        burst, slow = arrived / BLOCK_EVENTS, self.hours.days >= SLOW_DAYS
        _fold_look_in(
            self._bets,
            (table, self.blocks.counts, self.blocks.total),
            (self._running, self._begun, self._summary, self._room),
            (self._climbs, self.first.climbs),
            (self.hours.moves, self.hours.gross, self.hours.same, self.hours.known),
            (*self._known, self.blocks.learned, early, self.first.over, self._speeds[int(slow)]),
            (events - arrived, self.now_ms, self.first.hours(self.now_ms)),
            (step, self._cap, max(step, burst), max(LONG_STEP if step >= 2 else 1.0, burst)),
        )

    def _until(self) -> Integers:
        """The first hour (D,) that the present is not compared with: what is reported is not usual yet."""
        until = np.full(len(self._live), np.iinfo(np.int64).max)
        for feature, known in self._reported.items():
            until[[feature, len(until) // 2 + feature]] = known.until_hour or until[feature]
        return until

    def _climbing(self) -> Bools:
        """The components (D,) whose evidence against *recent* counts in full."""
        highest = np.maximum(self._summary[1, :, :LENGTHS].max(axis=1), self._summary[1, :, FIRST])
        return np.asarray(highest > RECORD_TIMES * np.maximum(self._climbs[0], self.first.climbs[0]) + RECORD_MORE)

    def _end_hour(self, held: Bools) -> None:
        """Takes the highest climbs that ended in the hour before the last one into the records."""
        record, last, present = self._climbs
        self._climbs = np.stack((
            np.where(held, record, np.maximum(RECORD_FADES * record, last)), present, np.zeros(len(record))
        ))  # fmt: skip

    def logs(self) -> Floats:
        """The log of each explanation's evidence, weighted, (4, D), as the records let it count."""
        return _logs(self._summary, self._bets[4], self._climbs[0], self.first.climbs[0])

    @property
    def feature_log10(self) -> Floats:
        """log10 of every feature's evidence in seconds, (F,)."""
        return _joined(self.logs()) / math.log(10)

    def refuted(self, feature: int) -> list[str]:
        """The explanations against which there is evidence, the strongest first: all within a factor of 1,000 of it."""
        logs = self.logs()[:, np.array([feature, len(self._live) // 2 + feature])].max(axis=1)
        order = np.argsort(-logs, kind="stable")
        near = [KINDS[i] for i in order.tolist() if logs[i] >= logs[order[0]] - math.log(1_000)]
        return list(dict.fromkeys(near))

    def beginning(self, feature: int) -> Beginning:
        """The estimated beginning of a feature's change: where the highest climb began (Page, 1954)."""
        rows = [feature, len(self._live) // 2 + feature]
        climb, since = self._running[CLIMB, rows].reshape(-1), self._begun[0][rows].reshape(-1)
        near = since[climb >= climb.max() - math.log(100)]
        best = int(climb.argmax())
        status = best >= len(climb) // 2
        at_ms = int(self._begun[1][rows].reshape(-1)[best])
        return Beginning(int(since[best]), at_ms, int(near.min()), int(near.max()), bool(status))

    def report(self, features: Sequence[int]) -> None:
        """Notes that these features were reported: what came before is kept, and nothing is learned from them."""
        for feature in features:
            rows = [feature, len(self._live) // 2 + feature]
            before = np.stack([self._before(d) for d in rows])
            bins = before.shape[1]
            start = self.now_ms or 0
            empty = np.zeros((2, bins)).tobytes()
            until = start // HOUR_MS - 1
            self._reported[feature] = ReturnState(before.tobytes(), empty, 0, start, self.refuted(feature), until)
            self._running[CLIMB:, rows, SAME] = 0.0

    def _before(self, component: int) -> Floats:
        """The shares of the longest baseline of at most some 20,000 events, with a little of all that came."""
        baselines = self.blocks.counts[component, :, :BASELINE].sum(axis=1).astype(np.float64)
        sizes = baselines.sum(axis=1)
        sizes[sizes > 20_000] = 0.0
        all_, some = self.blocks.total[component], baselines[int(sizes.argmax())]
        shares = some + 0.5 * all_ / max(all_.sum(), 1.0)
        return np.asarray(shares / max(shares.sum(), 1e-9))

    def returned(self, table: Floats, arrived: int, fit: Sequence[int]) -> list[int]:
        """Adds a look to the windows of the reported features. Returns those that are as before, or as at the same
        hours, or that ``fit`` the reference; the last do not count where they were unlike the same hours.
        """
        back = [f for f in fit if self.kinds(f)[:1] != [KINDS[2]]]
        for feature, known in self._reported.items():
            rows = [feature, len(self._live) // 2 + feature]
            counts = np.frombuffer(known.counts).reshape(2, -1) + table[rows]
            events, now = known.events + arrived, self.now_ms or 0
            if events < RETURN_EVENTS or now - known.from_ms < RETURN_MS:
                self._reported[feature] = msgspec.structs.replace(known, counts=counts.tobytes(), events=events)
                continue
            if feature not in back and self._fits(rows, known, counts):
                back.append(feature)
            fresh = np.zeros(counts.shape).tobytes()
            self._reported[feature] = msgspec.structs.replace(known, counts=fresh, events=0, from_ms=now)
            self._running[CLIMB:, rows, SAME] = 0.0
        return back

    def _fits(self, rows: list[int], known: ReturnState, counts: Floats) -> bool:
        live = [d for d in rows if self._live[d]]
        known_hour = all(np.isfinite(self.hours.same[d]).any() for d in live)
        if self.hours.known and known_hour and self._running[CLIMB, live, SAME].max(initial=0.0) < RETURN_CLIMB:
            return True
        if known.kinds[:1] == [KINDS[2]]:
            return False
        before = np.frombuffer(known.before).reshape(2, -1)
        return all(self._fits_before(d, before[i], counts[i]) for i, d in enumerate(rows) if self._live[d])

    def _fits_before(self, component: int, before: Floats, counts: Floats) -> bool:
        n = float(counts.sum())
        if n == 0:
            return not before.any()
        p, q = counts / n, before
        if self.sheet.ordered[component]:
            p, q = np.cumsum(p), np.cumsum(q)
        spread = np.maximum(q * (1 - q), 0.0)
        error = RETURN_Z * np.sqrt(np.maximum(spread, 1 / n) * self.tau[component] / n)
        return bool((np.abs(p - q) <= RETURN_SHIFT * np.sqrt(spread) + error).all())

    def restart(self, features: Sequence[int]) -> None:
        """Starts these features again: their report is over, and its end is no change."""
        for feature in features:
            self._reported.pop(feature, None)
            for d in (feature, len(self._live) // 2 + feature):
                self._running[:, d] = self._summary[:, d] = 0.0
                self._climbs[1:, d] = 0.0
                self.blocks.empty(d)

    def kinds(self, feature: int) -> list[str]:
        """The explanations that were refuted when the feature was reported; empty for one that is not reported."""
        known = self._reported.get(feature)
        return [] if known is None else known.kinds

    def snapshot(self) -> ExplanationsState:
        """The whole state."""
        shape = self._running[EVIDENCE].shape
        return ExplanationsState(
            (shape[0], shape[2], self._bets[0].shape[1]),
            self._running[EVIDENCE].tobytes(),
            self._running[CLIMB].tobytes(),
            self._running[PEAK].tobytes(),
            self._begun[0].tobytes(),
            self._begun[1].tobytes(),
            self._climbs.tobytes(),
            self.now_ms,
            self.blocks.snapshot(),
            self.hours.snapshot(),
            dict(self._reported),
            self.first.snapshot(),
            self._room.tobytes(),
            single=True,
        )

    def restore(self, state: ExplanationsState) -> bool:
        """Restores a snapshot; False and unchanged when it is of other bets."""
        shape = self._running[EVIDENCE].shape
        if tuple(state.shape) != (shape[0], shape[2], self._bets[0].shape[1]):
            return False
        parts, numbers = (state.evidence, state.climb, state.peak), (state.since, state.since_ms)
        width = np.float32 if state.single else np.float64
        stored = [np.frombuffer(part, width).reshape(shape[0], -1, shape[2]) for part in parts]
        self._running = np.stack([_rows(rows.astype(np.float64), ROWS) for rows in stored]).astype(np.float32)
        _sum_up(self._running, self._summary)
        begun = [np.frombuffer(part, np.int64).reshape(shape[0], -1, shape[2]) for part in numbers]
        self._begun = np.stack([_rows(rows.astype(np.float64), ROWS).astype(np.int64) for rows in begun])
        self._climbs = np.frombuffer(state.records).reshape(3, -1).copy()
        self.now_ms = state.now_ms
        self.blocks.restore(state.blocks)
        self.hours.restore(state.hours)
        self._reported = dict(state.reported)
        if state.first is not UNSET:
            self.first.restore(state.first)
            self._room = np.frombuffer(state.room).copy()
        return True


def skew(found: Explanations, feature: int) -> float | None:
    """How far whole weeks of the values differ from the reference, in standard deviations of the bet that shows it
    best; None where they agree, and before a week is known.

    A week is a mixture over all times, as a representative reference is. With the mean m and the standard deviation
    s over seven days of log(mean of L_k of a day), and those of L_k under the reference, r and d, whole weeks
    differ where ``(m - log r) r / d > .1 + 5 s r / d / sqrt(7) + 3 sqrt(tau / rows)``.
    """
    days = found.hours.week_shares(feature)
    if days is None or not found._live[feature]:
        return None
    count, bins = int(found._bets[4][feature]), days.shape[1]
    ratios, shares = found._bets[1][feature, :bins, :count], found.sheet.shares[feature, :bins]
    mean = shares @ ratios
    deviation = np.sqrt(np.maximum(shares @ ratios**2 - mean**2, 1e-12)) / mean
    logs = np.log(days @ ratios)
    further = (logs.mean(axis=0) - np.log(mean)) / deviation
    sampling = 3 * math.sqrt(found.tau[feature] / float(found.sheet.rows[feature]))
    beyond = further - SKEW - SKEW_Z * logs.std(axis=0, ddof=1) / deviation / math.sqrt(len(days)) - sampling
    best = int(beyond.argmax())
    return float(further[best]) if beyond[best] > 0.0 else None


def smallest_shift(found: Explanations, feature: int, blame_log10: float) -> float | None:
    """The smallest sudden shift that is found at the present traffic, in standard deviations of a normal feature.

    It is the least value over block lengths of t + v g + sqrt(2 tau ln(F K / a) / n), of n events in the present
    block and g hours since the baseline (see the module). None where no length has enough events yet.
    """
    counts = found.blocks.counts[feature, :, :BASELINE].sum(axis=(1, 2))
    usable = (counts >= BASELINE_EVENTS[0]) & (counts <= BASELINE_EVENTS[1])
    if not usable.any():
        return None
    tolerated, location, _ = found._speeds[int(found.hours.days >= SLOW_DAYS)][:, feature]
    needed = blame_log10 * math.log(10) + math.log(max(int(found._bets[4][feature]), 1))
    hours = (BASELINE / 2 + PRESENT - GUARD) * LENGTHS_MS / HOUR_MS
    events = counts[usable] / BASELINE
    shifts = tolerated + location * hours[usable] + np.sqrt(2 * found.tau[feature] * max(needed, 0.0) / events)
    return float(shifts.min())


def compile_loops() -> None:
    """Compiles every loop before the first look needs it. The first time on a machine this takes some seconds."""
    settings = EvidenceSettings(false_alarms_per_month=1.0, tolerance=0.02, band_z=4.5)
    feature = FeatureReference("-", Kind.NUMERIC, 300, edges=[0.0, 1.0, 2.0], counts=[0, 150, 150, 0])
    sheet = Sheets([feature], settings).base
    explanations = Explanations(sheet, settings.threshold_seconds)
    table = sheet.table(np.array([0, 30, 30, 0]), np.array([[60, 0, 0]]))
    for look in range(10):
        explanations.look(table, look * HOUR_MS * 24, 60 * look + 60, 60)
    explanations.logs()


def _rows(stored: Floats, most: int) -> Floats:
    """``stored`` (D, rows, K) with ``most`` rows. Rows of versions before have no *first events*."""
    rows = np.zeros((stored.shape[0], most, stored.shape[2]))
    rows[:, : stored.shape[1]] = stored
    return rows


Bets = tuple[Floats, Floats, Floats, Integers, Integers]
"""Log ratios and ratios (D, B, K), z (D, B), bins (D,), used bets (D,)."""


def _bets_of(sheet: Sheet) -> Bets:
    """The bets of a sheet without their dependence factor."""
    most = sheet.weights.shape[1]
    logs = np.zeros((len(sheet.weights), sheet.shares.shape[1], most))
    np.divide(sheet.gains[:, :, :most], sheet.weights[:, None, :], out=logs, where=sheet.weights[:, None, :] > 0)
    used = np.where((sheet.weights > 0).any(axis=1), sheet.bets_of, 0)
    return logs, np.exp(logs), _scores(sheet), np.array(sheet.bins_of, np.int64), used.astype(np.int64)


def _scores(sheet: Sheet) -> Floats:
    """The normal score of every ordered bin, (D, B): its middle on the reference's scale. 0 for other components."""
    upto = np.cumsum(sheet.shares, axis=1)
    middle = np.clip(upto - sheet.shares / 2, 1e-4, 1 - 1e-4)
    scores = np.array([[_NORMAL.inv_cdf(u) for u in row] for row in middle.tolist()]).reshape(middle.shape)
    return np.asarray(np.where(sheet.ordered[:, None], scores, 0.0))


@compiled
def _fold_look_in(
    bets: Bets,
    seen: tuple[Floats, Narrow, Floats],
    running: tuple[Singles, Integers, Floats, Floats],
    climbs: tuple[Floats, Floats],
    usual: tuple[Floats, Floats, Floats, bool],
    careful: tuple[Floats, Floats, Floats, Floats, bool, Floats],
    dated: tuple[int, int, float],
    limits: tuple[float, float, float, float],
) -> None:
    """Adds one look to the evidence against all explanations."""
    logs, ratios, z, bins_of, bets_of = bets
    table, blocks, total = seen
    states, begun, summary, room = running
    gains, means, pool = np.empty(ratios.shape[2]), np.empty(ratios.shape[2]), np.empty(z.shape[1])
    for d in range(len(table)):
        count, bins, rows = bets_of[d], bins_of[d], careful[1][d]
        if count == 0:
            continue
        room[d] = min(room[d] + limits[2], limits[3])
        arrived, events = _gains(table[d, :bins], total[d, :bins], logs[d], gains[:count])
        tau, early, floor, least = _careful((careful[0][d], rows), careful[2][d], careful[3][d], careful[4], events)
        first = early < np.inf and dated[2] <= FIRST_HOURS
        if not first and summary[0, d, FIRST] > 0.0:
            states[:, d, FIRST], summary[:, d, FIRST] = 0.0, 0.0
        lengths, used, speeds = 0, 0.0, careful[5][:, d]
        for row in range(ROWS):
            own, weight = means[:count], 1 / tau
            if row < LENGTHS:
                usable = (rows > 0 or events >= START_EVENTS) and lengths < MOST_LENGTHS
                if not usable or not _pooled(blocks[d, row, :, :bins], pool[:bins], floor):
                    continue
                lengths, weight = lengths + 1, 1 / floor
                since = (dated[1] // LENGTHS_MS[row] - BASELINE + 1) * LENGTHS_MS[row]
                _recent(pool[:bins], ratios[d], z[d], (speeds, (dated[1] - since) / HOUR_MS, -np.inf), own)
                own += usual[0][d, row, :count]
            elif row == FIRST and first:
                weight = 1 / max(tau, early)
                _recent(total[d, :bins], ratios[d], z[d], (speeds, dated[2], 0.0), own)
            elif row == GROSS:
                own, weight = usual[1][d, :count], 1 / (least if 2 * d < len(table) else tau)
            elif row == SAME and usual[3]:
                own = usual[2][d, :count]
            else:
                continue
            bet = states[:, d, row, :count], begun[:, d, row, :count], summary[:, d, row]
            limit = weight, limits[0], limits[1] * room[d]
            ended, most = _bet(bet, gains[:count], own, arrived, limit, dated[0], dated[1])
            record = climbs[1][1] if row == FIRST else climbs[0][2]
            record[d], used = max(record[d], ended), max(used, most)
        room[d] -= used / limits[1]


@compiled
def _gains(table: Floats, total: Floats, logs: Floats, gains: Floats) -> tuple[float, float]:
    """Fills ``gains`` with the log ratios of a look. Returns its events, and all so far."""
    arrived, events = 0.0, 0.0
    gains[:] = 0.0
    for b in range(len(table)):
        events += total[b]
        if table[b] != 0.0:
            arrived += table[b]
            for k in range(len(gains)):
                gains[k] += table[b] * logs[b, k]
    return arrived, max(events, 1.0)


@compiled
def _careful(
    reference: tuple[float, float], learned: float, early: float, over: bool, events: float
) -> tuple[float, float, float, float]:
    """The dependence factor of a component; and that for the first events, and with the floors of *recent* and of
    *reference*.

    ``reference``: its factor, and its rows where they are of this stream and in its order, else 0. ``early``: what the
    first events show, infinite where they are ``over`` or too few: in the second case *recent* is not judged.
    """
    fades, (known, rows) = min(1.0, FLOOR_EVENTS / events), reference
    known = 1 + (known - 1) * fades
    tau = max(learned, known)
    if rows > 0.0:
        seen = rows + events
        known *= 1 + CAUTION * math.sqrt(2 * SIZES[0] / seen)
        if reference[0] > 1.0:
            known *= 1 + (FLOOR_EVENTS / seen) ** 2
        tau = max(learned, known)
        return tau, np.inf if over else tau, tau, tau
    floor = 1 + (FLOOR_EVENTS / events) ** 2
    if over:
        return tau, early, max(tau, floor), max(tau, floor)
    return tau, early, max(tau, early), max(tau, min(early, floor**2))


@compiled
def _sum_up(states: Singles, summary: Floats) -> None:
    """Fills ``summary`` as ``_bet`` does, to the bit."""
    for d in range(states.shape[1]):
        for row in range(states.shape[2]):
            total, highest = 0.0, 0.0
            for k in range(states.shape[3]):
                total, highest = total + states[EVIDENCE, d, row, k], max(highest, states[CLIMB, d, row, k])
            summary[0, d, row], summary[1, d, row] = total, highest


@compiled
def _logs(summary: Floats, bets_of: Integers, record: Floats, first_record: Floats) -> Floats:
    """The log of the mean of each explanation's evidence over bets (and lengths), (4, D). See ``Explanations.logs``."""
    logs = np.full((len(KINDS), len(bets_of)), -690.0)
    for d in range(len(bets_of)):
        for kind in range(len(KINDS)):
            first = 0 if kind == 0 else LENGTHS + kind - 1
            total, highest = 0.0, 0.0
            for row in range(first, LENGTHS if kind == 0 else first + 1):
                total, highest = total + summary[0, d, row], max(highest, summary[1, d, row])
            if total > 0.0:
                own = math.log(total * WEIGHTS[kind] / (bets_of[d] * (MOST_LENGTHS if kind == 0 else 1)))
                known = RECORD_TIMES * (first_record[d] if first == FIRST else record[d]) + RECORD_MORE
                logs[kind, d] = own * min(highest / known, 1.0) if own > 0.0 else own
    return logs


@compiled
def _joined(logs: Floats) -> Floats:
    """The log of the mean over a feature's two components of the sum over explanations, (F,), of ``logs`` (4, D)."""
    features = logs.shape[1] // 2
    joined = np.zeros(features)
    for f in range(features):
        top, total = -np.inf, 0.0
        for kind in range(len(logs)):
            top = max(top, logs[kind, f], logs[kind, features + f])
        for kind in range(len(logs)):
            total += math.exp(logs[kind, f] - top) + math.exp(logs[kind, features + f] - top)
        joined[f] = top + math.log(total / 2)
    return joined


@compiled
def _pooled(blocks: Narrow, pool: Floats, tau: float) -> bool:
    """Fills ``pool`` with the counts of the baseline and of the present block. False where the baseline has not enough
    events, or too many, or where all events are in one bin: no bet is known then."""
    events, used = 0, 0
    for b in range(len(pool)):
        own = blocks[0, b]
        for block in range(1, BASELINE):
            own += blocks[block, b]
        events += own
        pool[b] = own + blocks[PRESENT, b]
        used += pool[b] > 0
    return used > 1 and BASELINE_EVENTS[0] <= events <= BASELINE_EVENTS[1] and events >= INDEPENDENT_EVENTS * tau


@compiled
def _recent(pool: Floats, ratios: Floats, z: Floats, allowed: tuple[Floats, float, float], means: Floats) -> None:
    """Fills ``means`` with log N_k of the explanation *recent*, whose past and present are ``pool``; without moves.

    ``allowed``: t, v and u; the hours g; and the least value.
    """
    count, bins = len(means), len(pool)
    speeds, hours, least = allowed
    tolerated, location, other = speeds[0], (speeds[1] * hours) ** 2, (speeds[2] * hours) ** 2
    total, mean_z, square_z = 0.0, 0.0, 0.0
    for b in range(bins):
        total += pool[b]
        mean_z += pool[b] * z[b]
        square_z += pool[b] * z[b] * z[b]
    mean_z /= total
    spread = max(square_z / total - mean_z * mean_z, 1e-9)
    sums = np.zeros((3, count))
    for b in range(bins):
        p, pz = pool[b] / total, pool[b] / total * z[b]
        if p > 0.0:
            for k in range(count):
                ratio = ratios[b, k]
                sums[0, k] += p * ratio
                sums[1, k] += p * ratio * ratio
                sums[2, k] += pz * ratio
    for k in range(count):
        mean = sums[0, k]
        variance = max(sums[1, k] - mean * mean, 0.0)
        along = min((sums[2, k] - mean * mean_z) ** 2 / spread, variance)
        moved = math.sqrt(location * along + other * (variance - along))
        largest = mean + tolerated * math.sqrt(variance) + moved
        means[k] = max(math.log(largest), least) if variance > VOID else np.inf


@compiled
def _bet(
    bet: tuple[Singles, Integers, Floats],
    gains: Floats,
    means: Floats,
    arrived: float,
    limit: tuple[float, float, float],
    event: int,
    now_ms: int,
) -> tuple[float, float]:
    """Adds one look to the bets against one explanation; the highest climb that ended with it, and the largest gain."""
    states, begun, summary = bet
    weight, seconds, cap = limit
    ended, most = 0.0, 0.0
    if arrived == 0.0:
        return ended, most
    total, highest = 0.0, 0.0
    for k in range(len(gains)):
        gain = min((gains[k] - arrived * means[k]) * weight, cap)
        if means[k] < np.inf and abs(gain) > VOID * arrived:  # else it is not known, or all that came pays the same:
            states[EVIDENCE, k] = min((states[EVIDENCE, k] + seconds) * math.exp(gain), LARGEST)  # time is no alarm
            climb = states[CLIMB, k]
            if climb <= 0.0:
                climb, begun[0, k], begun[1, k] = 0.0, event, now_ms
            climb += gain
            states[CLIMB, k] = climb
            most = max(most, gain)
            states[PEAK, k] = max(states[PEAK, k], climb)
            if climb <= 0.0:
                ended, states[PEAK, k] = max(ended, states[PEAK, k]), 0.0
        total, highest = total + states[EVIDENCE, k], max(highest, states[CLIMB, k])
    summary[0], summary[1] = total, highest
    return ended, most

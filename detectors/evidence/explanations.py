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
* **reference**: any hour of a day that the reference, or all that came, is a mixture of (``hours.gross``).
* **same hours**: this hour as it was on earlier days, from eight days on (``hours.same``).

R_k of each is the Shiryaev-Roberts statistic, as in the e-detector, and M is half the mean of R over bets and block
lengths of *recent*, a sixth of *reference* and a third of *same hours*. So each of the three alone would raise fewer
false alarms than the budget allows.

Serial dependence: log evidence is divided by the factor that ``blocks`` has learned from the stream. Until that is
known, *recent*, and *reference* on values, have a floor that falls with the number of events. Heavy tails (one
long session) are in no such factor: so the evidence of a component counts in full only once its best bet has climbed to
``RECORD_TIMES`` the highest climb that has ended by itself so far, and as a part of that before. Records fade over some
weeks.

Measured, not proved: benchmarks/detection, part "ordinary streams".
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import msgspec
import numpy as np

from detectors.columns import Bools, Floats, Integers
from detectors.compiled import compiled
from detectors.evidence.blocks import BASELINE, LENGTHS, LENGTHS_MS, PRESENT, Blocks, BlocksState, Narrow
from detectors.evidence.e_detector import Beginning
from detectors.evidence.hours import HOUR_MS, Hours, HoursState
from detectors.evidence.sheets import VOID, EvidenceSettings, Sheet, Sheets
from detectors.features import Kind
from detectors.reference.reference import FeatureReference

GROSS, SAME = LENGTHS, LENGTHS + 1
ROWS = LENGTHS + 2
"""Rows of evidence of a component: one a block length, then *reference*, then *same hours*."""

KINDS = ("recent", "reference", "same-hours")
WEIGHTS = (1 / 2, 1 / 6, 1 / 3)
MOST_LENGTHS = 4
BASELINE_EVENTS = (200.0, 200_000.0)
INDEPENDENT_EVENTS = 10.0
"""A length is used while its baseline has 200 to 200,000 events, and ten that are independent."""

START_EVENTS = 2_000.0
"""Events before *recent* is judged."""
FLOOR_EVENTS = 8_000.0
"""The floor of the dependence factor is 1 + (8,000 / events)^2; that of the reference fades like 8,000 / events."""

RECORD_TIMES, RECORD_MORE = 2.0, 2.0
RECORD_FADES = 0.9985
"""A record loses this much an hour: half of it in 19 days."""

SLOW_DAYS, SLOWER = 5, 0.2
RETURN_EVENTS, RETURN_MS = 500, 600_000
RETURN_SHIFT, RETURN_Z = 0.12, 3.0
"""A reported feature is back when 500 events in at least ten minutes are within .15 standard deviations of normal (.12
sqrt(q (1 - q)) of a share q) and three standard errors of what was before, or when no bet on the same hours climbs."""
RETURN_CLIMB = 4.0
LONGEST_STEP = 600.0
SHORTEST_STEP, LONG_STEP = 0.25, 1.5
BLOCK_EVENTS = 1_000
LARGEST = 1e300

_NORMAL = NormalDist()


class Speeds(NamedTuple):
    """t, v and u of each component, (D,) each."""

    tolerated: Floats
    location: Floats
    other: Floats


class ReturnState(msgspec.Struct, frozen=True):
    """A reported feature: what was before it (2, B), what came in the present window (2, B), and what was refuted."""

    before: bytes
    counts: bytes
    events: int
    from_ms: int
    kinds: list[str]


class ExplanationsState(msgspec.Struct, frozen=True):
    """The snapshot of ``Explanations``: little-endian arrays of float64 and int64, and its parts."""

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


class Explanations:
    """The evidence of one unit whose profiles have event times. D = 2 F components, at most K bets, at most B bins.

    ``threshold_seconds``: 1 / a. The evidence of one second is capped at half of what an alarm
    needs. ``look`` costs about 10 us a feature. The state is about 45 KB a feature of 16 bins in memory; a row holds it
    compressed.
    """

    __slots__ = (
        "_bets",
        "_cap",
        "_climbs",
        "_live",
        "_reported",
        "_speeds",
        "blocks",
        "climb",
        "evidence",
        "hours",
        "now_ms",
        "peak",
        "sheet",
        "since",
        "since_ms",
    )  # fmt: skip

    def __init__(self, sheet: Sheet, threshold_seconds: float) -> None:
        self.sheet = sheet
        self._cap = (math.log(threshold_seconds) + math.log(max(int(sheet.used.sum()), 1))) / 2
        features = len(sheet.layout.names)
        self._bets = _bets_of(sheet)
        self._live: Bools = np.asarray((sheet.weights > 0).any(axis=1))
        scores = _scores(sheet)
        values = np.arange(2 * features) < features
        self._speeds = Speeds(
            np.where(values, 0.05, 0.02),
            np.where(sheet.ordered, 0.25, 0.0),
            np.where(values, np.where(sheet.ordered, 0.12, 0.15), 0.05),
        )
        self.blocks = Blocks(scores, np.array(sheet.bins_of, np.int64))
        self.hours = Hours(self._bets[1], sheet.shares)
        shape = (2 * features, ROWS, sheet.weights.shape[1])
        self.evidence, self.climb, self.peak = np.zeros((3, *shape))
        self.since, self.since_ms = np.zeros((2, *shape), np.int64)
        self._climbs: Floats = np.zeros((3, 2 * features))  # the record, highest climbs of the last and this hour
        self.now_ms: int | None = None
        self._reported: dict[int, ReturnState] = {}

    @property
    def tau(self) -> Floats:
        """The dependence factor of every component, (D,): learned, and not below the floor."""
        known = np.where(self.sheet.tau > 1, self.sheet.tau, 1.0)
        fades = np.minimum(1.0, FLOOR_EVENTS / np.maximum(self.blocks.total.sum(axis=1), 1.0))
        return np.asarray(np.maximum(self.blocks.learned, 1 + (known - 1) * fades))

    def look(self, table: Floats, now_ms: int, events: int, arrived: int) -> None:
        """Adds the counts (D, B) of one look at event time ``now_ms``; ``arrived`` of the unit's ``events`` are new."""
        step = 1.0 if self.now_ms is None else min(max((now_ms - self.now_ms) / 1_000, 0.001), LONGEST_STEP)
        self.now_ms = max(now_ms, self.now_ms or now_ms)
        held = np.zeros(len(table), bool)
        for feature in self._reported:
            held[[feature, len(table) // 2 + feature]] = True
        tau = self.tau
        if self.hours.append(table, self.now_ms, tau, self.blocks.total, self._live):
            self._end_hour(held)
        self.blocks.append(table, self.now_ms, held)
        seen = np.maximum(self.blocks.total.sum(axis=1), 1.0)
        careful = np.maximum(tau, 1 + (FLOOR_EVENTS / seen) ** 2)
        cap = self._cap * min(max(step, SHORTEST_STEP), LONG_STEP) * max(1.0, arrived / BLOCK_EVENTS)
        slow = SLOWER if self.hours.days >= SLOW_DAYS else 1.0
        _fold_look_in(
            self._bets,
            (table, self.blocks.counts, seen),
            (self.evidence, self.climb, self.peak, self._climbs),
            (self.since, self.since_ms),
            (self.hours.moves, self.hours.gross, self.hours.same),
            (tau, careful, self._speeds.tolerated, slow * self._speeds.location, slow * self._speeds.other),
            (events - arrived, self.now_ms, (self.now_ms // LENGTHS_MS - BASELINE + 1) * LENGTHS_MS),
            (step, cap),
        )

    def _end_hour(self, held: Bools) -> None:
        """Takes the highest climbs that ended in the hour before the last one into the records."""
        record, last, present = self._climbs
        self._climbs = np.stack((
            np.where(held, record, np.maximum(RECORD_FADES * record, last)), present, np.zeros(len(record))
        ))  # fmt: skip

    def logs(self) -> Floats:
        """The log of each explanation's evidence, weighted, (3, D), as the records let it count."""
        means, highest = _summed(self.evidence, self.climb, self._bets[4])
        weighted = np.log(np.maximum(means * np.array(WEIGHTS)[:, None], 1e-300))
        counts = np.minimum(highest / (RECORD_TIMES * self._climbs[0] + RECORD_MORE), 1.0)
        return np.asarray(np.where(weighted > 0, weighted * counts, weighted))

    @property
    def feature_log10(self) -> Floats:
        """log10 of every feature's evidence in seconds, (F,)."""
        halves = np.logaddexp.reduce(self.logs(), axis=0).reshape(2, -1)
        return np.asarray((np.logaddexp(halves[0], halves[1]) - math.log(2)) / math.log(10))

    def refuted(self, feature: int) -> list[str]:
        """The explanations against which there is evidence, the strongest first: all within a factor of 1,000 of it."""
        logs = self.logs()[:, np.array([feature, len(self._live) // 2 + feature])].max(axis=1)
        order = np.argsort(-logs, kind="stable")
        return [KINDS[i] for i in order.tolist() if logs[i] >= logs[order[0]] - math.log(1_000)]

    def beginning(self, feature: int) -> Beginning:
        """The estimated beginning of a feature's change: where the highest climb began (Page, 1954)."""
        rows = [feature, len(self._live) // 2 + feature]
        climb, since = self.climb[rows].reshape(-1), self.since[rows].reshape(-1)
        near = since[climb >= climb.max() - math.log(100)]
        best = int(climb.argmax())
        status = best >= len(climb) // 2
        at_ms = int(self.since_ms[rows].reshape(-1)[best])
        return Beginning(int(since[best]), at_ms, int(near.min()), int(near.max()), bool(status))

    def report(self, features: Sequence[int]) -> None:
        """Notes that these features were reported: what came before is kept, and nothing is learned from them."""
        for feature in features:
            rows = [feature, len(self._live) // 2 + feature]
            before = np.stack([self._before(d) for d in rows])
            bins = before.shape[1]
            start = self.now_ms or 0
            empty = np.zeros((2, bins)).tobytes()
            self._reported[feature] = ReturnState(before.tobytes(), empty, 0, start, self.refuted(feature))
            self.climb[rows, SAME], self.peak[rows, SAME] = 0.0, 0.0

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
            self.climb[rows, SAME] = self.peak[rows, SAME] = 0.0
        return back

    def _fits(self, rows: list[int], known: ReturnState, counts: Floats) -> bool:
        usual = all(self.climb[d, SAME].max() < RETURN_CLIMB for d in rows if self._live[d])
        if self.hours.known and usual:
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
                self.evidence[d] = self.climb[d] = self.peak[d] = 0.0
                self._climbs[1:, d] = 0.0
                self.blocks.empty(d)

    def kinds(self, feature: int) -> list[str]:
        """The explanations that were refuted when the feature was reported; empty for one that is not reported."""
        known = self._reported.get(feature)
        return [] if known is None else known.kinds

    def snapshot(self) -> ExplanationsState:
        """The whole state."""
        shape = self.evidence.shape
        return ExplanationsState(
            (shape[0], shape[2], self._bets[0].shape[1]),
            self.evidence.tobytes(),
            self.climb.tobytes(),
            self.peak.tobytes(),
            self.since.tobytes(),
            self.since_ms.tobytes(),
            self._climbs.tobytes(),
            self.now_ms,
            self.blocks.snapshot(),
            self.hours.snapshot(),
            dict(self._reported),
        )

    def restore(self, state: ExplanationsState) -> bool:
        """Restores a snapshot; False and unchanged when it is of other bets."""
        shape = self.evidence.shape
        if tuple(state.shape) != (shape[0], shape[2], self._bets[0].shape[1]):
            return False
        floats = (state.evidence, state.climb, state.peak)
        self.evidence, self.climb, self.peak = (np.frombuffer(part).reshape(shape).copy() for part in floats)
        self.since, self.since_ms = (
            np.frombuffer(part, np.int64).reshape(shape).copy() for part in (state.since, state.since_ms)
        )
        self._climbs = np.frombuffer(state.records).reshape(3, -1).copy()
        self.now_ms = state.now_ms
        self.blocks.restore(state.blocks)
        self.hours.restore(state.hours)
        self._reported = dict(state.reported)
        return True


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
    running: tuple[Floats, Floats, Floats, Floats],
    begun: tuple[Integers, Integers],
    usual: tuple[Floats, Floats, Floats],
    careful: tuple[Floats, Floats, Floats, Floats, Floats],
    dated: tuple[int, int, Integers],
    limits: tuple[float, float],
) -> None:
    """Adds one look to the evidence against all explanations."""
    logs, ratios, z, bins_of, bets_of = bets
    table, blocks, known = seen
    evidence, climb, peak, records = running
    moves, gross, same = usual
    for d in range(len(table)):
        count, bins = bets_of[d], bins_of[d]
        if count == 0:
            continue
        gains, means, arrived = np.zeros(count), np.zeros(count), 0.0
        for b in range(bins):
            if table[d, b] != 0.0:
                arrived += table[d, b]
                for k in range(count):
                    gains[k] += table[d, b] * logs[d, b, k]
        lengths = 0
        for row in range(len(evidence[d])):
            tau = careful[1 if row == GROSS and 2 * d < len(table) else 0][d]
            if row < LENGTHS:
                if known[d] < START_EVENTS or lengths >= MOST_LENGTHS:
                    continue
                tau = careful[1][d]
                if not _usable(blocks[d, row], tau):
                    continue
                lengths += 1
                hours = (dated[1] - dated[2][row]) / HOUR_MS
                speeds = careful[2][d], careful[3][d] * hours, careful[4][d] * hours
                _recent(blocks[d, row, :, :bins], ratios[d], z[d], moves[d, row], speeds, means)
            elif row == GROSS:
                means[:] = gross[d, :count]
            else:
                means[:] = same[d, :count]
            states = evidence[d, row], climb[d, row], peak[d, row], begun[0][d, row], begun[1][d, row]
            ended = _bet(states, gains, means, arrived, 1 / tau, limits, dated[0], dated[1])
            records[2, d] = max(records[2, d], ended)


@compiled
def _summed(evidence: Floats, climb: Floats, bets_of: Integers) -> tuple[Floats, Floats]:
    """The mean of each explanation's evidence over bets (and lengths), and its highest climb; shapes (3, D)."""
    means, highest = np.zeros((3, len(evidence))), np.zeros((3, len(evidence)))
    for d in range(len(evidence)):
        for row in range(ROWS):
            kind = max(row - LENGTHS + 1, 0)
            share = max(bets_of[d], 1) * (MOST_LENGTHS if kind == 0 else 1)
            for k in range(bets_of[d]):
                means[kind, d] += evidence[d, row, k] / share
                highest[kind, d] = max(highest[kind, d], climb[d, row, k])
    return means, highest


@compiled
def _usable(blocks: Narrow, tau: float) -> bool:
    """Whether a baseline has enough events, and not too many."""
    events = 0
    for block in range(BASELINE):
        for b in range(blocks.shape[1]):
            events += blocks[block, b]
    return BASELINE_EVENTS[0] <= events <= BASELINE_EVENTS[1] and events >= INDEPENDENT_EVENTS * tau


@compiled
def _recent(
    blocks: Narrow, ratios: Floats, z: Floats, moves: Floats, speeds: tuple[float, float, float], means: Floats
) -> None:
    """Fills ``means`` with log N_k of the explanation *recent*."""
    count, bins = len(means), blocks.shape[1]
    tolerated, location, other = speeds
    pool, total, mean_z, square_z = np.zeros(bins), 0.0, 0.0, 0.0
    for b in range(bins):
        pool[b] = blocks[PRESENT, b]
        for block in range(BASELINE):
            pool[b] += blocks[block, b]
        total += pool[b]
    first, second, both = np.zeros(count), np.zeros(count), np.zeros(count)
    for b in range(bins):
        p = pool[b] / total
        if p > 0.0:
            mean_z, square_z = mean_z + p * z[b], square_z + p * z[b] * z[b]
            for k in range(count):
                ratio = ratios[b, k]
                first[k] += p * ratio
                second[k] += p * ratio * ratio
                both[k] += p * z[b] * ratio
    deviation = math.sqrt(max(square_z - mean_z * mean_z, 1e-9))
    for k in range(count):
        variance = max(second[k] - first[k] * first[k], 0.0)
        if variance <= VOID:
            means[k] = np.inf
            continue
        along = min(abs(both[k] - first[k] * mean_z) / deviation, math.sqrt(variance))
        moved = math.sqrt((location * along) ** 2 + other * other * (variance - along * along))
        means[k] = math.log(first[k] + tolerated * math.sqrt(variance) + moved) + moves[k]


@compiled
def _bet(
    states: tuple[Floats, Floats, Floats, Integers, Integers],
    gains: Floats,
    means: Floats,
    arrived: float,
    weight: float,
    limits: tuple[float, float],
    event: int,
    now_ms: int,
) -> float:
    """Adds one look to the bets against one explanation; the highest climb that ended with it."""
    evidence, climb, peak, since, since_ms = states
    seconds, cap = limits
    ended = 0.0
    for k in range(len(gains)):
        gain = min((gains[k] - arrived * means[k]) * weight, cap)
        if means[k] == np.inf or abs(gain) <= VOID * arrived:
            continue  # not known, or all that came pays the same: time alone must not become an alarm
        evidence[k] = min((evidence[k] + seconds) * math.exp(gain), LARGEST)
        if climb[k] <= 0.0:
            climb[k], since[k], since_ms[k] = 0.0, event, now_ms
        climb[k] += gain
        peak[k] = max(peak[k], climb[k])
        if climb[k] <= 0.0:
            ended, peak[k] = max(ended, peak[k]), 0.0
    return ended

"""The e-detector: the evidence that a model's data has left the reference, under a budget of false alarms.

For every feature, bets (see ``bets``) on the bin of the next event are multiplied up and restarted by the clock:

    R_k <- (R_k + seconds since the last block) * product over the block's events of (L_k(bin) / N_k)^(1 / tau_k)
    M_f = mean_k R_k        A = mean_f M_f        alarm when A >= 1 / a,   blame f when M_f >= F / a

with a the false alarms allowed per second. L_k is a likelihood ratio whose mean is at most 1 under every distribution
within the tolerance of the reference's *sample*.

N_k accounts for the reference being a sample. It is the mean of L_k over the reference's rows and all events so far,
this look's among them, divided by its mean over the reference's rows alone (in first order: 1 + sum of (L_k - mean) /
(rows + events)). Where reference and stream are draws from one distribution, chance decides which of all the values
came in this look. By Hoeffding (1963, doi:10.1080/01621459.1963.10500830, theorem 4) the mean of a product over draws
without replacement is at most that with replacement, N_k^n. So the look's factor has a mean of at most 1 given
everything that was seen, for a reference of any size, and R_k at any fixed time has a mean of at most the time that has
passed. A stable stream thus becomes part of what it is compared with, and a small reference grows.

R_k is a detector that one may stop at any time: Shin, Ramdas and Rinaldo, "E-detectors" (2022), arXiv:2203.03532;
Shiryaev (1963), Roberts (1966). With N_k = 1 the mean time between alarms is at least 1 / a by their theorem, for any
dependence between features and any times of looking; with N_k it is measured (benchmarks/detection).

Assumption: tau covers the serial dependence of the feature (a heuristic). The evidence of one block of ``BLOCK_MS`` or
``BLOCK_EVENTS``, the smaller of the two, is capped at half of what an alarm needs (the smaller of an e-value and a
constant is an e-value), so that one burst cannot raise an alarm.

The only inputs are histograms of what arrived since the last look, so shards add up.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from detectors.columns import Bools, Floats, Integers
from detectors.compiled import compiled
from detectors.evidence.sheets import DEPENDENT_Z, EvidenceSettings, Sheet, Sheets
from detectors.features import Kind
from detectors.reference.reference import FeatureReference

BLOCK_MS = 1_000

BLOCK_EVENTS = 1_000
"""Most events of a block. A stream of more than a thousand events a second, or a file without times, brings as many
events in one second as others in an hour: they count as many blocks and not as one burst."""

LONG_BLOCKS = 1.5
"""A look that spans more than one block may give half as much again, so that a slow stream needs two looks to alarm."""

LONGEST_STEP_SECONDS = 600.0
"""A longer silence counts as this long: the clock may be slowed (R grows less) but never hurried."""

POOLED = 1_000_000
"""Most events that join the reference. By then its shares are known better than the tolerance."""

NORMAL_DENSITY = 0.399
"""The standard normal's density at its median: a share of .01 there is a shift of .025 standard deviations."""

_LN10 = math.log(10)


class EvidenceState(msgspec.Struct, frozen=True):
    """The snapshot of an ``Evidence``: little-endian arrays of float64 and int64."""

    shape: tuple[int, int]
    base: bytes
    block: bytes
    log_r: bytes
    climb: bytes
    since: bytes
    since_ms: bytes
    block_ms: int | None
    block_events: int = 0
    excess: bytes = b""
    pooled: bytes = b""


class Evidence:
    """The running evidence of one unit. ``look`` costs about 50 us for 20 features.

    >>> from detectors.reference.builder import build_reference
    >>> from detectors.evidence.sheets import EvidenceSettings, Sheets
    >>> reference = build_reference("m", "1", {"x": np.random.default_rng(1).normal(size=20_000)})
    >>> sheets = Sheets(reference.features, EvidenceSettings(false_alarms_per_month=1.0, tolerance=0.02, band_z=4.5))
    >>> e = Evidence(sheets)
    >>> shifted = np.bincount(np.repeat([60, 90, 120], 20), minlength=sheets.layout.total)
    >>> for look in range(1, 5):
    ...     e.look(sheets.base, sheets.base.table(shifted, np.array([[60, 0, 0]])), look * 60_000, look * 60, 60)
    >>> bool(e.model_log10 > e.threshold_log10), e.beginning(0).event
    (True, 0)
    """

    __slots__ = (
        "_base", "_block", "_block_events", "_block_ms", "_cap", "_climb", "_excess", "_held", "_log_r", "_pooled",
        "_settings", "_since", "_since_ms", "_used", "beside", "bets_of", "features", "share",
    )  # fmt: skip

    def __init__(self, sheets: Sheets) -> None:
        sheet = sheets.base
        self._settings = sheets.settings
        self.features = len(sheets.layout.names)
        self.bets_of = sheet.bets_of
        self.share = 1.0  # this unit's share of the model's budget, which segments and versions divide
        self.beside = 0  # features judged elsewhere under the same budget; A is a mean over these too
        self._used = sheet.used
        self._base: Floats = np.full(sheet.used.shape, -np.inf)  # log R at the block's begin, its seconds included
        self._block: Floats = np.zeros(sheet.used.shape)  # log evidence of the present block
        self._log_r: Floats = np.full(sheet.used.shape, -np.inf)
        self._climb: Floats = np.zeros(sheet.used.shape)  # CUSUM of each bet, for dating the change
        self._excess: Floats = np.zeros(sheet.used.shape)  # ratio minus its mean, summed over the pooled events
        self._pooled: Floats = np.zeros(len(sheet.used))  # pooled events of each component
        self._held = np.zeros(len(sheet.used), bool)  # components that pool no more: their feature has changed
        self._since: Integers = np.zeros(sheet.used.shape, np.int64)
        self._since_ms: Integers = np.zeros(sheet.used.shape, np.int64)
        self._block_ms: int | None = None
        self._block_events = 0
        self._cap = (math.log(self._settings.threshold_seconds) + math.log(max(int(sheet.used.sum()), 1))) / 2

    def look(self, sheet: Sheet, table: Floats, now_ms: int, events: int, arrived: int) -> None:
        """Adds the counts (D, B) of one look at event time ``now_ms``; ``arrived`` of the unit's ``events`` are new."""
        step_ms = BLOCK_MS if self._block_ms is None else now_ms - self._block_ms
        begins = self._block_ms is None or step_ms >= BLOCK_MS or self._block_events >= BLOCK_EVENTS
        cap = self._cap
        if begins:
            self._block_ms, self._block_events = now_ms, 0
            cap *= LONG_BLOCKS if step_ms >= 2 * BLOCK_MS else 1.0
        self._block_events += arrived
        cap *= max(1.0, self._block_events / BLOCK_EVENTS)
        seconds = min(max(step_ms, 1) / 1000, LONGEST_STEP_SECONDS) if begins else 0.0
        _fold_look_in(
            (sheet.gains, sheet.weights, sheet.least, sheet.rows, self.bets_of),
            table,
            (self._base, self._block, self._log_r, self._climb, self._excess),
            (self._pooled, self._held),
            (self._since, self._since_ms),
            (events - arrived, now_ms),
            seconds,
            cap,
        )

    def divide_budget(self, share: float, beside: int) -> None:
        """Sets the unit's ``share`` of the model's budget, in (0, 1], and ``beside``, from the next look on."""
        self.share, self.beside = share, beside

    def smallest_shift(self, sheet: Sheet, feature: int) -> float:
        """The smallest shift that can be found, in standard deviations of a normal feature. No number of events shows a
        smaller one.

        It is m / 0.4 (the tolerance) + 3 sqrt((tau - 1) / rows) / 0.8 (an unsure tau) + sqrt(2 tau ln(F K / a) / rows).
        In the last term the log likelihood ratio of a reference of this many rows (and the events that joined it)
        against an endless stream, rows shift^2 / (2 tau), reaches what blame needs.
        """
        tau = float(sheet.tau[feature])
        rows = float(sheet.rows[feature] + self._pooled[feature])
        needed = self.blame_log10 * _LN10 + math.log(max(int(self.bets_of[feature]), 1))
        tolerated = self._settings.tolerance / NORMAL_DENSITY
        unsure = DEPENDENT_Z * math.sqrt((tau - 1) / rows) / (2 * NORMAL_DENSITY)
        return tolerated + unsure + math.sqrt(2 * tau * max(needed, 0.0) / rows)

    @property
    def threshold_log10(self) -> float:
        """log10 of 1 / a in seconds."""
        return math.log10(self._settings.threshold_seconds / self.share)

    @property
    def blame_log10(self) -> float:
        """log10 of F / a: a feature above it is blamed."""
        return self.threshold_log10 + math.log10(max(self.features + self.beside, 1))

    @property
    def feature_log10(self) -> Floats:
        """log10 of every feature's evidence M_f, which is in seconds; shape (F,). -inf before the first look."""
        halves = _log_means(self._log_r, self.bets_of).reshape(2, -1)
        return np.asarray((np.logaddexp(halves[0], halves[1]) - math.log(2)) / _LN10)

    def model(self, feature_log10: Floats) -> float:
        """log10 A, computed from the values of ``feature_log10``."""
        if not len(feature_log10):
            return -math.inf
        top = float(feature_log10.max())
        if not math.isfinite(top):
            return -math.inf
        return top + math.log10(float((10 ** (feature_log10 - top)).sum()) / (len(feature_log10) + self.beside))

    @property
    def model_log10(self) -> float:
        """log10 A."""
        return self.model(self.feature_log10)

    def beginning(self, feature: int) -> "Beginning":
        """The estimated beginning of a feature's change.

        The estimate is the last minimum of the best bet's likelihood ratio (Page, 1954); the interval covers all bets
        within a factor of 100 of the best.
        """
        rows = [feature, self.features + feature]
        climb = np.where(self._used[rows], self._climb[rows], -np.inf)
        since, since_ms = self._since[rows], self._since_ms[rows]
        near = since[climb >= climb.max() - math.log(100)]
        best = int(climb.argmax())
        return Beginning(
            int(since.reshape(-1)[best]),
            int(since_ms.reshape(-1)[best]),
            int(near.min()),
            int(near.max()),
            bool(best >= climb.shape[1]),
        )

    def stop_pooling(self, features: Sequence[int]) -> None:
        """Compares these changed features with the reference alone, until ``restart``."""
        for feature in features:
            rows = [feature, self.features + feature]
            self._excess[rows] = self._pooled[rows] = 0.0
            self._held[rows] = True

    def restart(self, features: Sequence[int]) -> None:
        """Resets the evidence of these features, because they are back in the band or already reported."""
        for feature in features:
            rows = [feature, self.features + feature]
            self._base[rows] = self._log_r[rows] = -np.inf
            self._block[rows] = self._climb[rows] = 0.0
            self._excess[rows] = self._pooled[rows] = 0.0
            self._held[rows] = False

    def snapshot(self) -> EvidenceState:
        """The state as plain arrays."""
        return EvidenceState(
            (self._base.shape[0], self._base.shape[1]),
            self._base.tobytes(),
            self._block.tobytes(),
            self._log_r.tobytes(),
            self._climb.tobytes(),
            self._since.tobytes(),
            self._since_ms.tobytes(),
            self._block_ms,
            self._block_events,
            self._excess.tobytes(),
            self._pooled.tobytes(),
        )

    def restore(self, state: EvidenceState) -> bool:
        """Restores a snapshot without ``stop_pooling``; False and unchanged when it is of another family of bets."""
        shape = self._base.shape
        parts = (state.base, state.block, state.log_r, state.climb, state.since, state.since_ms, state.excess)
        fits = all(len(part) == 8 * shape[0] * shape[1] for part in parts) and len(state.pooled) == 8 * shape[0]
        if tuple(state.shape) != shape or not fits:
            return False
        self._base, self._block, self._log_r, self._climb = (np.frombuffer(p).reshape(shape).copy() for p in parts[:4])
        self._since, self._since_ms = (np.frombuffer(p, np.int64).reshape(shape).copy() for p in parts[4:6])
        self._excess = np.frombuffer(state.excess).reshape(shape).copy()
        self._pooled = np.frombuffer(state.pooled).copy()
        self._block_ms, self._block_events = state.block_ms, state.block_events
        return True


class Beginning(msgspec.Struct, frozen=True):
    """An estimated change point in the unit's events, with an interval. ``status``: the change is one of presence."""

    event: int
    at_ms: int
    earliest: int
    latest: int
    status: bool


def compile_loops() -> None:
    """Compiles every loop before the first look needs it. The first time on a machine this takes a second."""
    settings = EvidenceSettings(false_alarms_per_month=1.0, tolerance=0.02, band_z=4.5)
    sheets = Sheets([FeatureReference("-", Kind.NUMERIC, 2, edges=[0.0, 1.0], counts=[0, 2, 0])], settings)
    evidence = Evidence(sheets)
    evidence.look(sheets.base, np.zeros(sheets.base.shares.shape), 0, 1, 1)
    evidence.model(evidence.feature_log10)


@compiled
def _fold_look_in(
    bets: tuple[Floats, Floats, Floats, Floats, Integers],
    table: Floats,
    running: tuple[Floats, Floats, Floats, Floats, Floats],
    pool: tuple[Floats, Bools],
    begun: tuple[Integers, Integers],
    dated: tuple[int, int],
    seconds: float,
    cap: float,
) -> None:
    """Adds one look. ``seconds``: the time to add if a block begins with this look, else 0."""
    gains, weights, least, rows, bets_of = bets
    base, block, log_r, climb, excess = running
    pooled, held = pool
    since, since_ms = begun
    most = weights.shape[1]
    sums = np.empty(2 * most)
    for component in range(len(table)):
        count, arrived = bets_of[component], 0.0
        sums[:] = 0.0
        for bin_ in range(table.shape[1]):
            seen = table[component, bin_]
            if seen != 0.0:
                arrived += seen
                for bet in range(count):
                    sums[bet] += seen * gains[component, bin_, bet]
                    sums[most + bet] += seen * gains[component, bin_, most + bet]
        joins = not held[component] and pooled[component] < POOLED
        if joins:
            pooled[component] += arrived
        known = rows[component] + pooled[component]
        for bet in range(count):
            at = component, bet
            if weights[at] == 0.0:
                continue  # without a bet no time is added: time alone would become an alarm
            if joins:
                excess[at] += sums[most + bet]
            gain = sums[bet]
            if arrived > 0.0:
                gain -= math.log(max(1.0 + excess[at] / known, least[at])) * weights[at] * arrived
            if seconds > 0.0:
                base[at] = _log_sum(log_r[at], math.log(seconds))
                block[at] = 0.0
            block[at] += gain
            log_r[at] = base[at] + min(block[at], cap)
            if climb[at] <= 0.0:
                climb[at], since[at], since_ms[at] = 0.0, dated[0], dated[1]
            climb[at] += min(gain, cap)


@compiled
def _log_sum(one: float, other: float) -> float:
    """log(exp(one) + exp(other)); ``other`` is finite."""
    high = max(one, other)
    return high + math.log1p(math.exp(min(one, other) - high))


@compiled
def _log_means(logs: Floats, counts: Integers) -> Floats:
    """The log of the mean of exp of the first ``counts`` entries of each row."""
    means = np.empty(len(logs))
    for row in range(len(logs)):
        top, total = -np.inf, 0.0
        for at in range(counts[row]):
            top = max(top, logs[row, at])
        for at in range(counts[row]):
            total += math.exp(logs[row, at] - top) if top > -np.inf else 0.0
        means[row] = top + math.log(total / counts[row]) if total > 0.0 else -np.inf
    return means

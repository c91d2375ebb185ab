"""The e-detector: how much evidence there is that a model's data has left the reference, with a budget of false alarms.

For every feature, bets (see ``bets``) on the bin of the next event are multiplied up and restarted by the clock:

    R_k <- (R_k + seconds since the last look) * product over events of (L_k(bin) / N_k)^(1 / tau)
    M_f = mean_k R_k        A = mean_f M_f        alarm when A >= 1 / a,   blame f when M_f >= F / a

with a the false alarms allowed per second. R_k minus the time that has passed is a supermartingale under every
distribution of the band, whatever the dependence between features and whenever one looks; so the mean time between
false alarms is at least 1 / a. Source: Shin, Ramdas and Rinaldo, "E-detectors" (2022), arXiv:2203.03532;
Shiryaev (1963), Roberts (1966). Assumption: tau covers the serial dependence of the feature (a heuristic); the
evidence of one look is capped at half of what an alarm needs, so that one burst cannot page.

Input are only histograms of what arrived since the last look, so shards add up.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from detectors import bets, transform
from detectors.columns import Floats, Integers
from detectors.features import Kind
from detectors.references import FeatureReference

MONTH_SECONDS = 365.2425 / 12 * 86_400


class EvidenceSettings(msgspec.Struct, frozen=True):
    """``tolerance`` m: .02 is a shift of .05 sigma and does not matter; ``band_z``: how sure to be of a reference."""

    false_alarms_per_month: float = 1.0
    tolerance: float = 0.02
    band_z: float = 4.5
    share_tolerance: float = 0.002  # a share of missing or unseen values too small to matter

    @property
    def threshold_seconds(self) -> float:
        """1 / a in seconds."""
        return MONTH_SECONDS / self.false_alarms_per_month


class Component(msgspec.Struct, frozen=True):
    """What is bet on for one feature: the bins of its present values, or which values are present at all."""

    feature: int
    shares: list[float]
    ordered: bool


class Sheet:
    """The bets of all features of a reference, padded side by side. Built once per reference; D = 2 F components.

    ``log_bets``: (D, K, B), 0 where padded. ``counts_of``: maps a feature's cells to its bins.
    """

    __slots__ = ("bands", "bets_of", "bins", "log_bets", "maps", "names", "references", "season", "tau", "used")

    def __init__(self, features: Sequence[FeatureReference], settings: EvidenceSettings) -> None:
        self.references = tuple(features)
        self.names = tuple(f.feature for f in features)
        self.maps = [transform.coarse_bins(f) for f in features]
        self.tau = np.array([f.tau for f in features] * 2)
        made = [_value_bets(f, m, settings) for f, m in zip(features, self.maps, strict=True)]
        made += [_status_bets(f, settings) for f in features]
        self.bets_of = np.array([len(logs) for logs, _, _ in made])
        self.bins = [shares for _, shares, _ in made]
        self.bands = [eps for _, _, eps in made]
        most, widest = max(self.bets_of, default=1), max((len(s) for s in self.bins), default=3)
        self.log_bets = np.zeros((len(made), most, widest))
        self.used = np.zeros((len(made), most), bool)
        for d, (logs, _, _) in enumerate(made):
            self.log_bets[d, : logs.shape[0], : logs.shape[1]] = logs
            self.used[d, : len(logs)] = True

    def histogram(self, feature: int, cells: Integers) -> Integers:
        """A feature's cell counts in its evidence bins."""
        return np.bincount(self.maps[feature], weights=cells, minlength=len(self.bins[feature])).astype(np.int64)

    def table(self, histograms: Sequence[Integers], statuses: Sequence[tuple[int, int, int]]) -> Floats:
        """Counts of all components, shape (D, B), from bins and (present, missing, invalid) per feature."""
        table = np.zeros((len(self.bins), self.log_bets.shape[2]))
        for f, counts in enumerate(histograms):
            table[f, : len(counts)] = counts
            table[len(self.names) + f, :3] = statuses[f]
        return table


def _value_bets(f: FeatureReference, cells_to_bins: Integers, s: EvidenceSettings) -> tuple[Floats, Floats, Floats]:
    counts = f.counts if f.kind is Kind.NUMERIC else [*f.category_counts, f.other, 0]
    bins = np.bincount(cells_to_bins, weights=np.asarray(counts or [0] * len(cells_to_bins), np.float64))
    total = bins.sum()
    if not total or f.identifier:
        return np.zeros((1, len(bins))), np.full(len(bins), 1 / len(bins)), np.zeros(len(bins))
    rows = total / f.tau
    p = (bins + 0.5) / (total + 0.5 * len(bins))
    if f.kind is Kind.NUMERIC:
        eps = bets.band(np.cumsum(bins)[:-1] / total, rows, s.tolerance, s.band_z) + f.rank_error
        ratios = bets.ordered(p)
        return np.log(ratios / bets.ordered_price(ratios, eps)[:, None]), p, eps
    eps = np.maximum(bets.band(bins / total, rows, s.tolerance, s.band_z), s.share_tolerance)
    favourites = np.argsort(-bins[:-2], kind="stable")[: bets.FAVOURITES].tolist()
    ratios = bets.unordered(p, [*favourites, len(p) - 2, len(p) - 1])
    return np.log(ratios / bets.unordered_price(ratios, eps)[:, None]), p, eps


def _status_bets(f: FeatureReference, s: EvidenceSettings) -> tuple[Floats, Floats, Floats]:
    bins = np.array([f.present, f.missing, f.invalid], np.float64)
    total = max(bins.sum(), 1.0)
    p = (bins + 0.5) / (total + 1.5)
    eps = np.maximum(bets.band(bins / total, total / f.tau, s.tolerance, s.band_z), s.share_tolerance)
    ratios = bets.unordered(p, [0, 1, 2])
    return np.log(ratios / bets.unordered_price(ratios, eps)[:, None]), p, eps


class EvidenceState(msgspec.Struct, frozen=True):
    """Plain numbers of an ``Evidence``: little-endian float64 arrays."""

    shape: tuple[int, int]
    log_r: bytes
    climb: bytes
    since: bytes


class Evidence:
    """The running evidence of one unit. ``look`` costs about 60 us for 20 features.

    >>> from detectors.reference_builder import build_reference
    >>> reference = build_reference("m", "1", {"x": np.random.default_rng(1).normal(size=20_000)})
    >>> e = Evidence(Sheet(reference.features, EvidenceSettings()), EvidenceSettings())
    >>> shifted = np.bincount(np.repeat([9, 12, 14], 20), minlength=16)
    >>> for look in range(4):
    ...     e.look(e.sheet.table([shifted], [(60, 0, 0)]), seconds=60, position=(look + 1) * 60)
    >>> bool(e.model_log10 > e.threshold_log10), e.sheet.names[int(e.feature_log10.argmax())]
    (True, 'x')
    """

    __slots__ = ("_cap", "_climb", "_log_r", "_settings", "_since", "sheet")

    def __init__(self, sheet: Sheet, settings: EvidenceSettings) -> None:
        self.sheet = sheet
        self._settings = settings
        self._log_r: Floats = np.full(sheet.used.shape, -np.inf)
        self._climb: Floats = np.zeros(
            sheet.used.shape
        )  # CUSUM of each bet: the likelihood ratio of "changed at since"
        self._since: Integers = np.zeros(sheet.used.shape, np.int64)
        needed = math.log(settings.threshold_seconds) + math.log(max(sheet.used.sum(), 1))
        self._cap = needed / 2

    def look(self, table: Floats, seconds: float, position: int) -> None:
        """Takes the counts of one look, shape (D, B), after ``seconds`` of the judge's clock; ``position`` counts the
        unit's events and dates the beginning of a change."""
        gain = np.matmul(self.sheet.log_bets, table[:, :, None])[:, :, 0] / self.sheet.tau[:, None]
        gain = np.minimum(gain, self._cap)
        start = math.log(max(seconds, 1e-3))
        self._log_r = np.where(self.sheet.used, np.logaddexp(self._log_r, start) + gain, -np.inf)
        arrived = int(table[len(self.sheet.names) :].sum(axis=1).max(initial=0.0))
        fresh = self._climb <= 0.0
        self._since[fresh] = position - arrived
        self._climb = np.where(fresh, gain, self._climb + gain)

    @property
    def threshold_log10(self) -> float:
        """log10 of 1 / a in seconds; that of blaming a feature is log10 F more."""
        return math.log10(self._settings.threshold_seconds)

    @property
    def feature_log10(self) -> Floats:
        """log10 M_f, shape (F,); M_f in seconds, -inf before the first look."""
        total = np.logaddexp.reduce(self._log_r, axis=1) - np.log(self.sheet.bets_of)
        halves = total.reshape(2, -1)
        result: Floats = (np.logaddexp(halves[0], halves[1]) - math.log(2)) / math.log(10)
        return result

    @property
    def model_log10(self) -> float:
        """log10 A."""
        features = self.feature_log10 * math.log(10)
        if not len(features):
            return -math.inf
        return float((np.logaddexp.reduce(features) - math.log(len(features))) / math.log(10))

    @property
    def blame_log10(self) -> float:
        """log10 of F / a: a feature above it is localised."""
        return self.threshold_log10 + math.log10(max(len(self.sheet.names), 1))

    def beginning(self, feature: int) -> tuple[int, int, int]:
        """Since which event the feature has changed: estimate, and the earliest and latest of the bets within a factor
        of 100 of the best. The estimate is where the best bet's likelihood ratio last left its minimum (Page, 1954)."""
        rows = [feature, len(self.sheet.names) + feature]
        climb, since, used = self._climb[rows], self._since[rows], self.sheet.used[rows]
        climb = np.where(used, climb, -np.inf)
        near = since[climb >= climb.max() - math.log(100)]
        return int(since.reshape(-1)[climb.argmax()]), int(near.min()), int(near.max())

    def restart(self, features: Sequence[int]) -> None:
        """Evidence of these features begins again at nothing: they are back, or were told to be well."""
        for feature in features:
            rows = [feature, len(self.sheet.names) + feature]
            self._log_r[rows] = -np.inf
            self._climb[rows] = 0.0

    def snapshot(self) -> EvidenceState:
        """Plain state."""
        return EvidenceState(
            (self._log_r.shape[0], self._log_r.shape[1]),
            self._log_r.tobytes(),
            self._climb.tobytes(),
            self._since.tobytes(),
        )

    def restore(self, state: EvidenceState) -> bool:
        """Takes ``snapshot`` back; False when it is of another family of bets, which starts the evidence anew."""
        if tuple(state.shape) != self._log_r.shape:
            return False
        self._log_r = np.frombuffer(state.log_r).reshape(state.shape).copy()
        self._climb = np.frombuffer(state.climb).reshape(state.shape).copy()
        self._since = np.frombuffer(state.since, np.int64).reshape(state.shape).copy()
        return True

"""The bets on all features of a reference, padded side by side so that one look is a few array operations.

Per feature two components: which *value* came (evidence bins of the present values) and what *status* it had (present,
missing, invalid). The first F components are values, the last F statuses.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from detectors import bets, transform, unlisted
from detectors.columns import Floats, Integers
from detectors.features import Kind
from detectors.references import FeatureReference, Stratum

MONTH_SECONDS = 365.2425 / 12 * 86_400

OWN_BINS = 30
"""Categories with a bin of their own; of more of them OWN_OF_MANY have, and the rarer share RARE_BINS by turns, so that
one of them that becomes frequent is seen. A feature stays within 32 bins."""

OWN_OF_MANY, RARE_BINS = 23, 8

DAYS_Z = 3.0
"""How many between-day standard deviations of a stratum its band allows for."""


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


class Layout:
    """Where the cells of each feature of a reference lie in one flat row. ``bins``: their evidence bins."""

    __slots__ = ("bins", "features", "index", "lengths", "names", "offsets", "total")

    def __init__(self, features: Sequence[FeatureReference]) -> None:
        self.features = tuple(features)
        self.names = tuple(f.feature for f in features)
        self.index = {name: i for i, name in enumerate(self.names)}
        self.bins = [evidence_bins(f) for f in features]
        self.lengths = [len(b) for b in self.bins]
        self.offsets = np.concatenate(([0], np.cumsum(self.lengths))).astype(np.int64)
        self.total = int(self.offsets[-1])


def evidence_bins(feature: FeatureReference) -> Integers:
    """The bin of every cell; of a categorical feature the frequent categories come first, then the rare ones, last what
    is not listed: which of those are new nobody can tell."""
    if feature.kind is Kind.NUMERIC:
        return transform.coarse_bins(feature) if feature.edges else np.zeros(1, np.int64)
    own, places = own_bins(feature), np.arange(len(feature.categories) + 2)
    bins = np.where(places < own, places, own + (places - own) % RARE_BINS)
    bins[-2:] = own + (RARE_BINS if len(feature.categories) > own else 0)
    return bins.astype(np.int64)


def own_bins(feature: FeatureReference) -> int:
    """How many categories have a bin of their own."""
    return len(feature.categories) if len(feature.categories) <= OWN_BINS else OWN_OF_MANY


def cell_counts(feature: FeatureReference, stratum: Stratum | None = None) -> Floats:
    """The reference's count in each cell."""
    if stratum is not None:
        return np.asarray(stratum.counts, np.float64)
    if feature.kind is not Kind.NUMERIC:
        return np.asarray([*feature.category_counts, feature.other, 0], np.float64)
    return np.asarray(feature.counts if feature.edges else [0], np.float64)


def bin_counts(feature: FeatureReference, bins: Integers, stratum: Stratum | None = None) -> Floats:
    """The reference's counts in the evidence ``bins``; as many outside a list of categories as new rows will have.

    They are taken from the rare categories first, which is where they were counted.
    """
    counts: Floats = np.bincount(bins, weights=cell_counts(feature, stratum)).astype(np.float64)
    if feature.kind is Kind.NUMERIC:
        return counts
    own, rare = counts[: own_bins(feature)], counts[own_bins(feature) : -1]
    new = feature.unlisted * counts.sum() - counts[-1]
    from_rare = min(new, rare.sum())
    for part, taken in ((rare, from_rare), (own, new - from_rare)):
        part *= 1 - taken / part.sum() if part.sum() else 1.0
    counts[-1] += new
    return counts


class Sheet:
    """The bets of a layout in one stratum of time. D = 2 F components, K bets at most, B bins at most.

    ``log_bets``: (D, K, B), 0 where padded; already divided by the component's tau, so that log evidence is one matrix
    product. ``shares`` and ``bands``: (D, B) reference shares and tolerated differences (of cumulative shares where
    ordered). Cost to build: about 1 ms a feature.
    """

    __slots__ = (
        "bands",
        "bets_of",
        "bins_of",
        "flat",
        "layout",
        "log_bets",
        "ordered",
        "shares",
        "tau",
        "used",
    )

    def __init__(
        self, layout: Layout, settings: EvidenceSettings, strata: Sequence[Stratum | None] | None = None
    ) -> None:
        self.layout = layout
        features = layout.features
        chosen = strata or [None] * len(features)
        self.tau = np.array([f.tau for f in features] * 2)
        self.ordered = np.array([f.kind is Kind.NUMERIC for f in features] + [False] * len(features), bool)
        made = [_value_bets(f, b, s, settings) for f, b, s in zip(features, layout.bins, chosen, strict=True)]
        made += [_status_bets(f, settings) for f in features]
        self.bets_of = np.array([len(logs) for logs, _, _ in made], np.int64)
        self.bins_of = [len(shares) for _, shares, _ in made]
        most, widest = int(self.bets_of.max(initial=1)), max(self.bins_of, default=3)
        self.log_bets = np.zeros((len(made), most, widest))
        self.shares, self.bands = np.zeros((2, len(made), widest))
        self.used = np.zeros((len(made), most), bool)
        for d, (logs, shares, band) in enumerate(made):
            self.log_bets[d, : logs.shape[0], : logs.shape[1]] = logs / self.tau[d]
            self.shares[d, : len(shares)] = shares
            self.bands[d, : len(band)] = band
            self.used[d, : len(logs)] = True
        self.flat = np.concatenate(
            [d * widest + b for d, b in enumerate(layout.bins)] or [np.zeros(0, np.int64)]
        ).astype(np.int64)

    def table(self, cells: Integers, statuses: Integers) -> Floats:
        """Counts of all components, shape (D, B), from flat ``cells`` and ``statuses`` (F, 3)."""
        shape = self.log_bets.shape[0], self.log_bets.shape[2]
        table = np.zeros(shape)
        table.reshape(-1)[:] = np.bincount(self.flat, weights=cells, minlength=shape[0] * shape[1])
        table[len(self.layout.names) :, :3] = statuses
        return table


def _value_bets(
    f: FeatureReference, cells_to_bins: Integers, stratum: Stratum | None, s: EvidenceSettings
) -> tuple[Floats, Floats, Floats]:
    bins = bin_counts(f, cells_to_bins, stratum)
    total = bins.sum()
    if not total or f.identifier:
        return np.zeros((1, len(bins))), np.full(len(bins), 1 / len(bins)), np.zeros(len(bins))
    rows = total / f.tau
    p = (bins + 0.5) / (total + 0.5 * len(bins))
    if f.kind is Kind.NUMERIC:
        eps = bets.band(np.cumsum(bins)[:-1] / total, rows, s.tolerance, s.band_z) + f.rank_error
        eps += _between_days(stratum, cells_to_bins, ordered=True)
        return np.log(bets.ordered(p, eps)), p, eps
    eps = np.maximum(bets.band(bins / total, rows, s.tolerance, s.band_z), s.share_tolerance)
    eps += _between_days(stratum, cells_to_bins, ordered=False)
    own, rare = own_bins(f), len(bins) - 1 - own_bins(f)
    if rare:  # the frequent ones were chosen by these rows, and will be less frequent in others
        chosen = bins[:own].sum() / total - 1 + unlisted.left_out(f.category_counts, own)
        eps[own:-1] += 2 * max(chosen, 0.0) / rare
    eps[-1] += f.unlisted_error
    favourites = np.argsort(-bins[:own], kind="stable")[: bets.FAVOURITES // 2 if rare else bets.FAVOURITES].tolist()
    return np.log(bets.unordered(p, eps, [*favourites, *range(own, len(p))])), p, eps


def _between_days(stratum: Stratum | None, cells_to_bins: Integers, *, ordered: bool) -> Floats | float:
    """What days differ by, at the bins' borders (ordered) or per bin; ``spread`` is of cumulative shares of cells."""
    if stratum is None or not stratum.spread:
        return 0.0
    last = np.flatnonzero(np.diff(cells_to_bins, append=cells_to_bins[-1] + 1))
    at_border = np.asarray(stratum.spread)[last] * DAYS_Z * (1 + 1 / max(stratum.days, 1) ** 0.5)
    if ordered:
        return np.asarray(at_border[:-1])
    return np.asarray(at_border + np.concatenate(([0.0], at_border[:-1])))


def _status_bets(f: FeatureReference, s: EvidenceSettings) -> tuple[Floats, Floats, Floats]:
    bins: Floats = np.array([f.present, f.missing, f.invalid], np.float64)
    total = max(bins.sum(), 1.0)
    p = (bins + 0.5) / (total + 1.5)
    eps = np.maximum(bets.band(bins / total, total / f.tau, s.tolerance, s.band_z), s.share_tolerance)
    return np.log(bets.unordered(p, eps, [0, 1, 2])), p, eps


class Sheets:
    """The sheets of a reference: one, or one for each hour and weekday that its strata tell apart.

    Of those for moments at most ``kept`` are: built in milliseconds a feature, about 8 KB a feature each.
    """

    __slots__ = ("_kept", "_most", "base", "layout", "seasonal", "settings")

    def __init__(self, features: Sequence[FeatureReference], settings: EvidenceSettings, kept: int = 2) -> None:
        self.layout = Layout(features)
        self.settings = settings
        self.base = Sheet(self.layout, settings)
        self.seasonal = any(f.strata for f in features)
        self._most = kept
        self._kept: dict[tuple[int, ...], Sheet] = {}

    def at(self, moment_ms: int) -> Sheet:
        """The sheet in force at a moment of event time, UTC."""
        if not self.seasonal:
            return self.base
        day, rest = divmod(moment_ms, 86_400_000)
        hour, weekday = rest // 3_600_000, (day + 3) % 7
        which = tuple(_stratum_at(f, hour, weekday) for f in self.layout.features)
        if which not in self._kept:
            strata = [f.strata[i] if i >= 0 else None for f, i in zip(self.layout.features, which, strict=True)]
            while len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            self._kept[which] = Sheet(self.layout, self.settings, strata)
        return self._kept[which]


def _stratum_at(feature: FeatureReference, hour: int, weekday: int) -> int:
    for i, stratum in enumerate(feature.strata):
        if stratum.hour_from <= hour < stratum.hour_to and (not stratum.weekdays or weekday in stratum.weekdays):
            return i
    return -1

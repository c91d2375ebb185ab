"""The bets on all features of a reference, padded to equal shapes so that one look is a few array operations.

Each feature has two components: the *value* (evidence bins of the present values) and the *status* (present, missing,
invalid). The first F components are values, the last F statuses.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec
import numpy as np

from detectors.columns import Floats, Integers
from detectors.evidence import bets
from detectors.features import Kind
from detectors.reference import transform, unlisted
from detectors.reference.reference import FeatureReference, Stratum

MONTH_SECONDS = 365.2425 / 12 * 86_400

OWN_BINS = 30
"""A feature with at most this many categories has a bin for each of them.

With more, OWN_OF_MANY have their own bin and the rarer ones share RARE_BINS in turn, so that a rare category that
becomes frequent is seen. A feature has at most 32 bins."""

OWN_OF_MANY, RARE_BINS = 23, 8

DAYS_Z = 4.0
"""Standard deviations between days that the band of the early bets allows for."""

DEPENDENT_Z = 3.0
"""Standard errors that dependence adds to those of independent rows. They are tolerated, since tau is an estimate."""

BORROWED = 8.0
"""A stratum's shares are smoothed with the whole reference's shares, worth this many rows."""

VOID = 1e-9
"""A bet is not used when all its ratios are this near to 1."""

LEAST_MEAN = 0.05
"""The least value for the mean of a ratio over the events so far."""


class EvidenceSettings(msgspec.Struct, frozen=True):
    """The settings of the evidence.

    ``tolerance`` m: .02 is a shift of .05 sigma, which does not matter. ``band_z``: standard errors of the reference
    within which the present counts as back, and by which a lucky reference may favour a bet. ``event_times``: which
    events have times, so that a season can be learned from them: "all", "slots" (those that come in slots of event
    time) or "none" (none have, or hours are alike).
    """

    false_alarms_per_month: float
    tolerance: float
    band_z: float
    share_tolerance: float = 0.002  # a share of missing or unseen values too small to matter
    event_times: str = "none"

    @property
    def threshold_seconds(self) -> float:
        """1 / a in seconds."""
        return MONTH_SECONDS / self.false_alarms_per_month


HOUR_MS = 3_600_000

LONGEST_HOURS = 168
"""A look over more than a week is judged by its last week."""


class Usual(NamedTuple):
    """What is usual in some part of the day and week: counts per cell, spread between days at each cell, number of
    days.
    """

    counts: Floats
    spread: Floats
    days: int


class Layout:
    """The places of all cells of a reference in one flat row, feature by feature. ``bins``: the evidence bin of each
    cell.
    """

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
    """The evidence bin of every cell.

    For a categorical feature the frequent categories come first, then the rare ones, last all that are not listed:
    which of those are new cannot be known.
    """
    if feature.kind is Kind.NUMERIC:
        return transform.coarse_bins(feature) if feature.edges else np.zeros(1, np.int64)
    own, places = own_bins(feature), np.arange(len(feature.categories) + 2)
    bins = np.where(places < own, places, own + (places - own) % RARE_BINS)
    bins[-2:] = own + (RARE_BINS if len(feature.categories) > own else 0)
    return bins.astype(np.int64)


def own_bins(feature: FeatureReference) -> int:
    """The number of categories that have a bin of their own."""
    return len(feature.categories) if len(feature.categories) <= OWN_BINS else OWN_OF_MANY


def cell_counts(feature: FeatureReference) -> Floats:
    """The reference's count in each cell."""
    if feature.kind is not Kind.NUMERIC:
        return np.asarray([*feature.category_counts, feature.other, 0], np.float64)
    return np.asarray(feature.counts if feature.edges else [0], np.float64)


def bin_counts(feature: FeatureReference, bins: Integers, usual: Usual | None = None) -> Floats:
    """The reference's counts in the evidence ``bins``, over all rows or for a part of the day.

    As many counts are moved outside the list of categories as new rows will have there. They are taken from the rare
    categories first, where they were counted.
    """
    counts: Floats = np.bincount(bins, weights=cell_counts(feature) if usual is None else usual.counts).astype(
        np.float64
    )
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
    """The bets of a layout, over all times or for a part of the day. D = 2 F components, at most K bets, at most B
    bins.

    ``gains``: (D, B, 2 K), 0 where padded. First the log ratios, divided by their bet's tau, then the ratios minus
    their mean under the reference, so that both terms of a bin are adjacent. ``weights``: (D, K), 1 / tau, or 0 for a
    bet that the tolerance leaves empty. ``tau`` and ``local``: (D,), dependence factors, of all movements and without
    the season (0: not known). ``rows``: (D,), rows of the reference. ``least``: (D, K), the least value for
    the mean of a ratio. ``shares`` and ``bands``: (D, B), reference shares and the differences that count as back (of
    cumulative shares where ordered). Cost to build: about 1 ms a feature.
    """

    __slots__ = (
        "bands", "bets_of", "bins_of", "flat", "gains", "layout", "least", "local", "ordered", "rows", "shares", "tau",
        "used", "weights",
    )  # fmt: skip

    def __init__(self, layout: Layout, settings: EvidenceSettings, usual: Sequence[Usual | None] | None = None) -> None:
        self.layout = layout
        features = layout.features
        chosen = usual or [None] * len(features)
        self.tau = np.array([f.tau for f in features] + [_presence_tau(f) for f in features])
        local = [f.tau_local for f in features]
        self.local = np.array(local + [min(one, _presence_tau(f)) for one, f in zip(local, features, strict=True)])
        self.rows = np.array([max(f.present, 1) for f in features] + [max(f.rows, 1) for f in features], np.float64)
        self.ordered = np.array([f.kind is Kind.NUMERIC for f in features] + [False] * len(features), bool)
        made = [_value_bets(f, b, s, settings) for f, b, s in zip(features, layout.bins, chosen, strict=True)]
        made += [_status_bets((f.present, f.missing, f.invalid), _presence_tau(f), settings) for f in features]
        self.bets_of = np.array([len(bets.weights) for bets in made], np.int64)
        self.bins_of = [len(bets.shares) for bets in made]
        most, widest = int(self.bets_of.max(initial=1)), max(self.bins_of, default=3)
        self.gains = np.zeros((len(made), widest, 2 * most))
        self.shares, self.bands = np.zeros((2, len(made), widest))
        self.weights = np.zeros((len(made), most))
        self.least = np.ones((len(made), most))
        self.used = np.zeros((len(made), most), bool)
        for d, own in enumerate(made):
            count, bins = len(own.weights), len(own.shares)
            self.gains[d, :bins, :count], self.gains[d, :bins, most : most + count] = own.logs, own.excess
            self.least[d, :count] = own.least
            self.weights[d, :count] = own.weights
            self.shares[d, :bins] = own.shares
            self.bands[d, : len(own.band)] = own.band
            self.used[d, :count] = True
        self.flat = np.concatenate(
            [d * widest + b for d, b in enumerate(layout.bins)] or [np.zeros(0, np.int64)]
        ).astype(np.int64)

    def table(self, cells: Integers, statuses: Integers) -> Floats:
        """The counts of all components, shape (D, B), from flat ``cells`` and ``statuses`` (F, 3)."""
        shape = self.shares.shape
        table = np.zeros(shape)
        table.reshape(-1)[:] = np.bincount(self.flat, weights=cells, minlength=shape[0] * shape[1])
        table[len(self.layout.names) :, :3] = statuses
        return table


class _Bets(NamedTuple):
    """The bets of one component, see ``Sheet``. ``logs`` and ``excess`` (B, K) are the two halves of ``gains``.

    Arrays that several features share are read-only.
    """

    logs: Floats
    excess: Floats
    least: Floats
    weights: Floats
    shares: Floats
    band: Floats


def _weighed(ratios: Floats, tau: Floats, shares: Floats, rows: float, band: Floats, s: EvidenceSettings) -> _Bets:
    """The bets of e-values ``ratios`` (K, B), each at its ``tau`` (K,); ``shares`` (B,) are of ``rows`` rows."""
    weights = 1 / tau
    mean = ratios @ shares
    variance = np.maximum(ratios**2 @ shares - mean**2, 0.0)
    least = np.maximum(1 - s.band_z * np.sqrt(variance / weights / rows), LEAST_MEAN)
    used = weights * (np.abs(ratios - 1.0) > VOID).any(axis=1)
    return _Bets(np.log(ratios.T) * weights, ratios.T - mean, least, used, shares, band)


def _value_bets(f: FeatureReference, cells_to_bins: Integers, usual: Usual | None, s: EvidenceSettings) -> _Bets:
    """The bets on a feature's values. One family is for all movements, at their tau. If dependence within a day (or
    part) is much less, a second family has the same bets at that smaller tau, against a band that includes the
    differences between days (or parts). It finds large changes early.
    """
    whole = bin_counts(f, cells_to_bins)
    bins = whole if usual is None else bin_counts(f, cells_to_bins, usual)
    total = bins.sum()
    rows = max(f.present, 1)
    if not total or f.identifier:
        even = np.full(len(bins), 1 / len(bins))
        return _weighed(np.ones((1, len(bins))), np.ones(1), even, rows, np.zeros(len(bins)), s)
    p = (whole + 0.5) / (whole.sum() + 0.5 * len(whole))
    if usual is not None:
        p = (bins + BORROWED * p) / (total + BORROWED)
    ordered = f.kind is Kind.NUMERIC
    share = np.clip(np.cumsum(bins)[:-1] / total if ordered else bins / total, 0.0, 1.0)
    between = _between(f, usual, cells_to_bins)
    eps = np.maximum(bets.tolerated(share, s.tolerance), s.share_tolerance) + f.rank_error
    targets: tuple[int, ...] | None = None
    if not ordered:
        eps, targets = eps + _unlisted(f, bins), _targets(f, bins)
    families = [(f.tau, eps + _unsure(share, f.tau, total))]
    if f.tau_within:
        families.append((f.tau_within, eps + _unsure(share, f.tau_within, total) + between))
    back = np.maximum(bets.band(share, total / f.tau, s.tolerance, s.band_z), s.share_tolerance) + f.rank_error
    if not ordered:
        back = back + _unlisted(f, bins)
    named = tuple((tau, e.tobytes()) for tau, e in families)
    return _of_families(p.tobytes(), named, targets, rows, back.tobytes(), s)


@lru_cache(bets.FAMILIES_KEPT)
def _of_families(
    shares: bytes,
    families: tuple[tuple[float, bytes], ...],
    targets: tuple[int, ...] | None,
    rows: float,
    band: bytes,
    s: EvidenceSettings,
) -> _Bets:
    """The bets of several families, cached by their arguments. ``targets`` None: ordered bins."""
    p, widths = np.frombuffer(shares), [np.frombuffer(eps) for _, eps in families]
    ratios = [bets.ordered(p, eps) if targets is None else bets.unordered(p, eps, targets) for eps in widths]
    tau = np.repeat([tau for tau, _ in families], [len(own) for own in ratios])
    return _weighed(np.concatenate(ratios), tau, p, rows, np.frombuffer(band), s)


def _unlisted(f: FeatureReference, bins: Floats) -> Floats:
    """The tolerance added for a list of categories: the frequent ones were chosen by these rows and will be less
    frequent in others, and the number of unlisted values to expect is not known well.
    """
    eps, own = np.zeros(len(bins)), own_bins(f)
    if rare := len(bins) - 1 - own:
        chosen = bins[:own].sum() / bins.sum() - 1 + unlisted.left_out(f.category_counts, own)
        eps[own:-1] = 2 * max(chosen, 0.0) / rare
    eps[-1] += f.unlisted_error
    return eps


def _targets(f: FeatureReference, bins: Floats) -> tuple[int, ...]:
    """The bins that bets are on. With many categories: fewer of the frequent ones, and all shared bins."""
    own = own_bins(f)
    most = bets.FAVOURITES if own == len(bins) - 1 else bets.FAVOURITES // 2
    return (*np.argsort(-bins[:own], kind="stable")[:most].tolist(), *range(own, len(bins)))


def _unsure(share: Floats, tau: float, rows: float) -> Floats:
    """The tolerance of (cumulative) shares of ``rows`` dependent rows; 0 where rows are independent."""
    return np.asarray(DEPENDENT_Z * np.sqrt(share * (1 - share) * (tau - 1) / rows))


def _between(f: FeatureReference, usual: Usual | None, cells_to_bins: Integers) -> Floats:
    """The differences between days (or parts of the reference): at the bins' borders where ordered, else per bin."""
    at_cells = np.asarray(f.reach) if f.reach else np.zeros(len(cells_to_bins))
    if usual is not None:
        at_cells = np.maximum(at_cells, usual.spread * DAYS_Z * (1 + 1 / max(usual.days, 1) ** 0.5))
    if f.kind is Kind.NUMERIC:
        return np.asarray(at_cells[np.flatnonzero(np.diff(cells_to_bins))])
    of_cells = at_cells + np.concatenate(([0.0], at_cells[:-1]))  # a share is a difference of two cumulative shares
    return np.minimum(np.bincount(cells_to_bins, weights=of_cells), 1.0)


def _presence_tau(f: FeatureReference) -> float:
    return f.tau_presence or f.tau


@lru_cache(bets.FAMILIES_KEPT)
def _status_bets(counts: tuple[int, int, int], tau: float, s: EvidenceSettings) -> _Bets:
    """The bets on a feature's status. ``counts``: rows in which it was present, missing, invalid."""
    bins: Floats = np.array(counts, np.float64)
    total = max(bins.sum(), 1.0)
    p, share = (bins + 0.5) / (total + 1.5), bins / total
    eps = np.maximum(bets.tolerated(share, s.tolerance), s.share_tolerance) + _unsure(share, tau, total)
    ratios = bets.unordered(p, eps, [0, 1, 2])
    back = np.maximum(bets.band(share, total / tau, s.tolerance, s.band_z), s.share_tolerance)
    return _weighed(ratios, np.full(len(ratios), tau), p, max(sum(counts), 1), back, s)


class Sheets:
    """The sheets of a reference: one, or one for each hour and weekday that its strata distinguish, or for several
    hours.

    ``own``: the reference's rows are those of the stream, in its order (see ``Reference.of_stream``). At most ``kept``
    sheets of single times are cached. Each is built in milliseconds a feature and takes about 8 KB a
    feature.
    """

    __slots__ = ("_kept", "_most", "base", "layout", "own", "seasonal", "settings")

    def __init__(
        self, features: Sequence[FeatureReference], settings: EvidenceSettings, kept: int = 2, own: bool = False
    ) -> None:
        self.layout = Layout(features)
        self.own = own
        self.settings = settings
        self.base = Sheet(self.layout, settings)
        self.seasonal = any(f.strata for f in features)
        self._most = kept
        self._kept: dict[tuple[tuple[tuple[int, ...], int], ...], Sheet] = {}

    def at(self, moment_ms: int) -> Sheet:
        """The sheet for a time in event time, UTC."""
        return self.over(moment_ms, moment_ms)

    def over(self, from_ms: int, to_ms: int) -> Sheet:
        """The sheet for events after ``from_ms`` until ``to_ms``: of that hour, or of all hours begun meanwhile,
        equally weighted.
        """
        if not self.seasonal:
            return self.base
        last = to_ms // HOUR_MS
        hours = range(max(min(from_ms // HOUR_MS + 1, last), last - LONGEST_HOURS + 1), last + 1)
        which = Counter(
            tuple(_stratum_at(f, hour % 24, (hour // 24 + 3) % 7) for f in self.layout.features) for hour in hours
        )
        key = tuple(sorted(which.items()))
        if key not in self._kept:
            usual = [
                _usual(f, [(f.strata[at[i]], weight) for at, weight in key if at[i] >= 0])
                for i, f in enumerate(self.layout.features)
            ]
            while len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = Sheet(self.layout, self.settings, usual)
        return self._kept[key]


def _stratum_at(feature: FeatureReference, hour: int, weekday: int) -> int:
    for i, stratum in enumerate(feature.strata):
        if stratum.hour_from <= hour < stratum.hour_to and (not stratum.weekdays or weekday in stratum.weekdays):
            return i
    return -1


def _usual(feature: FeatureReference, strata: Sequence[tuple[Stratum, int]]) -> Usual | None:
    """Several strata combined, each weighted by its number of hours."""
    if not strata:
        return None
    hours = np.array([weight for _, weight in strata], np.float64)
    counts = np.array([stratum.counts for stratum, _ in strata], np.float64)
    totals = np.maximum(counts.sum(axis=1), 1.0)
    shares = (hours / hours.sum()) @ (counts / totals[:, None])
    width = len(evidence_bins(feature))
    spread = np.array([stratum.spread or np.zeros(width) for stratum, _ in strata], np.float64)
    days = min(stratum.days for stratum, _ in strata)
    return Usual(shares * totals.sum(), (hours / hours.sum()) @ spread, days)

"""The last 24 hours of a numeric feature beside the same hours of earlier days: medians by hour, for people."""

import msgspec
import numpy as np

from detectors.columns import Floats
from detectors.evidence.hours import HOUR_MS, LEAST_EVENTS, Hours
from detectors.features import Kind
from detectors.reference.reference import FeatureReference
from detectors.reference.transform import coarse_bins

LEAST_DAYS = 2
"""Earlier days of which the band is drawn."""


class DayBand(msgspec.Struct, frozen=True):
    """Medians by hour, the oldest first, the last one ending at ``end_ms``. ``low`` and ``high``: the smallest and the
    largest median of the same hour on ``days`` earlier days. None where an hour has too few values.
    """

    end_ms: int
    days: int
    present: list[float | None]
    low: list[float | None]
    high: list[float | None]


def day_band(hours: Hours, component: int, feature: FeatureReference) -> DayBand | None:
    """The band of a numeric feature; None for another kind, and before two earlier days are known. Medians are
    interpolated within the evidence bins. Cost: 50 us."""
    if feature.kind is not Kind.NUMERIC or len(feature.edges) < 2 or hours.days < LEAST_DAYS:
        return None
    medians = _medians(hours.past_days(component), _borders(feature))
    earlier = medians[1:]
    days = int((~np.isnan(earlier)).any(axis=1).sum())
    if days < LEAST_DAYS:
        return None
    known = ~np.isnan(earlier).all(axis=0)
    low = np.where(known, np.where(np.isnan(earlier), np.inf, earlier).min(axis=0), np.nan)
    high = np.where(known, np.where(np.isnan(earlier), -np.inf, earlier).max(axis=0), np.nan)
    return DayBand((hours.hour + 1) * HOUR_MS, days, _plain(medians[0]), _plain(low), _plain(high))


def _borders(feature: FeatureReference) -> Floats:
    """The lower border of the first evidence bin and the upper borders of all, (bins + 1,)."""
    bins, edges = coarse_bins(feature), np.asarray(feature.edges)
    upper = np.append(edges, edges[-1])
    last = np.flatnonzero(np.diff(bins, append=bins[-1] + 1))
    return np.concatenate((edges[:1], upper[last]))


def _medians(counts: Floats, borders: Floats) -> Floats:
    """The medians (days, hours) of ``counts`` (days, hours, bins); NaN where an hour has fewer than 30 values."""
    found = np.full(counts.shape[:2], np.nan)
    totals = counts.sum(axis=2)
    for day, hour in zip(*np.nonzero(totals >= LEAST_EVENTS), strict=True):
        upto = np.concatenate(([0.0], np.cumsum(counts[day, hour, : len(borders) - 1]))) / totals[day, hour]
        found[day, hour] = np.interp(0.5, upto, borders)
    return found


def _plain(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.4g}") for value in values.tolist()]

"""Distances between two sets of counts over the same bins: the sizes of a change, never tests.

They agree with Evidently's on equal bins, so that known thresholds keep their meaning. All take counts (or shares) of
shape (b,), reference first, and return 0 when either side is empty. Cost O(b), about 3 us for 60 bins. Each raises
ValueError when the two have different bins.
"""

import math

import numpy as np
import numpy.typing as npt

from detectors.columns import Floats
from detectors.compiled import compiled

Counts = npt.ArrayLike
STD_FLOOR = 0.001
"""The least standard deviation that a Wasserstein distance is divided by, as in Evidently."""

_TOP = float(np.finfo(np.float64).max)


def psi(reference: Counts, present: Counts) -> float:
    """Population stability index, sum of (q - p) ln(q / p); unbounded. An empty bin counts as a share of 0.0001.

    Below .1 it is usually read as no change, above .25 as a large one. Source: Siddiqi (2006), Credit Risk Scorecards.

    >>> round(psi([50, 50], [60, 40]), 6)
    0.040547
    """
    return _psi(*_pair(reference, present))


def jensen_shannon(reference: Counts, present: Counts) -> float:
    """Jensen-Shannon distance: the square root of the divergence in natural logarithms; 0 to sqrt(ln 2) = .833.

    Source: Endres and Schindelin (2003), doi:10.1109/TIT.2003.813506.

    >>> round(jensen_shannon([1, 0], [0, 1]), 6)
    0.832555
    """
    return _jensen_shannon(*_pair(reference, present))


def kolmogorov_smirnov(reference: Counts, present: Counts) -> float:
    """Largest difference of the two cumulative shares at a bin's end; 0 to 1. Bins must be in order.

    A lower bound of the statistic of the raw values, off by at most the larger share of one bin.

    >>> kolmogorov_smirnov([10, 10, 0], [0, 10, 10])
    0.5
    """
    return _kolmogorov_smirnov(*_pair(reference, present))


def wasserstein(
    reference: Counts,
    present: Counts,
    edges: npt.ArrayLike,
    std: float,
    *,
    low: float | None = None,
    high: float | None = None,
) -> float:
    """Earth mover's distance in reference standard deviations: the integral of |F - G| over max(``std``, .001).

    ``edges``, shape (k,), separate the k + 1 bins as in ``FeatureReference``; values are spread evenly within a bin.
    ``low`` and ``high`` are the smallest and largest present value: the outer bins reach to them. Without them they end
    at the outer edges, and the distance is a lower bound. It is exact up to the widths of bins that hold mass of both.

    >>> wasserstein([0, 10, 0, 0], [0, 0, 10, 0], [0.0, 1.0, 2.0], std=0.5)
    2.0
    """
    borders, (before, now) = np.ascontiguousarray(edges, np.float64), _pair(reference, present)
    if not len(borders):
        return 0.0
    if len(before) != len(borders) + 1:
        raise ValueError(f"{len(borders)} edges separate {len(borders) + 1} bins, not {len(before)}")
    first = float(borders[0]) if low is None else min(low, float(borders[0]))
    last = float(borders[-1]) if high is None else max(high, float(borders[-1]))
    moved = _wasserstein(before, now, first, borders, last, max(std, STD_FLOOR))
    return min(moved, _TOP) if not math.isnan(moved) else _TOP


def _pair(reference: Counts, present: Counts) -> tuple[Floats, Floats]:
    before, now = np.ascontiguousarray(reference, np.float64), np.ascontiguousarray(present, np.float64)
    if before.shape != now.shape:
        raise ValueError(f"the two counts must have the same bins, not shapes {before.shape} and {now.shape}")
    return before, now


@compiled
def _psi(reference: Floats, present: Floats) -> float:
    p_total, q_total = reference.sum(), present.sum()
    if not (p_total > 0 and q_total > 0):
        return 0.0
    p_empty, q_empty = _empty(reference, p_total), _empty(present, q_total)
    total = 0.0
    for i in range(len(reference)):
        p = reference[i] / p_total if reference[i] != 0 else p_empty
        q = present[i] / q_total if present[i] != 0 else q_empty
        total += (q - p) * math.log(q / p)
    return total


@compiled
def _empty(counts: Floats, total: float) -> float:
    """The share of an empty bin by Evidently's rule, so that logarithms are finite."""
    least = 1.0
    for count in counts:
        if count > 0:
            least = min(least, count / total)
    return least / 1e6 if least <= 0.0001 else 0.0001


@compiled
def _jensen_shannon(reference: Floats, present: Floats) -> float:
    p_total, q_total = reference.sum(), present.sum()
    if not (p_total > 0 and q_total > 0):
        return 0.0
    divergence = 0.0
    for i in range(len(reference)):
        p, q = reference[i] / p_total, present[i] / q_total
        middle = (p + q) / 2
        if p > 0:
            divergence += p * math.log(p / middle)
        if q > 0:
            divergence += q * math.log(q / middle)
    return math.sqrt(max(divergence / 2, 0.0))


@compiled
def _kolmogorov_smirnov(reference: Floats, present: Floats) -> float:
    p_total, q_total = reference.sum(), present.sum()
    if not (p_total > 0 and q_total > 0):
        return 0.0
    p = q = largest = 0.0
    for i in range(len(reference)):
        p += reference[i] / p_total
        q += present[i] / q_total
        largest = max(largest, abs(q - p))
    return largest


@compiled
def _wasserstein(reference: Floats, present: Floats, first: float, borders: Floats, last: float, unit: float) -> float:
    """The area between the two lines of cumulative shares, summed bin by bin."""
    p_total, q_total = reference.sum(), present.sum()
    if not (p_total > 0 and q_total > 0):
        return 0.0
    p = q = left = area = 0.0
    for i in range(len(reference)):
        begin = first if i == 0 else borders[i - 1]
        end = borders[i] if i < len(borders) else last
        p += reference[i] / p_total
        q += present[i] / q_total
        right = q - p
        size = abs(left) + abs(right)
        mean = (left * left + right * right) / (2 * size) if left * right < 0 else size / 2
        if mean > 0:  # an infinite bin in which nothing differs counts for nothing
            area += (end / unit - begin / unit) * mean
        left = right
    return area

"""Sizes of a change: how far apart two sets of counts over the same bins are. Effect sizes, never tests.

They agree with Evidently's on equal bins, so that thresholds people know keep their meaning. All take counts (or
shares) of shape (b,), reference first, and return 0 when either side is empty. Cost O(b).
"""

import math

import numpy as np
import numpy.typing as npt

from detectors.columns import Floats

Counts = npt.ArrayLike
STD_FLOOR = 0.001
"""Evidently's: the least standard deviation a Wasserstein distance is divided by."""

_TOP = float(np.finfo(np.float64).max)


def psi(reference: Counts, present: Counts) -> float:
    """Population stability index, sum of (q - p) ln(q / p); unbounded. An empty bin counts as a share of 0.0001.

    Below .1 it is usually read as no change, above .25 as a large one. Source: Siddiqi (2006), Credit Risk Scorecards.

    >>> round(psi([50, 50], [60, 40]), 6)
    0.040547
    """
    p, q = _shares(reference), _shares(present)
    if p is None or q is None:
        return 0.0
    p, q = _filled(p), _filled(q)
    return float(((q - p) * np.log(q / p)).sum())


def jensen_shannon(reference: Counts, present: Counts) -> float:
    """Jensen-Shannon distance: the square root of the divergence in natural logarithms; 0 to sqrt(ln 2) = .833.

    Source: Endres and Schindelin (2003), doi:10.1109/TIT.2003.813506.

    >>> round(jensen_shannon([1, 0], [0, 1]), 6)
    0.832555
    """
    p, q = _shares(reference), _shares(present)
    if p is None or q is None:
        return 0.0
    middle = (p + q) / 2
    return math.sqrt(max((_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2, 0.0))


def kolmogorov_smirnov(reference: Counts, present: Counts) -> float:
    """Largest difference of the two cumulative shares at a bin's end; 0 to 1. Bins must be in order.

    A lower bound of the statistic of the raw values, off by at most the larger share of one bin.

    >>> kolmogorov_smirnov([10, 10, 0], [0, 10, 10])
    0.5
    """
    p, q = _shares(reference), _shares(present)
    if p is None or q is None:
        return 0.0
    return float(np.abs(np.cumsum(q) - np.cumsum(p)).max())


def wasserstein(
    reference: Counts,
    present: Counts,
    edges: npt.ArrayLike,
    std: float,
    *,
    low: float | None = None,
    high: float | None = None,
) -> float:
    """Earth mover's distance in reference standard deviations: integral of |F - G| over max(``std``, .001).

    ``edges``, shape (k,), cut the k + 1 bins as in ``references``; values are spread evenly inside a bin. ``low`` and
    ``high`` are the smallest and largest present value: the outer bins reach there, without them they end at the outer
    edges and the distance is a lower bound. Exact up to the widths of bins that hold mass of both.

    >>> wasserstein([0, 10, 0, 0], [0, 0, 10, 0], [0.0, 1.0, 2.0], std=0.5)
    2.0
    """
    p, q = _shares(reference), _shares(present)
    borders = np.asarray(edges, np.float64)
    if p is None or q is None or not len(borders):
        return 0.0
    first = float(borders[0]) if low is None else min(low, float(borders[0]))
    last = float(borders[-1]) if high is None else max(high, float(borders[-1]))
    with np.errstate(over="ignore", invalid="ignore"):
        places = np.concatenate(([first], borders, [last])) / max(std, STD_FLOOR)
        moved = float(np.diff(places) @ _mean_absolute(np.concatenate(([0.0], np.cumsum(q - p)))))
    return min(moved, _TOP) if not math.isnan(moved) else _TOP


def _shares(counts: Counts) -> Floats | None:
    numbers = np.asarray(counts, np.float64)
    total = float(numbers.sum())
    return numbers / total if total > 0 else None


def _filled(shares: Floats) -> Floats:
    """Evidently's rule for empty bins, so that logarithms are finite."""
    least = float(shares[shares > 0].min())
    return np.where(shares == 0, least / 1e6 if least <= 0.0001 else 0.0001, shares)


def _relative_entropy(shares: Floats, other: Floats) -> float:
    some = shares > 0
    return float((shares[some] * np.log(shares[some] / other[some])).sum())


def _mean_absolute(ends: Floats) -> Floats:
    """Mean of the absolute value of a line between each two neighbours of ``ends``."""
    left, right = ends[:-1], ends[1:]
    size = np.abs(left) + np.abs(right)
    crossing = left * right < 0
    return np.where(crossing, (left * left + right * right) / (2 * np.where(crossing, size, 1.0)), size / 2)

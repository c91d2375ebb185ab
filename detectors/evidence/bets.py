"""The bets that evidence is made of: likelihood ratios against the nearest distribution in the tolerance band.

The null hypothesis is every distribution g of a band around the reference p. For an alternative f let g* be the member
of the band with the smallest relative entropy KL(f | g). Then E_g[f / g*] <= 1 for every g of the band (the band is
convex). So f / g* is an e-value whatever the truth in the band is, and of all e-values it grows fastest under f.
Source: Larsson, Ramdas and Ruf, "The numeraire e-variable and reverse information projection" (2024), arXiv:2402.18810.

* Ordered bins, band |G - F_ref| <= eps_j at every border j: in coordinates (cumulative f, cumulative g) the band is a
  tube and g* is the taut string in it (the minimiser of every convex function of the slopes, Barlow et al. 1972).
* Unordered bins, band |g_b - p_b| <= eps_b: g*_b = f_b / c, clipped to its interval, with c such that the sum is 1.
"""

from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from detectors.columns import Floats

LEAST = 0.02
"""The share of each bet on "nothing has changed", so that one event costs it at most a factor of fifty."""

LOCATIONS = (-2.0, -1.0, -0.5, -0.25, -0.15, 0.15, 0.25, 0.5, 1.0, 2.0)
SCALES = (0.5, 0.71, 0.84, 1.2, 1.41, 2.0, 3.0)
BOTH = ((-1.0, 0.5), (1.0, 0.5), (-0.5, 0.71), (0.5, 0.71), (-0.5, 1.41), (0.5, 1.41), (-1.0, 2.0), (1.0, 2.0))
BUMP = 0.3
EXTREME = 0.95
CLIPPED = (0.05, 0.1)
"""Quantiles of either end for a clipped range: values beyond them come no more, and pile up at the end of the rest."""

Mixture = tuple[tuple[float, float, float], ...]
"""Normal components on the reference's normal scale: weight, mean, standard deviation."""

SHAPES: tuple[Mixture, ...] = (
    ((0.5, -0.75, 0.66), (0.5, 0.75, 0.66)),  # two modes
    ((0.5, -0.93, 0.37), (0.5, 0.93, 0.37)),
    ((0.33, -1.1, 0.5), (0.34, 0.0, 0.5), (0.33, 1.1, 0.5)),  # flat
    ((0.8, 0.0, 0.6), (0.2, 0.0, 1.9)),  # heavy tails, same variance
    ((0.7, -0.45, 0.55), (0.3, 1.05, 1.05)),  # skew to the right, to the left
    ((0.7, 0.45, 0.55), (0.3, -1.05, 1.05)),
    ((0.8, -0.4, 0.35), (0.2, 1.6, 1.2)),
    ((0.8, 0.4, 0.35), (0.2, -1.6, 1.2)),
    ((0.9, 0.0, 1.0), (0.1, 3.0, 1.0)),  # a part of the population is elsewhere
    ((0.9, 0.0, 1.0), (0.1, -3.0, 1.0)),
)
TOWARDS = (0.02, 0.06, 0.2, 0.5, 0.95)
AWAY = 0.5
FAVOURITES = 12
"""Categories with bets of their own; 6 bets each keep the family under 90."""

FAMILIES_KEPT = 1_024
"""Families of bets in the cache: 7 KB each with 16 bins, at most 20 KB."""

_normal = NormalDist()


def ordered(p: Floats, eps: Floats) -> Floats:
    """E-values on ordered bins, shape (K, bins), cached and read-only: features whose rows were cut alike share them.

    ``p``: reference shares (sum 1, all > 0). ``eps``: the band at the bins - 1 borders. The family has location and
    scale shifts and other shapes on the normal scale, and bumps of single bins.
    """
    return _ordered(p.tobytes(), eps.tobytes())


@lru_cache(FAMILIES_KEPT)
def _ordered(shares: bytes, widths: bytes) -> Floats:
    p, eps = np.frombuffer(shares), np.frombuffer(widths)
    borders = np.clip(np.cumsum(p)[:-1], 1e-12, 1 - 1e-12)
    z = [_normal.inv_cdf(u) for u in borders.tolist()]
    mixtures: list[Mixture] = [((1.0, shift, 1.0),) for shift in LOCATIONS]
    mixtures += [((1.0, 0.0, scale),) for scale in SCALES]
    mixtures += [((1.0, shift, scale),) for shift, scale in BOTH]
    rows = [_shares(z, mixture) for mixture in (*mixtures, *SHAPES)]
    rows += [_toward(p, b, BUMP) for b in range(len(p))]
    rows += [_toward(p, 0, EXTREME), _toward(p, len(p) - 1, EXTREME)]
    rows += [_clipped(p, share) for share in CLIPPED] + [_clipped(p[::-1], share)[::-1] for share in CLIPPED]
    low, high = np.maximum(borders - eps, 0.0).tolist(), np.minimum(borders + eps, 1.0).tolist()
    return _kept(1 / np.array([taut_string(f.tolist(), low, high) for f in rows]))


def unordered(p: Floats, eps: Floats, targets: Sequence[int]) -> Floats:
    """E-values on bins without an order, cached and read-only like those of ``ordered``.

    ``eps``: the band of every bin. The family has more of each target, and less of each of the largest bins.
    """
    return _unordered(p.tobytes(), eps.tobytes(), tuple(targets))


@lru_cache(FAMILIES_KEPT)
def _unordered(shares: bytes, widths: bytes, targets: tuple[int, ...]) -> Floats:
    p, eps = np.frombuffer(shares), np.frombuffer(widths)
    rows = [_toward(p, b, share) for b in targets for share in TOWARDS]
    for b in np.argsort(-p, kind="stable")[:FAVOURITES].tolist():
        less = p.copy()
        less[b] *= AWAY
        rows.append(less / less.sum())
    wanted = np.array(rows)
    return _kept(wanted / nearest(wanted, p, eps))


def _shares(z: Sequence[float], mixture: Mixture) -> Floats:
    cumulative = [sum(w * _normal.cdf((v - mean) / std) for w, mean, std in mixture) for v in z]
    shares = np.maximum(np.diff(np.array([0.0, *cumulative, 1.0])), 1e-9)
    return np.asarray(shares / shares.sum())


def _toward(p: Floats, target: int, share: float) -> Floats:
    q = (1 - share) * p
    q[target] += share
    return q


def _clipped(p: Floats, share: float) -> Floats:
    """Most of the upper ``share``, moved to the bin below it."""
    q = p.copy()
    last = min(int(np.searchsorted(np.cumsum(p), 1 - share - 1e-9)), len(p) - 1)
    q[last] += EXTREME * p[last + 1 :].sum()
    q[last + 1 :] *= 1 - EXTREME
    return q


def _kept(ratios: Floats) -> Floats:
    """``ratios`` mixed with the bet "nothing has changed", which always pays 1."""
    mixed = (1 - LEAST) * ratios + LEAST
    mixed.flags.writeable = False
    return mixed


def taut_string(f: Sequence[float], low: Sequence[float], high: Sequence[float]) -> list[float]:
    """The slopes g*_b / f_b of the string from (0, 0) to (1, 1) that is pulled taut between ``low`` and ``high``.

    ``low`` and ``high`` are given at the borders of the bins, over the cumulated ``f`` (all > 0). Cost: linear, plus
    the bins that are walked again after a bend.

    >>> taut_string([0.5, 0.5], [0.2], [0.3])
    [0.6, 1.4]
    >>> taut_string([0.5, 0.5], [0.4], [0.6])
    [1.0, 1.0]
    """
    bins = len(f)
    t = [0.0]
    for share in f:
        t.append(t[-1] + share)
    below, above = [0.0, *low, 1.0], [0.0, *high, 1.0]
    slopes: list[float] = []
    start, height = 0, 0.0
    while start < bins:
        end, slope = _next_bend(t, below, above, start, height)
        slopes += [slope] * (end - start)
        height += slope * (t[end] - t[start])
        start = end
    return [max(slope, 1e-9) for slope in slopes]


def _next_bend(
    t: Sequence[float], below: Sequence[float], above: Sequence[float], start: int, height: float
) -> tuple[int, float]:
    """The border at which the string from (t[start], height) bends next, and its slope up to there."""
    steepest, flattest = float("inf"), float("-inf")  # slopes that still pass under ``above`` and over ``below``
    at_above = at_below = start
    for j in range(start + 1, len(t)):
        run = t[j] - t[start]
        to_above, to_below = (above[j] - height) / run, (below[j] - height) / run
        if to_below > steepest:
            return at_above, steepest
        if to_above < flattest:
            return at_below, flattest
        if to_above <= steepest:
            steepest, at_above = to_above, j
        if to_below >= flattest:
            flattest, at_below = to_below, j
    return len(t) - 1, (1.0 - height) / (t[-1] - t[start])


def nearest(f: Floats, p: Floats, eps: Floats) -> Floats:
    """The distributions within ``p`` +- ``eps`` that are nearest in relative entropy to those of ``f``, shape (...,
    bins).

    Found by bisection on c, for all at once.

    >>> nearest(np.array([0.5, 0.5]), np.array([0.8, 0.2]), np.array([0.1, 0.1])).round(6).tolist()
    [0.7, 0.3]
    """
    low, high = np.maximum(p - eps, 1e-9), p + eps
    smallest, largest = np.full((*f.shape[:-1], 1), 1e-9), np.full((*f.shape[:-1], 1), 1e9)
    for _ in range(100):
        c = np.sqrt(smallest * largest)
        above = np.clip(f / c, low, high).sum(axis=-1, keepdims=True) > 1
        smallest, largest = np.where(above, c, smallest), np.where(above, largest, c)
    return np.asarray(np.clip(f / largest, low, high))


def tolerated(share: Floats, tolerance: float) -> Floats:
    """eps for a (cumulative) share q: 2 m sqrt(q (1 - q)), a change too small to matter.

    >>> tolerated(np.array([0.5, 0.1]), 0.02).round(4).tolist()
    [0.02, 0.012]
    """
    return np.asarray(2 * tolerance * np.sqrt(share * (1 - share)))


def band(share: Floats, rows: float, tolerance: float, z: float) -> Floats:
    """``tolerated`` plus what sampling may hide in a reference of ``rows`` effective rows.

    The second part is sqrt(q (1 - q)) z / sqrt(n) + z^2 / (2 n); its last term is for shares of zero.

    >>> band(np.array([0.5]), 10_000, 0.02, 4.5).round(4).tolist()
    [0.0435]
    """
    n = max(rows, 1.0)
    return tolerated(share, tolerance) + z * np.sqrt(share * (1 - share) / n) + z * z / (2 * n)

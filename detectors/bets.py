"""The bets that evidence is made of: likelihood ratios against the reference, made safe over its tolerance band.

A bet is a vector L over bins with sum_b p_b L_b = 1. Under every distribution f of the band its mean is at most its
*price* N, and so L / N is an e-value: its product over events may be multiplied up and looked at whenever one likes.

* Ordered bins, band |F - F_ref| <= eps_j at every border j: N = 1 + sum_j eps_j |L_{j+1} - L_j| (summation by parts).
* Unordered bins, band |f_b - p_b| <= eps_b: N = 1 + min_c sum_b eps_b |L_b - c|, c the eps-weighted median of L.
"""

from statistics import NormalDist

import numpy as np

from detectors.columns import Floats

LEAST = 0.02
"""Each bet keeps this share on the reference itself, so that one event costs it at most a factor of fifty."""

LOCATIONS = (-2.0, -1.0, -0.5, -0.25, -0.1, 0.1, 0.25, 0.5, 1.0, 2.0)
SCALES = (0.5, 0.71, 0.84, 1.2, 1.41, 2.0, 3.0)
BOTH = ((-1.0, 0.5), (1.0, 0.5), (-0.5, 0.71), (0.5, 0.71), (-0.5, 1.41), (0.5, 1.41), (-1.0, 2.0), (1.0, 2.0))
BUMPS = (0.3,)
TOWARDS = (0.02, 0.1, 0.4, 0.95)
FAVOURITES = 12
"""Categories with bets of their own; 4 each keeps the family under 64."""

_normal = NormalDist()


def ordered(p: Floats) -> Floats:
    """Bets on ordered bins of reference shares ``p`` (sum 1, all > 0), shape (K, bins): location and scale families on
    the normal scale, and bumps of single bins for changes of shape."""
    borders = np.clip(np.cumsum(p)[:-1], 1e-12, 1 - 1e-12)
    z = np.array([_normal.inv_cdf(float(u)) for u in borders])
    rows = [_normal_shares(z, shift, scale) for shift, scale in _family()]
    for share in BUMPS:
        rows += [_toward(p, b, share) for b in range(len(p))]
    rows += [_toward(p, 0, 0.95), _toward(p, len(p) - 1, 0.95)]
    return _ratios(np.array(rows), p)


def _family() -> list[tuple[float, float]]:
    return [(s, 1.0) for s in LOCATIONS] + [(0.0, s) for s in SCALES] + list(BOTH)


def _normal_shares(z: Floats, shift: float, scale: float) -> Floats:
    cumulative = np.array([_normal.cdf((float(v) - shift) / scale) for v in z])
    return np.diff(np.concatenate(([0.0], cumulative, [1.0])))


def _toward(p: Floats, target: int, share: float) -> Floats:
    q = (1 - share) * p
    q[target] += share
    return q


def unordered(p: Floats, targets: list[int]) -> Floats:
    """Bets on bins without an order: more of each target, and half of the largest ones."""
    rows = [_toward(p, b, share) for b in targets for share in TOWARDS]
    for b in np.argsort(-p, kind="stable")[:FAVOURITES].tolist():
        less = p.copy()
        less[b] *= 0.5
        rows.append(less / less.sum())
    return _ratios(np.array(rows), p)


def _ratios(q: Floats, p: Floats) -> Floats:
    return (1 - LEAST) * q / p + LEAST


def ordered_price(bets: Floats, eps: Floats) -> Floats:
    """N of each bet, shape (K,); ``eps`` at the bins - 1 borders."""
    price: Floats = 1 + np.abs(np.diff(bets, axis=1)) @ eps
    return price


def unordered_price(bets: Floats, eps: Floats) -> Floats:
    """N of each bet, shape (K,); ``eps`` of every bin."""
    order = np.argsort(bets, axis=1)
    weight = np.cumsum(eps[order], axis=1)
    at = (weight >= weight[:, -1:] / 2).argmax(axis=1)
    median = np.take_along_axis(bets, np.take_along_axis(order, at[:, None], axis=1), axis=1)
    price: Floats = 1 + np.abs(bets - median) @ eps
    return price


def band(share: Floats, rows: float, tolerance: float, z: float) -> Floats:
    """eps for a (cumulative) share q of a reference of ``rows`` effective rows: what sampling may have hidden, and
    change too small to matter: sqrt(q (1 - q)) (2 m + z / sqrt(n)) + z^2 / (2 n).

    The last term keeps the band honest at shares of zero, where z = 4.5 and n = 10,000 leave 0.1 %.

    >>> band(np.array([0.5]), 10_000, 0.02, 4.5).round(4).tolist()
    [0.0435]
    """
    n = max(rows, 1.0)
    eps: Floats = np.sqrt(share * (1 - share)) * (2 * tolerance + z / np.sqrt(n)) + z * z / (2 * n)
    return eps

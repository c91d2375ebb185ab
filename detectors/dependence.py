"""How much a stream repeats itself: the serial-dependence factor tau that evidence is divided by.

``tau = max over block lengths b of b * Var(block means of length b) / Var(x)``, at least 1.
For independent rows it is 1; for a first-order autoregression with coefficient r it tends to (1 + r) / (1 - r).
Source: batch means, e.g. Flegal and Jones (2010), doi:10.1214/09-AOS735.
"""

import numpy as np

from detectors.columns import Floats

MIN_BLOCKS = 24
"""Fewer blocks say too little about their variance."""


def dependence_factor(channel: Floats) -> float:
    """tau of one channel, shape (n,), in log order. Cost O(n log n).

    The largest ratio over doubling block lengths, each lowered by two standard errors of a variance ratio (so that
    independent rows read as 1) once it is not beyond them.

    >>> dependence_factor(np.tile([0.0, 1.0], 500))
    1.0
    """
    n = len(channel)
    variance = float(channel.var()) if n else 0.0
    if n < 4 * MIN_BLOCKS or variance <= 0.0:
        return 1.0
    total = np.concatenate(([0.0], np.cumsum(channel - channel.mean())))
    best, length = 1.0, 2
    while n // length >= MIN_BLOCKS:
        blocks = n // length
        means = np.diff(total[: blocks * length + 1 : length]) / length
        ratio = length * float(means.var(ddof=1)) / variance
        if ratio > 1 + 2.5 * (2 / (blocks - 1)) ** 0.5:
            best = max(best, ratio)
        length *= 2
    return best

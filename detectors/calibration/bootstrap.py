"""Resampling of rows in blocks, which keeps neighbouring rows together: the block length, and the rows drawn.

Rows are drawn by their numbers, whole, with all their features. Values matter only for the block length.
"""

import math
from typing import NamedTuple

import numpy as np

from detectors.columns import Floats, Integers

DAY_MS, WEEK_MS = 86_400_000, 604_800_000

MIN_PERIODS = 3
"""Days (or weeks) that a stretch must span for blocks to be drawn at their own time of day; fewer leave no choice."""


class BlockLength(NamedTuple):
    """Rows of a block. ``enough`` is False where rows still depend on each other beyond the longest block allowed."""

    rows: int
    enough: bool


def block_length(channel: Floats) -> BlockLength:
    """The block length that estimates the variance of a mean best, from one channel of shape (n,) in log order.

    ``b = (2 g^2 / D)^(1/3) n^(1/3)`` with ``g = sum_k w(k/m) |k| R(k)``, ``D = 4/3 (sum_k w(k/m) R(k))^2``, R the
    autocovariances, w the flat-top window and m twice the lag beyond which correlations are noise. At most
    ``min(3 sqrt(n), n / 3)`` rows. Cost: one FFT.

    Source: Politis and White (2004), doi:10.1081/ETC-120028836, corrected by Patton, Politis and White (2009),
    doi:10.1080/07474930802459016, for blocks on a circle.

    >>> block_length(np.random.default_rng(1).normal(size=10_000))
    BlockLength(rows=2, enough=True)
    """
    n = len(channel)
    longest = max(math.ceil(min(3 * math.sqrt(n), n / 3)), 1)
    if n < 32 or float(np.ptp(channel)) <= 0.0:
        return BlockLength(1, True)
    quiet = max(5, math.ceil(math.sqrt(math.log10(n))))
    lags = min(math.ceil(math.sqrt(n)) + quiet, n - 1)
    covariances = _autocovariances(channel, lags)
    loud = np.abs(covariances[1:] / covariances[0]) >= 2 * math.sqrt(math.log10(n) / n)
    runs = np.convolve(~loud, np.ones(quiet, int), "valid") == quiet  # runs[k]: lags k + 1 .. k + quiet are noise
    dies_out = bool(runs.any())
    last = int(runs.argmax()) if dies_out else int(np.flatnonzero(loud)[-1]) + 1
    width = min(2 * max(last, 1), lags)
    k = np.arange(1, width + 1)
    weights = np.minimum(1.0, 2 * (1 - k / width)) * covariances[1 : width + 1]
    bend, spectrum = 2 * float((weights * k).sum()), float(covariances[0] + 2 * weights.sum())
    if spectrum <= 0.0:
        return BlockLength(longest, False)
    rows = math.ceil((1.5 * (bend / spectrum) ** 2 * n) ** (1 / 3))
    return BlockLength(min(max(rows, 1), longest), dies_out and rows <= longest)


def _autocovariances(channel: Floats, lags: int) -> Floats:
    """R(0) .. R(lags), each divided by n."""
    n = len(channel)
    size = 1 << (n + lags).bit_length()
    spectrum = np.fft.rfft(channel - channel.mean(), size)
    result: Floats = np.fft.irfft(spectrum * spectrum.conj(), size)[: lags + 1] / n
    return result


def circular_rows(rng: np.random.Generator, rows: int, block: int) -> Integers:
    """The numbers of ``rows`` rows in blocks of ``block``, each started anywhere; the first row follows the last.

    Source: Politis and Romano (1992), "A circular block-resampling procedure for stationary data".

    >>> circular_rows(np.random.default_rng(1), 6, 3).tolist()
    [2, 3, 4, 3, 4, 5]
    """
    starts = rng.integers(0, rows, math.ceil(rows / block))
    drawn: Integers = (starts[:, None] + np.arange(block)).reshape(-1)[:rows] % rows
    return drawn


class TimedRows(NamedTuple):
    """Drawn rows and their new times; ``next_ms``: the time of the row that would follow."""

    rows: Integers
    moments_ms: Integers
    next_ms: int


def rows_at_their_time(
    rng: np.random.Generator, moments_ms: Integers, block: int, period_ms: int, begin_ms: int
) -> TimedRows:
    """As many rows as ``moments_ms`` (ascending, shape (n,)) has, in blocks, each moved by whole periods.

    The block after time t starts with the first row at t plus a random number of days (or weeks). So the time of day,
    and with it season and traffic, stay the same. ``begin_ms``: the time of the first block. Source: the seasonal block
    bootstrap, e.g. Dudek, Leskow, Paparoditis and Politis (2014), doi:10.1002/jtsa.12053. Cost: a few us a block.

    >>> hours = np.arange(0, 5 * DAY_MS, DAY_MS // 4)
    >>> drawn = rows_at_their_time(np.random.default_rng(1), hours, 2, DAY_MS, 0)
    >>> bool((hours[drawn.rows] % DAY_MS == drawn.moments_ms % DAY_MS).all())
    True
    """
    n = len(moments_ms)
    first, last = int(moments_ms[0]), int(moments_ms[-1])
    gap = max((last - first) // max(n - 1, 1), 1)
    rows, moments, drawn, now = [], [], 0, begin_ms
    while drawn < n:
        lowest, highest = -((now - first) // period_ms), (last - now) // period_ms
        moved = int(rng.integers(lowest, highest + 1)) * period_ms
        start = int(moments_ms.searchsorted(now + moved))
        end = min(start + block, n, start + n - drawn)
        rows.append(np.arange(start, end))
        moments.append(moments_ms[start:end] - moved)
        after = int(moments_ms[end]) if end < n else last + gap
        now = after - moved
        drawn += end - start
    return TimedRows(np.concatenate(rows), np.concatenate(moments), now)


def period_ms(moments_ms: Integers, weekly: bool) -> int | None:
    """The period that blocks are moved by: a day, or a week where weekdays differ; None for too short a stretch."""
    span = int(moments_ms[-1]) - int(moments_ms[0])
    if weekly and span >= MIN_PERIODS * WEEK_MS:
        return WEEK_MS
    return DAY_MS if span >= MIN_PERIODS * DAY_MS else None

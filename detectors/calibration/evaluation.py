"""Measures of a detector: delays, misses, false alarms and their bounds. Numbers come in, results go out."""

import math
from collections.abc import Sequence

import msgspec


class Delays(msgspec.Struct, frozen=True):
    """Repeated changes: quantiles of the delay in events among those found, and the share missed."""

    runs: int
    median: float | None
    p90: float | None
    missed: float


def delays(found: Sequence[int | None]) -> Delays:
    """The summary of delays, None for a change that was not found.

    >>> delays([10, 20, 30, None])
    Delays(runs=4, median=20.0, p90=30.0, missed=0.25)
    """
    known = sorted(float(d) for d in found if d is not None)
    missed = 1 - len(known) / len(found) if found else 0.0
    if not known:
        return Delays(len(found), None, None, missed)
    return Delays(len(found), _quantile(known, 0.5), _quantile(known, 0.9), missed)


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


class FalseAlarms(msgspec.Struct, frozen=True):
    """False alarms and their bound. ``mean_time_at_least``: with 95 % confidence, in the unit of ``watched``."""

    alarms: int
    watched: float
    mean_time_at_least: float


def false_alarms(alarms: int, watched: float) -> FalseAlarms:
    """The exact Poisson bound of the mean time between false alarms, from ``alarms`` in ``watched`` events.

    No alarm in T supports only T / 3.

    >>> round(false_alarms(0, 3.0e6).mean_time_at_least)
    1001425
    """
    return FalseAlarms(alarms, watched, watched / _poisson_mean(alarms, 0.05))


def poisson_interval(count: int) -> tuple[float, float]:
    """The exact 95 % interval of a Poisson mean from ``count`` events: 2.5 % beyond either end.

    Source: Garwood (1936), doi:10.1093/biomet/28.3-4.437.

    >>> [tuple(round(end, 3) for end in poisson_interval(count)) for count in (0, 1, 10)]
    [(0.0, 3.689), (0.025, 5.572), (4.795, 18.39)]
    """
    return _poisson_mean(count - 1, 0.975) if count else 0.0, _poisson_mean(count, 0.025)


def _poisson_mean(count: int, probability: float) -> float:
    """The mean at which at most ``count`` events have this ``probability``, by bisection."""
    low, high = 0.0, 4.0 * count + 20.0
    logs = [math.lgamma(k + 1) for k in range(count + 1)]
    for _ in range(80):
        middle = (low + high) / 2
        tail = math.fsum(math.exp(k * math.log(middle) - middle - log) for k, log in enumerate(logs))
        low, high = (middle, high) if tail > probability else (low, middle)
    return high


class MedianDelay(msgspec.Struct, frozen=True):
    """The median delay of repeated changes in events, with its interval; a missed change counts as infinitely late.

    ``median``, ``low`` and ``high`` are None where they are beyond the horizon; ``missed`` is a share.
    """

    runs: int
    median: float | None
    low: float | None
    high: float | None
    missed: float


def median_delay(found: Sequence[int | None]) -> MedianDelay:
    """The median of ``found``, None for a missed change, with its 95 % interval between order statistics.

    The interval holds for any distribution: the number of delays below the median is binomial. With fewer than six runs
    it has no upper limit and starts at the smallest. Source: David and Nagaraja, Order Statistics (2003), section 7.1.

    >>> median_delay([10, 20, 30, 40, 50, 60, 70, None])
    MedianDelay(runs=8, median=40.0, low=10.0, high=None, missed=0.125)
    """
    ordered = sorted(float(d) for d in found if d is not None) + [math.inf] * sum(d is None for d in found)
    runs = len(ordered)
    if not runs:
        return MedianDelay(0, None, None, None, 0.0)
    below = -1
    while sum(math.comb(runs, k) for k in range(below + 2)) <= 0.025 * 2**runs:
        below += 1
    low, high = (ordered[0], math.inf) if below < 0 else (ordered[below], ordered[runs - 1 - below])
    missed = sum(map(math.isinf, ordered)) / runs
    return MedianDelay(runs, _finite(_quantile(ordered, 0.5)), _finite(low), _finite(high), missed)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


class Blame(msgspec.Struct, frozen=True):
    """Precision and recall of the features that an incident named."""

    precision: float | None
    recall: float | None


def blame(named: Sequence[str], changed: Sequence[str]) -> Blame:
    """Precision and recall of the features ``named``, given those ``changed``.

    >>> blame(["a", "b"], ["a"])
    Blame(precision=0.5, recall=1.0)
    """
    right = len(set(named) & set(changed))
    return Blame(right / len(set(named)) if named else None, right / len(set(changed)) if changed else None)

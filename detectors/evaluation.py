"""How good a detector is: delay, misses, false alarms and their bounds. Numbers in, figures out."""

import math
from collections.abc import Sequence

import msgspec


class Delays(msgspec.Struct, frozen=True):
    """Of repeated changes: quantiles of the delay in events among those found, and the share missed."""

    runs: int
    median: float | None
    p90: float | None
    missed: float


def delays(found: Sequence[int | None]) -> Delays:
    """Summary of delays, None for a change that was not found.

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
    """``mean_time_at_least``: with 95 % confidence, in the unit of ``watched``."""

    alarms: int
    watched: float
    mean_time_at_least: float


def false_alarms(alarms: int, watched: float) -> FalseAlarms:
    """What ``alarms`` in ``watched`` events say of the mean time between them: the exact Poisson bound.

    Nothing in T only supports T / 3.

    >>> round(false_alarms(0, 3.0e6).mean_time_at_least)
    1001425
    """
    return FalseAlarms(alarms, watched, watched / _poisson_upper(alarms))


def _poisson_upper(count: int, confidence: float = 0.95) -> float:
    """The rate under which at most ``count`` happens with probability 1 - confidence; by bisection."""
    low, high = float(count), 4.0 * count + 20.0
    for _ in range(80):
        middle = (low + high) / 2
        tail = math.exp(-middle) * math.fsum(
            math.exp(k * math.log(middle) - math.lgamma(k + 1)) for k in range(count + 1)
        )
        low, high = (middle, high) if tail > 1 - confidence else (low, middle)
    return high


class Blame(msgspec.Struct, frozen=True):
    """Precision and recall of the features that an incident named."""

    precision: float | None
    recall: float | None


def blame(named: Sequence[str], changed: Sequence[str]) -> Blame:
    """Of the features ``named`` against those ``changed``.

    >>> blame(["a", "b"], ["a"])
    Blame(precision=0.5, recall=1.0)
    """
    right = len(set(named) & set(changed))
    return Blame(right / len(set(named)) if named else None, right / len(set(changed)) if changed else None)

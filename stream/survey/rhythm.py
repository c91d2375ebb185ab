"""How the values of a sample depend on each other and on the hour of the day, and what that costs."""

import msgspec
import numpy as np

from detectors.columns import Floats, Integers
from detectors.reference.dependence import local_factor, local_ratios

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
LEAST_VALUES, COUNTER = 100, 0.98
"""Values that a rhythm needs; the correlation of value and row from which on a feature is a counter."""

LEAST_DAYS, LEAST_ROWS = 2, 30
"""Days that a sample must span, and values that an hour of the day must have, before hours are compared."""

HALF_SIGMA = 150
"""Independent events after which a shift of half a standard deviation is an incident: 2 ln(F K / a) / .5^2, with the
19 nats that one false alarm a month allows a feature."""


class Rhythm(msgspec.Struct, frozen=True):
    """The rhythm of one numeric feature. ``dependence``: the factor by which evidence is divided, 1 for independent
    events. ``hours_differ``: standard deviation of the hours' means, without sampling, in standard deviations of the
    feature; None where the sample is too short. ``half_sigma_events``: events that a shift of half a standard deviation
    needs, while the season is known.
    """

    dependence: float
    hours_differ: float | None
    half_sigma_events: int


def rhythm(values: Floats, moments_ms: Integers) -> Rhythm | None:
    """The rhythm of values (n,) at their times; None for fewer than 100 values, for values that are all the same, and
    for a counter, whose values follow their rows."""
    if len(values) < LEAST_VALUES or float(values.min()) == float(values.max()):
        return None
    order = np.argsort(moments_ms, kind="stable")
    values, moments_ms = values[order], moments_ms[order]
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(np.float64)
    if abs(float(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1])) >= COUNTER:
        return None
    span_ms = int(moments_ms[-1] - moments_ms[0])
    factor = max(local_factor(local_ratios(ranks), len(ranks), span_ms or None), 1.0)
    return Rhythm(round(factor, 2), _hours_differ(ranks, moments_ms, factor), round(HALF_SIGMA * factor))


def _hours_differ(values: Floats, moments_ms: Integers, factor: float) -> float | None:
    days = np.unique(moments_ms // DAY_MS)
    if moments_ms[-1] - moments_ms[0] < LEAST_DAYS * DAY_MS or len(days) <= LEAST_DAYS:
        return None
    hour = moments_ms % DAY_MS // HOUR_MS
    counts = np.bincount(hour, minlength=24)
    seen = counts >= LEAST_ROWS
    if seen.sum() < 2:
        return None
    means = np.bincount(hour, weights=values, minlength=24)[seen] / counts[seen]
    variance = float(values.var())
    sampling = factor * variance * float((1 / counts[seen]).mean())
    beyond = max(float(means.var(ddof=1)) - 2 * sampling, 0.0)
    return round(float((beyond / variance) ** 0.5), 3)

"""The second verdict, from whole distributions: what came since an incident was found, beside the reference.

The first verdict (``verdict.decide``) is based on the few events that an alarm took. This one waits for some hundreds
and compares shapes, so that heavy tails and small factors do not mislead it. Two shapes are the same where their
largest difference of cumulative shares (Kolmogorov 1933, Smirnov 1948) is within chance and the width of cells.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import msgspec
import numpy as np

from detectors.columns import Floats
from detectors.features import Kind
from detectors.incidents import verdict
from detectors.incidents.verdict import Decision, Reason, Verdict
from detectors.reference.reference import FeatureReference

CHANCE = 1.36
"""Multiples of sqrt(1 / n): two samples of one distribution differ by more one time in twenty."""

CELLS = 0.03
"""The difference that interpolation within cells can add."""

STUCK = 1e-6
"""A spread below this part of the reference's standard deviation is none: fixed-point sums leave that much."""

STUCK_TOP = 0.95
"""A category with this share in the reference may well be the only one for a while."""

FACTOR_ERRORS = ((50.0, 0.2), (verdict.LARGE_FACTOR, 0.05), (1.0, 0.015))
"""The largest error at which a factor is recognised, by its size: a doubled or tenfold world is plausible, fifty is
not."""

SLACK = 0.01
"""Allowed on the log scale beside two standard errors: distributions of whole numbers fit in steps."""

OFFSETS = ((1.8, 32.0), (1 / 1.8, -32 / 1.8), (1.0, 273.15), (1.0, -273.15))
"""Units with another zero: Celsius, Fahrenheit, Kelvin. ``present = factor * reference + offset``."""

UNITS = (*((f, 0.0) for known in verdict.FACTORS for f in (known, 1 / known)), *OFFSETS)

_PROBE = 0.05  # step on the log scale, to measure how fast a distribution moves with it


class Case(msgspec.Struct, frozen=True):
    """One blamed feature: its reference, and a record of the same form for what came since."""

    reference: FeatureReference
    present: FeatureReference


def diagnose(cases: Sequence[Case], environment: Sequence[str] = ()) -> Decision:
    """The verdict over all ``cases``, worst first; ``environment`` names the differences from training.

    >>> from detectors.reference.builder import build_reference
    >>> x = np.random.default_rng(1).lognormal(0, 2, 4_000)
    >>> one, other = (build_reference("m", "1", {"x": v}).features[0] for v in (x, x * 1_000))
    >>> diagnose([Case(one, other)]).detail
    'x is 1000 times what it was'
    """
    found = _shares(cases) or _swapped(cases) or _stuck(cases) or _units(cases)
    if found is None and environment:
        found = Reason.NEW_ENVIRONMENT, "the environment differs from training: " + ", ".join(environment[:5])
    if found is not None:
        return Decision(Verdict.BROKEN_DATA, *found)
    names = ", ".join(case.reference.feature for case in cases[:5])
    return Decision(Verdict.WORLD_CHANGED, Reason.DISTRIBUTION_CHANGE, f"values of {names} are distributed otherwise")


def _shares(cases: Sequence[Case]) -> tuple[Reason, str] | None:
    for case in cases:
        before, now = case.reference, case.present
        missing, invalid = now.missing / max(now.rows, 1), now.invalid / max(now.rows, 1)
        if missing > before.missing / max(before.rows, 1) + verdict.BURST:
            return Reason.MISSING_VALUES, verdict.missing_text(before.feature, missing)
        if invalid > before.invalid / max(before.rows, 1) + verdict.BURST:
            return Reason.WRONG_TYPE, f"{before.feature} has the wrong type in {invalid:.1%} of events"
    return None


def _swapped(cases: Sequence[Case]) -> tuple[Reason, str] | None:
    for one, other in combinations(cases, 2):
        kind = one.reference.kind
        if kind is not other.reference.kind or not one.present.present or not other.present.present:
            continue
        apart = _apart if kind is Kind.NUMERIC else _shares_apart
        chance = max(_chance(one), _chance(other))
        if apart(one.reference, other.reference) <= 2 * chance + CELLS:
            continue  # too similar to recognise a swap
        if max(apart(one.present, other.reference), apart(other.present, one.reference)) <= chance:
            return Reason.SWAPPED_COLUMNS, f"{one.reference.feature} and {other.reference.feature} have changed places"
    return None


def _stuck(cases: Sequence[Case]) -> tuple[Reason, str] | None:
    for case in cases:
        if (value := _only_value(case)) is not None:
            return Reason.STUCK_VALUE, f"{case.reference.feature} is stuck at {value}"
    return None


def _only_value(case: Case) -> str | None:
    before, now = case.reference, case.present
    if now.present < verdict.STUCK_EVENTS or before.identifier:
        return None
    if before.kind is Kind.NUMERIC:
        if not before.std or now.std is None or now.std > STUCK * before.std or now.mean is None:
            return None
        return f"{0.0 if abs(now.mean) < STUCK * before.std else now.mean:.6g}"
    top = max(before.category_counts, default=0) / max(before.present, 1)
    alone = now.category_counts[:1] == [now.present] and len(before.categories) > 1 and top < STUCK_TOP
    return repr(now.categories[0]) if alone and now.categories[0] in before.categories else None


def _units(cases: Sequence[Case]) -> tuple[Reason, str] | None:
    for place, case in enumerate(cases):
        found = _unit(case)
        if found is None:
            continue
        factor, offset = found
        if place and max(factor, 1 / factor) < verdict.LARGE_FACTOR:
            continue  # among many features some fit a small factor by chance
        detail = f"{case.reference.feature} is {factor:.4g} times what it was"
        return Reason.UNIT_CHANGE, detail + (f" plus {offset:.4g}" if offset else "")
    return None


def _unit(case: Case) -> tuple[float, float] | None:
    """The factor and offset of the unit that explains the whole change best, or None."""
    before, now = case.reference, case.present
    if before.kind is not Kind.NUMERIC or not before.std or not now.present or before.identifier:
        return None
    chance = _chance(case)
    if _apart(now, before) <= 2 * chance:
        return None  # too small a change
    error = _scale_error(case)
    fitting: list[tuple[float, tuple[float, float]]] = []
    for factor, offset in UNITS:
        known = next(least for size, least in FACTOR_ERRORS if max(factor, 1 / factor) >= size)
        if error <= known and _apart(now, before, factor, offset) <= chance:
            fitting.append((abs(_best_scale(case, factor, offset, error)), (factor, offset)))
    least = min((off for off, _ in fitting), default=math.inf)
    if least > 2 * error + SLACK:
        return None
    return next(unit for off, unit in fitting if off <= least + error)  # the most common of those that fit


def _scale_error(case: Case) -> float:
    """The approximate standard error of the logarithm of a factor estimated from distributions."""
    moved = _apart(case.reference, case.reference, math.exp(_PROBE), 0.0)
    samples = case.reference.tau * (1 / max(case.present.present, 1) + 1 / max(case.reference.present, 1))
    return 0.5 * math.sqrt(samples) / max(moved / _PROBE, 1e-3)


def _best_scale(case: Case, factor: float, offset: float, error: float) -> float:
    """The distance, in logarithm, between ``factor`` and the factor near it that fits best."""
    steps = np.linspace(-5 * error, 5 * error, 41).tolist()
    distances = [_apart(case.present, case.reference, factor * math.exp(step), offset) for step in steps]
    least = min(distances)
    near = [step for step, distance in zip(steps, distances, strict=True) if distance <= least + 1e-9]
    return float(min(near, key=abs))


def _chance(case: Case) -> float:
    tau = case.reference.tau
    return CHANCE * math.sqrt(tau / max(case.present.present, 1) + tau / max(case.reference.present, 1)) + CELLS


def _apart(one: FeatureReference, other: FeatureReference, factor: float = 1.0, offset: float = 0.0) -> float:
    """The largest difference of cumulative shares between ``one`` and ``factor * other + offset``."""
    x, f = _cumulative(one)
    y, g = _cumulative(other)
    y = y * factor + offset
    places = np.concatenate((x, y))
    mine = np.interp(places, x, f, left=0.0, right=1.0)
    theirs = np.interp(places, y, g, left=0.0, right=1.0)
    return float(np.abs(mine - theirs).max(initial=0.0))


def _cumulative(feature: FeatureReference) -> tuple[Floats, Floats]:
    """The edges, and the share of values below each."""
    below = np.cumsum(np.asarray(feature.counts, np.float64))[:-1]
    return np.asarray(feature.edges, np.float64), below / max(feature.present, 1)


def _shares_apart(one: FeatureReference, other: FeatureReference) -> float:
    """Half the sum of differences between the categories' shares, which is the largest difference over all sets of
    them.
    """
    mine = {c: n / max(one.present, 1) for c, n in zip(one.categories, one.category_counts, strict=True)}
    theirs = {c: n / max(other.present, 1) for c, n in zip(other.categories, other.category_counts, strict=True)}
    named = sum(abs(mine.get(c, 0.0) - theirs.get(c, 0.0)) for c in mine.keys() | theirs.keys())
    return (named + abs(one.other / max(one.present, 1) - other.other / max(other.present, 1))) / 2

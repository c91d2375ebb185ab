"""The first verdict: broken data or a changed world? Broken data needs an engineer and must not retrain a model.

It is based on the events that an alarm took, some dozens: present moments and shares beside the reference's. With some
hundreds of events ``diagnosis`` decides again from whole distributions.
"""

import math
from collections.abc import Sequence
from enum import StrEnum

import msgspec

from detectors.features import Kind


class Verdict(StrEnum):
    """The cause that an incident is attributed to."""

    BROKEN_DATA = "broken-data"
    WORLD_CHANGED = "world-changed"


class Reason(StrEnum):
    """The reason of a verdict. All but the last two mean broken data."""

    MISSING_VALUES = "missing-values"
    WRONG_TYPE = "wrong-type"
    STUCK_VALUE = "stuck-value"
    UNIT_CHANGE = "unit-change"
    SWAPPED_COLUMNS = "swapped-columns"
    NEW_ENVIRONMENT = "new-environment"
    DISTRIBUTION_CHANGE = "distribution-change"
    PERFORMANCE_CHANGE = "performance-change"


class Symptom(msgspec.Struct, frozen=True):
    """The state of one blamed feature: shares of all events, moments of the present values (None without values)."""

    feature: str
    kind: Kind
    events: int
    missing_share: float
    invalid_share: float
    reference_missing_share: float
    reference_invalid_share: float
    mean: float | None = None
    std: float | None = None
    reference_mean: float | None = None
    reference_std: float | None = None
    unexpected_share: float = 0.0  # share of values outside the reference's range or its list of categories
    reference_unexpected_share: float = 0.0


class Decision(msgspec.Struct, frozen=True):
    """A verdict with its reason. ``detail`` explains it in a sentence that names features and figures."""

    verdict: Verdict
    reason: Reason
    detail: str


BURST = 0.05
"""A missing or invalid share is a burst when it is this much above the reference's."""

FACTORS = (10.0, 100.0, 1000.0, 1e6, 60.0, 3600.0, 86400.0, 12.0, 1024.0, 28.3495, 2.54, 1.609344, 0.3048, 0.4536, 1.8)
"""Factors between units that people confuse, the most common first: metric steps, time, dozens, bytes, ounce, inch,
mile, foot, pound, Fahrenheit's degree."""

LARGE_FACTOR = 10.0
"""From this factor on no change of the world is plausible. Smaller ones need more events than an alarm: see
``diagnosis``."""

FACTOR_ERROR = 0.04
MEAN_ERROR = 0.25
"""The largest relative standard error of a mean at which a factor can still be recognised."""

STUCK_SHARE = 1e-3
STUCK_EVENTS = 30


def decide(symptoms: Sequence[Symptom], environment: Sequence[str] = ()) -> Decision:
    """The verdict over all ``symptoms``, worst feature first; ``environment`` names the differences from training.

    >>> x = Symptom("x", Kind.NUMERIC, 100, 0.4, 0.0, 0.0, 0.0)
    >>> decide([x]).reason
    <Reason.MISSING_VALUES: 'missing-values'>
    """
    found = _shares(symptoms) or _moments(symptoms)
    if found is None and environment:
        found = Reason.NEW_ENVIRONMENT, "the environment differs from training: " + ", ".join(environment[:5])
    if found is not None:
        return Decision(Verdict.BROKEN_DATA, *found)
    names = ", ".join(s.feature for s in symptoms[:5])
    return Decision(Verdict.WORLD_CHANGED, Reason.DISTRIBUTION_CHANGE, f"values of {names} are distributed otherwise")


def _shares(symptoms: Sequence[Symptom]) -> tuple[Reason, str] | None:
    for s in symptoms:
        if s.missing_share > s.reference_missing_share + BURST:
            return Reason.MISSING_VALUES, missing_text(s.feature, s.missing_share)
        if s.invalid_share > s.reference_invalid_share + BURST:
            return Reason.WRONG_TYPE, f"{s.feature} has the wrong type in {s.invalid_share:.1%} of events"
    return None


def missing_text(feature: str, share: float) -> str:
    """The explanation for a feature that went missing, or never came.

    >>> missing_text("churned", 1.0)
    'churned is missing in 100.0% of events: if it is no input of the model, leave it out of the reference'
    """
    never = ": if it is no input of the model, leave it out of the reference" if share >= 1.0 else ""
    return f"{feature} is missing in {share:.1%} of events{never}"


def _moments(symptoms: Sequence[Symptom]) -> tuple[Reason, str] | None:
    numeric = [s for s in symptoms if s.kind is Kind.NUMERIC and s.reference_std and s.std is not None]
    for s in numeric:
        if s.std is not None and s.std <= STUCK_SHARE * (s.reference_std or 0.0) and s.events >= STUCK_EVENTS:
            return Reason.STUCK_VALUE, f"{s.feature} is stuck at {s.mean:.6g}"
    for s in numeric:
        factor = unit_factor(s)
        if factor is not None:
            return Reason.UNIT_CHANGE, f"{s.feature} is {factor:.4g} times what it was, mean and spread alike"
    for i, s in enumerate(numeric):
        for other in numeric[i + 1 :]:
            if _alike(s, other) and _alike(other, s) and not _alike(s, s):
                return Reason.SWAPPED_COLUMNS, f"{s.feature} and {other.feature} have changed places"
    return None


def unit_factor(s: Symptom) -> float | None:
    """The large factor between present and reference mean, where it is one between units and the spread changed with
    it.

    >>> unit_factor(Symptom("x", Kind.NUMERIC, 400, 0, 0, 0, 0, 2000.0, 300.0, 20.0, 3.0))
    100.0
    """
    if not s.reference_mean or not s.reference_std or not s.std or not s.mean or s.mean / s.reference_mean <= 0:
        return None
    error = s.std / abs(s.mean) / math.sqrt(max(s.events, 1))
    if error > MEAN_ERROR:
        return None
    ratio = s.mean / s.reference_mean
    factors = [f for factor in FACTORS if factor >= LARGE_FACTOR for f in (factor, 1 / factor)]
    nearest = min(factors, key=lambda factor: abs(math.log(ratio / factor)))
    fits = abs(ratio / nearest - 1) <= FACTOR_ERROR + 3 * error
    return nearest if fits and 0.5 <= s.std / s.reference_std / nearest <= 2 else None


def _alike(present: Symptom, reference: Symptom) -> bool:
    assert present.mean is not None
    assert present.std is not None
    assert reference.reference_mean is not None
    assert reference.reference_std
    close = abs(present.mean - reference.reference_mean) <= 0.25 * reference.reference_std
    return close and 0.75 <= present.std / reference.reference_std <= 1.33

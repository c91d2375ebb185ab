"""Changes of known size, made in a model's own rows, to answer how soon a change would have been found.

Every change leaves the rest as it is: the order of rows, their dependence, their season, their missing values.
"""

from enum import StrEnum

import numpy as np

from detectors.calibration.stretch import Column
from detectors.columns import MISSING, Floats
from detectors.features import Kind

MISSING_SHARE = 0.05
"""The share of present values that an injected gap removes."""

MIX_SHARE = 0.10
"""The share of present values that an injected mix moves from the other categories to one category."""

DISCRETE = 20
"""A column is discrete with this many rows for each of its values. Injected values then stay among its values."""


class Injected(StrEnum):
    """The injected changes, as people read them. Sigma is the reference's standard deviation."""

    QUARTER_SIGMA = ".25 sigma"
    HALF_SIGMA = ".5 sigma"
    SIGMA = "1 sigma"
    VARIANCE = "variance x2"
    MISSING = "missing +5 %"
    MIX = "mix +10 %"


SHIFTS = {Injected.QUARTER_SIGMA: 0.25, Injected.HALF_SIGMA: 0.5, Injected.SIGMA: 1.0}


def inject(column: Column, change: Injected, rng: np.random.Generator) -> Column | None:
    """The column with the change in every row; None if the feature cannot change in this way.

    * a shift adds k reference standard deviations; variance x2 spreads values about their median by sqrt(2). Both leave
      a constant alone. In a discrete column the result is rounded up or down to a value of the column, at random and in
      proportion, so that the mean is kept within the column's range;
    * missing makes 5 % of the present values missing;
    * mix moves 10 % of the present values from the others to the reference's second most frequent category.

    Cost: O(n log n).

    >>> from detectors.reference.builder import numeric_reference
    >>> from detectors.values import as_numbers
    >>> numbers, status = as_numbers(np.random.default_rng(1).normal(size=1_000))
    >>> column = Column(numeric_reference("x", numbers, status), numbers, status)
    >>> moved = inject(column, Injected.HALF_SIGMA, np.random.default_rng(2))
    >>> round(float((moved.values - numbers).mean() / column.feature.std), 3)
    0.5
    """
    feature = column.feature
    if change is Injected.MISSING:
        taken = column.present & (rng.random(len(column.status)) < MISSING_SHARE)
        return column._replace(status=np.where(taken, MISSING, column.status).astype(np.uint8))
    if change is Injected.MIX:
        if feature.kind is Kind.NUMERIC or feature.identifier or len(feature.categories) < 2:
            return None
        others = float((column.values[column.present] != 1.0).mean()) if column.present.any() else 1.0
        joins = rng.random(len(column.status)) * others < MIX_SHARE
        return column._replace(values=np.where(joins, 1.0, column.values))
    values = column.values[column.present]
    if feature.kind is not Kind.NUMERIC or not feature.std or not len(values):
        return None
    with np.errstate(over="ignore"):
        if change is Injected.VARIANCE:
            middle = float(np.median(values))
            moved = middle + 2**0.5 * (values - middle)
        else:
            moved = values + SHIFTS[change] * feature.std
    numbers = column.values.copy()
    numbers[column.present] = _among(moved, np.unique(values), rng)
    return column._replace(values=numbers)


def _among(moved: Floats, support: Floats, rng: np.random.Generator) -> Floats:
    """``moved``; in a discrete column, each value moved on to one of its neighbours in ``support``."""
    if len(support) * DISCRETE > len(moved) or len(support) < 2:
        return moved
    above = np.clip(support.searchsorted(moved), 1, len(support) - 1)
    low, high = support[above - 1], support[above]
    share = np.clip((moved - low) / (high - low), 0.0, 1.0)
    return np.where(rng.random(len(moved)) < share, high, low)

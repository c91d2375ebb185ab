"""How many values of a categorical feature to expect outside a list of its most frequent categories.

The list was chosen by the same rows that it is compared with, so it fits them better than any others: of new rows more
are outside. Only counts and shares are here; ``FeatureReference`` has what a reference keeps of them.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from detectors.columns import Integers

LATER = 5
"""The last fifth of the rows is compared with a list of those before."""


def left_out(counts: Sequence[int] | Integers, listed: int) -> float:
    """The leave-one-out share of values outside the list of the ``listed`` most frequent categories.

    It is the share of values that would find their category outside the list if they were not counted themselves; ties
    are broken by chance. ``counts``: of all categories. It is unbiased for new rows that are drawn alike, whatever
    their distribution. Where all categories are listed it is the share seen once: Good (1953),
    doi:10.1093/biomet/40.3-4.237. Cost: O(categories).

    >>> left_out([5, 3, 1, 1], 10)
    0.2
    >>> left_out([5, 3, 1, 1], 1)
    0.5
    """
    levels, many = np.unique(np.asarray(counts, np.int64), return_counts=True)
    total = int((levels * many).sum())
    if not total:
        return 0.0
    above = np.cumsum(many[::-1])[::-1] - 1  # categories that stay more frequent than one that lost a value
    tied = np.where(np.diff(levels, prepend=0) == 1, np.concatenate(([0], many[:-1])), 0)
    inside = np.clip((listed - above) / (tied + 1), 0.0, 1.0)
    inside[levels <= 1] = 0.0
    return round(1.0 - float((levels * many * inside).sum()) / total, 12)


def later(categories: Sequence[str], listed: int) -> float:
    """The share of the last fifth of ``categories``, in log order, outside the ``listed`` most frequent before it.

    Ids that live only for a while, such as sessions, are not drawn alike. Only this share shows them.

    >>> later(["a", "b", "a", "b", "c"], 10)
    1.0
    """
    cut = len(categories) - len(categories) // LATER
    if cut == len(categories):
        return 0.0
    known = {category for category, _ in Counter(categories[:cut]).most_common(listed)}
    return sum(category not in known for category in categories[cut:]) / (len(categories) - cut)

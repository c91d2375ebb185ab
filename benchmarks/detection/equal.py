"""Contenders at equal measured mean time between false alarms: the loosest parameter that keeps to it, by bisection."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from detectors.columns import Floats

STEPS = 12
"""Halvings of the parameter's range on a logarithmic scale."""


class Contender(Protocol):
    """A detector under a parameter. ``one_by_one``: what it says of a model is what it says of each feature alone."""

    @property
    def one_by_one(self) -> bool: ...

    def alarms(self, parameter: float | None, reference: Floats, streams: Floats) -> list[list[int]]:
        """Events at which it alarmed in each of ``streams``, shape (runs, events)."""
        ...

    def named(self, parameter: float | None, reference: Floats, streams: Floats, after: int) -> list[int]:
        """Features as they were blamed after event ``after``; ``streams``, shape (F, events), are one model's."""
        ...


def loosest(alarms: Callable[[float], int], strict: float, loose: float, allowed: int) -> float | None:
    """The loosest parameter with at most ``allowed`` alarms, between ``strict`` and ``loose``; None: not even strict.

    >>> round(loosest(lambda threshold: int(1e6 / threshold), strict=1e9, loose=1.0, allowed=10) / 1e4)
    10
    """
    if alarms(strict) > allowed:
        return None
    if alarms(loose) <= allowed:
        return loose
    low, high = np.log(strict), np.log(loose)
    for _ in range(STEPS):
        middle = (low + high) / 2
        if alarms(float(np.exp(middle))) <= allowed:
            low = middle
        else:
            high = middle
    return float(np.exp(low))

"""Finds the parameter at which contenders have equal mean times between false alarms, by bisection."""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from detectors.columns import Floats

STEPS = 12
"""How often the range of the parameter is halved, on a logarithmic scale."""


class Contender(Protocol):
    """A detector with a parameter. ``one_by_one``: it judges each feature of a model alone."""

    @property
    def one_by_one(self) -> bool: ...

    def alarms(self, parameter: float | None, reference: Floats, streams: Floats) -> list[list[int]]:
        """Events at which the detector alarms in each of ``streams``, shape (runs, events)."""
        ...

    def named(self, parameter: float | None, reference: Floats, streams: Floats, after: int) -> list[int]:
        """Features that are blamed after event ``after``. ``streams``: features of one model, shape (F, events)."""
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

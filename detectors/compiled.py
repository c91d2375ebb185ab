"""Loops over single values, compiled to machine code. This is the only module that imports numba.

A pass of numpy over a block costs a microsecond before it does anything. Forty passes make a batch of five rows cost as
much as a batch of five hundred. One compiled loop does the work of many passes, at 1 ns a value and step, with the same
bits: nothing is reordered or fused.
"""

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np

from detectors.columns import Bools

Loop = TypeVar("Loop", bound=Callable[..., object])

EVERYTHING: Bools = np.ones((0, 0), np.bool_)
"""The mask that leaves nothing out: loops test ``len(mask)`` first."""


def compiled(loop: Loop) -> Loop:
    """``loop``, compiled at its first call, which takes about a second; later processes read the result from disk.

    The result is stored beside the source or in the user's cache folder (numba's ``NUMBA_CACHE_DIR`` names another).
    Where neither is writable, every process compiles again.
    """
    try:
        made: Loop = numba.njit(cache=True)(loop)
    except RuntimeError:  # no folder is writable
        made = numba.njit(loop)
    return made

"""Loops over single values, compiled to machine code: the one module that knows numba.

A pass of numpy over a block costs a microsecond before it does anything, and forty of them make a batch of five rows
cost what a batch of five hundred does. One compiled loop does the work of many passes, at 1 ns a value and step, with
the same bits: nothing is reordered or fused.
"""

from collections.abc import Callable
from typing import TypeVar

import numba
import numpy as np

from detectors.columns import Bools

Loop = TypeVar("Loop", bound=Callable[..., object])

EVERYTHING: Bools = np.ones((0, 0), np.bool_)
"""Where a mask is wanted and nothing is left out: loops ask ``len(mask)`` first."""


def compiled(loop: Loop) -> Loop:
    """``loop``, compiled when it is first called, about a second; later processes take that from the disk.

    It is kept beside the source or in the user's cache folder (numba's ``NUMBA_CACHE_DIR`` names another); where
    neither can be written every process compiles anew.
    """
    try:
        made: Loop = numba.njit(cache=True)(loop)
    except RuntimeError:  # nowhere to keep it
        made = numba.njit(loop)
    return made

"""Numeric features derived from a list of numbers (an embedding): its norm and its shadows on fixed directions.

The directions have entries +-1 / sqrt(dimension), signs from SplitMix64 of (direction, place): integer arithmetic, so
they are the same on every machine and in every version, and nothing about them has to be stored.
Source: Achlioptas (2003), doi:10.1016/S0022-0000(03)00025-4.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from detectors.columns import INVALID, MISSING, PRESENT, Bytes8, Floats

DIRECTIONS = 8
"""A change that moves the mean by d in an unknown direction moves a shadow by about d / sqrt(dimension)."""

MAX_DIMENSION = 65_536
_SEED = 0x6472696674  # any number, for ever


def derived_names(feature: str) -> list[str]:
    """Keys of the derived features, in the order of ``derive``'s columns.

    >>> derived_names("embedding")[:2]
    ['embedding.norm', 'embedding.direction_1']
    """
    return [f"{feature}.norm", *(f"{feature}.direction_{k + 1}" for k in range(DIRECTIONS))]


def derive(vectors: Sequence[Any], dimension: int) -> tuple[Floats, Bytes8]:
    """Derived numbers, shape (n, 1 + DIRECTIONS), and one status per vector, shape (n,).

    None, and a vector with a missing or non-finite entry, is missing; another type or length is invalid. A vector
    gives the same bits in whatever batch it comes. Cost about DIRECTIONS * dimension ns a vector.

    >>> numbers, status = derive([[3.0, 4.0], None, [1.0]], 2)
    >>> float(numbers[0, 0]), status.tolist()
    (5.0, [0, 1, 2])
    """
    if not 0 < dimension <= MAX_DIMENSION:
        raise ValueError(f"dimension {dimension}: must be 1 to {MAX_DIMENSION}")
    table, status = np.zeros((len(vectors), dimension)), np.zeros(len(vectors), np.uint8)
    for i, vector in enumerate(vectors):
        status[i] = _read(vector, table[i])
    numbers = np.empty((len(vectors), 1 + DIRECTIONS))
    with np.errstate(over="ignore", invalid="ignore"):
        numbers[:, 0] = np.sqrt((table * table).sum(axis=1))
        for k, row in enumerate(directions(dimension)):
            numbers[:, 1 + k] = (table * row).sum(axis=1)
    status[(status == PRESENT) & ~np.isfinite(numbers).all(axis=1)] = MISSING
    numbers[status != PRESENT] = 0.0
    return numbers, status


def _read(vector: Any, into: Floats) -> int:
    if vector is None:
        return MISSING
    if not isinstance(vector, list | tuple | np.ndarray) or len(vector) != len(into):
        return INVALID
    for place, entry in enumerate(vector):
        if entry is None:
            into[:] = 0.0
            return MISSING
        if isinstance(entry, bool) or not isinstance(entry, int | float | np.integer | np.floating):
            into[:] = 0.0
            return INVALID
        try:
            into[place] = entry
        except OverflowError:  # an integer beyond float64
            into[place] = np.inf
    if not np.isfinite(into).all():
        into[:] = 0.0
        return MISSING
    return PRESENT


@lru_cache(maxsize=64)
def directions(dimension: int) -> Floats:
    """The unit directions, shape (DIRECTIONS, dimension)."""
    count = DIRECTIONS * MAX_DIMENSION
    counter = np.arange(count, dtype=np.uint64).reshape(DIRECTIONS, MAX_DIMENSION)[:, :dimension]
    bits = (counter + np.uint64(_SEED)) * np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ bits >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ bits >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    bits ^= bits >> np.uint64(31)
    signs = np.where(bits >> np.uint64(63), 1.0, -1.0)
    found: Floats = signs / np.sqrt(float(dimension))
    found.flags.writeable = False
    return found

"""Numeric features derived from a list of numbers (an embedding): its norm, projections on fixed directions, length.

The directions have entries +-1 / sqrt(dimension), with signs from SplitMix64 of (direction, place). This is integer
arithmetic, so they are the same on every machine and in every version, and nothing about them is stored.
Source: Achlioptas (2003), doi:10.1016/S0022-0000(03)00025-4.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from detectors.columns import INVALID, MISSING, PRESENT, Bytes8, Floats

DIRECTIONS = 8
"""Directions. A move of the mean by d in an unknown direction moves a projection by about d / sqrt(dimension)."""

MAX_DIMENSION = 65_536
SUFFIXES = (".norm", *(f".direction_{k + 1}" for k in range(DIRECTIONS)), ".length")
"""Endings of the derived features' names, in the order of ``derive``'s columns."""

_SEED = 0x6472696674  # any number will do, but it must never change
_BLOCK_NUMBERS = 1 << 22  # entries that are processed at once: 32 MB


def derive(vectors: Sequence[Any] | np.ndarray) -> tuple[Floats, Bytes8]:
    """Derived numbers, shape (n, 2 + DIRECTIONS), and one status per vector, shape (n,).

    Missing are None, an empty list, and a vector with a missing or non-finite entry. Invalid is what is no list of
    numbers, or longer than MAX_DIMENSION. A vector gives the same bits in any batch. An array of shape (n, dimension)
    is read as a whole. Cost: about DIRECTIONS * dimension ns a vector, and as much again for reading lists.

    >>> numbers, status = derive([[3.0, 4.0], None, ["a"]])
    >>> float(numbers[0, 0]), float(numbers[0, -1]), status.tolist()
    (5.0, 2.0, [0, 1, 2])
    """
    numbers, status = np.zeros((len(vectors), 2 + DIRECTIONS)), np.zeros(len(vectors), np.uint8)
    if isinstance(vectors, np.ndarray) and vectors.ndim == 2 and vectors.dtype.kind in "fiu":
        lengths = np.full(len(vectors), vectors.shape[1])
        status[:] = INVALID if vectors.shape[1] > MAX_DIMENSION else PRESENT
    else:
        status[:] = [_shape_status(vector) for vector in vectors]
        lengths = np.array([len(v) if s == PRESENT else 0 for v, s in zip(vectors, status, strict=True)], np.int64)
    status[(lengths == 0) & (status == PRESENT)] = MISSING
    for length in np.unique(lengths[status == PRESENT]).tolist():
        rows = np.flatnonzero((lengths == length) & (status == PRESENT))
        for part in np.array_split(rows, -(-len(rows) * length // _BLOCK_NUMBERS)):
            numbers[part], status[part] = _derived(vectors, part, length)
    numbers[status != PRESENT] = 0.0
    return numbers, status


def _shape_status(vector: Any) -> int:
    if vector is None:
        return MISSING
    if not isinstance(vector, list | tuple | np.ndarray) or len(vector) > MAX_DIMENSION:
        return INVALID
    return PRESENT


def _derived(vectors: Sequence[Any] | np.ndarray, rows: np.ndarray, length: int) -> tuple[Floats, Bytes8]:
    """Derived numbers and status of the vectors in ``rows``, all of one length."""
    status = np.full(len(rows), PRESENT, np.uint8)
    if isinstance(vectors, np.ndarray) and vectors.ndim == 2:
        table: Floats = vectors[rows].astype(np.float64)
    else:
        table = np.zeros((len(rows), length))
        for into, row in enumerate(rows.tolist()):
            status[into] = _read(vectors[row], table[into])
    absent = ~np.isfinite(table).all(axis=1)
    status[absent & (status == PRESENT)] = MISSING
    table[absent] = 0.0
    numbers = np.empty((len(rows), 2 + DIRECTIONS))
    with np.errstate(over="ignore", invalid="ignore"):
        numbers[:, 0] = np.sqrt((table * table).sum(axis=1))
        for k, row in enumerate(directions(length)):
            numbers[:, 1 + k] = (table * row).sum(axis=1)
    numbers[:, -1] = length
    status[(status == PRESENT) & ~np.isfinite(numbers).all(axis=1)] = MISSING
    return numbers, status


def _read(vector: Any, into: Floats) -> int:
    """Reads the entries into a row. None and numbers beyond float64 become infinities, which mark it missing."""
    for place, entry in enumerate(vector):
        if entry is None:
            into[place] = np.inf
        elif isinstance(entry, bool | np.bool_) or not isinstance(entry, int | float | np.integer | np.floating):
            into[:] = 0.0
            return INVALID
        else:
            try:
                into[place] = entry
            except OverflowError:
                into[place] = np.inf
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

"""A stretch of a model's own rows, in the form that looks are counted from: one code for every value and status.

Counting the codes of a look's rows gives the same table that the judge makes of the look's profile, without decoding,
cells, sketches or detectors. So thousands of changed or resampled streams are judged in the time of one replay.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from detectors.calibration import bootstrap
from detectors.calibration.bootstrap import BlockLength
from detectors.columns import PRESENT, Bools, Bytes8, Floats, Integers
from detectors.evidence.sheets import Layout, Sheet, cell_counts
from detectors.features import Kind
from detectors.reference.reference import FeatureReference

Codes = npt.NDArray[np.int32]

CATEGORIES_LOOKED_AT = 8
"""Frequent categories that the block length is estimated from."""


class Column(NamedTuple):
    """One feature of n rows. ``values``: numbers of a numeric feature, cells of any other; undefined where absent."""

    feature: FeatureReference
    values: Floats
    status: Bytes8

    def cells(self) -> Integers:
        """The reference's cell of every value, shape (n,)."""
        if self.feature.kind is not Kind.NUMERIC:
            return self.values.astype(np.int64)
        return np.asarray(self.feature.edges).searchsorted(self.values, side="right").astype(np.int64)

    @property
    def present(self) -> Bools:
        """Whether there is a value, shape (n,)."""
        return np.asarray(self.status == PRESENT)


def category_cells(feature: FeatureReference, categories: Iterable[str | None]) -> Floats:
    """The cell of every category; unlisted ones have the last cell. None is absent and becomes 0.

    >>> from detectors.reference.builder import category_counts
    >>> colour = category_counts("colour", Kind.CATEGORICAL, {"red": 2, "blue": 1}, 0, 0)
    >>> category_cells(colour, ["blue", "pink", "red"]).tolist()
    [1.0, 3.0, 0.0]
    """
    index = {category: float(at) for at, category in enumerate(feature.categories)}
    unseen = len(feature.categories) + 1.0
    return np.array([0.0 if category is None else index.get(category, unseen) for category in categories])


@dataclass(slots=True, frozen=True)
class Stretch:
    """n rows in log order. ``timed``: the rows have times of their own, not those of a steady clock."""

    columns: Sequence[Column]
    moments_ms: Integers
    timed: bool

    def __len__(self) -> int:
        return len(self.moments_ms)


def codes(columns: Sequence[Column], layout: Layout, sheet: Sheet) -> Codes:
    """Places in a look's table, shape (n, 2 F): of every value (the table's end where there is none), and of every
    status.
    """
    count = len(layout.names)
    width = sheet.shares.shape[1]
    nowhere = 2 * count * width
    found = np.empty((len(columns[0].status), 2 * count), np.int32)  # a status's code is its bin: present is 0
    for f, column in enumerate(columns):
        if column.feature.kind is Kind.NUMERIC and not column.feature.edges:
            found[:, f] = nowhere
        else:
            offset = layout.offsets[f]
            found[:, f] = np.where(column.present, sheet.flat[offset + column.cells()], nowhere)
        found[:, count + f] = column.status.astype(np.int64) + (count + f) * width
    return found


def tables(found: Codes, look_events: int, shape: tuple[int, int]) -> Floats:
    """The counts of every look, shape (looks, D, B), from rows of ``codes`` in order; the last look may be shorter.

    Cost: about 3 ns a code.
    """
    size = shape[0] * shape[1]
    looks = -(-len(found) // look_events)
    which = np.repeat(np.arange(looks) * (size + 1), look_events)[: len(found)]
    counts = np.bincount((found + which[:, None]).reshape(-1), minlength=looks * (size + 1))
    return counts.reshape(looks, size + 1)[:, :size].reshape(looks, *shape).astype(np.float64)


def longest_block(columns: Sequence[Column]) -> BlockLength:
    """The block length that the most dependent channel of all columns needs: rank, spread, categories and presence."""
    needed = [bootstrap.block_length(channel) for column in columns for channel in _channels(column)]
    return BlockLength(max((b.rows for b in needed), default=1), all(b.enough for b in needed))


def _channels(column: Column) -> list[Floats]:
    channels = [column.present.astype(np.float64)]
    cells = column.cells()[column.present]
    if column.feature.kind is Kind.NUMERIC:
        counts = cell_counts(column.feature)
        ranks = ((np.cumsum(counts) - counts / 2) / max(counts.sum(), 1.0))[np.minimum(cells, len(counts) - 1)]
        return [*channels, ranks, np.abs(ranks - 0.5)]
    listed = min(len(column.feature.categories), CATEGORIES_LOOKED_AT)
    return [*channels, *((cells == c).astype(np.float64) for c in range(listed))]

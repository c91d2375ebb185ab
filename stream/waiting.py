"""What was read of a unit and is not folded in yet. No I/O.

Calls cost more than the work where a few rows come at a time, as they do when events of many models lie mixed. So rows
wait for each other. It changes no result: a fold gives the same however rows were cut into calls.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.bank_numbers import BLOCK
from detectors.column_batches import joined, same_shape
from stream.columnar import UnitBatch
from stream.shapes import Part, ShapedRows

PENDING = BLOCK // 2
"""Rows of a unit that wait at most, as many as come between two looks: 80 KB of 20 features."""


class Waiting:
    """Parts of one unit in the order of the log. ``rows`` and ``values`` of all, ``newest_ms`` their highest time."""

    __slots__ = ("_batches", "_read", "newest_ms", "rows", "values")

    def __init__(self) -> None:
        self._batches: list[UnitBatch] = []
        self._read: list[ShapedRows] = []  # of one shape, after all batches
        self.rows = self.values = self.newest_ms = 0

    def add(self, part: Part) -> None:
        """It follows all before."""
        count = len(part.timestamps_ms)
        self.rows += count
        self.values += count * part.width
        self.newest_ms = max(self.newest_ms, part.newest_ms)
        if self._read and (isinstance(part, UnitBatch) or self._read[0].shape is not part.shape):
            self._settle_read()
        if isinstance(part, UnitBatch):
            self._batches.append(part)
        else:
            self._read.append(part)

    def _settle_read(self) -> None:
        read, self._read = self._read, []
        self._batches.append((read[0] if len(read) == 1 else _read_together(read)).batch())

    def take(self) -> list[UnitBatch]:
        """All that waits, what has the same columns as one; nothing waits afterwards."""
        if self._read:
            self._settle_read()
        batches, self._batches = self._batches, []
        self.rows = self.values = self.newest_ms = 0
        if len(batches) == 1:
            return batches
        taken: list[UnitBatch] = []
        start = 0
        for end in range(1, len(batches) + 1):
            if end == len(batches) or not same_shape(batches[start].columns, batches[end].columns):
                taken.append(_together(batches[start:end]))
                start = end
        return taken


def _read_together(parts: Sequence[ShapedRows]) -> ShapedRows:
    features: list[Any] = []
    rows: list[tuple[Any, ...]] = []
    next_offsets: list[int] = []
    for part in parts:
        features += part.features
        rows += part.rows
        next_offsets += part.next_offsets
    times_ms = np.concatenate([part.timestamps_ms for part in parts])
    return parts[0]._replace(features=features, rows=rows, next_offsets=next_offsets, timestamps_ms=times_ms)


def _together(parts: Sequence[UnitBatch]) -> UnitBatch:
    if len(parts) == 1:
        return parts[0]
    environments, identities = list[tuple[int, str]](), list[str | None]()
    for part in parts:
        environments += [(len(identities) + row, text) for row, text in part.environments]
        identities += part.identities
    return UnitBatch(joined([part.columns for part in parts]), identities, environments)

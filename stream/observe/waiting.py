"""What was read of a unit and is not folded in yet. No I/O.

Calls cost more than the work where a few rows come at a time, as they do when events of many models lie mixed. So rows
wait for each other. It changes no result: a fold gives the same however rows were cut into calls.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from detectors.bank.numbers import BLOCK
from detectors.column_batches import joined, same_shape
from detectors.features import UnitKey
from stream.formats.columns import UnitBatch
from stream.formats.shapes import Part, Shape

PENDING = BLOCK // 2
"""Rows of a unit that wait at most, as many as come between two looks: 50 KB of 20 features."""


class Waiting:
    """Parts of one unit in the order of the log. ``rows`` and ``values`` of all, ``newest_ms`` their highest time."""

    __slots__ = ("_batches", "_others", "_packed", "_shape", "newest_ms", "rows", "values")

    def __init__(self) -> None:
        self._batches: list[UnitBatch] = []
        self._shape: Shape | None = None  # of what is packed, which comes after all batches
        self._packed: list[bytes] = []
        self._others: list[tuple[Any, ...]] = []
        self.rows = self.values = self.newest_ms = 0

    def add(self, part: Part) -> None:
        """It follows all before."""
        count = len(part.timestamps_ms)
        self.rows += count
        self.values += count * part.width
        self.newest_ms = max(self.newest_ms, part.newest_ms)
        if isinstance(part, UnitBatch):
            self._unpack(part.unit)
            self._batches.append(part)
            return
        if part.shape is not self._shape:
            self._unpack(part.unit)
            self._shape = part.shape
        self._packed.append(part.packed)
        self._others += part.others

    def _unpack(self, unit: UnitKey) -> None:
        if self._packed:
            assert self._shape is not None
            self._batches.append(self._shape.unpacked(unit, b"".join(self._packed), self._others))
            self._packed, self._others = [], []

    def take(self, unit: UnitKey) -> list[UnitBatch]:
        """All that waits of the unit, what has the same columns as one; nothing waits afterwards."""
        self._unpack(unit)
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


def _together(parts: Sequence[UnitBatch]) -> UnitBatch:
    if len(parts) == 1:
        return parts[0]
    environments, rows = list[tuple[int, str]](), 0
    for part in parts:
        environments += [(rows + row, text) for row, text in part.environments]
        rows += len(part.columns)
    identities = np.concatenate([part.identities for part in parts])
    return UnitBatch(joined([part.columns for part in parts]), identities, environments)

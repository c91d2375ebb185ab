"""Rows of a unit that were read and are not folded in yet. No I/O.

When events of many models are mixed, each call brings only a few rows of a unit, and the calls cost more than the work.
So rows wait until there are many. This changes no result: a fold gives the same result however rows are split over
calls.
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
"""Rows of a unit that wait before they are folded in: 50 KB with 20 features."""


class Waiting:
    """Parts of one unit in the order of the log.

    ``rows`` and ``values`` count all that wait. ``first_clock_ms`` and ``clock_ms``: the partition's clock at the first
    and at the last of them.
    """

    __slots__ = ("_batches", "_others", "_packed", "_shape", "clock_ms", "first_clock_ms", "rows", "values")

    def __init__(self) -> None:
        self._batches: list[UnitBatch] = []
        self._shape: Shape | None = None  # of the packed rows, which follow all batches
        self._packed: list[bytes] = []
        self._others: list[tuple[Any, ...]] = []
        self.rows = self.values = self.first_clock_ms = self.clock_ms = 0

    def append(self, part: Part) -> None:
        """Appends rows that follow all others in the log."""
        count = len(part.timestamps_ms)
        if not self.rows:
            self.first_clock_ms = part.first_clock_ms
        self.rows += count
        self.values += count * part.width
        self.clock_ms = part.clock_ms
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

    def drain(self, unit: UnitKey) -> list[UnitBatch]:
        """All rows that wait, as few batches as their columns allow. No row waits afterwards."""
        self._unpack(unit)
        batches, self._batches = self._batches, []
        self.rows = self.values = 0
        if len(batches) == 1:
            return batches
        found: list[UnitBatch] = []
        start = 0
        for end in range(1, len(batches) + 1):
            if end == len(batches) or not same_shape(batches[start].columns, batches[end].columns):
                found.append(_together(batches[start:end]))
                start = end
        return found


def _together(parts: Sequence[UnitBatch]) -> UnitBatch:
    if len(parts) == 1:
        return parts[0]
    environments, rows = list[tuple[int, str]](), 0
    for part in parts:
        environments += [(rows + row, text) for row, text in part.environments]
        rows += len(part.columns)
    identities = np.concatenate([part.identities for part in parts])
    clocks_ms = np.concatenate([part.clocks_ms for part in parts])
    return UnitBatch(joined([part.columns for part in parts]), identities, clocks_ms, environments)

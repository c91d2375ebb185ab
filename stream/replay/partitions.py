"""How a replay splits the rows of a file over simulated partitions, and how unevenly these are read."""

import random
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

from detectors.errors import FormatError
from stream.files.reference_rows import Row
from stream.topics.record import Record

KEYED_PARTITIONS = 4
"""Partitions where the rows are split by a column and no number is given."""


class Chunk(NamedTuple):
    """The rows of one look in one partition. ``look``: number of the look, from 1."""

    part: int
    look: int
    records: list[Record]


class Split:
    """Assigns rows to partitions: in turn, or by the value of ``column``, as a keyed topic does.

    ``rows``: how many rows were split. ``now_ms``: the newest time. Raises FormatError for a row without ``column``.
    """

    __slots__ = ("_column", "_file", "_offsets", "_places", "now_ms", "rows")

    def __init__(self, file: str, partitions: int, column: str | None) -> None:
        self._file, self._column = file, column
        self._offsets = [0] * partitions
        self._places: dict[tuple[int, int], tuple[int, int]] = {}  # partition, offset -> row of the file, its position
        self.rows = self.now_ms = 0

    def split(self, rows: Sequence[Row]) -> dict[int, list[Record]]:
        """The records of ``rows`` by partition."""
        found: dict[int, list[Record]] = {}
        for number, moment_ms, value in rows:
            part = self._part_of(number, value)
            offset = self._offsets[part]
            found.setdefault(part, []).append(Record(offset, moment_ms, None, value))
            self._offsets[part] = offset + 1
            self.now_ms = max(self.now_ms, moment_ms) if self.rows else moment_ms
            self.rows += 1
            self._places[part, offset] = number, self.rows
        return found

    def row_of(self, part: int, offset: int) -> int:
        """The number in the file of the row at ``offset`` of a partition."""
        return self._places[part, offset][0]

    def position_of(self, part: int, offset: int) -> int:
        """How many rows were split when the row at ``offset`` of a partition was."""
        return self._places[part, offset][1]

    def forget(self, part: int, records: Sequence[Record]) -> None:
        """These rows were read: no row of them is asked for any more."""
        for record in records:
            del self._places[part, record.offset]

    def _part_of(self, number: int, value: bytes) -> int:
        if self._column is None:
            return self.rows % len(self._offsets)
        try:
            features = orjson.loads(value)["features"]
            key = features[self._column]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise FormatError(
                f"{self._file}: row {number}: has no feature {self._column!r}, by which --partition-by splits the rows"
            ) from None
        return zlib.crc32(orjson.dumps(key)) % len(self._offsets)


class UnevenReading:
    """Reads partitions unevenly: how far each one is ahead is chance, which ``seed`` decides.

    A partition keeps the order of its rows. Cost: 1 us a chunk.
    """

    __slots__ = ("_chance", "_waiting")

    def __init__(self, partitions: int, seed: int) -> None:
        self._chance = random.Random(seed)
        self._waiting: list[deque[Chunk]] = [deque() for _ in range(partitions)]

    def append(self, look: int, split: dict[int, list[Record]]) -> None:
        """Adds the rows of one look; a partition without rows has an empty chunk."""
        for part, waiting in enumerate(self._waiting):
            waiting.append(Chunk(part, look, split.get(part, [])))

    def ready(self, *, rest: bool = False) -> Iterator[Chunk]:
        """Some of the chunks that wait, or the ``rest`` of them, in an order that is chance."""
        while any(self._waiting):
            waiting = self._chance.choice([one for one in self._waiting if one])
            for _ in range(self._chance.choice((1, 3, 40))):
                if waiting:
                    yield waiting.popleft()
            if not rest and self._chance.random() < 0.7:
                return

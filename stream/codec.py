"""Records of a partition into columns by unit. Chooses between the fast path and the general one; both give the same.

State here is only what shapes were seen, which changes speed and never a result.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from detectors.columns import Integers
from detectors.errors import FormatError
from detectors.features import UnitKey
from stream import events, shapes
from stream.columnar import UnitBatch, batches_of, merged
from stream.events import Row, Rules
from stream.ports import Partition, Record
from stream.shapes import Read, Shape, ShapedRows, event_times, unit_of

MAX_SHAPES = 4_096
"""Hints with a shape, and compiled ones. Beyond it all are forgotten and learned anew."""

MAX_COMPILED_FIELDS = 300_000
"""Of all compiled shapes together, at about 450 bytes: 140 MB under a flood of names, as above beyond it. A thousand
models of 200 features fit that share none."""

LEAF = 32
"""A group that does not fit is cut in eight until so few are left, which take the general path."""

SAMPLED = 16
"""Events a shape is learned from."""

ROWS_BITS = 24
"""Place of a row: record in the batch << 24 | row in the message."""


class Limits(msgspec.Struct, frozen=True):
    """Of one message."""

    event_bytes: int = 4_194_304
    rows_per_message: int = 100_000


@dataclass(slots=True)
class Decoded:
    """``parts`` one per unit, each in log order, the unit that came first first; ``rejects`` records that cannot be
    read, with the reason."""

    parts: list[UnitBatch | ShapedRows] = field(default_factory=list)
    rejects: list[tuple[Record, str]] = field(default_factory=list)
    limited: dict[str, int] = field(default_factory=dict)

    @property
    def batches(self) -> list[UnitBatch]:
        """The parts as columns."""
        return [part.batch() for part in self.parts]

    def count(self, limit: str, times: int) -> None:
        if times:
            self.limited[limit] = self.limited.get(limit, 0) + times


class _Batch:
    """One call's records as columns of their own."""

    __slots__ = ("decoded", "general", "mixed", "next_offsets", "order", "record_ms", "records", "values")

    def __init__(self, records: Sequence[Record]) -> None:
        offsets, timestamps, _, values, _ = zip(*records, strict=True)
        self.records = records
        self.values: tuple[bytes | None, ...] = values
        self.next_offsets: Integers = np.array(offsets, np.int64) + 1
        self.record_ms: Integers = np.array(timestamps, np.int64)
        self.order: Integers = np.arange(len(records), dtype=np.int64) << ROWS_BITS
        self.general: list[int] = []
        self.mixed = _Mixed()
        self.decoded = Decoded()


class _Mixed:
    """Rows that were read and belong to several units. A group is what of one unit came in one shape.

    ``at``: places in the batch; ``codes``: numbers of their groups, by row; ``times`` as they came.
    """

    __slots__ = ("at", "codes", "groups", "rows", "times")

    def __init__(self) -> None:
        self.at: list[int] = []
        self.rows: list[Any] = []
        self.codes: list[int] = []
        self.times: list[Any] = []
        self.groups: list[tuple[Shape, UnitKey]] = []

    def add(self, shape: Shape, at: Sequence[int], read: Read) -> None:
        """Raises FormatError for a name that cannot be a unit's; nothing is added then."""
        first = len(self.groups)
        codes = {key: first + number for number, key in enumerate(dict.fromkeys(read.keys))}
        self.groups += [(shape, unit_of(key)) for key in codes]
        self.codes += map(codes.__getitem__, read.keys)
        self.at += at
        self.rows += zip(*read.fields, strict=True)
        self.times += read.times

    def parts(self, batch: _Batch) -> Iterator[ShapedRows]:
        """One per group."""
        if not self.rows:
            return
        codes = np.array(self.codes, np.int32)
        by = np.argsort(codes, kind="stable")
        at = np.array(self.at)[by]
        chosen = by.tolist()
        rows, times = [self.rows[i] for i in chosen], [self.times[i] for i in chosen]
        order, next_offsets = batch.order[at], batch.next_offsets[at]
        times_ms, clamped = event_times(times, batch.record_ms[at])
        batch.decoded.count("timestamps", clamped)
        counts = np.bincount(codes)
        ends = np.cumsum(counts)
        starts = ends - counts
        newest = np.maximum.reduceat(times_ms, starts).tolist()
        for (shape, unit), start, end, ms in zip(self.groups, starts.tolist(), ends.tolist(), newest, strict=True):
            yield ShapedRows(
                unit, shape, rows[start:end], next_offsets[start:end], times_ms[start:end], order[start:end], ms
            )


class Decoder:
    """Native events. Cost about 1.7 us for an event of 20 numbers of a known shape, 6-10 us on the general path.

    :param rules: by model, how its events are read.
    """

    __slots__ = ("_compiled", "_fields", "_limits", "_rules", "_shapes", "_sole")

    def __init__(self, rules: Mapping[str, Rules] | None = None, limits: Limits | None = None) -> None:
        self._rules = rules or {}
        self._limits = limits or Limits()
        self._shapes: dict[bytes, Shape] = {}  # by what was sniffed
        self._compiled: dict[str, Shape] = {}  # by specification: models that send the same share one
        self._sole: dict[Partition, Shape] = {}
        self._fields = 0

    def decode(self, partition: Partition, records: Sequence[Record], *, fast: bool = True) -> Decoded:
        """Everything in these records of one partition, which follow all before. Never raises for any bytes."""
        if not records:
            return Decoded()
        batch = _Batch(records)
        if fast:
            self._fast(partition, batch)
        else:
            batch.general = list(range(len(records)))
        self._general(batch)
        batch.decoded.parts += batch.mixed.parts(batch)
        self._one_each(batch.decoded)
        return batch.decoded

    @staticmethod
    def _one_each(decoded: Decoded) -> None:
        """One part for each unit."""
        by_unit: dict[UnitKey, list[UnitBatch | ShapedRows]] = {}
        for part in decoded.parts:
            by_unit.setdefault(part.unit, []).append(part)
        every = by_unit.values()
        parts = [found[0] if len(found) == 1 else merged([part.batch() for part in found]) for found in every]
        decoded.parts = sorted(parts, key=lambda part: int(part.order[0]))

    def _fast(self, partition: Partition, batch: _Batch) -> None:
        sole = self._sole.pop(partition, None)
        if sole is not None and self._attempt(sole, batch, np.arange(len(batch.records))):
            self._sole[partition] = sole
            return
        hints = list(map(_sniffed, batch.values))
        misfits = self._by_shape(batch, hints, range(len(hints)))
        if misfits and self._learn(batch, hints, misfits):
            misfits = self._by_shape(batch, hints, sorted(misfits))
        batch.general += misfits
        found = {self._shapes.get(hint) for hint in set(hints)}
        only = found.pop()
        if only is not None and not found:
            self._sole[partition] = only

    def _by_shape(self, batch: _Batch, hints: Sequence[bytes], members: Sequence[int]) -> list[int]:
        """Decodes what fits the shape known for its hint, all of one shape together; the rest comes back."""
        groups: dict[Shape, list[int]] = {}
        misfits: list[int] = []
        for at in members:
            shape = self._shapes.get(hints[at])
            if shape is None:
                misfits.append(at)
            else:
                groups.setdefault(shape, []).append(at)
        for shape, found in groups.items():
            self._divide(shape, batch, np.array(found), misfits)
        return misfits

    def _learn(self, batch: _Batch, hints: Sequence[bytes], misfits: Sequence[int]) -> bool:
        """Learns shapes from some misfits of every hint; whether any is new."""
        samples: dict[bytes, list[bytes | None]] = {}
        for at in misfits:
            sample = samples.setdefault(hints[at], [])
            if len(sample) < SAMPLED:
                sample.append(batch.values[at])
        learned = {hint: self._learned(hint, sample) for hint, sample in samples.items()}
        return any(learned.values())

    def _learned(self, hint: bytes, values: Sequence[bytes | None]) -> bool:
        known = self._shapes.get(hint)
        spec = shapes.learn(_plain(values), None if known is None else known.spec, self._rules)
        if spec is None or (known is not None and spec == known.spec):
            return False
        name = repr(spec)  # names in their order: the compiled decoder expects them so
        shape = self._compiled.get(name)
        if shape is None:
            self._fields += spec.size
            if self._fields > MAX_COMPILED_FIELDS or max(len(self._shapes), len(self._compiled)) >= MAX_SHAPES:
                self._shapes.clear()
                self._compiled.clear()
                self._fields = spec.size
            shape = self._compiled[name] = Shape(spec, self._rules)
        self._shapes[hint] = shape
        return True

    def _divide(self, shape: Shape, batch: _Batch, members: Integers, misfits: list[int]) -> None:
        if self._attempt(shape, batch, members):
            return
        if len(members) <= LEAF:
            misfits += members.tolist()
            return
        for part in np.array_split(members, 8):
            self._divide(shape, batch, part, misfits)

    def _attempt(self, shape: Shape, batch: _Batch, members: Integers) -> bool:
        whole = len(members) == len(batch.records)
        values: Any = batch.values if whole else [batch.values[at] for at in members.tolist()]
        read = shape.read(values, self._limits.event_bytes)
        if read is None:
            return False
        try:
            if len(set(read.keys)) > 1:
                batch.mixed.add(shape, members.tolist(), read)
                return True
            unit = unit_of(read.keys[0])
        except FormatError:
            return False
        times_ms, clamped = event_times(read.times, batch.record_ms[members])
        batch.decoded.count("timestamps", clamped)
        batch.decoded.parts.append(
            shape.columns(read.fields, unit, batch.next_offsets[members], times_ms, batch.order[members])
        )
        return True

    def _general(self, batch: _Batch) -> None:
        rows: list[Row] = []
        offsets: list[int] = []
        order: list[int] = []
        limits = self._limits
        batch.general.sort()
        for at in batch.general:
            record = batch.records[at]
            try:
                found = events.read_message(record, self._rules, limits.event_bytes, limits.rows_per_message)
            except FormatError as error:
                batch.decoded.rejects.append((record, str(error)))
                continue
            rows += found
            offsets += [record.offset + 1] * len(found)
            order += range(at << ROWS_BITS, (at << ROWS_BITS) + len(found))
        if rows:
            batches, unnamed = batches_of(rows, offsets, order)
            batch.decoded.parts += batches
            batch.decoded.count("features", unnamed)
            batch.decoded.count("timestamps", sum(row.clamped for row in rows))


def _sniffed(value: bytes | None) -> bytes:
    """What tells producers apart without decoding: the text from the model's key to the next comma."""
    if not value:
        return b""
    start = value.find(b'"model"', 0, 4096)
    return b"" if start < 0 else value[start : value.find(b",", start, start + 256)]


def _plain(values: Sequence[bytes | None]) -> list[Any]:
    decode: Callable[[bytes], Any] = msgspec.json.decode
    plain = []
    for value in values:
        try:
            plain.append(decode(value or b""))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
    return plain

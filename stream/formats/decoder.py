"""Decodes records of a partition into columns by unit. Chooses between the fast path and the general one.

Both paths give the same result. The only state is which shapes were seen; it changes the speed and never a result.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from detectors.columns import Floats, Integers
from detectors.errors import reason_of
from detectors.features import UnitKey
from stream.formats import registry
from stream.formats.clock import NONE_MS, clocks_of
from stream.formats.columns import UnitBatch, batches_of, interleaved, merged
from stream.formats.ids import Identities
from stream.formats.message import IgnoredRecord, Message
from stream.formats.row import Limits, Row, Rules
from stream.formats.schemas import NO_SCHEMAS, Schemas
from stream.formats.shape_spec import learn
from stream.formats.shapes import Key, Part, Read, Shape, ShapedRows, event_times, unit_of
from stream.formats.topic_rules import NO_TOPIC_RULES, TopicRules
from stream.topics.record import Partition, Record

MAX_SHAPES = 4_096
"""Most hints with a shape, and most compiled shapes. Beyond it all are removed and learned again."""

MAX_COMPILED_FIELDS = 300_000
"""Most fields of all compiled shapes together. Beyond it all shapes are removed and learned again.

A field takes about 450 bytes, so a flood of names takes at most 140 MB. A thousand models with 200 features each fit,
when no two models share a feature.
"""

LEAF = 32
"""A group of events that does not fit its shape is cut in eight, down to this size, which takes the general path."""

SAMPLED = 16
"""Most events that a shape is learned from."""

CODES = 1 << 32
"""Most groups of one shape. The number of a group divided by it is the number of the shape."""

SLICE = 1_024
"""Events that are read between two breaks: some 4 ms."""


@dataclass(slots=True)
class Decoded:
    """The result of decoding records.

    ``parts``: the rows of each unit, in the order of the log; the unit with the first row comes first. Only rows with
    very many names are several parts of one unit, each following the last one. ``rejects``:
    records that cannot be read, with the reason. ``ignored``: offsets of records that are neither an event nor a fault.
    ``limited``: how often each limit was reached. ``clock_ms``: the
    partition's clock (see ``clock``) after these records; the caller sets it to that before them.
    """

    clock_ms: int | None = None
    parts: list[Part] = field(default_factory=list)
    rejects: list[tuple[Record, str]] = field(default_factory=list)
    ignored: list[int] = field(default_factory=list)
    limited: dict[str, int] = field(default_factory=dict)

    @property
    def batches(self) -> list[UnitBatch]:
        """The parts as columns."""
        return [part.batch() for part in self.parts]

    def count(self, limit: str, times: int) -> None:
        """Adds to ``limited``."""
        if times:
            self.limited[limit] = self.limited.get(limit, 0) + times


class _Batch:
    """The records of one call, member by member."""

    __slots__ = ("decoded", "general", "headers", "newest_ms", "next_offsets", "read", "record_ms", "records", "topic",
                 "values")  # fmt: skip

    def __init__(self, topic: str, records: Sequence[Record], decoded: Decoded) -> None:
        offsets, timestamps, _, values, headers = zip(*records, strict=True)
        self.topic = topic
        self.headers: tuple[registry.Headers, ...] = headers
        self.records, self.decoded = records, decoded
        self.values: tuple[bytes | None, ...] = values
        self.next_offsets: Integers = np.array(offsets, np.int64) + 1
        self.record_ms: Integers = np.array(timestamps, np.int64)
        self.newest_ms: Integers = np.full(len(records), NONE_MS)
        self.read = _Rows()
        self.general: list[int] = []


class _Rows:
    """Rows that the fast path has read. A group holds the rows of one unit in one shape.

    For each row: ``at``: its place in the batch; ``codes``: the number of its group; ``rows``: its place among the rows
    of its shape; ``times``: its event time as the event holds it.
    """

    __slots__ = ("_codes", "_found", "_numbers", "at", "codes", "groups", "rows", "times")

    def __init__(self) -> None:
        self.at: list[int] = []
        self.codes: list[int] = []
        self.rows: list[int] = []
        self.times: list[Any] = []
        self.groups: dict[int, tuple[Shape, UnitKey]] = {}
        self._numbers: dict[Shape, int] = {}
        self._codes: dict[Shape, dict[Key, int]] = {}
        self._found: dict[Shape, list[Read]] = {}

    def append(self, shape: Shape, at: Sequence[int], read: Read) -> None:
        """Appends what a shape read from the records at ``at``.

        Raises FormatError when an event's names cannot be those of a unit; nothing is appended then.
        """
        found = self._found.setdefault(shape, [])
        codes = self._codes.setdefault(shape, {})
        new = [(key, unit_of(key)) for key in dict.fromkeys(read.keys) if key not in codes]
        first = self._numbers.setdefault(shape, len(self._numbers)) * CODES + len(codes)
        for code, (key, unit) in enumerate(new, first):
            codes[key], self.groups[code] = code, (shape, unit)
        self.codes += map(codes.__getitem__, read.keys)
        start = sum(len(before.keys) for before in found)
        self.rows += range(start, start + len(at))
        self.at += at
        self.times += read.times
        found.append(read)

    def timed(self, batch: _Batch) -> tuple[Integers, Integers]:
        """Places in the batch and event times of all rows. Notes the times in ``batch.newest_ms``."""
        at: Integers = np.array(self.at, np.int64)
        if not self.groups:
            return at, at
        times_ms, clamped = event_times(self.times, batch.record_ms[at])
        batch.decoded.count("timestamps", clamped)
        batch.newest_ms[at] = times_ms  # one row a record
        return at, times_ms

    def parts(self, batch: _Batch, at: Integers, times_ms: Integers, clocks_ms: Integers) -> list[Part]:
        """One per group; as columns at once where there is only one. ``clocks_ms``: of the records of the batch."""
        if not self.groups:
            return []
        if len(self.groups) == 1 and (np.diff(at) > 0).all():
            ((shape, unit),) = self.groups.values()
            numbers, identities, others = _together(self._found[shape])
            return [shape.columns(unit, numbers, identities, times_ms, batch.next_offsets[at], clocks_ms[at], others)]
        codes = np.array(self.codes)
        by = np.lexsort((at, codes))
        codes, times_ms, rows, at = codes[by], times_ms[by], np.array(self.rows)[by], at[by]
        return list(self._packed(codes, rows, times_ms, batch.next_offsets[at], clocks_ms[at]))

    def _packed(
        self, codes: Integers, rows: Integers, times_ms: Integers, next_offsets: Integers, clocks_ms: Integers
    ) -> Iterator[Part]:
        """Parts of groups one after the other."""
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        ends = np.append(starts[1:], len(codes))
        begins, lasts, firsts = (
            found.tolist() for found in (clocks_ms[starts], clocks_ms[ends - 1], next_offsets[starts])
        )
        shape: Shape | None = None
        groups = zip(codes[starts].tolist(), starts.tolist(), ends.tolist(), firsts, begins, lasts, strict=True)
        for code, start, end, first, begin_ms, last_ms in groups:
            own, unit = self.groups[code]
            if own is not shape:
                shape, begin = own, start
                every = slice(begin, int(np.searchsorted(codes, (code // CODES + 1) * CODES)))
                numbers, identities, fields = _together(self._found[shape])
                at = rows[every]
                packed, size = shape.packed(
                    numbers[at], identities[at], times_ms[every], next_offsets[every], clocks_ms[every]
                )
                read = list(zip(*fields, strict=True))
                others = [read[row] for row in at.tolist()] if fields else []
            piece = slice(start - begin, end - begin)
            data = packed[piece.start * size : piece.stop * size]
            yield ShapedRows(unit, shape, data, others[piece], first, times_ms[start:end], begin_ms, last_ms)


def _together(found: Sequence[Read]) -> tuple[Floats, Identities, list[list[Any]]]:
    """Numbers, ids and other fields of one shape, over all its pieces."""
    numbers = np.concatenate([piece for read in found for piece in read.numbers])
    identities = np.concatenate([piece for read in found for piece in read.identities])
    return numbers, identities, [list(chain(*fields)) for fields in zip(*(r.others for r in found), strict=True)]


class Decoder:
    """Decodes the records of all partitions of one worker.

    Cost: about 3 us for a native event of 20 numbers in a known shape, 6 to 18 us on the general path.

    :param rules: how the events of a model are read, by model.
    :param topics: how the records of a topic are read, for topics with settings of their own. They take the general
        path.
    :param schemas: schemas of the registry; the caller adds those that ``missing`` names before it decodes.
    """

    __slots__ = ("_compiled", "_fields", "_limits", "_rules", "_schemas", "_shapes", "_sole", "_topics")

    def __init__(
        self,
        rules: Mapping[str, Rules],
        limits: Limits,
        topics: Mapping[str, TopicRules] | None = None,
        schemas: Schemas = NO_SCHEMAS,
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._topics, self._schemas = topics or {}, schemas
        self._shapes: dict[bytes, Shape] = {}  # by hint, see ``_hint``
        self._compiled: dict[str, Shape] = {}  # by specification: models that send the same names share one
        self._sole: dict[Partition, Shape] = {}
        self._fields = 0

    def decode(self, partition: Partition, records: Sequence[Record], *, fast: bool = True) -> Decoded:
        """Decodes the next records of a partition. It never raises, whatever bytes a record has."""
        decoded = Decoded()
        for _ in self.steps(partition, records, decoded, fast=fast):
            """Every step follows the last one at once."""
        return decoded

    def steps(
        self, partition: Partition, records: Sequence[Record], decoded: Decoded, *, fast: bool = True
    ) -> Iterator[None]:
        """Decodes the next records of a partition into ``decoded``, with a break after every SLICE of them."""
        if not records:
            return
        batch = _Batch(partition.topic, records, decoded)
        if fast and partition.topic not in self._topics:
            yield from self._fast(partition, batch)
        else:
            batch.general = list(range(len(records)))
        try:
            self._finish(batch, decoded.clock_ms)
        except Exception:  # an error that was not expected: the records that cause it become dead letters
            decoded.rejects, decoded.limited, decoded.ignored = [], {}, []
            batch = _Batch(partition.topic, records, decoded)
            batch.general = list(range(len(records)))
            self._finish(batch, decoded.clock_ms, each_alone=True)

    def _finish(self, batch: _Batch, clock_ms: int | None, *, each_alone: bool = False) -> None:
        """Reads what is left to the general path, and makes the parts. ``clock_ms``: before these records.

        ``each_alone``: the columns of each record are made alone, and a record that raises an error is rejected.
        """
        decoded = batch.decoded
        at, times_ms = batch.read.timed(batch)
        rows, places = self._general(batch, each_alone=each_alone)
        clocks_ms = clocks_of(batch.newest_ms, batch.record_ms, clock_ms)
        batches: list[UnitBatch] = []
        if rows:
            batches, unnamed = batches_of(rows, batch.next_offsets[places].tolist(), clocks_ms[places])
            decoded.count("features", unnamed)
            decoded.count("timestamps", sum(row.clamped for row in rows))
        decoded.parts = _in_log_order(batches, batch.read.parts(batch, at, times_ms, clocks_ms))
        decoded.clock_ms = int(clocks_ms[-1]) if clocks_ms[-1] != NONE_MS else None

    def _fast(self, partition: Partition, batch: _Batch) -> Iterator[None]:
        """Reads what fits a shape; the rest is left to the general path.

        A partition whose last batch had one shape is tried with that shape first, without a look at hints.
        """
        sole, left = self._sole.pop(partition, None), list[int]()
        others = registry.claimed_by_headers(batch.headers)
        batch.general += others
        places: Sequence[int] = range(len(batch.records))
        if others:
            places = [at for at in places if at not in others]
        for start in range(0, len(places), SLICE):
            members = places[start : start + SLICE]
            if sole is None or not self._attempt(sole, batch, members):
                left += members
            yield
        found: set[Shape | None] = set() if sole is None or len(left) == len(places) else {sole}
        hints = {at: _hint(batch.values[at]) for at in left}
        misfits = yield from self._by_shape(batch, hints, left)
        if misfits and self._learn(batch, hints, misfits):
            misfits = yield from self._by_shape(batch, hints, misfits)
        batch.general += misfits
        found |= {self._shapes.get(hint) for hint in set(hints.values())}
        if len(found) == 1 and (only := found.pop()) is not None:
            self._sole[partition] = only

    def _by_shape(
        self, batch: _Batch, hints: Mapping[int, bytes], members: Sequence[int]
    ) -> Generator[None, None, list[int]]:
        """Reads the members that fit the shape of their hint, all of one shape together. Returns the others."""
        groups: dict[Shape, list[int]] = {}
        misfits: list[int] = []
        for at in members:
            shape = self._shapes.get(hints[at])
            if shape is None:
                misfits.append(at)
            else:
                groups.setdefault(shape, []).append(at)
        for shape, found in groups.items():
            for start in range(0, len(found), SLICE):
                self._read_divided(shape, batch, found[start : start + SLICE], misfits)
                yield
        return misfits

    def _learn(self, batch: _Batch, hints: Mapping[int, bytes], misfits: Sequence[int]) -> bool:
        """Learns a shape from some misfits of every hint. Returns whether any shape is new."""
        samples: dict[bytes, list[bytes | None]] = {}
        for at in misfits:
            sample = samples.setdefault(hints[at], [])
            if len(sample) < SAMPLED and registry.is_native(self._message(batch, at), self._limits):
                sample.append(batch.values[at])
        learned = {hint: self._learned(hint, sample) for hint, sample in samples.items()}
        return any(learned.values())

    def _learned(self, hint: bytes, values: Sequence[bytes | None]) -> bool:
        known = self._shapes.get(hint)
        try:
            spec = learn(_plain(values), None if known is None else known.spec, self._rules)
        except Exception:  # without a shape these events take the general path
            return False
        if spec is None or (known is not None and spec == known.spec):
            return False
        name = repr(spec)  # holds the names in their order, on which the speed of the compiled decoder depends
        shape = self._compiled.get(name)
        if shape is None:
            self._fields += spec.size
            if self._fields > MAX_COMPILED_FIELDS or max(len(self._shapes), len(self._compiled)) >= MAX_SHAPES:
                self._shapes.clear()
                self._compiled.clear()
                self._fields = spec.size
            try:
                shape = Shape(spec, self._rules)
            except Exception:  # names that cannot be compiled: these events take the general path
                self._fields -= spec.size
                return False
            self._compiled[name] = shape
        self._shapes[hint] = shape
        return True

    def _read_divided(self, shape: Shape, batch: _Batch, members: Sequence[int], misfits: list[int]) -> None:
        """Reads the members that fit the shape, and appends the others to ``misfits``."""
        if self._attempt(shape, batch, members):
            return
        if len(members) <= LEAF:
            misfits += members
            return
        part = -(-len(members) // 8)
        for start in range(0, len(members), part):
            self._read_divided(shape, batch, members[start : start + part], misfits)

    def _attempt(self, shape: Shape, batch: _Batch, members: Sequence[int]) -> bool:
        """Reads the members if all of them fit the shape. Returns whether they do."""
        values: Any = [batch.values[at] for at in members]
        read = shape.read(values, self._limits.event_bytes)
        if read is None:
            return False
        try:
            batch.read.append(shape, members, read)
        except Exception:  # the general path finds the reason, and the record
            return False
        return True

    def _general(self, batch: _Batch, *, each_alone: bool) -> tuple[list[Row], list[int]]:
        """Rows of the general path and their places in the batch. Notes their times in ``batch.newest_ms``."""
        rows: list[Row] = []
        places: list[int] = []
        limits = self._limits
        batch.general.sort()
        for at in batch.general:
            message = self._message(batch, at)
            try:
                found = registry.read(message, self._rules, limits)
                if each_alone:
                    batches_of(found, [0] * len(found), np.zeros(len(found), np.int64))
            except IgnoredRecord:
                batch.decoded.ignored.append(message.record.offset)
                continue
            except Exception as error:  # one record never ends the reading
                batch.decoded.rejects.append((message.record, reason_of(error)))
                continue
            for limit, times in message.limited.items():
                batch.decoded.count(limit, times)
            rows += found
            places += [at] * len(found)
            if found:
                batch.newest_ms[at] = max(row.timestamp_ms for row in found)
        return rows, places

    def _message(self, batch: _Batch, at: int) -> Message:
        rules = self._topics.get(batch.topic, NO_TOPIC_RULES)
        return Message(batch.topic, batch.records[at], self._limits.event_bytes, rules, self._schemas)


def _in_log_order(general: Sequence[UnitBatch], shaped: Sequence[Part]) -> list[Part]:
    """The parts of each unit, each following the last one in the log; the unit with the first row comes first.

    A unit has one part, unless the general path made several batches of it.
    """
    parts: list[Part] = [*general, *shaped]
    if len({part.unit for part in parts}) < len(parts):
        by_unit: dict[UnitKey, tuple[list[UnitBatch], list[Part]]] = {}
        for batch in general:
            by_unit.setdefault(batch.unit, ([], []))[0].append(batch)
        for part in shaped:
            by_unit.setdefault(part.unit, ([], []))[1].append(part)
        parts = [part for own, others in by_unit.values() for part in _of_unit(own, others)]
    return sorted(parts, key=attrgetter("first"))


def _of_unit(general: Sequence[UnitBatch], shaped: Sequence[Part]) -> Sequence[Part]:
    if len(general) + len(shaped) == 1:
        return [*general, *shaped]
    others = [part.batch() for part in shaped]
    if len(general) <= 1:
        return [merged([*general, *others])]
    return interleaved(general, others) if others else general


def _hint(value: bytes | None) -> bytes:
    """Bytes that differ between models, found without decoding: from the key "model" to the next comma."""
    if not value:
        return b""
    start = value.find(b'"model"', 0, 4096)
    return b"" if start < 0 else value[start : value.find(b",", start, start + 256)]


def _plain(values: Sequence[bytes | None]) -> list[Any]:
    """The values that are JSON, decoded."""
    decode: Callable[[bytes], Any] = msgspec.json.decode
    plain = []
    for value in values:
        try:
            plain.append(decode(value or b""))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
    return plain

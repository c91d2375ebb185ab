"""The fast path of the decoder: native events of a known shape, directly into columns.

A shape describes the events of one producer: model, names and JSON types. msgspec compiles a decoder for it. An event
that does not fit the shape exactly fails there and takes the general path. Both paths give the same result.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, compress, starmap
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from detectors.columns import Floats, Integers
from detectors.features import ERROR, LATENCY_MS, PREDICTION, SCORE_PREFIX, UnitKey
from stream.formats.columns import Gathered, UnitBatch
from stream.formats.ids import Identities, numbers_of, numbers_or_none
from stream.formats.message import MAX_NESTING, SHALLOW_BYTES, is_deeper
from stream.formats.row import (
    MAX_ID,
    NO_RULES,
    NO_VERSION,
    Rules,
    category_of,
    checked_unit,
    environment_of,
    event_time,
    identity_of,
    in_reason,
    name_of,
)
from stream.formats.shape_spec import ShapeSpec

_TOP: dict[str, Any] = {
    "version": str | int | None,
    "id": str | int | None,
    "ts": int | str | float | None,
    "segment": str | int | None,
    "latency_ms": float | None,
    "error": bool | None,
    "env": dict[str, Any] | None,
}
_ALWAYS = ("version", "segment", "ts", "id", "features")
"""Members of every shape, whether events have them or not."""
READ = frozenset({"model", *_TOP, "features", "scores", "prediction"})
"""Members of an event that are read."""

_COLUMN_MEMBERS = ("features", "scores", "prediction", "latency_ms", "error", "env")
"""Members that become columns. A member that holds only numbers becomes a block of the number matrix."""
_TYPES: dict[str, Any] = {
    "number": float | None,
    "text": str | None,
    "boolean": bool | None,
    "none": None,
    "any": float | str | bool | None,
}
PIECE = 256
"""Messages that are decoded at a time: 20 features of this many messages stay in the second-level cache."""


def _struct(name: str, fields: dict[str, Any]) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        name,
        [(f"f{i}", kind, None) for i, kind in enumerate(fields.values())],
        rename={f"f{i}": field for i, field in enumerate(fields)},
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
    )


def _event(spec: ShapeSpec, nested: Mapping[str, Any], field: Mapping[str, str]) -> type[msgspec.Struct]:
    """The record of an event. ``nested``: type and default of members with a type of their own. ``field``: the name of
    each member's field."""
    members = {name: nested.get(name, (_TOP.get(name, Any), None)) for name in field}
    if any(name not in READ for name in field):  # an event with such members and without features is refused
        members["features"] = members["features"][:1]
    return msgspec.defstruct(
        "Event",
        [
            ("model", str if spec.model is None else Literal[spec.model]),
            *((field[name], *member) for name, member in members.items()),
        ],
        kw_only=True,
        rename={place: name for name, place in field.items()},
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
    )


Key = tuple[str, Any, Any]
"""Model, version and segment as the event holds them."""


class Read(NamedTuple):
    """The values that a shape read from events, in the order of the events.

    ``times``: event times as the events hold them. ``identities`` and ``numbers`` are lists of arrays, one for each
    piece that was read; ``numbers`` are rows by columns, with NaN for no value. ``others``: each member that holds more
    than numbers.
    """

    keys: list[Key]
    times: list[Any]
    identities: list[Identities]
    numbers: list[Floats]
    others: list[list[Any]]


class Shape:
    """A compiled shape, under the rules of its model if that has rules of its own.

    Rows of a single unit become columns at once. When events of several units come in turn, the rows of each unit wait
    as packed bytes until there are enough of them (``ShapedRows``).
    """

    __slots__ = (
        "_decode", "_features", "_identity", "_key", "_names", "_nested", "_others", "_row", "_ruled", "_rules",
        "_single", "_structs", "_time", "spec", "width",
    )  # fmt: skip

    def __init__(self, spec: ShapeSpec, rules: Mapping[str, Rules]) -> None:
        self.spec, self.width, self._ruled = spec, spec.size, rules
        self._rules = NO_RULES if spec.model is None else rules[spec.model]
        self._features = tuple(spec.features)
        free = self._rules.ignore | self._rules.categorical
        codes = {n: "any" if n in free else code for n, code in spec.features.items()}
        parts = {"features": codes, "scores": spec.scores}
        structs = {name: _struct(name, {n: _TYPES[code] for n, code in own.items()}) for name, own in parts.items()}
        nested: dict[str, Any] = {
            **{name: (made, made()) for name, made in structs.items()},
            "prediction": (_TYPES[spec.prediction], None),
        }
        names = [name for name in dict.fromkeys((*spec.top, *_ALWAYS)) if name != "model"]
        field = {name: f"t{i}" for i, name in enumerate(names)}
        self._decode = msgspec.json.Decoder(_event(spec, nested, field)).decode
        getters = {name: attrgetter(field[name]) for name in _COLUMN_MEMBERS if name in field}
        numbers = {name for name, own in parts.items() if own and set(own.values()) == {"number"}} | {"latency_ms"}
        if spec.prediction == "number":
            numbers.add("prediction")
        self._structs = [
            (get, struct.Struct(f"{len(parts[name])}d").pack, len(parts[name]))
            for name, get in getters.items()
            if name in numbers and name in parts
        ]
        self._single = [get for name, get in getters.items() if name in numbers and name not in parts]
        self._others = {name: get for name, get in getters.items() if name not in numbers}
        columns = {"features": self._features, "scores": tuple(SCORE_PREFIX + name for name in spec.scores),
                   "prediction": (PREDICTION,), "latency_ms": (LATENCY_MS,)}  # fmt: skip
        self._names = tuple(chain.from_iterable(columns[name] for name in getters if name in numbers))
        segment = field["segment"]
        if self._rules.segment_by in spec.features:
            segment = f"{field['features']}.f{self._features.index(self._rules.segment_by)}"
        self._nested = [attrgetter(field[n]) for n in names if n == "env" or (n not in nested and n not in _TOP)]
        self._time, self._identity = attrgetter(field["ts"]), attrgetter(field["id"])
        self._key = attrgetter("model", field["version"], segment)
        self._row = np.dtype(
            [("numbers", np.float64, (len(self._names),)), ("identity", np.uint64), ("time_ms", np.int64),
             ("next_offset", np.int64), ("clock_ms", np.int64)]
        )  # fmt: skip

    def read(self, values: Sequence[bytes], most_bytes: int) -> Read | None:
        """Reads messages with one event each; None when one of them does not fit the shape."""
        read = Read([], [], [], [], [[] for _ in self._others])
        try:
            longest = max(map(len, values))
            if longest > most_bytes:
                return None
            for start in range(0, len(values), PIECE):
                events = list(map(self._decode, values[start : start + PIECE]))
                if longest > SHALLOW_BYTES and self._is_deep(events):
                    return None
                self._append(events, read)
        except Exception:  # the general path finds the reason, and the record
            return None
        if self.spec.model is None and not self._ruled.keys().isdisjoint(model for model, _, _ in set(read.keys)):
            return None  # one of the models has rules of its own, which this shape does not apply
        return read

    def _is_deep(self, events: Sequence[Any]) -> bool:
        """Whether a member that may hold lists and objects is nested too deep for a message."""
        return any(is_deeper(list(map(get, events)), MAX_NESTING - 1) for get in self._nested)

    def _append(self, events: Sequence[Any], read: Read) -> None:
        """Appends the values of decoded events to ``read``."""
        read.keys.extend(self._keys(events))
        read.times.extend(map(self._time, events))
        read.identities.append(_identities(list(map(self._identity, events))))
        read.numbers.append(self._numbers(events))
        for (name, get), field in zip(self._others.items(), read.others, strict=True):
            values = map(get, events)
            field.extend(map(msgspec.structs.astuple, values) if name in ("features", "scores") else values)

    def _keys(self, events: Sequence[Any]) -> list[Key]:
        if self._rules.segment_by is None:
            return list(map(self._key, events))
        if self._rules.segment_by not in self.spec.features:
            return [(model, version, None) for model, version, _ in map(self._key, events)]
        return [(model, version, name_of(segment)) for model, version, segment in map(self._key, events)]

    def _numbers(self, events: Sequence[Any]) -> Floats:
        rows, numbers, start = len(events), np.empty((len(events), len(self._names))), 0
        for get, pack, width in self._structs:
            found = list(map(msgspec.structs.astuple, map(get, events)))
            try:
                values = np.frombuffer(b"".join(starmap(pack, found)))
            except struct.error:  # one of them is None, which becomes NaN
                values = np.fromiter(chain.from_iterable(found), np.float64, rows * width)
            numbers[:, start : start + width] = values.reshape(rows, width)
            start += width
        for column, one in enumerate(self._single, start):
            numbers[:, column] = np.fromiter(map(one, events), np.float64, rows)
        return numbers

    def packed(
        self,
        numbers: Floats,
        identities: Identities,
        times_ms: Integers,
        next_offsets: Integers,
        clocks_ms: Integers,
    ) -> tuple[bytes, int]:
        """Rows as consecutive bytes, and the number of bytes of a row."""
        rows = np.empty(len(times_ms), self._row)
        rows["numbers"], rows["identity"] = numbers, identities
        rows["time_ms"], rows["next_offset"], rows["clock_ms"] = times_ms, next_offsets, clocks_ms
        return rows.tobytes(), self._row.itemsize

    def unpacked(self, unit: UnitKey, packed: bytes, others: Sequence[tuple[Any, ...]]) -> UnitBatch:
        """Packed rows of one unit as columns. ``others``: the values of ``Read.others``, row by row."""
        rows = np.frombuffer(packed, self._row)
        identities = rows["identity"].copy()
        times_ms, next_offsets, clocks_ms = (rows[name].copy() for name in ("time_ms", "next_offset", "clock_ms"))
        fields = list(zip(*others, strict=True))
        return self.columns(unit, rows["numbers"].copy(), identities, times_ms, next_offsets, clocks_ms, fields)

    def columns(
        self,
        unit: UnitKey,
        numbers: Floats,
        identities: Identities,
        times_ms: Integers,
        next_offsets: Integers,
        clocks_ms: Integers,
        others: Sequence[Sequence[Any]],
    ) -> UnitBatch:
        """Rows of one unit as columns."""
        gathered, fields = Gathered(len(times_ms)), dict(zip(self._others, others, strict=True))
        if self._names:
            given = np.count_nonzero(np.isnan(numbers), axis=0) < len(numbers)
            if "features" not in fields:
                given[: len(self._features)] = True
            if given.all():
                gathered.block(self._names, numbers)
            else:
                gathered.block(tuple(compress(self._names, given)), numbers.compress(given, axis=1))
        if "features" in fields:
            self._feature_columns(fields["features"], gathered)
        if self.spec.scores and "scores" in fields:
            for name, column in zip(self.spec.scores, zip(*fields["scores"], strict=True), strict=True):
                gathered.column(SCORE_PREFIX + name, column, self.spec.scores[name])
        if "prediction" in fields:
            gathered.column(PREDICTION, fields["prediction"], self.spec.prediction)
        if "error" in fields:
            gathered.column(ERROR, fields["error"], "boolean")
        environments: list[tuple[int, str]] = []
        if "env" in fields and any(fields["env"]):
            texts = [(row, environment_of(env)) for row, env in enumerate(fields["env"]) if env]
            environments = [(row, text) for row, text in texts if text is not None]
        return UnitBatch(gathered.columns(unit, next_offsets, times_ms), identities, clocks_ms, environments)

    def _feature_columns(self, features: Sequence[Any], gathered: Gathered) -> None:
        for name, column in zip(self._features, zip(*features, strict=True), strict=True):
            if name in self._rules.categorical and name not in self._rules.ignore:
                gathered.column(name, list(map(category_of, column)), "any")
            elif name not in self._rules.ignore:
                gathered.column(name, column, self.spec.features[name])


class ShapedRows(NamedTuple):
    """Rows of one unit and shape that are read and not made into columns yet; see ``Shape.unpacked``."""

    unit: UnitKey
    shape: Shape
    packed: bytes
    others: list[tuple[Any, ...]]
    first: int  # the offset to read after the first row
    timestamps_ms: Integers
    first_clock_ms: int
    clock_ms: int  # the partition's clock at the last row

    @property
    def width(self) -> int:
        """Number of values of a row."""
        return self.shape.width

    def batch(self) -> UnitBatch:
        """The rows as columns."""
        return self.shape.unpacked(self.unit, self.packed, self.others)


Part = UnitBatch | ShapedRows
"""Rows of one unit, in the order of the log."""


@lru_cache(4_096)
def unit_of(key: Key) -> UnitKey:
    """The unit of a key. Raises FormatError for a name that is empty, too long or not printable."""
    model, version, segment = key
    return checked_unit(model, name_of(version) or NO_VERSION, name_of(segment))


def _identities(values: Sequence[Any]) -> Identities:
    if set(map(type, values)) == {str} and min(map(len, values)) > 0 and max(map(len, values)) <= MAX_ID:
        return numbers_of(values)
    return numbers_or_none([identity_of(value) for value in values])


def event_times(values: Sequence[Any], record_ms: Integers) -> tuple[Integers, int]:
    """``event_time`` of many events, and how many of them got the time of their record."""
    if set(map(type, values)) == {int}:
        try:
            times = np.array(values, np.int64)
        except OverflowError:
            pass
        else:
            low, high = int(record_ms.min()), int(record_ms.max())
            if in_reason(int(times.min()), high) and in_reason(int(times.max()), low) and low >= 0:
                return times, 0
    pairs = [event_time(value, at) for value, at in zip(values, record_ms.tolist(), strict=True)]
    return np.array([ms for ms, _ in pairs], np.int64), sum(clamped for _, clamped in pairs)

"""The fast path of the decoder: events of a shape seen before, straight into columns.

A shape is what one producer sends: model, names and JSON types. msgspec compiles a decoder for it, and everything that
does not fit it exactly fails there and takes the general path, which gives the same result for what does fit.
"""

import re
import struct
from collections.abc import Container, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import starmap
from math import nan
from operator import attrgetter
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from detectors.columns import Floats, Integers
from detectors.features import ERROR, LATENCY_MS, PREDICTION, SCORE_PREFIX, UnitKey
from stream.columnar import MAX_FEATURE_NAME, Gathered, UnitBatch, refused
from stream.events import (
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
"""Every shape has these, whether they ever come or not."""
_TAKEN = ("scores", "prediction", "latency_ms", "error", "env", "id")
"""What becomes columns beside the features."""
_TYPES: dict[str, Any] = {
    "number": float | None,
    "text": str | None,
    "boolean": bool | None,
    "none": None,
    "any": float | str | bool | None,
}
MAX_FIELDS = 2_000
PIECE = 256
"""Messages decoded before their values are taken out: 20 features of so many stay in the second-level cache."""

_ESCAPED = re.compile(r'["\\\x00-\x1f]')
"""Names that JSON writes with a backslash: msgspec compiles none of these."""


class ShapeSpec(msgspec.Struct, frozen=True):
    """What a shape is made of: JSON type by name, in the order of first appearance."""

    model: str | None  # of a model with rules of its own; None: any without
    features: dict[str, str]
    scores: dict[str, str]
    prediction: str
    top: tuple[str, ...]  # names beside features; one that is not ours is read over

    @property
    def size(self) -> int:
        """How many fields a decoder for it has."""
        return len(self.features) + len(self.scores) + len(self.top)


def type_code(value: Any) -> str:
    """The JSON type of a value as shapes know it. Lists and objects have none: such events take the general path."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "any"


def merged_code(one: str, other: str) -> str:
    """The type that both fit."""
    if one == other or other == "none":
        return one
    return other if one == "none" else "any"


def learn(events: Iterable[Any], known: ShapeSpec | None, ruled: Container[str]) -> ShapeSpec | None:
    """The shape of all these events, grown from ``known``; None when they have none. ``ruled``: models with rules."""
    spec = known
    for event in events:
        if not isinstance(event, dict) or not isinstance(event.get("model"), str) or isinstance(event.get("id"), list):
            continue
        features, scores = event.get("features") or {}, event.get("scores") or {}
        if not isinstance(features, dict) or not isinstance(scores, dict):
            continue
        model = event["model"] if event["model"] in ruled else None
        if spec is None:
            spec = ShapeSpec(model, {}, {}, "none", ())
        if spec.model != model or any(refused(name) for name in features):
            return None
        if any(len(SCORE_PREFIX) + len(name) > MAX_FEATURE_NAME for name in scores):
            return None
        if any(map(_ESCAPED.search, (*event, *features, *scores))):
            return None
        if any(isinstance(v, list | dict) for v in (*features.values(), *scores.values(), event.get("prediction"))):
            return None  # perhaps columns; and what is derived from lists costs more than their decoding
        spec = ShapeSpec(
            spec.model,
            _merged(spec.features, features),
            _merged(spec.scores, scores),
            merged_code(spec.prediction, type_code(event.get("prediction"))),
            tuple(dict.fromkeys((*spec.top, *event))),
        )
        if spec.size > MAX_FIELDS:
            return None
    return spec


def _merged(known: dict[str, str], given: dict[str, Any]) -> dict[str, str]:
    merged = dict(known)
    for name, value in given.items():
        merged[name] = merged_code(merged.get(name, "none"), type_code(value))
    return merged


def _struct(name: str, fields: dict[str, Any]) -> type[msgspec.Struct]:
    return msgspec.defstruct(
        name,
        [(f"f{i}", kind, None) for i, kind in enumerate(fields.values())],
        rename={f"f{i}": field for i, field in enumerate(fields)},
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
    )


Key = tuple[str, Any, Any]
"""Model, version and segment as they came."""


class Read(NamedTuple):
    """Of events, one after the other: their keys, times as they came, features, and each other field that becomes
    columns. The features of one are float64 as bytes where all are numbers, else a tuple."""

    keys: list[Key]
    times: list[Any]
    features: list[Any]
    fields: list[list[Any]]


class Shape:
    """A compiled shape under the rules of its model, or of none.

    What it read of one unit becomes columns at once. Of several units in turn, each one's wait as rows until they are
    enough for that (``ShapedRows``).
    """

    __slots__ = (
        "_decode", "_features", "_get_features", "_getters", "_key", "_names", "_numeric", "_pack", "_ruled", "_rules",
        "_scores", "_time", "spec", "width",
    )  # fmt: skip

    def __init__(self, spec: ShapeSpec, rules: Mapping[str, Rules]) -> None:
        self.spec, self.width, self._ruled = spec, spec.size, rules
        self._rules = NO_RULES if spec.model is None else rules[spec.model]
        self._names = tuple(spec.features)
        free = self._rules.ignore | self._rules.categorical
        codes = {n: "any" if n in free else code for n, code in spec.features.items()}
        self._numeric = all(code == "number" for code in codes.values()) and bool(codes)
        self._pack = struct.Struct(f"{len(codes)}d").pack
        self._features = _struct("Features", {n: _TYPES[code] for n, code in codes.items()})
        self._scores = _struct("Scores", {n: _TYPES[code] for n, code in spec.scores.items()})
        nested: dict[str, Any] = {
            "features": (self._features, self._features()),
            "scores": (self._scores, self._scores()),
            "prediction": (_TYPES[spec.prediction], None),
        }
        names = [name for name in dict.fromkeys((*spec.top, *_ALWAYS)) if name != "model"]
        field = {name: f"t{i}" for i, name in enumerate(names)}
        event = msgspec.defstruct(
            "Event",
            [
                ("model", str if spec.model is None else Literal[spec.model]),
                *((field[name], *nested.get(name, (_TOP.get(name, Any), None))) for name in names),
            ],
            rename={place: name for name, place in field.items()},
            forbid_unknown_fields=True,
            frozen=True,
            gc=False,
        )
        self._getters = {name: attrgetter(field[name]) for name in _TAKEN if name in field}
        segment = field["segment"]
        if self._rules.segment_by in spec.features:
            segment = f"{field['features']}.f{self._names.index(self._rules.segment_by)}"
        self._time, self._get_features = attrgetter(field["ts"]), attrgetter(field["features"])
        self._key = attrgetter("model", field["version"], segment)
        self._decode = msgspec.json.Decoder(event).decode

    def read(self, values: Sequence[bytes], most_bytes: int) -> Read | None:
        """What these messages say, one event each; None when one of them does not fit."""
        read = Read([], [], [], [[] for _ in self._getters])
        try:
            if max(map(len, values)) > most_bytes:
                return None
            for start in range(0, len(values), PIECE):
                self._take(list(map(self._decode, values[start : start + PIECE])), read)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):  # of type: a tombstone
            return None
        if self.spec.model is None and not self._ruled.keys().isdisjoint(model for model, _, _ in set(read.keys)):
            return None  # of a model with rules of its own, which are not this shape's
        return read

    def _take(self, events: Sequence[Any], read: Read) -> None:
        read.keys.extend(self._keys(events))
        read.times.extend(map(self._time, events))
        features = list(map(msgspec.structs.astuple, map(self._get_features, events)))
        read.features.extend(self._packed(features) if self._numeric else features)
        for (name, get), field in zip(self._getters.items(), read.fields, strict=True):
            values = map(get, events)
            field.extend(map(msgspec.structs.astuple, values) if name == "scores" else values)

    def _keys(self, events: Sequence[Any]) -> list[Key]:
        if self._rules.segment_by is None:
            return list(map(self._key, events))
        if self._rules.segment_by not in self.spec.features:
            return [(model, version, None) for model, version, _ in map(self._key, events)]
        return [(model, version, name_of(segment)) for model, version, segment in map(self._key, events)]

    def _packed(self, rows: list[tuple[Any, ...]]) -> list[bytes]:
        try:
            return list(starmap(self._pack, rows))
        except struct.error:  # a None, which becomes NaN
            return [self._pack(*(nan if value is None else value for value in row)) for row in rows]

    def compact(self, features: list[Any]) -> list[Any]:
        """Of several rows what ``columns`` takes, as little as it can be."""
        return [b"".join(features)] if self._numeric else features

    def columns(
        self,
        features: Sequence[Any],
        fields: Sequence[Sequence[Any]],
        unit: UnitKey,
        next_offsets: Integers,
        timestamps_ms: Integers,
    ) -> UnitBatch:
        """What was read of one unit, as columns."""
        taken = dict(zip(self._getters, fields, strict=True))
        gathered = Gathered(len(timestamps_ms))
        self._feature_columns(features, gathered)
        if self.spec.scores:
            for name, column in zip(self.spec.scores, zip(*taken["scores"], strict=True), strict=True):
                gathered.column(SCORE_PREFIX + name, column, self.spec.scores[name])
        for name, feature, code in (
            ("prediction", PREDICTION, self.spec.prediction),
            ("latency_ms", LATENCY_MS, "number"),
            ("error", ERROR, "boolean"),
        ):
            if name in taken:
                gathered.column(feature, taken[name], code)
        environments: list[tuple[int, str]] = []
        if "env" in taken and any(taken["env"]):
            texts = [(row, environment_of(env)) for row, env in enumerate(taken["env"]) if env]
            environments = [(row, text) for row, text in texts if text is not None]
        columns = gathered.columns(unit, next_offsets, timestamps_ms)
        return UnitBatch(columns, _identities(taken["id"]), environments)

    def _feature_columns(self, features: Sequence[Any], gathered: Gathered) -> None:
        if self._numeric:
            block: Floats = np.frombuffer(bytearray().join(features)).reshape(gathered.rows, len(self._names))
            gathered.block(self._names, block)
            return
        for name, column in zip(self._names, zip(*features, strict=True), strict=True):
            if name in self._rules.categorical and name not in self._rules.ignore:
                gathered.column(name, list(map(category_of, column)), "any")
            elif name not in self._rules.ignore:
                gathered.column(name, column, self.spec.features[name])


class ShapedRows(NamedTuple):
    """Rows of one unit and shape that were read and are no columns yet. ``rows``: ``Read.fields`` row by row."""

    unit: UnitKey
    shape: Shape
    features: list[Any]
    rows: list[tuple[Any, ...]]
    next_offsets: list[int]
    timestamps_ms: Integers
    newest_ms: int

    @property
    def first(self) -> int:
        """The offset to read after the first row."""
        return self.next_offsets[0]

    @property
    def width(self) -> int:
        """Values of a row."""
        return self.shape.width

    def batch(self) -> UnitBatch:
        """As columns."""
        fields, next_offsets = list(zip(*self.rows, strict=True)), np.array(self.next_offsets, np.int64)
        return self.shape.columns(self.features, fields, self.unit, next_offsets, self.timestamps_ms)


Part = UnitBatch | ShapedRows
"""Rows of one unit, in log order."""


@lru_cache(4_096)
def unit_of(key: Key) -> UnitKey:
    """The unit that a key names. Raises FormatError for a name that cannot be one."""
    model, version, segment = key
    return checked_unit(model, name_of(version) or NO_VERSION, name_of(segment))


def _identities(values: Sequence[Any]) -> list[str | None]:
    if set(map(type, values)) == {str} and min(map(len, values)) > 0 and max(map(len, values)) <= MAX_ID:
        return list(values)
    return [identity_of(value) for value in values]


def event_times(values: Sequence[Any], record_ms: Integers) -> tuple[Integers, int]:
    """``event_time`` of many, and how many were clamped."""
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

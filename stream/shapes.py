"""The fast path of the decoder: events of a shape seen before, straight into columns.

A shape is what one producer sends: model, names and JSON types. msgspec compiles a decoder for it, and everything that
does not fit it exactly fails there and takes the general path, which gives the same result for what does fit.
"""

import re
import struct
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import chain, starmap
from operator import attrgetter
from typing import Any, Literal

import msgspec
import numpy as np

from detectors.columns import Floats, Integers
from detectors.features import ERROR, LATENCY_MS, PREDICTION, SCORE_PREFIX
from stream.columnar import MAX_FEATURE_NAME, Gathered, UnitBatch, refused, units_of
from stream.events import (
    MAX_ID,
    NO_RULES,
    Rules,
    category_of,
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
_NESTED = ("model", "features", "prediction", "scores")
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


class Shape:
    """A compiled shape under the rules of its model, or of none."""

    __slots__ = (
        "_decode", "_features", "_getters", "_names", "_numeric", "_pack", "_ruled", "_rules", "_scores", "clamped",
        "spec",
    )  # fmt: skip

    def __init__(self, spec: ShapeSpec, rules: Mapping[str, Rules]) -> None:
        self.spec, self._ruled = spec, rules
        self._rules = NO_RULES if spec.model is None else rules[spec.model]
        self.clamped = 0
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
        names = [name for name in spec.top if name != "model"]
        event = msgspec.defstruct(
            "Event",
            [
                ("model", str if spec.model is None else Literal[spec.model]),
                *((f"t{i}", *nested.get(name, (_TOP.get(name, Any), None))) for i, name in enumerate(names)),
            ],
            rename={f"t{i}": name for i, name in enumerate(names)},
            forbid_unknown_fields=True,
            frozen=True,
            gc=False,
        )
        self._getters = {"model": attrgetter("model"), **{n: attrgetter(f"t{i}") for i, n in enumerate(names)}}
        self._decode = msgspec.json.Decoder(event).decode

    def decode(
        self, values: Sequence[bytes], offsets: Integers, record_ms: Integers, order: Integers, most_bytes: int
    ) -> list[UnitBatch] | None:
        """The batches of these messages, one event each; None when one of them does not fit."""
        columns: dict[str, list[Any]] = {name: [] for name in self._getters}
        features: list[Any] = []
        try:
            if max(map(len, values)) > most_bytes:
                return None
            for start in range(0, len(values), PIECE):
                rows = list(map(self._decode, values[start : start + PIECE]))
                for name, get in self._getters.items():
                    if name == "features":
                        features.append(self._feature_part(list(map(msgspec.structs.astuple, map(get, rows)))))
                    else:
                        columns[name] += map(get, rows)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, TypeError):  # of type: a tombstone
            return None
        return self._batches(columns, features, offsets, record_ms, order)

    def _feature_part(self, rows: list[tuple[Any, ...]]) -> Any:
        """Of numbers only: float64 as bytes, row by row. Of mixed types: a list for every feature."""
        if not self._numeric:
            return list(zip(*rows, strict=True))
        try:
            return b"".join(starmap(self._pack, rows))
        except struct.error:  # a None, which becomes NaN
            return np.fromiter(chain.from_iterable(rows), np.float64, len(rows) * len(self._names)).tobytes()

    def _batches(
        self,
        columns: dict[str, list[Any]],
        features: list[Any],
        offsets: Integers,
        record_ms: Integers,
        order: Integers,
    ) -> list[UnitBatch] | None:
        models = columns["model"]
        if self.spec.model is None and not self._ruled.keys().isdisjoint(models):
            return None
        absent = (None,) * len(models)
        gathered = Gathered(len(models))
        by_name = self._feature_columns(features, gathered) if features else {}
        if self.spec.scores:
            scores = zip(*map(msgspec.structs.astuple, columns["scores"]), strict=True)
            for name, column in zip(self.spec.scores, scores, strict=True):
                gathered.column(SCORE_PREFIX + name, column, self.spec.scores[name])
        for name, feature, code in (
            ("prediction", PREDICTION, self.spec.prediction),
            ("latency_ms", LATENCY_MS, "number"),
            ("error", ERROR, "boolean"),
        ):
            if name in columns:
                gathered.column(feature, columns[name], code)
        segments: Sequence[Any] = columns.get("segment", absent)
        if self._rules.segment_by is not None:
            segments = by_name.get(self._rules.segment_by, absent)
        times, self.clamped = event_times(columns.get("ts", absent), record_ms)
        if "env" in columns and any(columns["env"]):
            texts = [(row, environment_of(env)) for row, env in enumerate(columns["env"]) if env]
            gathered.environments = [(row, text) for row, text in texts if text is not None]
        units = (models, _names(columns.get("version", absent)), _names(segments))
        return units_of(gathered, units, offsets, times, order, _identities(columns.get("id", absent)))

    def _feature_columns(self, parts: list[Any], gathered: Gathered) -> dict[str, Sequence[Any]]:
        """Feeds the features' columns; returns those by name that the rules may need."""
        segment_by = self._rules.segment_by
        if self._numeric:
            block: Floats = np.frombuffer(bytearray().join(parts)).reshape(gathered.rows, len(self._names))
            needed = [name for name in self._names if name == segment_by]
            found = {name: block[:, self._names.index(name)].tolist() for name in needed}
            gathered.block(self._names, block)
            return found
        by_name: dict[str, Sequence[Any]] = {
            name: list(chain.from_iterable(columns)) for name, *columns in zip(self._names, *parts, strict=True)
        }
        for name, column in by_name.items():
            if name in self._rules.categorical and name not in self._rules.ignore:
                gathered.column(name, list(map(category_of, column)), "any")
            elif name not in self._rules.ignore:
                gathered.column(name, column, self.spec.features[name])
        return by_name


def _names(values: Sequence[Any]) -> list[str | None]:
    known = {value: name_of(value) for value in set(values)}
    return [known[value] for value in values] if len(known) > 1 else list(known.values()) * len(values)


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

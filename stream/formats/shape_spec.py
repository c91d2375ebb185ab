"""What a shape is made of, and how it is learned from events. No I/O.

A shape describes the events of one producer: names, and the JSON types of their values.
"""

import re
from collections.abc import Container, Iterable
from typing import Any

import msgspec

from detectors.features import SCORE_PREFIX
from detectors.values import MAX_FEATURE_NAME, refused_name

MAX_FIELDS = 2_000
"""Most fields of a shape. Events with more take the general path."""

_ESCAPED = re.compile(r'["\\\x00-\x1f]')
"""Characters that JSON writes with a backslash. msgspec does not compile names with such characters."""


class ShapeSpec(msgspec.Struct, frozen=True):
    """What a shape is made of: the JSON type of each name, in the order of first appearance."""

    model: str | None  # a model with rules of its own; None: any model without such rules
    features: dict[str, str]
    scores: dict[str, str]
    prediction: str
    top: tuple[str, ...]  # names of the events' members; members that no event format knows are ignored

    @property
    def size(self) -> int:
        """Number of fields of its decoder."""
        return len(self.features) + len(self.scores) + len(self.top)


def type_code(value: Any) -> str:
    """The JSON type of a value in a shape. A list or an object is "any"; such events take the general path."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "any"


def merged_code(one: str, other: str) -> str:
    """The type that fits values of both types."""
    if one == other or other == "none":
        return one
    return other if one == "none" else "any"


def learn(events: Iterable[Any], known: ShapeSpec | None, ruled: Container[str]) -> ShapeSpec | None:
    """The shape of all these events, extended from ``known``; None when no shape fits them.

    ``ruled``: models with rules of their own.
    """
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
        if spec.model != model or any(map(refused_name, features)):
            return None
        if any(len(SCORE_PREFIX) + len(name) > MAX_FEATURE_NAME for name in scores):
            return None
        if any(map(_ESCAPED.search, (*event, *features, *scores))):
            return None
        if any(isinstance(v, list | dict) for v in (*features.values(), *scores.values(), event.get("prediction"))):
            return None  # may be columns; and deriving features from lists costs more than decoding them
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

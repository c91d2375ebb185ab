"""Settings for a topic whose records name no model: which columns look like id, time and prediction. No I/O."""

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Any

from detectors import values
from detectors.errors import FormatError
from stream.formats import registry
from stream.formats.message import Message
from stream.formats.row import Limits, in_reason
from stream.formats.topic_rules import TopicRules
from stream.topics.record import Partition, Record

EXAMINED = 1_000
"""Records that a proposal is made from."""

SHARE = 0.5
"""A topic is of rows when this share of its records can be read as rows and not otherwise."""

UNIQUE = 0.99
"""An id's values differ in at least this share of the rows."""

_PREDICTIONS = re.compile(
    r"(^|[_.\- ])(predictions?|predicted|pred|y_?hat|y_pred|score|probability|proba)$", re.IGNORECASE
)
_LABELS = re.compile(r"(^|[_.\- ])(label|target|ground_?truth|y_true|outcome)$", re.IGNORECASE)
_IDS = re.compile(r"(^|[_.\- ])(id|uuid|guid|key)$", re.IGNORECASE)
_MODELS = re.compile(r"^(model|model_name|model_id)$", re.IGNORECASE)
_VERSIONS = re.compile(r"^(version|model_version)$", re.IGNORECASE)


def propose(topic: str, records: Mapping[Partition, Sequence[Record]], limits: Limits) -> TopicRules | None:
    """How the records of a topic could be read; None when they are read without settings, or cannot be read at all.

    The id is a column that ends in "id" or similar and whose values differ; the time is a column of times close to
    those of the records; prediction and label are found by their usual names. The model is that of a column ``model``
    with one value, or else the name of the topic.
    """
    sample = list(islice(chain.from_iterable(records.values()), EXAMINED))
    plain = TopicRules(model=topic, id="", ts="", prediction="", latency_ms="")
    rows: list[tuple[dict[str, Any], Record]] = []
    wanting = 0
    for record in sample:
        if _read(topic, record, limits, TopicRules()) is not None:
            continue
        found = _read(topic, record, limits, plain)
        if found:
            wanting += 1
            rows += [(event["features"], record) for event in found]
    if not rows or wanting < SHARE * len(sample):
        return None
    names = list(dict.fromkeys(name for features, _ in rows for name in features))
    prediction = _first(names, _PREDICTIONS)
    model, version = _only(rows, _first(names, _MODELS)), _only(rows, _first(names, _VERSIONS))
    return TopicRules(
        model=model or topic,
        version=version,
        id=_id(rows, names),
        ts=_time(rows, names),
        prediction=prediction,
        label=_first(names, _LABELS),
        ignore=frozenset(
            name
            for name, one in ((_first(names, _MODELS), model), (_first(names, _VERSIONS), version))
            if name is not None and one is not None
        ),
    )


def entry(topic: str, rules: TopicRules) -> dict[str, Any]:
    """The entry of ``topics.events`` with these rules; members that are not set are left out."""
    found: dict[str, Any] = {"topic": topic}
    for name in rules.__struct_fields__:
        value = getattr(rules, name)
        if isinstance(value, tuple | frozenset):
            value = sorted(value) if isinstance(value, frozenset) else list(value)
        if value and (name, value) != ("format", "auto"):
            found[name] = value
    return found


def _read(topic: str, record: Record, limits: Limits, rules: TopicRules) -> list[Any] | None:
    try:
        return registry.find(Message(topic, record, limits.event_bytes, rules), limits).events
    except FormatError:
        return None


def _first(names: Iterable[str], pattern: re.Pattern[str]) -> str | None:
    return next((name for name in names if pattern.search(name)), None)


def _only(rows: Sequence[tuple[dict[str, Any], Record]], name: str | None) -> str | None:
    """The text that the column holds in every row."""
    if name is None:
        return None
    found = {str(features.get(name)) for features, _ in rows}
    return found.pop() if len(found) == 1 and all(features.get(name) is not None for features, _ in rows) else None


def _id(rows: Sequence[tuple[dict[str, Any], Record]], names: Iterable[str]) -> str | None:
    for name in names:
        found = [features.get(name) for features, _ in rows]
        texts = [value for value in found if isinstance(value, str | int) and not isinstance(value, bool)]
        if _IDS.search(name) and len(texts) == len(rows) and len(set(texts)) >= UNIQUE * len(rows):
            return name
    return None


def _time(rows: Sequence[tuple[dict[str, Any], Record]], names: Iterable[str]) -> str | None:
    """The first column whose values are all times within a day of their records; an id of digits is none."""
    for name in names:
        near = 0
        for features, record in rows:
            value = features.get(name)
            moment = None if isinstance(value, bool) else values.time_ms(value)
            close = moment is not None and in_reason(moment, record.timestamp_ms)
            near += close and abs((moment or 0) - record.timestamp_ms) < _DAY_MS
        if near == len(rows):
            return name
    return None


_DAY_MS = 86_400_000

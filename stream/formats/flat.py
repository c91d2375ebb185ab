"""Flat rows of one's own services: any JSON object whose members are the features. No I/O.

The settings of the topic name the model, and the columns that are no features. Members of nested objects have dotted
names. Lists of numbers are features; other lists are not monitored.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from detectors import values
from detectors.errors import FormatError
from stream.formats import tables
from stream.formats.message import Message, decode_json
from stream.formats.row import Limits, check_names
from stream.formats.topic_rules import KEY, TopicRules, milliseconds

NOT_MONITORED = "columns"
"""The limit's name for members that cannot be features."""

USUAL: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "request_id", "event_id", "inference_id"),
    "ts": ("ts", "timestamp", "event_time", "created_at", "time"),
    "prediction": ("prediction",),
    "latency_ms": ("latency_ms",),
}
"""Names of columns that are tried in this order where the settings name none."""

_DEPTH = 16
"""Objects inside each other that become dotted names."""


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The events of rows, in a topic whose settings name the model or the format; None for others. Raises FormatError.

    A row is an object. In a topic with ``columns`` it may also be a list of values.
    """
    rules = message.rules
    if not rules.reads_rows and rules.format != "flat":
        return None
    body = message.body
    if isinstance(body, dict):
        body = [body]
    elif not isinstance(body, list) or not body:
        return None
    elif rules.columns and not any(isinstance(one, dict | list) for one in body):
        body = [body]
    if not all(isinstance(row, dict) or (rules.columns and isinstance(row, list)) for row in body):
        return None
    rows = [tables.named(row, rules.columns) if isinstance(row, list) else row for row in body]
    return [_event(message, row, limits) for row in rows]


def _event(message: Message, row: dict[str, Any], limits: Limits) -> dict[str, Any]:
    rules = message.rules
    line = row.get("log")
    if isinstance(line, str) and line[:1] == "{" and len(row) <= 3:  # Fluent Bit's tail without a parser
        inside = decode_json(line.encode())
        row = inside if isinstance(inside, dict) else row
    flat: dict[str, Any] = {}
    unread = _flatten(row, "", flat, 0)
    check_names(len(flat), limits)
    model = rules.model
    if model is None:
        model = flat.pop("model", None)
        if not isinstance(model, str) or not model:
            raise FormatError(message.no_model())
    event: dict[str, Any] = {"model": model}
    if rules.version is not None:
        event["version"] = rules.version
    event |= _roles(message, flat, rules)
    if "id" in event and "request_id" in row:
        flat.pop("trace_id", None)  # BentoML writes it beside the id of the request
    for name in rules.ignore:
        flat.pop(name, None)
    features = {}
    for name, value in flat.items():
        if isinstance(value, list) and not _is_vector(value):
            unread += 1
        else:
            features[name] = value
    if unread:
        message.count(NOT_MONITORED, unread)
    if not features and "prediction" not in event:
        names = ", ".join(str(name)[:40] for name in list(row)[:8])
        raise FormatError(f"no member of the row can be monitored: {names or 'it is empty'}")
    event["features"] = features
    return event


def _flatten(row: Mapping[str, Any], before: str, flat: dict[str, Any], depth: int) -> int:
    """Adds the members to ``flat`` by dotted name. Returns how many lie too deep."""
    unread = 0
    for name, value in row.items():
        if isinstance(value, dict):
            if depth >= _DEPTH:
                unread += 1
            else:
                unread += _flatten(value, f"{before}{name}.", flat, depth + 1)
        else:
            flat[before + name] = value
    return unread


def _roles(message: Message, flat: dict[str, Any], rules: TopicRules) -> dict[str, Any]:
    """Takes the columns out of ``flat`` that are no features; they become members of the event."""
    found: dict[str, Any] = {}
    if rules.id == KEY:
        if message.record.key:
            found["id"] = message.record.key.decode("utf-8", "replace")
    elif (name := _column(flat, rules.id, "id")) is not None:
        identity = tables.identity_of(flat.pop(name))
        if identity is not None:
            found["id"] = identity
    name = _column(flat, rules.ts, "ts")
    if name is not None and (rules.ts is not None or values.time_ms(flat[name]) is not None):
        stamp = flat.pop(name)
        if stamp is not None:
            found["ts"] = _scaled(stamp, rules.ts_unit)
    for role, own in (("prediction", rules.prediction), ("latency_ms", rules.latency_ms), ("segment", rules.segment)):
        name = _column(flat, own, role)
        if name is not None and flat.get(name) is not None:
            found[role] = flat.pop(name)
        elif name is not None:
            flat.pop(name)
    if rules.label is not None:
        flat.pop(rules.label, None)
    return found


def _column(flat: Mapping[str, Any], own: str | None, role: str) -> str | None:
    """The column that the settings name, or else the first usual one; None when the row has no such column."""
    names: Iterable[str] = USUAL.get(role, ()) if own is None else (own,)
    return next((name for name in names if name in flat), None)


def _scaled(stamp: Any, unit: str | None) -> Any:
    """A number in ``unit`` as milliseconds; anything else unchanged."""
    if unit is None or isinstance(stamp, bool):
        return stamp
    if isinstance(stamp, str):
        try:
            stamp = float(stamp)
        except ValueError:
            return stamp
    return milliseconds(stamp, unit)


def _is_vector(value: Sequence[Any]) -> bool:
    """Whether a list is one value of numbers."""
    return bool(value) and all(isinstance(one, int | float) or one is None for one in value)

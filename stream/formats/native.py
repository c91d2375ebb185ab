"""The native format: an event as one JSON object, an array of such events, or columns. No I/O."""

from collections.abc import Callable, Iterator
from typing import Any

from detectors.errors import FormatError
from stream.formats.message import Message, shortened
from stream.formats.row import Limits

_PER_ROW = ("id", "ts", "prediction", "segment", "latency_ms", "error")
"""Members that hold one value for each row of a columnar message."""

_NAMED = ("model", "version", "id", "ts", "segment", "env")
"""Members that are read and hold no value that is monitored."""

_MONITORED = ("features", "scores", "prediction", "latency_ms", "error")
"""Members whose values are monitored."""

SHOWN = 8
"""Most members that a reason names."""


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """All events of the message; None if no object in the message has a text as ``model``.

    In a topic whose settings name the model, an object with ``features`` is an event also without ``model``, and one
    without ``features`` is none. Raises FormatError if an event holds nothing that is monitored, but other members.
    """
    body, fixed = message.body, message.rules.model
    if fixed is not None and message.rules.format != "native":
        objects = body if isinstance(body, list) else [body]
        if not any(isinstance(one, dict) and isinstance(one.get("features"), dict) for one in objects):
            return None
    elif not (any(map(_names_a_model, body)) if isinstance(body, list) else _names_a_model(body)):
        return None
    found = _events(body, limits)
    if fixed is not None or message.rules.version is not None:
        found = [_with_names(event, fixed, message.rules.version) for event in found]
    for event in found:
        _refuse_unread(event)
    return found


def required(message: Message, limits: Limits) -> list[Any]:
    """The events of a message that must be native. Raises FormatError with the reason when it is not."""
    found = _events(message.json(), limits)
    if any(isinstance(event, dict) and not event.get("model") for event in found):
        raise FormatError(message.no_model())
    return found


def _with_names(event: Any, model: str | None, version: str | None) -> Any:
    if not isinstance(event, dict):
        return event
    more = {}
    if model is not None and not event.get("model"):
        more["model"] = model
    if version is not None and event.get("version") is None:
        more["version"] = version
    return {**event, **more} if more else event


def _refuse_unread(event: Any) -> None:
    """Raises FormatError for an event without anything that is monitored, but with members that are not read."""
    if not isinstance(event, dict) or any(event.get(name) is not None for name in ("features", "scores")):
        return
    unread = [name for name in event if name not in _NAMED and name not in _MONITORED]
    if unread:
        names = ", ".join(shortened(ValueError(name)) for name in unread[:SHOWN])
        more = f" and {len(unread) - SHOWN} more" if len(unread) > SHOWN else ""
        raise FormatError(
            f"no features, but members that are not read: {names}{more}; for flat rows set format: flat for this topic"
        )


def _events(body: Any, limits: Limits) -> list[Any]:
    most = limits.rows_per_message
    if isinstance(body, dict):
        events = _expanded(body, most)
    elif isinstance(body, list):
        if len(body) > most:
            raise FormatError(f"{len(body)} events in one message; at most {most} are read")
        if not body:
            raise FormatError("empty: an array without events")
        events = iter(body)
    else:
        raise FormatError("not an event: neither an object nor an array")
    return list(events)


def events_of(message: dict[str, Any], max_rows: int) -> Iterator[Any] | None:
    """The events of a columnar message; None if the message is one event itself. Raises FormatError."""
    if _column_rows(message, message.get("features")) is None:
        return None
    return _expanded(message, max_rows)


def _names_a_model(event: Any) -> bool:
    return isinstance(event, dict) and isinstance(event.get("model"), str) and event["model"] != ""


def _expanded(message: dict[str, Any], max_rows: int) -> Iterator[Any]:
    """The rows of a columnar message, or the event itself."""
    features = message.get("features")
    rows = _column_rows(message, features)
    if rows is None:
        return iter((message,))
    if rows > max_rows:
        raise FormatError(f"{rows} rows in one message; at most {max_rows} are read")
    if not rows:
        raise FormatError("empty: columns without rows")
    columns = {key: message[key] for key in _PER_ROW if isinstance(message.get(key), list)}
    nested = {
        key: {name: v for name, v in message[key].items() if v is not None}
        for key in ("features", "scores")
        if isinstance(message.get(key), dict)
    }
    for name, column in [*columns.items(), *(item for part in nested.values() for item in part.items())]:
        if not isinstance(column, list) or len(column) != rows:
            length = len(column) if isinstance(column, list) else "no"
            column_name = shortened(ValueError(name))
            raise FormatError(f"columns differ in length: {column_name} has {length} rows, others {rows}")
    return _deal(message, columns, nested, rows)


def _deal(
    message: dict[str, Any], columns: dict[str, list[Any]], nested: dict[str, dict[str, list[Any]]], rows: int
) -> Iterator[Any]:
    shared = {key: value for key, value in message.items() if key not in columns and key not in nested}
    identity = shared.pop("id", None)
    for row in range(rows):
        event = {**shared, **{key: column[row] for key, column in columns.items()}}
        if identity is not None:
            event["id"] = f"{identity}#{row}" if rows > 1 else identity
        for key, part in nested.items():
            event[key] = {name: column[row] for name, column in part.items()}
        yield event


def _column_rows(message: dict[str, Any], features: Any) -> int | None:
    """How many rows a columnar message has; None when it is one event (whose features may be lists themselves)."""
    identity = message.get("id")
    if isinstance(identity, list):
        return len(identity)
    if identity is not None and not isinstance(message.get("ts"), list):
        return None
    given = [v for v in features.values() if v is not None] if isinstance(features, dict) else []
    lists = [*given, *(v for v in (message.get("prediction"),) if v is not None)]
    if given and all(isinstance(v, list) for v in lists) and len({len(v) for v in lists}) == 1:
        return len(given[0])
    return None

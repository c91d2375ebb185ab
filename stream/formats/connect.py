"""Kafka Connect's and Debezium's envelopes: ``schema`` and ``payload``; ``before``, ``after`` and ``op``. No I/O."""

from collections.abc import Callable
from typing import Any

from detectors.errors import FormatError
from stream.formats.message import IgnoredRecord, Message
from stream.formats.row import Limits

_NEW = ("c", "r")
"""Operations of Debezium that bring a new row: it was created, or read in the snapshot at the connector's start."""


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The events of the row inside the envelope; None without an envelope.

    Raises IgnoredRecord for a row that was changed or deleted, and for what Debezium publishes beside rows.
    """
    body = message.body
    if not isinstance(body, dict):
        return None
    if body.keys() == {"schema", "payload"} and isinstance(body["schema"], dict | None):
        payload = body["payload"]
        if payload is None:
            raise IgnoredRecord("Connect: an envelope without a payload")
        if not isinstance(payload, dict):
            raise FormatError("Connect: payload is no object")
        return _row(message, payload, inner) if _is_change(payload) else inner(message.inside(body=payload))
    return _row(message, body, inner) if _is_change(body) else None


def _is_change(body: dict[str, Any]) -> bool:
    return "op" in body and "source" in body and ("after" in body or "before" in body)


def _row(message: Message, change: dict[str, Any], inner: Callable[[Message], list[Any]]) -> list[Any]:
    operation = change["op"]
    if operation == "u":
        raise IgnoredRecord("Debezium op u: a change of a row that was an event already")
    if operation not in _NEW:
        raise IgnoredRecord(f"Debezium op {str(operation)[:20]}")
    if not isinstance(change.get("after"), dict):
        raise FormatError(f"Debezium op {operation}: after is no object")
    return inner(message.inside(body=change["after"]))

"""CloudEvents over Kafka: binary (headers ``ce_*``), structured, and batches. No I/O.

Source: CloudEvents Kafka protocol binding 1.0.2; the batch form is that of the HTTP binding.
"""

import base64
import binascii
from collections.abc import Callable
from typing import Any

from detectors import values
from detectors.errors import FormatError
from stream.formats import kserve
from stream.formats.message import IgnoredRecord, Message
from stream.formats.row import Limits, in_reason

_STRUCTURED = b"application/cloudevents"

HEADERS = frozenset({"ce_type", "content-type"})
"""One of these is a header of every CloudEvent."""


def in_headers(headers: tuple[tuple[str, bytes], ...]) -> bool:
    """Whether the headers of a record are those of a CloudEvent, binary or structured. Cost: .1 us a header."""
    found = 0
    for name, value in headers:
        if name[:1] in "cC":
            lower = name.lower()
            found += lower in ("ce_type", "ce_id")
            if lower == "content-type" and value[: len(_STRUCTURED)].lower() == _STRUCTURED:
                return True
    return found >= 2


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The events in the data; None without the headers of a CloudEvent. Raises FormatError.

    An event without a time or an id has those of the CloudEvent.
    """
    headers = message.record.headers
    if not headers or not in_headers(headers):
        return None
    by_name = {name.lower(): value.decode("utf-8", "replace") for name, value in headers if value is not None}
    if not by_name.get("content-type", "").lower().startswith(_STRUCTURED.decode()):
        if not message.record.value:
            raise IgnoredRecord("a CloudEvent without data")
        attributes = {name[3:]: value for name, value in by_name.items() if name.startswith("ce_")}
        return _inside(message, attributes, inner, data=message.data())
    body = message.json()
    found: list[Any] = []
    ignored: IgnoredRecord | None = None
    for one in body if isinstance(body, list) else [body]:
        try:
            found += _structured(message, one, inner)
        except IgnoredRecord as error:
            ignored = error
    if ignored is not None and not found:
        raise ignored
    return found


def _structured(message: Message, one: Any, inner: Callable[[Message], list[Any]]) -> list[Any]:
    if not isinstance(one, dict) or not isinstance(one.get("type"), str):
        raise FormatError("CloudEvent: no object with a text as type")
    attributes = {name: value for name, value in one.items() if isinstance(value, str)}
    if "data_base64" in one:
        return _inside(message, attributes, inner, data=_unpacked(one["data_base64"]))
    if one.get("data") is None:
        raise IgnoredRecord("a CloudEvent without data")
    return _inside(message, attributes, inner, body=one["data"])


def _inside(
    message: Message,
    attributes: dict[str, str],
    inner: Callable[[Message], list[Any]],
    *,
    body: Any = None,
    data: bytes | None = None,
) -> list[Any]:
    time_ms = values.time_ms(attributes.get("time"))
    if time_ms is not None and not in_reason(time_ms, message.record.timestamp_ms):
        time_ms = None
    kind = attributes.get("type", "")[:100]
    inside = message.inside(body=body, data=data, timestamp_ms=time_ms, attributes=attributes)
    try:
        found = inner(inside)
    except IgnoredRecord:
        raise
    except FormatError as error:
        if kind in kserve.TYPES:
            raise
        raise FormatError(f"no inference: CloudEvent of type {kind}: {error}") from error
    for at, event in enumerate(found):
        if isinstance(event, dict):
            more: dict[str, Any] = {}
            if time_ms is not None and event.get("ts") is None:
                more["ts"] = time_ms
            if event.get("id") is None and attributes.get("id"):
                more["id"] = attributes["id"] if len(found) == 1 else f"{attributes['id']}#{at}"
            if more:
                found[at] = {**event, **more}
    return found


def _unpacked(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise FormatError("CloudEvent: data_base64 is not Base64") from error

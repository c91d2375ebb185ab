"""Payloads framed for a schema registry. JSON is read without one; Avro and Protobuf are refused by name. No I/O."""

from collections.abc import Callable
from typing import Any

from detectors.errors import FormatError
from stream.formats.message import Message
from stream.formats.row import Limits

_FRAME = 5
"""Bytes before the payload: 0, and the number of the schema in four bytes."""

_GLUE_FRAME = 18
"""Bytes before the payload of AWS Glue: 3, the compression, and the version of the schema in sixteen bytes."""

_BLANK = b" \t\r\n"


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The events of the payload; None for a value without a frame.

    Raises FormatError for a payload that is not JSON.
    """
    value = _unpacked(message)
    if value[:1] == b"\x03" and len(value) >= _GLUE_FRAME and value[1] in (0, 5):
        raise FormatError("AWS Glue Schema Registry framing, which is not read")
    if value[:1] != b"\x00" or len(value) <= _FRAME:
        return None
    payload = value[_FRAME:].lstrip(_BLANK)
    schema = int.from_bytes(value[1:_FRAME], "big")
    if payload[:1] not in (b"{", b"["):
        raise FormatError(
            f"Confluent framing, schema id {schema}: Avro or Protobuf, and no schema registry is set; JSON is read"
        )
    return inner(message.inside(data=payload))


def _unpacked(message: Message) -> bytes:
    """The value, if it may have a frame."""
    if message.record.value is None or message.record.value[:1] not in (b"\x00", b"\x03", b"\x1f"):
        return b""
    try:
        return message.data()
    except FormatError:
        return b""

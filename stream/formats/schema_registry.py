"""Values that a schema describes: JSON Schema, and Avro with the extra ``avro``; framed, or with a header. No I/O.

Protobuf and AWS Glue are refused by name.
"""

from collections.abc import Callable
from typing import Any

from detectors.errors import FormatError
from stream.formats import avro
from stream.formats.message import Message
from stream.formats.row import Limits
from stream.formats.schemas import FRAME, ID_HEADER, name_of

_GLUE_FRAME = 18
"""Bytes before the payload of AWS Glue: 3, the compression, and the version of the schema in sixteen bytes."""

_SINGLE = b"\xc3\x01"
"""The first bytes of Avro's single-object form: then the fingerprint of the schema in eight bytes."""

HEADERS = frozenset({ID_HEADER})
"""The header that names a schema."""

_BLANK = b" \t\r\n"


def in_headers(headers: tuple[tuple[str, bytes], ...]) -> bool:
    """Whether a header names a schema."""
    return any(name == ID_HEADER for name, _ in headers)


def events(message: Message, limits: Limits, inner: Callable[[Message], list[Any]]) -> list[Any] | None:
    """The events of the value; None for one without a frame and a header. Raises FormatError.

    JSON is read without the registry.
    """
    value = _unpacked(message)
    if value[:4] == avro.CONTAINER:
        return inner(message.inside(body=avro.read_container(value, limits.rows_per_message)))
    if value[:1] == b"\x03" and len(value) >= _GLUE_FRAME and value[1] in (0, 5):
        raise FormatError("AWS Glue Schema Registry framing, which is not read")
    if value[:2] == _SINGLE and len(value) > 10:
        return inner(message.inside(body=_decoded(message, f"crc64:{value[2:10].hex()}", value[10:])))
    framed = value[:1] == b"\x00" and len(value) > FRAME
    name = None if message.depth else name_of(message.record)
    if name is None and framed:
        name = str(int.from_bytes(value[1:FRAME], "big"))
    if name is None:
        return None
    payload = value[FRAME:] if framed else value
    text = payload.lstrip(_BLANK)
    if text[:1] in (b"{", b"["):
        try:
            return inner(message.inside(data=text))
        except FormatError:
            if not message.schemas.configured or message.schemas.get(name).kind == "JSON":
                raise
    return inner(message.inside(body=_decoded(message, name, payload)))


def _decoded(message: Message, name: str, payload: bytes) -> Any:
    schema = message.schemas.get(name)
    if schema.kind == "AVRO":
        return avro.read(schema.text, payload)
    if schema.kind == "JSON":
        return message.inside(data=payload).json()
    raise FormatError(f"schema {name} is {schema.kind.capitalize()}, which is not read; Avro and JSON Schema are")


def _unpacked(message: Message) -> bytes:
    """The value, if a schema may describe it."""
    value = message.record.value
    if message.depth or value is None:
        return b""
    if value[:1] not in (b"\x00", b"\x03", b"\x1f", b"\xc3", b"O") and not in_headers(message.record.headers):
        return b""
    try:
        return message.data()
    except FormatError:
        return b""

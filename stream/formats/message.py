"""One record as formats read it: topic, headers, unpacked bytes, JSON. No I/O."""

import json
import zlib
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from detectors.errors import FormatError
from stream.formats.schemas import NO_SCHEMAS, Schemas
from stream.formats.topic_rules import NO_TOPIC_RULES, TopicRules
from stream.topics.record import Record, why_empty

FILE_TOPIC = "replay"
"""The name of the topic that stands for a file. No settings name it."""

MAX_ENVELOPES = 4
"""Most envelopes inside each other, such as a Connect envelope in a CloudEvent."""

MAX_NESTING = 500
"""Most lists and objects inside each other in a message.

Some 400 levels deeper the decoder reaches Python's own limit, at a depth that depends on its caller. A fixed limit
below it makes the result a function of the record.
"""

SHALLOW_BYTES = 2 * MAX_NESTING
"""A message of at most this many bytes cannot be nested deeper than ``MAX_NESTING``."""

_SCANNED_BYTES = 8_192
_NESTS = frozenset({list, dict})
_NO_ATTRIBUTES: Mapping[str, str] = {}
_BRACKET = 0x7B  # "{", and "[" after its bit 0x20 is set

_decoder = msgspec.json.Decoder()


class IgnoredRecord(FormatError):
    """A record that is no event and is no fault either, such as the deletion of a row."""


class Message:
    """One record, or what an envelope in it holds. Its JSON is decoded once, for all formats that are asked.

    :param topic: the topic that the record was read from; some formats are recognised by its name.
    :param max_bytes: most bytes of the value, and of what a gzip value unpacks to.
    :param rules: how the settings want the records of the topic to be read.
    :param schemas: schemas of the registry.

    ``limited``: how often something in the record was left out, by the name of the limit. ``attributes``: those of the
    CloudEvent whose data this message is.
    """

    __slots__ = (
        "_body", "_data", "_max_bytes", "_reason", "attributes", "depth", "limited", "record", "rules", "schemas",
        "topic",
    )  # fmt: skip

    def __init__(
        self,
        topic: str,
        record: Record,
        max_bytes: int,
        rules: TopicRules = NO_TOPIC_RULES,
        schemas: Schemas = NO_SCHEMAS,
    ) -> None:
        self.topic, self.record, self._max_bytes, self.rules, self.schemas = topic, record, max_bytes, rules, schemas
        self.limited: dict[str, int] = {}
        self.depth = 0
        self.attributes: Mapping[str, str] = _NO_ATTRIBUTES
        self._data: bytes | None = None
        self._reason: str | None = None
        self._body: Any = _UNREAD

    def inside(
        self,
        *,
        body: Any = None,
        data: bytes | None = None,
        timestamp_ms: int | None = None,
        attributes: Mapping[str, str] = _NO_ATTRIBUTES,
    ) -> "Message":
        """The message that this one wraps: ``data`` where given, else the JSON ``body``.

        ``timestamp_ms``: when it happened, where the envelope has it. Raises FormatError for too many envelopes.
        """
        if self.depth >= MAX_ENVELOPES:
            raise FormatError(f"more than {MAX_ENVELOPES} envelopes inside each other")
        record = self.record._replace(headers=())
        if timestamp_ms is not None:
            record = record._replace(timestamp_ms=timestamp_ms)
        found = Message(self.topic, record, self._max_bytes, self.rules, self.schemas)
        found.limited, found.depth, found._data, found.attributes = self.limited, self.depth + 1, data, attributes
        if data is None:
            found._body = body
        return found

    def count(self, limit: str, times: int = 1) -> None:
        """Notes that something was left out."""
        self.limited[limit] = self.limited.get(limit, 0) + times

    def header(self, name: str) -> bytes | None:
        """The value of the first header with that name; None when there is no such header."""
        return next((value for key, value in self.record.headers if key == name), None)

    @property
    def body(self) -> Any:
        """The decoded JSON; None when the value is not JSON, or is the JSON null."""
        if self._body is _UNREAD:
            try:
                self._body = _documents(self.data())
            except FormatError as error:
                self._body, self._reason = None, str(error)
        return self._body

    def no_model(self) -> str:
        """The reason for a record that names no model, with what to do."""
        if self.topic in ("", FILE_TOPIC):
            return "no model"
        return f"no model: name the model of topic {self.topic} in the settings"

    def json(self) -> Any:
        """The decoded JSON. Raises FormatError with the reason when the value is not JSON."""
        body = self.body
        if self._reason is not None:
            raise FormatError(self._reason)
        return body

    def data(self) -> bytes:
        """The value, unpacked where it is gzip. Raises FormatError when it is empty, too long or broken."""
        value, most = self.record.value if self._data is None else self._data, self._max_bytes
        if not value:
            raise FormatError(why_empty(self.record))
        if len(value) > most:
            raise FormatError(f"{len(value)} bytes; at most {most} are read")
        return _unzipped(value, most) if value[:2] == b"\x1f\x8b" else value


_UNREAD = object()


def _documents(value: bytes) -> Any:
    """The JSON of a message; for JSON lines the list of them."""
    try:
        return decode_json(value)
    except FormatError:
        lines = value.strip().split(b"\n")
        if len(lines) < 2 or any(line.strip()[:1] not in (b"{", b"") for line in lines):
            raise
        return [decode_json(line) for line in lines if line.strip()]


_TOO_DEEP = f"not JSON within the limits: lists or objects are nested more than {MAX_NESTING} deep"


def decode_json(value: bytes) -> Any:
    """Decodes JSON, with NaN and Infinity as Python's json writes them.

    Raises FormatError, and nothing else, for a value that is not JSON, that cannot be written again (half a surrogate
    pair), or that is nested deeper than ``MAX_NESTING``. Cost of the check of the depth: 25 ns a value, and nothing up
    to ``SHALLOW_BYTES``.
    """
    try:
        message = _decoded(value)
    except RecursionError as error:
        raise FormatError(_TOO_DEEP) from error
    if len(value) > SHALLOW_BYTES and _brackets(value) > MAX_NESTING and is_deeper((message,), MAX_NESTING):
        raise FormatError(_TOO_DEEP)
    return message


def _decoded(value: bytes) -> Any:
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        reason = str(error)
    except UnicodeDecodeError as error:
        raise FormatError(f"not JSON: {shortened(error)}") from error
    try:
        message = json.loads(value)  # accepts NaN and Infinity, which Python's json writes and JSON does not have
        json.dumps(message, ensure_ascii=False).encode()  # fails for half a surrogate pair, which cannot be written
        return message
    except ValueError as error:
        raise FormatError(f"not JSON: {reason}") from error


def _brackets(value: bytes) -> int:
    """At least the number of lists and objects in a message; for a short one the largest number that it can hold."""
    if len(value) < _SCANNED_BYTES:
        return len(value)
    return int(np.count_nonzero((np.frombuffer(value, np.uint8) | 0x20) == _BRACKET))


def is_deeper(values: Sequence[Any], most: int) -> bool:
    """Whether lists and dicts among decoded values are nested more than ``most`` deep. It does not recurse."""
    level = [value for value in values if type(value) in _NESTS]
    for _ in range(most):
        if not level:
            return False
        inside = chain.from_iterable(one.values() if type(one) is dict else one for one in level)
        level = [value for value in inside if type(value) in _NESTS]
    return bool(level)


def _unzipped(value: bytes, max_bytes: int) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(value, max_bytes + 1)
    except zlib.error as error:
        raise FormatError(f"gzip: {shortened(error)}") from error
    if len(plain) > max_bytes:
        raise FormatError(f"gzip: unpacks to more than {max_bytes} bytes")
    if not stream.eof or not plain:
        raise FormatError("gzip: cut short or empty")
    return plain


def shortened(error: Exception) -> str:
    """The first line of an error's text, at most 200 characters."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__

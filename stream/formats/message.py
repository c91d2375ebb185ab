"""One record as formats read it: topic, headers, unpacked bytes, JSON. No I/O."""

import json
import zlib
from typing import Any

import msgspec

from detectors.errors import FormatError
from stream.topics.record import Record

_decoder = msgspec.json.Decoder()


class Message:
    """One record. Its JSON is decoded once, for all formats that are asked.

    :param topic: the topic that the record was read from; some formats are recognised by its name.
    :param max_bytes: most bytes of the value, and of what a gzip value unpacks to.
    """

    __slots__ = ("_body", "_max_bytes", "_reason", "record", "topic")

    def __init__(self, topic: str, record: Record, max_bytes: int) -> None:
        self.topic, self.record, self._max_bytes = topic, record, max_bytes
        self._reason: str | None = None
        self._body: Any = _UNREAD

    def header(self, name: str) -> bytes | None:
        """The value of the first header with that name; None when there is no such header."""
        return next((value for key, value in self.record.headers if key == name), None)

    @property
    def body(self) -> Any:
        """The decoded JSON; None when the value is not JSON, or is the JSON null."""
        if self._body is _UNREAD:
            try:
                self._body = _decoded(self.data())
            except FormatError as error:
                self._body, self._reason = None, str(error)
        return self._body

    def json(self) -> Any:
        """The decoded JSON. Raises FormatError with the reason when the value is not JSON."""
        body = self.body
        if self._reason is not None:
            raise FormatError(self._reason)
        return body

    def data(self) -> bytes:
        """The value, unpacked where it is gzip. Raises FormatError when it is empty, too long or broken."""
        value, most = self.record.value, self._max_bytes
        if not value:
            raise FormatError("empty")
        if len(value) > most:
            raise FormatError(f"{len(value)} bytes; at most {most} are read")
        return _unzipped(value, most) if value[:2] == b"\x1f\x8b" else value


_UNREAD = object()


def _decoded(value: bytes) -> Any:
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        reason = str(error)
    except (UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"not JSON: {shortened(error)}") from error
    try:
        message = json.loads(value)  # accepts NaN and Infinity, which Python's json writes and JSON does not have
        json.dumps(message, ensure_ascii=False).encode()  # fails for half a surrogate pair, which cannot be written
        return message
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON: {reason}") from error


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

"""JSON files as single values: one a line, or the elements of one array, whether the file has it on one line or many.

A value is an event (an object that names a model, or has ``features``) or a plain row.
"""

import codecs
import json
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, cast

import msgspec

from detectors.errors import FormatError
from stream.files import text
from stream.files.remarks import Remarks
from stream.files.sources import Source
from stream.formats import native

MAX_LINE_BYTES = 16_777_216
MAX_DOCUMENT_BYTES = 536_870_912
"""A file that is one JSON value is read as a whole, up to this size."""

MAX_ROWS = 10_000_000
_decoder = msgspec.json.Decoder()
_raw = msgspec.json.Decoder(list[msgspec.Raw])


class Document(NamedTuple):
    """One JSON value: its row number, its bytes, and what they decode to; ``reason`` where they cannot be decoded."""

    number: int
    data: bytes
    body: Any
    reason: str | None = None


def decoded(data: bytes) -> tuple[Any, str | None]:
    """The JSON value, and None; or None, and why it cannot be decoded. NaN and infinity are accepted."""
    try:
        return _decoder.decode(data), None
    except msgspec.DecodeError as error:
        reason = str(error)
    except (UnicodeDecodeError, RecursionError) as error:
        return None, f"not JSON: {error}"[:200]
    try:
        return json.loads(data), None
    except (ValueError, RecursionError):
        return None, f"not JSON: {reason}"


def is_event(body: Any) -> bool:
    """Whether a JSON value is an event, or an array that begins with one."""
    if isinstance(body, list):
        body = body[0] if body else None
    return isinstance(body, dict) and (isinstance(body.get("model"), str) or isinstance(body.get("features"), dict))


def is_plain(source: Source) -> bool:
    """Whether the first value that can be decoded is an object that is no event."""
    for document in values(source):
        if document.reason is None:
            return isinstance(document.body, dict) and not is_event(document.body)
    return False


def plain_rows(source: Source, remarks: Remarks) -> Iterator[dict[str, Any]]:
    """The objects of a file; what is no object is left out and counted."""
    for document in values(source):
        if isinstance(document.body, dict):
            yield from _column_rows(document.body)
        else:
            remarks.leave_out_row(f"{source.file}: row {document.number}: {document.reason or 'is no object'}")


def _column_rows(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The rows of an object of equally long lists of single values; else the object itself."""
    lists = [value for value in body.values() if isinstance(value, list)]
    rows = len(lists[0]) if lists else 0
    single = rows > 1 and len(lists) == len(body) and all(len(column) == rows for column in lists)
    if single and not any(isinstance(value, list | dict) for column in lists for value in column):
        yield from (dict(zip(body, row, strict=True)) for row in zip(*lists, strict=True))
    else:
        yield body


def values(source: Source) -> Iterator[Document]:
    """The values of a JSON file: arrays and native columns as their single rows. A line that is not JSON is one too.

    Raises FormatError for a line that is too long.
    """
    stream = _utf8(source)
    number, first = 0, True
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        bare = line.strip()
        if not bare:
            continue
        if first:
            first = False
            bare = bare.removeprefix(b"\xef\xbb\xbf")
            whole = _whole(source, bare, len(line) > MAX_LINE_BYTES)
            if whole is not None:
                yield from _single(1, *whole, counted=True)
                return
        if len(line) > MAX_LINE_BYTES:
            raise FormatError(f"{source.file}: row {number}: longer than {MAX_LINE_BYTES:,} bytes")
        body, reason = decoded(bare)
        if reason is not None:
            yield Document(number, bare, None, reason)
        else:
            yield from _single(number, bare, body, counted=False)


def _utf8(source: Source) -> BinaryIO:
    """The file from its start as UTF-8."""
    magic = text.read_up_to(source.unpacked(), 4)
    encoding = next((name for mark, name in text.MARKS[1:] if magic.startswith(mark)), None)
    stream = source.unpacked()
    return stream if encoding is None else cast(BinaryIO, codecs.EncodedFile(stream, "utf-8", encoding, "replace"))


def _whole(source: Source, line: bytes, too_long: bool) -> tuple[bytes, Any] | None:
    """The file as one value, if its first line is not a whole value and the file is; else None."""
    if line[:1] not in (b"[", b"{") or (not too_long and decoded(line)[1] is None):
        return None
    data = text.read_up_to(_utf8(source), MAX_DOCUMENT_BYTES + 1).strip().removeprefix(b"\xef\xbb\xbf")
    if len(data) > MAX_DOCUMENT_BYTES:
        return None
    body, reason = decoded(data)
    return None if reason is not None else (data, body)


def _single(number: int, data: bytes, body: Any, *, counted: bool) -> Iterator[Document]:
    """The single events or rows of a JSON value. With ``counted`` they are numbered, else all have one number."""
    if isinstance(body, list) and body:
        try:
            pieces = [bytes(piece) for piece in _raw.decode(data)]
        except msgspec.DecodeError:  # it holds NaN
            pieces = [json.dumps(piece).encode() for piece in body]
        for at, (piece, inner) in enumerate(zip(pieces, body, strict=True)):
            yield from _expanded(number + at if counted else number, piece, inner)
    else:
        yield from _expanded(number, data, body)


def _expanded(number: int, data: bytes, body: Any) -> Iterator[Document]:
    if not isinstance(body, dict) or not isinstance(body.get("features"), dict):
        yield Document(number, data, body)
        return
    try:
        events = native.events_of(body, MAX_ROWS)
    except FormatError as error:
        yield Document(number, data, None, str(error))
        return
    if events is None:
        yield Document(number, data, body)
    else:
        yield from (Document(number, json.dumps(event).encode(), event) for event in events)

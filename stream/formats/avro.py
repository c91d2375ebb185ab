"""Avro values as plain values of JSON. The library is optional. No I/O.

Decimals are numbers, dates days since 1970, timestamps milliseconds, enums and UUIDs texts; bytes are left out. A
schema that could take more memory or stack than its bytes is refused: one that contains itself, or lists of nothing.
"""

import datetime
import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from detectors.errors import FormatError
from stream.formats.message import shortened

CONTAINER = b"Obj\x01"
"""The first bytes of an object container, which holds its schema."""

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NAMED = ("record", "error", "enum", "fixed")
_PRIMITIVE = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})


class _Bytes:
    """Bytes that are read from the front."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes; all that are left without a size."""
        if size < 0:
            size = len(self._data) - self._at
        found = self._data[self._at : self._at + size]
        self._at += len(found)
        return found

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return len(self._data) - self._at


def read(schema: str, data: bytes) -> Any:
    """The value in ``data``. Raises FormatError for a schema that is refused, and for bytes that do not fit it."""
    source = _Bytes(data)
    found = _compiled(schema)(source)
    if source.left:
        raise FormatError(f"Avro: {source.left} bytes are left after the value: another schema wrote it")
    return plain(found)


def read_container(data: bytes, most: int) -> list[Any]:
    """The values of an object container, at most ``most`` + 1. Raises FormatError."""
    library = _library()
    try:
        reader = library.reader(_Bytes(data))
        _check(reader.writer_schema)
        if reader.codec != "null":
            raise FormatError(f"Avro container packed with {reader.codec}, which is not read")
        found: list[Any] = []
        for value in reader:
            found.append(plain(value))
            if len(found) > most:
                break
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"Avro container: {shortened(error)}") from error
    return found


@lru_cache(1_024)
def _compiled(schema: str) -> Callable[[_Bytes], Any]:
    """A function that reads one value."""
    library = _library()
    try:
        tree = json.loads(schema)
        _check(tree)
        parsed = library.parse_schema(tree)
    except FormatError:
        raise
    except Exception as error:
        raise FormatError(f"Avro: the schema cannot be read: {shortened(error)}") from error

    def value(source: _Bytes) -> Any:
        try:
            return library.schemaless_reader(source, parsed, None)
        except Exception as error:
            raise FormatError(f"Avro: does not fit its schema: {shortened(error)}") from error

    return value


def _library() -> Any:
    try:
        import fastavro
    except ImportError as error:
        raise FormatError("Avro: the library fastavro is missing; install driftline[avro]") from error
    return fastavro


def _check(schema: Any) -> None:
    """Raises FormatError for a schema whose values may take more than their bytes."""
    for at, (node, above) in enumerate(_nodes(schema, frozenset())):
        if at > 10_000:
            raise FormatError("Avro: a schema with more than 10,000 types is not read")
        if isinstance(node, str) and node not in _PRIMITIVE and node.rpartition(".")[2] in above:
            raise FormatError(f"Avro: a schema that contains itself ({node}) is not read")
        if isinstance(node, dict) and node.get("type") in ("array", "map"):
            below = node.get("items", node.get("values"))
            if _may_be_empty(below):
                raise FormatError("Avro: a schema with lists of values that take no bytes is not read")


def _nodes(schema: Any, above: frozenset[str]) -> Iterator[tuple[Any, frozenset[str]]]:
    """All types in a schema, each with the names of the types around it."""
    yield schema, above
    if len(above) > 60:
        raise FormatError("Avro: a schema with records nested more than 60 deep is not read")
    if isinstance(schema, list):
        for one in schema:
            yield from _nodes(one, above)
    elif isinstance(schema, dict):
        kind = schema.get("type")
        if kind in _NAMED:
            above = above | {str(schema.get("name", "")).rpartition(".")[2]}
        for field in schema.get("fields", ()) if isinstance(schema.get("fields"), list) else ():
            if isinstance(field, dict):
                yield from _nodes(field.get("type"), above)
        for member in ("items", "values"):
            if member in schema:
                yield from _nodes(schema[member], above)
        if isinstance(kind, dict | list):
            yield from _nodes(kind, above)


def _may_be_empty(schema: Any) -> bool:
    """Whether a value of that type may take no byte at all."""
    if isinstance(schema, dict):
        kind = schema.get("type")
        if kind in ("record", "error"):
            fields = schema.get("fields")
            return not isinstance(fields, list) or all(
                _may_be_empty(one.get("type")) for one in fields if isinstance(one, dict)
            )
        if kind == "fixed":
            return not schema.get("size")
        return _may_be_empty(kind) if isinstance(kind, dict | str) else False
    return schema == "null" or (
        isinstance(schema, str) and schema not in (*_PRIMITIVE, "array", "map", "enum", "fixed")
    )


def plain(value: Any) -> Any:
    """The value with JSON's types alone."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime.datetime):
        moment = value if value.tzinfo is not None else value.replace(tzinfo=datetime.UTC)
        return (moment - _EPOCH) // datetime.timedelta(milliseconds=1)
    if isinstance(value, datetime.date):
        return (value - _EPOCH.date()).days
    if isinstance(value, datetime.time):
        return ((value.hour * 60 + value.minute) * 60 + value.second) * 1_000 + value.microsecond // 1_000
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, tuple):  # a union's branch with its name
        return plain(value[-1])
    return None if isinstance(value, bytes) else value

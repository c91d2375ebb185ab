"""Avro values become plain values, and a schema that could take more than its bytes is refused."""

import datetime
import io
import json
from contextlib import suppress
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.errors import FormatError
from stream.formats import avro

FIELDS: list[dict[str, Any]] = [
    {"name": "price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2}},
    {"name": "day", "type": {"type": "int", "logicalType": "date"}},
    {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    {"name": "who", "type": {"type": "string", "logicalType": "uuid"}},
    {"name": "where", "type": {"type": "enum", "name": "Where", "symbols": ["WEB", "SHOP"]}},
    {"name": "none", "type": ["null", "double"]},
    {"name": "list", "type": {"type": "array", "items": "float"}},
    {"name": "raw", "type": "bytes"},
]
SCHEMA = {"type": "record", "name": "All", "fields": FIELDS}
VALUE = {
    "price": Decimal("12.50"), "day": datetime.date(1970, 1, 3),
    "at": datetime.datetime(2025, 11, 21, 4, 40, 0, 250_999, datetime.UTC), "who": UUID(int=7), "where": "SHOP",
    "none": None, "list": [0.5, 1.0], "raw": b"x",
}  # fmt: skip


def written(schema: Any, value: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def record(*fields: dict[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": list(fields)}


def test_every_type_has_a_plain_value() -> None:
    assert avro.read(json.dumps(SCHEMA), written(SCHEMA, VALUE)) == {
        "price": 12.5, "day": 2, "at": 1_763_700_000_250, "who": str(UUID(int=7)), "where": "SHOP", "none": None,
        "list": [0.5, 1.0], "raw": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (record({"name": "next", "type": ["null", "R"]}), "contains itself"),
        (record({"name": "a", "type": {"type": "array", "items": "null"}}), "lists of values that take no bytes"),
        (record({"name": "a", "type": {"type": "map", "values": record(name="E")}}), None),
        (record({"name": "a", "type": {"type": "array", "items": record(name="E")}}), "take no bytes"),
        (
            record({"name": "a", "type": {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}}),
            "no bytes",
        ),
        ({"type": "nonsense"}, "the schema cannot be read"),
    ],
)
def test_a_schema_that_could_take_more_than_its_bytes_is_refused(schema: Any, reason: str | None) -> None:
    with pytest.raises(FormatError) as error:
        avro.read(json.dumps(schema), b"\x80\x80\x80\x80\x80\x80\x80\x80\x40\x00")
    assert reason is None or reason in str(error.value)


def test_deep_schemas_are_refused() -> None:
    schema: Any = "int"
    for at in range(200):
        schema = record({"name": "a", "type": schema}, name=f"R{at}")
    with pytest.raises(FormatError, match="more than 60 deep"):
        avro.read(json.dumps(schema), b"\x02")


def test_bytes_of_another_schema_are_refused() -> None:
    data = written(record({"name": "a", "type": "long"}), {"a": 1})
    with pytest.raises(FormatError, match="2 bytes are left"):
        avro.read(json.dumps(record({"name": "a", "type": "long"})), data + b"\0\0")
    with pytest.raises(FormatError, match="does not fit its schema"):
        avro.read(json.dumps(record({"name": "a", "type": "double"})), data)


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_container_has_its_schema_and_is_not_unpacked(codec: str) -> None:
    schema, out = record({"name": "a", "type": "long"}), io.BytesIO()
    fastavro.writer(out, fastavro.parse_schema(schema), [{"a": at} for at in range(5)], codec)
    if codec == "null":
        assert avro.read_container(out.getvalue(), 10) == [{"a": at} for at in range(5)]
        assert len(avro.read_container(out.getvalue(), 2)) == 3
    else:
        with pytest.raises(FormatError, match="packed with deflate"):
            avro.read_container(out.getvalue(), 10)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (lambda: avro.read(json.dumps(SCHEMA), data), lambda: avro.read_container(avro.CONTAINER + data, 10)):
        with suppress(FormatError):
            read()

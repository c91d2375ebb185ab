"""Records of other systems with the events that must come out of them: files outside of the project."""

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from stream.formats.message import Message
from stream.formats.schemas import Schema, Schemas
from stream.formats.topic_rules import TopicRules
from stream.topics.record import Record

MOST_BYTES = 4_194_304


def folder() -> Path:
    """The folder of the records; the tests are skipped without it."""
    root = os.environ.get("DRIFTLINE_TEST_DATA")
    found = Path(root, "wire") if root else None
    if found is None or not found.is_dir():
        pytest.skip("no records of other systems: DRIFTLINE_TEST_DATA names no folder with wire/")
    return found


class Case(NamedTuple):
    """One record and what must come out of it."""

    name: str
    message: Message
    expect: dict[str, Any]
    given: dict[str, Any]
    after: list[str]


def read(path: Path) -> Case:
    """The case in a file."""
    body = json.loads(path.read_text())
    given = body.get("given") or {}
    known = {name: value for name, value in given.items() if name in TopicRules.__struct_fields__}
    rules = TopicRules(**{name: tuple(v) if isinstance(v, list) else v for name, v in known.items()})
    headers = tuple((name, base64.b64decode(value)) for name, value in body["headers"])
    value, key = (None if body[part] is None else base64.b64decode(body[part]) for part in ("value", "key"))
    record = Record(0, body["timestamp_ms"], key, value, headers)
    name = f"{path.parent.name}/{path.stem}"
    schemas = Schemas(configured="schemas" in given)
    for one, text in given.get("schemas", {}).items():
        kind = "PROTOBUF" if text.startswith("syntax") else "AVRO"
        schemas.put(one, Schema(kind, text))
    message = Message(body["topic"], record, MOST_BYTES, rules, schemas)
    return Case(name, message, body["expect"], given, body.get("after") or [])


def cases() -> Iterator[Case]:
    """All cases, by name."""
    for path in sorted(folder().glob("*/*.json")):
        yield read(path)

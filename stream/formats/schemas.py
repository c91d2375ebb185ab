"""The schemas of a registry that are known, by the name that records give them. No I/O: a backend fetches them."""

from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

from detectors.errors import FormatError
from stream.topics.record import Record

ID_HEADER = "__value_schema_id"
"""Header of newer serializers: 1, then the GUID of the schema in sixteen bytes. The value has no frame then."""

FRAME = 5
"""Bytes before a framed value: 0, and the number of the schema in four bytes."""


class Schema(NamedTuple):
    """A schema as the registry has it: ``kind`` AVRO, PROTOBUF or JSON, and its text."""

    kind: str
    text: str


class Schemas:
    """Schemas by name: a number, or a GUID. None stands for a name that the registry does not have.

    ``configured``: whether there is a registry.
    """

    __slots__ = ("_found", "configured")

    def __init__(self, *, configured: bool = False) -> None:
        self.configured = configured
        self._found: dict[str, Schema | None] = {}

    def put(self, name: str, schema: Schema | None) -> None:
        """Notes the registry's answer for a name."""
        self._found[name] = schema

    def missing(self, records: Iterable[Record]) -> set[str]:
        """The names in records for which there is no answer yet; none without a registry."""
        if not self.configured:
            return set()
        names = {name for name in map(name_of, records) if name is not None}
        return names - self._found.keys()

    def get(self, name: str) -> Schema:
        """The schema of that name. Raises FormatError with the reason when there is none."""
        if not self.configured:
            raise FormatError(
                f"Confluent framing, schema id {name}, and no schema registry is set (schema_registry.url)"
            )
        found = self._found.get(name)
        if found is None:
            raise FormatError(f"schema {name} is not in the registry")
        return found


NO_SCHEMAS = Schemas()


def name_of(record: Record) -> str | None:
    """The name of the schema of a record: from its header, or from the frame of its value."""
    for header, name in record.headers:
        if header == ID_HEADER and len(name) == 17 and name[0] == 1:
            return str(UUID(bytes=name[1:]))
        if header == ID_HEADER and len(name) == FRAME and name[0] == 0:
            return str(int.from_bytes(name[1:], "big"))
    value = record.value
    if value is None or value[:1] != b"\x00" or len(value) <= FRAME:
        return None
    return str(int.from_bytes(value[1:FRAME], "big"))

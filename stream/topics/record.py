"""Partitions and records, as every module of driftline passes them. No types of a Kafka client."""

from typing import NamedTuple

UNREADABLE = "driftline-unreadable"
"""A header that the backend gives to a record that it could not unpack; its value is the reason."""


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class Record(NamedTuple):
    """A record that was read. The next one to read is at ``offset + 1``. ``timestamp_ms``: as the broker has it."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class OutRecord(NamedTuple):
    """A record to write. ``partition`` None: the backend chooses one by ``key``."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


def why_empty(record: Record) -> str:
    """The reason for a record without a value: it could not be unpacked, or it is ``empty``."""
    found = next((value for name, value in record.headers if name == UNREADABLE), None)
    return (found or b"empty").decode(errors="replace")

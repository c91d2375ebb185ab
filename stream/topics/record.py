"""Partitions and records, as every module of driftline passes them. No types of a Kafka client."""

from typing import NamedTuple


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

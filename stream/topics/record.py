"""Records and partitions as the whole of driftline passes them around. No Kafka types."""

from typing import NamedTuple


class Partition(NamedTuple):
    """A topic's partition."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class Record(NamedTuple):
    """A record as read. ``offset`` is its own; the next to read is ``offset + 1``. ``timestamp_ms`` is the broker's."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class OutRecord(NamedTuple):
    """A record to write. ``partition`` None: the backend's partitioner decides by ``key``."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None

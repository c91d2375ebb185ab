"""The protocols by which the shells reach the outside world. Every backend passes one contract suite."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from stream.topics.record import OutRecord, Partition, Record


class Rebalance(Protocol):
    """Is called when partitions are assigned or revoked. Must return at once; longer work belongs in a task."""

    def assigned(self, partitions: Sequence[Partition]) -> None: ...

    def revoked(self, partitions: Sequence[Partition]) -> None: ...

    def made_anew(self, topics: Collection[str]) -> None:
        """These topics have other ids than ``topic_ids`` returned: they were deleted and made again."""
        ...


class Source(Protocol):
    """A member of a consumer group. Newly assigned partitions are paused until ``seek`` and ``resume``.

    ``seek``, and the records of ``poll``, have positions in the generation that was sought; all else has the broker's
    own offsets. See ``stream.topics.generations``.
    """

    async def start(self, listener: Rebalance) -> None: ...

    async def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """The broker's id of each topic; a topic that is made again has another one. Absent: the topic does not exist,
        or the broker has no ids. From now on ``poll`` returns no record of a topic under another id."""
        ...

    async def poll(self, timeout_ms: int, max_records: int) -> Mapping[Partition, list[Record]]: ...

    def seek(self, partition: Partition, offset: int) -> None: ...

    def resume(self, partitions: Sequence[Partition]) -> None: ...

    def pause(self, partitions: Sequence[Partition]) -> None: ...

    async def commit(self, offsets: Mapping[Partition, int]) -> None: ...

    async def committed(self, partition: Partition) -> int | None: ...

    async def note(self, notes: Mapping[Partition, str]) -> None:
        """Keeps a text beside the committed offset of each partition; the next ``commit`` removes it. Where nothing was
        committed, 0 is, with the text. BrokerError if that is not possible."""
        ...

    async def noted(self, partition: Partition) -> str | None:
        """The text beside the committed offset, empty where there is none. None: nothing was committed."""
        ...

    async def beginning_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]: ...

    async def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]: ...

    async def stop(self) -> None: ...


class Sink(Protocol):
    """Writes records. ``send`` returns when all are acknowledged, in order within each partition, or raises
    BrokerError."""

    async def start(self) -> None: ...

    async def send(self, records: Sequence[OutRecord]) -> None: ...

    async def stop(self) -> None: ...


class Output(Sink, Protocol):
    """A sink that can ask how many partitions a topic has."""

    async def partitions(self, topic: str) -> int: ...


class TableReader(Protocol):
    """Reads compacted topics without a group, as tables: the newest value of each key."""

    async def read_to_end(self, topic: str, partitions: Sequence[int] | None = None) -> dict[bytes, Record]:
        """The newest record of each key, up to the end of the topic at the call. Keys with a tombstone are absent."""
        ...

    async def read_from(self, topics: Sequence[str], offsets: Mapping[Partition, int]) -> None:
        """Makes ``poll`` return every record of ``topics`` from ``offsets`` on. A partition without an offset, or whose
        offset is deleted, starts with its first record. Topics that were read before are no longer followed."""
        ...

    async def poll(self, timeout_ms: int) -> Sequence[tuple[Partition, Record]]:
        """The records after ``read_to_end``, or from ``read_from`` on, in order."""
        ...

    async def catch_up(self, apply: Callable[[Partition, Record], None]) -> None:
        """Calls ``apply`` with each new record, up to the end at the call. After a cancellation later calls continue
        with the rest."""
        ...

    async def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """The broker's id of each topic; absent where it has none."""
        ...

    async def stop(self) -> None: ...


class Clock(Protocol):
    """Wall time, handed in so that tests can set it."""

    def now_ms(self) -> int: ...

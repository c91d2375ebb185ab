"""What the shells need of the outside world, as protocols. Every backend passes one contract suite."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from stream.topics.record import OutRecord, Partition, Record


class Rebalance(Protocol):
    """Told of assignments. Must return at once: work that takes time is done in a task (recovery.md)."""

    def assigned(self, partitions: Sequence[Partition]) -> None: ...

    def revoked(self, partitions: Sequence[Partition]) -> None: ...


class Source(Protocol):
    """A member of a consumer group. Newly assigned partitions are paused until ``seek`` and ``resume``."""

    async def start(self, listener: Rebalance) -> None: ...

    async def poll(self, timeout_ms: int, max_records: int) -> Mapping[Partition, list[Record]]: ...

    def seek(self, partition: Partition, offset: int) -> None: ...

    def resume(self, partitions: Sequence[Partition]) -> None: ...

    def pause(self, partitions: Sequence[Partition]) -> None: ...

    async def commit(self, offsets: Mapping[Partition, int]) -> None: ...

    async def committed(self, partition: Partition) -> int | None: ...

    async def beginning_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]: ...

    async def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]: ...

    async def stop(self) -> None: ...


class Sink(Protocol):
    """Writes. ``send`` returns when all are acknowledged, in the order given per partition; BrokerError if not."""

    async def start(self) -> None: ...

    async def send(self, records: Sequence[OutRecord]) -> None: ...

    async def stop(self) -> None: ...


class Output(Sink, Protocol):
    """A sink that knows how many partitions a topic has."""

    async def partitions(self, topic: str) -> int: ...


class TableReader(Protocol):
    """Reads a compacted topic without a group: newest value by key."""

    async def read_to_end(self, topic: str, partitions: Sequence[int] | None = None) -> dict[bytes, Record]:
        """Newest record per key up to the end as of the call; tombstoned keys are absent."""
        ...

    async def read_from(self, topics: Sequence[str], offsets: Mapping[Partition, int]) -> None:
        """``poll`` gives every record of ``topics`` from ``offsets`` on; where none is named, or it is gone, from the
        first there is. Forgets what was read before."""
        ...

    async def poll(self, timeout_ms: int) -> Sequence[tuple[Partition, Record]]:
        """What came after ``read_to_end`` or from ``read_from`` on, in order."""
        ...

    async def catch_up(self, take: Callable[[Partition, Record], None]) -> None:
        """Hands over what came since, up to the end as of the call; when cancelled, the rest comes later."""
        ...

    async def stop(self) -> None: ...


class Clock(Protocol):
    """Wall time, handed in so that tests own it."""

    def now_ms(self) -> int: ...

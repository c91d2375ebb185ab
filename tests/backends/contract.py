"""One interface to all backends: what the contract suite needs of each."""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Protocol

from aiokafka.errors import TopicAlreadyExistsError

from stream.backends.clock import SystemClock
from stream.backends.files import FileBroker, FileSink, FileSource, FileTableReader
from stream.backends.kafka.embedded import EmbeddedBroker
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.source import KafkaSource
from stream.backends.kafka.tables import KafkaTableReader
from stream.backends.memory.broker import MemoryBroker
from stream.backends.memory.clients import MemorySink, MemorySource, MemoryTableReader
from stream.backends.ports import Rebalance, Source, TableReader
from stream.settings.settings import KafkaSettings
from stream.topics.record import OutRecord, Partition
from tests.kafka.server import Cluster

_numbers = itertools.count()


class AnySink(Protocol):
    async def start(self) -> None: ...
    async def send(self, records: Sequence[OutRecord]) -> None: ...
    async def partitions(self, topic: str) -> int: ...
    async def stop(self) -> None: ...


class Backend:
    """One backend with one topic for one test."""

    def __init__(
        self,
        topic: str,
        create: Callable[[str, int], Awaitable[None]],
        source: Callable[[Sequence[str], str], Source],
        sink: Callable[[], AnySink],
        tables: Callable[[], TableReader],
        remake: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        """``remake``: deletes a topic and makes it again with one partition; None where topics have no ids."""
        self.topic = topic
        self.create = create
        self.remake = remake
        self._source = source
        self._sink = sink
        self._tables = tables
        self._open = AsyncExitStack()

    async def sink(self) -> AnySink:
        sink = self._sink()
        await sink.start()
        self._open.push_async_callback(sink.stop)
        return sink

    async def source(self, listener: Rebalance, group: str | None = None) -> Source:
        """A started source, in a group of its own unless one is named."""
        source = self._source([self.topic], group or f"{self.topic}-{next(_numbers)}")
        self._open.push_async_callback(source.stop)
        await source.start(listener)
        return source

    def table(self) -> TableReader:
        table = self._tables()
        self._open.push_async_callback(table.stop)
        return table

    async def close(self) -> None:
        await self._open.aclose()


@asynccontextmanager
async def memory() -> AsyncIterator[Backend]:
    broker = MemoryBroker()

    async def create(name: str, partitions: int) -> None:
        broker.create_topic(name, partitions)

    async def remake(name: str) -> None:
        broker.delete_topic(name)
        broker.create_topic(name, 1)

    backend = Backend(
        "events",
        create,
        lambda topics, group: MemorySource(broker, topics, group),
        lambda: MemorySink(broker),
        lambda: MemoryTableReader(broker),
        remake,
    )
    yield backend
    await backend.close()


@asynccontextmanager
async def files(folder: Path) -> AsyncIterator[Backend]:
    broker = FileBroker(folder, SystemClock())

    async def create(name: str, partitions: int) -> None:
        broker.create_topic(name, partitions)

    backend = Backend(
        "events",
        create,
        lambda topics, group: FileSource(broker, topics, group),
        lambda: FileSink(broker),
        lambda: FileTableReader(broker),
    )
    yield backend
    await backend.close()


@asynccontextmanager
async def embedded() -> AsyncIterator[Backend]:
    with EmbeddedBroker() as broker:

        async def create(name: str, partitions: int) -> None:
            broker.create_topic(name, partitions)

        backend = through_aiokafka(broker.bootstrap_servers, create)
        yield backend
        await backend.close()


@asynccontextmanager
async def real(cluster: Cluster) -> AsyncIterator[Backend]:
    async def create(name: str, partitions: int) -> None:
        await cluster.create_topics({name: partitions})

    async def remake(name: str) -> None:
        await cluster.delete_topics(name)
        with suppress(TopicAlreadyExistsError):  # a client that still asks for it may make it first
            await cluster.create_topics({name: 1})

    backend = through_aiokafka(cluster.bootstrap_servers, create, remake)
    yield backend
    await backend.close()


def through_aiokafka(
    servers: str,
    create: Callable[[str, int], Awaitable[None]],
    remake: Callable[[str], Awaitable[None]] | None = None,
) -> Backend:
    settings = KafkaSettings(bootstrap_servers=servers, session_timeout_ms=6_000, request_timeout_ms=10_000)

    def source(topics: Sequence[str], group: str) -> Source:
        return KafkaSource(
            KafkaSettings(
                bootstrap_servers=servers, group_id=group, session_timeout_ms=6_000, rebalance_timeout_ms=6_000
            ),
            topics,
        )

    return Backend(
        f"contract-{next(_numbers)}-{id(create)}",
        create,
        source,
        lambda: KafkaSink(settings),
        lambda: KafkaTableReader(settings),
        remake,
    )


class Listener:
    """Records its calls."""

    def __init__(self) -> None:
        self.owned: set[Partition] = set()
        self.revocations: list[list[Partition]] = []
        self.anew: set[str] = set()

    def made_anew(self, topics: Collection[str]) -> None:
        self.anew |= set(topics)

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.owned = set(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        self.revocations.append(list(partitions))
        self.owned -= set(partitions)

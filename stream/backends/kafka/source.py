"""Kafka through aiokafka: source, sink and table reader. What is special about aiokafka is dealt with here only.

Nothing here retries for ever in silence: what lasts longer than ``request_timeout_ms`` becomes a BrokerError.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from detectors.errors import BrokerError
from stream.backends.kafka.connection import (
    STOP_SECONDS,
    answer,
    bounded,
    connection,
    failed,
    ssl_context,
    token_provider,
)
from stream.backends.kafka.fetch_blocks import read_blocks
from stream.settings.settings import Compression, KafkaSettings
from stream.topics.keys import keep_newest
from stream.topics.record import OutRecord, Partition, Rebalance, Record

__all__ = ["KafkaSink", "KafkaSource", "KafkaTableReader", "connection", "ssl_context", "token_provider"]

log = logging.getLogger(__name__)

T = TypeVar("T")

TABLE_RECORDS = 500
"""Records of a table taken at a time: at 100 KB each, what the loop parses without a break is 50 MB at most."""


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Pauses first, and gives every partition a position so that aiokafka asks for none."""

    def __init__(self, consumer: AIOKafkaConsumer, listener: Rebalance) -> None:
        self._consumer = consumer
        self._listener = listener

    def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._consumer.pause(*assigned)
        for place in assigned:
            self._consumer.seek(place, 0)
        self._listener.assigned([Partition(*place) for place in sorted(assigned)])

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._listener.revoked([Partition(*place) for place in sorted(revoked)])


def _sticky() -> type[StickyPartitionAssignor]:
    """A class of its own for each member: aiokafka keeps what a member held last in the class."""
    return type("Sticky", (StickyPartitionAssignor,), {})


class KafkaSource:
    """A member of the settings' consumer group. Records come only from partitions that were sought and resumed."""

    def __init__(self, settings: KafkaSettings, topics: Sequence[str]) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._client: AIOKafkaConsumer | None = None

    async def start(self, listener: Rebalance) -> None:
        kafka = self._settings
        self._client = AIOKafkaConsumer(
            **connection(kafka),
            group_id=kafka.group_id,
            enable_auto_commit=False,
            auto_offset_reset="none",  # a jump is data loss: the runner decides where to begin
            partition_assignment_strategy=(_sticky(),),
            session_timeout_ms=kafka.session_timeout_ms,
            heartbeat_interval_ms=min(3_000, kafka.session_timeout_ms // 10),
            rebalance_timeout_ms=kafka.rebalance_timeout_ms,
            request_timeout_ms=kafka.request_timeout_ms,
            max_partition_fetch_bytes=kafka.max_message_bytes,
            fetch_max_wait_ms=100,
            metadata_max_age_ms=30_000,
        )
        self._client.subscribe(self._topics, listener=_Listener(self._client, listener))
        try:
            await self._client.start()
        except (KafkaError, OSError) as error:
            await bounded(self._client.stop(), STOP_SECONDS)
            raise failed(kafka, f"join group {kafka.group_id}", error) from None
        read_blocks(self._client)

    async def poll(self, timeout_ms: int, max_records: int) -> Mapping[Partition, list[Record]]:
        try:
            batches = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        except NoOffsetForPartitionError:
            return {}  # asked for before the listener gave it a position; it is paused until it is sought
        except OffsetOutOfRangeError as error:
            places = ", ".join(
                f"{place.topic}/{place.partition} at offset {offset}" for place, offset in error.args[0].items()
            )
            raise BrokerError(
                f"{places}: these records are no longer on the broker; events were lost. Lengthen the topic's "
                f"retention; to go on from what is left: driftline checkpoints drop"
            ) from None
        except (KafkaError, OSError) as error:
            raise failed(self._settings, f"read {', '.join(self._topics)}", error) from None
        return {Partition(place.topic, place.partition): batch for place, batch in batches.items()}

    def seek(self, partition: Partition, offset: int) -> None:
        self._consumer.seek(TopicPartition(*partition), offset)

    def resume(self, partitions: Sequence[Partition]) -> None:
        self._consumer.resume(*(TopicPartition(*partition) for partition in partitions))

    def pause(self, partitions: Sequence[Partition]) -> None:
        self._consumer.pause(*(TopicPartition(*partition) for partition in partitions))

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """The group's view of progress, for lag tools. What is no longer ours is left out."""
        ours = self._consumer.assignment()
        offers = {TopicPartition(*place): offset for place, offset in offsets.items() if tuple(place) in ours}
        if not offers:
            return
        try:
            async with asyncio.timeout(self._settings.request_timeout_ms / 1000):
                await self._consumer.commit(offers)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("a commit came while the group changed and is left out: %s", error)
        except (KafkaError, OSError, TimeoutError) as error:
            raise failed(self._settings, "commit", error) from None

    async def committed(self, partition: Partition) -> int | None:
        offset: int | None = await self._ask("read the commit", self._consumer.committed(TopicPartition(*partition)))
        return offset

    async def beginning_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        wanted = [TopicPartition(*partition) for partition in partitions]
        found = await self._ask("ask for first offsets", self._consumer.beginning_offsets(wanted))
        return {Partition(*place): offset for place, offset in found.items()}

    async def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        wanted = [TopicPartition(*partition) for partition in partitions]
        found = await self._ask("ask for end offsets", self._consumer.end_offsets(wanted))
        return {Partition(*place): offset for place, offset in found.items()}

    def high_water(self, partition: Partition) -> int | None:
        """The end as of the last fetch; costs nothing. None before the first, or when not assigned."""
        try:
            end: int | None = self._consumer.highwater(TopicPartition(*partition))
        except (IllegalStateError, AssertionError):
            return None
        return end

    async def stop(self) -> None:
        """Leaves the group."""
        if self._client is not None:
            await bounded(self._client.stop(), STOP_SECONDS)

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        assert self._client is not None, "not started"
        return self._client

    async def _ask(self, what: str, question: Awaitable[T]) -> T:
        return await answer(self._settings, what, question)


class KafkaSink:
    """A producer that waits for all in-sync replicas. After an error that waiting does not cure, make a new one."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: AIOKafkaProducer | None = None

    async def start(self) -> None:
        kafka = self._settings
        compression = None if kafka.compression is Compression.NONE else kafka.compression.value
        self._client = AIOKafkaProducer(
            **connection(kafka),
            acks="all",
            compression_type=compression,
            max_request_size=kafka.max_message_bytes,
            max_batch_size=262_144,
            request_timeout_ms=kafka.request_timeout_ms,
        )
        try:
            await self._client.start()
        except (KafkaError, OSError) as error:
            await bounded(self._client.stop(), STOP_SECONDS)
            raise failed(kafka, "start a producer", error) from None

    async def send(self, records: Sequence[OutRecord]) -> None:
        assert self._client is not None, "not started"
        waiting: list[asyncio.Future[Any]] = []
        failure: BrokerError | None = None
        for record in records:
            try:
                sent = await self._client.send(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    partition=record.partition,
                    headers=list(record.headers),
                )
            except (KafkaError, OSError, AssertionError) as error:  # an assertion: no such partition
                failure = failed(self._settings, f"write to {record.topic}", error)
                break
            waiting.append(sent)
        results = await asyncio.gather(*waiting, return_exceptions=True)
        for record, result in zip(records, results, strict=False):
            if isinstance(result, (KafkaError, OSError)):
                raise failed(self._settings, f"write to {record.topic}", result)
            if isinstance(result, BaseException):
                raise result
        if failure is not None:
            raise failure

    async def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        assert self._client is not None, "not started"
        found = await answer(self._settings, f"ask for the partitions of {topic}", self._client.partitions_for(topic))
        return len(found)

    async def stop(self) -> None:
        if self._client is not None:
            await bounded(self._client.stop(), STOP_SECONDS)


class KafkaTableReader:
    """Reads compacted topics without a group. After several ``read_to_end``, ``poll`` follows all of them."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: AIOKafkaConsumer | None = None
        self._next: dict[TopicPartition, int] = {}

    async def read_to_end(self, topic: str, partitions: Sequence[int] | None = None) -> dict[bytes, Record]:
        consumer = await self._started()
        if partitions is None:
            partitions = await self._partitions(consumer, topic)
        places = [TopicPartition(topic, partition) for partition in partitions]
        first = await answer(self._settings, f"ask for the start of {topic}", consumer.beginning_offsets(places))
        end = await answer(self._settings, f"ask for the end of {topic}", consumer.end_offsets(places))
        self._follow(consumer, first)
        found: dict[bytes, Record] = {}
        await self._read_until(consumer, end, lambda _, records: keep_newest(found, records))
        return found

    async def catch_up(self, take: Callable[[Partition, Record], None]) -> None:
        consumer = await self._started()
        end = await answer(self._settings, "ask for the ends of tables", consumer.end_offsets(list(self._next)))

        def each(place: TopicPartition, records: Sequence[Record]) -> None:
            for record in records:
                take(Partition(place.topic, place.partition), record)

        await self._read_until(consumer, end, each)

    async def _read_until(
        self,
        consumer: AIOKafkaConsumer,
        end: Mapping[TopicPartition, int],
        take: Callable[[TopicPartition, Sequence[Record]], None],
    ) -> None:
        """Gives up when nothing comes for as long as an answer may take."""
        patience = self._settings.request_timeout_ms / 1000
        progress = time.monotonic()
        while any(self._next[place] < end[place] for place in end):
            batches = await self._take(consumer, 200, list(end))
            for place, batch in batches.items():
                take(place, batch)
            progress = await self._advance(consumer, list(end), progress)
            if time.monotonic() - progress > patience:
                where = next(place for place in end if self._next[place] < end[place])
                raise BrokerError(
                    f"{self._settings.bootstrap_servers}: nothing of {where.topic}/{where.partition} came in "
                    f"{patience:.0f} s after offset {self._next[where]}, and it ends at {end[where]}"
                )

    async def read_from(self, topics: Sequence[str], offsets: Mapping[Partition, int]) -> None:
        consumer = await self._started()
        numbers = {topic: await self._partitions(consumer, topic) for topic in topics}
        places = [TopicPartition(topic, number) for topic, found in numbers.items() for number in found]
        what = ", ".join(topics)
        first = await answer(self._settings, f"ask for the start of {what}", consumer.beginning_offsets(places))
        end = await answer(self._settings, f"ask for the end of {what}", consumer.end_offsets(places))
        self._next = {}
        self._follow(
            consumer,
            {place: min(max(offsets.get(Partition(*place), 0), first[place]), end[place]) for place in places},
        )

    async def poll(self, timeout_ms: int) -> Sequence[tuple[Partition, Record]]:
        consumer = await self._started()
        batches = await self._take(consumer, timeout_ms, list(self._next))
        came: list[tuple[Partition, Record]] = []
        for place, batch in batches.items():
            self._next[place] = batch[-1].offset + 1
            came.extend((Partition(place.topic, place.partition), record) for record in batch)
        return came

    async def stop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await bounded(client.stop(), STOP_SECONDS)

    async def _started(self) -> AIOKafkaConsumer:
        if self._client is None:
            client = AIOKafkaConsumer(
                **connection(self._settings),
                auto_offset_reset="earliest",  # what compaction removed since is in what it kept
                enable_auto_commit=False,
                request_timeout_ms=self._settings.request_timeout_ms,
                max_partition_fetch_bytes=self._settings.max_message_bytes,
                fetch_max_wait_ms=100,
            )
            try:
                await client.start()
            except (KafkaError, OSError) as error:
                await bounded(client.stop(), STOP_SECONDS)
                raise failed(self._settings, "connect", error) from None
            read_blocks(client)
            self._client = client
        return self._client

    async def _partitions(self, consumer: AIOKafkaConsumer, topic: str) -> list[int]:
        """Asks for the topic until the broker knows it: an embedded one makes it at the first question."""
        deadline = time.monotonic() + self._settings.request_timeout_ms / 1000
        while True:
            # aiokafka's consumer has no public way to ask about a topic that it does not read yet
            consumer._client.add_topic(topic)
            await answer(self._settings, f"ask for {topic}", consumer._client.force_metadata_update())
            found = consumer.partitions_for_topic(topic)
            if found:
                return sorted(found)
            if time.monotonic() > deadline:
                raise BrokerError(f"{self._settings.bootstrap_servers}: no topic {topic}; driftline check creates it")
            await asyncio.sleep(0.1)

    def _follow(self, consumer: AIOKafkaConsumer, first: Mapping[TopicPartition, int]) -> None:
        """``assign`` forgets positions, so all are sought again."""
        self._next.update(first)
        consumer.assign(list(self._next))
        for place, offset in self._next.items():
            consumer.seek(place, offset)

    async def _take(
        self, consumer: AIOKafkaConsumer, timeout_ms: int, places: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, list[Record]]:
        try:
            batches: Mapping[TopicPartition, list[Record]] = await consumer.getmany(
                *places, timeout_ms=timeout_ms, max_records=TABLE_RECORDS
            )
        except (KafkaError, OSError) as error:
            raise failed(self._settings, "read a table", error) from None
        return batches

    async def _advance(self, consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], progress: float) -> float:
        """Positions move past what compaction left empty, too. When they last moved."""
        for place in places:
            position = await consumer.position(place)
            if position != self._next[place]:
                self._next[place] = position
                progress = time.monotonic()
        return progress

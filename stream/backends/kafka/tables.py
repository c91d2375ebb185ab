"""Reads compacted topics of Kafka as tables, without a consumer group, through aiokafka."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from detectors.errors import BrokerAway, BrokerError
from stream.backends.kafka.connection import STOP_SECONDS, answer, bounded, connection, failed, start
from stream.backends.kafka.fetch_blocks import read_blocks
from stream.backends.kafka.outage import wait_out
from stream.backends.kafka.topic_ids import topic_ids
from stream.settings.settings import KafkaSettings
from stream.topics.keys import keep_newest
from stream.topics.record import Partition, Record

T = TypeVar("T")

TABLE_RECORDS = 500
"""Records read in one step: at 100 KB each, at most 50 MB are parsed before other tasks of the loop run."""


class KafkaTableReader:
    """Reads compacted topics without a group. After several ``read_to_end``, ``poll`` follows all these topics.

    ``patient``: a broker that is away is waited for, as long as ``kafka.outage_seconds`` allows. Otherwise every method
    raises BrokerAway.
    """

    def __init__(
        self, settings: KafkaSettings, *, patient: bool = False, grow: Callable[[str], Awaitable[None]] | None = None
    ) -> None:
        """``grow``: adds the partitions that a topic lacks, or raises BrokerError that names what is wrong."""
        self._settings = settings
        self._grow = grow
        self._patient = patient
        self._client: AIOKafkaConsumer | None = None
        self._next: dict[TopicPartition, int] = {}

    async def read_to_end(self, topic: str, partitions: Sequence[int] | None = None) -> dict[bytes, Record]:
        return await self._attempt(lambda: self._read_to_end(topic, partitions))

    async def _read_to_end(self, topic: str, partitions: Sequence[int] | None) -> dict[bytes, Record]:
        consumer = await self._started()
        found_partitions = await self._partitions(consumer, topic)
        if partitions is None:
            partitions = found_partitions
        elif not set(partitions) <= set(found_partitions):
            await self._add_partitions(consumer, topic, partitions)
        places = [TopicPartition(topic, partition) for partition in partitions]
        first = await answer(self._settings, f"ask for the start of {topic}", consumer.beginning_offsets(places))
        end = await answer(self._settings, f"ask for the end of {topic}", consumer.end_offsets(places))
        self._follow(consumer, first)
        found: dict[bytes, Record] = {}
        await self._read_until(consumer, end, lambda _, records: keep_newest(found, records))
        return found

    async def catch_up(self, apply: Callable[[Partition, Record], None]) -> None:
        await self._attempt(lambda: self._catch_up(apply))

    async def _catch_up(self, apply: Callable[[Partition, Record], None]) -> None:
        consumer = await self._started()
        end = await answer(self._settings, "ask for the ends of tables", consumer.end_offsets(list(self._next)))

        def each(place: TopicPartition, records: Sequence[Record]) -> None:
            for record in records:
                apply(Partition(place.topic, place.partition), record)

        await self._read_until(consumer, end, each)

    async def _read_until(
        self,
        consumer: AIOKafkaConsumer,
        end: Mapping[TopicPartition, int],
        apply: Callable[[TopicPartition, Sequence[Record]], None],
    ) -> None:
        """Calls ``apply`` with the records up to ``end``. BrokerError if none comes for ``request_timeout_ms``."""
        patience = self._settings.request_timeout_ms / 1000
        progress = time.monotonic()
        while any(self._next[place] < end[place] for place in end):
            batches = await self._fetch(consumer, 200, list(end))
            for place, batch in batches.items():
                apply(place, batch)
            progress = await self._advance(consumer, list(end), progress)
            if time.monotonic() - progress > patience:
                where = next(place for place in end if self._next[place] < end[place])
                raise BrokerAway(
                    f"{self._settings.bootstrap_servers}: no record of {where.topic}/{where.partition} came within "
                    f"{patience:.0f} s after offset {self._next[where]}, and it ends at {end[where]}"
                )

    async def read_from(self, topics: Sequence[str], offsets: Mapping[Partition, int]) -> None:
        await self._attempt(lambda: self._read_from(topics, offsets))

    async def _read_from(self, topics: Sequence[str], offsets: Mapping[Partition, int]) -> None:
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
        return await self._attempt(lambda: self._poll(timeout_ms))

    async def _poll(self, timeout_ms: int) -> Sequence[tuple[Partition, Record]]:
        consumer = await self._started()
        batches = await self._fetch(consumer, timeout_ms, list(self._next))
        came: list[tuple[Partition, Record]] = []
        for place, batch in batches.items():
            self._next[place] = batch[-1].offset + 1
            came.extend((Partition(place.topic, place.partition), record) for record in batch)
        return came

    async def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        async def asked() -> dict[str, str]:
            question = topic_ids(await self._started(), topics)
            return await answer(self._settings, f"ask for the ids of {', '.join(topics)}", question)

        return await self._attempt(asked)

    async def stop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await bounded(client.stop(), STOP_SECONDS)

    async def _attempt(self, work: Callable[[], Awaitable[T]]) -> T:
        if not self._patient:
            return await work()

        async def renewed() -> T:
            try:
                return await work()
            except BrokerAway:
                await self.stop()  # the next attempt begins with a new client
                raise

        return await wait_out(self._settings, renewed)

    async def _started(self) -> AIOKafkaConsumer:
        if self._client is None:
            client = AIOKafkaConsumer(
                **connection(self._settings),
                auto_offset_reset="earliest",  # compaction removed only records that have a newer one
                enable_auto_commit=False,
                isolation_level=self._settings.isolation_level.value,
                request_timeout_ms=self._settings.request_timeout_ms,
                max_partition_fetch_bytes=self._settings.max_message_bytes,
                fetch_max_wait_ms=100,
            )
            await start(self._settings, "connect", client)
            read_blocks(client, self._settings.max_message_bytes)
            self._client = client
            if self._next:
                self._follow(client, self._next)
        return self._client

    async def _partitions(self, consumer: AIOKafkaConsumer, topic: str) -> list[int]:
        """The partitions of a topic. Asks until the broker has it: the embedded broker creates it when asked first."""
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

    async def _add_partitions(self, consumer: AIOKafkaConsumer, topic: str, wanted: Sequence[int]) -> None:
        if self._grow is not None:
            await self._grow(topic)
        found = await self._partitions(consumer, topic)
        if not set(wanted) <= set(found):
            raise BrokerError(
                f"{self._settings.bootstrap_servers}: {topic} has {len(found)} partitions and no partition "
                f"{max(wanted)}; driftline check adds it"
            )

    def _follow(self, consumer: AIOKafkaConsumer, first: Mapping[TopicPartition, int]) -> None:
        """Assigns all partitions and seeks in each of them, since ``assign`` drops positions."""
        self._next.update(first)
        consumer.assign(list(self._next))
        for place, offset in self._next.items():
            consumer.seek(place, offset)

    async def _fetch(
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
        """Follows the consumer's positions, which also pass gaps of compaction. Returns when one last moved."""
        for place in places:
            position = await consumer.position(place)
            if position != self._next[place]:
                self._next[place] = position
                progress = time.monotonic()
        return progress

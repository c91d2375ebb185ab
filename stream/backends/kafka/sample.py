"""Reads a part of a topic without a group, so that no consumer is affected: for ``driftline survey`` and
``driftline decode``."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from detectors.errors import BrokerError
from stream.backends.kafka.cluster import KafkaCluster
from stream.backends.kafka.connection import connection
from stream.backends.kafka.fetch_blocks import read_blocks
from stream.settings.settings import KafkaSettings
from stream.topics.record import Partition, Record

MAX_BYTES = 134_217_728
"""Largest sample, since it is kept in memory: 128 messages of 1 MB."""
POLL_MS = 500


class Sample(NamedTuple):
    """``records``: by partition, in order. ``held``: how many records the topic has. ``size_bytes``: of the sample."""

    records: dict[Partition, list[Record]]
    held: int
    size_bytes: int


async def sample(
    settings: KafkaSettings,
    topic: str,
    records: int,
    seconds: float,
    *,
    oldest: bool,
    read: Callable[[int], object] = lambda count: None,
) -> Sample:
    """About ``records`` records, spread evenly over the partitions: the newest, or the ``oldest``.

    Ends after ``seconds`` with what it has. ``read`` is called with the number of each new batch. Raises BrokerError.
    """
    places = [TopicPartition(topic, number) for number in range(await _partitions(settings, topic))]
    async with _reader(settings, topic) as consumer:
        return await _read(consumer, places, records, seconds, oldest, read)


async def from_offset(
    settings: KafkaSettings, place: Partition, offset: int | None, count: int, seconds: float = 10.0
) -> list[Record]:
    """At most ``count`` records of a partition, from ``offset`` on; None: the newest ones. Raises BrokerError."""
    if place.partition >= await _partitions(settings, place.topic):
        raise BrokerError(f"{settings.bootstrap_servers}: there is no partition {place}")
    where, found = TopicPartition(*place), list[Record]()
    async with _reader(settings, str(place)) as consumer:
        consumer.assign([where])
        first, end = (await consumer.beginning_offsets([where]))[where], (await consumer.end_offsets([where]))[where]
        if offset is not None and not first <= offset < end:
            raise BrokerError(f"{place}: there is no offset {offset}; it holds {first} to {end - 1}")
        consumer.seek(where, max(first, end - count) if offset is None else offset)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while len(found) < count and await consumer.position(where) < end:
                    found += (await consumer.getmany(where, timeout_ms=POLL_MS)).get(where, [])
    return found[:count]


async def _partitions(settings: KafkaSettings, topic: str) -> int:
    """How many partitions the topic has. Raises BrokerError when there is no such topic."""
    cluster = KafkaCluster(settings)
    await cluster.start()
    try:
        present = (await cluster.topics([topic])).get(topic)
    finally:
        await cluster.stop()
    if present is None:
        raise BrokerError(f"{settings.bootstrap_servers}: there is no topic {topic}")
    return present.partitions


@asynccontextmanager
async def _reader(settings: KafkaSettings, what: str) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer without a group. Errors while it reads ``what`` become BrokerErrors."""
    consumer = AIOKafkaConsumer(
        **connection(settings), group_id=None, enable_auto_commit=False, isolation_level=settings.isolation_level.value
    )
    try:
        await consumer.start()
        read_blocks(consumer, settings.max_message_bytes)
        yield consumer
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{settings.bootstrap_servers}: cannot read {what}: {error}") from None
    finally:
        await consumer.stop()


async def _read(
    consumer: AIOKafkaConsumer,
    places: Sequence[TopicPartition],
    records: int,
    seconds: float,
    oldest: bool,
    read: Callable[[int], object],
) -> Sample:
    consumer.assign(places)
    first, end = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
    each = -(-records // len(places))
    start = {place: first[place] if oldest else max(first[place], end[place] - each) for place in places}
    until = {place: min(end[place], start[place] + each) for place in places}
    for place in places:
        consumer.seek(place, start[place])
    found: dict[Partition, list[Record]] = {Partition(*place): [] for place in places}
    held, size = sum(end[place] - first[place] for place in places), 0
    try:
        async with asyncio.timeout(seconds):
            while size < MAX_BYTES and (waiting := await _unfinished(consumer, places, until)):
                for place, batch in (await consumer.getmany(*waiting, timeout_ms=POLL_MS)).items():
                    kept = [record for record in batch if record.offset < until[place]]
                    found[Partition(*place)].extend(kept)
                    read(len(kept))
                    size += sum(len(record.value or b"") for record in kept)
    except TimeoutError:
        pass
    return Sample(found, held, size)


async def _unfinished(
    consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], until: dict[TopicPartition, int]
) -> list[TopicPartition]:
    return [place for place in places if await consumer.position(place) < until[place]]

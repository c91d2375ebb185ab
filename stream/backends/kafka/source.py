"""Reads events from Kafka as a member of the consumer group, through aiokafka.

A request that lasts longer than ``kafka.request_timeout_ms`` raises BrokerError.
"""

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from detectors.errors import BrokerError
from stream.backends.kafka.connection import STOP_SECONDS, answer, bounded, connection, failed
from stream.backends.kafka.fetch_blocks import date_by_request, read_blocks
from stream.backends.ports import Rebalance
from stream.settings.settings import KafkaSettings
from stream.topics.record import Partition, Record

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Pauses newly assigned partitions, and gives each a position so that aiokafka does not ask for one."""

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
    """A new class for each member, since aiokafka stores a member's last assignment in the class."""
    return type("Sticky", (StickyPartitionAssignor,), {})


class KafkaSource:
    """A member of the settings' consumer group. It returns records only of partitions after ``seek`` and ``resume``."""

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
            auto_offset_reset="none",  # a jump would lose events: the runner decides where to start
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
        date_by_request(self._client)

    async def poll(self, timeout_ms: int, max_records: int) -> Mapping[Partition, list[Record]]:
        try:
            batches = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        except NoOffsetForPartitionError:
            return {}  # before the listener gave it a position; it stays paused until ``seek``
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
        """Commits for tools that show the lag. Partitions that are no longer assigned are left out."""
        ours = self._consumer.assignment()
        offers = {TopicPartition(*place): offset for place, offset in offsets.items() if tuple(place) in ours}
        if not offers:
            return
        try:
            async with asyncio.timeout(self._settings.request_timeout_ms / 1000):
                await self._consumer.commit(offers)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("a commit was skipped because of a rebalance: %s", error)
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
        """The end of the partition at the last fetch, without a request. None before that, or if it is not assigned."""
        try:
            end: int | None = self._consumer.highwater(TopicPartition(*partition))
        except (IllegalStateError, AssertionError):
            return None
        return end

    def high_water_ms(self, partition: Partition) -> int | None:
        """When the last fetch that was answered was sent; ``high_water`` is the end as of then or later."""
        try:
            at_ms: int | None = self._consumer.last_poll_timestamp(TopicPartition(*partition))
        except (IllegalStateError, AssertionError):
            return None
        return at_ms

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

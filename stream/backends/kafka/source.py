"""Reads events from Kafka as a member of the consumer group, through aiokafka.

A request that lasts longer than ``kafka.request_timeout_ms`` raises BrokerError.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
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
from stream.backends.kafka.connection import STOP_SECONDS, answer, bounded, connection, failed, start
from stream.backends.kafka.fetch_blocks import Fetched, Standing, answered_fetches, read_blocks, standing
from stream.backends.kafka.outage import wait_out
from stream.backends.kafka.topic_ids import leaders, topic_ids
from stream.backends.ports import Rebalance
from stream.settings.settings import KafkaSettings
from stream.topics.generations import begin_of, offset_of
from stream.topics.record import Partition, Record

log = logging.getLogger(__name__)

T = TypeVar("T")

OPEN_TRANSACTION_SECONDS = 60.0

SAME_SECONDS = 2.0
"""How often brokers are asked for the ids of topics while no records come."""


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

    def made_anew(self, topics: Collection[str]) -> None:
        """Pauses the partitions of topics that were deleted and made again."""
        found = [place for place in self._consumer.assignment() if place.topic in topics]
        self._consumer.pause(*found)
        self._listener.made_anew(topics)

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._listener.revoked([Partition(*place) for place in sorted(revoked)])


def _sticky() -> type[StickyPartitionAssignor]:
    """A new class for each member, since aiokafka stores a member's last assignment in the class."""
    return type("Sticky", (StickyPartitionAssignor,), {})


class _SameTopics:
    """Whether the topics are those that ``topic_ids`` returned. Records are confirmed by an answer after their fetch.

    ``expected``: those ids. ``made_anew``: is called with the topics that have others.
    """

    def __init__(self, made_anew: Callable[[Collection[str]], None] = lambda topics: None) -> None:
        self._made_anew = made_anew
        self.expected: dict[str, str] = {}
        self._confirmed = 0
        self._asked = float("-inf")

    def expect(self, ids: Mapping[str, str]) -> None:
        """Sets the ids."""
        self.expected = dict(ids)

    def doubtful(self, fetches: int | None) -> bool:
        """Whether a broker has to be asked. ``fetches``: how many there were when records came; None: none came."""
        due = time.monotonic() - self._asked >= SAME_SECONDS
        return due if fetches is None else due or fetches != self._confirmed

    def confirm(self, fetches: int) -> None:
        """Notes that all records of the fetches until then are of these topics."""
        self._confirmed, self._asked = fetches, time.monotonic()

    def differ(self, ids: Mapping[str, str]) -> bool:
        """Compares ``ids`` with the expected ones. A topic that is absent has not been made again so far."""
        topics = [topic for topic, known in self.expected.items() if ids.get(topic, known) != known]
        if topics:
            self.expected = {}  # until ``topic_ids`` is called again: the partitions are paused
            self._made_anew(topics)
        return bool(topics)


class KafkaSource:
    """A member of the settings' consumer group. It returns records only of partitions after ``seek`` and ``resume``."""

    def __init__(self, settings: KafkaSettings, topics: Sequence[str]) -> None:
        self._settings = settings
        self._topics = tuple(topics)
        self._client: AIOKafkaConsumer | None = None
        self._answered: Mapping[TopicPartition, int] = {}
        self._fetched = Fetched()
        self._same = _SameTopics()
        self._committed: dict[Partition, int] = {}
        self._delivered: dict[Partition, int] = {}  # the offset after the last record that ``poll`` returned
        self._held_back: dict[
            Partition, tuple[int, float]
        ] = {}  # by an open transaction: from which offset, since when

    async def start(self, listener: Rebalance) -> None:
        """Joins the group. A broker that is away is waited for, as in all methods but ``poll`` and ``commit``."""
        await wait_out(self._settings, lambda: self._start(listener))

    async def _start(self, listener: Rebalance) -> None:
        kafka = self._settings
        client = AIOKafkaConsumer(
            **connection(kafka),
            group_id=kafka.group_id,
            enable_auto_commit=False,
            isolation_level=kafka.isolation_level.value,
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
        own = _Listener(client, listener)
        client.subscribe(self._topics, listener=own)
        await start(kafka, f"join group {kafka.group_id}", client)
        self._fetched = read_blocks(client, kafka.max_message_bytes)
        self._same = _SameTopics(own.made_anew)
        self._answered = answered_fetches(client)
        self._client = client

    async def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        found = await self._ids(topics)
        self._same.expect({topic: own for topic, own in found.items() if topic in self._topics})
        return found

    async def _ids(self, topics: Collection[str], nodes: Collection[int] = ()) -> dict[str, str]:
        what = f"ask for the ids of {', '.join(topics)}"
        return await self._ask(what, lambda: topic_ids(self._consumer, topics, nodes))

    async def _made_anew(self, places: Collection[TopicPartition]) -> bool:
        """Asks those brokers from which ``places`` were fetched whether the topics still are those of ``topic_ids``; if
        not, calls the listener and returns True."""
        expected = self._same.expected
        return bool(expected) and self._same.differ(await self._ids(expected, leaders(self._consumer, places)))

    async def poll(self, timeout_ms: int, max_records: int) -> Mapping[Partition, list[Record]]:
        try:
            batches = await self._consumer.getmany(timeout_ms=timeout_ms, max_records=max_records)
        except NoOffsetForPartitionError:
            return {}  # before the listener gave it a position; it stays paused until ``seek``
        except OffsetOutOfRangeError as error:
            if await self._made_anew(error.args[0]):
                return {}
            places = ", ".join(
                f"{place.topic}/{place.partition} at offset {offset}" for place, offset in error.args[0].items()
            )
            raise BrokerError(
                f"{places}: the broker has no record there; events were lost, to the topic's retention or because the "
                f"topic was shortened. To go on from what is left: driftline checkpoints drop"
            ) from None
        except (KafkaError, OSError) as error:
            raise failed(self._settings, f"read {', '.join(self._topics)}", error) from None
        count = self._fetched.count
        if self._same.doubtful(count if batches else None):
            if await self._made_anew(batches):
                return {}
            self._same.confirm(count)
        found = {Partition(place.topic, place.partition): batch for place, batch in batches.items()}
        self._delivered.update((place, batch[-1].offset + 1) for place, batch in found.items() if batch)
        return found

    def seek(self, partition: Partition, offset: int) -> None:
        self._delivered[partition] = offset
        self._fetched.begin(TopicPartition(*partition), begin_of(offset))
        self._consumer.seek(TopicPartition(*partition), offset_of(offset))

    def resume(self, partitions: Sequence[Partition]) -> None:
        self._consumer.resume(*(TopicPartition(*partition) for partition in partitions))

    def pause(self, partitions: Sequence[Partition]) -> None:
        self._consumer.pause(*(TopicPartition(*partition) for partition in partitions))

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commits for tools that show the lag. Partitions that are no longer assigned are left out."""
        self._committed.update((place, offset_of(at)) for place, at in offsets.items())
        await self._commit(dict.fromkeys(offsets, ""))

    async def note(self, notes: Mapping[Partition, str]) -> None:
        await self._commit(notes)

    async def _commit(self, notes: Mapping[Partition, str]) -> None:
        ours = self._consumer.assignment()
        offers = {TopicPartition(*p): (self._committed.get(p, 0), t) for p, t in notes.items() if tuple(p) in ours}
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
        offset: int | None = await self._ask(
            "read the commit", lambda: self._consumer.committed(TopicPartition(*partition))
        )
        return offset

    async def noted(self, partition: Partition) -> str | None:
        # aiokafka has no public way to read the metadata of a commit
        place, coordinator = TopicPartition(*partition), self._consumer._coordinator
        found = (await self._ask("read the commit", lambda: coordinator.fetch_committed_offsets([place]))).get(place)
        if found is None or found.offset < 0:
            self._committed.pop(partition, None)
            return None
        self._committed[partition] = found.offset
        return found.metadata or ""

    async def beginning_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        wanted = [TopicPartition(*partition) for partition in partitions]
        found = await self._ask("ask for first offsets", lambda: self._consumer.beginning_offsets(wanted))
        return {Partition(*place): offset for place, offset in found.items()}

    async def end_offsets(self, partitions: Sequence[Partition]) -> dict[Partition, int]:
        wanted = [TopicPartition(*partition) for partition in partitions]
        found = await self._ask("ask for end offsets", lambda: self._consumer.end_offsets(wanted))
        return {Partition(*place): offset for place, offset in found.items()}

    def high_water(self, partition: Partition) -> int | None:
        """The end of the partition at the last fetch, without a request. None before that, or if it is not assigned.

        Offsets that no record has are left out: the end marks of transactions, records of aborted ones, and what
        compaction removed. So the distance from the last record that ``poll`` returned is the number of offsets that
        are not read yet, and 0 at the end.
        """
        found = standing(self._consumer, TopicPartition(*partition))
        if found is None or found.end is None:
            return None
        self._report_open_transaction(partition, found)
        begin = self._fetched.begins.get(TopicPartition(*partition), 0)
        position = begin + found.position
        return begin + found.end - max(0, position - self._delivered.get(partition, position))

    def _report_open_transaction(self, partition: Partition, found: Standing) -> None:
        """Logs once a minute which records wait for the end of a transaction. With ``read_committed`` nothing after
        its first record is delivered."""
        if found.stable is None or not found.position == found.stable < (found.end or 0):
            self._held_back.pop(partition, None)
            return
        now = time.monotonic()
        offset, since = self._held_back.setdefault(partition, (found.stable, now))
        if offset != found.stable:
            self._held_back[partition] = (found.stable, now)
        elif now - since >= OPEN_TRANSACTION_SECONDS:
            self._held_back[partition] = (found.stable, now)
            log.warning(
                "%s: a transaction that began at offset %d is open; %d records from there on wait for its end",
                *(partition, found.stable, (found.end or 0) - found.stable),
            )

    def high_water_ms(self, partition: Partition) -> int | None:
        """When the last fetch that was answered was sent; ``high_water`` is the end as of then or later."""
        return self._answered.get(TopicPartition(*partition))

    async def stop(self) -> None:
        """Leaves the group."""
        if self._client is not None:
            await bounded(self._client.stop(), STOP_SECONDS)

    @property
    def _consumer(self) -> AIOKafkaConsumer:
        assert self._client is not None, "not started"
        return self._client

    async def _ask(self, what: str, question: Callable[[], Awaitable[T]]) -> T:
        return await wait_out(self._settings, lambda: answer(self._settings, what, question()))

"""Output of the observe stage: profiles, marks and dead letters as records, sent one batch at a time.

One batch is being sent while the next one is collected. A second batch waits for the first, which is the
back-pressure. Profiles are cumulative: one that is sent twice, or lost between two others, changes nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from detectors.features import UnitKey
from detectors.profiles import Profile
from stream.backends import sending
from stream.backends.ports import Output
from stream.settings.settings import Settings
from stream.topics import keys, marks
from stream.topics.dead_letters import HEADROOM_BYTES, DeadLetters
from stream.topics.marks import Mark
from stream.topics.record import OutRecord, Partition, Record

log = logging.getLogger(__name__)

OVERSIZED = "message_bytes"
"""Name in ``driftline_limit_reached_total`` of the limit on a record's size."""


class Counters(sending.Counters, Protocol):
    """The numbers that the outbox counts."""

    def limited(self, limit: str, count: int) -> None: ...


class Outbox:
    """Collects records between ``open`` and the end of the sink. Unusable after a BrokerError."""

    def __init__(
        self,
        settings: Settings,
        sink: Output,
        counters: Counters,
        dead_letters: DeadLetters | None = None,
        failed: Callable[[UnitKey, Partition, str, Exception], None] | None = None,
    ) -> None:
        """``failed``: is called for a unit whose profile cannot be written, with its partition, what failed and the
        error."""
        self._topic = settings.topics.profiles
        self._largest = settings.kafka.max_message_bytes - HEADROOM_BYTES
        self._sink = sink
        self._sender = sending.Sender(sink, counters, "observer.send")
        self._counters = counters
        self._dead_letters = dead_letters or DeadLetters(settings, counters.limited)
        self._failed = failed or _raise
        self._encode = msgspec.json.Encoder().encode
        self._profile_partitions = 0
        self._waiting: list[OutRecord] = []
        self._turns = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Asks how many partitions the profiles topic has. Raises BrokerError."""
        self._profile_partitions = await self._sink.partitions(self._topic)

    def enqueue_profiles(self, profiles: Sequence[Profile]) -> None:
        """Enqueues profiles, each for the partition of its model, so that one judge receives all shards of all its
        units.

        A profile above ``kafka.max_message_bytes`` is logged, counted and not sent.
        """
        for profile in profiles:
            shard = Partition(profile.topic, profile.partition)
            partition = keys.model_partition(profile.model, self._profile_partitions)
            try:
                value = self._encode(profile)
            except Exception as error:  # one unit never ends the worker
                self._failed(profile.unit, shard, "profile", error)
                continue
            if len(value) > self._largest:
                self._counters.limited(OVERSIZED, 1)
                log.error(
                    "profile of %s in %s: %d bytes is above kafka.max_message_bytes; it cannot be judged. Raise that "
                    "and max.message.bytes of the topic, or have fewer features",
                    *(profile.unit, shard, len(value)),
                )
                continue
            key = keys.profile_key(profile.unit, shard)
            self._waiting.append(OutRecord(self._topic, key, value, partition=partition))

    @property
    def profile_partitions(self) -> int:
        """How many partitions the profiles topic has."""
        return self._profile_partitions

    def enqueue_mark(self, mark: Mark) -> None:
        """Enqueues a mark for every partition of the profiles topic, after all profiles that are enqueued already."""
        key, value = marks.key(mark.place), marks.encode(mark)
        self._waiting.extend(
            OutRecord(self._topic, key, value, partition=partition) for partition in range(self._profile_partitions)
        )

    def enqueue_dead_letters(self, place: Partition, rejected: Sequence[tuple[Record, str]], now_ms: int) -> None:
        """Enqueues dead letters for records of the partition ``place``, each with the reason; see ``DeadLetters``."""
        self._waiting.extend(self._dead_letters.records(place, rejected, now_ms))

    async def flush(self) -> None:
        """Starts to send what is enqueued once the batch before it is acknowledged. BrokerError if that one failed."""
        async with self._turns:
            await self._wait_for_batch()
            if self._waiting:
                records, self._waiting = self._waiting, []
                self._sending = asyncio.create_task(self._sender.send(records))

    async def acknowledged(self) -> None:
        """Returns when everything that was enqueued before the call is acknowledged. Raises BrokerError."""
        await self.flush()
        await self._wait_for_batch()

    async def send(self, records: Sequence[OutRecord], wanted: Callable[[], bool]) -> None:
        """Sends ``records`` past the queue; see ``Sender.send``."""
        await self._sender.send(records, wanted)

    async def close(self) -> None:
        """Cancels the batch that is not acknowledged yet."""
        batch, self._sending = self._sending, None
        if batch is not None:
            batch.cancel()
            await asyncio.gather(batch, return_exceptions=True)

    async def _wait_for_batch(self) -> None:
        batch = self._sending
        if batch is not None:
            await asyncio.shield(batch)
            if self._sending is batch:
                self._sending = None


def _raise(unit: UnitKey, partition: Partition, stage: str, error: Exception) -> None:
    raise error

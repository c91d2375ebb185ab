"""What the observe stage sends: profiles and dead letters as records, and their sending, one batch at a time.

One batch is on its way while the next is made; a second one waits for it, which is the back-pressure. Profiles are
cumulative, so that one sent twice or lost between two others changes nothing.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from detectors.errors import BrokerError
from detectors.profiles import Profile
from stream.backends.ports import Output
from stream.settings.settings import Settings
from stream.topics import keys
from stream.topics.record import OutRecord, Partition, Record

log = logging.getLogger(__name__)

SEND_ATTEMPTS = 5
"""Each lasts up to kafka.request_timeout_ms inside the producer; with the pauses between, minutes of outage."""
FIRST_PAUSE_SECONDS = 0.2
HEADROOM_BYTES = 8_192
"""Key, headers and framing of the largest record."""
REASON_CHARACTERS = 500
OVERSIZED = "message_bytes"
DEAD_LETTERS = "dead_letters_per_second"


class Counters(Protocol):
    """What is counted here."""

    def published(self, topic: str, count: int) -> None: ...

    def error(self, component: str) -> None: ...

    def limited(self, limit: str, count: int) -> None: ...


class Outbox:
    """Between ``open`` and the sink's end. After a BrokerError it is of no more use."""

    def __init__(self, settings: Settings, sink: Output, counters: Counters) -> None:
        self._settings = settings
        self._sink = sink
        self._counters = counters
        self._encode = msgspec.json.Encoder().encode
        self._profile_partitions = 0
        self._largest = settings.kafka.max_message_bytes - HEADROOM_BYTES
        self._waiting: list[OutRecord] = []
        self._turns = asyncio.Lock()
        self._sending: asyncio.Task[None] | None = None
        self._second = 0
        self._letters = 0

    async def open(self) -> None:
        self._profile_partitions = await self._sink.partitions(self._settings.topics.profiles)

    def profiles(self, profiles: Sequence[Profile]) -> list[OutRecord]:
        """Each to the partition of its model, so that one judge sees all shards of all its units."""
        records = []
        for profile in profiles:
            shard = Partition(profile.topic, profile.partition)
            partition = keys.model_partition(profile.model, self._profile_partitions)
            value = self._encode(profile)
            if len(value) > self._largest:
                self._counters.limited(OVERSIZED, 1)
                log.error(
                    "profile of %s in %s: %d bytes is above kafka.max_message_bytes; it cannot be judged. Raise that "
                    "and max.message.bytes of the topic, or have fewer features",
                    *(profile.unit, shard, len(value)),
                )
                continue
            key = keys.profile_key(profile.unit, shard)
            records.append(OutRecord(self._settings.topics.profiles, key, value, partition=partition))
        return records

    def dead_letters(self, place: Partition, rejected: Sequence[tuple[Record, str]], now_ms: int) -> list[OutRecord]:
        """At most the settings' number in a second; the others are counted."""
        if now_ms // 1000 != self._second:
            self._second, self._letters = now_ms // 1000, 0
        room = max(0, self._settings.limits.dead_letters_per_second - self._letters)
        if len(rejected) > room:
            self._counters.limited(DEAD_LETTERS, len(rejected) - room)
        self._letters += min(room, len(rejected))
        return [self._dead_letter(place, record, reason) for record, reason in rejected[:room]]

    def add(self, records: Sequence[OutRecord]) -> None:
        """To be sent by the next ``flush``."""
        self._waiting.extend(records)

    async def flush(self) -> None:
        """Begins to send what was added, when what was sent before is acknowledged. BrokerError when that failed."""
        async with self._turns:
            await self._sent()
            if self._waiting:
                records, self._waiting = self._waiting, []
                self._sending = asyncio.create_task(self.send(records))

    async def acknowledged(self) -> None:
        """Returns when all that was added before the call is acknowledged."""
        await self.flush()
        await self._sent()

    async def _sent(self) -> None:
        sending = self._sending
        if sending is not None:
            await asyncio.shield(sending)
            if self._sending is sending:
                self._sending = None

    async def send(self, records: Sequence[OutRecord], go_on: Callable[[], bool] = lambda: True) -> None:
        """Returns when acknowledged, after as many attempts as it takes; gives up in silence when not to ``go_on``."""
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(1, SEND_ATTEMPTS + 1):
            if not go_on():
                return
            try:
                await self._sink.send(records)
            except BrokerError as error:
                self._counters.error("observer.send")
                if attempt == SEND_ATTEMPTS:
                    raise
                log.warning("%d records were not acknowledged, attempt %d: %s", len(records), attempt, error)
                await asyncio.sleep(pause)
                pause *= 2
            else:
                break
        for topic in {record.topic for record in records}:
            self._counters.published(topic, sum(record.topic == topic for record in records))

    async def close(self) -> None:
        """Leaves what is not acknowledged."""
        sending, self._sending = self._sending, None
        if sending is not None:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    def _dead_letter(self, place: Partition, record: Record, reason: str) -> OutRecord:
        own = (
            ("topic", place.topic.encode()),
            ("partition", str(place.partition).encode()),
            ("offset", str(record.offset).encode()),
            ("reason", reason[:REASON_CHARACTERS].encode()),
        )
        names = {name for name, _ in own}
        value, headers = record.value, tuple(header for header in record.headers if header[0] not in names)
        size = len(value or b"") + sum(len(name) + len(text or b"") for name, text in headers)
        if size > self._largest:
            value, headers = (value or b"")[: self._largest // 2], (("cut_from_bytes", str(size).encode()),)
        return OutRecord(self._settings.topics.dead_letters, str(place).encode(), value, (*own, *headers))

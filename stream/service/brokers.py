"""A worker's way to Kafka: its clients, which wait for a broker that is away, and its topics."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from detectors.errors import BrokerError
from stream.backends.kafka.cluster import KafkaCluster
from stream.backends.kafka.outage import wait_out
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.tables import KafkaTableReader
from stream.backends.ports import Clock, TableReader
from stream.settings.settings import Settings
from stream.topics import rules

log = logging.getLogger(__name__)

T = TypeVar("T")

REFUSED_SECONDS = 30.0
"""How long the start is retried while a broker refuses what it is asked for, as it may just after its own start."""

PAUSE_SECONDS = 1.0


class Brokers:
    """Makes the clients of one worker, and prepares its topics."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def sink(self) -> KafkaSink:
        """A new producer, not yet started."""
        return KafkaSink(self._settings.kafka, patient=True)

    def reader(self) -> TableReader:
        """A new reader of tables."""
        return KafkaTableReader(self._settings.kafka, patient=True, grow=self._add_partitions)

    async def started_sink(self) -> KafkaSink:
        """A new producer that is connected. Raises BrokerError."""
        sink = self.sink()
        await self.wait_for(sink.start)
        return sink

    async def prepare_topics(self) -> None:
        """Creates what is missing, and logs it with what is weak. Raises BrokerError if a topic is wrong."""
        findings = await self.wait_for(lambda: self._ensure(create=True))
        for finding in findings:
            if finding.level in (rules.Level.CREATED, rules.Level.WARNING):
                log.warning("%s %s", finding.topic, finding.text)
        rules.refuse(findings)

    async def wait_for(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Repeats ``attempt`` while no broker answers (see ``wait_out``), and for REFUSED_SECONDS while one refuses."""
        until_ms = self._clock.now_ms() + int(REFUSED_SECONDS * 1000)
        while True:
            try:
                return await wait_out(self._settings.kafka, attempt)
            except BrokerError as error:
                if self._clock.now_ms() >= until_ms:
                    raise
                log.warning("%s; trying again", error)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _add_partitions(self, topic: str) -> None:
        """Is called when a topic of driftline has fewer partitions than the events' topic has got meanwhile."""
        create = self._settings.kafka.create_topics
        rules.refuse(await self.wait_for(lambda: self._ensure(create=create)))
        log.info("%s: partitions were added, as to the topic of the events", topic)

    async def _ensure(self, *, create: bool) -> list[rules.Finding]:
        return await rules.ensure(self._settings, KafkaCluster(self._settings.kafka), create=create)

"""Writes to Kafka through an aiokafka producer that waits for all in-sync replicas."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from detectors.errors import BrokerError
from stream.backends.kafka.connection import STOP_SECONDS, answer, bounded, connection, failed, start
from stream.backends.kafka.outage import wait_out
from stream.settings.settings import Compression, KafkaSettings
from stream.topics.record import OutRecord

T = TypeVar("T")


class KafkaSink:
    """A producer that waits for all in-sync replicas. After an error that retries do not solve, make a new one.

    ``patient``: a broker that is away is waited for, as long as ``kafka.outage_seconds`` allows. Otherwise every method
    raises BrokerAway.
    """

    def __init__(self, settings: KafkaSettings, *, patient: bool = False) -> None:
        self._settings = settings
        self._patient = patient
        self._client: AIOKafkaProducer | None = None

    @property
    def connected(self) -> bool:
        """Whether ``start`` has succeeded."""
        return self._client is not None

    async def start(self) -> None:
        await self._attempt(self._start)

    async def _start(self) -> None:
        kafka = self._settings
        compression = None if kafka.compression is Compression.NONE else kafka.compression.value
        client = AIOKafkaProducer(
            **connection(kafka),
            acks="all",
            compression_type=compression,
            max_request_size=kafka.max_message_bytes,
            max_batch_size=262_144,
            request_timeout_ms=kafka.request_timeout_ms,
        )
        await start(kafka, "start a producer", client)
        self._client = client

    async def send(self, records: Sequence[OutRecord]) -> None:
        """Sends all records. An attempt after one that failed sends all of them again."""
        await self._attempt(lambda: self._send(records))

    async def _send(self, records: Sequence[OutRecord]) -> None:
        assert self._client is not None, "not started"
        waiting: list[asyncio.Future[Any]] = []
        failure: BrokerError | None = None
        for record in records:
            try:
                await self._learn_partition(self._client, record)
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

    @staticmethod
    async def _learn_partition(client: AIOKafkaProducer, record: OutRecord) -> None:
        """Asks for the topic again if it had fewer partitions at the last look, five minutes ago at most."""
        known = client.client.cluster.partitions_for_topic(record.topic)
        if record.partition is not None and known is not None and record.partition not in known:
            await client.client.force_metadata_update()

    async def partitions(self, topic: str) -> int:
        """The number of partitions of a topic. Raises BrokerError."""
        client = self._client
        assert client is not None, "not started"
        what = f"ask for the partitions of {topic}"
        return len(await self._attempt(lambda: answer(self._settings, what, client.partitions_for(topic))))

    async def _attempt(self, work: Callable[[], Awaitable[T]]) -> T:
        return await (wait_out(self._settings, work) if self._patient else work())

    async def stop(self) -> None:
        if self._client is not None:
            await bounded(self._client.stop(), STOP_SECONDS)

"""Writes to Kafka through an aiokafka producer that waits for all in-sync replicas."""

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from detectors.errors import BrokerError
from stream.backends.kafka.connection import STOP_SECONDS, answer, bounded, connection, failed
from stream.settings.settings import Compression, KafkaSettings
from stream.topics.record import OutRecord


class KafkaSink:
    """A producer that waits for all in-sync replicas. After an error that retries do not solve, make a new one."""

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
        """The number of partitions of a topic. Raises BrokerError."""
        assert self._client is not None, "not started"
        found = await answer(self._settings, f"ask for the partitions of {topic}", self._client.partitions_for(topic))
        return len(found)

    async def stop(self) -> None:
        if self._client is not None:
            await bounded(self._client.stop(), STOP_SECONDS)

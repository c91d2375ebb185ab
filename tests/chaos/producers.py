"""A steady and a bursty producer that outlive the broker's failures; some events are sent twice under one id."""

import asyncio
import json
import random
import time
from contextlib import suppress

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.service.processes import PARTITIONS, Deployment

STEADY_PER_SECOND = 60
BURST_EVENTS, BURST_SECONDS = 600, 6.0
REPEATED = 0.01
SHIFT = 2.5
"""In standard deviations, of the steady model's input in the second half."""

SPREAD = 0.8
"""How far the means of neighbouring partitions are apart, in standard deviations: each has customers of its own."""


def apart(partition: int) -> float:
    """How far the mean of a partition is from that of all, in standard deviations."""
    return SPREAD * (partition - (PARTITIONS - 1) / 2)


def country(chance: random.Random, partition: int) -> str:
    """Mostly that of the partition."""
    return ("de", "fr")[2 * partition // PARTITIONS] if chance.random() < 0.8 else "it"


class Producers:
    """The producers. ``shifted`` may be set while they run."""

    def __init__(self, deployment: Deployment, seed: int) -> None:
        self._deployment = deployment
        self._chance = random.Random(seed)
        self._number = 0
        self.shifted = False
        self.failed = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Produces until ``stop``, then waits until everything is delivered."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._deployment.bootstrap_servers,
            enable_idempotence=True,
            linger_ms=20,
            request_timeout_ms=60_000,
        )
        await producer.start()
        try:
            await asyncio.gather(self._steady(producer, stop), self._bursty(producer, stop))
            await producer.flush()
        finally:
            await producer.stop()

    async def _steady(self, producer: AIOKafkaProducer, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for _ in range(STEADY_PER_SECOND // 5):
                await self._send(producer, "steady", SHIFT if self.shifted else 0.0)
            await _wait(stop, 0.2)

    async def _bursty(self, producer: AIOKafkaProducer, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for _ in range(BURST_EVENTS):
                await self._send(producer, "bursty", 0.0)
            await _wait(stop, BURST_SECONDS)

    async def _send(self, producer: AIOKafkaProducer, model: str, shift: float) -> None:
        self._number += 1
        chance = self._chance
        partition = chance.randrange(PARTITIONS)
        features = {
            "amount": chance.gauss(50.0 + 10.0 * (shift + apart(partition)), 10.0),
            "age": chance.gauss(40.0 + 8.0 * apart(partition), 8.0),
            "country": country(chance, partition),
        }
        now_ms = time.time_ns() // 1_000_000
        event = {"id": f"e{self._number}", "model": model, "version": "1", "ts": now_ms, "features": features}
        value = json.dumps(event).encode()
        for _ in range(2 if chance.random() < REPEATED else 1):
            try:  # a record that failed here may still be in the log, which is what the oracle reads
                await producer.send(self._deployment.topics["events"][0], value, partition=partition)
            except KafkaError:
                self.failed += 1


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()

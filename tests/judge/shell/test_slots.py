"""Marks and profiles with slots on a real Kafka: what waits is not committed, and is read again after a restart."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from detectors.profiles import Profile
from detectors.reference import reference as references
from detectors.reference.reference import Reference
from stream.backends.kafka.tables import KafkaTableReader
from stream.judge.effects import Health
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.judge.shell import faust
from stream.judge.shell.app import JudgeApp
from stream.judge.shell.desk import JudgeDesk
from stream.metrics.registry import Metrics
from stream.settings.settings import KafkaSettings, Settings, TopicSettings
from stream.topics import keys, marks
from stream.topics.marks import Mark
from tests.judge import slotted
from tests.judge.shell.test_app import PARTITIONS, Clock, Sink, until

pytestmark = pytest.mark.kafka

HOME = keys.model_partition("m", PARTITIONS)


class World:
    """The judge's topics, and judges with a desk of their own."""

    def __init__(self, bootstrap_servers: str, reference: Reference) -> None:
        name = uuid4().hex[:8]
        self.settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=bootstrap_servers, group_id=name, session_timeout_ms=6_000),
            topics=TopicSettings(profiles=f"{name}-profiles"),
        )
        self.reference = reference
        self.metrics = Metrics()

    @asynccontextmanager
    async def judge(self, sink: Sink) -> AsyncIterator[JudgeDesk]:
        judge = Judge(judge_settings(self.settings))
        desk = JudgeDesk(self.settings, judge, self.metrics, lambda _: Health())
        desk.apply_reference(b"m/1", references.encode(self.reference))
        failures: list[BaseException] = []
        application = faust.application(self.settings)
        app = JudgeApp(self.settings, desk, sink, Clock(), self.metrics, failures.append, application)
        await app.start()
        try:
            await until(lambda: app.ready)
            yield desk
        finally:
            await app.stop(5.0)
        assert not failures

    async def publish(self, items: Sequence[slotted.Item | bytes]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka.bootstrap_servers)
        await producer.start()
        try:
            for item in items:
                key, value = b"mark/inference-events/9", item
                if isinstance(item, Mark):
                    key, value = marks.key(item.place), marks.encode(item)
                elif isinstance(item, Profile):
                    key, value = b"m/1/" + item.shard.encode(), msgspec.json.encode(item)
                await producer.send(self.settings.topics.profiles, value, key=key, partition=HOME)
            await producer.flush()
        finally:
            await producer.stop()

    async def committed(self) -> int:
        servers = self.settings.kafka.bootstrap_servers
        consumer = AIOKafkaConsumer(
            bootstrap_servers=servers, group_id=faust.app_id(self.settings.kafka), enable_auto_commit=False
        )
        await consumer.start()
        try:
            return await consumer.committed(TopicPartition(self.settings.topics.profiles, HOME)) or 0
        finally:
            await consumer.stop()


@pytest.fixture
async def world(bootstrap_servers: str) -> World:
    return World(bootstrap_servers, slotted.reference_of(2))


async def test_what_waits_is_read_again(world: World) -> None:
    pass

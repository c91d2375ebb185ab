"""Marks and profiles with slots on a real Kafka: what waits is not committed, and is read again after a restart."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from detectors.profiles import Profile
from detectors.reference import reference as references
from detectors.reference.reference import Reference
from stream.judge.effects import Health
from stream.judge.judge import Judge
from stream.judge.settings import judge_settings
from stream.judge.shell import faust, rows
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
    async def judge(self, sink: Sink) -> AsyncIterator[Judge]:
        judge = Judge(judge_settings(self.settings))
        desk = JudgeDesk(self.settings, judge, self.metrics, lambda _: Health())
        desk.apply_reference(b"m/1", references.encode(self.reference))
        failures: list[BaseException] = []
        application = faust.application(self.settings)
        app = JudgeApp(self.settings, desk, sink, Clock(), self.metrics, failures.append, application)
        await app.start()
        try:
            await until(lambda: app.ready)
            yield judge
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

    async def settled_commit(self) -> int:
        """The committed offset, once it is above 0 and stays the same for three seconds: some commit intervals."""
        deadline = time.monotonic() + 30
        newest, since = 0, time.monotonic()
        while newest == 0 or time.monotonic() - since < 3:
            assert time.monotonic() < deadline
            if (committed := await self.committed()) != newest:
                newest, since = committed, time.monotonic()
        return newest


@pytest.fixture
async def world(kafka: Any) -> World:
    made = World(kafka.bootstrap_servers, slotted.reference_of(2))
    changelog = faust.changelog_topic(made.settings.kafka)
    topics = {made.settings.topics.profiles: PARTITIONS, changelog: PARTITIONS}
    await kafka.create_topics(topics, {"cleanup.policy": "compact"})
    return made


async def test_what_waits_is_not_committed_and_is_read_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One partition lags, the judge starts again: the result is that of the ordered run."""
    monkeypatch.setattr(rows, "ROW_INTERVAL_MS", 100)
    logs = slotted.keyed(np.random.default_rng(2), 2, 3_000, 30)
    for log in logs:
        log["y"] = log["y"] + (log["at"] >= slotted.START_MS + 15_000)
    sent = [slotted.records_of(world.reference, p, log, 2) for p, log in enumerate(logs)]
    ordered = slotted.new_judge([world.reference])
    slotted.give(ordered, slotted.in_order(sent))
    cut, sink = len(sent[1]) // 3, Sink()
    async with world.judge(sink) as judge:
        await world.publish([*sent[1][:cut], b"{}", *sent[0]])
        await until(lambda: events(judge) > 0)
        await until(lambda: any(r.topic == world.settings.topics.dead_letters for r in sink.sent))
        seen = events(judge)
        committed = await world.settled_commit()
    assert 0 < seen < 6_000
    assert 0 < committed < cut + 1 + len(sent[0]) // 2
    async with world.judge(sink) as judge:
        assert events(judge) == seen
        await world.publish(sent[1][cut:])
        await until(lambda: events(judge) == 6_000)
        assert judge.incidents(slotted.UNIT) == ordered.incidents(slotted.UNIT)
        assert len(judge.incidents(slotted.UNIT)) == 1
        deadline = time.monotonic() + 30
        while await world.committed() < len(sent[0]) + len(sent[1]) + 1:
            assert time.monotonic() < deadline


def events(judge: Judge) -> int:
    return int(judge.model_view(slotted.UNIT)["events"]) if judge.holds(slotted.UNIT) else 0

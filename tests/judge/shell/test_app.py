"""The behaviour of Faust on which the judge depends, tested on a real Kafka: rows, acknowledgements, restarts.

Rebalances of the embedded broker sometimes take minutes, so only the demo's tests run the judge on it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from detectors.errors import BrokerError
from detectors.features import UnitKey
from detectors.profiles import SCHEMA, Epoch, Profile
from stream.backends import sending
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.tables import KafkaTableReader
from stream.judge.shell import faust, relocation, rows, table
from stream.judge.shell.app import JudgeApp
from stream.metrics.registry import Metrics
from stream.settings.settings import KafkaSettings, Settings, TopicSettings
from stream.topics import keys
from stream.topics.marks import Mark
from stream.topics.record import OutRecord

pytestmark = pytest.mark.kafka

PARTITIONS = 3


class Clock:
    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class Desk:
    """Keeps the newest offset of each unit, and returns output for every profile whose offset is a multiple of ten."""

    def __init__(self) -> None:
        self.units: set[UnitKey] = set()
        self.newest: dict[UnitKey, int] = {}
        self.seen: list[tuple[UnitKey, int]] = []
        self.restored: dict[UnitKey, int] = {}

    def on_profile(self, profile: Profile, now_ms: int, offset: int) -> Sequence[OutRecord]:
        self.units.add(profile.unit)
        self.seen.append((profile.unit, profile.next_offset))
        self.newest[profile.unit] = max(self.newest.get(profile.unit, 0), profile.next_offset)
        said = OutRecord("drift-events", profile.model.encode(), str(profile.next_offset).encode())
        return [said] if profile.next_offset % 10 == 0 else []

    def on_slot_profile(self, profile: Profile, now_ms: int, offset: int, partition: int) -> Sequence[OutRecord]:
        raise AssertionError("no profile here has a slot")

    def on_mark(self, mark: Mark, now_ms: int, partition: int) -> Sequence[OutRecord]:
        raise AssertionError("no mark is published here")

    def look_on(self, now_ms: int, partition: int) -> Sequence[OutRecord] | None:
        raise AssertionError("no mark is published here")

    def drain_looks(self) -> Mapping[UnitKey, rows.Looks]:
        return {}

    def read_again(self) -> None: ...

    def on_tick(self, now_ms: int) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        return [], []

    def views_due(self, now_ms: int, most: int) -> Sequence[OutRecord]:
        return []

    def drain(self) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        return [], []

    def snapshot(self, unit: UnitKey) -> bytes:
        return str(self.newest[unit]).encode()

    def restore(self, unit: UnitKey, blob: bytes) -> None:
        self.units.add(unit)
        self.newest[unit] = self.restored[unit] = int(blob)

    def forget(self, unit: UnitKey) -> None:
        self.units.discard(unit)
        self.newest.pop(unit, None)


class Sink:
    """Accepts all records, after ``failures`` errors."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[OutRecord] = []
        self.failures = failures

    async def start(self) -> None: ...

    async def send(self, records: Sequence[OutRecord]) -> None:
        if self.failures:
            self.failures -= 1
            raise BrokerError("away")
        self.sent.extend(records)

    async def stop(self) -> None: ...

    async def partitions(self, topic: str) -> int:
        return PARTITIONS


class World:
    """A broker with the judge's topics, and judges on it."""

    def __init__(self, bootstrap_servers: str) -> None:
        name = uuid4().hex[:8]
        self.settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=bootstrap_servers, group_id=name, session_timeout_ms=6_000),
            topics=TopicSettings(profiles=f"{name}-profiles"),
        )
        self.failures: list[BaseException] = []
        self.metrics = Metrics()

    @property
    def topics(self) -> dict[str, int]:
        return {self.settings.topics.profiles: PARTITIONS, faust.changelog_topic(self.settings.kafka): PARTITIONS}

    @asynccontextmanager
    async def judge(self, desk: Desk, sink: Sink) -> AsyncIterator[JudgeApp]:
        app = JudgeApp(
            self.settings,
            desk,
            sink,
            Clock(),
            self.metrics,
            self.failures.append,
            faust.application(self.settings),
        )
        await app.start()
        try:
            await until(lambda: app.ready)
            yield app
        finally:
            await app.stop(5.0)

    async def publish(self, *profiles: tuple[str, int] | tuple[int, bytes] | bytes | None) -> None:
        """Model and next offset of a profile, or partition and value, or a value."""
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka.bootstrap_servers)
        await producer.start()
        try:
            for given in profiles:
                model, place, value = "broken", 0, given
                if isinstance(given, tuple) and isinstance(given[0], int):
                    place, value = given
                elif isinstance(given, tuple):
                    model, offset = given
                    epoch = Epoch(None, "s", 0)
                    profile = Profile(
                        SCHEMA, model, "1", None, "inference-events", 0, epoch, offset, offset, offset, []
                    )
                    place, value = keys.model_partition(model, PARTITIONS), msgspec.json.encode(profile)
                await producer.send_and_wait(self.settings.topics.profiles, value, key=model.encode(), partition=place)
        finally:
            await producer.stop()

    async def rows(self) -> list[tuple[int, bytes, bytes]]:
        """Partition, key and value of the changelog's newest record."""
        consumer = AIOKafkaConsumer(
            faust.changelog_topic(self.settings.kafka),
            bootstrap_servers=self.settings.kafka.bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        await consumer.start()
        try:
            batches = await consumer.getmany(timeout_ms=2_000)
            return [(r.partition, r.key, r.value) for records in batches.values() for r in records[-1:]]
        finally:
            await consumer.stop()

    async def write(self, rows: list[tuple[int, bytes, bytes]]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.settings.kafka.bootstrap_servers)
        await producer.start()
        try:
            for partition, key, value in rows:
                topic = faust.changelog_topic(self.settings.kafka)
                await producer.send_and_wait(topic, value, key=key, partition=partition)
        finally:
            await producer.stop()

    async def committed(self) -> int:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.settings.kafka.bootstrap_servers,
            group_id=faust.app_id(self.settings.kafka),
            enable_auto_commit=False,
        )
        await consumer.start()
        try:
            topic = self.settings.topics.profiles
            return sum([await consumer.committed(TopicPartition(topic, n)) or 0 for n in range(PARTITIONS)])
        finally:
            await consumer.stop()


async def until(true: Callable[[], Any], seconds: float = 30.0) -> None:
    async def look() -> None:
        while not true():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.02)

    await asyncio.wait_for(look(), seconds)


async def until_equal(read: Callable[[], Awaitable[Any]], wanted: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while (got := await read()) != wanted:
        assert time.monotonic() < deadline, f"{got} is not {wanted}"


@pytest.fixture
async def world(kafka: Any) -> AsyncIterator[World]:
    made = World(kafka.bootstrap_servers)
    await kafka.create_topics(made.topics, {"cleanup.policy": "compact"})
    yield made
    assert made.failures == []


def unit(model: str) -> UnitKey:
    return UnitKey(model, "1", None)


async def test_a_restart_knows_what_the_judge_knew_and_repeats_no_word(world: World) -> None:
    first, sink = Desk(), Sink()
    async with world.judge(first, sink):
        await world.publish(("a", 5), ("a", 10), ("b", 20), ("c", 7))
        await until(lambda: len(first.seen) >= 4)
        await until(lambda: len(sink.sent) >= 2)
    second, again = Desk(), Sink()
    async with world.judge(second, again):
        assert second.restored == {unit("a"): 10, unit("b"): 20, unit("c"): 7}
        await world.publish(("a", 11))
        await until(lambda: second.newest.get(unit("a")) == 11)
    assert again.sent == []
    assert sorted(record.value or b"" for record in sink.sent) == [b"10", b"20"]


async def test_a_profile_is_acknowledged_only_with_its_row(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROW_INTERVAL_MS", 10**9)
    desk = Desk()
    async with world.judge(desk, Sink()) as app:
        await world.publish(("a", 1), ("a", 2), ("a", 3))
        await until(lambda: len(desk.seen) == 3)
        turned = app.turned_at_ms
        await until(lambda: app.turned_at_ms > turned + 2_500)  # two commit intervals
        assert await world.committed() == 0
        await world.publish(("a", 10))  # it has output, so its row is written at once
        await until_equal(world.committed, 4)


async def test_of_units_that_share_a_partition_none_is_committed_over(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faust would commit too far: it commits the first consecutive acknowledged messages, at any offset where they
    begin."""
    monkeypatch.setattr(rows, "ROW_INTERVAL_MS", 10**9)
    desk = Desk()
    async with world.judge(desk, Sink()) as app:
        await world.publish(("a", 1), ("c", 10), ("a", 2), ("c", 20))  # rows of c are written at once
        await until(lambda: len(desk.seen) == 4)
        turned = app.turned_at_ms
        await until(lambda: app.turned_at_ms > turned + 2_500)  # two commits
        assert await world.committed() == 0
        await world.publish(("a", 30))
        await until_equal(world.committed, 5)


async def test_rows_follow_within_the_interval(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "ROW_INTERVAL_MS", 300)
    desk = Desk()
    async with world.judge(desk, Sink()) as app:
        await world.publish(("a", 1), ("b", 2))
        await until_equal(world.committed, 2)
        assert app.row_bytes > 0
        assert app.partitions == set(range(PARTITIONS))


async def test_what_is_no_profile_becomes_a_dead_letter_and_stops_nothing(world: World) -> None:
    desk, sink = Desk(), Sink()
    async with world.judge(desk, sink):
        await world.publish(b"{}", None, b"\xff", ("a", 3))
        await until(lambda: desk.newest.get(unit("a")) == 3)
        await until(lambda: len(sink.sent) == 2)
    letter = sink.sent[0]
    assert letter.topic == "driftline-dead-letters"
    assert letter.value == b"{}"
    assert dict(letter.headers)["topic"] == world.settings.topics.profiles.encode()
    assert b"not a profile" in dict(letter.headers)["reason"]


async def test_a_broker_that_refuses_for_a_while_is_asked_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FIRST_PAUSE_SECONDS", 0.01)
    desk, sink = Desk(), Sink(failures=3)
    async with world.judge(desk, sink):
        await world.publish(("a", 10))
        await until(lambda: len(sink.sent) == 1)
    assert world.metrics.errors.value(("judge.send",)) == 3


async def test_an_exception_in_the_judge_ends_the_worker_and_acknowledges_nothing(world: World) -> None:
    class Broken(Desk):
        def on_profile(self, profile: Profile, now_ms: int, offset: int) -> Sequence[OutRecord]:
            raise RuntimeError("bug")

    async with world.judge(Broken(), Sink()) as app:
        await world.publish(("a", 1))
        await until(lambda: world.failures)
        assert not app.ready
    assert [str(failure) for failure in world.failures] == ["bug"]
    world.failures.clear()
    assert await world.committed() == 0
    desk = Desk()
    async with world.judge(desk, Sink()):
        await until(lambda: desk.newest.get(unit("a")) == 1)


async def test_a_second_judge_takes_over_what_the_first_knew(world: World) -> None:
    one, two = Desk(), Desk()
    async with world.judge(one, Sink()):
        await world.publish(("a", 10), ("b", 10), ("f", 10))
        await until(lambda: len(one.newest) == 3)
        async with world.judge(two, Sink()) as second:
            await until(lambda: one.units and two.units and not one.units & two.units)
            assert {**one.newest, **two.newest} == {unit(model): 10 for model in "abf"}
            assert second.partitions
        await until(lambda: len(one.units) == 3)
        assert one.newest == {unit(model): 10 for model in "abf"}


async def test_a_row_that_a_late_zombie_writes_over_a_newer_one_is_not_believed(world: World) -> None:
    first = Desk()
    async with world.judge(first, Sink()):
        await world.publish(("a", 10))
        await until_equal(world.committed, 1)
        stale = await world.rows()
        await world.publish(("a", 20))
        await until_equal(world.committed, 2)
    await world.write(stale)
    second = Desk()
    async with world.judge(second, Sink()):
        assert second.restored == {unit("a"): 20}


async def test_what_waited_through_a_rebalance_is_judged_after_what_is_before_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The agent holds profile 11 when the partitions are assigned again, and 1 to 10 are in no row."""
    monkeypatch.setattr(rows, "ROW_INTERVAL_MS", 10**9)
    monkeypatch.setattr(rows, "WAITING_RECORDS", 1)
    gate = asyncio.Event()

    class Waiting(Sink):
        async def send(self, records: Sequence[OutRecord]) -> None:
            if records[0].topic == "views":
                await gate.wait()
            await super().send(records)

    class Viewed(Desk):
        shown = False

        def views_due(self, now_ms: int, most: int) -> Sequence[OutRecord]:
            if len(self.seen) != 5 or self.shown:
                return []
            self.shown = True
            return [OutRecord("views", b"", b"")]

    one, two = Viewed(), Desk()
    async with world.judge(one, Waiting()) as app:
        await world.publish(*[("a", offset) for offset in range(1, 6)])
        await until(lambda: len(one.seen) == 5 and app.sending)
        turned = app.turned_at_ms
        await world.publish(("a", 10), ("a", 11))
        await until(lambda: len(one.seen) == 6 and app.turned_at_ms > turned)  # the agent has it
        joining = asyncio.create_task(_beside(world, two, lambda: (unit("a"), 11) in one.seen + two.seen))
        await until(lambda: not app.ready)
        gate.set()
        await joining
    order = [(unit("a"), offset) for offset in (1, 2, 3, 4, 5, 10, 11)]
    assert (one.seen[6:], two.seen) in (([], order), (order, []))


async def _beside(world: World, desk: Desk, done: Callable[[], Any]) -> None:
    async with world.judge(desk, Sink()):
        await until(done)


async def test_what_lies_in_another_partition_than_its_models_is_sent_on_and_judged_there_once(world: World) -> None:
    desk, sink = Desk(), Sink()
    epoch = Epoch(None, "s", 0)
    value = msgspec.json.encode(Profile(SCHEMA, "a", "1", None, "inference-events", 0, epoch, 5, 5, 5, []))
    elsewhere = (keys.model_partition("a", PARTITIONS) + 1) % PARTITIONS
    async with world.judge(desk, sink):
        await world.publish((elsewhere, value))
        await until_equal(world.committed, 1)
    assert desk.seen == []
    assert [(r.topic, r.value, r.partition) for r in sink.sent] == [
        (world.settings.topics.profiles, value, keys.model_partition("a", PARTITIONS))
    ]


async def test_a_row_from_elsewhere_is_moved_once_and_restored_where_its_model_is(world: World, kafka: Any) -> None:
    home = keys.model_partition("a", PARTITIONS)
    elsewhere = (home + 1) % PARTITIONS
    row = table.encode_stored(unit("a"), elsewhere, b"7", (1, 2))
    await world.write([(elsewhere, keys.unit_key(unit("a")), row)])
    kafka_settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers)
    out = KafkaSink(kafka_settings)
    await out.start()
    try:
        for wanted in (1, 0):
            reader = KafkaTableReader(kafka_settings)
            assert await relocation.move_rows(world.settings, reader, out) == wanted
            await reader.stop()
    finally:
        await out.stop()
    desk = Desk()
    async with world.judge(desk, Sink()):
        assert desk.restored == {unit("a"): 7}
        await world.publish(("a", 8))
        await until(lambda: desk.newest == {unit("a"): 8})


async def test_deciding_goes_on_while_a_batch_is_on_its_way(world: World) -> None:
    gate = asyncio.Event()

    class Slow(Sink):
        async def send(self, records: Sequence[OutRecord]) -> None:
            await gate.wait()
            await super().send(records)

    desk, sink = Desk(), Slow()
    async with world.judge(desk, sink) as app:
        await world.publish(("a", 10), ("b", 10), ("a", 11), ("a", 20))
        await until(lambda: len(desk.seen) == 4)
        assert sink.sent == []
        turned = app.turned_at_ms
        await until(lambda: app.turned_at_ms > turned + 1_500)  # a commit
        assert await world.committed() == 0
        gate.set()
        await until_equal(world.committed, 4)
    assert [record.value for record in sink.sent if record.key == b"a"] == [b"10", b"20"]

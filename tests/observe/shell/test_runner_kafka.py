"""Observing processes against Apache Kafka: they are killed, paused, ended and moved, and publish the
same as one undisturbed run over the same log."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from detectors.profiles import Profile
from detectors.reference import reference as references
from stream.backends.kafka.sink import KafkaSink
from stream.backends.kafka.source import KafkaSource
from stream.backends.kafka.tables import KafkaTableReader
from stream.observe.observer import Observer
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import Settings
from stream.topics import keys, marks
from stream.topics.record import OutRecord, Partition, Record
from tests.backends.contract import Listener
from tests.kafka import observing
from tests.kafka.server import ROOT, Cluster, Server
from tests.observe.shell.service import events, reference

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

PARTITIONS = 4
DEADLINE = 60.0


class World:
    """One group of observing processes on one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.mark = f"run-{uuid.uuid4().hex[:12]}"
        self.settings: Settings = observing.settings(cluster.bootstrap_servers, self.mark)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.sink = KafkaSink(self.settings.kafka)
        self.published = 0

    async def open(self) -> None:
        own = self.settings.topics
        names = (*own.events, own.checkpoints, own.profiles, own.references, own.dead_letters)
        await self.cluster.create_topics(dict.fromkeys(names, PARTITIONS))
        await self.sink.start()
        await self.sink.send([reference()._replace(topic=own.references)])

    def start(self, *poison: str) -> subprocess.Popen[bytes]:
        """``poison``: the process kills itself at a record that contains it."""
        command = [sys.executable, "-m", "tests.kafka.observing", self.cluster.bootstrap_servers, self.mark, *poison]
        process = subprocess.Popen(command, cwd=ROOT)
        self.processes.append(process)
        return process

    async def publish(self, count: int) -> None:
        await self.sink.send(events(count, PARTITIONS, self.settings.topics.event_names[0], self.published))
        self.published += count

    async def profiles(self) -> dict[bytes, Profile]:
        """For each shard the profile that contains all others; a late worker may write an older one after it."""
        reader = KafkaTableReader(self.settings.kafka)
        try:
            found = await reader.read_to_end(self.settings.topics.profiles)
        finally:
            await reader.stop()
        return {
            key: msgspec.json.decode(record.value or b"", type=Profile)
            for key, record in found.items()
            if not key.startswith(marks.KEY)
        }

    async def counted(self) -> int:
        return sum(profile.events for profile in (await self.profiles()).values())

    async def until_counted(self, condition: Callable[[int], bool]) -> None:
        deadline = time.monotonic() + DEADLINE
        while not condition(await self.counted()):
            assert time.monotonic() < deadline, f"{await self.counted()} of {self.published} events are counted"
            for process in self.processes:
                assert process.poll() in (None, 0, -signal.SIGKILL), "an observing process ended with an error"
            await asyncio.sleep(0.05)

    async def until_counted_or_ended(self, process: subprocess.Popen[bytes]) -> bool:
        """Waits until everything is counted or the process has ended; returns whether it has."""
        deadline = time.monotonic() + DEADLINE
        while process.poll() is None:
            if await self.counted() >= self.published:
                return False
            assert time.monotonic() < deadline, f"{await self.counted()} of {self.published} events are counted"
            await asyncio.sleep(0.05)
        return True

    async def log(self) -> dict[Partition, list[Record]]:
        """All events, as they are on the broker."""
        topic = self.settings.topics.event_names[0]
        listener = Listener()
        source = KafkaSource(msgspec.structs.replace(self.settings.kafka, group_id=self.mark + "-oracle"), [topic])
        await source.start(listener)
        found: dict[Partition, list[Record]] = {place: [] for place in listener.owned}
        for place in listener.owned:
            source.seek(place, 0)
        source.resume(list(listener.owned))
        while sum(map(len, found.values())) < self.published:
            for place, records in (await source.poll(100, 10_000)).items():
                found[place].extend(records)
        await source.stop()
        return found

    async def undisturbed(self) -> dict[bytes, Profile]:
        """The profiles that the log must lead to, by shard."""
        known = references.decode(reference().value or b"")
        observer = Observer(observe_settings(self.settings), [known])
        last: dict[bytes, Profile] = {}
        for place, records in (await self.log()).items():
            observer.assign(place)
            for start in range(0, len(records), 97):
                observer.process(place, records[start : start + 97])
            checkpoint = observer.checkpoint(place)
            for unit in checkpoint.dirty:
                checkpoint.encode(unit)
            checkpoint.acknowledged()
        for profile in observer.profiles_due(0, force=True):
            last[keys.profile_key(profile.unit, Partition(profile.topic, profile.partition))] = profile
        return last

    async def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(30)
        await self.sink.stop()


@pytest.fixture
async def world(kafka: Cluster) -> AsyncIterator[World]:
    world = World(kafka)
    await world.open()
    yield world
    await world.close()


async def check(world: World) -> None:
    """Every event is counted once, and everything else equals an undisturbed run."""
    await world.until_counted(lambda count: count >= world.published)
    found = await world.profiles()
    assert sum(profile.events for profile in found.values()) == world.published
    assert found == await world.undisturbed()


def ended_well(process: subprocess.Popen[bytes]) -> bool:
    process.send_signal(signal.SIGTERM)
    return process.wait(30) == 0


async def test_a_process_killed_again_and_again_counts_every_event_once(world: World) -> None:
    for _ in range(3):
        await world.publish(2_000)
        process = world.start()
        await world.until_counted(lambda count: count > world.published - 2_000)
        await world.publish(1_000)
        process.kill()
        process.wait(30)
    last = world.start()
    await check(world)
    assert ended_well(last)
    await check(world)


async def test_two_processes_share_the_partitions_and_one_that_dies_is_replaced(world: World) -> None:
    first, second = world.start(), world.start()
    await world.publish(4_000)
    await world.until_counted(lambda count: count == 4_000)
    first.kill()
    await world.publish(4_000)
    await check(world)
    assert ended_well(second)


async def test_a_process_that_sleeps_beyond_its_session_does_no_harm_when_it_wakes(world: World) -> None:
    sleeper = world.start()
    await world.publish(4_000)
    await world.until_counted(lambda count: count == 4_000)
    os.kill(sleeper.pid, signal.SIGSTOP)
    other = world.start()
    await world.publish(4_000)
    await world.until_counted(lambda count: count == 8_000)
    os.kill(sleeper.pid, signal.SIGCONT)
    await world.publish(2_000)
    await check(world)
    assert ended_well(sleeper)
    await world.publish(500)
    await check(world)
    assert ended_well(other)


async def test_a_broker_that_is_killed_and_comes_back_loses_no_event(restartable_kafka: Server) -> None:
    world = World(restartable_kafka)
    await world.open()
    try:
        process = world.start()
        await world.publish(3_000)
        await world.until_counted(lambda count: count == 3_000)
        await asyncio.to_thread(restartable_kafka.kill)
        await asyncio.to_thread(restartable_kafka.start)
        await world.publish(3_000)
        await check(world)
        assert ended_well(process)
    finally:
        await world.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("poisoned", [1, 2])
async def test_a_record_at_which_the_process_ended_twice_is_left_out_and_becomes_a_dead_letter(
    world: World, poisoned: int
) -> None:
    """The process kills itself whenever it is about to decode such a record. It is started again each time."""
    topic, poison = world.settings.topics.event_names[0], b'{"model":"fraud","poison":"arsenic"}'
    await world.publish(400)
    for _ in range(poisoned):
        await world.sink.send([OutRecord(topic, None, poison, partition=1)])
        await world.publish(40)
    ends = 0
    while True:
        process = world.start("arsenic")
        if not await world.until_counted_or_ended(process):
            break
        assert process.returncode == -signal.SIGKILL
        ends += 1
        assert ends <= 1 + 3 * poisoned
    # The first end leaves no note, and one far behind the checkpoint notes a chunk and not the record.
    assert ends >= 1 + 2 * poisoned
    assert ended_well(process)
    assert await world.counted() == world.published
    reader = KafkaTableReader(world.settings.kafka)
    await reader.read_from([world.settings.topics.dead_letters], {})
    letters: list[Record] = []
    while len(letters) < poisoned:
        letters += [record for _, record in await reader.poll(200)]
    await reader.stop()
    assert [letter.value for letter in letters] == [poison] * poisoned
    for letter in letters:
        assert b"the process ended 2 times while it read this record" in dict(letter.headers)["reason"]
    again = world.start("arsenic")
    await world.publish(40)
    await world.until_counted(lambda count: count == world.published)
    assert ended_well(again)

"""Whole workers on the memory backend: complete ``Runner`` objects, with a clock that advances only when every task
waits. One seed decides when a worker crashes in the middle of a write, when it loses its partitions without noticing,
when the broker is unreachable or its disk slow, and when references come.
"""

import asyncio
import random
import selectors
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from detectors.errors import DriftlineError
from detectors.merging import Step
from detectors.profiles import Profile
from detectors.reference import reference as references
from stream.backends.memory.broker import Crash, Faults, MemoryBroker
from stream.backends.memory.clients import MemorySink, MemorySource, MemoryTableReader
from stream.judge.shard import Shard
from stream.observe.shell import pace, polling
from stream.observe.shell.runner import Runner
from stream.settings.settings import Settings
from stream.topics import marks
from stream.topics.record import OutRecord, Partition
from tests.simulation import traffic
from tests.simulation.world import PARTITIONS, Diverged, choose

SETTINGS = Settings(checkpoint_interval_seconds=1.0)
WORKERS = 2
SECONDS = 8.0
"""Seconds with faults."""
SETTLED_SECONDS = 8.0
"""Until everything must be published: longer than the attempts of a send, and than a start."""
IDLE_MS = 400
"""Time between two turns without records. A longer time gives fewer turns, and as many points at which a fault can
come."""
TROUBLES = ("crash", "crash", "zombie", "outage", "slow disk", "reference", "stop")


class _Instant(selectors.DefaultSelector):
    """A selector without input from outside: every wait ends at once and advances the clock."""

    loop: "TimelessLoop"

    def select(self, timeout: float | None = None) -> list[Any]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "everybody waits for everybody"
            self.loop.now += timeout
        return found


class TimelessLoop(asyncio.SelectorEventLoop):
    """An event loop whose ``time`` jumps to the next timer."""

    def __init__(self) -> None:
        self.now = 0.0
        selector = _Instant()
        super().__init__(selector)
        selector.loop = self

    def time(self) -> float:
        return self.now


class Clock:
    def now_ms(self) -> int:
        return traffic.START_MS + int(1000 * asyncio.get_running_loop().time())


class Still:
    """Replaces ``time``, because reading processor time is slow on some machines."""

    thread_time = staticmethod(lambda: 0.0)


class SlowSink(MemorySink):
    """A sink whose records may still arrive after its caller was cancelled."""

    def __init__(self, service: "Service") -> None:
        super().__init__(service.broker)
        self._service = service

    async def send(self, records: Sequence[OutRecord]) -> None:
        sending = self._service.on_its_way(super().send(records))
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            if self._service.chance.random() < 0.5:
                sending.cancel()
            raise


class Service:
    """The broker, the workers and a supervisor that starts ended workers again."""

    def __init__(self, seed: int) -> None:
        self.choice = choose(seed)
        self.chance = random.Random(seed * 3 + 2)
        faults = Faults(duplicate=0.05, delay=0.1, cut=0.1)
        self.broker = MemoryBroker(seed, faults, Clock())
        topics = SETTINGS.topics
        for name in (*topics.event_names, topics.checkpoints):
            self.broker.create_topic(name, PARTITIONS)
        for name in (topics.references, topics.actions, topics.profiles, topics.dead_letters):
            self.broker.create_topic(name, 2)
        self.places = [Partition(traffic.TOPIC, number) for number in range(PARTITIONS)]
        self.coming = list(self.choice.coming)
        self.delay_seconds = 0.0
        self.troubles: Counter[str] = Counter()
        self.sources: list[MemorySource] = []
        self.stops = [asyncio.Event() for _ in range(WORKERS)]
        self.ending = False
        self.newest: dict[str, str] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def on_its_way(self, sending: Any) -> "asyncio.Task[None]":
        async def late() -> None:
            try:
                await asyncio.sleep(self.delay_seconds * self.chance.random())
            except asyncio.CancelledError:
                sending.close()
                raise
            await sending

        task = asyncio.create_task(late())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return task

    async def run(self) -> None:
        for at in self.choice.known:
            self._publish_reference(at)
        workers = [asyncio.create_task(self._supervised(number)) for number in range(WORKERS)]
        writing = asyncio.create_task(self._write())
        while asyncio.get_running_loop().time() < SECONDS:
            await asyncio.sleep(self.chance.random() * 2.0)
            await self._trouble(self.chance.choice(TROUBLES))
        await writing
        self.broker.crash_after(None)
        self.broker.restore()
        while self.coming:
            self._publish_reference(self.coming.pop(0))
        await asyncio.sleep(SETTLED_SECONDS)
        self.ending = True
        for stop in self.stops:
            stop.set()
        await asyncio.gather(*workers)
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _write(self) -> None:
        """Writes both logs at random times, unchanged: with the records' own times and without faults."""
        for record in range(traffic.LENGTH):
            await asyncio.sleep(self.chance.random() * SECONDS / traffic.LENGTH)
            for place in self.places:
                given = traffic.log(self.choice.logs, place.partition)[record]
                self.broker.log(place).append(given.timestamp_ms, OutRecord(place.topic, given.key, given.value))

    async def _supervised(self, number: int) -> None:
        while not self.ending:
            stop = self.stops[number] = asyncio.Event()
            source = MemorySource(self.broker, SETTINGS.topics.event_names)
            self.sources.append(source)
            observer = traffic.observer(self.choice.settings, ())
            sink, tables = SlowSink(self), lambda: MemoryTableReader(self.broker)
            with suppress(Crash, DriftlineError):
                await Runner(SETTINGS, observer, source, sink, tables, Clock()).run(stop)
            self.sources.remove(source)
            self.broker.kill(source)
            await asyncio.sleep(self.chance.random())

    async def _trouble(self, what: str) -> None:
        if what == "crash":
            # the worker that writes then crashes in the middle of its batch
            self.broker.crash_after(self.chance.randrange(12))
        elif what == "stop":
            self.chance.choice(self.stops).set()
        elif what == "zombie" and self.sources and self.choice.zombies:
            source = self.chance.choice(self.sources)
            self.broker.leave(source, notify=False)
            await asyncio.sleep(self.chance.random() * 3.0)
            if source in self.sources and not source.dead:
                self.broker.expire(source)
        elif what == "outage":
            self.broker.outage()
            # sometimes long enough that workers end
            await asyncio.sleep(self.chance.random() * self.chance.choice((0.5, 10.0)))
            self.broker.restore()
        elif what == "slow disk":
            self.delay_seconds = 2.0 * self.chance.random()
            await asyncio.sleep(self.chance.random() * 2.0)
            self.delay_seconds = 0.0
        elif what == "reference" and self.coming:
            self._publish_reference(self.coming.pop(0))
        else:
            return
        self.troubles[what] += 1

    def _publish_reference(self, at: int) -> None:
        reference = traffic.references()[at]
        key = f"{reference.model}/{reference.version}".encode()
        self.newest[str(reference.model_key)] = reference.digest
        place = Partition(SETTINGS.topics.references, 0)
        self.broker.log(place).append(0, OutRecord(place.topic, key, references.encode(reference)))
        self.broker._wake()


def simulate(seed: int) -> Service:
    """Runs one world and checks it. Raises Diverged."""
    usual = polling.POLL_MS, pace.SMALLEST_CHUNK, pace.HELD_SECONDS, pace.time
    # the real clock has no effect on batches and breaks: there is a break after every unit, or there is none
    held = 0.0 if seed % 2 else 1e6
    polling.POLL_MS, pace.SMALLEST_CHUNK, pace.HELD_SECONDS, pace.time = IDLE_MS, traffic.LENGTH, held, Still
    try:
        with asyncio.Runner(loop_factory=TimelessLoop) as loop:
            service: Service = loop.run(_simulated(seed))
    finally:
        polling.POLL_MS, pace.SMALLEST_CHUNK, pace.HELD_SECONDS, pace.time = usual
    _check(seed, service)
    return service


async def _simulated(seed: int) -> Service:
    service = Service(seed)
    await service.run()
    return service


def _check(seed: int, service: Service) -> None:
    """In the end each unit's fold of the whole log is published, and each unreadable record is a dead letter."""
    shards: dict[bytes, Shard] = {}
    topics = SETTINGS.topics
    for _, record in service.broker.records(topics.profiles):
        if (record.key or b"").startswith(marks.KEY):
            continue
        profile = msgspec.json.decode(record.value or b"", type=Profile)
        shard = shards.setdefault(record.key or b"", Shard(profile, []))
        if shard.step(profile) is not Step.IGNORED:
            shard.hold(profile)
    counted: Counter[tuple[object, int]] = Counter()
    for shard in shards.values():
        profile = shard.profile
        counted[profile.unit, profile.partition] = profile.events
        if profile.epoch.reference != service.newest.get(str(profile.unit.model_key)):
            raise Diverged(f"seed {seed}: {profile.shard}: {profile.unit}: under another reference than the newest")
        wanted = traffic.oracle_profiles(service.choice.settings, service.choice.logs, profile)
        if _plain(profile, service) not in [_plain(one, service) for one in wanted]:
            raise Diverged(f"seed {seed}: {profile.shard}: {profile.unit}: is not the fold of its log")
    for place in service.places:
        expected = traffic.oracle_events(service.choice.logs, place.partition)
        found = {unit: events for (unit, partition), events in counted.items() if partition == place.partition}
        if found != expected:
            raise Diverged(f"seed {seed}: {place}: {found} are counted, {expected} are in the log")
    letters = {
        (int(headers["partition"]), int(headers["offset"]))
        for headers in (dict(record.headers) for _, record in service.broker.records(topics.dead_letters))
    }
    unreadable = {
        where for place in service.places for where in traffic.unreadable(service.choice.logs, place.partition)
    }
    if letters != unreadable:
        raise Diverged(f"seed {seed}: dead letters {sorted(letters ^ unreadable)} are missing or too many")


def _plain(profile: Profile, service: Service) -> Profile:
    """The profile without signals of earlier epochs, if there were several, and without outcomes, which no bank
    makes."""
    count = len(profile.signals) if service.choice.coming else profile.signal_count
    return msgspec.structs.replace(profile, signal_count=count, outcomes=None)

"""Whole workers with both stages over the broker in memory: the real Runner, Saver, Outbox, Timer, JudgeApp, Rows, desk
and follower, over logs of keyed partitions. One seed decides who fails when.

What is published in the end is compared with a run of the same workers without faults, and the judge's state of each
unit also with the ordered run of the cores alone.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple

import msgspec
import orjson

from detectors.errors import BrokerError
from detectors.features import UnitKey
from detectors.merging import Step
from detectors.profiles import Profile
from detectors.reference import reference as references
from stream.backends.memory.broker import Crash, Faults, MemoryBroker
from stream.backends.memory.clients import MemorySource, MemoryTableReader
from stream.judge import snapshot
from stream.judge.effects import Health
from stream.judge.judge import Judge
from stream.judge.shard import Shard
from stream.judge.shell import app, faust, table
from stream.judge.shell.app import JudgeApp
from stream.judge.shell.desk import JudgeDesk
from stream.metrics.registry import Metrics
from stream.observe.shell import pace, polling
from stream.observe.shell.runner import Runner
from stream.service.follower import Follower
from stream.settings.settings import Settings
from stream.topics import keys, marks
from stream.topics.drift_events import EventType
from stream.topics.keys import keep_newest
from stream.topics.record import OutRecord, Partition, Record
from tests.simulation.event_time import cores
from tests.simulation.event_time.logs import START_MS, TOPIC, Log, log
from tests.simulation.judge_runtime import MemoryRuntime
from tests.simulation.service import IDLE_MS, SlowSink, Still, TimelessLoop
from tests.simulation.world import Diverged

SETTINGS = Settings(checkpoint_interval_seconds=1.0)
HOMES = cores.HOMES
"""Partitions of the profiles topic."""

SETTLED_SECONDS = 6.0
"""Until everything that was begun must be done: longer than the attempts of a send, and than a start."""

AFTER_SECONDS = (0.0, 130.0, 260.0)
"""Wall time after the last record at which everybody looks: by then the last slots have ended by the clock."""

MOST_CRASHES = 5
"""Crashes of a run at a row or at output, beside the other faults: so they end before everything must be settled."""

STOP_SECONDS = 5.0
TROUBLES = ("crash", "crash", "kill", "zombie observer", "zombie judge", "rebalance", "outage", "slow disk", "stop")

OF_WALL_TIME = ("state", "reason", "waiting_for", "quiet")
"""Members of a view that wall time decides, or the order in which partitions are read."""


class Published(NamedTuple):
    """Everything that a run leaves for others, by topic, and the judge's state of each unit."""

    events: dict[str, bytes]
    incidents: dict[bytes, bytes]
    requests: dict[str, bytes]
    references: dict[bytes, str]
    letters: set[tuple[int, int]]
    profiles: dict[bytes, Profile]
    views: dict[bytes, dict[str, Any]]
    states: dict[UnitKey, dict[str, Any]]


class Shown(MemoryTableReader):
    """The references that observers may know: those that judges learn come between two phases of a log. When a
    reference comes is not a matter of the log."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.broker)
        self._shown = world.shown

    async def read_to_end(self, topic: str, partitions: Sequence[int] | None = None) -> dict[bytes, Record]:
        found = await super().read_to_end(topic, partitions)
        return {key: one for key, one in found.items() if topic != SETTINGS.topics.references or key in self._shown}

    def _fetch(self) -> list[tuple[Partition, Record]]:
        topic = SETTINGS.topics.references
        return [one for one in super()._fetch() if one[0].topic != topic or one[1].key in self._shown]


class JudgeSink(SlowSink):
    """A sink at which the process may end when drift events are sent: before they have arrived or just after."""

    def __init__(self, world: "World") -> None:
        super().__init__(world)  # type: ignore[arg-type]
        self._world = world

    async def send(self, records: Sequence[OutRecord]) -> None:
        drift_events = SETTINGS.topics.drift_events
        ends = any(record.topic == drift_events for record in records) and self._world.crashes("crash at output", 0.2)
        if not ends or self._world.chance.random() < 0.5:
            await super().send(records)
        if ends:
            raise Crash


class Process:
    """One worker, put together as ``stream.service.worker`` does, without HTTP."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.ends: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.source = MemorySource(world.broker, [TOPIC])
        observer, metrics = cores.observer_of(world.log, ()), Metrics()
        self.runner = Runner(SETTINGS, observer, self.source, SlowSink(world), lambda: Shown(world), world)  # type: ignore[arg-type]
        desk = JudgeDesk(SETTINGS, Judge(world.log.judge), metrics, lambda _: Health())
        self.app = JudgeApp(SETTINGS, desk, JudgeSink(world), world, metrics, self._end, world)  # type: ignore[arg-type]
        self.runtime: MemoryRuntime = self.app._faust  # type: ignore[assignment]
        topics = SETTINGS.topics
        followed = {topics.references: desk.apply_reference, topics.actions: desk.apply_request}
        self.follower = Follower(lambda: MemoryTableReader(world.broker), followed)
        self.stop = asyncio.Event()

    def end(self) -> None:
        """Asks the process to end, as SIGTERM does."""
        self._end(None)

    def kill(self) -> None:
        self._end(Crash())

    async def run(self) -> None:
        """Runs until it is ended or fails. Raises what no fault of a broker explains."""
        observing, judging = asyncio.create_task(self.runner.run(self.stop)), asyncio.create_task(self._judge())
        following = asyncio.create_task(self.follower.run())
        tasks = (observing, judging, following)
        for task in tasks:
            task.add_done_callback(self._ended)
        why = await self.ends
        if why is None:
            self.stop.set()
            with suppress(Crash, BrokerError):
                await asyncio.gather(observing, self.app.stop(STOP_SECONDS))
        self.app._rows.close()
        self.runtime.kill()
        for member in (self.source, self.runtime.source):
            self.world.broker.kill(member)
        left = {*tasks, *self.app._tasks}
        while left:  # a row that is acknowledged just then takes the place of the cancellation (Python 3.11)
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=0.1)
        if why is not None and not isinstance(why, (Crash, BrokerError)):
            raise why

    async def _judge(self) -> None:
        await self.follower.caught_up.wait()
        await self.app.start()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._end(error)

    def _end(self, why: BaseException | None) -> None:
        if not self.ends.done():
            self.ends.set_result(why)


class World:
    """The broker, the workers and a supervisor that starts ended workers again. It is also their clock."""

    def __init__(self, log: Log, seed: str, *, failures: bool) -> None:
        self.log, self.failures, self.chance = log, failures, random.Random(seed)
        faults = Faults(duplicate=0.03, delay=0.1, cut=0.1) if failures else None
        self.broker = MemoryBroker(self.chance.randrange(1 << 30), faults, self)
        topics = SETTINGS.topics
        for name in (TOPIC, topics.checkpoints):
            self.broker.create_topic(name, log.partitions)
        for name in (topics.profiles, faust.changelog_topic(SETTINGS.kafka)):
            self.broker.create_topic(name, HOMES)
        for name in (topics.references, topics.actions, topics.dead_letters, topics.drift_events,
                     topics.retrain_requests, topics.incidents, topics.views):  # fmt: skip
            self.broker.create_topic(name, 1)
        self.shown: set[bytes] = set()
        self.processes: list[Process] = []
        self.troubles: Counter[str] = Counter()
        self.delay_seconds = 0.0
        self.ending = False
        self._crashes_left = MOST_CRASHES if failures else 0
        self._sending: set[asyncio.Task[None]] = set()

    def now_ms(self) -> int:
        return START_MS + int(1000 * asyncio.get_running_loop().time())

    def crashes(self, where: str, share: float) -> bool:
        """Whether the process that asks ends at this point, as a share of all such points does until the bound."""
        if not self._crashes_left or self.chance.random() >= share:
            return False
        self._crashes_left -= 1
        self.troubles[where] += 1
        return True

    def on_its_way(self, sending: Any) -> "asyncio.Task[None]":
        """Sends in a task of its own, which outlives the process that sends."""

        async def late() -> None:
            try:
                await asyncio.sleep(self.delay_seconds * self.chance.random())
            except asyncio.CancelledError:
                sending.close()
                raise
            await sending

        task = asyncio.create_task(late())
        self._sending.add(task)
        task.add_done_callback(self._sent)
        return task

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it has it; nobody does when the process has ended

    async def run(self) -> None:
        for made in self.log.references:
            self._show(keys.reference_key(made.model_key), references.encode(made))
        workers = [asyncio.create_task(self._supervised()) for _ in range(2 if self.failures else 1)]
        for phase in range(len(self.log.records)):
            await self._live(phase, workers)
            for seconds in AFTER_SECONDS:
                if seconds == AFTER_SECONDS[-1] and phase + 1 == len(self.log.records):
                    self._crashes_left = 0  # nobody would start a process again that ends later
                self._jump(seconds)
                await self._settled(workers)
            if phase + 1 < len(self.log.records):
                self._show_learned()
                await self._settled(workers)
        self.ending = True
        for process in list(self.processes):  # a judge that loses its partitions while it ends writes no last row
            process.end()
            await asyncio.sleep(SETTLED_SECONDS)
        await asyncio.gather(*workers)
        await asyncio.gather(*self._sending, return_exceptions=True)

    async def _live(self, phase: int, workers: Sequence["asyncio.Task[None]"]) -> None:
        self._jump((self.log.begin_ms(phase) - self.now_ms()) / 1000)
        writing = asyncio.create_task(self._write(phase))
        while not writing.done() and self.failures:
            await asyncio.sleep(self.chance.random() * 2.0)
            await self._trouble(self.chance.choice(TROUBLES))
        await writing
        if self.failures:  # a short log has ended before much has failed
            for _ in range(3):
                await self._trouble(self.chance.choice(TROUBLES))
                await asyncio.sleep(self.chance.random())
        self.broker.crash_after(None)
        self.broker.restore()
        self.delay_seconds = 0.0

    async def _write(self, phase: int) -> None:
        """Writes the records of a phase at their own times."""
        rows = [(record, number) for number, own in enumerate(self.log.records[phase]) for record in own]
        for record, number in sorted(rows, key=lambda row: (row[0].timestamp_ms, row[1])):
            wait_ms = record.timestamp_ms - self.now_ms()
            if wait_ms > 0:
                await asyncio.sleep(wait_ms / 1000)
            written = OutRecord(TOPIC, record.key, record.value)
            self.broker.log(Partition(TOPIC, number)).append(record.timestamp_ms, written)
            self.broker._wake()

    async def _settled(self, workers: Sequence["asyncio.Task[None]"]) -> None:
        settled = asyncio.create_task(asyncio.sleep(SETTLED_SECONDS))
        await asyncio.wait((settled, *workers), return_when=asyncio.FIRST_COMPLETED)
        for worker in workers:
            if worker.done():
                settled.cancel()
                worker.result()

    def _jump(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, TimelessLoop)
        loop.now += max(seconds, 0.0)

    def _show(self, key: bytes, value: bytes | None) -> None:
        """Publishes a reference, or publishes it again for those that did not see it yet."""
        self.shown.add(key)
        place = Partition(SETTINGS.topics.references, 0)
        self.broker.log(place).append(self.now_ms(), OutRecord(place.topic, key, value))
        self.broker._wake()

    def _show_learned(self) -> None:
        for key, record in self.newest(SETTINGS.topics.references).items():
            if key not in self.shown:
                self._show(key, record.value)

    def newest(self, topic: str) -> dict[bytes, Record]:
        """The newest record of each key."""
        found: dict[bytes, Record] = {}
        for number in range(self.broker.partitions(topic)):
            keep_newest(found, self.broker.log(Partition(topic, number)).records)
        return found

    async def _supervised(self) -> None:
        while not self.ending:
            process = Process(self)
            self.processes.append(process)
            try:
                await process.run()
            finally:
                self.processes.remove(process)
            await asyncio.sleep(self.chance.random())

    async def _trouble(self, what: str) -> None:
        running = self.processes
        process = self.chance.choice(running) if running else None
        if what == "crash":
            self.broker.crash_after(self.chance.randrange(30))  # the worker that writes then, in the middle of a batch
        elif what == "outage":
            self.broker.outage()
            await asyncio.sleep(self.chance.random() * self.chance.choice((0.5, 8.0)))
            self.broker.restore()
        elif what == "slow disk":
            self.delay_seconds = 0.0 if self.delay_seconds else 2.0 * self.chance.random()
        elif process is None:
            return
        elif what == "kill":
            process.kill()
        elif what == "stop":
            process.end()
        else:
            await self._lose(what, process)
        self.troubles[what] += 1

    async def _lose(self, what: str, process: Process) -> None:
        """Takes the partitions of one group from a process, which notices at once or later."""
        member = process.source if what == "zombie observer" else process.runtime.source
        if what == "rebalance":
            member = self.chance.choice((process.source, process.runtime.source))
        if member not in self.broker.group(member.group_id).members:
            return
        if what != "rebalance":
            self.broker.leave(member, notify=False)
            await asyncio.sleep(self.chance.random() * 4.0)
        if not member.dead and process in self.processes:
            self.broker.expire(member)


@contextmanager
def _instant(seed: str) -> Iterator[None]:
    """The real clock has no effect on batches and breaks, and the judge's runtime is that of the broker in memory."""
    usual = polling.POLL_MS, pace.SMALLEST_CHUNK, pace.HELD_SECONDS, pace.time, app.faust.Runtime
    held = 0.0 if random.Random(seed).random() < 0.5 else 1e6
    polling.POLL_MS, pace.SMALLEST_CHUNK, pace.HELD_SECONDS, pace.time = IDLE_MS, 1_000, held, Still  # type: ignore[assignment]
    app.faust.Runtime = MemoryRuntime  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        polling.POLL_MS, pace.SMALLEST_CHUNK, pace.HELD_SECONDS, pace.time, app.faust.Runtime = usual  # type: ignore[misc]


def run(log: Log, seed: str, *, failures: bool) -> World:
    """Runs one world to its end."""

    async def made() -> World:
        world = World(log, seed, failures=failures)
        await world.run()
        return world

    with _instant(seed), asyncio.Runner(loop_factory=TimelessLoop) as loop:
        return loop.run(made())


def published(world: World) -> Published:
    """What the world left. Raises Diverged when something was published again with another content."""
    topics = SETTINGS.topics
    return Published(
        events=_cloud_events(world, topics.drift_events),
        incidents={key: record.value or b"" for key, record in world.newest(topics.incidents).items()},
        requests=_cloud_events(world, topics.retrain_requests),
        references=_references(world),
        letters=_letters(world),
        profiles=_profiles(world),
        views={key: _view(record) for key, record in world.newest(topics.views).items()},
        states=_states(world),
    )


def _cloud_events(world: World, topic: str) -> dict[str, bytes]:
    """Contents by id, without states of models, which wall time decides too."""
    found: dict[str, bytes] = {}
    for _, record in world.broker.records(topic):
        value = record.value or b""
        event = orjson.loads(value)
        if event["type"] == EventType.MODEL_STATE.value:
            continue
        if found.setdefault(event["id"], value) != value:
            raise Diverged(f"{event['id']}: {event['type']} is published again with another content")
    return found


def _references(world: World) -> dict[bytes, str]:
    found: dict[bytes, str] = {}
    for _, record in world.broker.records(SETTINGS.topics.references):
        key, digest = record.key or b"", references.decode(record.value or b"", "").digest
        if found.setdefault(key, digest) != digest:
            raise Diverged(f"{key!r}: two references were learned")
    return found


def _letters(world: World) -> set[tuple[int, int]]:
    every = (dict(record.headers) for _, record in world.broker.records(SETTINGS.topics.dead_letters))
    return {(int(headers["partition"]), int(headers["offset"])) for headers in every}


def _profiles(world: World) -> dict[bytes, Profile]:
    """The last profile of each shard, as a judge finds it that reads all of them."""
    shards: dict[bytes, Shard] = {}
    for _, record in world.broker.records(SETTINGS.topics.profiles):
        if (record.key or b"").startswith(marks.KEY):
            continue
        profile = msgspec.json.decode(record.value or b"", type=Profile)
        shard = shards.setdefault(record.key or b"", Shard(profile, []))
        if shard.step(profile) is not Step.IGNORED:
            shard.hold(profile)
    return {key: msgspec.structs.replace(shard.profile, slot_open=False) for key, shard in shards.items()}


def _view(record: Record) -> dict[str, Any]:
    view: dict[str, Any] = orjson.loads(record.value or b"")
    return {name: value for name, value in view.items() if name not in OF_WALL_TIME}


def _states(world: World) -> dict[UnitKey, dict[str, Any]]:
    """The judge's state of each unit, from its newest row."""
    runtime_rows: dict[bytes, bytes] = {}
    topic = faust.changelog_topic(SETTINGS.kafka)
    for number in range(HOMES):
        log = world.broker.log(Partition(topic, number))
        for row in table.furthest([_Row(record) for record in log.records], runtime_rows):
            runtime_rows[row.message.key] = row.message.value
    stored = [table.decode_stored(key, value) for key, value in runtime_rows.items()]
    return {one.unit: cores._state(snapshot.decode(one.unit, one.blob)) for one in stored}


class _Row(NamedTuple):
    message: Record


@cache
def _log(number: int) -> Log:
    """A log that is written at the times of its events. Those of an old one would come late in partitions that were
    read to their ends before, and late events count in the next look, whichever that is."""
    return log(number)._replace(old=False)


@cache
def _without_faults(number: int) -> tuple[Published, cores.Outcome]:
    """What is right for a log: a run of the same workers in which nothing fails, and the ordered run of the cores."""
    return published(run(_log(number), f"{number} calm", failures=False)), cores.ordered(_log(number))


def simulate(number: int, seed: str) -> World:
    """Runs a log with the faults of a seed and compares everything with the run without faults. Raises Diverged."""
    wanted, ordered = _without_faults(number)
    world = run(_log(number), seed, failures=True)
    found = published(world)
    _compare(f"log {number}, seed {seed}", found._asdict(), wanted._asdict())
    for what, states in (("the run without faults", wanted.states), ("this run", found.states)):
        plain, right = ({u: _plain(s) for u, s in one.items()} for one in (states, ordered.states))
        _compare(f"log {number}, {what}", plain, right)
    return world


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if name not in ("state", "transitions")}


def _compare(where: str, found: dict[Any, Any], wanted: dict[Any, Any]) -> None:
    """Raises Diverged with the path of the first difference."""
    for key in {**wanted, **found}:
        one, other = found.get(key), wanted.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            _compare(f"{where}: {key}", one, other)
        elif one != other and key not in ("state", "transitions"):
            raise Diverged(f"{where}: {key} is {one!r:.300}, and {other!r:.300} without faults")

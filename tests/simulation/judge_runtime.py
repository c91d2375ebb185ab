"""``stream.judge.shell.faust.Runtime`` over the broker in memory: consumer, table, timers and commits of a judge."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, NamedTuple, Protocol

from detectors.errors import BrokerError
from stream.backends.memory.broker import Crash, MemoryBroker
from stream.backends.memory.clients import MemorySource
from stream.judge.shell import faust
from stream.settings.settings import Settings
from stream.topics.record import OutRecord, Partition, Record

POLL_MS = 400
MOST_RECORDS = 50
AWAY_SECONDS = 0.2
SKIPPED = 5
"""Records at most that the consumer has moved ahead when a partition is read from its commit again."""


class Message(NamedTuple):
    """A record as Faust delivers it; ``timestamp`` in seconds."""

    topic: str
    partition: int
    offset: int
    timestamp: float
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    generation_id: int


class Row(NamedTuple):
    """A record of the changelog as Faust delivers it."""

    message: Record


class Application(Protocol):
    """What a runtime is made for: the broker, and how records arrive there."""

    broker: MemoryBroker
    chance: random.Random
    failures: bool

    def on_its_way(self, sending: Coroutine[Any, Any, None]) -> "asyncio.Task[None]": ...

    def crashes(self, where: str, share: float) -> bool:
        """Whether the process that asks ends at this point."""
        ...


class Consumer(MemorySource):
    """A member of the judge's group. ``generation``: how often its partitions changed; ``fetched``: the generation in
    which the newest records were fetched."""

    generation = fetched = 0

    def _fetch(self, max_records: int) -> dict[Partition, list[Record]]:
        self.fetched = self.generation
        return super()._fetch(max_records)


class MemoryRuntime:
    """The judge's group, table and timers. ``data``: rows by key, of all partitions that were ever followed here."""

    def __init__(
        self,
        application: Application,
        settings: Settings,
        keep: Callable[[Iterable[Any], Any], Iterable[Any]],
        recovered: Callable[[], Awaitable[None]],
        revoked: Callable[..., Awaitable[None]],
    ) -> None:
        self._application, self._broker, self._chance = application, application.broker, application.chance
        self._topic = settings.topics.profiles
        self.name = faust.changelog_topic(settings.kafka)
        self._keep, self._recovered, self._revoked = keep, recovered, revoked
        self.source = Consumer(self._broker, [self._topic], faust.app_id(settings.kafka))
        self.data: MutableMapping[bytes, bytes] = {}
        self.partitions: set[int] = set()
        self.rebalancing = False
        self._followed: dict[int, int] = {}  # next offset of each partition of the changelog
        self._work: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._rows: dict[asyncio.Task[None], None] = {}  # on their way, in order
        self._set_begins: Callable[[Mapping[int, int]], None] = lambda _: None
        self._crashed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    def is_current(self, message: Message) -> bool:
        return message.generation_id == self.source.generation

    def run_for_each_message(self, work: Callable[[Any], Coroutine[Any, Any, None]]) -> None:
        async def consume() -> None:
            while True:
                for place, records in (await self.source.poll(POLL_MS, MOST_RECORDS)).items():
                    for r in records:
                        await work(
                            Message(place.topic, place.partition, r.offset, r.timestamp_ms / 1000, r.key, r.value,
                                    r.headers, self.source.fetched)
                        )  # fmt: skip

        self._work.append(consume)

    def run_every(self, seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
        async def repeat() -> None:
            while True:
                await asyncio.sleep(seconds)
                await work()

        self._work.append(repeat)

    async def start(self, set_begins: Callable[[Mapping[int, int]], None]) -> None:
        self._set_begins = set_begins
        await self.source.start(self)
        for work in self._work:
            self._spawn(work())

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Called by the broker, within ``start`` and at each rebalance."""
        self.source.generation += 1
        self.partitions = {place.partition for place in partitions}
        self._spawn(self._recover(self.source.generation))

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Called by the broker."""
        self.rebalancing = True
        self.source.generation += 1

    async def _recover(self, generation: int) -> None:
        """Reads the changelog to its end, seeks to the commits, and lets the judge restart from the table."""
        self.rebalancing = True
        await self._revoked()
        while not self._broker.available:  # noqa: ASYNC110 - the broker has no event for it
            await asyncio.sleep(AWAY_SECONDS)
        self._read_changelog()
        await asyncio.sleep(0)
        if generation != self.source.generation:
            return
        begins = {}
        for number in sorted(self.partitions):
            place = Partition(self._topic, number)
            committed = await self.source.committed(place)
            begins[number] = self._broker.log(place).first if committed is None else committed
        if generation != self.source.generation:
            return
        self._set_begins(begins)
        for number, begin in begins.items():
            place = Partition(self._topic, number)
            self.source.seek(place, begin + self._ahead(place, begin))
            self.source.resume([place])
        self.rebalancing = False
        await self._recovered()

    def _ahead(self, place: Partition, begin: int) -> int:
        """How many records the consumer skips, as Faust's does when it fetched them before a rebalance."""
        skips = self._application.failures and self._chance.random() < 0.3
        return min(self._chance.randint(1, SKIPPED), self._broker.log(place).end - begin) if skips else 0

    def _read_changelog(self) -> None:
        for number in range(self._broker.partitions(self.name)):
            log = self._broker.log(Partition(self.name, number))
            batch = [Row(record) for record in log.read(self._followed.get(number, 0), 1 << 62)]
            self._followed[number] = log.end
            for row in self._keep(batch, self.data):
                assert row.message.key is not None
                assert row.message.value is not None
                self.data[row.message.key] = row.message.value

    async def wait_for_crash(self) -> BaseException:
        return await asyncio.shield(self._crashed)

    async def stop(self, timeout_seconds: float) -> None:
        self.kill()
        await self.source.stop()

    def kill(self) -> None:
        """Ends everything at once, as the end of the process does. Rows that are on their way arrive or are lost."""
        for task in self._tasks:
            task.cancel()
        for row in list(self._rows):
            if self._chance.random() < 0.5:
                row.cancel()

    async def commit(self, offsets: Mapping[int, int]) -> bool:
        if self.rebalancing:
            return False
        try:
            await self.source.commit({Partition(self._topic, number): offset for number, offset in offsets.items()})
        except BrokerError:
            return False
        return True

    async def seek(self, partition: int, offset: int) -> None:
        place = Partition(self._topic, partition)
        if partition in self.partitions and not self.rebalancing:
            self.source.seek(place, offset)

    def send_row(self, partition: int, key: bytes, value: bytes) -> Awaitable[None]:
        if self._application.crashes("crash at row", 0.25):
            return asyncio.create_task(self._lost())
        row = self._application.on_its_way(self._append(OutRecord(self.name, key, value, partition=partition)))
        self._rows[row] = None
        row.add_done_callback(self._arrived)
        return row

    def _arrived(self, row: "asyncio.Task[None]") -> None:
        del self._rows[row]

    async def _lost(self) -> None:
        """The process ends while the row is on its way, after some commits."""
        await asyncio.sleep(3.0 * self._chance.random())
        raise Crash

    async def _append(self, row: OutRecord) -> None:
        while not self._broker.available:  # noqa: ASYNC110 - the broker has no event for it
            await asyncio.sleep(AWAY_SECONDS)
        self._broker.append([row])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self._crashed.done():
            self._crashed.set_result(error)

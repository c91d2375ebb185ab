"""Which messages the judge's shell judges, on a runtime without Kafka: each record once and in order."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import msgspec
import pytest

from detectors.features import UnitKey
from detectors.profiles import SCHEMA, Epoch, Profile
from stream.judge.shell import app as shell
from stream.judge.shell.app import JudgeApp
from stream.metrics.registry import Metrics
from stream.settings.settings import Settings
from stream.topics import keys
from tests.judge.shell.test_app import PARTITIONS, Clock, Desk, Sink

UNIT = UnitKey("a", "1", None)
HOME = keys.model_partition("a", PARTITIONS)


class Message(NamedTuple):
    offset: int
    value: bytes | None
    generation_id: int
    topic: str = "driftline-profiles"
    partition: int = HOME
    timestamp: float = 0.0
    key: bytes | None = b"a"
    headers: tuple[tuple[str, bytes], ...] = ()


class Runtime:
    """The group and the table in generation ``generation``. ``sought``: offsets by partition."""

    name = "changelog"

    def __init__(self, application: Any, settings: Settings, keep: Any, recovered: Any, revoked: Any) -> None:
        self.recovered, self.revoked = recovered, revoked
        self.data: dict[bytes, bytes] = {}
        self.partitions, self.rebalancing = set(range(PARTITIONS)), False
        self.generation = 1
        self.sought: dict[int, int] = {}
        self.every: dict[str, Callable[[], Awaitable[None]]] = {}

    def is_current(self, message: Message) -> bool:
        return message.generation_id == self.generation

    def run_for_each_message(self, work: Any) -> None:
        self.deliver = work

    def run_every(self, seconds: float, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self.every[name] = work

    async def start(self, set_begins: Callable[[Mapping[int, int]], None]) -> None:
        self.set_begins = set_begins

    async def assign(self, begin: int) -> None:
        """A rebalance after which the partition is read from ``begin``."""
        await self.revoked()
        self.generation += 1
        self.set_begins({HOME: begin})
        await self.recovered()

    async def seek(self, partition: int, offset: int) -> None:
        self.sought[partition] = offset

    async def wait_for_crash(self) -> BaseException:
        return await asyncio.Future()

    def send_row(self, partition: int, key: bytes, value: bytes) -> Awaitable[object]:
        acknowledged: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(None)
        return acknowledged

    async def commit(self, offsets: Mapping[int, int]) -> bool:
        return True

    async def stop(self, timeout_seconds: float) -> None: ...


class Running:
    """The judge's shell with a desk that keeps what it was given."""

    def __init__(self) -> None:
        self.desk, self.failures = Desk(), list[BaseException]()
        self.app = JudgeApp(Settings(), self.desk, Sink(), Clock(), Metrics(), self.failures.append, None)
        self.runtime: Any = self.app._faust

    async def deliver(self, *offsets: int, generation: int | None = None) -> None:
        for offset in offsets:
            now = offset + 1
            profile = Profile(SCHEMA, *UNIT, "inference-events", 0, Epoch(None, "s", 0), now, now, now, [])
            generation = self.runtime.generation if generation is None else generation
            await self.runtime.deliver(Message(offset, msgspec.json.encode(profile), generation))

    @property
    def judged(self) -> list[int]:
        return [next_offset - 1 for _, next_offset in self.desk.seen]


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(shell.faust, "Runtime", Runtime)
    made = Running()
    await made.app.start()
    yield made
    await made.app.stop(1.0)
    assert made.failures == []


async def test_nothing_is_judged_before_the_table_is_restored(running: Running) -> None:
    await running.deliver(0)
    assert running.judged == []
    await running.runtime.assign(0)
    await running.deliver(0, 1)
    assert running.judged == [0, 1]


async def test_a_message_of_before_a_rebalance_is_not_judged(running: Running) -> None:
    """It is delivered again after those that precede it."""
    await running.runtime.assign(0)
    await running.deliver(0, 1)
    before = running.runtime.generation
    await running.runtime.assign(2)
    await running.deliver(2, generation=before)
    assert running.judged == [0, 1]
    await running.deliver(2, 3)
    assert running.judged == [0, 1, 2, 3]


async def test_after_a_rebalance_records_that_were_skipped_are_sought_and_judged_first(running: Running) -> None:
    await running.runtime.assign(0)
    await running.deliver(0, 1)
    await running.runtime.assign(1)
    await running.deliver(4, 5)
    assert running.judged == [0, 1]
    await running.runtime.every["tick"]()
    assert running.runtime.sought == {HOME: 1}
    await running.deliver(1, 2)
    assert running.judged == [0, 1, 1, 2]


async def test_no_record_of_a_partition_is_judged_until_it_is_known_where_it_is_read_again(running: Running) -> None:
    await running.runtime.assign(0)
    await running.deliver(0)
    await running.runtime.revoked()
    await running.runtime.recovered()
    await running.deliver(1)
    assert running.judged == [0]

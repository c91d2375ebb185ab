"""A runner over the in-process broker, with helpers for its tests."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
import orjson

from detectors.columns import Floats
from detectors.profiles import Profile
from detectors.reference import reference as references
from detectors.reference.builder import build_reference
from stream.backends.memory.broker import MemoryBroker
from stream.backends.memory.clients import MemorySink, MemorySource, MemoryTableReader
from stream.backends.ports import TableReader
from stream.observe.observer import Observer
from stream.observe.shell.gate import SchemaSource
from stream.observe.shell.label_reader import LabelReader
from stream.observe.shell.runner import Runner
from stream.observe.shell.settings import observe_settings
from stream.settings.settings import Settings
from stream.topics import marks
from stream.topics.record import OutRecord

DEADLINE = 30.0
START_MS = 1_763_700_000_000


class StillClock:
    """A wall clock that changes only when it is set."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        return self.ms


class Meter:
    """Telemetry that keeps the runner's measurements."""

    def __init__(self) -> None:
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.errors: Counter[str] = Counter()
        self.limits: Counter[str] = Counter()
        self.interruptions: Counter[tuple[str, str]] = Counter()
        self.written: Counter[str] = Counter()
        self.labels: Counter[tuple[str, str]] = Counter()

    def counted(self, model: str, outcome: str, count: int) -> None:
        self.outcomes[model, outcome] += count

    def staged(self, stage: str, seconds: float) -> None:
        assert seconds >= 0

    def aged(self, models: Sequence[str], rows: Sequence[int], seconds: Floats) -> None:
        assert len(seconds)

    def published(self, topic: str, count: int) -> None:
        self.written[topic] += count

    def error(self, component: str) -> None:
        self.errors[component] += 1

    def rebalanced(self) -> None: ...

    def limited(self, limit: str, count: int) -> None:
        self.limits[limit] += count

    def interrupted(self, topic: str, kind: str) -> None:
        self.interruptions[topic, kind] += 1

    def labelled(self, model: str, outcome: str, count: int) -> None:
        self.labels[model, outcome] += count

    def label_delayed(self, model: str, seconds: Floats) -> None:
        assert seconds.min() >= 0


def event(number: int, model: str = "fraud") -> bytes:
    return orjson.dumps(
        {
            "id": str(number),
            "model": model,
            "version": "1",
            "ts": START_MS + 10 * number,
            "features": {"amount": (number * 7919) % 1000 / 10, "country": "DE" if number % 3 else "FR"},
            "prediction": number % 2,
        }
    )


def events(count: int, partitions: int, topic: str = "inference-events", first: int = 0) -> list[OutRecord]:
    """Events of two models, spread over the partitions."""
    return [
        OutRecord(topic, None, event(n, ("fraud", "churn")[n % 5 == 0]), partition=n % partitions)
        for n in range(first, first + count)
    ]


def reference() -> OutRecord:
    rows = [(n * 7919) % 1000 / 10 for n in range(2000)]
    built = build_reference("fraud", "1", {"amount": rows, "country": ["DE", "DE", "FR", "DE"] * 500})
    return OutRecord("driftline-references", b"fraud/1", references.encode(built))


def make_broker(
    settings: Settings, partitions: int = 2, seed: int = 0, clock: StillClock | None = None
) -> MemoryBroker:
    """A broker with driftline's topics. Without ``clock`` the times of records are before those of all events."""
    broker = MemoryBroker(seed, clock=clock)
    topics = settings.topics
    for name in topics.event_names:
        broker.create_topic(name, partitions)
    broker.create_topic(topics.checkpoints, partitions)
    for name in (topics.references, topics.actions, topics.profiles, topics.dead_letters):
        broker.create_topic(name, 3)
    return broker


class Service:
    """The observe half of one worker. ``labels``: it reads label topics too."""

    def __init__(
        self,
        broker: MemoryBroker,
        settings: Settings,
        clock: StillClock | None = None,
        tables: Callable[[MemoryBroker], TableReader] = MemoryTableReader,
        *,
        labels: bool = False,
        schemas: SchemaSource | None = None,
        sink: MemorySink | None = None,
    ) -> None:
        self.broker = broker
        self.source = MemorySource(broker, settings.topics.event_names)
        self.meter = Meter()
        self.stop = asyncio.Event()
        self.clock = clock or StillClock()
        observer = Observer(observe_settings(settings))
        open_table = lambda: tables(broker)  # noqa: E731
        self.runner = Runner(
            settings,
            observer,
            self.source,
            sink or MemorySink(broker),
            open_table,
            self.clock,
            self.meter,
            LabelReader(settings.topics.labels, open_table, observer, self.meter) if labels else None,
            schemas=schemas,
        )
        self.task = asyncio.create_task(self.runner.run(self.stop))

    @property
    def read(self) -> int:
        return sum(self.meter.outcomes.values())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for the condition. Raises the runner's error."""
        deadline = time.monotonic() + DEADLINE
        while not condition():
            if self.task.done():
                self.task.result()
                raise AssertionError("the runner ended by itself")
            assert time.monotonic() < deadline, f"not within {DEADLINE} s: {self.runner.waiting_for}"
            await asyncio.sleep(0.002)

    async def caught_up(self) -> None:
        await self.until(lambda: self.runner.ready and bool(self.runner.lags) and not any(self.lags()))

    def lags(self) -> Sequence[bool]:
        return [lag != 0 for lag in self.runner.lags.values()]

    async def end(self) -> None:
        """Ends the worker as SIGTERM does."""
        self.stop.set()
        await asyncio.wait_for(self.task, DEADLINE)


def newest_profiles(broker: MemoryBroker, topic: str = "driftline-profiles") -> dict[bytes, Profile]:
    """For each shard the profile that contains all others."""
    found: dict[bytes, Profile] = {}
    for _, record in broker.records(topic):
        assert record.key is not None
        assert record.value is not None
        if record.key.startswith(marks.KEY):
            continue
        profile = msgspec.json.decode(record.value, type=Profile)
        if record.key not in found or profile.next_offset >= found[record.key].next_offset:
            found[record.key] = profile
    return found

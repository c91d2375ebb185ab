"""Checkpoints are written in the order in which a crash at any point loses nothing: each part waits for the one before.

The order: outputs, units, manifest; then the commit, and the profiles of epochs that the checkpoint holds.
"""

import asyncio
from collections.abc import Sequence

import pytest

from stream.backends.memory.broker import MemoryBroker
from stream.backends.memory.clients import MemorySink
from stream.observe.shell import saver
from stream.settings.settings import Settings
from stream.topics import marks
from stream.topics.record import OutRecord
from tests.observe.shell.service import START_MS, Service, StillClock, events, make_broker

SETTINGS = Settings(checkpoint_interval_seconds=0.1)

PARTS = ("dead letters", "units", "manifest", "profiles")


def part_of(record: OutRecord) -> str:
    """Which part of the order a record is; marks are none."""
    key = record.key or b""
    if record.topic == SETTINGS.topics.checkpoints:
        return "manifest" if key.startswith(b"manifest/") else "units"
    if record.topic == SETTINGS.topics.dead_letters:
        return "dead letters"
    return "marks" if key.startswith(marks.KEY) else "profiles"


class Holding(MemorySink):
    """A sink in which the records of some parts are on their way until ``release``. ``there``: all that arrived."""

    def __init__(self, broker: MemoryBroker, *held: str) -> None:
        super().__init__(broker)
        self.there: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.asked: set[str] = set()
        for part in held:
            self.hold(part)

    def hold(self, part: str) -> None:
        self.held[part] = asyncio.Event()
        self.asked.discard(part)

    def release(self, part: str) -> None:
        self.held.pop(part).set()

    async def send(self, records: Sequence[OutRecord]) -> None:
        parts = [part_of(record) for record in records]
        for part in dict.fromkeys(parts):
            if part in self.held:
                self.asked.add(part)
                await self.held[part].wait()
        await super().send(records)
        self.there += parts


@pytest.mark.parametrize("held", PARTS[:-1])
async def test_each_part_of_a_checkpoint_waits_until_the_one_before_is_acknowledged(held: str) -> None:
    broker, clock = make_broker(SETTINGS), StillClock()
    broker.append([*events(40, 2), OutRecord("inference-events", None, b"rubbish", partition=0)])
    broker.append(events(40, 2, first=1_000))  # later, so that slots end
    sink = Holding(broker, held)
    service = Service(broker, SETTINGS, clock, sink=sink)
    await service.until(lambda: bool(sink.asked))
    later = PARTS[PARTS.index(held) + 1 :]
    for _ in range(3 if held != "dead letters" else 0):  # the loop waits for dead letters, and goes on otherwise
        clock.ms += 5_000  # whatever is due by wall time comes
        now_ms = clock.ms
        await service.until(lambda now_ms=now_ms: service.runner.turned_at_ms == now_ms)  # type: ignore[misc]
    for _ in range(20):
        await asyncio.sleep(0)
    assert not set(later) & set(sink.there)
    assert not any(broker.group("driftline").offsets.values())
    sink.release(held)
    await service.until(lambda: set(PARTS) <= set(sink.there))
    await service.end()
    assert sum(broker.group("driftline").offsets.values()) == 81


async def test_a_checkpoint_that_changes_no_unit_waits_for_its_dead_letters_too() -> None:
    settings = Settings(checkpoint_interval_seconds=0.001)
    broker = make_broker(settings)
    broker.append([OutRecord("inference-events", None, b"rubbish", partition=0)])
    sink = Holding(broker, "dead letters")
    service = Service(broker, settings, sink=sink)
    await service.until(lambda: bool(sink.asked))
    for _ in range(20):
        await asyncio.sleep(0)
    assert sink.there.count("manifest") == 0
    sink.release("dead letters")
    await service.until(lambda: "manifest" in sink.there)
    await service.end()


async def test_a_units_record_waits_for_the_profiles_of_the_slots_that_it_has_handed_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They came after the checkpoint had begun, while the record of another unit was on its way."""
    monkeypatch.setattr(saver, "BATCH_BYTES", 1)
    clock = StillClock()
    broker = make_broker(SETTINGS, 1, clock=clock)
    sink = Holding(broker)
    service = Service(broker, SETTINGS, clock, sink=sink)

    def publish(first: int) -> None:
        clock.ms = START_MS + 10 * first + 1_000
        broker.append(events(40, 1, first=first))

    publish(0)
    await service.until(lambda: {"manifest", "profiles"} <= set(sink.there))
    await service.caught_up()
    sink.hold("units")
    publish(1_000)
    await service.until(lambda: "units" in sink.asked)
    sink.hold("profiles")
    publish(2_000)
    await service.until(lambda: "profiles" in sink.asked)
    before = sink.there.count("units")
    sink.release("units")
    for _ in range(20):
        await asyncio.sleep(0)
    assert sink.there.count("units") == before + 1
    sink.release("profiles")
    await service.until(lambda: sink.there.count("units") > before + 1)
    await service.end()

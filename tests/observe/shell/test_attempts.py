"""What is noted of records that are about to be read, and which record is left out after processes ended."""

import pytest

from stream.backends.memory.broker import MemoryBroker
from stream.backends.memory.clients import MemorySource
from stream.observe.shell import attempts
from stream.observe.shell.attempts import LEFT, Attempts
from stream.topics.record import UNREADABLE, Partition, Record
from tests.backends.contract import Listener
from tests.observe.shell.service import Meter

PLACES = [Partition("events", number) for number in range(2)]
HERE, THERE = PLACES


class Process:
    """A process that reads through one ``Attempts``. It ends when it is told, and leaves its notes on the broker."""

    def __init__(self, broker: MemoryBroker, seconds: float = 1_000.0) -> None:
        self.source, self.meter = MemorySource(broker, ["events"]), Meter()
        self.attempts = Attempts(self.source, seconds, self.meter)
        self._broker = broker

    async def start(self) -> "Process":
        await self.source.start(Listener())
        for place in PLACES:
            await self.attempts.begin(place)
        return self

    async def read(self, first: int, last: int, place: Partition = HERE) -> list[Record]:
        """Reads records up to ``last``, however they are admitted; returns them as they were admitted."""
        found: list[Record] = []
        while first <= last:
            chunk = await self.attempts.admit(place, [Record(n, 0, None, b"%d" % n) for n in range(first, last + 1)])
            found += chunk
            first = chunk[-1].offset + 1
        return found

    async def end_at(self, offset: int, place: Partition = HERE) -> None:
        """Ends without a word while it reads the record at ``offset``, after all before it."""
        await self.read(0, offset - 1, place)
        await self.attempts.admit(place, [Record(n, 0, None, b"") for n in range(offset, offset + 10)])
        self._broker.kill(self.source)

    async def leave(self) -> None:
        await self.attempts.leave(PLACES)
        await self.source.stop()

    def note(self, place: Partition = HERE) -> str:
        return self._broker.group(self.source.group_id).notes[place]


@pytest.fixture
def broker() -> MemoryBroker:
    found = MemoryBroker()
    found.create_topic("events", 2)
    return found


def left_out(records: list[Record]) -> list[int]:
    return [record.offset for record in records if UNREADABLE in dict(record.headers)]


async def test_a_worker_that_ended_in_order_is_followed_by_one_that_notes_nothing(broker: MemoryBroker) -> None:
    first = await Process(broker).start()
    assert first.note() == ""
    assert len(await first.attempts.admit(HERE, [Record(n, 0, None, b"") for n in range(50)])) == 50
    assert first.note() == ""
    await first.leave()
    assert first.note() == LEFT
    again = await Process(broker).start()
    assert not again.attempts.careful(HERE)
    assert again.note() == ""


async def test_a_record_at_which_two_processes_ended_with_a_note_of_it_is_left_out(broker: MemoryBroker) -> None:
    for end in range(3):
        process = await Process(broker).start()
        assert not left_out(await process.read(0, 6))
        await process.end_at(7)
        assert process.note() == ("" if end == 0 else f"[7,8,{end}]")
    process = await Process(broker).start()
    found = await process.read(0, 20)
    assert left_out(found) == [7]
    assert process.attempts.drain_left_out()
    assert not process.attempts.drain_left_out()
    assert process.attempts.original(HERE, found[7]) == Record(7, 0, None, b"7")
    assert process.meter.errors == {"observer.left_out": 1}


async def test_processes_that_ended_at_different_records_leave_nothing_out(broker: MemoryBroker) -> None:
    for offset in (7, 9, 4, 12, 7, 3, 7):
        process = await Process(broker).start()
        await process.end_at(offset)
    process = await Process(broker).start()
    assert left_out(await process.read(0, 6)) == []


async def test_after_the_first_records_whole_chunks_are_noted_and_read_one_by_one_by_the_next_process(
    broker: MemoryBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "SINGLE", 5)
    await (await Process(broker).start()).end_at(8)
    second = await Process(broker).start()
    await second.end_at(8)
    assert second.note() == "[8,18,0]"
    third = await Process(broker).start()
    assert len(await third.attempts.admit(HERE, [Record(n, 0, None, b"") for n in range(30)])) == 8
    await third.end_at(11)
    assert third.note() == "[11,12,1]"
    await (await Process(broker).start()).end_at(11)
    assert left_out(await (await Process(broker).start()).read(0, 30)) == [11]


async def test_a_note_is_cleared_when_its_records_are_read_whatever_is_read_next(broker: MemoryBroker) -> None:
    await (await Process(broker).start()).end_at(3)
    process = await Process(broker).start()
    await process.attempts.admit(HERE, [Record(3, 0, None, b"")])
    await process.attempts.admit(THERE, [Record(5, 0, None, b"")])
    assert (process.note(HERE), process.note(THERE)) == ("", "[5,6,1]")
    await process.attempts.rest()
    assert process.note(THERE) == ""


async def test_a_partition_that_comes_back_to_its_process_is_not_read_carefully(broker: MemoryBroker) -> None:
    process = await Process(broker).start()
    await process.attempts.begin(HERE)
    assert not process.attempts.careful(HERE)


async def test_reading_is_careful_for_a_time_and_beyond_only_up_to_the_end_of_a_note(broker: MemoryBroker) -> None:
    await (await Process(broker).start()).end_at(3)
    await (await Process(broker).start()).end_at(3)
    process = await Process(broker, seconds=0.0).start()
    assert [record.offset for record in await process.attempts.admit(HERE, [Record(3, 0, None, b"")])] == [3]
    assert process.note() == "[3,4,2]"
    chunk = [Record(n, 0, None, b"") for n in range(4, 30)]
    assert await process.attempts.admit(HERE, chunk) == chunk
    assert process.note() == ""
    assert not process.attempts.careful(HERE)

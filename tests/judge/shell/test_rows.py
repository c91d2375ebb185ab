"""Output, rows and commits in the order in which a crash at any point loses nothing."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence

import pytest

from detectors.errors import BrokerError
from detectors.features import UnitKey
from stream.backends.sending import Sender
from stream.judge.shell import table
from stream.judge.shell.rows import Looks, Rows
from stream.metrics.registry import Metrics
from stream.topics import keys
from stream.topics.record import OutRecord

PARTITIONS = 3
UNIT = UnitKey("a", "1", None)
HOME = keys.model_partition("a", PARTITIONS)
OUTPUT = OutRecord("drift-events", b"a", b"opened")


class Units:
    """The judge's units by name, each with a number as its state."""

    def __init__(self) -> None:
        self.states: dict[UnitKey, bytes] = {}
        self.aside: list[OutRecord] = []

    @property
    def units(self) -> set[UnitKey]:
        return set(self.states)

    def drain(self) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        found, self.aside = self.aside, []
        return found, []

    def snapshot(self, unit: UnitKey) -> bytes:
        return self.states[unit]

    def restore(self, unit: UnitKey, blob: bytes) -> None:
        self.states[unit] = blob

    def forget(self, unit: UnitKey) -> None:
        del self.states[unit]


class Broker:
    """A sink and a changelog. ``steps``: what arrived, in order. Rows are acknowledged when ``acknowledge`` is set."""

    name = "changelog"

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.data: dict[bytes, bytes] = {}
        self.acknowledge = asyncio.Event()
        self.away = False

    async def send(self, records: Sequence[OutRecord]) -> None:
        if self.away:
            raise BrokerError("away")
        self.steps += [record.topic for record in records]

    def send_row(self, partition: int, key: bytes, value: bytes) -> Awaitable[object]:
        self.steps.append("row")
        return asyncio.create_task(self.acknowledge.wait())


class Clock:
    def now_ms(self) -> int:
        return 0


class Shell:
    """Open rows of one unit."""

    def __init__(self) -> None:
        self.units, self.broker = Units(), Broker()
        self.rows = Rows(self.units, Sender(self.broker, Metrics(), "judge.send"), self.broker, Clock())

    async def open(self, partitions: set[int]) -> None:
        await self.rows.restart(lambda: partitions, PARTITIONS)

    def judge(self, offset: int, records: Sequence[OutRecord] = ()) -> None:
        """Judges a profile without a slot."""
        self.units.states[UNIT] = str(offset).encode()
        self.rows.start_offset(HOME, offset)
        self.rows.enqueue_judged(UNIT, HOME, offset, 0, records)


@pytest.fixture
async def shell() -> Shell:
    made = Shell()
    await made.open({HOME})
    return made


async def turns() -> None:
    """Lets every task go as far as it can without an acknowledgement."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_profile_may_be_committed_only_when_its_row_is_acknowledged(shell: Shell) -> None:
    shell.judge(4)
    assert shell.rows.offsets_to_commit() == {}
    writing = asyncio.create_task(shell.rows.flush_all())
    await turns()
    assert shell.broker.steps == ["row"]
    assert shell.rows.offsets_to_commit() == {}
    shell.broker.acknowledge.set()
    await writing
    assert shell.rows.offsets_to_commit() == {HOME: 5}


async def test_a_profile_that_waits_is_not_committed_with_a_row_of_its_unit(shell: Shell) -> None:
    shell.broker.acknowledge.set()
    shell.rows.start_offset(HOME, 4)
    shell.rows.hold(UNIT, HOME, 4, 0)
    shell.units.states[UNIT] = b"quarantined"
    shell.rows.mark_changed([UNIT])
    await shell.rows.flush_all()
    assert shell.broker.steps == ["row"]
    assert shell.rows.offsets_to_commit() == {}
    shell.rows.enqueue_looks({UNIT: Looks([4], with_output=False)}, [])
    await shell.rows.flush_all()
    assert shell.rows.offsets_to_commit() == {HOME: 5}


async def test_output_is_acknowledged_before_the_row_that_contains_it_is_written(shell: Shell) -> None:
    shell.broker.acknowledge.set()
    shell.judge(4, [OUTPUT])
    await shell.rows.flush_due()
    assert shell.broker.steps == ["drift-events", "row"]


async def test_what_a_look_puts_out_has_its_row_in_the_same_batch(shell: Shell) -> None:
    shell.broker.acknowledge.set()
    shell.rows.start_offset(HOME, 4)
    shell.rows.hold(UNIT, HOME, 4, 0)
    shell.units.states[UNIT] = b"4"
    shell.rows.enqueue_looks({UNIT: Looks([4], with_output=True)}, [OUTPUT])
    await shell.rows.flush_due()
    assert shell.broker.steps == ["drift-events", "row"]


async def test_output_that_is_not_acknowledged_lets_nothing_be_written_or_committed(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.backends.sending.FIRST_PAUSE_SECONDS", 0.0)
    shell.broker.away = True
    shell.broker.acknowledge.set()
    shell.rows.start_offset(HOME, 3)
    shell.rows.enqueue_without_row(HOME, 3, [OutRecord("dead-letters", b"", b"")])
    shell.judge(4, [OUTPUT])
    with pytest.raises(BrokerError):
        await shell.rows.flush_all()
    assert shell.broker.steps == []
    assert shell.rows.offsets_to_commit() == {}


async def test_the_output_of_references_and_requests_is_sent(shell: Shell) -> None:
    shell.units.aside = [OUTPUT]
    await shell.rows.flush_due()
    assert shell.broker.steps == ["drift-events"]


async def test_after_a_rebalance_the_units_are_those_of_the_rows_of_this_workers_partitions() -> None:
    shell = Shell()
    models = {keys.model_partition(name, PARTITIONS): name for name in map(str, range(20))}
    for number, name in models.items():
        unit = UnitKey(name, "1", None)
        shell.broker.data[keys.unit_key(unit)] = table.encode_stored(unit, number, name.encode(), (0, 0))
    assert len(models) == PARTITIONS
    await shell.open({0, 1})
    assert shell.units.states == {UnitKey(models[n], "1", None): models[n].encode() for n in (0, 1)}
    shell.rows.close()
    shell.units.states[UNIT] = b"without a row"
    await shell.open({1, 2})
    assert shell.units.states == {UnitKey(models[n], "1", None): models[n].encode() for n in (1, 2)}

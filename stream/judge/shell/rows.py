"""Sends the judge's output and writes the rows of its table, in batches.

A row is written only after the output that precedes it is acknowledged. So no row holds output that was not sent, and
a restart repeats at most the output after the last row, under the same ids. Judging goes on while a batch is being
sent: its output waits for the next batch, so that a slow broker delays everything once and not every record.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import NamedTuple, Protocol

from detectors.errors import BrokerAway
from detectors.features import UnitKey
from stream.backends.ports import Clock
from stream.backends.sending import Sender
from stream.judge.shell import table
from stream.judge.shell.pending import Pending
from stream.topics import keys
from stream.topics.record import OutRecord

ROW_INTERVAL_MS = 5_000
"""A row of 20 features is about 50 KB: 1,000 changing units write 10 MB/s at this interval."""

ROWS_PER_BATCH = 250
"""Bounds the size of a batch. With one batch per tick, 1,000 changing units are written within ROW_INTERVAL_MS."""

WAITING_RECORDS = 1_000
"""Records that wait to be sent, beyond which no profile is judged: at 60 KB each, the size of a view, 60 MB."""

ACKNOWLEDGE_SECONDS = 60.0
"""A row that is not acknowledged after this time ends the process: its producer cannot be used any more."""


class Units(Protocol):
    """The judge's units, as rows need them."""

    @property
    def units(self) -> set[UnitKey]: ...

    def drain(self) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        """Returns the output since the last call that belongs to no profile or tick, and the units that it changed."""
        ...

    def snapshot(self, unit: UnitKey) -> bytes: ...

    def restore(self, unit: UnitKey, blob: bytes) -> None: ...

    def forget(self, unit: UnitKey) -> None: ...


class Looks(NamedTuple):
    """What was judged of a unit: offsets of its profiles, and whether there is output."""

    offsets: list[int]
    with_output: bool


class Changelog(Protocol):
    """The table in which the rows are kept, and its changelog topic."""

    @property
    def name(self) -> str: ...

    @property
    def data(self) -> MutableMapping[bytes, bytes]: ...

    def send_row(self, partition: int, key: bytes, value: bytes) -> Awaitable[object]:
        """Starts to write a row to a partition of the changelog; completes when it is acknowledged."""
        ...


class Rows:
    """Sends the output of the judge's units and writes their rows to the table. It starts closed: ``restart`` opens it,
    ``close`` closes it."""

    def __init__(self, units: Units, sender: Sender, changelog: Changelog, clock: Clock) -> None:
        self._units = units
        self._sender = sender
        self._changelog = changelog
        self._clock = clock
        self._pending = Pending()
        self._output: list[OutRecord] = []  # in order, not handed to the sender yet
        self._with_output: dict[UnitKey, None] = {}  # the units that produced it: their rows follow at once
        self._without_row: list[tuple[int, int]] = []  # partition and offset of records that need no row
        self._decided, self._room = asyncio.Event(), asyncio.Event()
        self._batch = asyncio.Lock()  # one batch is being sent, or everything restarts from the table
        self._row_bytes: dict[UnitKey, int] = {}
        self._closings = 0
        self.open = False

    @property
    def row_bytes(self) -> int:
        """Size of the units' rows as last written."""
        return sum(self._row_bytes.values())

    @property
    def sending(self) -> bool:
        """Whether a batch is being sent, or a restart is running."""
        return self._batch.locked()

    def close(self) -> None:
        """Stops sending and writing until ``restart`` is complete. A batch that is being sent is finished."""
        self.open = False
        self._closings += 1

    async def wait_for_room(self) -> None:
        """Returns when fewer than WAITING_RECORDS records wait, or when it is closed."""
        while self.open and len(self._output) >= WAITING_RECORDS:
            self._room.clear()
            await self._room.wait()

    def start_offset(self, partition: int, offset: int) -> None:
        """Notes that the record at ``offset`` is being processed."""
        self._pending.start_offset(partition, offset)

    def enqueue(self, records: Sequence[OutRecord]) -> None:
        """Enqueues the output of a tick, and views."""
        self._output += records
        self._decided.set()

    def enqueue_judged(
        self, unit: UnitKey, partition: int, offset: int, timestamp_ms: int, records: Sequence[OutRecord]
    ) -> None:
        """Enqueues the output of the profile at ``offset``. The unit's row follows with it, or by ROW_INTERVAL_MS if it
        has none."""
        self._pending.mark_changed(unit, partition, self._clock.now_ms(), offset)
        self._pending.mark_reached(unit, timestamp_ms, offset)
        if records:
            self._with_output[unit] = None
            self.enqueue(records)

    def hold(self, unit: UnitKey, partition: int, offset: int, timestamp_ms: int) -> None:
        """The profile at ``offset`` waits for other partitions of the events: no row holds it yet."""
        self._pending.hold(unit, partition, offset, timestamp_ms)

    def enqueue_looks(self, looks: Mapping[UnitKey, Looks], records: Sequence[OutRecord]) -> None:
        """Output of looks at profiles that were held; rows follow as with ``enqueue_judged``."""
        for unit, (offsets, with_output) in looks.items():
            self._pending.mark_judged(unit, offsets, self._clock.now_ms())
            if with_output:
                self._with_output[unit] = None
        if records:
            self.enqueue(records)

    def finish_offset(self, partition: int, offset: int) -> None:
        """The record at ``offset`` changes no unit and has no output of its own."""
        self._pending.finish_offsets(partition, [offset])

    def enqueue_without_row(self, partition: int, offset: int, records: Sequence[OutRecord]) -> None:
        """Enqueues ``records`` of the record at ``offset``, which changes no unit: it is done when they are
        acknowledged."""
        self._without_row.append((partition, offset))
        self.enqueue(records)

    def adopt(self, unit: UnitKey, partition: int) -> None:
        """Notes that the unit is judged, although no profile of it has come."""
        if unit not in self._pending.partitions:
            self._pending.restore_unit(unit, partition, (0, 0))

    def mark_changed(self, units: Iterable[UnitKey]) -> None:
        """Notes that these units changed without a profile."""
        for unit in units:
            self._pending.mark_changed(unit, self._pending.partitions[unit], self._clock.now_ms())

    async def wait_for_output(self) -> None:
        """Returns when something was enqueued since the last call."""
        await self._decided.wait()
        self._decided.clear()

    async def flush_due(self) -> None:
        """Sends the output; writes the rows of units with output, and a batch of those that are due."""
        await self._flush(lambda: self._pending.due(self._clock.now_ms() - ROW_INTERVAL_MS, ROWS_PER_BATCH))

    async def flush_all(self) -> None:
        """Sends the output and writes the row of every unit that is ahead of it."""
        await self._flush(lambda: self._pending.due(self._clock.now_ms(), len(self._pending)))

    def offsets_to_commit(self) -> dict[int, int]:
        """The offset to commit for each partition in which it has risen; empty while closed."""
        return self._pending.uncommitted if self.open else {}

    def confirm_commit(self, offsets: Mapping[int, int]) -> None:
        """Notes that the broker has acknowledged the commit of these offsets."""
        self._pending.confirm_commit(offsets)

    async def restart(self, partitions: Callable[[], set[int]], partition_count: int) -> None:
        """Restores the units of ``partitions`` from the table and opens, unless it is closed meanwhile.

        A batch that waits for the broker is finished first: it ends on the state that it began with. Everything after
        the rows is delivered again. Raises CheckpointError.
        """
        async with self._batch:
            before = self._closings
            await self._restore(partitions(), partition_count)
            self.open = before == self._closings

    async def _restore(self, partitions: set[int], partition_count: int) -> None:
        self._pending.clear()
        self._output, self._without_row = [], []
        self._with_output.clear()
        self._room.set()
        self._row_bytes.clear()
        for unit in list(self._units.units):
            self._units.forget(unit)
        for key, value in list(self._changelog.data.items()):
            stored = table.decode_stored(key, value)
            home = keys.model_partition(stored.unit.model, partition_count)
            if stored.partition in partitions and stored.partition == home:
                self._units.restore(stored.unit, stored.blob)
                self._pending.restore_unit(stored.unit, stored.partition, stored.reach)
                self._row_bytes[stored.unit] = len(value)
                await asyncio.sleep(0)  # a thousand of them take seconds

    async def _flush(self, due: Callable[[], Iterable[UnitKey]]) -> None:
        """Output is enqueued while the rows are encoded; it is sent with this batch, before the rows."""
        async with self._batch:
            if not self.open:
                return
            records, changed = self._units.drain()
            self.mark_changed(changed)
            self._output += records
            with_output, self._with_output = self._with_output, {}
            rows = []
            for unit in dict.fromkeys((*with_output, *due())):
                rows.append(self._row(unit))
                await asyncio.sleep(0)
            output, self._output = self._output, []
            without_row, self._without_row = self._without_row, []
            self._room.set()
            await self._sender.send(output)
            for partition, offset in without_row:
                self._pending.finish_offsets(partition, [offset])
            await self._write(rows)

    def _row(self, unit: UnitKey) -> "_Row":
        partition = self._pending.partitions[unit]
        value = table.encode_stored(unit, partition, self._units.snapshot(unit), self._pending.reach(unit))
        return _Row(unit, partition, value, self._pending.start_row(unit))

    async def _write(self, rows: Sequence["_Row"]) -> None:
        """Writes each row to its own partition: there is no message from which Faust could choose one."""
        writes = []
        for row in rows:
            key = keys.unit_key(row.unit)
            self._changelog.data[key] = row.value
            self._row_bytes[row.unit] = len(row.value)
            writes.append(self._changelog.send_row(row.partition, key, row.value))
        for row, written in zip(rows, writes, strict=True):
            try:
                await asyncio.wait_for(written, ACKNOWLEDGE_SECONDS)
            except TimeoutError:
                raise BrokerAway(f"{self._changelog.name}: no acknowledgement") from None
            self._pending.finish_offsets(row.partition, row.offsets)


class _Row(NamedTuple):
    """A row to be written. ``offsets``: those of the profiles that are in this row and in no earlier one."""

    unit: UnitKey
    partition: int
    value: bytes
    offsets: list[int]

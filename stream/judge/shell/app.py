"""The judge's shell: a Faust application that decodes profiles, asks the desk and sends what comes of it.

It decides nothing. A partition is committed only up to the first profile that is in no row of the table's changelog,
and a row is written only when what the judge said before it is acknowledged by the broker. Deciding does not wait for
that: what is said meanwhile goes with the next batch, so that a slow broker delays everything once, not every word.
So a restart repeats at most what followed the last row, under the same ids, and never begins beyond a profile that no
row contains: what an incident says depends on every profile before it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from detectors.errors import BrokerError, DriftlineError, FormatError
from detectors.features import UnitKey
from detectors.profiles import Profile
from stream.backends.ports import Clock, Output
from stream.judge.shell import faust, table
from stream.judge.shell.reading_order import Order
from stream.judge.shell.table import Pending
from stream.settings.settings import Settings
from stream.topics import keys
from stream.topics.record import OutRecord

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5

ROW_INTERVAL_MS = 5_000
"""A row of 20 features is about 50 KB: 1,000 changing units write 10 MB/s at this interval."""

COMMIT_SECONDS = 1.0

ROWS_PER_BATCH = 250
"""Bounds what one batch holds; with one a tick 1,000 changing units are all written within ROW_INTERVAL_MS."""

VIEWS_PER_TICK, VIEWS_AT_ONCE = 100, 5
"""A view of 20 features takes 2 ms to make: a tick's are made a few at a time, with everybody else in
between, and of 1,000 models that change all the time each is shown anew every five seconds."""

WAITING_RECORDS = 1_000
"""Said and not yet sent, beyond which no profile is judged: at 60 KB, a view's size, 60 MB."""

SEND_ATTEMPTS = 5
"""Each lasts up to kafka.request_timeout_ms inside the producer; with the pauses between, minutes of outage."""

FIRST_PAUSE_SECONDS = 0.2

ACKNOWLEDGE_SECONDS = 60.0
"""A row that is not acknowledged by then ends the process: its producer is of no more use."""


class Desk(Protocol):
    """The pure judge behind records that are ready to be sent."""

    @property
    def units(self) -> set[UnitKey]: ...

    def on_profile(self, profile: Profile, now_ms: int, offset: int) -> Sequence[OutRecord]: ...

    def on_tick(self, now_ms: int) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        """What to send, and which units changed."""
        ...

    def views_due(self, now_ms: int, most: int) -> Sequence[OutRecord]: ...

    def drain(self) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        """What was said since and belongs to no profile or tick, and which units changed by it."""
        ...

    def snapshot(self, unit: UnitKey) -> bytes: ...

    def restore(self, unit: UnitKey, blob: bytes) -> None: ...

    def forget(self, unit: UnitKey) -> None: ...


class Counters(Protocol):
    """What the shell counts."""

    def error(self, component: str) -> None: ...

    def published(self, topic: str, count: int) -> None: ...

    def rebalanced(self) -> None: ...


class JudgeApp:
    """Runs the Faust application in the loop that is running. ``failed`` is called once with what ended it."""

    def __init__(
        self,
        settings: Settings,
        desk: Desk,
        sink: Output,
        clock: Clock,
        counters: Counters,
        failed: Callable[[BaseException], None],
        application: Any,
    ) -> None:
        self._settings = settings
        self._desk = desk
        self._sink = sink
        self._clock = clock
        self._counters = counters
        self._failed = failed
        self._pending = Pending()
        self._order = Order()
        self._committed: dict[int, int] = {}
        self._count = 0
        self._said: list[OutRecord] = []  # in order, not handed to the sink yet
        self._spoken: dict[UnitKey, None] = {}  # who said it: their rows follow at once
        self._passed: list[tuple[int, int]] = []  # partition and offset of what needs no row
        self._decided, self._room = asyncio.Event(), asyncio.Event()
        self._step = asyncio.Lock()  # one batch is on its way, or everything starts from the table
        self._tasks: list[asyncio.Task[None]] = []
        self.ready = False
        self._revocations = 0
        self.turned_at_ms = clock.now_ms()
        self._row_bytes: dict[UnitKey, int] = {}
        self._app = application
        self._topic = faust.raw_topic(self._app, settings.topics.profiles)
        self._table = self._app.Table(
            faust.TABLE, key_type=bytes, value_type=bytes, partitions=None, on_recover=self._recovered
        )
        faust.filter_changelog(self._table, table.furthest)
        self._app.agent(self._topic, concurrency=1, name="judge")(self._agent)
        self._app.timer(TICK_SECONDS, name="tick")(self._tick)
        self._app.timer(COMMIT_SECONDS, name="commit")(self._commit)
        self._app.on_partitions_revoked.connect(self._revoked)
        self._worker = faust.embedded_worker(self._app)

    @property
    def topic(self) -> str:
        return self._settings.topics.profiles

    @property
    def partitions(self) -> set[int]:
        """Of the profiles topic, those that are this worker's."""
        return {tp.partition for tp in self._app.assignor.assigned_actives() if tp.topic == self.topic}

    @property
    def row_bytes(self) -> int:
        """Of the units that are this worker's, as last written."""
        return sum(self._row_bytes.values())

    async def start(self) -> None:
        """Joins the group; ``ready`` becomes true when the table is restored."""
        self._count = await self._sink.partitions(self.topic)
        faust.seek_from_beginning(self._app, self.topic, self._order.begin_at)
        try:
            await self._worker.start()
        except Exception as error:
            raise BrokerError(f"judge: cannot start: {error}") from error
        self._tasks = [asyncio.create_task(work()) for work in (self._watch_for_crash, self._write)]

    async def stop(self, deadline_seconds: float) -> None:
        """Writes what is ahead of its row, commits and leaves the group; each half gets half of the time."""
        half = deadline_seconds / 2
        with suppress(TimeoutError):
            async with asyncio.timeout(half):
                if self.ready and not self._app.rebalancing:
                    await self._leave()
        self.ready = False
        for task in self._tasks:
            task.cancel()
        stop = asyncio.ensure_future(self._worker.stop())
        _, late = await asyncio.wait((stop,), timeout=half)
        if late:
            stop.cancel()
            log.warning("the judge's application did not stop in %.0f s; leaving it", half)
        elif (error := stop.exception()) is not None:
            log.warning("the judge's application stopped with an error: %r", error)

    async def _leave(self) -> None:
        self._said += self._desk.views_due(self._clock.now_ms(), VIEWS_PER_TICK)
        try:
            await self._flush(self._pending.due(self._clock.now_ms(), limit=len(self._pending)))
            await self._commit()
        except DriftlineError as error:
            log.warning("the judge could not write its last rows: %s; they are made again after the start", error)

    async def _watch_for_crash(self) -> None:
        await self._worker.wait_until_stopped()
        reason = self._worker.crash_reason or self._app.crash_reason
        self._failed(reason or BrokerError("the judge's application stopped by itself"))

    async def _agent(self, stream: Any) -> None:
        async for event in stream.noack().events():
            self.turned_at_ms = self._clock.now_ms()
            await self._guarded(self._take(event.message))

    async def _tick(self) -> None:
        self.turned_at_ms = self._clock.now_ms()
        await self._guarded(self._look())

    async def _commit(self) -> None:
        """Beside the steps: it may wait for the broker, and what it says stays true."""
        offsets = self._pending.committable if self.ready else {}
        new = {n: offset for n, offset in offsets.items() if offset > self._committed.get(n, 0)}
        if new and await faust.commit(self._app, self.topic, new):
            self._committed.update(new)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Faust would go on with the next message after an exception: what is left here ends the process."""
        try:
            await work
        except Exception as error:
            self.ready = False
            self._counters.error("judge")
            self._failed(error)
            # Nothing after the failure may be judged or committed; the process is about to end.
            await asyncio.Event().wait()

    async def _take(self, message: Any) -> None:
        """Leaves what waited for its turn through a rebalance: it comes again, after all that is before it."""
        while self.ready and len(self._said) >= WAITING_RECORDS:
            self._room.clear()
            await self._room.wait()
        if not self.ready or message.generation_id != self._app.consumer_generation_id:
            return
        if not self._order.follows(message.partition, message.offset):
            return
        now_ms = self._clock.now_ms()
        self._pending.read(message.partition, message.offset)
        try:
            profile = None if message.value is None else table.decode_profile(message.value)
        except FormatError as error:
            self._counters.error("judge.decode")
            self._pass_on(message, [_dead_letter(self._settings.topics.dead_letters, message, str(error))])
            return
        if profile is None:
            self._pass_on(message, [])
            return
        home = keys.model_partition(profile.model, self._count)
        if home != message.partition:  # from before profiles lay by model, or before there were so many partitions
            self._pass_on(message, [OutRecord(self.topic, message.key, message.value, partition=home)])
            return
        records = self._desk.on_profile(profile, now_ms, message.offset)
        self._pending.touch(profile.unit, message.partition, now_ms, message.offset)
        self._pending.reach(profile.unit, round(1000 * message.timestamp), message.offset)
        if records:
            self._said += records
            self._spoken[profile.unit] = None
            self._decided.set()

    def _pass_on(self, message: Any, records: Sequence[OutRecord]) -> None:
        """The message needs no row; it is done when ``records`` are acknowledged."""
        self._said += records
        self._passed.append((message.partition, message.offset))
        self._decided.set()

    async def _look(self) -> None:
        if not self.ready or self._app.rebalancing:
            return
        for partition, offset in self._order.astray().items():
            await faust.seek(self._app, self.topic, partition, offset)
        now_ms = self._clock.now_ms()
        records, changed = self._desk.on_tick(now_ms)
        self._touch(changed)
        self._said += records
        self._decided.set()
        for _ in range(VIEWS_PER_TICK // VIEWS_AT_ONCE):
            views = self._desk.views_due(now_ms, VIEWS_AT_ONCE)
            if not views:
                return
            self._said += views
            self._decided.set()
            await asyncio.sleep(0)

    def _touch(self, units: Iterable[UnitKey]) -> None:
        for unit in units:
            self._pending.touch(unit, self._pending.partitions[unit], self._clock.now_ms())

    async def _write(self) -> None:
        """Of what is decided, one batch after the other: deciding goes on while a batch is on its way."""
        while True:
            await self._decided.wait()
            self._decided.clear()
            due = self._pending.due(self._clock.now_ms() - ROW_INTERVAL_MS, ROWS_PER_BATCH)
            await self._guarded(self._flush(due))

    async def _flush(self, due: Iterable[UnitKey]) -> None:
        """Writes the rows of who said something and of ``due``, but first sends what was said: what a row holds is in
        this batch or one before. Rows are made with breaks, in which more may be said, and goes out with it."""
        async with self._step:
            if not self.ready:
                return
            records, changed = self._desk.drain()
            self._touch(changed)
            self._said += records
            spoken, self._spoken = self._spoken, {}
            rows = []
            for unit in dict.fromkeys((*spoken, *due)):
                rows.append(self._row(unit))
                await asyncio.sleep(0)
            said, self._said = self._said, []
            passed, self._passed = self._passed, []
            self._room.set()
            await self._send(said)
            for partition, offset in passed:
                self._pending.done(partition, [offset])
            await self._write_rows(rows)

    def _row(self, unit: UnitKey) -> "_Row":
        partition = self._pending.partitions[unit]
        blob, reach = self._desk.snapshot(unit), self._pending.reached[unit]
        value = table.encode_stored(unit, partition, blob, reach)
        return _Row(unit, partition, value, self._pending.take(unit))

    async def _write_rows(self, rows: Sequence["_Row"]) -> None:
        """Upserts with the partition given, since there is no message that Faust could take it from."""
        writes = []
        for row in rows:
            key = keys.unit_key(row.unit)
            self._table.data[key] = row.value
            self._row_bytes[row.unit] = len(row.value)
            writes.append(self._table.send_changelog(row.partition, key, row.value))
        for row, sent in zip(rows, writes, strict=True):
            try:
                await asyncio.wait_for(sent, ACKNOWLEDGE_SECONDS)
            except TimeoutError:
                raise BrokerError(f"{faust.changelog_topic(self._settings.kafka)}: no acknowledgement") from None
            self._pending.done(row.partition, row.offsets)

    async def _send(self, records: Sequence[OutRecord]) -> None:
        """Returns when all are acknowledged. BrokerError when a broker away for minutes did not come back."""
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(1, SEND_ATTEMPTS + 1):
            if not records:
                return
            try:
                await self._sink.send(records)
            except BrokerError as error:
                self._counters.error("judge.send")
                if attempt == SEND_ATTEMPTS:
                    raise
                log.warning("the judge's output was not acknowledged, attempt %d: %s", attempt, error)
                await asyncio.sleep(pause)
                pause *= 2
            else:
                break
        for record in records:
            self._counters.published(record.topic, 1)

    async def _revoked(self, *_: Any, **__: Any) -> None:
        self.ready = False
        self._revocations += 1
        self._order.clear()
        self._counters.rebalanced()

    async def _recovered(self) -> None:
        """The table is complete: everything in memory starts again from it, and what follows is delivered again."""
        try:
            async with self._step:  # a batch that waits for the broker ends on the state that it began with
                before = self._revocations
                await self._start_from_table()
                self.ready = before == self._revocations  # else the next table is on its way
        except Exception as error:  # Faust would only note it in a task that nobody reads
            self._failed(error)

    async def _start_from_table(self) -> None:
        self._pending.clear()
        self._said, self._passed = [], []
        self._spoken.clear()
        self._room.set()
        self._committed.clear()
        self._row_bytes.clear()
        for unit in list(self._desk.units):
            self._desk.forget(unit)
        mine = self.partitions
        for key, value in list(self._table.data.items()):
            stored = table.decode_stored(key, value)
            if stored.partition in mine and stored.partition == keys.model_partition(stored.unit.model, self._count):
                self._desk.restore(stored.unit, stored.blob)
                self._pending.partitions[stored.unit] = stored.partition
                self._pending.reached[stored.unit] = stored.reach
                self._row_bytes[stored.unit] = len(value)
                await asyncio.sleep(0)  # a thousand of them are seconds


class _Row(NamedTuple):
    """``offsets``: of the profiles that are in it and in no row before."""

    unit: UnitKey
    partition: int
    value: bytes
    offsets: list[int]


def _dead_letter(topic: str, message: Any, reason: str) -> OutRecord:
    headers = (
        ("topic", str(message.topic).encode()),
        ("partition", str(message.partition).encode()),
        ("offset", str(message.offset).encode()),
        ("reason", reason.encode()),
    )
    return OutRecord(topic, f"{message.topic}/{message.partition}".encode(), message.value, headers)

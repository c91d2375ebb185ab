"""The judge's shell: decodes profiles, hands them to the judge, and commits what is in its rows. It decides nothing.

Commit rule: the offset of the first profile that is not yet in an acknowledged table row. So a restart never begins
beyond a profile that no row contains: an incident depends on every profile before it. A profile that waits for other
partitions of the events is in no row, so that it is read again after a restart.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from detectors.errors import DriftlineError, reason_of
from detectors.features import UnitKey
from detectors.profiles import Profile
from stream.backends import sending
from stream.backends.ports import Clock, Output
from stream.judge.shell import faust, rows, table
from stream.judge.shell.reading_order import ReadingOrder
from stream.judge.shell.rows import Rows
from stream.settings.settings import Settings
from stream.topics import keys, marks
from stream.topics.dead_letters import DeadLetters
from stream.topics.marks import Mark
from stream.topics.record import OutRecord, Partition, Record

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5

COMMIT_SECONDS = 1.0

VIEWS_PER_TICK, VIEWS_AT_ONCE = 100, 5
"""A view of 20 features takes 2 ms to make. The views of a tick are made a few at a time, with other tasks in between.
If 1,000 models change all the time, each view is published every five seconds."""


class Desk(rows.Units, Protocol):
    """The judge, with its output as records that are ready to be sent."""

    def on_profile(self, profile: Profile, now_ms: int, offset: int) -> Sequence[OutRecord]: ...

    def on_slot_profile(self, profile: Profile, now_ms: int, offset: int, partition: int) -> Sequence[OutRecord]: ...

    def on_mark(self, mark: Mark, now_ms: int, partition: int) -> Sequence[OutRecord]: ...

    def look_on(self, now_ms: int, partition: int) -> Sequence[OutRecord] | None: ...

    def drain_looks(self) -> Mapping[UnitKey, rows.Looks]:
        """What was judged of profiles with slots since the last call."""
        ...

    def adopt(self, unit: UnitKey) -> None:
        """Begins to judge a unit that is known only by its quarantine."""
        ...

    def read_again(self) -> None:
        """Records of the profiles topic are delivered again."""
        ...

    def on_tick(self, now_ms: int) -> tuple[Sequence[OutRecord], Iterable[UnitKey]]:
        """Judges what time alone changes. Returns the output, and the units that changed."""
        ...

    def views_due(self, now_ms: int, most: int) -> Sequence[OutRecord]: ...


class Counters(sending.Counters, Protocol):
    """The numbers that the shell counts."""

    def rebalanced(self) -> None: ...

    def limited(self, limit: str, count: int) -> None: ...


class JudgeApp:
    """Runs the judge's Faust application in the running loop. ``failed`` is called once, with the error that ended it.

    ``application``: see ``faust.application``.
    """

    def __init__(
        self,
        settings: Settings,
        desk: Desk,
        sink: Output,
        clock: Clock,
        counters: Counters,
        failed: Callable[[BaseException], None],
        application: Any,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        self.topic = settings.topics.profiles
        self._desk = desk
        self._sink = sink
        self._clock = clock
        self._counters = counters
        self._failed = failed
        self._dead_letters = dead_letters or DeadLetters(settings, counters.limited)
        self._faust = faust.Runtime(application, settings, table.furthest, self._restart_from_table, self._revoked)
        self._faust.run_for_each_message(self._on_message)
        self._faust.run_every(TICK_SECONDS, "tick", self._tick)
        self._faust.run_every(COMMIT_SECONDS, "commit", self._commit)
        self._rows = Rows(desk, sending.Sender(sink, counters, "judge.send"), self._faust, clock)
        self._order = ReadingOrder()
        self._partition_count = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.turned_at_ms = clock.now_ms()

    @property
    def ready(self) -> bool:
        """Whether the table is restored and nothing has failed."""
        return self._rows.open

    @property
    def sending(self) -> bool:
        """Whether a batch of output is being sent, or the table is being restored."""
        return self._rows.sending

    @property
    def partitions(self) -> set[int]:
        """The partitions of the profiles topic that are assigned to this worker."""
        return self._faust.partitions

    @property
    def row_bytes(self) -> int:
        """Size of the rows of this worker's units, as last written."""
        return self._rows.row_bytes

    async def start(self) -> None:
        """Joins the group; ``ready`` becomes true when the table is restored. Raises BrokerError."""
        self._partition_count = await self._sink.partitions(self.topic)
        await self._faust.start(self._order.set_begins)
        self._tasks = [asyncio.create_task(work()) for work in (self._watch_for_crash, self._write)]

    async def stop(self, deadline_seconds: float) -> None:
        """Writes every row that is out of date, commits and leaves the group; each half gets half of the time."""
        half = deadline_seconds / 2
        with suppress(TimeoutError):
            async with asyncio.timeout(half):
                if self.ready and not self._faust.rebalancing:
                    await self._write_last_rows()
        self._rows.close()
        for task in self._tasks:
            task.cancel()
        await self._faust.stop(half)

    async def _write_last_rows(self) -> None:
        self._rows.enqueue(self._desk.views_due(self._clock.now_ms(), VIEWS_PER_TICK))
        try:
            await self._rows.flush_all()
            await self._commit()
        except DriftlineError as error:
            log.warning("the judge could not write its last rows: %s; they are made again after the start", error)

    async def _watch_for_crash(self) -> None:
        self._failed(await self._faust.wait_for_crash())

    async def _on_message(self, message: Any) -> None:
        self.turned_at_ms = self._clock.now_ms()
        await self._guarded(self._judge_message(message))

    async def _tick(self) -> None:
        self.turned_at_ms = self._clock.now_ms()
        await self._guarded(self._judge_tick())

    async def _commit(self) -> None:
        """Commits without ``_guarded``, in parallel with the other steps: it may wait for the broker, and its offsets
        stay valid meanwhile."""
        offsets = self._rows.offsets_to_commit()
        if offsets and await self._faust.commit(offsets):
            self._rows.confirm_commit(offsets)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Ends the process after an exception in ``work``; Faust would go on with the next message."""
        try:
            await work
        except Exception as error:
            self._rows.close()
            self._counters.error("judge")
            self._failed(error)
            # Nothing after the failure may be judged or committed; the process is about to end.
            await asyncio.Event().wait()

    async def _judge_message(self, message: Any) -> None:
        """Drops a message that waited through a rebalance: it is delivered again, after all that precede it."""
        await self._rows.wait_for_room()
        if not self.ready or not self._faust.is_current(message):
            return
        if not self._order.accepts(message.partition, message.offset):
            return
        self._rows.start_offset(message.partition, message.offset)
        if message.key is not None and message.key.startswith(marks.KEY):
            await self._apply_mark(message)
            return
        try:
            profile = None if message.value is None else table.decode_profile(message.value)
        except Exception as error:  # one record never ends the judge
            self._counters.error("judge.decode")
            self._rows.enqueue_without_row(message.partition, message.offset, self._dead_letter(message, error))
            return
        if profile is None:
            self._rows.enqueue_without_row(message.partition, message.offset, [])
            return
        home = keys.model_partition(profile.model, self._partition_count)
        if home != message.partition:  # written by an older version, or when the topic had fewer partitions
            moved = OutRecord(self.topic, message.key, message.value, partition=home)
            self._rows.enqueue_without_row(message.partition, message.offset, [moved])
            return
        at_ms, now_ms = round(1000 * message.timestamp), self._clock.now_ms()
        if profile.slot_end_ms is None:
            records = self._desk.on_profile(profile, now_ms, message.offset)
            self._rows.enqueue_judged(profile.unit, message.partition, message.offset, at_ms, records)
            return
        self._rows.hold(profile.unit, message.partition, message.offset, at_ms)
        records = self._desk.on_slot_profile(profile, now_ms, message.offset, message.partition)
        self._rows.enqueue_looks(self._desk.drain_looks(), records)

    async def _apply_mark(self, message: Any) -> None:
        """A mark needs no row: marks come again, and what they make due is in the rows of the units."""
        partition, offset = message.partition, message.offset
        try:
            mark = None if message.value is None else marks.decode(message.value)
        except Exception as error:  # one record never ends the judge
            self._counters.error("judge.decode")
            self._rows.enqueue_without_row(partition, offset, self._dead_letter(message, error))
            return
        for one in (mark.quarantined or ()) if mark is not None else ():
            if keys.model_partition(one.model, self._partition_count) == partition:
                self._desk.adopt(one.unit)
                self._rows.adopt(one.unit, partition)
        records = None if mark is None else self._desk.on_mark(mark, self._clock.now_ms(), partition)
        while records is not None:
            self._rows.enqueue_looks(self._desk.drain_looks(), records)
            await asyncio.sleep(0)
            await self._rows.wait_for_room()
            if not self.ready or not self._faust.is_current(message):
                return  # the mark is delivered again
            records = self._desk.look_on(self._clock.now_ms(), partition)
        self._rows.finish_offset(partition, offset)

    def _dead_letter(self, message: Any, error: Exception) -> Sequence[OutRecord]:
        headers = message.headers or ()
        pairs = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        record = Record(message.offset, round(1000 * message.timestamp), message.key, message.value, pairs)
        place = Partition(message.topic, message.partition)
        return self._dead_letters.records(place, [(record, reason_of(error))], self._clock.now_ms())

    async def _judge_tick(self) -> None:
        if not self.ready or self._faust.rebalancing:
            return
        for partition, offset in self._order.pop_seeks().items():
            await self._faust.seek(partition, offset)
        now_ms = self._clock.now_ms()
        records, changed = self._desk.on_tick(now_ms)
        self._rows.mark_changed(changed)
        self._rows.enqueue(records)
        for _ in range(VIEWS_PER_TICK // VIEWS_AT_ONCE):
            views = self._desk.views_due(now_ms, VIEWS_AT_ONCE)
            if not views:
                return
            self._rows.enqueue(views)
            await asyncio.sleep(0)

    async def _write(self) -> None:
        """Sends one batch after the other; judging goes on meanwhile."""
        while True:
            await self._rows.wait_for_output()
            await self._guarded(self._rows.flush_due())

    async def _revoked(self, *_: Any, **__: Any) -> None:
        self._rows.close()
        self._order.clear()
        self._counters.rebalanced()

    async def _restart_from_table(self) -> None:
        """Is called when the table is restored: rebuilds everything in memory from it. Profiles that waited are read
        again."""
        self._desk.read_again()
        try:
            await self._rows.restart(lambda: self._faust.partitions, self._partition_count)
        except Exception as error:  # Faust would only keep it in a task that is never read
            self._failed(error)

"""The observe stage's one loop: poll, process, publish, checkpoint, commit; restore when partitions arrive.

``Observer`` decides. Its output is sent in order: outputs, units, manifest, each acknowledged; then the commit.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from detectors.errors import BrokerError, CheckpointError, DriftlineError, ReferenceError
from detectors.features import ModelKey
from detectors.reference import reference
from stream.backends.ports import Clock, Output, Source, TableReader
from stream.observe.observer import Effects, Observer
from stream.observe.shell import pace
from stream.observe.shell.label_reader import LabelReader
from stream.observe.shell.outbox import Outbox
from stream.observe.shell.saver import Saver
from stream.observe.shell.telemetry import Stage, Telemetry, Unmeasured, tell
from stream.settings.settings import Settings
from stream.topics.dead_letters import DeadLetters
from stream.topics.keys import parse_reference_key
from stream.topics.record import Partition, Record

log = logging.getLogger(__name__)

POLL_MS = 50
"""An idle turn: what is due is late by this at most."""

TURN_SECONDS = 0.25
"""aiokafka answers no poll while a group changes; the loop turns all the same."""

FINAL_SHARE = 0.8
"""Of shutdown_seconds for the last checkpoint; the rest is for leaving the group."""


class Input(Source, Protocol):
    """A source that knows the end of a partition as of its last fetch."""

    def high_water(self, partition: Partition) -> int | None: ...


class Runner:
    """Runs one observer over one source. ``tables`` makes a new reader; the runner stops every one it made."""

    def __init__(
        self,
        settings: Settings,
        observer: Observer,
        source: Input,
        sink: Output,
        tables: Callable[[], TableReader],
        clock: Clock,
        telemetry: Telemetry | None = None,
        labels: LabelReader | None = None,
        dead_letters: DeadLetters | None = None,
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._source = source
        self._sink = sink
        self._tables = tables
        self._clock = clock
        self._telemetry = telemetry or Unmeasured()
        self._labels = labels
        self._event_partitions = 1
        self._read_ms: dict[Partition, int] = {}  # when the broker got the event read last
        self._outbox = Outbox(settings, sink, self._telemetry, dead_letters)
        self._references: TableReader | None = None
        self._reading = asyncio.Lock()  # the reader of references serves one at a time
        self._running: set[Partition] = set()
        self._next: dict[Partition, int] = {}
        self._restoring: dict[Partition, asyncio.Task[None]] = {}
        self._polling: asyncio.Task[Mapping[Partition, list[Record]]] | None = None
        self._saver = Saver(settings, observer, source, self._outbox, self._running, clock, self._telemetry)
        self._generation = self._polled_generation = 0
        self._chunk = 256
        self._assigned = False
        self._failure: BaseException | None = None
        self._attention = asyncio.Event()
        self.turned_at_ms = clock.now_ms()
        self.lags: dict[Partition, int | None] = {}
        self.restore_seconds = 0.0

    @property
    def ready(self) -> bool:
        return not self.waiting_for

    @property
    def waiting_for(self) -> list[str]:
        """In words, for people; empty when every partition that is ours is consumed."""
        if self._references is None:
            return ["references"]
        if not self._assigned:
            return ["assignment of partitions"]
        return [f"restore of {place}" for place in sorted(self._restoring)]

    @property
    def units(self) -> int:
        return self._observer.unit_count

    @property
    def checkpoint_at_ms(self) -> int | None:
        """When all was last saved."""
        return self._saver.at_ms

    @property
    def checkpoint_seconds(self) -> float:
        return self._saver.seconds

    @property
    def checkpoint_bytes(self) -> int:
        return self._saver.size_bytes

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``: then a last checkpoint, and the group is left. Raises DriftlineError when it cannot go on."""
        watching = [asyncio.create_task(self._watch(stop))]
        try:
            await self._sink.start()
            await self._outbox.open()
            await self._read_references()
            if self._labels is not None:
                self._event_partitions = await self._sink.partitions(self._settings.topics.events[0])
                watching.append(asyncio.create_task(self._labels.run()))
            self._saver.start()
            await self._source.start(self)
            while not stop.is_set():
                await self._turn()
            await self._finish()
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await self._close()

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """By the source, from within a callback that must return at once."""
        self._assigned = True
        self._generation += 1
        self._telemetry.rebalanced()
        if partitions:
            task = asyncio.create_task(self._restore(tuple(partitions)))
            self._restoring = dict.fromkeys(partitions, task)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """What is not checkpointed is counted anew by whoever comes next, to the same numbers."""
        self._assigned = False
        self._generation += 1
        self._saver.abandon()
        for task in set(self._restoring.values()):
            task.cancel()
        self._restoring = {}
        for place in partitions:
            self.lags.pop(place, None)
            if place in self._running:
                self._running.discard(place)
                self._observer.drop(place)

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._attention.set()

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._attention.set()

    async def _turn(self) -> None:
        if self._failure is not None:
            raise self._failure
        self.turned_at_ms = self._clock.now_ms()
        batches = await self._poll()
        if self._polled_generation != self._generation:
            self._leave_unread(batches)
        else:
            for place, records in batches.items():
                await self._process(place, records)
        if self._labels is not None and not self._restoring:
            self._join_labels(self._labels)
        await self._follow_references()
        await pace.walk(self._add_profiles_due())
        self._tell(self._observer.drain_aside())
        with Stage("publish", self._telemetry):
            await self._outbox.flush()
        self._saver.turn()
        for place in self._running:
            end = self._source.high_water(place)
            self.lags[place] = None if end is None else max(0, end - self._next[place])

    async def _poll(self) -> Mapping[Partition, list[Record]]:
        """What came, or nothing when the turn is over. A poll that is not answered goes on through the next turns."""
        if self._polling is None:
            limit = self._settings.limits.poll_records
            self._polled_generation = self._generation
            self._polling = asyncio.create_task(self._next_batches(limit))
        waking = asyncio.create_task(self._attention.wait())
        await asyncio.wait((self._polling, waking), timeout=TURN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waking.cancel()
        if not self._polling.done():
            return {}
        polled, self._polling = self._polling, None
        return polled.result()

    def _leave_unread(self, batches: Mapping[Partition, list[Record]]) -> None:
        """A poll that began before the group changed may hold records from before the restore, after it, or both: they
        are read again from where the restore left off."""
        for place in batches:
            if place in self._running:
                self._source.seek(place, self._next[place])

    async def _next_batches(self, limit: int) -> Mapping[Partition, list[Record]]:
        return await self._source.poll(POLL_MS, limit)

    async def _process(self, place: Partition, records: Sequence[Record]) -> None:
        """In chunks, so that heartbeats, HTTP and checkpoints get their turn between and within them. When the group
        changes meanwhile, the rest is left: where the partition goes on from is decided anew."""

        def ours() -> bool:
            return place in self._running and self._polled_generation == self._generation

        at = 0
        while at < len(records) and ours():
            chunk, effects = records[at : at + self._chunk], Effects()
            at += len(chunk)
            walk = await pace.walk(self._observer.steps(place, chunk, effects), ours)
            if walk is None:
                return
            self._telemetry.staged("process", walk.seconds)
            self._chunk = pace.fitted(self._chunk, len(chunk), walk.longest)
            self._next[place] = chunk[-1].offset + 1
            self._read_ms[place] = chunk[-1].timestamp_ms
            self._take(place, effects)
            if at < len(records):
                await asyncio.sleep(0)

    def _take(self, place: Partition, effects: Effects) -> None:
        if effects.dead_letters:
            rejected = [(letter.record, letter.reason) for letter in effects.dead_letters]
            self._outbox.enqueue_dead_letters(place, rejected, self._clock.now_ms())
        self._tell(self._observer.drain_aside())  # it came before
        self._tell(effects)

    def _tell(self, effects: Effects) -> None:
        tell(self._telemetry, effects, self._clock.now_ms())
        if self._labels is not None and effects.labelled:
            self._labels.count(effects.labelled)
        self._outbox.enqueue_profiles(effects.profiles)

    def _add_profiles_due(self) -> Iterator[None]:
        for profile in self._observer.profiles_due(self._clock.now_ms()):
            self._outbox.enqueue_profiles([profile])
            yield

    def _join_labels(self, labels: LabelReader) -> None:
        """In step with the events: up to where the partition that is furthest behind has been read."""
        behind = [self._read_ms.get(place, 0) for place in self._running if self.lags.get(place) != 0]
        if not self._running:
            return
        for place, letter in labels.turn(min(behind, default=math.inf), self._counts_labels_of):
            self._outbox.enqueue_dead_letters(place, [letter], self._clock.now_ms())

    def _counts_labels_of(self, place: Partition) -> bool:
        """Every worker reads all labels; of each partition one worker counts what was read."""
        return Partition(self._settings.topics.events[0], place.partition % self._event_partitions) in self._running

    async def _read_references(self) -> None:
        """To the end before the first event: a known model never begins by learning."""
        reader = self._tables()
        try:
            found = await reader.read_to_end(self._settings.topics.references)
        except BaseException:
            await reader.stop()
            raise
        self._references = reader
        for key, record in found.items():
            self._apply_reference(key, record.value)

    async def _follow_references(self) -> None:
        assert self._references is not None
        if self._reading.locked():
            return  # a restore reads on
        async with self._reading:
            for place, record in await self._references.poll(0):
                self._take_reference(place, record)

    async def _catch_up_on_references(self) -> None:
        """Whoever saved an epoch had read its reference before: so that going on from there does not begin an epoch
        under an older one."""
        assert self._references is not None
        async with self._reading:
            await self._references.catch_up(self._take_reference)

    def _take_reference(self, _: Partition, record: Record) -> None:
        if record.key is not None:
            self._apply_reference(record.key, record.value)

    def _apply_reference(self, key: bytes, value: bytes | None) -> None:
        """One that cannot be read is said and counted; the model goes on under the one before."""
        name = key.decode(errors="replace")
        try:
            if value is None:
                gone: ModelKey = parse_reference_key(key)
                last = self._observer.set_reference(remove=gone)
            else:
                last = self._observer.set_reference(
                    reference.decode(value, f"{self._settings.topics.references}, key {name}")
                )
        except DriftlineError as error:
            if not isinstance(error, ReferenceError):
                error = ReferenceError(f"{self._settings.topics.references}, key {name}: {error}")
            self._telemetry.error("observer.reference")
            log.error("a reference is left out: %s", error)
            return
        self._outbox.enqueue_profiles(last)

    async def _restore(self, places: tuple[Partition, ...]) -> None:
        """Reads what was saved of the partitions and lets them run. A failure ends the process."""
        began = asyncio.get_running_loop().time()
        try:
            beginnings = await self._source.beginning_offsets(places)
            saved = await self._read_checkpoints(places)
            await self._catch_up_on_references()
            for place in places:
                await self._begin(place, saved, beginnings[place])
                await asyncio.sleep(0)
            if self._labels is not None:
                self._labels.rewind()
        except CheckpointError as error:
            self._fail(
                CheckpointError(
                    f"{error}\n  'driftline checkpoints verify' shows all that is wrong; 'driftline checkpoints drop' "
                    "forgets what is broken, and its counts start anew"
                )
            )
        except Exception as error:  # in a task that nobody awaits it would be lost
            self._fail(error)
        self.restore_seconds = asyncio.get_running_loop().time() - began
        self._telemetry.staged("restore", self.restore_seconds)

    async def _read_checkpoints(self, places: Sequence[Partition]) -> dict[bytes, bytes]:
        topic = self._settings.topics.checkpoints
        reader = self._tables()
        try:
            found = await reader.read_to_end(topic, sorted({place.partition for place in places}))
        finally:
            await reader.stop()
        return {key: record.value for key, record in found.items() if record.value is not None}

    async def _begin(self, place: Partition, saved: Mapping[bytes, bytes], beginning: int) -> None:
        offset = self._observer.assign(place, saved, beginning)
        try:
            if offset is None:
                latest = self._settings.kafka.start_from == "latest"
                offset = (await self._source.end_offsets([place]))[place] if latest else beginning
            self._next[place] = offset
            self._source.seek(place, offset)
            self._source.resume([place])
        except BaseException:
            self._observer.drop(place)
            raise
        self._restoring.pop(place, None)
        self._running.add(place)
        self.lags[place] = None
        log.info("%s runs from offset %d", place, offset)

    async def _finish(self) -> None:
        """What is unpublished is published and checkpointed; in time, or the next start repeats it."""
        await self._stop_polling()
        try:
            async with asyncio.timeout(FINAL_SHARE * self._settings.shutdown_seconds):
                await self._saver.finish()  # an epoch may be published only when a checkpoint holds it
                last = list(self._observer.profiles_due(self._clock.now_ms(), force=True))
                if last:
                    self._outbox.enqueue_profiles(last)
                    await self._saver.finish()
                self._tell(self._observer.drain_aside())
        except (TimeoutError, BrokerError) as error:
            log.warning("no last checkpoint: %s; the next start goes on from the one before", error or "out of time")

    async def _stop_polling(self) -> None:
        if self._polling is not None:
            self._polling.cancel()
            with suppress(asyncio.CancelledError, DriftlineError):
                await self._polling
            self._polling = None

    async def _close(self) -> None:
        await self._stop_polling()
        restoring = set(self._restoring.values())
        for task in restoring:
            task.cancel()
        await asyncio.gather(*restoring, return_exceptions=True)
        self._saver.abandon()
        self._assigned = False
        await self._outbox.close()
        await self._source.stop()
        await self._sink.stop()
        if self._references is not None:
            await self._references.stop()

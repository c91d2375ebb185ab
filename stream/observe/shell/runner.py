"""The loop of the observe stage: poll, process, publish, checkpoint, commit; restore when partitions are assigned.

``Observer`` decides everything. The loop hands it records, and sends its effects in an order that makes a crash
harmless: outputs acknowledged, units acknowledged, manifest acknowledged, then the commit.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from detectors.errors import BrokerError
from stream.backends.ports import Clock, Output, Source, TableReader
from stream.observe.effects import Effects
from stream.observe.observer import Observer
from stream.observe.shell import pace
from stream.observe.shell.attempts import Attempts
from stream.observe.shell.gate import Gate, SchemaSource
from stream.observe.shell.label_reader import LabelReader
from stream.observe.shell.outbox import Outbox
from stream.observe.shell.polling import Polling
from stream.observe.shell.progress import Progress
from stream.observe.shell.references import References
from stream.observe.shell.restore import Restore
from stream.observe.shell.saver import Saver
from stream.observe.shell.telemetry import Stage, Telemetry, Unmeasured, record_effects
from stream.observe.shell.timer import Ends, Timer
from stream.settings.settings import Settings
from stream.topics.dead_letters import DeadLetters
from stream.topics.record import Partition, Record

log = logging.getLogger(__name__)

CAREFUL_SECONDS = 30.0
"""How long a partition is read carefully after a process ended while it read it, and two checkpoint intervals more."""

FINAL_SHARE = 0.8
"""Share of shutdown_seconds for the last checkpoint. The rest is for leaving the group."""


class Input(Source, Ends, Protocol):
    """A source that knows the end of a partition as of its last fetch."""


class Runner:
    """Runs one observer over one source. ``tables`` makes a new reader; the runner stops every reader that it made."""

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
        schemas: SchemaSource | None = None,
    ) -> None:
        self._settings = settings
        self._observer, self._source = observer, source
        self._sink, self._clock = sink, clock
        self._telemetry = telemetry or Unmeasured()
        self._labels = labels
        self._event_partitions = 1
        self._progress = Progress()
        self._outbox = Outbox(settings, sink, self._telemetry, dead_letters, observer.fail)
        self._references = References(settings.topics, tables, observer, self._outbox, self._telemetry)
        attempts = Attempts(source, CAREFUL_SECONDS + 2 * settings.checkpoint_interval_seconds, self._telemetry)
        self._restore = Restore(
            settings, observer, source, tables, self._references, labels, self._telemetry, attempts,
            started=self._progress.start, failed=self._fail,
        )  # fmt: skip
        self._saver = Saver(settings, observer, source, self._outbox, self._progress.running, clock, self._telemetry)
        self._timer = Timer(observer, self._outbox, source, self._progress.running, self._progress.next)
        self._gate = Gate(observer, self._saver, schemas, attempts)
        self._polling = Polling(source, settings.limits.poll_records)
        self._assigned = False
        self._failure: BaseException | None = None
        self.turned_at_ms = clock.now_ms()

    @property
    def ready(self) -> bool:
        """Whether every assigned partition is consumed."""
        return not self.waiting_for

    @property
    def waiting_for(self) -> list[str]:
        """What must happen before every assigned partition is consumed, as text for people; empty when all are."""
        if not self._references.known:
            return ["references"]
        if not self._assigned:
            return ["assignment of partitions"]
        return [f"restore of {place}" for place in self._restore.pending]

    @property
    def lags(self) -> Mapping[Partition, int | None]:
        """Events that each running partition is behind; None before its first fetch."""
        return self._progress.lags

    @property
    def units(self) -> int:
        """Number of units of all partitions."""
        return self._observer.unit_count

    @property
    def restore_seconds(self) -> float:
        """How long the newest restore took."""
        return self._restore.seconds

    @property
    def checkpoint_at_ms(self) -> int | None:
        """When the newest checkpoint of all partitions was written."""
        return self._saver.at_ms

    @property
    def checkpoint_seconds(self) -> float:
        """How long that checkpoint took."""
        return self._saver.seconds

    @property
    def checkpoint_bytes(self) -> int:
        """How large that checkpoint is."""
        return self._saver.size_bytes

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until ``stop`` is set; then writes a last checkpoint and leaves the group.

        Raises DriftlineError when it cannot go on.
        """
        watching = [asyncio.create_task(self._watch(stop))]
        try:
            await self._sink.start()
            await self._outbox.open()
            await self._timer.open(self._settings.topics.event_names, self._sink.partitions)
            await self._references.read_to_end()
            if self._labels is not None:
                self._event_partitions = await self._sink.partitions(self._settings.topics.event_names[0])
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
        """Called by the source when partitions are assigned, from a callback that must return at once."""
        self._assigned = True
        self._polling.group_changed()
        self._telemetry.rebalanced()
        self._restore.begin(partitions)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Called by the source when partitions are revoked.

        The next owner counts again what no checkpoint holds, and gets the same numbers.
        """
        self._assigned = False
        self._leave(partitions)

    def made_anew(self, topics: Collection[str]) -> None:
        """Called by the source when topics were deleted and made again: their partitions are restored, which begins
        their next generation."""
        places = {place for place in self._progress.running if place.topic in topics}.union(self._restore.pending)
        self._leave(places)
        self._restore.begin(sorted(places))

    def _leave(self, partitions: Collection[Partition]) -> None:
        self._polling.group_changed()
        self._saver.abandon()
        self._restore.cancel()
        for place in partitions:
            if self._progress.lose(place):
                self._observer.drop(place)

    async def _watch(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._polling.wake()

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._polling.wake()

    async def _turn(self) -> None:
        if self._failure is not None:
            raise self._failure
        self.turned_at_ms = self._clock.now_ms()
        batches = await self._polling.poll()
        if self._polling.outdated:
            self._leave_unread(batches)
        else:
            for place, records in batches.items():
                await self._process(place, records)
        if self._labels is not None and not self._restore.pending:
            self._join_labels(self._labels)
        await self._references.follow()
        await pace.walk(self._timer.turn(self._clock.now_ms()))
        self._publish_effects(self._observer.drain_aside())
        with Stage("publish", self._telemetry):
            await self._outbox.flush()
        self._saver.save_if_due()
        self._progress.measure_lags(self._source.high_water)

    def _leave_unread(self, batches: Mapping[Partition, list[Record]]) -> None:
        """Seeks back over records of a poll that began before the group changed.

        They may be from before the restore or after it. They are read again from where the restore left off.
        """
        for place in batches:
            if place in self._progress.running:
                self._source.seek(place, self._progress.next[place])

    async def _process(self, place: Partition, records: Sequence[Record]) -> None:
        """Processes records in chunks, so that heartbeats, HTTP and checkpoints run between and within chunks.

        When the group changes meanwhile, the remaining records are not processed: the partition is restored or lost.
        """

        def ours() -> bool:
            return place in self._progress.running and not self._polling.outdated

        at = 0
        while at < len(records) and ours():
            chunk, effects = await self._gate.next(place, records, at, ours), Effects()
            if chunk is None:
                if ours():  # a schema is missing: read again later, and let other partitions and the end go on
                    self._source.seek(place, self._progress.next[place])
                return
            at += len(chunk)
            walk = await pace.walk(self._observer.steps(place, chunk, effects), ours)
            if walk is None:
                return
            self._telemetry.staged("process", walk.seconds)
            self._gate.fit(len(chunk), walk.longest)
            self._progress.advance(place, chunk[-1])
            self._gate.settle(place)
            if rejected := self._gate.letters(place, effects.dead_letters):
                self._outbox.enqueue_dead_letters(place, rejected, self._clock.now_ms())
            self._publish_effects(self._observer.drain_aside())  # these came before
            self._publish_effects(effects)
            if at < len(records):
                await asyncio.sleep(0)
        await self._gate.rest(place)

    def _publish_effects(self, effects: Effects) -> None:
        record_effects(self._telemetry, effects, self._clock.now_ms())
        if self._labels is not None and effects.labelled:
            self._labels.count(effects.labelled)
        self._outbox.enqueue_profiles(effects.profiles)

    def _join_labels(self, labels: LabelReader) -> None:
        """Joins labels up to the broker's time up to which all partitions of events are read."""
        if not self._progress.running:
            return
        for place, letter in labels.join_until(self._progress.read_up_to_ms(), self._counts_labels_of):
            self._outbox.enqueue_dead_letters(place, [letter], self._clock.now_ms())

    def _counts_labels_of(self, place: Partition) -> bool:
        """Every worker reads all labels. For each label partition only one worker counts what was read."""
        first = Partition(self._settings.topics.event_names[0], place.partition % self._event_partitions)
        return first in self._progress.running

    async def _finish(self) -> None:
        """Publishes and saves everything, as far as time allows. The next start repeats the rest."""
        await self._polling.stop()
        try:
            async with asyncio.timeout(FINAL_SHARE * self._settings.shutdown_seconds):
                await self._saver.finish()  # an epoch may be published only when a checkpoint holds it
                last = self._timer.last(self._clock.now_ms())
                if last:
                    self._outbox.enqueue_profiles(last)
                    await self._saver.finish()
                self._publish_effects(self._observer.drain_aside())
                await self._gate.leave(sorted(self._progress.running))
        except (TimeoutError, BrokerError) as error:
            log.warning(
                "no last checkpoint: %s; the next start continues from the one before", error or "not enough time"
            )

    async def _close(self) -> None:
        await self._polling.stop()
        await self._restore.stop()
        self._saver.abandon()
        self._assigned = False
        await self._outbox.close()
        await self._source.stop()
        await self._sink.stop()
        await self._references.stop()
        await self._gate.stop()

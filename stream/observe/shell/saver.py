"""Decides when to write checkpoints, and writes them.

The order makes a crash at any point harmless: outputs acknowledged, units acknowledged, manifest acknowledged, then the
commit.
"""

import asyncio
import logging
from collections.abc import Collection, Sequence

from detectors.errors import BrokerError
from stream.backends.ports import Clock, Source
from stream.observe.observer import Observer
from stream.observe.shell.outbox import Outbox
from stream.observe.shell.telemetry import Telemetry
from stream.settings.settings import Settings
from stream.topics.record import OutRecord, Partition

log = logging.getLogger(__name__)

BATCH_BYTES = 1_000_000
"""Units are sent together once they have this size, so that 1,000 units do not take 1,000 round trips."""


class Saver:
    """Writes checkpoints of the partitions in ``held``, which its owner keeps up to date."""

    def __init__(
        self,
        settings: Settings,
        observer: Observer,
        source: Source,
        outbox: Outbox,
        held: Collection[Partition],
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._source = source
        self._outbox = outbox
        self._held = held
        self._clock = clock
        self._telemetry = telemetry
        self._task: asyncio.Task[None] | None = None
        self._ended = 0.0
        self.at_ms: int | None = None
        self.seconds = 0.0
        self.size_bytes = 0

    def start(self) -> None:
        """Starts the first interval between checkpoints."""
        self._ended = asyncio.get_running_loop().time()

    def save_if_due(self) -> None:
        """Starts a checkpoint when one is due and none is being written. Raises the error of the checkpoint before.

        One of all partitions is due when the interval has passed since the end of the last one. One of a partition
        with a new epoch is due at once.
        """
        if self._task is not None:
            if not self._task.done():
                return
            done, self._task = self._task, None
            done.result()
        due = asyncio.get_running_loop().time() - self._ended >= self._settings.checkpoint_interval_seconds
        places = sorted(self._held) if due else [place for place in self._observer.urgent() if place in self._held]
        if places:
            self._task = asyncio.create_task(self._save(places, full=due))

    async def written(self) -> None:
        """Waits until the checkpoint that is being written is complete, has failed or was given up."""
        if self._task is not None:
            await asyncio.wait((self._task,))

    async def finish(self) -> None:
        """Writes a checkpoint of all partitions, and returns when it is complete."""
        task = self._task
        if task is not None:
            await asyncio.wait((task,))
            if not task.cancelled():  # it is cancelled when the group changes while the worker leaves it
                task.result()
        await self._save(sorted(self._held), full=True)

    def abandon(self) -> None:
        """Is called when the group changes: stops the checkpoint that is being written.

        Records that were already sent do no harm; a late owner may send such records at any time.
        """
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            task.add_done_callback(_log_error)

    async def _save(self, places: Sequence[Partition], *, full: bool) -> None:
        loop = asyncio.get_running_loop()
        began, size = loop.time(), 0
        for place in places:
            if place in self._held:
                size += await self._save_one(place)
        self._telemetry.staged("checkpoint", loop.time() - began)
        if full:
            self.seconds, self.size_bytes, self.at_ms = loop.time() - began, size, self._clock.now_ms()
            self._ended = loop.time()

    async def _save_one(self, place: Partition) -> int:
        """Writes the checkpoint of one partition, and returns its size in bytes.

        It stops when the partition is lost, which does no harm.
        """
        size, waiting = 0, 0
        if self._observer.next_offset(place) is None:
            return 0  # nothing was read so far
        checkpoint = self._observer.checkpoint(place)
        await self._outbox.acknowledged()
        batch: list[OutRecord] = []
        for unit in checkpoint.dirty:
            if place not in self._held:
                return size
            batch.append(self._record(place, *checkpoint.encode(unit)))
            waiting += len(batch[-1].value or b"")
            if waiting >= BATCH_BYTES:
                await self._send_units(place, batch)
                size, waiting, batch = size + waiting, 0, []
            else:
                await asyncio.sleep(0)  # events are processed between a few units and the next
        await self._send_units(place, batch)
        if place not in self._held:
            return size
        await self._send(place, [self._record(place, *checkpoint.manifest())])
        if place in self._held:
            checkpoint.acknowledged()
            await self._commit(place, checkpoint.next)
        return size + waiting

    def _record(self, place: Partition, key: bytes, value: bytes) -> OutRecord:
        return OutRecord(self._settings.topics.checkpoints, key, value, partition=place.partition)

    async def _send(self, place: Partition, records: Sequence[OutRecord]) -> None:
        if records:
            await self._outbox.send(records, lambda: place in self._held)

    async def _send_units(self, place: Partition, records: Sequence[OutRecord]) -> None:
        """Sends units after the profiles of all slots that they have cut and handed out: no restart cuts them again."""
        if records:
            await self._outbox.acknowledged()
            await self._send(place, records)

    async def _commit(self, place: Partition, offset: int) -> None:
        try:
            await self._source.commit({place: offset})
        except BrokerError as error:  # a restart uses the manifest; the commit is for tools that show lag
            self._telemetry.error("observer.commit")
            log.warning("%s: %s", place, error)


def _log_error(task: asyncio.Task[None]) -> None:
    """Logs the error of an abandoned checkpoint. asyncio warns of an error that is never read."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.info("an abandoned checkpoint ended with: %s", error)

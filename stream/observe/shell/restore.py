"""Restores newly assigned partitions from their checkpoints."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence

from detectors.errors import CheckpointError
from stream.backends.ports import Source, TableReader
from stream.observe.observer import Observer
from stream.observe.shell.attempts import Attempts
from stream.observe.shell.label_reader import LabelReader
from stream.observe.shell.references import References
from stream.observe.shell.telemetry import Telemetry
from stream.settings.settings import Settings
from stream.topics import checkpoints
from stream.topics.generations import shown
from stream.topics.record import Partition

log = logging.getLogger(__name__)


class Restore:
    """Restores partitions in tasks of its own, while the loop goes on.

    :param started: is called for each partition that is restored and consumed from now on, with its first offset.
    :param failed: is called with the error of a restore that failed.
    """

    def __init__(
        self,
        settings: Settings,
        observer: Observer,
        source: Source,
        tables: Callable[[], TableReader],
        references: References,
        labels: LabelReader | None,
        telemetry: Telemetry,
        attempts: Attempts,
        started: Callable[[Partition, int], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._settings = settings
        self._observer = observer
        self._source = source
        self._tables = tables
        self._references = references
        self._labels = labels
        self._telemetry = telemetry
        self._attempts = attempts
        self._started = started
        self._failed = failed
        self._tasks: dict[Partition, asyncio.Task[None]] = {}
        self.seconds = 0.0

    @property
    def pending(self) -> list[Partition]:
        """Partitions that are not restored yet, in order."""
        return sorted(self._tasks)

    def begin(self, partitions: Sequence[Partition]) -> None:
        """Starts to restore partitions. Returns at once."""
        task = asyncio.create_task(self._restore(tuple(partitions)))
        self._tasks = dict.fromkeys(partitions, task)

    def cancel(self) -> list[asyncio.Task[None]]:
        """Cancels every restore; returns the tasks, which may take a moment to end."""
        tasks = list(set(self._tasks.values()))
        for task in tasks:
            task.cancel()
        self._tasks = {}
        return tasks

    async def stop(self) -> None:
        """Cancels every restore and waits until all have ended."""
        await asyncio.gather(*self.cancel(), return_exceptions=True)

    async def _restore(self, places: tuple[Partition, ...]) -> None:
        began = asyncio.get_running_loop().time()
        try:
            topics = self._settings.topics
            ids = await self._source.topic_ids([*topics.event_names, *topics.labels])
            self._observer.forget_left(ids, made_anew=False)
            if not places:
                return
            beginnings = await self._source.beginning_offsets(places)
            saved = await self._read_checkpoints(places)
            await self._references.catch_up()
            for place in places:
                own = {key: value for key, value in saved.items() if checkpoints.parse_key(key)[0] == place}
                committed = None if own else await self._source.committed(place)
                await self._attempts.begin(place)
                await self._start(place, own, beginnings[place], ids, committed)
                await asyncio.sleep(0)
            self._observer.forget_left(ids, made_anew=True)
            if self._labels is not None:
                self._labels.rewind()
        except CheckpointError as error:
            self._failed(
                CheckpointError(
                    f"{error}\n  'driftline checkpoints verify' shows every fault; 'driftline checkpoints drop' "
                    "removes what is broken, and its counts start again"
                )
            )
        except Exception as error:  # this task is never awaited, so the error would be lost
            self._failed(error)
        self.seconds = asyncio.get_running_loop().time() - began
        self._telemetry.staged("restore", self.seconds)

    async def _read_checkpoints(self, places: Sequence[Partition]) -> dict[bytes, bytes]:
        topic = self._settings.topics.checkpoints
        reader = self._tables()
        try:
            found = await reader.read_to_end(topic, sorted({place.partition for place in places}))
        finally:
            await reader.stop()
        return {key: record.value for key, record in found.items() if record.value is not None}

    async def _start(
        self,
        place: Partition,
        saved: Mapping[bytes, bytes],
        beginning: int,
        ids: Mapping[str, str],
        committed: int | None,
    ) -> None:
        offset = self._observer.assign(place, saved, beginning, ids, committed)
        try:
            if offset is None:
                latest = self._settings.kafka.start_from == "latest"
                offset = (await self._source.end_offsets([place]))[place] if latest else beginning
            self._source.seek(place, offset)
            self._source.resume([place])
        except BaseException:
            self._observer.drop(place)
            raise
        self._tasks.pop(place, None)
        self._started(place, offset)
        log.info("%s runs from %s", place, shown(offset))

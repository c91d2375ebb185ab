"""Reads the label topics in step with the events: a label waits until events are read up to its time at the broker.

Every worker reads all labels, because the event of a label may be in any partition; labels are far fewer than events.
There is no consumer group and no commit: the checkpoints of the event partitions contain the offsets to read from, and
a label that is read twice changes nothing. Labels never delay events. Errors are retried.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detectors.errors import BrokerError
from stream.backends.ports import TableReader
from stream.labels.book import KEPT, Labelled
from stream.labels.predictions import Match
from stream.observe.effects import DeadLetter
from stream.observe.observer import Observer
from stream.topics.generations import MADE_ANEW
from stream.topics.record import Partition, Record

log = logging.getLogger(__name__)

POLL_MS = 500
TURN_RECORDS = 1_000
"""Most labels that are joined in one turn of the loop: some 5 ms."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0


class LabelCounters(Protocol):
    """The numbers that the label reader counts."""

    def labelled(self, model: str, outcome: str, count: int) -> None: ...

    def label_delayed(self, model: str, seconds: npt.NDArray[np.float64]) -> None: ...

    def error(self, component: str) -> None: ...

    def interrupted(self, topic: str, kind: str) -> None: ...


class LabelReader:
    """Hands labels to ``observer``. ``run`` fetches them; the loop that owns the observer calls ``join_until``."""

    def __init__(
        self,
        topics: Sequence[str],
        open_reader: Callable[[], TableReader],
        observer: Observer,
        counters: LabelCounters,
    ) -> None:
        self._topics = topics
        self._open_reader = open_reader
        self._observer = observer
        self._counters = counters
        self._held: deque[tuple[Partition, Record]] = deque()  # records of at most one poll
        self._room = asyncio.Event()
        self._wanted: dict[str, int] | None = None  # offsets to read from; None until partitions are assigned
        self._changed = asyncio.Event()
        self._ids: dict[str, str] = {}  # of the topics whose records are held
        self._joined: dict[str, int] = {}  # next offset, by label partition, of what was joined
        self._counted: dict[str, int] = {}  # next offset of what was counted; below it nothing is counted again

    def rewind(self) -> None:
        """Is called when partitions of events were restored. Goes back to the labels that they lack, if those were read
        already."""
        wanted = self._observer.label_positions()
        reached = {**(self._wanted or {}), **self._joined}
        if self._wanted is None or any(wanted.get(name, 0) < offset for name, offset in reached.items()):
            for name, offset in wanted.items():
                self._counted.setdefault(name, offset)
            self._wanted = wanted
            self._held.clear()
            self._joined = {}
            self._changed.set()

    async def run(self) -> None:
        """Fetches labels until cancelled."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            await self._changed.wait()
            reader = self._open_reader()
            try:
                while True:
                    if self._changed.is_set():
                        self._changed.clear()
                        await self._follow(reader)
                        await reader.read_from(self._topics, self._offsets())
                    came = await reader.poll(POLL_MS)
                    await self._follow(reader)
                    pause = FIRST_PAUSE_SECONDS
                    if came and not self._changed.is_set():  # otherwise they are from before the rewind
                        self._held.extend(came)
                        self._room.clear()
                        await self._room.wait()
            except BrokerError as error:
                self._counters.error("observer.labels")
                log.warning("cannot read labels: %s; trying again in %.1f s", error, pause)
                self._wanted = {**(self._wanted or {}), **self._joined}
                self._held.clear()
                self._changed.set()
            finally:
                await reader.stop()
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _follow(self, reader: TableReader) -> None:
        """Asks for the ids of the topics. One that was made anew is read from its first record."""
        self._ids = await reader.topic_ids(self._topics)
        anew = self._observer.label_topics.follow(self._ids)
        for topic in anew:
            self._counters.interrupted(topic, MADE_ANEW)
            log.warning("%s was made anew; it is read from its first record", topic)
        if anew:
            self._begin_again(anew)

    def _begin_again(self, topics: Collection[str]) -> None:
        self._counted = {name: at for name, at in self._counted.items() if name.rpartition("/")[0] not in topics}
        self._wanted, self._joined = self._observer.label_positions(), {}
        self._held.clear()
        self._changed.set()

    def join_until(self, until_ms: float, ours: Callable[[Partition], bool]) -> list[tuple[Partition, DeadLetter]]:
        """Joins fetched labels with a broker time up to ``until_ms``, at most TURN_RECORDS.

        Counts the labels of those label partitions for which ``ours`` returns True, and returns their dead letters.
        """
        batches: dict[Partition, list[Record]] = {}
        if self._held and not self._observer.label_topics.have(self._ids):
            self._begin_again(self._topics)  # a restore has found that a topic was made anew
        for _ in range(min(TURN_RECORDS, len(self._held))):
            if self._held[0][1].timestamp_ms > until_ms:
                break
            place, record = self._held.popleft()
            batches.setdefault(place, []).append(record)
        if not self._held:
            self._room.set()
        letters = []
        for place, records in batches.items():
            self._joined[str(place)] = records[-1].offset + 1
            counted = self._counted.get(str(place), 0)
            again = [record for record in records if record.offset < counted]
            if again:
                self.count(self._observer.join_labels(place, again).labelled)
            fresh = records[len(again) :]
            if fresh:
                self._counted[str(place)] = fresh[-1].offset + 1
                effects = self._observer.join_labels(place, fresh)
                self.count(effects.labelled)
                if ours(place):
                    letters += [(place, letter) for letter in effects.dead_letters]
                    for (model, outcome), count in effects.outcomes.items():
                        self._counters.labelled(model, outcome, count)
        return letters

    def count(self, labelled: Sequence[Labelled]) -> None:
        """Counts results of joining labels, and the delays of the labels."""
        outcomes: Counter[tuple[str, str]] = Counter()
        delays: dict[str, list[int]] = {}
        for label in labelled:
            if label.match not in (Match.UNMATCHED, Match.KNOWN):
                outcomes[label.model, label.match.value] += 1
            if label.match is Match.MATCHED:
                delays.setdefault(label.model, []).append(label.delay_ms)
        for (model, outcome), count in outcomes.items():
            self._counters.labelled(model, outcome, count)
        for model, found in delays.items():
            self._counters.label_delayed(model, np.array(found) / 1000)

    def _offsets(self) -> Mapping[Partition, int]:
        """Where to start reading: KEPT records before the wanted offsets.

        This refills the book with labels that arrived before their events.
        """
        places = {name: name.rpartition("/") for name in self._wanted or {}}
        return {
            Partition(topic, int(number)): max((self._wanted or {})[name] - KEPT, 0)
            for name, (topic, _, number) in places.items()
        }

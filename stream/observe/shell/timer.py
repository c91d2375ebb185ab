"""Publishes what wall time asks for: profiles that are due, and marks, which state how far each partition was read.

A mark follows the profiles that it stands for in the same queue. Judges of all models need it, so it goes to every
partition of the profiles topic.
"""

from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Protocol

from detectors.profiles import Profile
from stream.observe.observer import Observer
from stream.observe.shell.outbox import Outbox
from stream.topics.marks import Mark
from stream.topics.record import Partition

INTERVAL_MS = 250
"""Between two marks of a partition."""

MOST_PER_SECOND = 500
"""Records with marks that a worker sends in a second at most. With more partitions the interval grows."""


class Ends(Protocol):
    """The ends of partitions."""

    def high_water(self, partition: Partition) -> int | None:
        """The end at the last fetch; None when it is unknown."""
        ...

    def high_water_ms(self, partition: Partition) -> int | None:
        """The wall time at which ``high_water`` was the end; None: now."""
        ...


class Timer:
    """Publishes from the partitions in ``held`` that were read to the offsets in ``positions``; their owner keeps both
    up to date."""

    def __init__(
        self,
        observer: Observer,
        outbox: Outbox,
        ends: Ends,
        held: Collection[Partition],
        positions: Mapping[Partition, int],
    ) -> None:
        self._observer, self._outbox, self._ends = observer, outbox, ends
        self._held, self._positions = held, positions
        self._counts: dict[str, int] = {}
        self._sent_ms: dict[Partition, int] = {}

    async def open(self, topics: Collection[str], count: Callable[[str], Awaitable[int]]) -> None:
        """Asks ``count`` how many partitions each topic with events has. Raises BrokerError."""
        self._counts = {topic: await count(topic) for topic in topics}

    def turn(self, now_ms: int) -> Iterator[None]:
        """Enqueues profiles that are due and then marks that are due, with a break after each."""
        at_end = self._at_end(now_ms)
        for profile in self._observer.profiles_due(now_ms, at_end=at_end):
            self._outbox.enqueue_profiles([profile])
            yield
        for place in [place for place in self._sent_ms if place not in self._held]:
            del self._sent_ms[place]
        interval_ms = self._interval_ms()
        for place in sorted(self._held):
            sent_ms = self._sent_ms.get(place)
            if place in self._held and (sent_ms is None or not 0 <= now_ms - sent_ms < interval_ms):
                yield from self._mark(place, now_ms, at_end.get(place))

    def last(self, now_ms: int) -> list[Profile]:
        """Everything that may be published and was not."""
        return list(self._observer.profiles_due(now_ms, at_end=self._at_end(now_ms), force=True))

    def _at_end(self, now_ms: int) -> dict[Partition, int]:
        """Partitions in which every record was read, with the wall time at which that was known."""
        found = {}
        for place in self._held:
            end = self._ends.high_water(place)
            if end is not None and end <= self._positions[place]:
                at_ms = self._ends.high_water_ms(place)
                found[place] = now_ms if at_ms is None else min(at_ms, now_ms)
        return found

    def _interval_ms(self) -> int:
        """N partitions and P partitions of the profiles topic make N * P records each time."""
        records = len(self._held) * self._outbox.profile_partitions
        return max(INTERVAL_MS, -(-1_000 * records // MOST_PER_SECOND))

    def _mark(self, place: Partition, now_ms: int, end_ms: int | None) -> Iterator[None]:
        at_ms, count = now_ms if end_ms is None else end_ms, self._counts[place.topic]
        for item in self._observer.mark(place, count, at_ms, read_to_end=end_ms is not None):
            if isinstance(item, Mark):
                self._outbox.enqueue_mark(item)
                self._sent_ms[place] = now_ms
            else:
                self._outbox.enqueue_profiles([item])
            yield

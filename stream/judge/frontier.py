"""How far all partitions of the events have been read, in event time. Pure.

A partition that was read past a time holds nothing more of any unit before it. A partition that was read to its end
counts as having reached what other partitions showed by then, less the disorder that is allowed: what comes later in
it is newer. The frontier is the lowest of all partitions, and the judge looks at nothing beyond it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping

from stream.topics.marks import Mark
from stream.topics.record import Partition

NOWHERE = -1
"""Before all times: nothing is known of a partition yet."""

KEPT_MS = 600_000
"""Wall time for which it is remembered what the partitions had reached."""

LATE_FACTOR = 40
"""Events that are older than forty times the disorder when they are read come from a file or after a downtime. They run
faster than the clock and reach one partition before another, so a partition without records counts as idle only after
forty times the disorder."""


class Frontier:
    """Bounds of all partitions. ``mark`` costs 2 us, ``of`` some 0.2 us a partition.

    ``topics``: the events topics that are read. A topic of which no mark has come holds everything back.
    """

    __slots__ = ("_bounds", "_clocks", "_counts", "_disorder_ms", "_idle_ms", "_newest", "_topics")

    def __init__(self, topics: Iterable[str], disorder_ms: int) -> None:
        self._topics = tuple(topics)
        self._disorder_ms = disorder_ms
        self._counts: dict[str, int] = {}
        self._clocks: dict[Partition, int] = {}
        self._idle_ms: dict[Partition, int] = {}
        self._newest: list[tuple[int, int]] = []  # wall time, newest event time of any partition by then; both ascend
        self._bounds: dict[Partition, int] = {}

    def mark(self, mark: Mark) -> None:
        """A partition has been read up to there."""
        place = mark.place
        # a worker may not know yet that partitions were added
        self._counts[mark.topic] = max(self._counts.get(mark.topic, 0), mark.partitions, mark.partition + 1)
        self._clocks[place] = max(self._clocks.get(place, NOWHERE), mark.clock_ms)
        if not self._newest or mark.clock_ms > self._newest[-1][1]:
            wall_ms = max(mark.at_ms, self._newest[-1][0] if self._newest else mark.at_ms)
            self._newest.append((wall_ms, mark.clock_ms))
            if len(self._newest) > 1 and self._newest[1][0] < wall_ms - KEPT_MS:
                del self._newest[0]
        if mark.read_to_end:
            self._idle_ms[place] = max(self._idle_ms.get(place, mark.at_ms), mark.at_ms)
        self._bounds[place] = max(self._bounds.get(place, NOWHERE), self._clocks[place], self._idle_bound(place))

    def _idle_bound(self, place: Partition) -> int:
        """What a partition that was read to its end counts as having reached."""
        idle_ms = self._idle_ms.get(place)
        if idle_ms is None:
            return NOWHERE
        longest = LATE_FACTOR * self._disorder_ms
        begin = max(bisect_right(self._newest, idle_ms - longest, key=lambda one: one[0]) - 1, 0)
        end = bisect_right(self._newest, idle_ms, key=lambda one: one[0])
        return max((self._reached(*one, idle_ms) for one in self._newest[begin:end]), default=NOWHERE)

    def _reached(self, at_ms: int, newest_ms: int, idle_ms: int) -> int:
        """What the newest time at wall time ``at_ms`` shows of a partition that was read to its end at ``idle_ms``.

        Event time goes on with wall time while nothing comes, so that the last slots of a stream that stops are judged.
        """
        waited_ms, longest_ms = idle_ms - at_ms, LATE_FACTOR * self._disorder_ms
        if newest_ms >= at_ms - longest_ms:
            return newest_ms + waited_ms - self._disorder_ms
        return newest_ms + waited_ms - longest_ms if waited_ms >= longest_ms else NOWHERE

    def of(self, closed: Mapping[Partition, int]) -> tuple[int, Partition | None]:
        """The frontier of a unit, and the partition that holds it back.

        ``closed``: by partition, the end of the newest slot that the unit's own shard has published whole.
        """
        lowest, behind = None, None
        for topic in self._topics:
            count = self._counts.get(topic, 0)
            if not count:
                return NOWHERE, Partition(topic, 0)
            for number in range(count):
                place = Partition(topic, number)
                bound = max(self._bounds.get(place, NOWHERE), closed.get(place, NOWHERE))
                if lowest is None or bound < lowest:
                    lowest, behind = bound, place
        return (NOWHERE if lowest is None else lowest), behind

    @property
    def newest_ms(self) -> int:
        """The newest event time that a partition has shown."""
        return self._newest[-1][1] if self._newest else NOWHERE

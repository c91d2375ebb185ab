"""Which units have profiles that wait for other partitions, and which of their looks are due."""

import heapq
from collections.abc import Iterable, Iterator

from detectors.features import UnitKey
from detectors.profiles import Profile
from stream.judge.frontier import NOWHERE, Frontier
from stream.judge.settings import SlotRules
from stream.judge.sight import HeldBack
from stream.judge.slot_buffer import Due, SlotBuffer
from stream.topics.marks import Mark
from stream.topics.record import Partition


class Waiting:
    """The buffers of the units with profiles that wait, and the frontier of each partition of the profiles topic.

    A mark stands only for the profiles that precede it in its own partition of the profiles topic.
    """

    __slots__ = ("_buffers", "_frontiers", "_joined", "_judged", "_rules")

    def __init__(self, rules: SlotRules) -> None:
        self._rules = rules
        self._frontiers: dict[int, Frontier] = {}
        self._buffers: dict[UnitKey, SlotBuffer] = {}
        self._judged: dict[UnitKey, list[int]] = {}
        self._joined = 0

    @property
    def units(self) -> list[UnitKey]:
        """The units with profiles that wait."""
        return list(self._buffers)

    def hold(self, unit: UnitKey, buffer: SlotBuffer, profile: Profile, offset: int, partition: int) -> None:
        """Puts a profile, which lay there in the profiles topic, into its unit's buffer."""
        buffer.put(profile, offset, partition)
        self._buffers[unit] = buffer

    def mark(self, mark: Mark, partition: int) -> list[UnitKey]:
        """Notes a mark of that partition of the profiles topic; returns the units that it may concern."""
        self._frontier(partition).mark(mark)
        return self.units_of(partition)

    def units_of(self, partition: int) -> list[UnitKey]:
        """The units with profiles that wait, from that partition of the profiles topic."""
        return [unit for unit, buffer in self._buffers.items() if buffer.home == partition]

    def due(self, units: Iterable[UnitKey]) -> Iterator[tuple[UnitKey, Due]]:
        """Every look of ``units`` that is due, in the order of slot ends, then of units. The caller makes a look before
        it asks for the next one."""
        looks: list[tuple[int, str, UnitKey, int]] = []
        for unit in units:
            frontier_ms, _ = self._reached(self._buffers[unit])
            end_ms = self._buffers[unit].due_end(frontier_ms)
            if end_ms is not None:
                looks.append((end_ms, repr(unit), unit, frontier_ms))
        heapq.heapify(looks)
        while looks:
            _, name, unit, frontier_ms = heapq.heappop(looks)
            buffer = self._buffers[unit]
            due = buffer.due(frontier_ms)
            assert due is not None
            self._judged.setdefault(unit, []).extend(due.offsets)
            self._joined += buffer.drain_joined()
            if not len(buffer):
                self._buffers.pop(unit, None)
            yield unit, due  # the look may change the grid of later ones
            end_ms = buffer.due_end(frontier_ms)
            if end_ms is not None:
                heapq.heappush(looks, (end_ms, name, unit, frontier_ms))

    def held_back(self, unit: UnitKey) -> HeldBack | None:
        """The partition that the unit waits for; None where no other one has been read further than that, either."""
        buffer = self._buffers.get(unit)
        if buffer is None:
            return None
        end_ms, (frontier_ms, place) = buffer.next_end(), self._reached(buffer)
        newest_ms = max(self._frontier(buffer.home).newest_ms, *buffer.closed.values(), NOWHERE)
        if place is None or end_ms is None or not frontier_ms < end_ms <= newest_ms:
            return None
        return HeldBack(str(place), frontier_ms, None if frontier_ms == NOWHERE else newest_ms - frontier_ms)

    def drain_judged(self) -> dict[UnitKey, list[int]]:
        """By unit, the offsets of profiles whose looks were returned since the last call."""
        judged, self._judged = self._judged, {}
        return judged

    def drain_joined(self) -> int:
        """How many profiles were left out since the last call, since too many of their unit waited."""
        joined, self._joined = self._joined, 0
        return joined

    def forget(self, unit: UnitKey) -> None:
        """Drops what waits of a unit."""
        self._buffers.pop(unit, None)
        self._judged.pop(unit, None)

    def give_up(self, unit: UnitKey) -> list[Profile]:
        """Removes and returns what waits of a unit that is not judged. Its records are done."""
        buffer = self._buffers.pop(unit, None)
        if buffer is None:
            return []
        profiles, offsets = buffer.drain()
        self._judged.setdefault(unit, []).extend(offsets)
        return profiles

    def pass_over(self, unit: UnitKey, offset: int) -> None:
        """Notes that the profile at ``offset``, of a unit that is not judged, is done."""
        self._judged.setdefault(unit, []).append(offset)

    def read_again(self) -> None:
        """The profiles topic is read again from earlier offsets: no mark counts until it comes again."""
        self._frontiers.clear()

    def _frontier(self, partition: int) -> Frontier:
        if partition not in self._frontiers:
            self._frontiers[partition] = Frontier(self._rules.topics, self._rules.disorder_ms)
        return self._frontiers[partition]

    def _reached(self, buffer: SlotBuffer) -> tuple[int, Partition | None]:
        return self._frontier(buffer.home).of(buffer.closed)

"""A unit's profiles that wait until all partitions have been read up to the ends of their slots. Pure.

The looks of a unit follow from its profiles alone: at each slot end of a grid, all profiles that end by then are judged
at once, in the order of slot, shard and place. The grid is as fine as the slots of the shards that bring most of the
unit's events. So the order and the time at which profiles arrive change no look.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from detectors import merging
from detectors.profiles import Epoch, Profile
from stream.judge.frontier import NOWHERE
from stream.topics.record import Partition

PER_LOOK = 4
"""Shortest slots in a look of ``look_ms``, as where shards are cut."""

LEVELS = 8
"""Level of the longest slot, as where shards are cut. A profile that claims a longer one counts as of this level."""

FULL = 512
"""Profiles that may wait. Each holds the unit's counts: about 10 KB with 20 features."""

SHARE = 16
"""A shard with less than a sixteenth of the unit's recent events does not lengthen the unit's looks."""

Key = tuple[int, str, Epoch]


class SlotsState(msgspec.Struct, frozen=True):
    """What a ``SlotBuffer`` keeps of the looks that were made. Profiles that wait are not stored: they are read again.

    ``recent_by_shard``: level of the newest slot, and recent events.
    """

    looked_ms: int
    look_level: int
    recent_by_shard: dict[str, tuple[int, int]]
    first_slot_ms: int | None
    behind_slots: int


class Due(NamedTuple):
    """The profiles of one look, in order. ``offsets``: records that are done when these profiles are judged."""

    end_ms: int
    profiles: list[Profile]
    offsets: list[int]


class _Waiting(NamedTuple):
    profile: Profile
    offsets: list[int]  # of this profile, of those that it replaced, and of those that were joined with it


class SlotBuffer:
    """Profiles of one unit by the end of their slot.

    ``looked_ms``: slot end of the last look. ``first_ms``: its first slot end. ``behind``: profiles that came
    for a slot end that was judged already. ``joined``: profiles left out since too many waited; a later profile of
    their shard holds what they held. ``closed``: by partition, up to where the unit's own shard was published whole.
    ``home``: the partition of the profiles topic from which the unit's profiles come.
    """

    __slots__ = (
        "_base_ms",
        "_level",
        "_recent",
        "_waiting",
        "behind",
        "closed",
        "first_ms",
        "home",
        "joined",
        "looked_ms",
    )

    def __init__(self, look_ms: int) -> None:
        self._base_ms = max(look_ms // PER_LOOK, 1)
        self._level = 0
        self._recent: dict[str, tuple[int, int]] = {}
        self._waiting: dict[Key, _Waiting] = {}
        self.closed: dict[Partition, int] = {}
        self.looked_ms = NOWHERE
        self.first_ms: int | None = None
        self.behind = 0
        self.joined = 0
        self.home = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, profile: Profile, offset: int, partition: int = 0) -> None:
        """Keeps a profile that has a slot, read at ``offset`` of that partition of the profiles topic. Of two of one
        slot, shard and epoch the one that is further stays.

        Cost: 2 us; when more than FULL wait, some 100 us.
        """
        assert profile.slot_end_ms is not None
        self.home = partition
        key = profile.slot_end_ms, profile.shard, profile.epoch
        known = self._waiting.get(key)
        if known is None:
            self._waiting[key] = _Waiting(profile, [offset])
        else:
            known.offsets.append(offset)
            if merging.place(profile) >= merging.place(known.profile):
                self._waiting[key] = _Waiting(profile, known.offsets)
        if not profile.slot_open:
            self._close(Partition(profile.topic, profile.partition), profile.slot_end_ms)
        if self.looked_ms == NOWHERE and (self.first_ms is None or profile.slot_end_ms < self.first_ms):
            self.first_ms = profile.slot_end_ms
        if len(self._waiting) > FULL:
            self._join()

    def _close(self, place: Partition, end_ms: int) -> None:
        """Raises ``closed`` to ``end_ms``; by the first slot of a shard only to just before it.

        The first slots of the model's other units in that partition may end there, too, and may follow. They decide who
        shares the budget at that end. They come before every later slot of this shard.
        """
        known = self.closed.get(place)
        if known is None:
            self.closed[place] = end_ms - 1
        elif end_ms > known + 1:
            self.closed[place] = end_ms

    def _join(self) -> None:
        """Leaves out every second closed profile of each shard and epoch, never the newest one."""
        by_shard: dict[tuple[str, Epoch], list[Key]] = {}
        for key in sorted(self._waiting, key=lambda key: key[0]):
            if not self._waiting[key].profile.slot_open:
                by_shard.setdefault(key[1:], []).append(key)
        for keys in by_shard.values():
            for left_out, kept in zip(keys[0::2], keys[1::2], strict=False):
                self._waiting[kept].offsets.extend(self._waiting.pop(left_out).offsets)
                self.joined += 1

    def drain_joined(self) -> int:
        """``joined`` since the last call."""
        joined, self.joined = self.joined, 0
        return joined

    def events_of(self, shard: str) -> int:
        """The most events that a waiting profile of the shard holds."""
        return max((w.profile.events for key, w in self._waiting.items() if key[1] == shard), default=0)

    def next_end(self) -> int | None:
        """The slot end of the next look; None where nothing waits."""
        if not self._waiting:
            return None
        first = min(key[0] for key in self._waiting)
        length = self._base_ms << self._level
        return -(-max(first, self.looked_ms + 1) // length) * length

    def due_end(self, frontier_ms: int) -> int | None:
        """The slot end of the next look, where all partitions have been read to it."""
        end_ms = self.next_end()
        return None if end_ms is None or end_ms > frontier_ms else end_ms

    def due(self, frontier_ms: int) -> Due | None:
        """Removes and returns the profiles of the next look; None where it has to wait."""
        end_ms = self.due_end(frontier_ms)
        if end_ms is None:
            return None
        found = [self._waiting.pop(key) for key in [key for key in self._waiting if key[0] <= end_ms]]
        found.sort(key=lambda one: _order(one.profile))
        return Due(end_ms, [one.profile for one in found], sorted(o for one in found for o in one.offsets))

    def drain(self) -> tuple[list[Profile], list[int]]:
        """Removes and returns all profiles that wait, and the offsets of their records."""
        found, self._waiting = list(self._waiting.values()), {}
        found.sort(key=lambda one: _order(one.profile))
        return [one.profile for one in found], sorted(o for one in found for o in one.offsets)

    def record_look(self, due: Due, before: Mapping[str, int], after: Mapping[str, Profile]) -> None:
        """Notes the look of ``due``. ``before``: events by shard; ``after``: the newest profile of each shard.

        A look that brought no event moves nothing: its profiles were delivered again, or hold labels only.
        """
        arrived = {n: p.events - before.get(n, 0) for n, p in after.items() if p.events > before.get(n, 0)}
        if not arrived:
            return
        for profile in due.profiles:
            assert profile.slot_end_ms is not None
            new = profile.shard in arrived and profile.events > before.get(profile.shard, 0)
            self.behind += new and profile.slot_end_ms <= self.looked_ms
        self.looked_ms = max(due.end_ms, self.looked_ms)
        for name in arrived:
            level = min(max(after[name].slot_level, 0), LEVELS)
            self._recent[name] = level, self._recent.get(name, (0, 0))[1]
        halved = {n: (level, recent // 2 + 16 * arrived.get(n, 0)) for n, (level, recent) in self._recent.items()}
        self._recent = {name: one for name, one in sorted(halved.items()) if one[1]}
        total = sum(recent for _, recent in self._recent.values())
        self._level = max(level for level, recent in self._recent.values() if SHARE * recent >= total)

    def snapshot(self) -> SlotsState:
        """What follows from the looks that were made."""
        first_ms = None if self.looked_ms == NOWHERE else self.first_ms
        return SlotsState(self.looked_ms, self._level, self._recent, first_ms, self.behind)

    def restore(self, state: SlotsState) -> None:
        """Restores ``snapshot``."""
        self.looked_ms, self._level, self._recent = state.looked_ms, state.look_level, state.recent_by_shard
        self.first_ms, self.behind = state.first_slot_ms, state.behind_slots


def _order(profile: Profile) -> tuple[int, str, merging.Place, int, str]:
    epoch = profile.epoch
    return profile.slot_end_ms or 0, profile.shard, merging.place(profile), epoch.first_offset, epoch.reference or ""

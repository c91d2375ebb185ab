"""What an observer publishes beside the effects of its records: profiles by wall time, and marks. No I/O."""

from collections.abc import Collection, Iterator, Mapping
from functools import partial

from detectors.features import UnitKey
from detectors.profiles import Profile
from stream.observe.partition import Assigned, Work
from stream.observe.unit import Unit
from stream.topics.marks import SCHEMA, Mark
from stream.topics.quarantine import Quarantined
from stream.topics.record import Partition

UNITS_PER_LOOK = 200
"""Units that publish once per look. With more units the interval grows, so that publishing takes a sixth of a core."""


NEWS_MS = 5_000
"""Wall time after which a mark reports the units in quarantine again, for judges that were started since."""

MOST_REPORTED = 200
"""Units in quarantine that a mark names: some 80 KB."""

Partitions = Collection[Partition]

Published = Profile | Mark
"""A record of the profiles topic."""


class Publishing:
    """Publishes from the units of all assigned partitions, but for those in quarantine. ``work`` does the work on
    single units."""

    __slots__ = ("_look_ms", "_partitions", "_reported", "_work")

    def __init__(self, partitions: Mapping[Partition, Assigned], work: Work, look_ms: int) -> None:
        self._partitions, self._work, self._look_ms = partitions, work, look_ms
        self._reported: dict[Partition, tuple[int, list[UnitKey]]] = {}

    def profiles_due(self, now_ms: int, at_end: Partitions | None, *, force: bool) -> Iterator[Profile]:
        """Profiles of units that have something to publish and published nothing for one look; ``force``: of all units
        that have something to publish. Each profile is made when the iterator reaches it.

        Profiles of slots that ended come first. That of an open slot is published only in the partitions ``at_end``,
        which hold no record that was not read; None: in all partitions. Elsewhere the slot ends soon.
        """
        units = sum(len(assigned.units) for assigned in self._partitions.values())
        interval_ms = 0 if force else self._look_ms * max(1, -(-units // UNITS_PER_LOOK))
        due: list[tuple[Assigned, Unit, bool]] = []
        for partition, assigned in self._partitions.items():
            ended = at_end is None or partition in at_end
            for unit in assigned.units.values():
                wanted = unit.due(now_ms, interval_ms) and (ended or not unit.in_slot)
                wanted = wanted and unit.key not in assigned.quarantined
                if wanted or unit.keeps:
                    due.append((assigned, unit, wanted))
        for assigned, unit, wanted in due:
            if wanted:
                self._work.fold_in(assigned, unit)
            yield from assigned.hand_out(unit)
            if wanted and unit.has_news and unit.key not in assigned.quarantined:
                profile = self._work.attempt(assigned, unit, "profile", partial(unit.publish, now_ms), None)
                if profile is not None:
                    yield profile

    def mark(self, partition: Partition, partitions: int, now_ms: int, *, read_to_end: bool) -> Iterator[Published]:
        """A mark of an assigned partition, after all profiles that it stands for, which the caller must publish first.

        ``partitions``: how many its topic has. ``read_to_end``: by ``now_ms`` the partition held no record that was not
        read. The mark says so only when every slot is published as it is; ``profiles_due`` does that. A slot whose
        profile may not be published yet holds the clock of the mark back. During a break between two items every other
        method may be called. No mark comes when the partition is lost meanwhile. Cost: 0.3 us a unit and 0.3 ms a
        profile.
        """
        assigned = self._partitions[partition]
        position, clock_ms = assigned.position, 0 if assigned.clock_ms is None else assigned.clock_ms
        for unit in list(assigned.units.values()):
            assigned.cut_passed(unit, clock_ms)
            if unit.keeps:
                yield from assigned.hand_out(unit)
        if self._partitions.get(partition) is assigned:
            read_to_end = read_to_end and assigned.position == position and not assigned.unpublished()
            clock_ms = assigned.shown_below_ms(clock_ms)
            news = self._news(partition, assigned, now_ms)
            yield Mark(SCHEMA, *partition, partitions, clock_ms, now_ms, read_to_end, news)

    def _news(self, partition: Partition, assigned: Assigned, now_ms: int) -> list[Quarantined] | None:
        """The units in quarantine, at most MOST_REPORTED, and refused ones; None where they were reported less than
        NEWS_MS ago."""
        held = sorted(assigned.quarantined.items(), key=repr)[:MOST_REPORTED]
        refused = sorted(assigned.places.refused.items(), key=repr)
        found = [Quarantined(*key, one.reason, one.ignored) for key, one in held]
        found += [Quarantined(*key, "", one.rows, one.limit) for key, one in refused]
        units = [one.unit for one in found]
        sent_ms, before = self._reported.get(partition, (0, []))
        if before == units and 0 <= now_ms - sent_ms < NEWS_MS:
            return None
        self._reported[partition] = now_ms, units
        return found

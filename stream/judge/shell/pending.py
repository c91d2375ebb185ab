"""Units that changed since their stored row, and the offsets that may be committed. No Kafka, no Faust."""

from collections.abc import Iterable, Mapping

from detectors.features import UnitKey
from stream.judge.shell.table import Reach


class Pending:
    """Which units are ahead of their stored row, and up to which offset each partition may be committed.

    Commit rule: the offset of the first profile that is not yet in an acknowledged row. The units of a partition are
    written at different times, so every offset is kept until it is done.
    """

    __slots__ = (
        "_changed_ms",
        "_committable",
        "_committed",
        "_held",
        "_partitions",
        "_reached",
        "_started",
        "_unsaved",
    )

    def __init__(self) -> None:
        self._changed_ms: dict[UnitKey, int] = {}  # when the first change came that is in no row
        self._unsaved: dict[UnitKey, list[int]] = {}  # offsets of its profiles that are in no row
        self._started: dict[int, dict[int, bool]] = {}  # by partition: offsets in order, and whether each is done
        self._committable: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._partitions: dict[UnitKey, int] = {}
        self._reached: dict[UnitKey, Reach] = {}
        self._held: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        """How many units are ahead of their row."""
        return len(self._changed_ms)

    @property
    def partitions(self) -> Mapping[UnitKey, int]:
        """The partition of each unit's profiles."""
        return self._partitions

    @property
    def committable(self) -> dict[int, int]:
        """The offset of each partition to start from after a restart: everything below it is done."""
        return dict(self._committable)

    @property
    def uncommitted(self) -> dict[int, int]:
        """``committable`` of the partitions where it is above what was committed."""
        return {n: offset for n, offset in self._committable.items() if offset > self._committed.get(n, 0)}

    def restore_unit(self, unit: UnitKey, partition: int, reach: Reach) -> None:
        """Notes that the unit equals its stored row, which is in ``partition`` and contains profiles up to
        ``reach``."""
        self._partitions[unit] = partition
        self._reached[unit] = reach

    def start_offset(self, partition: int, offset: int) -> None:
        """Notes that the record at ``offset`` is being processed. The first record of a partition may arrive twice."""
        if offset >= self._committable.get(partition, 0):
            self._started.setdefault(partition, {}).setdefault(offset, False)

    def hold(self, unit: UnitKey, partition: int, offset: int, timestamp_ms: int) -> None:
        """The profile at ``offset`` waits to be judged. Until it is in a row nothing beyond it may be committed."""
        self._partitions[unit] = partition
        self._reached.setdefault(unit, (0, 0))
        self._held[partition, offset] = timestamp_ms

    def mark_judged(self, unit: UnitKey, offsets: Iterable[int], now_ms: int) -> None:
        """The profiles at ``offsets``, which were held, are in the unit now."""
        partition = self._partitions[unit]
        for offset in offsets:
            self.mark_changed(unit, partition, now_ms, offset)
            self.mark_reached(unit, self._held.pop((partition, offset), 0), offset)

    def mark_changed(self, unit: UnitKey, partition: int, now_ms: int, offset: int | None = None) -> None:
        """Notes that the unit changed, by the profile at ``offset`` if one is given."""
        self._changed_ms[unit] = min(self._changed_ms.get(unit, now_ms), now_ms)  # the clock may be set back
        self._partitions[unit] = partition
        if offset is not None:
            self._unsaved.setdefault(unit, []).append(offset)

    def mark_reached(self, unit: UnitKey, timestamp_ms: int, offset: int) -> None:
        """Notes that the unit contains the profile at ``offset``."""
        self._reached[unit] = max(self._reached.get(unit, (0, 0)), (timestamp_ms, offset))

    def reach(self, unit: UnitKey) -> Reach:
        """The furthest profile that the unit contains."""
        return self._reached[unit]

    def due(self, before_ms: int, limit: int) -> list[UnitKey]:
        """At most ``limit`` units that have been ahead of their row since ``before_ms`` or longer, longest first."""
        units = [unit for unit, since_ms in self._changed_ms.items() if since_ms <= before_ms]
        return sorted(units, key=self._changed_ms.__getitem__)[:limit]

    def start_row(self, unit: UnitKey) -> list[int]:
        """Notes that a row of the unit is being written. Returns the offsets of its profiles that are in no earlier
        row."""
        self._changed_ms.pop(unit, None)
        return self._unsaved.pop(unit, [])

    def finish_offsets(self, partition: int, offsets: Iterable[int]) -> None:
        """Notes that these records are done: nothing is lost if they are not delivered again."""
        started = self._started.get(partition, {})
        started.update((offset, True) for offset in offsets if offset in started)
        while started and started[first := next(iter(started))]:
            del started[first]
            self._committable[partition] = first + 1

    def confirm_commit(self, offsets: Mapping[int, int]) -> None:
        """Notes that the broker has acknowledged the commit of these offsets."""
        self._committed.update(offsets)

    def clear(self) -> None:
        """Forgets everything, since after a rebalance every record that is not committed is delivered again."""
        for known in (self._changed_ms, self._unsaved, self._started, self._committable, self._committed, self._held):
            known.clear()
        self._partitions.clear()
        self._reached.clear()

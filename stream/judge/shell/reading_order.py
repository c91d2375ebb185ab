"""Detects records that Faust skipped after a rebalance, and where to seek back to. No I/O.

Faust seeks to the committed offset when its table is restored. Records that its consumer's thread had fetched before
may still arrive after that. They move Faust's own position ahead, and Faust then drops the records in between as read.
So the first record after every seek must be the expected one; otherwise the partition is sought again, a little later,
since Faust moves its position only after it has delivered a record.
"""

from collections.abc import Mapping


class ReadingOrder:
    """The reading position of each partition that is assigned to this worker."""

    __slots__ = ("_astray", "_begins", "_first", "_running")

    def __init__(self) -> None:
        self._begins: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._running: set[int] = set()
        self._astray: set[int] = set()

    def clear(self) -> None:
        """Accepts no record until ``set_begins``."""
        for known in (self._begins, self._first, self._running, self._astray):
            known.clear()

    def set_begins(self, offsets: Mapping[int, int]) -> None:
        """Sets the offsets from which partitions are read from now on."""
        self._begins.update(offsets)
        for partition in offsets:
            self._first.pop(partition, None)
            self._running.discard(partition)
            self._astray.discard(partition)

    def accepts(self, partition: int, offset: int) -> bool:
        """Whether the record that arrived may be processed; one that may not will arrive again.

        If the same later offset arrives again after a seek, compaction has removed the records before it, and it is
        accepted.

        >>> order = ReadingOrder()
        >>> order.set_begins({0: 101})
        >>> [order.accepts(0, offset) for offset in (106, 107)], order.pop_seeks()
        ([False, False], {0: 101})
        >>> [order.accepts(0, offset) for offset in (101, 102)], order.pop_seeks()
        ([True, True], {})
        """
        if partition in self._running:
            return True
        if partition not in self._begins:
            return False
        first = self._first.get(partition)
        if offset <= self._begins[partition] or (offset == first and partition not in self._astray):
            self._running.add(partition)
            self._astray.discard(partition)
            return True
        self._first[partition] = offset if first is None else min(first, offset)
        self._astray.add(partition)
        return False

    def pop_seeks(self) -> dict[int, int]:
        """The partitions to seek, and the offsets; each is returned once for the records that arrived until now."""
        found = {partition: self._begins[partition] for partition in self._astray}
        self._astray.clear()
        return found

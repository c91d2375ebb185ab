"""Whether a partition is read from where it was left. No I/O.

Faust goes back to the committed offset when its table is complete. What its consumer's thread had fetched before may
still arrive after that and moves Faust's own mark ahead, and Faust then drops what lies between as read. So after every
going back the first message must be the one that was wanted, or it is gone back again: a little later, since Faust
moves its mark only after it has handed a message over.
"""

from collections.abc import Mapping


class Order:
    """Of the partitions that are this worker's, by number."""

    __slots__ = ("_astray", "_begins", "_first", "_running")

    def __init__(self) -> None:
        self._begins: dict[int, int] = {}
        self._first: dict[int, int] = {}
        self._running: set[int] = set()
        self._astray: set[int] = set()

    def clear(self) -> None:
        """Nothing is taken before it is known where reading begins."""
        for known in (self._begins, self._first, self._running, self._astray):
            known.clear()

    def begin_at(self, offsets: Mapping[int, int]) -> None:
        """These partitions are read from there from now on."""
        self._begins.update(offsets)
        for partition in offsets:
            self._first.pop(partition, None)
            self._running.discard(partition)
            self._astray.discard(partition)

    def follows(self, partition: int, offset: int) -> bool:
        """Whether the next message is to be taken; one that is not comes again. A message beyond the begin is the first
        there is, compaction having taken what was before, when after going back it comes again.

        >>> order = Order()
        >>> order.begin_at({0: 101})
        >>> [order.follows(0, offset) for offset in (106, 107)], order.astray()
        ([False, False], {0: 101})
        >>> [order.follows(0, offset) for offset in (101, 102)], order.astray()
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

    def astray(self) -> dict[int, int]:
        """Partitions that are to be gone back in, and to where; each is told once for what came until now."""
        found = {partition: self._begins[partition] for partition in self._astray}
        self._astray.clear()
        return found

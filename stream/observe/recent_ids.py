"""The newest ids of a unit, by which repeated events are recognised. No I/O."""

import numpy as np

from detectors.columns import Integers
from detectors.compiled import compiled
from stream.formats.ids import NONE, Identities


class RecentIds:
    """The newest ids of one unit, to recognise repeats by. There are two generations of ``capacity`` ids each.

    When the newer generation is full, it becomes the older one, and the ids of the older one are forgotten.
    Memory: 16 bytes for each of ``capacity``. Cost: 10 us a call at a capacity of 1,000, and 5 ns an id.
    """

    __slots__ = ("_counts", "_generations")

    def __init__(self, capacity: int) -> None:
        self._generations = np.zeros((2, capacity), np.uint64)  # the newer first
        self._counts = np.zeros(2, np.int64)

    def fresh(self, identities: Identities) -> Integers | None:
        """Rows whose id is NONE or was not seen recently; None when that is true of all rows. Remembers these ids.

        Of equal ids in one call the first is such a row.
        """
        kept = np.empty(len(identities), np.int64)
        found = _sift(identities, self._generations, self._counts, kept)
        return None if found == len(identities) else kept[:found]

    def snapshot(self) -> tuple[bytes, bytes]:
        """The newer and the older generation as uint64, each in the order of the log."""
        newer, older = (own[:count] for own, count in zip(self._generations, self._counts.tolist(), strict=True))
        return newer.tobytes(), older.tobytes()

    def restore(self, newer: Identities, older: Identities) -> None:
        """Continues from a snapshot, with at most the newest ``capacity`` ids of each generation."""
        for at, given in enumerate((newer, older)):
            kept = given[max(len(given) - self._generations.shape[1], 0) :]
            self._generations[at, : len(kept)], self._counts[at] = kept, len(kept)


def compile_loops() -> None:
    """Compiles the loop, so that the first event does not wait for it."""
    RecentIds(1).fresh(np.ones(1, np.uint64))


@compiled
def _sift(identities: Identities, generations: Identities, counts: Integers, kept: Integers) -> int:
    """The compiled loop of ``RecentIds.fresh``: writes the rows to return into ``kept``, and returns their number."""
    capacity = generations.shape[1]
    slots = 8
    while slots < 4 * capacity:
        slots *= 2
    table, found = _table(generations, counts, slots), 0
    for row in range(len(identities)):
        if counts[0] >= capacity:
            generations[1] = generations[0]
            counts[0], counts[1] = 0, capacity
            table = _table(generations, counts, slots)
        identity = identities[row]
        if identity == NONE or _insert(table, identity):
            kept[found] = row
            found += 1
            if identity != NONE:
                generations[0, counts[0]] = identity
                counts[0] += 1
    return found


@compiled
def _table(generations: Identities, counts: Integers, slots: int) -> Identities:
    """A hash table of both generations, with open addressing; an empty slot is NONE."""
    table = np.zeros(slots, np.uint64)
    for generation in range(2):
        for at in range(counts[generation]):
            _insert(table, generations[generation, at])
    return table


@compiled
def _insert(table: Identities, identity: np.uint64) -> bool:
    """Inserts an id; returns whether it is new in the table."""
    slot = np.int64(identity & np.uint64(len(table) - 1))
    while table[slot] != NONE:
        if table[slot] == identity:
            return False
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = identity
    return True

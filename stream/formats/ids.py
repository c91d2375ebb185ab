"""Ids of events as numbers, and the newest of a unit, to know repeats by. No I/O.

An id is a text of up to 200 characters, of which a unit keeps thousands. What is kept is its XXH3 hash of 64 bits,
which every version of that library gives on every machine: 8 bytes whatever was sent, side by side instead of objects
all over the memory. By chance an id has the hash of another that its unit keeps once in 2^64 / 2,000 events: at a
million events a second of one unit once in 290 years.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from xxhash import xxh3_64_digest

from detectors.columns import Integers
from detectors.compiled import compiled

Identities = npt.NDArray[np.uint64]

NONE = 0
"""Of an event without an id."""


def numbers_of(texts: Sequence[str]) -> Identities:
    """Of ids, none of them empty. Cost: 0.1 us each."""
    try:
        digests = b"".join(map(xxh3_64_digest, map(str.encode, texts)))
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can say
        digests = b"".join(xxh3_64_digest(text.encode(errors="surrogatepass")) for text in texts)
    numbers = np.frombuffer(digests, ">u8").astype(np.uint64)
    numbers[numbers == NONE] = 1
    return numbers


def number_of(text: str) -> int:
    """Of one id."""
    return int(numbers_of([text])[0])


def numbers_or_none(texts: Sequence[str | None]) -> Identities:
    """Of ids, NONE where there is none."""
    given = [text for text in texts if text is not None]
    if len(given) == len(texts):
        return numbers_of(given)
    numbers = np.full(len(texts), NONE, np.uint64)
    numbers[[text is not None for text in texts]] = numbers_of(given)
    return numbers


def of_snapshot(packed: bytes, before: Sequence[str | None]) -> Identities:
    """Ids as they were kept: as uint64, or in checkpoints of version 1 as texts. Raises ValueError."""
    return np.frombuffer(packed, np.uint64) if packed else numbers_or_none(before)


class RecentIds:
    """Two generations of ids, cut by count: when ``capacity`` newer ones are known, those before them are forgotten.

    Memory: 16 bytes for each of ``capacity``. Cost: 10 us a call with 1,000, and 5 ns an id.
    """

    __slots__ = ("_counts", "_generations")

    def __init__(self, capacity: int) -> None:
        self._generations = np.zeros((2, capacity), np.uint64)  # the newer first
        self._counts = np.zeros(2, np.int64)

    def fresh(self, identities: Identities) -> Integers | None:
        """Rows whose id is not among them or is NONE, None when all are such; they are known from now on."""
        kept = np.empty(len(identities), np.int64)
        found = _sift(identities, self._generations, self._counts, kept)
        return None if found == len(identities) else kept[:found]

    def snapshot(self) -> tuple[bytes, bytes]:
        """Both generations, each in the order of the log."""
        newer, older = (own[:count] for own, count in zip(self._generations, self._counts.tolist(), strict=True))
        return newer.tobytes(), older.tobytes()

    def restore(self, newer: Identities, older: Identities) -> None:
        """Takes a snapshot up, of each generation at most the newest ``capacity``."""
        for at, given in enumerate((newer, older)):
            kept = given[max(len(given) - self._generations.shape[1], 0) :]
            self._generations[at, : len(kept)], self._counts[at] = kept, len(kept)


def compile_loops() -> None:
    """Has the loop compiled before the first event waits for it."""
    RecentIds(1).fresh(np.ones(1, np.uint64))


@compiled
def _sift(identities: Identities, generations: Identities, counts: Integers, kept: Integers) -> int:
    """Writes the rows that are fresh into ``kept``; how many."""
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
    """Open addressing; a slot is NONE where nothing is."""
    table = np.zeros(slots, np.uint64)
    for generation in range(2):
        for at in range(counts[generation]):
            _insert(table, generations[generation, at])
    return table


@compiled
def _insert(table: Identities, identity: np.uint64) -> bool:
    """Whether it was not there."""
    slot = np.int64(identity & np.uint64(len(table) - 1))
    while table[slot] != NONE:
        if table[slot] == identity:
            return False
        slot = (slot + 1) & (len(table) - 1)
    table[slot] = identity
    return True

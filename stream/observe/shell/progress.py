"""How far the running partitions are read."""

import math
from collections.abc import Callable

from stream.topics.record import Partition, Record


class Progress:
    """The partitions that are consumed (``running``), their next offsets (``next``) and their lags (``lags``).

    The lag of a partition is None until the source has fetched from it.
    """

    def __init__(self) -> None:
        self.running: set[Partition] = set()
        self.next: dict[Partition, int] = {}
        self.lags: dict[Partition, int | None] = {}
        self._read_ms: dict[Partition, int] = {}  # the broker's time of the newest event read

    def start(self, place: Partition, offset: int) -> None:
        """The partition is consumed from ``offset`` on."""
        self.next[place] = offset
        self.running.add(place)
        self.lags[place] = None

    def lose(self, place: Partition) -> bool:
        """The partition was revoked. Returns whether it was running."""
        self.lags.pop(place, None)
        if place not in self.running:
            return False
        self.running.discard(place)
        return True

    def advance(self, place: Partition, newest: Record) -> None:
        """All records up to ``newest`` were processed."""
        self.next[place] = newest.offset + 1
        self._read_ms[place] = newest.timestamp_ms

    def measure_lags(self, high_water: Callable[[Partition], int | None]) -> None:
        """Computes the lag of every running partition. ``high_water``: the end of a partition as of its last fetch."""
        for place in self.running:
            end = high_water(place)
            self.lags[place] = None if end is None else max(0, end - self.next[place])

    def read_up_to_ms(self) -> float:
        """The broker's time up to which all running partitions are read; infinity when none is behind."""
        behind = [self._read_ms.get(place, 0) for place in self.running if self.lags.get(place) != 0]
        return min(behind, default=math.inf)

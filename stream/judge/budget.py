"""How many units share a model's budget of false alarms, decided by the log alone.

Versions and segments of a model have equal parts of its budget. Which of them there are is decided at the offset of the
profile that is judged, never by the units that a judge happens to hold: a judge that reads the same profiles again,
after rows that were written at different times, repeats the same parts.
"""

from bisect import bisect_right, insort


class Sharing:
    """By model: the offsets of its units' first profiles in its partition of the profiles topic, ascending."""

    __slots__ = ("_first_offsets",)

    def __init__(self) -> None:
        self._first_offsets: dict[str, list[int]] = {}

    def include(self, model: str, first_offset: int) -> None:
        """Counts a unit of the model whose first profile lies at that offset."""
        insort(self._first_offsets.setdefault(model, []), first_offset)

    def exclude(self, model: str, first_offset: int) -> None:
        """Removes a unit that ``include`` counted."""
        offsets = self._first_offsets[model]
        del offsets[bisect_right(offsets, first_offset) - 1]
        if not offsets:
            del self._first_offsets[model]

    def sharers(self, model: str, offset: int) -> int:
        """How many units of the model have their first profile at or before ``offset``; at least 1. O(log units).

        >>> sharing = Sharing()
        >>> for first_offset in (7, 3, 7):
        ...     sharing.include("fraud", first_offset)
        >>> [sharing.sharers("fraud", offset) for offset in (3, 6, 7)]
        [1, 1, 3]
        """
        return max(bisect_right(self._first_offsets.get(model, ()), offset), 1)

"""Who shares a model's budget of false alarms, as a function of the log alone. No Kafka.

Versions and segments of a model have equal parts of its budget. Which of them there are is taken at the offset of the
profile that is being judged, never from what a judge happens to hold: one that reads the same profiles again, after
rows that were written at different times, gives each look the part that it had before.
"""

from bisect import bisect_right, insort


class Sharing:
    """By model: the offsets in its partition of the profiles topic at which its units were first heard, ascending."""

    __slots__ = ("_heard",)

    def __init__(self) -> None:
        self._heard: dict[str, list[int]] = {}

    def add(self, model: str, first_heard: int) -> None:
        """A unit of the model, first heard there."""
        insort(self._heard.setdefault(model, []), first_heard)

    def remove(self, model: str, first_heard: int) -> None:
        """One that ``add`` was told of."""
        offsets = self._heard[model]
        del offsets[bisect_right(offsets, first_heard) - 1]
        if not offsets:
            del self._heard[model]

    def sharers(self, model: str, offset: int) -> int:
        """How many units of the model had been heard when the record at ``offset`` was; at least 1. O(log units).

        >>> sharing = Sharing()
        >>> for offset in (7, 3, 7):
        ...     sharing.add("fraud", offset)
        >>> [sharing.sharers("fraud", offset) for offset in (3, 6, 7)]
        [1, 1, 3]
        """
        return max(bisect_right(self._heard.get(model, ()), offset), 1)

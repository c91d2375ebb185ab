"""Why a model cannot be judged, and after how long a silence it counts as silent."""

from enum import StrEnum


class BlindReason(StrEnum):
    """The reason why a model cannot be judged."""

    MISSING_REFERENCE = "missing-reference"
    SILENT = "silent"
    LAG = "lag"
    UNREADABLE = "unreadable"
    UNMATCHED_LABELS = "unmatched-labels"
    MISSING_LABELS = "missing-labels"


class Rhythm:
    """How often anything arrives for a unit, on the wall clock. It is learned from the stream, not configured.

    ``newest_ms``: the last arrival. ``mean_ms``: running mean of the gaps (weight 1/16). ``longest_ms``: the longest
    gap, reduced by 1 % with each new gap.
    """

    __slots__ = ("longest_ms", "mean_ms", "newest_ms")

    def __init__(self, newest_ms: int | None = None, mean_ms: float = 0.0, longest_ms: float = 0.0) -> None:
        self.newest_ms = newest_ms
        self.mean_ms = mean_ms
        self.longest_ms = longest_ms

    def record_arrival(self, now_ms: int) -> None:
        """Records that something arrived."""
        if self.newest_ms is not None and now_ms > self.newest_ms:
            gap = now_ms - self.newest_ms
            self.mean_ms = gap if not self.mean_ms else self.mean_ms + (gap - self.mean_ms) / 16
            self.longest_ms = max(self.longest_ms * 0.99, gap)
        self.newest_ms = now_ms

    def silent_ms(self, now_ms: int) -> int:
        """The time since the last arrival. It starts now where nothing ever arrived or the clock was set back."""
        if self.newest_ms is None or now_ms < self.newest_ms:
            self.newest_ms = now_ms
        return now_ms - self.newest_ms

    def patience_ms(self, factor: float, least_ms: int, unknown_ms: int) -> float:
        """The longest usual silence: ``factor`` mean gaps or three times the longest gap, at least ``least_ms``.

        ``unknown_ms`` is the answer before the first gap.
        """
        if not self.mean_ms:
            return float(unknown_ms)
        return max(factor * self.mean_ms, 3 * self.longest_ms, float(least_ms))

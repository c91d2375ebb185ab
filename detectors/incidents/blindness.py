"""Why a model cannot be judged, and how long the gaps between its events are."""

from enum import StrEnum


class BlindReason(StrEnum):
    """The reason why a model cannot be judged."""

    QUARANTINED = "quarantined"
    REFUSED = "refused"
    MISSING_REFERENCE = "missing-reference"
    SILENT = "silent"
    LATE = "late"
    LAG = "lag"
    UNREADABLE = "unreadable"
    UNMATCHED_LABELS = "unmatched-labels"
    MISSING_LABELS = "missing-labels"


class Rhythm:
    """How long the last gaps between events were, in event time. It is learned from the stream, not configured.

    ``mean_ms``: running mean of the gaps (weight 1/16). ``longest_ms``: the longest gap, reduced by 1 % with each new
    gap. A gap counts at most as the longest usual one before it, so a night or a downtime is not taken for the rhythm.
    """

    __slots__ = ("longest_ms", "mean_ms")

    def __init__(self, mean_ms: float = 0.0, longest_ms: float = 0.0) -> None:
        self.mean_ms = mean_ms
        self.longest_ms = longest_ms

    def record(self, gap_ms: float, patience_ms: float) -> None:
        """Records a gap. ``patience_ms``: the longest usual silence before it."""
        gap_ms = min(gap_ms, patience_ms)
        self.mean_ms = gap_ms if not self.mean_ms else self.mean_ms + (gap_ms - self.mean_ms) / 16
        self.longest_ms = max(self.longest_ms * 0.99, gap_ms)

    def patience_ms(self, factor: float, least_ms: int, unknown_ms: int) -> float:
        """The longest usual silence: ``factor`` mean gaps or three times the longest gap, at least ``least_ms``.

        ``unknown_ms`` is returned before the first gap.
        """
        if not self.mean_ms:
            return float(unknown_ms)
        return max(factor * self.mean_ms, 3 * self.longest_ms, float(least_ms))

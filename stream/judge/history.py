"""A unit's evidence over event time, thinned out so that it stays small."""

HISTORY = 240
"""Most points of a unit. When there are this many, every second one is dropped and the interval doubles."""

FIRST_STEP_MS = 1_000


class EvidenceHistory:
    """``points``: event time in ms and log10 of the evidence. ``step_ms``: the shortest time between two points."""

    __slots__ = ("points", "step_ms")

    def __init__(self) -> None:
        self.points: list[tuple[int, float]] = []
        self.step_ms = FIRST_STEP_MS

    def is_due(self, at_ms: int) -> bool:
        """Whether a point at ``at_ms`` is far enough from the last one."""
        return not self.points or at_ms - self.points[-1][0] >= self.step_ms

    def record(self, at_ms: int, log10: float) -> None:
        """Appends a point."""
        self.points.append((at_ms, log10))
        if len(self.points) >= HISTORY:
            self.points = self.points[::2]
            self.step_ms *= 2

    def clear(self) -> None:
        """Starts again, for another reference."""
        self.points, self.step_ms = [], FIRST_STEP_MS

    def restore(self, points: list[tuple[int, float]], step_ms: int) -> None:
        """Restores both attributes from a snapshot."""
        self.points, self.step_ms = points, step_ms

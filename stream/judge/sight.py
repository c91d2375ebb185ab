"""Whether a unit's data arrives and can be read: the wall clock and the reading side decide, not the events."""

from typing import NamedTuple

import msgspec

from detectors.incidents.blindness import BlindReason, Rhythm
from stream.judge.effects import Health
from stream.judge.look import Look
from stream.judge.settings import BlindRules

LAG_LASTS_MS = 5_000
"""A lag that is shorter than this is normal reading."""


WAITS_MS = 3_000
"""A unit that waits for a partition for less than this is read as usual."""


class HeldBack(NamedTuple):
    """A look that waits for a partition while others were read to its end. ``behind_ms``: event time of the newest of
    all partitions less ``frontier_ms``, which that partition has reached; None where nothing of it is known."""

    partition: str
    frontier_ms: int
    behind_ms: int | None

    def __str__(self) -> str:
        if self.behind_ms is None:
            return f"waiting for {self.partition}, which has not been read"
        return f"waiting for {self.partition}, {self.behind_ms / 1000:,.0f} s behind"


class SightState(msgspec.Struct, frozen=True):
    """The snapshot of a ``Sight``: mean and longest gap in ms."""

    rhythm: tuple[float, float]


class Sight:
    """``reason``: why the unit's data is not seen, None while it is; ``detail``: the same as a text.

    ``rhythm``: how often new events arrive. ``late_only``: the newest profile brought only events that do not count.
    ``waiting``: what holds the unit back, where it does so longer or further than usual reading does.
    """

    __slots__ = (
        "_held_back",
        "_lag_since_ms",
        "_moved_ms",
        "_rules",
        "detail",
        "late_only",
        "reason",
        "rhythm",
        "waiting",
    )

    def __init__(self, rules: BlindRules) -> None:
        self._rules = rules
        self._lag_since_ms: int | None = None
        self._held_back: HeldBack | None = None
        self._moved_ms = 0
        self.waiting: HeldBack | None = None
        self.rhythm = Rhythm()
        self.late_only = False
        self.reason: BlindReason | None = None
        self.detail = ""

    def note_profile(self, brings_events: bool, now_ms: int | None) -> None:
        """Notes whether the newest profile brought events that count. ``now_ms`` None: that was noted on arrival."""
        if now_ms is not None:
            self.late_only = not brings_events

    def note_arrival(self, brings_events: bool, now_ms: int) -> None:
        """Notes a profile that arrived at ``now_ms`` of wall time, and whether it brought events that count."""
        self.note_profile(brings_events, now_ms)
        self.note_events(now_ms if brings_events else None)

    def note_events(self, now_ms: int | None) -> None:
        """Notes that events arrived at ``now_ms`` of wall time; None: none did, or that was noted on arrival."""
        if now_ms is not None:
            self.rhythm.record_arrival(now_ms)

    def follow_frontier(self, held_back: HeldBack | None, usual_ms: int, now_ms: int) -> None:
        """Notes what holds the unit back at ``now_ms`` of wall time. ``usual_ms``: a partition that is less behind is
        read as usual."""
        before, self._held_back = self._held_back, held_back
        if held_back is None:
            self.waiting = None
            return
        if before is None or before.frontier_ms != held_back.frontier_ms or now_ms < self._moved_ms:
            self._moved_ms = now_ms
        far = held_back.behind_ms is not None and held_back.behind_ms >= usual_ms + WAITS_MS
        self.waiting = held_back if far or now_ms - self._moved_ms >= WAITS_MS else None

    def check(self, model: str, look: Look, now_ms: int, health: Health) -> None:
        """Sets ``reason`` and ``detail`` as of ``now_ms`` of wall time."""
        self.reason, self.detail = self._checked(model, look, now_ms, health)

    def clear(self) -> None:
        """Removes the reason: the unit is forgotten, so its silence is not a fault."""
        self.reason = None

    def _checked(self, model: str, look: Look, now_ms: int, health: Health) -> tuple[BlindReason | None, str]:
        rules = self._rules
        if look.digest is not None and look.watch is None:
            return BlindReason.MISSING_REFERENCE, f"its reference {look.digest[:19]} has not been read"
        invalid, records = health.invalid.get(model, 0), health.records.get(model, 0)
        if invalid >= rules.invalid_records and invalid >= rules.invalid_share * records:
            return BlindReason.UNREADABLE, f"{invalid:,} of the last minute's {records:,} records cannot be read"
        if (lag := self._lag(now_ms, health)) is not None:
            return BlindReason.LAG, lag
        if self._held_back is not None and now_ms - self._moved_ms >= rules.lag_ms:
            return BlindReason.LAG, str(self._held_back)
        silent_ms = self.rhythm.silent_ms(now_ms)
        patience = self.rhythm.patience_ms(rules.silent_factor, rules.min_silent_ms, rules.max_silent_ms)
        if silent_ms > patience:
            late = ", but late ones" if self.late_only else ""
            return BlindReason.SILENT, f"no event for more than {patience / 1000:,.0f} s{late}"
        return None, ""

    def _lag(self, now_ms: int, health: Health) -> str | None:
        """The lag as a text, where it is above its limits and has lasted LAG_LASTS_MS."""
        rules = self._rules
        lag, age = health.lag_records or 0, health.lag_seconds or 0.0
        if lag <= 0 or (lag <= rules.lag_records and 1000 * age <= rules.lag_ms):
            self._lag_since_ms = None
            return None
        if self._lag_since_ms is None:
            self._lag_since_ms = now_ms
        if now_ms - self._lag_since_ms < LAG_LASTS_MS:
            return None
        return f"reading is {lag:,} records behind, {age:,.0f} s"

    def snapshot(self) -> SightState:
        return SightState((self.rhythm.mean_ms, self.rhythm.longest_ms))

    def restore(self, state: SightState) -> None:
        self.rhythm = Rhythm(None, *state.rhythm)

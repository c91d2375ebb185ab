"""Whether a unit's data arrives and can be read: the wall clock and the reading side decide, not the events."""

import msgspec

from detectors.incidents.blindness import BlindReason, Rhythm
from stream.judge.effects import Health
from stream.judge.look import Look
from stream.judge.settings import BlindRules

LAG_LASTS_MS = 5_000
"""A lag that is shorter than this is normal reading."""


class SightState(msgspec.Struct, frozen=True):
    """``Sight`` in a snapshot: mean and longest gap in ms."""

    rhythm: tuple[float, float]


class Sight:
    """``reason``: why the unit's data is not seen, None while it is; ``detail``: the same as a text.

    ``rhythm``: how often new events arrive. ``late_only``: the newest profile brought only events that do not count.
    """

    __slots__ = ("_lag_since_ms", "_rules", "detail", "late_only", "reason", "rhythm")

    def __init__(self, rules: BlindRules) -> None:
        self._rules = rules
        self._lag_since_ms: int | None = None
        self.rhythm = Rhythm()
        self.late_only = False
        self.reason: BlindReason | None = None
        self.detail = ""

    def note_profile(self, brings_events: bool) -> None:
        """Notes whether the newest profile brought events that count."""
        self.late_only = not brings_events

    def note_events(self, now_ms: int) -> None:
        """Notes that events arrived at ``now_ms`` of wall time."""
        self.rhythm.record_arrival(now_ms)

    def check(self, model: str, look: Look, now_ms: int, health: Health) -> None:
        """Sets ``reason`` and ``detail`` as of ``now_ms`` of wall time."""
        self.reason, self.detail = self._checked(model, look, now_ms, health)

    def clear(self) -> None:
        """Removes the reason: the unit is forgotten and its silence is no fault."""
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

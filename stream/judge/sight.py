"""Whether a unit's data arrives and can be read.

When events usually come is learned from the log. The wall clock only says how long none has come.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from detectors.incidents.activity import LOOKED_AT_MS, MINUTE_MS, Activity, ActivityState, Found, Silence
from detectors.incidents.blindness import BlindReason, Rhythm
from detectors.profiles import Profile
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


FOLLOWED = 4
"""The usual delay of events rises by at most a quarter of the wall time that passes: a downtime is no usual delay."""

OLD_MS = 8 * 86_400_000
"""Event times that are older than this when they arrive are of a file: they go on as the wall clock does."""

NEAR_MS = 20 * 3_600_000
"""A time that is nearer than this needs no date."""

QUIET = (Silence.USUAL, Silence.PAUSE, Silence.FADED)


class SightState(msgspec.Struct, frozen=True):
    """The snapshot of a ``Sight``: mean and longest gap in ms. ``activity`` is None before the first event, and in rows
    that were written before it was kept."""

    rhythm: tuple[float, float]
    activity: ActivityState | None
    delay_ms: int


def _delay_after(before_ms: int, found_ms: int, passed_ms: int) -> int:
    """How much older than the wall clock events usually are when they arrive: ``before_ms`` until now, ``found_ms``
    for the newest, ``passed_ms`` of wall time after the one before it."""
    if found_ms < before_ms or found_ms - before_ms > OLD_MS:
        return found_ms
    if before_ms < 0 <= found_ms:
        return 0
    return min(found_ms, before_ms + max(passed_ms, 0) // FOLLOWED)


class Sight:
    """``reason``: why the unit's data is not seen, None while it is. ``quiet``: that no event comes, as usual; None
    while they come, or should. ``detail``: either as a text.

    ``activity``: how often, and when, events come. ``late_only``: the newest profile brought only events that do not
    count. ``waiting``: what holds the unit back, where it does so longer or further than usual reading does.
    """

    __slots__ = (
        "_arrived_ms",
        "_came_ms",
        "_delay_ms",
        "_held_back",
        "_lag_since_ms",
        "_late",
        "_late_of",
        "_moved_ms",
        "_rules",
        "activity",
        "detail",
        "late_only",
        "quiet",
        "reason",
        "waiting",
    )

    def __init__(self, rules: BlindRules) -> None:
        self._rules = rules
        self._lag_since_ms: int | None = None
        self._late = 0  # late events since the last one that counts
        self._late_of: dict[str, int] = {}  # late events of each shard
        self._held_back: HeldBack | None = None
        self._moved_ms = 0
        self.waiting: HeldBack | None = None
        self.activity = Activity()
        self._arrived_ms: int | None = None  # wall time; of the first check where nothing arrived since the start
        self._delay_ms = 0
        self._came_ms: int | None = None  # newest event time that arrived, judged or not
        self.quiet: Found | None = None
        self.late_only = False
        self.reason: BlindReason | None = None
        self.detail = ""

    def note_profile(self, before: Profile | None, profile: Profile, brings_events: bool, now_ms: int | None) -> None:
        """Notes a profile that arrived at ``now_ms`` of wall time, and whether it brought events that count.
        ``before``: the judged one of its shard. ``now_ms`` None: that was noted on arrival."""
        if now_ms is None:
            return
        self.late_only = not brings_events
        known = max(self._late_of.get(profile.shard, 0), before.late if before is not None else 0)
        self._late_of[profile.shard] = max(profile.late, known)
        self._late = 0 if brings_events else self._late + max(profile.late - known, 0)
        if brings_events:
            event_ms = _counted_to_ms(profile)
            event_ms = now_ms if event_ms is None else event_ms
            passed_ms = 0 if self._arrived_ms is None else now_ms - self._arrived_ms
            self._delay_ms, self._arrived_ms = _delay_after(self._delay_ms, now_ms - event_ms, passed_ms), now_ms
            self._came_ms = max(self._came_ms or event_ms, event_ms)

    def record_events(self, profiles: Iterable[Profile]) -> None:
        """Records the event time up to which ``profiles`` count. They were judged and brought events."""
        times_ms = [at_ms for at_ms in map(_counted_to_ms, profiles) if at_ms is not None]
        if times_ms:
            self.activity.record(max(times_ms), self.patience_ms)

    @property
    def patience_ms(self) -> float:
        """The longest usual silence, by the last gaps."""
        rules = self._rules
        return self.activity.rhythm.patience_ms(rules.silent_factor, rules.min_silent_ms, rules.max_silent_ms)

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
        """Sets ``reason``, ``quiet`` and ``detail`` as of ``now_ms`` of wall time."""
        self.quiet = None
        self.reason, self.detail = self._checked(model, look, now_ms, health)

    def cover(self, reason: BlindReason, detail: str) -> None:
        """Sets another reason, which goes before all that ``check`` finds."""
        self.quiet, self.reason, self.detail = None, reason, detail

    def stay_quiet(self) -> None:
        """The unit was quiet when it was stored. It stays so until the first check."""
        self.quiet = Found(Silence.USUAL)

    def clear(self) -> None:
        """Removes the reason: the unit is forgotten, so its silence is not a fault."""
        self.reason = self.quiet = None

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
        return self._silence(now_ms)

    def _silence(self, now_ms: int) -> tuple[BlindReason | None, str]:
        """What the silence since the newest event is: nothing, quiet, or a reason to be blind."""
        if self._arrived_ms is None or now_ms < self._arrived_ms:  # nothing came yet, or the clock was set back
            self._arrived_ms = now_ms
        waited_ms, patience_ms, since_ms = now_ms - self._arrived_ms, self.patience_ms, self.activity.newest_ms
        short = waited_ms <= min(patience_ms, LOOKED_AT_MS)
        if short and self._came_ms is not None:
            return None, ""
        silent_ms = waited_ms
        if since_ms is not None and (self._came_ms or 0) <= since_ms:  # nothing waits to be judged
            silent_ms = max(waited_ms, now_ms - self._delay_ms - since_ms)
        found = self.activity.judge(silent_ms, patience_ms)
        if found.silence in QUIET and self._late < self._rules.invalid_records:
            self.quiet = found
            return None, _quiet_text(found, now_ms)
        if short or found.silence is Silence.NONE:  # after a start, what came meanwhile may not have been read yet
            return None, ""
        late = ", but late ones" if self.late_only else ""
        if found.silence is Silence.LATE and found.expected_ms is not None:
            return BlindReason.LATE, f"late: events usually come by {_time(found.expected_ms, now_ms)}, none came{late}"
        return BlindReason.SILENT, f"no event for more than {patience_ms / 1000:,.0f} s{late}"

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
        rhythm = self.activity.rhythm
        return SightState((rhythm.mean_ms, rhythm.longest_ms), self.activity.snapshot(), self._delay_ms)

    def restore(self, state: SightState) -> None:
        """Restores ``snapshot`` into a new one."""
        self._delay_ms = state.delay_ms
        self.activity.restore(state.activity, Rhythm(*state.rhythm))


def _counted_to_ms(profile: Profile) -> int | None:
    """Its last event time. One in the future of its record does not count beyond the slot."""
    if profile.slot_end_ms is None or profile.last_timestamp_ms is None:
        return profile.last_timestamp_ms
    return min(profile.slot_end_ms - 1, profile.last_timestamp_ms)


def _quiet_text(found: Found, now_ms: int) -> str:
    if found.silence is Silence.FADED or found.expected_ms is None:
        return "events became rare before they stopped; whether this hour is usually silent is not known yet"
    usual = "usually silent at this hour" if found.silence is Silence.USUAL else "pauses are usual at this hour"
    return f"{usual}, next events expected by {_time(found.expected_ms, now_ms)}"


def _time(at_ms: int, now_ms: int) -> str:
    """The time of the day in UTC, in whole minutes; with its date where that is not near."""
    when = datetime.fromtimestamp(-(-at_ms // MINUTE_MS) * MINUTE_MS / 1000, UTC)
    return when.strftime("%H:%M UTC" if abs(at_ms - now_ms) < NEAR_MS else "%Y-%m-%d %H:%M UTC")

"""When a unit usually sends events: the hours of the last 30 days, and whether a silence is usual.

A silence that began at s is compared with the silences that began near s on each of the last seven days and on this
weekday of the last four weeks. It is usual from the time at which most of those had begun until the time at which most
of them had ended. All times are event times, so what is learned follows from the log alone.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from enum import StrEnum
from itertools import islice
from typing import NamedTuple

import msgspec

from detectors.incidents.blindness import Rhythm

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

HOURS_KEPT = 30 * 24
"""Hours that are remembered: 28 days before the newest event, and what began before them."""

PLACE_MS = 15_000
"""Resolution of the first and of the last event of an hour."""

NONE = 255
"""The place of the first event in an hour without events."""

CODES = 16
"""A pause of s seconds is kept as round(16 log2(1 + s)): to 2 %."""

DAYS, WEEKS = (1, 2, 3, 4, 5, 6, 7), (7, 14, 21, 28)
"""Days before a silence with which it is compared. Most of the known days must agree, or half of the known weeks.
A day within a silence of more than a day is not known, nor is a week within one of more than a week."""

LONG_MS = 6 * HOUR_MS
"""A pause of this length is a silence, however rare events are."""

LOOKED_AT_MS = 15 * MINUTE_MS
"""A silence of this length is compared with earlier ones, even where events are so rare that it is not long."""

LEAST_EDGE_MS = 10 * MINUTE_MS
"""By this much a silence may begin earlier or end later than all of those before it."""

SURE_DAYS, SURE_WEEKS = 3, 2
"""So many silences that all end at one time of the day make the next end certain."""

FADE, STEP = 2.5, 4.0
"""Events fade if the last gaps are this many times as long as those of the last hour. One gap counts as at most STEP
times as long as the last ones, so one long gap is no fading."""

FEW_GAPS = 8
"""With fewer gaps than this, it is not known whether events fade."""


class Silence(StrEnum):
    """What a silence is. ``PAUSE``: longer than the gaps before it, and usual at this hour. ``FADED``: nothing is known
    of this hour yet, and events became rare before they stopped."""

    NONE = "none"
    USUAL = "usual"
    PAUSE = "pause"
    FADED = "faded"
    UNUSUAL = "unusual"
    LATE = "late"


class Found(NamedTuple):
    """``expected_ms``: event time by which events usually come again; None where that is not known."""

    silence: Silence
    expected_ms: int | None = None


class Usual(NamedTuple):
    """A silence as it usually is: from ``begin_ms`` to ``until_ms``, edges included. ``expected_ms``: its usual end.
    ``always``: it came on all days that are known. ``sure``: so often, and each time at that time of the day."""

    begin_ms: int
    until_ms: int
    expected_ms: int
    always: bool
    sure: bool


class ActivityState(msgspec.Struct, frozen=True):
    """The snapshot of an ``Activity``. ``hours``: three bytes for each hour from ``start_ms`` or HOURS_KEPT ago."""

    hours: bytes
    start_ms: int
    newest_ms: int
    recent_ms: float
    rate: float
    gaps: int


Gap = tuple[int, int]
"""Begin and end of a time without events."""


class Activity:
    """The hours and the rhythm of a unit. State: 2.2 KB. Cost: 4 us for each time with events; 0.3 ms for the first
    question about a silence, 4 us for others.

    ``start_ms``: the first event time; ``newest_ms``: the last one, None before the first. ``gaps``: how many gaps
    there were, at most FEW_GAPS.

    For every hour there are three bytes: place of the first and of the last event, and the longest pause between them.
    """

    __slots__ = ("_asked", "_hours", "_rate", "_recent_ms", "gaps", "newest_ms", "rhythm", "start_ms")

    def __init__(self) -> None:
        self._hours = bytearray((NONE, 0, 0)) * HOURS_KEPT
        self._recent_ms = 0.0  # running mean of the gaps, weight 1/4
        self._rate = 0.0  # gaps in an hour: a running sum that decays by e in an hour
        self._asked: tuple[int, float, list[Usual], float] | None = None
        self.rhythm = Rhythm()
        self.start_ms = 0
        self.newest_ms: int | None = None
        self.gaps = 0

    def record(self, at_ms: int, patience_ms: float) -> None:
        """Records that there were events at ``at_ms``. Times before the newest one are left out. ``patience_ms``: the
        longest usual gap before."""
        newest_ms = self.newest_ms
        if newest_ms is None:
            self.start_ms = at_ms
        elif at_ms <= newest_ms:
            return
        else:
            self.rhythm.record(at_ms - newest_ms, patience_ms)
            self._count_gap(at_ms - newest_ms)
            self._clear(newest_ms // HOUR_MS + 1, at_ms // HOUR_MS)
        at, place = self._at(at_ms // HOUR_MS), at_ms % HOUR_MS // PLACE_MS
        if self._hours[at] == NONE:
            self._hours[at : at + 3] = bytes((place, place, 0))
        elif newest_ms is not None:
            code = round(CODES * math.log2(1 + (at_ms - newest_ms) / SECOND_MS))
            self._hours[at + 1 : at + 3] = bytes((place, max(self._hours[at + 2], code)))
        self.newest_ms = at_ms

    def _count_gap(self, gap_ms: int) -> None:
        most_ms = STEP * self._recent_ms if self.gaps else gap_ms
        self._recent_ms += (min(gap_ms, most_ms) - self._recent_ms) / (4 if self.gaps else 1)
        self._rate = self._rate * math.exp(-gap_ms / HOUR_MS) + 1.0
        self.gaps = min(self.gaps + 1, FEW_GAPS)

    def _clear(self, first_hour: int, hour: int) -> None:
        for cleared in range(max(first_hour, hour - HOURS_KEPT + 1), hour + 1):
            at = self._at(cleared)
            self._hours[at : at + 3] = bytes((NONE, 0, 0))

    def _at(self, hour: int) -> int:
        return hour % HOURS_KEPT * 3

    def judge(self, silent_ms: int, patience_ms: float) -> Found:
        """What a silence of ``silent_ms`` since the newest event is. ``patience_ms``: the longest usual gap between
        events, by the last ones."""
        since_ms = self.newest_ms
        if since_ms is None or silent_ms <= min(patience_ms, LOOKED_AT_MS):
            return Found(Silence.UNUSUAL if silent_ms > patience_ms else Silence.NONE)
        usual, pause_ms = self._usual(since_ms, patience_ms)
        now_ms = since_ms + silent_ms
        short = silent_ms <= patience_ms
        inside = [one for one in usual if one.begin_ms <= now_ms <= one.until_ms and (one.always or not short)]
        if inside:
            return Found(Silence.USUAL, max(one.expected_ms for one in inside))
        late = [one for one in usual if now_ms > one.until_ms and (one.sure or not short)]
        if late:
            return Found(Silence.LATE, max(one.expected_ms for one in late))
        if short:
            return Found(Silence.NONE)
        if silent_ms <= pause_ms:
            return Found(Silence.PAUSE, round(since_ms + pause_ms))
        known_ms = self.start_ms + DAY_MS + LOOKED_AT_MS  # then there were events at this time of the day before
        if since_ms - DAY_MS < self.start_ms and now_ms <= known_ms and self._faded():
            return Found(Silence.FADED, known_ms)
        return Found(Silence.UNUSUAL)

    def _faded(self) -> bool:
        """Whether the last gaps are long for the last hour."""
        assert self.newest_ms is not None
        span_ms = min(self.newest_ms - self.start_ms, 40 * HOUR_MS)
        filled = 1 - math.exp(-span_ms / HOUR_MS)
        return self.gaps >= FEW_GAPS and self._recent_ms * self._rate >= FADE * HOUR_MS * filled

    def _usual(self, since_ms: int, patience_ms: float) -> tuple[list[Usual], float]:
        """The usual silences near ``since_ms``, by days and by weeks; and twice the usual longest pause at this hour,
        in ms. They are found once in a silence."""
        if self._asked is not None and self._asked[:2] == (since_ms, patience_ms):
            return self._asked[2:]
        known_ms = max(self.start_ms, (since_ms // HOUR_MS - HOURS_KEPT + 1) * HOUR_MS)
        gaps = self._gaps(since_ms, max(min(patience_ms, LONG_MS), MINUTE_MS))
        usual, pause_ms, found_before = list[Usual](), 0.0, 0
        for apart, wanted in ((DAYS, SURE_DAYS), (WEEKS, SURE_WEEKS)):
            known = [days for days in apart if since_ms - days * DAY_MS >= known_ms - HOUR_MS]
            if not known:
                continue
            near = [_near(gaps, since_ms, days * DAY_MS) for days in known]
            own = [gap for gap in near if gap is None or _is_of(gap, apart[0] * DAY_MS)]
            needed = len(own) // 2 + 1 if apart is DAYS else (len(own) + 1) // 2
            there = [gap for gap in own if gap is not None]
            if there and len(there) >= needed:
                usual.append(_usual_of(there, needed, len(own), wanted, max(found_before, len(there)) >= SURE_DAYS))
            found_before = len(there)
            needed = len(known) // 2 + 1
            pauses = sorted((self._pause_ms(since_ms - days * DAY_MS) for days in known), reverse=True)
            pause_ms = max(pause_ms, 2 * pauses[needed - 1])
        self._asked = since_ms, patience_ms, usual, pause_ms
        return usual, pause_ms

    def _gaps(self, until_ms: int, least_ms: float) -> list[Gap]:
        """All gaps of at least ``least_ms`` that go over the end of an hour, oldest first."""
        hour, found = until_ms // HOUR_MS, list[Gap]()
        begin_ms: int | None = None
        for one in range(max(hour - HOURS_KEPT + 1, self.start_ms // HOUR_MS), hour + 1):
            at = self._at(one)
            if self._hours[at] == NONE:
                continue
            end_ms = one * HOUR_MS + self._hours[at] * PLACE_MS
            if begin_ms is not None and end_ms - begin_ms >= least_ms:
                found.append((begin_ms, end_ms))
            begin_ms = one * HOUR_MS + self._hours[at + 1] * PLACE_MS
        return found

    def _pause_ms(self, at_ms: int) -> float:
        """The longest pause within the hour of ``at_ms``, and within the next one where that begins soon."""
        hours = {at_ms // HOUR_MS, (at_ms + LOOKED_AT_MS) // HOUR_MS}
        code = max(self._hours[self._at(hour) + 2] for hour in hours)
        return SECOND_MS * (2 ** (code / CODES) - 1)

    def snapshot(self) -> ActivityState | None:
        """Everything but the rhythm; None before the first event."""
        if self.newest_ms is None:
            return None
        last = self.newest_ms // HOUR_MS
        kept = 3 * min(HOURS_KEPT, last - self.start_ms // HOUR_MS + 1)
        end = self._at(last) + 3
        hours = self._hours[max(end - kept, 0) : end]
        if kept > end:
            hours = self._hours[end - kept :] + hours
        return ActivityState(bytes(hours), self.start_ms, self.newest_ms, self._recent_ms, self._rate, self.gaps)

    def restore(self, state: ActivityState | None, rhythm: Rhythm) -> None:
        """Restores ``snapshot`` into a new one. ``rhythm`` is stored apart from it."""
        self.rhythm = rhythm
        if state is None:
            return
        last = state.newest_ms // HOUR_MS
        count = min(len(state.hours) // 3, HOURS_KEPT)
        for index in range(count):
            at = self._at(last - count + 1 + index)
            self._hours[at : at + 3] = state.hours[3 * index : 3 * index + 3]
        self.start_ms, self.newest_ms, self.gaps = state.start_ms, state.newest_ms, state.gaps
        self._recent_ms, self._rate = state.recent_ms, state.rate


def _tolerance_ms(length_ms: int) -> int:
    """By how much two silences of this length may differ and still be of one kind: an eighth, from 1 to 6 hours, and
    never more than half of it."""
    return min(max(length_ms // 8, HOUR_MS), LONG_MS, length_ms // 2)


def _is_of(gap: Gap, period_ms: int) -> bool:
    """Whether a gap may come once in every period: it is not longer. A week without events is not seven nights."""
    length_ms = gap[1] - gap[0]
    return length_ms <= period_ms + _tolerance_ms(length_ms)


def _near(gaps: Sequence[Gap], since_ms: int, apart_ms: int) -> Gap | None:
    """The gap in which that time was ``apart_ms`` before ``since_ms``, or that began soon after it; as of today. Of
    several the last: short ones come before a night."""
    at_ms, found = since_ms - apart_ms, None
    first = max(bisect_right(gaps, at_ms, key=lambda gap: gap[0]) - 1, 0)
    for begin_ms, end_ms in islice(gaps, first, None):
        if begin_ms > at_ms + LONG_MS:
            break
        if end_ms > at_ms and begin_ms <= at_ms + _tolerance_ms(end_ms - begin_ms):
            found = begin_ms + apart_ms, end_ms + apart_ms
    return found


def _usual_of(gaps: Sequence[Gap], needed: int, known: int, wanted: int, varied: bool) -> Usual:
    """The usual silence of ``gaps``, which lie on ``known`` days; ``needed`` of them must agree. ``wanted``: from so
    many on their end may be certain. ``varied``: there are enough of them to know by how much they differ."""
    begins, ends = sorted(gap[0] for gap in gaps), sorted(gap[1] for gap in gaps)
    length_ms = sorted(end - begin for begin, end in gaps)[len(gaps) // 2]
    tolerance_ms = _tolerance_ms(length_ms)
    edge_ms = min(max(LEAST_EDGE_MS, 0 if varied else length_ms // 32), tolerance_ms)
    spread_ms, always = max(ends[-1] - ends[0], begins[-1] - begins[0]), len(gaps) == known
    begin_ms = max(begins[0], begins[needed - 1] - tolerance_ms)
    end_ms = min(ends[-1], ends[len(gaps) - needed] + tolerance_ms)
    sure = always and known >= wanted and spread_ms <= max(LOOKED_AT_MS, length_ms // 24)
    return Usual(begin_ms - edge_ms, end_ms + edge_ms, end_ms, always, sure)

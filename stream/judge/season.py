"""What a unit knows of its season, and what it cannot judge yet, as plain rows and one sentence."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from detectors.evidence.explanations import SLOW_DAYS, Explanations
from detectors.evidence.hours import DAYS_APART, DAYS_KNOWN, HOUR_MS
from detectors.evidence.watch import Watch

DAY_MS = 24 * HOUR_MS


class Season(msgspec.Struct, frozen=True):
    """``source``: where the season comes from: "reference", "stream" or "none". ``days``: days of the stream that are
    remembered. ``known``: the present hour is compared with the same hours. ``known_from_ms``: event time from which it
    is, null where that is not known. ``text``: what is judged now, as a sentence."""

    source: str
    days: int
    known: bool
    known_from_ms: int | None
    text: str


ALIKE = Season("none", 0, False, None, "all hours are taken for alike: every difference from the reference counts")
OF_REFERENCE = Season("reference", 0, True, None, "hours are compared with the same hours of the reference")


def season(watch: Watch | None) -> Season | None:
    """The season of a unit; None where it has no reference."""
    if watch is None:
        return None
    if watch.sheets.seasonal:
        return OF_REFERENCE
    return ALIKE if watch.explanations is None else _learned(watch.explanations)


def _learned(found: Explanations) -> Season:
    days, first_ms = found.hours.days, found.hours.first_ms
    from_ms = None if first_ms is None else (first_ms // DAY_MS + DAYS_KNOWN) * DAY_MS
    if found.hours.known:
        apart = f"from {days} days, weekends apart" if days > DAYS_APART else f"from {days} days"
        return Season("stream", days, True, from_ms, f"known {apart}: hours are compared with the same hours")
    until = "" if from_ms is None else f" from {_date(from_ms)} on"
    moves = "" if days < SLOW_DAYS else ", and it is known how this time of the day usually moves"
    text = f"not known yet (day {days + 1} of {DAYS_KNOWN}){moves}: sudden changes are reported, slow ones{until}"
    return Season("stream", days, False, from_ms, text)


def _date(at_ms: int) -> str:
    day = datetime.fromtimestamp(at_ms / 1000, UTC)
    return f"{day.day} {day:%B %Y}"


def as_json(found: Season | None) -> dict[str, Any] | None:
    """The season as a member of the model's view."""
    return None if found is None else msgspec.structs.asdict(found)

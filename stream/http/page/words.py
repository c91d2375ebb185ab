"""The texts of the page for states, verdicts, reasons, numbers and times. Plain values in, plain text out."""

import math
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from detectors.incidents.blindness import BlindReason
from detectors.incidents.verdict import Reason, Verdict
from stream.topics.generations import LOST, MADE_ANEW

Json = dict[str, Any]


class State(NamedTuple):
    """How a state is shown: a shape and a word besides the colour, for people who do not see colours."""

    name: str
    label: str
    glyph: str
    plural: str
    meaning: str


STATES = {
    state.name: state
    for state in (
        State("drift", "Drift", "▲", "drifting", "Its data has changed compared with its reference."),
        State("blind", "Blind", "⊘", "blind", "It cannot be judged, so a change would not be reported."),
        State(
            "warning", "Warning", "◆", "with a warning", "Evidence of a change is growing, but is below the threshold."
        ),
        State(
            "learning",
            "Learning",
            "◔",
            "learning",
            "Its reference is still being learned. Until then nothing is judged.",
        ),
        State("quiet", "Quiet", "◯", "quiet", "It sends no event, as usual at this hour."),
        State("stable", "Stable", "●", "stable", "Its data agrees with its reference."),
    )
}
"""The states that the judge publishes, worst first."""

SILENT = State(
    "silent", "Silent", "◌", "silent", "It was well at its last event, but no event has arrived for a while."
)
UNKNOWN = State("unknown", "Unknown", "?", "in an unknown state", "This page does not know the name of its state.")
ORDER = {
    name: rank
    for rank, name in enumerate(("drift", "blind", "unknown", "silent", "warning", "learning", "quiet", "stable"))
}
ALL_STATES = {**STATES, SILENT.name: SILENT, UNKNOWN.name: UNKNOWN}

VERDICTS: dict[str, str] = {
    Verdict.WORLD_CHANGED: "The world changed: no fault was found in the data. Retraining can help.",
    Verdict.BROKEN_DATA: "The data is broken: fix its source. Retraining would learn the error.",
}

REASONS: dict[str, str] = {
    Reason.MISSING_VALUES: "values are missing",
    Reason.WRONG_TYPE: "values have the wrong type",
    Reason.STUCK_VALUE: "a value no longer changes",
    Reason.UNIT_CHANGE: "a unit changed by a constant factor",
    Reason.SWAPPED_COLUMNS: "columns were swapped",
    Reason.NEW_ENVIRONMENT: "software versions differ from training",
    Reason.DISTRIBUTION_CHANGE: "the distribution changed",
    Reason.PERFORMANCE_CHANGE: "its accuracy changed",
}

BLIND_REASONS: dict[str, str] = {
    BlindReason.QUARANTINED: "It is in quarantine after an unexpected error, so it is not judged.",
    BlindReason.REFUSED: "A limit of the settings is reached, so its events are ignored.",
    BlindReason.MISSING_REFERENCE: "Its reference cannot be found, so there is nothing to compare its data with.",
    BlindReason.SILENT: "No event has arrived for longer than usual.",
    BlindReason.LATE: "Its events are late: they usually come by this time.",
    BlindReason.LAG: "Events are waiting to be read, so its state is out of date.",
    BlindReason.UNREADABLE: "Most of its events cannot be read.",
    BlindReason.UNMATCHED_LABELS: "Its labels match no prediction, so its accuracy is unknown.",
    BlindReason.MISSING_LABELS: "No labels are arriving, so its accuracy is unknown.",
}

INTERRUPTIONS: dict[str, str] = {
    MADE_ANEW: "the events that only the topic before held are not counted",
    LOST: "what was counted before is lost",
}

SILENT_AFTER_MS = 900_000
"""A model without an event for this long is not shown as stable, even if the last published state was stable."""


NEW_SOFTWARE = "The software changed: training and serving use different versions. Retraining would hide this."


def interruptions(detail: Json) -> list[tuple[str, str]]:
    """What happened to the topics and checkpoints of a unit: the name, and in how many of its partitions."""
    found = detail.get("interruptions")
    if not isinstance(found, dict):
        return []
    times = {name: finite(found.get(name)) for name in INTERRUPTIONS}
    return [(name, f"{count(n)} times; {INTERRUPTIONS[name]}") for name, n in times.items() if n]


def verdict(name: object, reason: object = None) -> str:
    """The sentence for a verdict; the name itself for an unknown one."""
    if reason == Reason.NEW_ENVIRONMENT:
        return NEW_SOFTWARE
    return VERDICTS.get(str(name), plain(name)) if name else "No verdict yet."


def brief_verdict(item: Json) -> str:
    """The verdict on an incident in a few words."""
    return verdict(item.get("verdict"), item.get("reason")).split(":")[0].rstrip(".")


def reason(name: object) -> str:
    """A few words for a reason. A sentence is returned as it is; an unknown name becomes words."""
    return REASONS.get(str(name), str(name) if " " in str(name) else plain(name))


def outcome(name: object) -> str:
    """Turns ``withheld-weekly-cap`` into ``Withheld: weekly cap``."""
    first, _, rest = str(name).partition("-")
    return f"Withheld: {rest.replace('-', ' ')}" if first == "withheld" and rest else plain(name)


def plain(name: object) -> str:
    """Turns ``unit-changed`` into ``Unit changed``."""
    spaced = str(name).replace("-", " ").replace("_", " ")
    return spaced[:1].upper() + spaced[1:]


def number(value: object, digits: int = 3) -> str:
    """A number with three significant digits and grouped thousands; a dash if there is none.

    >>> number(45312), number(0.01234), number(1.5e9), number(None)
    ('45,312', '0.0123', '1.5e+09', '–')
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "–"
    size = abs(value)
    if value == int(value) and size < 1e7:
        return f"{int(value):,}".replace("-", "−")
    if size >= 1e7 or 0 < size < 1e-4:
        return f"{value:.{digits}g}".replace("-", "−", 1)
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    shown = f"{value:,.{decimals}f}".replace("-", "−")
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def count(value: object) -> str:
    """A count, in full up to a million and short above.

    >>> count(45312), count(12_345_678)
    ('45,312', '12.3 M')
    """
    if not isinstance(value, (int, float)):
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{int(value):,}"


def share(value: float | None) -> str:
    r"""A percentage. A small share is never rounded to zero.

    >>> share(0.1234), share(0.00002), share(0.0), share(None)
    ('12.3\xa0%', '<0.01\xa0%', '0\xa0%', '–')
    """
    if value is None:
        return "–"
    if 0 < value < 1e-4:
        return "<0.01\N{NO-BREAK SPACE}%"
    return f"{number(100 * value)}\N{NO-BREAK SPACE}%"


def age(milliseconds: float) -> str:
    """A duration as ``now``, ``40 s``, ``5 min``, ``3 h`` or ``2 d``; ``page.js`` writes it in the same way."""
    seconds = max(0, int(milliseconds // 1000))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return "now" if seconds < 2 else f"{seconds} s"


def moment(timestamp_ms: object) -> str:
    """A date and time in UTC; a dash if there is no time."""
    when = _datetime(timestamp_ms)
    return when.strftime("%Y-%m-%d %H:%M:%S UTC") if when else "–"


def waiting(value: object) -> str | None:
    """What holds a model back, from its ``waiting_for``; None where nothing does.

    >>> waiting({"partition": "inference-events/2", "behind_ms": 12_000})
    'waiting for inference-events/2, 12 s behind'
    >>> waiting({"partition": "inference-events/2", "behind_ms": None})
    'waiting for inference-events/2, which has not been read'
    """
    if not isinstance(value, dict) or not isinstance(value.get("partition"), str):
        return None
    behind_ms = finite(value.get("behind_ms"))
    behind = "which has not been read" if behind_ms is None else f"{behind_ms / 1000:,.0f} s behind"
    return f"waiting for {value['partition']}, {behind}"


def iso(timestamp_ms: object) -> str | None:
    when = _datetime(timestamp_ms)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ") if when else None


def clock(timestamp_ms: float, span_ms: float) -> str:
    """The text of a tick on a time axis that is ``span_ms`` long."""
    when = _datetime(timestamp_ms)
    if when is None:
        return ""
    if span_ms > 3 * 86_400_000:
        return when.strftime("%d %b")
    return when.strftime("%d %b %H:%M" if span_ms > 86_400_000 else "%H:%M:%S" if span_ms < 1_200_000 else "%H:%M")


def _datetime(timestamp_ms: object) -> datetime | None:
    if not isinstance(timestamp_ms, (int, float)) or not 0 <= timestamp_ms < 253_402_300_800_000:
        return None
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC)


def finite(value: object) -> float | None:
    """A finite number as a float; None for anything else, since JSON can hold strings and nulls."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return float(value)


def rows(value: object) -> list[Json]:
    """The objects in a JSON list; other members are left out."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def model_path(model: str, version: str, segment: str | None = None, feature: str | None = None) -> str:
    path = f"/models/{quote(model, safe='')}/{quote(version, safe='')}"
    if feature is not None:
        path += f"/features/{quote(feature, safe='')}"
    return path + (f"?{urlencode({'segment': segment})}" if segment is not None else "")


def incident_path(identifier: str) -> str:
    return f"/incidents/{quote(identifier, safe='')}"

"""What all formats share: the row that an event becomes, the rules for reading it, and checks of single values. No I/O.

The values of a row are still as the event holds them. What a JSON type means is decided in ``columns``.
"""

import datetime
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from detectors import values as value_rules
from detectors.errors import FormatError
from detectors.features import ERROR, LATENCY_MS, PREDICTION, SCORE_PREFIX, UnitKey
from stream.topics.record import Record

NO_VERSION = "unversioned"
"""Version of events that name no version."""

MAX_NAME = 200
"""Most characters of a model, version or segment. These names become keys of records and labels of metrics."""

MAX_ID = 200
"""Characters of an id that count. The rest of a longer id is cut off."""

MAX_ENVIRONMENT = 4_096
"""Most characters of an environment as JSON. A larger one is left out."""

EARLIEST_MS = 100_000_000_000
"""March 1973. An earlier time comes from a wrong unit or an unset clock, unless the record itself is from that time."""

AHEAD_MS = 86_400_000
"""One day. The clock of an event that is further ahead of its record is wrong."""

LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""

LONG_AGO_MS = 315_576_000_000
"""Ten years. A time in another unit or form than milliseconds or RFC 3339 is believed if its record is not later."""

_environments = msgspec.json.Encoder(order="sorted")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)


class Rules(msgspec.Struct, frozen=True):
    """How the settings want the events of one model to be read."""

    segment_by: str | None = None
    ignore: frozenset[str] = frozenset()
    categorical: frozenset[str] = frozenset()  # features whose numbers are names of categories


NO_RULES = Rules()


class Limits(msgspec.Struct, frozen=True):
    """Limits on one message."""

    event_bytes: int
    rows_per_message: int
    names_per_event: int


class Row(NamedTuple):
    """One event.

    ``clamped``: the event's own time was unusable, so ``timestamp_ms`` is the record's. ``identity``: the event's id;
    None means that a repeat of it cannot be recognised. ``values``: feature key -> value as the event holds it.
    """

    unit: UnitKey
    timestamp_ms: int
    clamped: bool
    identity: str | None
    values: dict[str, Any]
    environment: str | None


def row_of(event: Any, record: Record, rules: Mapping[str, Rules], limits: Limits) -> Row:
    """The row of one event that has the members of a native event. It may come from a record in any format.

    Raises FormatError when it is not an object, names no model, has ``features`` or ``scores`` that are not an object,
    or has more names of features and scores than the limit.
    """
    if not isinstance(event, dict):
        raise FormatError("not an event: no object")
    model = event.get("model")
    if not isinstance(model, str) or not model:
        raise FormatError("no model")
    version = name_of(event.get("version")) or NO_VERSION
    features = event.get("features")
    if features is not None and not isinstance(features, dict):
        raise FormatError("features is no object")
    scores = event.get("scores")
    if scores is not None and not isinstance(scores, dict):
        raise FormatError("scores is no object")
    rule = rules.get(model, NO_RULES)
    features = features or {}
    check_names(len(features) + len(scores or ()), limits)
    values = {n: v for n, v in features.items() if v is not None and n not in rule.ignore}
    for name in rule.categorical & values.keys():
        values[name] = category_of(values[name])
    for name in [name for name in values if name[:1] == "@"]:  # reserved for what a model emits
        values[""] = values.pop(name)
    for name, value in (scores or {}).items():
        if value is not None:
            values[SCORE_PREFIX + name] = value
    for key, feature in (("prediction", PREDICTION), ("latency_ms", LATENCY_MS), ("error", ERROR)):
        if event.get(key) is not None:
            values[feature] = event[key]
    segment = event.get("segment") if rule.segment_by is None else features.get(rule.segment_by)
    timestamp_ms, clamped = event_time(event.get("ts"), record.timestamp_ms)
    unit = checked_unit(model, version, name_of(segment))
    return Row(unit, timestamp_ms, clamped, identity_of(event.get("id")), values, environment_of(event.get("env")))


def check_names(names: int, limits: Limits) -> None:
    """Raises FormatError for more names of features and scores than one event may have."""
    if names > limits.names_per_event:
        raise FormatError(f"{names} names of features; at most {limits.names_per_event} are read")


@lru_cache(4_096)
def checked_unit(model: str, version: str, segment: str | None) -> UnitKey:
    """The unit. Raises FormatError for a name that is empty, too long or not printable."""
    for what, name in (("model", model), ("version", version), ("segment", segment)):
        if name is None:
            continue
        if not name:
            raise FormatError(f"no {what}")
        if len(name) > MAX_NAME:
            raise FormatError(f"{what}: {len(name)} characters; at most {MAX_NAME} are read")
        if not name.isprintable():
            raise FormatError(f"{what}: characters that cannot be printed")
    return UnitKey(model, version, segment)


def name_of(value: Any) -> str | None:
    """The text of a version or segment: numbers and booleans as text, None for an empty text and for anything else."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        number = value_rules.as_float(value)
        if math.isfinite(number):
            return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    return None


def category_of(value: Any) -> Any:
    """The category that a number stands for in a feature that the settings call categorical; other values unchanged."""
    return name_of(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def identity_of(value: Any) -> str | None:
    """An event's id as text; None when it is neither a text nor a whole number, or is empty."""
    if isinstance(value, str):
        return value[:MAX_ID] or None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
        return str(value)
    return None


def environment_of(value: Any) -> str | None:
    """An environment (``env``) as JSON with sorted names.

    None if it is not an object, is empty, is too long, or cannot be written.
    """
    if not isinstance(value, dict) or not value:
        return None
    try:
        plain = {name: v if isinstance(v, str) else json.dumps(v) for name, v in value.items()}
        text = _environments.encode(plain).decode()
    except (ValueError, RecursionError):
        return None
    return text if len(text) <= MAX_ENVIRONMENT else None


def event_time(value: Any, record_ms: int) -> tuple[int, bool]:
    """Event time in milliseconds, and whether the record's time replaces an unusable one.

    ``value`` is milliseconds or RFC 3339 text; a text without a zone is UTC. Without a value the record's time is used.
    Where that gives no time, every form that ``detectors.values.time_ms`` reads will do, such as seconds. A value is
    unusable if it is not a time, is before March 1973 or after 9999, or is more than a day after its record.
    """
    if value is None:
        return max(record_ms, 0), False
    time_ms = None
    if isinstance(value, str):
        time_ms = _rfc3339_ms(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value_rules.as_float(value)
        time_ms = int(number) if abs(number) <= LAST_MS else None
    if time_ms is not None and in_reason(time_ms, record_ms):
        return time_ms, False
    time_ms = value_rules.time_ms(value)
    if time_ms is None or not in_reason(time_ms, record_ms) or time_ms < record_ms - LONG_AGO_MS:
        return max(record_ms, 0), True
    return time_ms, False


def in_reason(time_ms: int, record_ms: int) -> bool:
    """Whether an event can have that time, given the time of its record; a negative record time means unknown."""
    if record_ms < 0:
        return 0 <= time_ms <= LAST_MS
    lowest = min(EARLIEST_MS, record_ms) if record_ms < EARLIEST_MS else EARLIEST_MS
    return (0 if lowest < EARLIEST_MS else lowest) <= time_ms <= record_ms + AHEAD_MS


def _rfc3339_ms(text: str) -> int | None:
    try:
        moment = msgspec.convert(text, datetime.datetime)
    except (msgspec.MsgspecError, UnicodeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return (moment - _EPOCH) // _MILLISECOND

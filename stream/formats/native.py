"""The native event, any shape of it, into rows: the general path. Every byte string has an answer; nothing raises.

A message is one event, an array of events, or columns. An event becomes a ``Row``: its unit, time, id and the values of
its features, still as they came. What a value means is decided where rows become columns.
"""

import datetime
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from detectors.errors import FormatError
from detectors.features import ERROR, LATENCY_MS, PREDICTION, SCORE_PREFIX, UnitKey
from stream.topics.record import Record

NO_VERSION = "unversioned"
"""The version of events that name none."""

MAX_NAME = 200
"""Characters of a model, version or segment: they become keys and labels."""

MAX_ID = 200
MAX_ENVIRONMENT = 4_096
EARLIEST_MS = 100_000_000_000
"""March 1973: an earlier time is a unit mistake or an unset clock, unless the record itself is from then."""

AHEAD_MS = 86_400_000
"""A day: an event further in its record's future has a broken clock."""

LAST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""

_decoder = msgspec.json.Decoder()
_environments = msgspec.json.Encoder(order="sorted")
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MILLISECOND = datetime.timedelta(milliseconds=1)
_PER_ROW = ("id", "ts", "prediction", "segment", "latency_ms", "error")


class Rules(msgspec.Struct, frozen=True):
    """What the settings say about reading one model's events."""

    segment_by: str | None = None
    ignore: frozenset[str] = frozenset()
    categorical: frozenset[str] = frozenset()  # by the settings: their numbers are names of categories


NO_RULES = Rules()


class Row(NamedTuple):
    """One event. ``values``: feature key -> value as it came; ``identity`` None: repeats cannot be told."""

    unit: UnitKey
    timestamp_ms: int
    clamped: bool
    identity: str | None
    values: dict[str, Any]
    environment: str | None


def read_message(record: Record, rules: Mapping[str, Rules], max_bytes: int, max_rows: int) -> list[Row]:
    """The message's events, all or none. Raises FormatError with the reason of the dead letter, and nothing else."""
    message = _parse(record.value, max_bytes)
    if isinstance(message, dict):
        events = _expanded(message, max_rows)
    elif isinstance(message, list):
        if len(message) > max_rows:
            raise FormatError(f"{len(message)} events in one message; at most {max_rows} are read")
        if not message:
            raise FormatError("empty: an array without events")
        events = iter(message)
    else:
        raise FormatError("not an event: neither an object nor an array")
    return [_row(event, record, rules) for event in events]


def _parse(value: bytes | None, max_bytes: int) -> Any:
    if not value:
        raise FormatError("empty")
    if len(value) > max_bytes:
        raise FormatError(f"{len(value)} bytes; at most {max_bytes} are read")
    if value[:2] == b"\x1f\x8b":
        value = _unzipped(value, max_bytes)
    try:
        return _decoder.decode(value)
    except msgspec.MsgspecError as error:
        reason = str(error)
    except (UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"not JSON: {_short(error)}") from error
    try:
        message = json.loads(value)  # NaN and Infinity, which Python's json writes and JSON does not have
        json.dumps(message, ensure_ascii=False).encode()  # half a surrogate pair could never be written again
        return message
    except (ValueError, RecursionError) as error:
        raise FormatError(f"not JSON: {reason}") from error


def _unzipped(value: bytes, max_bytes: int) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(value, max_bytes + 1)
    except zlib.error as error:
        raise FormatError(f"gzip: {_short(error)}") from error
    if len(plain) > max_bytes:
        raise FormatError(f"gzip: unpacks to more than {max_bytes} bytes")
    if not stream.eof or not plain:
        raise FormatError("gzip: cut short or empty")
    return plain


def _short(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def _expanded(message: dict[str, Any], max_rows: int) -> Iterator[Any]:
    """The rows of a columnar message, or the event itself."""
    features = message.get("features")
    rows = _column_rows(message, features)
    if rows is None:
        return iter((message,))
    if rows > max_rows:
        raise FormatError(f"{rows} rows in one message; at most {max_rows} are read")
    if not rows:
        raise FormatError("empty: columns without rows")
    columns = {key: message[key] for key in _PER_ROW if isinstance(message.get(key), list)}
    nested = {
        key: {name: v for name, v in message[key].items() if v is not None}
        for key in ("features", "scores")
        if isinstance(message.get(key), dict)
    }
    for name, column in [*columns.items(), *(item for part in nested.values() for item in part.items())]:
        if not isinstance(column, list) or len(column) != rows:
            length = len(column) if isinstance(column, list) else "no"
            raise FormatError(f"columns differ in length: {_short(ValueError(name))} has {length} rows, others {rows}")
    return _deal(message, columns, nested, rows)


def _deal(
    message: dict[str, Any], columns: dict[str, list[Any]], nested: dict[str, dict[str, list[Any]]], rows: int
) -> Iterator[Any]:
    shared = {key: value for key, value in message.items() if key not in columns and key not in nested}
    identity = shared.pop("id", None)
    for row in range(rows):
        event = {**shared, **{key: column[row] for key, column in columns.items()}}
        if identity is not None:
            event["id"] = f"{identity}#{row}"
        for key, part in nested.items():
            event[key] = {name: column[row] for name, column in part.items()}
        yield event


def _column_rows(message: dict[str, Any], features: Any) -> int | None:
    """How many rows a columnar message has; None when it is one event (whose features may be lists themselves)."""
    identity = message.get("id")
    if isinstance(identity, list):
        return len(identity)
    if identity is not None and not isinstance(message.get("ts"), list):
        return None
    given = [v for v in features.values() if v is not None] if isinstance(features, dict) else []
    lists = [*given, *(v for v in (message.get("prediction"),) if v is not None)]
    if given and all(isinstance(v, list) for v in lists) and len({len(v) for v in lists}) == 1:
        return len(given[0])
    return None


def _row(event: Any, record: Record, rules: Mapping[str, Rules]) -> Row:
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
    values = {n: v for n, v in features.items() if v is not None and n not in rule.ignore}
    for name in rule.categorical & values.keys():
        values[name] = category_of(values[name])
    for name in [name for name in values if name[:1] == "@"]:  # the place of what a model emits
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


@lru_cache(4_096)
def checked_unit(model: str, version: str, segment: str | None) -> UnitKey:
    """The unit. Raises FormatError for a name that is too long or cannot be written."""
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
    """A version or segment as text; None when there is none."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        number = as_float(value)
        if math.isfinite(number):
            return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    return None


def category_of(value: Any) -> Any:
    """A number of a feature that the settings call categorical, as its category; anything else as it is."""
    return name_of(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def identity_of(value: Any) -> str | None:
    """An event's id as text; None when it has none."""
    if isinstance(value, str):
        return value[:MAX_ID] or None
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**64:
        return str(value)
    return None


def as_float(value: int | float) -> float:
    """The nearest float; infinity beyond them."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def environment_of(value: Any) -> str | None:
    """A fingerprint as canonical JSON; None when there is none or it is no object."""
    if not isinstance(value, dict) or not value:
        return None
    plain = {name: v if isinstance(v, str) else json.dumps(v) for name, v in value.items()}
    try:
        text = _environments.encode(plain).decode()
    except UnicodeError:
        return None
    return text if len(text) <= MAX_ENVIRONMENT else None


def event_time(value: Any, record_ms: int) -> tuple[int, bool]:
    """Event time in milliseconds, and whether the record's own had to stand in for an unusable one.

    Milliseconds or RFC 3339 (without a zone it is UTC). Absent: the record's. Unusable is what is no time, before March
    1973, after 9999, or more than a day after its record.
    """
    if value is None:
        return max(record_ms, 0), False
    time_ms = None
    if isinstance(value, str):
        time_ms = _rfc3339_ms(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = as_float(value)
        time_ms = int(number) if abs(number) <= LAST_MS else None
    if time_ms is None or not in_reason(time_ms, record_ms):
        return max(record_ms, 0), True
    return time_ms, False


def in_reason(time_ms: int, record_ms: int) -> bool:
    """Whether a time can be meant."""
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

"""What a feature is: which names and values are watched, what is missing, which numbers are equal, which are times.

The reference builder, the decoder, the readers of files, survey and the publisher all decide here, so that they agree.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from detectors.columns import INVALID, MISSING, PRESENT, Bytes8, Floats
from detectors.features import ERROR, LATENCY_MS, PREDICTION, SCORE_PREFIX, Kind
from detectors.plain_values import is_absent, plain

MAX_FEATURE_NAME = 256
"""Most characters of a feature's name."""

EMPTY_TEXTS = frozenset(("", "<NA>", "NaT"))
"""Texts that are missing values wherever they come from: the empty text, and how pandas writes NA and NaT."""

MISSING_CATEGORY = EMPTY_TEXTS | {"NA", "N/A", "n/a", "NaN", "nan", "NULL", "null"}
"""Texts that are missing values in a table of text, which has no other way to write one."""

MISSING_NUMBER = MISSING_CATEGORY | {"None", "none", "?", "-", "Na", "na", "#N/A", "NAN"}
"""Texts that are missing values where a number is expected."""

TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}

ROUNDING = 2.0**-23
"""Numbers that differ relatively by less are the same number: a float32 keeps 24 binary digits."""

NEGLIGIBLE = 1e-7
"""Numbers that differ by less than this share of their column's standard deviation are the same number."""

MOST_REACH = 0.01
"""No difference of more than this share of the standard deviation is rounding."""

FIRST_YEAR, LAST_YEAR = 1973, 2100
"""Years that a number can stand for. Other years come from a number that is no time, or from a wrong unit."""

TIME_FORMS = (
    "times are seconds, milliseconds, microseconds or nanoseconds since 1970 (years 1973 to 2100), YYYYMMDD, "
    "2026-03-01 or 2026-03-01T12:30:00Z (UTC without a zone)"
)

SECONDS_BELOW, MILLISECONDS_BELOW, MICROSECONDS_BELOW = 10**11, 10**14, 10**17
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_FIRST_MS = (datetime(FIRST_YEAR, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_END_MS = (datetime(LAST_YEAR + 1, 1, 1, tzinfo=UTC) - _EPOCH) // _MILLISECOND
_LAST_MS = 253_402_300_799_999  # of the year 9999
_EMITTED = (PREDICTION, LATENCY_MS, ERROR)


def refused_name(name: str) -> str | None:
    """Why an input of that name cannot be watched; None if it can.

    >>> refused_name("@version")
    'names that begin with @ are not monitored; rename it'
    >>> refused_name("amount") is None
    True
    """
    if not name:
        return "a column without a name is not monitored"
    if name[0] == "@":  # reserved for what a model emits
        return "names that begin with @ are not monitored; rename it"
    if len(name) > MAX_FEATURE_NAME:
        return f"names of more than {MAX_FEATURE_NAME} characters are not monitored; rename it"
    return None


def is_emitted(name: str) -> bool:
    """Whether the name is the key of something that a model emits besides its inputs, such as ``@prediction``."""
    return name in _EMITTED or name.startswith(SCORE_PREFIX)


def unwatched(values: Sequence[Any] | np.ndarray) -> str | None:
    """Why a column of these values cannot be watched; None if one of them can.

    >>> unwatched([None, {"zip": 1}]), unwatched([None, float("nan")])
    ('objects are not monitored', 'empty: no row has a value')
    >>> unwatched([["red", "blue"]]), unwatched([b"x", 1.5])
    ('lists of anything but numbers are not monitored', None)
    """
    if infer_kind(values) is not None:
        return None
    for value in values:
        if is_absent(value):
            continue
        if isinstance(value, Mapping):
            return "objects are not monitored"
        if isinstance(value, bytes | bytearray | memoryview):
            return "binary values are not monitored"
        if isinstance(value, list | tuple | np.ndarray):
            if len(value):
                return "lists of anything but numbers are not monitored"
            continue
        if isinstance(value, str) or _is_number(value):
            continue  # an empty text or an infinity
        return f"values of the type {type(value).__name__} are not monitored"
    return "empty: no row has a value"


def infer_kind(values: Sequence[Any] | np.ndarray) -> Kind | None:
    """The kind of the first value that can be watched; None without such a value."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        if values.ndim > 1:
            return Kind.VECTOR
        if values.dtype.kind == "b":
            return Kind.BOOLEAN if len(values) else None
        return Kind.NUMERIC if np.isfinite(values).any() else None
    for value in values:
        kind = value_kind(value)
        if kind is not None:
            return kind
    return None


def value_kind(value: object) -> Kind | None:
    """The kind that a value implies; None for a missing or unusable one.

    >>> value_kind(True), value_kind("a"), value_kind(None), value_kind(["a"])
    (<Kind.BOOLEAN: 'boolean'>, <Kind.CATEGORICAL: 'categorical'>, None, None)
    """
    value = plain(value)
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, int | float):
        return Kind.NUMERIC if math.isfinite(as_float(value)) else None
    if isinstance(value, str):
        return None if value in EMPTY_TEXTS else Kind.CATEGORICAL
    if isinstance(value, list | tuple):
        entries = [entry for entry in value if not is_absent(entry)]
        return Kind.VECTOR if entries and all(map(_is_number, entries)) else None
    return None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def as_float(value: Any) -> float:
    """The nearest float; infinity for an integer beyond the range of floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def as_numbers(values: Sequence[Any] | np.ndarray) -> tuple[Floats, Bytes8]:
    """A column read as numbers: the numbers (0.0 where absent) and the status, each shape (n,).

    A text is invalid, also where it is a number: a producer that begins to write numbers as text has changed.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        numbers = values.astype(np.float64)
        status = np.where(np.isfinite(numbers), PRESENT, MISSING).astype(np.uint8)
    else:
        numbers, status = np.zeros(len(values)), np.zeros(len(values), np.uint8)
        for i, value in enumerate(values):
            status[i], numbers[i] = _as_number(plain(value))
    numbers[status != PRESENT] = 0.0
    return numbers, status


def _as_number(value: Any) -> tuple[int, float]:
    if value is None:
        return MISSING, 0.0
    if isinstance(value, str):
        return (MISSING if value in EMPTY_TEXTS else INVALID), 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        return INVALID, 0.0
    number = as_float(value)
    return (PRESENT, number) if math.isfinite(number) else (MISSING, 0.0)


def as_categories(values: Sequence[Any] | np.ndarray, kind: Kind) -> tuple[list[str | None], Bytes8]:
    """A column read as categories (None where absent) and the status, shape (n,)."""
    categories: list[str | None] = []
    status = np.zeros(len(values), np.uint8)
    for i, given in enumerate(values):
        value, category = plain(given), None
        if value is None or (isinstance(value, str) and value in EMPTY_TEXTS):
            status[i] = MISSING
        elif kind is Kind.BOOLEAN and isinstance(value, bool):
            category = "true" if value else "false"
        elif kind is Kind.CATEGORICAL and isinstance(value, str):
            category = value
        else:
            status[i] = MISSING if isinstance(value, float) and not math.isfinite(value) else INVALID
        categories.append(category)
    return categories, status


def number_of(text: str) -> float | None:
    """The number in ``text``; None if it is not a number. A text with underscores is not a number.

    >>> number_of(" 1e3 "), number_of("1_000"), number_of("1,5")
    (1000.0, None, None)
    """
    if "_" in text:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def ranges(distinct: Floats, spread: float) -> tuple[Floats, Floats]:
    """For ascending different numbers, each one's range [low, high) of numbers that are the same number.

    A number is the same where it differs by rounding to float32, or by less than a negligible share of ``spread``,
    the column's standard deviation. A range never reaches further than half way to the next number. Cost: O(n).

    >>> low, high = ranges(np.array([0.0, 0.1]), 12.0)
    >>> bool(low[1] <= np.float32(0.1) < high[1]), bool(low[0] <= 1e-9 < high[0])
    (True, True)
    """
    largest = np.finfo(np.float64).max
    width = reach(distinct, spread)
    half = np.diff(distinct / 2)
    with np.errstate(over="ignore"):
        after = np.nextafter(distinct, np.inf)
        low = distinct - np.minimum(width, np.append(np.inf, half))
        high = distinct + np.minimum(width, np.append(half, np.inf))
    low[1:] = np.maximum(low[1:], after[:-1])
    return np.maximum(low, -largest), np.minimum(np.maximum(high, after), largest)


def reach(numbers: Floats, spread: Floats | float) -> Floats:
    """By how much each number may differ and still be the same number.

    The spread counts by its power of two, and its negligible share by a power of 1,024 (up to 2e-4 of the spread), so
    that references of similar data give a number the same range.
    """
    exponent = np.frexp(np.asarray(spread, np.float64))[1]
    some = np.asarray(spread) > 0
    least = np.where(some, np.ldexp(NEGLIGIBLE, 10 * -(-exponent // 10)), 0.0)
    most = np.where(some, np.ldexp(MOST_REACH, exponent), np.inf)
    found: Floats = np.minimum(np.maximum(np.abs(numbers) * ROUNDING, least), most)
    return found


def snapped(cuts: Floats, edges: Floats, spread: float) -> Floats:
    """``cuts`` moved to the nearer end of their cell, where that cell of ``edges`` holds a single number."""
    at = np.clip(edges.searchsorted(cuts, side="right"), 1, len(edges) - 1) if len(edges) > 1 else None
    if at is None:
        return cuts
    low, high = edges[at - 1], edges[at]
    single = (cuts >= low) & (cuts <= high) & (high - low <= 4 * reach(low, spread))
    return np.where(single, np.where(cuts - low < high - cuts, low, high), cuts)


def same_groups(distinct: Floats, spread: float) -> np.ndarray:
    """For ascending different numbers, the group of each, from 0: neighbours that float32 writes alike are one number.

    >>> same_groups(np.array([0.1, float(np.float32(0.1)), 0.2]), 1.0).tolist()
    [0, 0, 1]
    """
    with np.errstate(over="ignore"):
        single = distinct.astype(np.float32)
    rounded = single.astype(np.float64) == distinct  # one of the two is what float32 makes of the other
    alike = (single[1:] == single[:-1]) & np.isfinite(single[1:]) & (rounded[1:] | rounded[:-1])
    alike &= np.diff(distinct) <= reach(distinct[1:], spread)
    return np.concatenate(([0], np.cumsum(~alike)))


def time_ms(value: object) -> int | None:
    """The time in milliseconds since 1970; None if the value cannot be a time. ``TIME_FORMS`` names what can.

    A number's unit follows from its size: seconds below 1e11, milliseconds below 1e14, microseconds below 1e17, then
    nanoseconds. A whole number that is a date as YYYYMMDD is that date. Texts without a zone are UTC.

    >>> time_ms(1_772_323_200), time_ms("20260301"), time_ms("2026-03-01 00:00:00 UTC"), time_ms(date(2026, 3, 1))
    (1772323200000, 1772323200000, 1772323200000, 1772323200000)
    >>> time_ms(20260301000000), time_ms("01/03/2026"), time_ms(True)
    (None, None, None)
    """
    if isinstance(value, np.generic):
        value = plain(value)
    if isinstance(value, str):
        value = _number_or_moment(value.strip())
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, datetime):
        return None if is_absent(value) else _moment_ms(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or is_absent(value):
        return None
    return _number_ms(value)


def _moment_ms(moment: datetime) -> int | None:
    try:
        found = round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (OverflowError, ValueError):
        return None
    return found if 0 <= found <= _LAST_MS else None


def _number_or_moment(text: str) -> int | float | datetime | None:
    if len(text) > 64:
        return None
    for read in (int, float):
        try:
            return None if "_" in text else read(text)
        except (ValueError, OverflowError):
            continue
    for zone in (" UTC", " GMT", "UTC", " Z"):
        if text.endswith(zone):
            text = text.removesuffix(zone) + "Z"
            break
    try:
        return datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None


def _number_ms(number: int | float | Decimal) -> int | None:
    value: int | float = float(number) if isinstance(number, Decimal) else number
    size = abs(value)
    if not size < 2**63:
        return None
    if value == int(value) and (day := _date(int(value))) is not None:
        return _moment_ms(day)
    if size < SECONDS_BELOW:
        found = round(value * 1000)
    elif size < MILLISECONDS_BELOW:
        found = round(value)
    else:
        unit = 1_000 if size < MICROSECONDS_BELOW else 1_000_000
        found = round(value) // unit
    return found if _FIRST_MS <= found < _END_MS else None


def _date(number: int) -> datetime | None:
    """The date that YYYYMMDD names."""
    year, rest = divmod(number, 10_000)
    if not FIRST_YEAR <= year <= LAST_YEAR:
        return None
    try:
        return datetime(year, rest // 100, rest % 100, tzinfo=UTC)
    except ValueError:
        return None

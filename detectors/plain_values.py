"""Which single values are missing, and what they are as JSON. It loads no library, since the publisher uses it."""

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

_ABSENT_TYPES = ("NAType", "NaTType", "MaskedConstant")


def _is_numpy(value: object) -> bool:
    """Whether a value is an array or a scalar of NumPy."""
    return any(one.__module__ == "numpy" and one.__name__ in ("generic", "ndarray") for one in type(value).__mro__)


def is_absent(value: Any) -> bool:
    """Whether a value is missing: None, NaN, NaT, and what pandas, NumPy and Decimal have for it.

    >>> import numpy as np
    >>> is_absent(float("nan")), is_absent(np.datetime64("NaT")), is_absent(Decimal("NaN")), is_absent(0)
    (True, True, True, False)
    """
    if value is None or type(value).__name__ in _ABSENT_TYPES:
        return True
    if isinstance(value, float | Decimal):
        return bool(value != value)
    return _is_numpy(value) and value.shape == () and value.dtype.kind in "fMm" and bool(value != value)


def plain(value: Any) -> Any:
    """A single value as a decoded JSON event would hold it: None, bool, int, float, str, list, or else as it is.

    A date or time is its ISO text, and a duration its seconds.

    >>> import numpy as np
    >>> plain(datetime(2026, 3, 1, 12, 30)), plain(Decimal("1.5")), plain(timedelta(minutes=1)), plain(np.int64(3))
    ('2026-03-01T12:30:00', 1.5, 60.0, 3)
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if is_absent(value):
        return None
    if _is_numpy(value):
        kind = value.dtype.kind if value.shape == () else ""
        if kind == "M":
            return str(value.astype("datetime64[ms]"))
        return float(value / type(value)(1, "s")) if kind == "m" else value.tolist()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, str) else value

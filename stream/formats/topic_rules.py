"""How the settings want the records of one topic to be read. No I/O."""

import math
from collections.abc import Mapping
from typing import Any

import msgspec

AUTO = "auto"
"""The format of a topic whose records are recognised one by one."""

KEY = "key"
"""As the column of the id: the key of the record."""

UNITS_MS: Mapping[str, float] = {"s": 1e3, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
"""Milliseconds in each unit of time."""

_SLACK_MS = 1e-3
"""A float of seconds is this far off at most."""


_LARGEST = 1e30
"""A larger number is no time."""


def milliseconds(stamp: Any, unit: str) -> Any:
    """A number in ``unit`` as whole milliseconds, what is below one cut off; anything else unchanged.

    >>> milliseconds(1796057960.063, "s")
    1796057960063
    """
    if not isinstance(stamp, int | float) or isinstance(stamp, bool) or not abs(stamp) < _LARGEST:
        return stamp
    return math.floor(stamp * UNITS_MS[unit] + _SLACK_MS)


class TopicRules(msgspec.Struct, frozen=True):
    """How the records of one topic are read.

    ``model``, ``version``: fixed values. ``id``, ``ts``, ``prediction``, ``label``, ``segment``, ``latency_ms``: names
    of columns, dotted where nested; None: the usual names are tried. ``ts_unit``: a key of UNITS_MS. ``columns``: names
    by place, for rows without names. ``ignore``: columns that are not features.
    """

    format: str = AUTO
    model: str | None = None
    version: str | None = None
    id: str | None = None
    ts: str | None = None
    ts_unit: str | None = None
    prediction: str | None = None
    label: str | None = None
    segment: str | None = None
    latency_ms: str | None = None
    columns: tuple[str, ...] = ()
    ignore: frozenset[str] = frozenset()

    @property
    def reads_rows(self) -> bool:
        """Whether rows that name no model are events of this topic."""
        return self.model is not None


NO_TOPIC_RULES = TopicRules()

"""Reads the labels of a record: ``{"id", "model", "label", "ts"}``, or an array of such objects. No I/O."""

import math
from typing import Any, NamedTuple

from detectors.errors import FormatError
from detectors.outcomes import Value
from detectors.values import as_float
from stream.formats.ids import number_of
from stream.formats.message import decode_json
from stream.formats.row import MAX_ID, checked_unit, event_time, identity_of
from stream.topics.record import Partition, Record, why_empty

MAX_LABELS = 100_000
"""Most labels of one message; the same as the default for rows of an event message."""

MAX_TEXT = 256
"""Characters of a label that are compared; the same as for a category."""


class Label(NamedTuple):
    """One label.

    ``identity``: the number of its event's id (``stream.formats.ids``). ``rank``: time, partition and offset of the
    label. Of several labels with the same id the one with the highest rank counts.
    """

    model: str
    identity: int
    value: Value
    rank: tuple[int, str, int]

    @property
    def timestamp_ms(self) -> int:
        return self.rank[0]


def read_labels(place: Partition, record: Record, max_bytes: int) -> list[Label]:
    """The record's labels, all or none of them. Raises FormatError with the reason, and nothing else.

    >>> read_labels(Partition("inference-labels", 0), Record(7, 1763700360000, None,
    ...     b'{"id": "order-1", "model": "fraud", "label": true}'), 1000)[0].value
    'true'
    """
    message = _parsed(record, max_bytes)
    rows = message if isinstance(message, list) else [message]
    if not 0 < len(rows) <= MAX_LABELS:
        raise FormatError(f"{len(rows)} labels in one message; from 1 to {MAX_LABELS} are read")
    return [_label(row, place, record) for row in rows]


def _parsed(record: Record, max_bytes: int) -> Any:
    value = record.value
    if not value:
        raise FormatError(why_empty(record))
    if len(value) > max_bytes:
        raise FormatError(f"{len(value)} bytes; at most {max_bytes} are read")
    return decode_json(value)


def _label(row: Any, place: Partition, record: Record) -> Label:
    if not isinstance(row, dict):
        raise FormatError("not a label: no object")
    model, identity = row.get("model"), identity_of(row.get("id"))
    if not isinstance(model, str) or not model:
        raise FormatError("no model")
    checked_unit(model, "label", None)
    if identity is None:
        raise FormatError(f"no id: text of at most {MAX_ID} characters, or a whole number")
    moment_ms, _ = event_time(row.get("ts"), record.timestamp_ms)
    return Label(model, number_of(identity), _value(row.get("label")), (moment_ms, str(place), record.offset))


def _value(label: Any) -> Value:
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, str) and label:
        return label[:MAX_TEXT]
    if isinstance(label, int | float) and math.isfinite(number := as_float(label)):
        return number
    raise FormatError("no label: a text, a finite number, true or false")

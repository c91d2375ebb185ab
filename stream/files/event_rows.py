"""Native events as columns of values, to build a reference from."""

from collections.abc import Callable, Iterable
from typing import Any

from detectors.errors import FormatError
from detectors.features import ModelKey
from stream.files.layout import FileLayout
from stream.files.remarks import Remarks
from stream.formats import registry
from stream.formats.message import Message
from stream.formats.row import Limits, Row
from stream.topics.record import Record

LIMITS = Limits(event_bytes=16_777_216, rows_per_message=100_000, names_per_event=100_000)
Line = tuple[int, int, bytes]
"""Number, time in ms, message."""

EventColumns = tuple[dict[str, list[Any]], list[int], ModelKey]


def feature_columns(
    lines: Iterable[Line], layout: FileLayout, remarks: Remarks, place: Callable[[int], str]
) -> EventColumns:
    """Values by feature key (None where an event lacks it), event times, and the model.

    A row that cannot be read is left out and counted in ``remarks``; ``place`` names a row by its number. Raises
    FormatError naming a row of another model, or the first unreadable row where no event can be read.
    """
    columns: dict[str, list[Any]] = {}
    moments: list[int] = []
    owner: ModelKey | None = None
    read = 0
    for line in lines:
        read += 1
        try:
            rows = rows_of(line)
        except FormatError as error:
            remarks.leave_out_row(f"{place(line[0])}: {error}")
            continue
        for row in rows:
            owner = owner or row.unit.model_key
            if row.unit.model_key != owner:
                raise FormatError(
                    f"{place(line[0])}: is of {row.unit.model_key}, but the rows before it are of {owner}; "
                    "choose with --model and --version"
                )
            for key, value in row.values.items():
                if not key:  # a reserved name
                    continue
                if key not in columns:
                    columns[key] = [None] * len(moments)
                columns[key].append(value)
            moments.append(row.timestamp_ms)
            for values in columns.values():
                if len(values) < len(moments):
                    values.append(None)
    if owner is None:
        remarks.refuse_invalid(read)
        raise FormatError(f"{layout.file}: has no events")
    return {key: values for key, values in columns.items() if any(v is not None for v in values)}, moments, owner


def rows_of(line: Line) -> list[Row]:
    """The events of one message. Raises FormatError."""
    _, moment_ms, value = line
    return registry.read(Message("", Record(0, moment_ms, None, value), LIMITS.event_bytes), {}, LIMITS)

"""Native events as columns of values, to build a reference from."""

from collections.abc import Iterable
from typing import Any

from detectors.errors import FormatError
from detectors.features import ModelKey
from stream.files.layout import FileLayout
from stream.formats import registry
from stream.formats.message import Message
from stream.formats.row import Limits, Row
from stream.topics.record import Record

LIMITS = Limits(event_bytes=16_777_216, rows_per_message=100_000)
EventColumns = tuple[dict[str, list[Any]], list[int], ModelKey]


def feature_columns(lines: Iterable[tuple[int, int, bytes]], layout: FileLayout) -> EventColumns:
    """Values by feature key (None where an event lacks it), event times, and the model.

    ``lines`` are (number, time in ms, message). Raises FormatError naming a row that cannot be read or that is of
    another model.
    """
    columns: dict[str, list[Any]] = {}
    moments: list[int] = []
    owner: ModelKey | None = None
    for number, moment_ms, line in lines:
        for row in rows_of((number, moment_ms, line), layout.file):
            owner = owner or row.unit.model_key
            if row.unit.model_key != owner:
                raise FormatError(
                    f"{layout.file}: row {number}: is of {row.unit.model_key}, but the rows before it are of {owner}; "
                    "choose with --model and --version"
                )
            for key, value in row.values.items():
                if key not in columns:
                    columns[key] = [None] * len(moments)
                columns[key].append(value)
            moments.append(row.timestamp_ms)
            for values in columns.values():
                if len(values) < len(moments):
                    values.append(None)
    if owner is None:
        raise FormatError(f"{layout.file}: has no events")
    return {key: values for key, values in columns.items() if any(v is not None for v in values)}, moments, owner


def rows_of(line: tuple[int, int, bytes], file: str) -> list[Row]:
    """The events of one message; ``line`` is (number, time in ms, message). Raises FormatError naming file and row."""
    number, moment_ms, value = line
    try:
        return registry.read(Message("", Record(0, moment_ms, None, value), LIMITS.event_bytes), {}, LIMITS)
    except FormatError as error:
        raise FormatError(f"{file}: row {number}: {error}") from None

"""Reads a file as the events of one model: the first rows as a reference, the other rows as native events.

Rows of a table become native events, so that a replay uses the same decoder as records from Kafka.
"""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from detectors import features
from detectors import values as values_rules
from detectors.errors import FormatError
from detectors.features import Kind
from detectors.reference import builder
from detectors.reference.reference import Reference
from stream.files import event_rows, tables
from stream.files.layout import STDIN, FileLayout

SECONDS_BELOW = 100_000_000_000
"""A smaller number is seconds (until the year 5138), a larger one is milliseconds (since 1973)."""
MAX_LINE_BYTES = 16_777_216

Columns = Mapping[str, Sequence[Any]]
Row = tuple[int, int, bytes]
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


class Dataset(Protocol):
    """A file that is read once, from its start: ``reference`` first if it is needed, then ``events``."""

    def reference(self, rows: int | None) -> Reference:
        """The reference of the next ``rows`` rows (None: of all). Raises FormatError if there are fewer."""
        ...

    @property
    def labels(self) -> dict[int, Any]:
        """Labels by row number, of the rows that ``events`` has returned. The reader of a label removes it."""
        ...

    def events(self) -> Iterator[Row]:
        """The remaining rows: each row's number in the file, its time in milliseconds, and the row as a native
        event."""
        ...


def open_dataset(layout: FileLayout) -> Dataset:
    """The dataset in ``layout.file``."""
    return EventLines(layout) if layout.is_events else Table(layout)


class Table:
    """A CSV or Parquet file. Every column is a feature unless the layout gives it another role.

    ``labels``: labels by row number, of the rows that ``events`` has returned, where the layout names a prediction
    and a label. The reader of a label removes it.
    """

    __slots__ = ("_chunks", "_event", "_layout", "_left", "_row", "labels")

    def __init__(self, layout: FileLayout) -> None:
        self._layout = layout
        self._chunks = tables.read_table(layout.file)
        self._left: tuple[Columns, int, int] | None = None  # columns, first row, rows
        self._row = 0  # rows returned so far
        self._event = 0
        self.labels: dict[int, Any] = {}

    def reference(self, rows: int | None) -> Reference:
        joined: dict[str, list[Any]] = {}
        moments: list[int] = []
        start = self._row
        while rows is None or self._row - start < rows:
            part = self._next_rows(None if rows is None else rows - (self._row - start))
            if part is None:
                break
            columns, first, count = part
            for name, key in self._roles(columns).items():
                joined.setdefault(key, []).extend(_plain(columns[name]))
            moments.extend(self._moments(columns, first, count) or ())
        read = self._row - start
        _check_enough(self._layout, read, rows)
        return _build(self._layout, joined, moments if len(moments) == read else None, read)

    def events(self) -> Iterator[Row]:
        model, version = self._layout.model_name(), self._layout.version or "1"
        while (part := self._next_rows(None)) is not None:
            columns, first, count = part
            roles = self._roles(columns)
            names = [key for key in roles.values() if key != features.PREDICTION]
            inputs = [_plain(columns[name]) for name, key in roles.items() if key != features.PREDICTION]
            lists = any(values_rules.infer_kind(values) is Kind.VECTOR for values in inputs)
            moments = self._moments(columns, first, count) or self._clock(count)
            predictions = _plain(columns[self._layout.prediction]) if self._layout.prediction else None
            labels = _plain(columns[self._layout.label]) if self._layout.label and predictions is not None else None
            for index, row in enumerate(zip(*inputs, strict=True) if inputs else [()] * count):
                event: dict[str, Any] = {"model": model, "version": version, "ts": moments[index]}
                if lists:  # without an id, an event of lists only would be read as an event with columns
                    event["id"] = str(first + index)
                event["features"] = dict(zip(names, row, strict=True))
                if predictions is not None:
                    event["prediction"] = predictions[index]
                if labels is not None:
                    event["id"] = str(first + index)
                    self.labels[first + index] = labels[index]
                yield first + index, moments[index], _encoder.encode(event)

    def _clock(self, count: int) -> list[int]:
        """Times for the next ``count`` rows: event k happens k / rate seconds after the start."""
        first, self._event = self._event + 1, self._event + count
        return [round(k * 1000 / self._layout.rate) for k in range(first, first + count)]

    def _next_rows(self, rows: int | None) -> tuple[Columns, int, int] | None:
        if self._left is not None:
            columns, first, count = self._left
            self._left = None
        else:
            chunk = next(self._chunks, None)
            if chunk is None:
                return None
            columns, first, count = chunk
        if rows is not None and count > rows:
            rest = {name: values[rows:] for name, values in columns.items()}
            self._left = (rest, first + rows, count - rows)
            columns, count = {name: values[:rows] for name, values in columns.items()}, rows
        self._row += count
        return columns, first, count

    def _roles(self, columns: Columns) -> dict[str, str]:
        """The feature key of each monitored column. Raises FormatError for a column that the file does not have."""
        layout = self._layout
        wanted = (layout.prediction, layout.label, layout.timestamp, *layout.ignore, *(layout.columns or ()))
        for name in wanted:
            if name is not None and name not in columns:
                known = ", ".join(columns)
                raise FormatError(f"{layout.file}: has no column {name!r}; its columns are {known}")
        aside = {layout.prediction, layout.label, layout.timestamp, *layout.ignore}
        chosen = columns if layout.columns is None else layout.columns
        roles = {name: name for name in chosen if name not in aside}
        if layout.prediction is not None:
            roles[layout.prediction] = features.PREDICTION
        if not roles:
            raise FormatError(f"{layout.file}: no column is left to monitor")
        return roles

    def _moments(self, columns: Columns, first: int, count: int) -> list[int] | None:
        name = self._layout.timestamp
        if name is None:
            return None
        values = _plain(columns[name])
        return [moment_ms(values[i], f"{self._layout.file}: row {first + i}: {name}") for i in range(count)]


class EventLines:
    """JSON Lines of native events, from a file or standard input. They contain no labels."""

    __slots__ = ("_event", "_layout", "_lines", "labels")

    def __init__(self, layout: FileLayout) -> None:
        self._layout = layout
        self._event = 0
        self._lines = _chosen(layout)
        self.labels: dict[int, Any] = {}

    def reference(self, rows: int | None) -> Reference:
        lines = list(islice(self.events(), rows))
        _check_enough(self._layout, len(lines), rows)
        self._event = 0
        columns, moments, owner = event_rows.feature_columns(lines, self._layout)
        layout = msgspec.structs.replace(self._layout, model=owner.model, version=owner.version)
        return _build(layout, columns, moments, len(moments))

    def events(self) -> Iterator[Row]:
        for number, line in self._lines:
            self._event += 1
            moment = event_moment_ms(line)
            yield number, round(self._event * 1000 / self._layout.rate) if moment is None else moment, line


def _numbered(file: str) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, with their numbers from 1."""
    try:
        with contextlib.nullcontext(sys.stdin.buffer) if file == STDIN else open(file, "rb") as source:
            number = 0
            while line := source.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise FormatError(f"{file}: row {number}: longer than {MAX_LINE_BYTES:,} bytes")
                if line.strip():
                    yield number, line.strip()
    except OSError as error:
        raise FormatError(f"{file}: cannot be read: {error.strerror or error}") from None


def _chosen(layout: FileLayout) -> Iterator[tuple[int, bytes]]:
    """The lines of the chosen model and version, or all lines. Unreadable lines stay, so that the decoder reports
    them."""
    if layout.model is None and layout.version is None:
        yield from _numbered(layout.file)
        return
    for number, line in _numbered(layout.file):
        for event in _events(line)[:1] or [{}]:
            model, version = event.get("model", layout.model), event.get("version", layout.version)
            if layout.model in (None, model) and layout.version in (None, str(version)):
                yield number, line


def _events(line: bytes) -> list[dict[str, Any]]:
    """The objects in a message; none where it cannot be read."""
    try:
        content = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return [event for event in (content if isinstance(content, list) else [content]) if isinstance(event, dict)]


def event_moment_ms(line: bytes) -> int | None:
    """The newest ``ts`` in a message. None if it has no readable one; then the decoder's rule applies."""
    moments: list[int] = []
    for event in _events(line):
        stamps = event.get("ts")
        for stamp in stamps if isinstance(stamps, list) else [stamps]:
            with contextlib.suppress(FormatError):
                moments.append(moment_ms(stamp, ""))
    return max(moments, default=None)


def moment_ms(value: object, where: str) -> int:
    """A time in milliseconds: from seconds or milliseconds as a number, or RFC 3339 or ISO 8601 as text (UTC without
    a zone).

    Raises FormatError naming ``where`` for any other value.
    """
    if isinstance(value, str):
        try:
            number: float | None = float(value)
        except ValueError:
            number = None
        if number is None:
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                raise FormatError(f"{where}: {value!r} is not a time") from None
        else:
            value = number
    if isinstance(value, datetime):
        return round((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 2**62:
        raise FormatError(f"{where}: {value!r} is not a time")
    return round(value * 1000) if abs(value) < SECONDS_BELOW else round(value)


def _build(layout: FileLayout, columns: Columns, moments: Sequence[int] | None, rows: int) -> Reference:
    return builder.build_reference(
        layout.model_name(),
        layout.version or "1",
        columns,
        timestamps_ms=None if moments is None else np.asarray(moments, dtype=np.int64),
        source={"file": Path(layout.file).name, "rows": rows},
    )


def _check_enough(layout: FileLayout, read: int, rows: int | None) -> None:
    if read == 0:
        raise FormatError(f"{layout.file}: has no rows")
    if rows is not None and read < rows:
        raise FormatError(f"{layout.file}: has {read:,} rows, the reference needs {rows:,}")


def _plain(values: Any) -> Sequence[Any]:
    """The values as Python objects, from an array or a list."""
    plain: Sequence[Any] = values.tolist() if hasattr(values, "tolist") else values
    return plain

"""A file as the events of one model: the first rows as a reference, the rest as native events.

A table's rows become native events, so that a replay goes through the very decoder that Kafka's records go through.
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
from detectors.errors import FormatError
from detectors.features import Kind
from detectors.reference import builder
from detectors.reference.reference import Reference
from stream.files import event_rows, tables
from stream.files.layout import STDIN, FileLayout

SECONDS_BELOW = 100_000_000_000
"""A number smaller than this is seconds (until the year 5138), a larger one milliseconds (since 1973)."""
MAX_LINE_BYTES = 16_777_216

Columns = Mapping[str, Sequence[Any]]
Row = tuple[int, int, bytes]
_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder()


class Dataset(Protocol):
    """Read once, from the front: ``reference`` first if at all, then ``events``."""

    def reference(self, rows: int | None) -> Reference:
        """Of the next ``rows`` rows, or of all; raises FormatError where there are fewer."""
        ...

    @property
    def labels(self) -> dict[int, Any]:
        """By row, of rows handed out since they were last taken out."""
        ...

    def events(self) -> Iterator[Row]:
        """What is left: each row's number in the file, its time in milliseconds, and itself as a native event."""
        ...


def open_dataset(options: FileLayout) -> Dataset:
    """The dataset in ``options.file``."""
    return EventLines(options) if options.is_events else Table(options)


class Table:
    """CSV or Parquet: every column is a feature unless the options say otherwise.

    ``labels``: of rows handed out, where the options name a prediction and a label; who reads them takes them out.
    """

    __slots__ = ("_chunks", "_event", "_left", "_options", "_row", "labels")

    def __init__(self, options: FileLayout) -> None:
        self._options = options
        self._chunks = tables.read_table(options.file)
        self._left: tuple[Columns, int, int] | None = None  # columns, first row, rows
        self._row = 0  # rows handed out
        self._event = 0
        self.labels: dict[int, Any] = {}

    def reference(self, rows: int | None) -> Reference:
        joined: dict[str, list[Any]] = {}
        moments: list[int] = []
        start = self._row
        while rows is None or self._row - start < rows:
            part = self._take(None if rows is None else rows - (self._row - start))
            if part is None:
                break
            columns, first, count = part
            for name, key in self._roles(columns).items():
                joined.setdefault(key, []).extend(_plain(columns[name]))
            moments.extend(self._moments(columns, first, count) or ())
        taken = self._row - start
        _enough(self._options, taken, rows)
        return _build(self._options, joined, moments if len(moments) == taken else None, taken)

    def events(self) -> Iterator[Row]:
        model, version = self._options.model_name(), self._options.version or "1"
        while (part := self._take(None)) is not None:
            columns, first, count = part
            roles = self._roles(columns)
            names = [key for key in roles.values() if key != features.PREDICTION]
            inputs = [_plain(columns[name]) for name, key in roles.items() if key != features.PREDICTION]
            lists = any(builder.infer_kind(values) is Kind.VECTOR for values in inputs)
            moments = self._moments(columns, first, count) or self._clock(count)
            predictions = _plain(columns[self._options.prediction]) if self._options.prediction else None
            labels = _plain(columns[self._options.label]) if self._options.label and predictions is not None else None
            for index, row in enumerate(zip(*inputs, strict=True) if inputs else [()] * count):
                event: dict[str, Any] = {"model": model, "version": version, "ts": moments[index]}
                if lists:  # an event of nothing but lists and without an id would be taken for columns
                    event["id"] = str(first + index)
                event["features"] = dict(zip(names, row, strict=True))
                if predictions is not None:
                    event["prediction"] = predictions[index]
                if labels is not None:
                    event["id"] = str(first + index)
                    self.labels[first + index] = labels[index]
                yield first + index, moments[index], _encoder.encode(event)

    def _clock(self, count: int) -> list[int]:
        """Event k happens k / rate seconds after the start."""
        first, self._event = self._event + 1, self._event + count
        return [round(k * 1000 / self._options.rate) for k in range(first, first + count)]

    def _take(self, rows: int | None) -> tuple[Columns, int, int] | None:
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
        """Feature key by column, for the columns that are monitored."""
        options = self._options
        wanted = (options.prediction, options.label, options.timestamp, *options.ignore, *(options.columns or ()))
        for name in wanted:
            if name is not None and name not in columns:
                known = ", ".join(columns)
                raise FormatError(f"{options.file}: has no column {name!r}; it has {known}")
        aside = {options.prediction, options.label, options.timestamp, *options.ignore}
        chosen = columns if options.columns is None else options.columns
        roles = {name: name for name in chosen if name not in aside}
        if options.prediction is not None:
            roles[options.prediction] = features.PREDICTION
        if not roles:
            raise FormatError(f"{options.file}: no column is left to watch")
        return roles

    def _moments(self, columns: Columns, first: int, count: int) -> list[int] | None:
        name = self._options.timestamp
        if name is None:
            return None
        values = _plain(columns[name])
        return [moment_ms(values[i], f"{self._options.file}: row {first + i}: {name}") for i in range(count)]


class EventLines:
    """JSON Lines of native events, from a file or standard input. Labels are not in them."""

    __slots__ = ("_event", "_lines", "_options", "labels")

    def __init__(self, options: FileLayout) -> None:
        self._options = options
        self._event = 0
        self._lines = _chosen(options)
        self.labels: dict[int, Any] = {}

    def reference(self, rows: int | None) -> Reference:
        lines = list(islice(self.events(), rows))
        _enough(self._options, len(lines), rows)
        self._event = 0
        columns, moments, owner = event_rows.feature_columns(lines, self._options)
        options = msgspec.structs.replace(self._options, model=owner.model, version=owner.version)
        return _build(options, columns, moments, len(moments))

    def events(self) -> Iterator[Row]:
        for number, line in self._lines:
            self._event += 1
            moment = event_moment_ms(line)
            yield number, round(self._event * 1000 / self._options.rate) if moment is None else moment, line


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


def _chosen(options: FileLayout) -> Iterator[tuple[int, bytes]]:
    """The lines of the chosen model and version, or all. What cannot be read is left to the decoder to name."""
    if options.model is None and options.version is None:
        yield from _numbered(options.file)
        return
    for number, line in _numbered(options.file):
        for event in _events(line)[:1] or [{}]:
            model, version = event.get("model", options.model), event.get("version", options.version)
            if options.model in (None, model) and options.version in (None, str(version)):
                yield number, line


def _events(line: bytes) -> list[dict[str, Any]]:
    """The objects in a message, none where it cannot be read."""
    try:
        content = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return []
    return [event for event in (content if isinstance(content, list) else [content]) if isinstance(event, dict)]


def event_moment_ms(line: bytes) -> int | None:
    """The newest ``ts`` in a message, None where it has none that can be read: the decoder's own rule then holds."""
    moments: list[int] = []
    for event in _events(line):
        stamps = event.get("ts")
        for stamp in stamps if isinstance(stamps, list) else [stamps]:
            with contextlib.suppress(FormatError):
                moments.append(moment_ms(stamp, ""))
    return max(moments, default=None)


def moment_ms(value: object, where: str) -> int:
    """A time as milliseconds: seconds or milliseconds as a number, RFC 3339 or ISO 8601 as text (UTC without zone)."""
    if isinstance(value, str):
        try:
            number: float | None = float(value)
        except ValueError:
            number = None
        if number is None:
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                raise FormatError(f"{where}: {value!r} is no time") from None
        else:
            value = number
    if isinstance(value, datetime):
        return round((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 2**62:
        raise FormatError(f"{where}: {value!r} is no time")
    return round(value * 1000) if abs(value) < SECONDS_BELOW else round(value)


def _build(options: FileLayout, columns: Columns, moments: Sequence[int] | None, rows: int) -> Reference:
    return builder.build_reference(
        options.model_name(),
        options.version or "1",
        columns,
        timestamps_ms=None if moments is None else np.asarray(moments, dtype=np.int64),
        source={"file": Path(options.file).name, "rows": rows},
    )


def _enough(options: FileLayout, taken: int, rows: int | None) -> None:
    if taken == 0:
        raise FormatError(f"{options.file}: holds no rows")
    if rows is not None and taken < rows:
        raise FormatError(f"{options.file}: has {taken:,} rows, the reference needs {rows:,}")


def _plain(values: Any) -> Sequence[Any]:
    """Python values, whatever the reader gave."""
    plain: Sequence[Any] = values.tolist() if hasattr(values, "tolist") else values
    return plain

"""Tables of one or several files as the events of one model."""

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import msgspec
import numpy as np

from detectors import features, plain_values, values
from detectors.errors import FormatError
from detectors.features import Kind
from detectors.reference.reference import Reference
from stream.files.layout import FileLayout
from stream.files.ordering import Times
from stream.files.reference_rows import Row, built, check_enough
from stream.files.remarks import Remarks
from stream.files.table_chunks import CHUNK_ROWS, TableReading, read_chunks

MOST_SORTED_CELLS = 100_000_000
"""Values of a table that is sorted in memory: 8 GB as Python numbers."""

Columns = Mapping[str, Sequence[Any]]
_encoder = msgspec.json.Encoder()


class Piece(NamedTuple):
    """Some rows: their columns, their numbers, and their times where the layout names a column of times."""

    columns: Columns
    numbers: Sequence[int]
    moments: list[int] | None

    def cut(self, rows: int) -> tuple["Piece", "Piece"]:
        """The first rows, and the others."""
        moments = (None, None) if self.moments is None else (self.moments[:rows], self.moments[rows:])
        return (
            Piece({name: column[:rows] for name, column in self.columns.items()}, self.numbers[:rows], moments[0]),
            Piece({name: column[rows:] for name, column in self.columns.items()}, self.numbers[rows:], moments[1]),
        )


class Table:
    """CSV, Parquet or JSON rows. Every column is a feature unless the layout gives it another role.

    ``labels``: labels by row number, of the rows that ``events`` has returned, where the layout names a prediction
    and a label. The reader of a label removes it.
    """

    __slots__ = (
        "_event", "_files", "_known", "_layout", "_left", "_pieces", "_starts", "_times", "_with_value", "labels",
        "remarks",
    )  # fmt: skip

    def __init__(
        self, layout: FileLayout, files: Sequence[str], known: Mapping[str, Kind], *, late_ms: int | None, sort: bool
    ) -> None:
        self._layout, self._files = layout, files
        prediction = known.get(features.PREDICTION)
        self._known = dict(known)
        if layout.prediction is not None and prediction is not None:
            self._known[layout.prediction] = prediction
        self._left: Piece | None = None
        self._event = 0
        self._starts = [0]  # rows before each file that was begun
        self._with_value: set[str] = set()
        self.labels: dict[int, Any] = {}
        self.remarks = Remarks()
        self._times = Times(self.remarks, late_ms, accept=sort)
        self._pieces = self._sorted() if sort and layout.timestamp is not None else self._read()

    def place(self, number: int) -> str:
        """The file and the row in it that have a number."""
        at = bisect_right(self._starts, number - 1) - 1
        return f"{self._files[at]}: row {number - self._starts[at]}"

    @property
    def has_times(self) -> bool:
        """Whether the layout names the column with times."""
        return self._layout.timestamp is not None

    def reference(self, rows: int | None) -> Reference:
        """The reference of the next rows; its features decide how later text is read."""
        joined: dict[str, list[Any]] = {}
        moments: list[int] = []
        read = 0
        while rows is None or read < rows:
            piece = self._next(None if rows is None else rows - read)
            if piece is None:
                break
            for name, key in self._roles(piece.columns).items():
                column = joined.setdefault(key, [])
                column.extend([None] * (read - len(column)))  # it is new
                column.extend(_plain(piece.columns[name]))
            moments.extend(piece.moments or ())
            read += len(piece.numbers)
            for column in joined.values():
                column.extend([None] * (read - len(column)))
        if rows is not None:
            self._times.refuse_disorder()
        check_enough(self._layout, read, rows)
        reference = built(self._layout, joined, moments if len(moments) == read else None, read, self.remarks)
        self._with_value.update(joined)  # each was decided
        return reference

    def events(self) -> Iterator[Row]:
        """The remaining rows as events."""
        model, version = self._layout.model_name(), self._layout.version or "1"
        last: Columns = {}
        while (piece := self._next(None)) is not None:
            last = piece.columns
            roles = self._watched(piece)
            names = [key for key in roles.values() if key != features.PREDICTION]
            inputs = [_plain(piece.columns[name]) for name, key in roles.items() if key != features.PREDICTION]
            lists = any(values.infer_kind(column) is Kind.VECTOR for column in inputs)
            moments = piece.moments or self._clock(len(piece.numbers))
            predictions = _plain(piece.columns[self._layout.prediction]) if self._layout.prediction else None
            labels = (
                _plain(piece.columns[self._layout.label]) if self._layout.label and predictions is not None else None
            )
            for index, row in enumerate(zip(*inputs, strict=True) if inputs else [()] * len(piece.numbers)):
                number = piece.numbers[index]
                event: dict[str, Any] = {"model": model, "version": version, "ts": moments[index]}
                if lists:  # without an id, an event of lists only would be read as an event with columns
                    event["id"] = str(number)
                event["features"] = dict(zip(names, row, strict=True))
                if predictions is not None:
                    event["prediction"] = predictions[index]
                if labels is not None:
                    event["id"] = str(number)
                    self.labels[number] = labels[index]
                yield number, moments[index], _encoded(event)
        for name in self._roles(last) if last else ():
            if name not in self._with_value:
                self.remarks.leave_out(name, "empty: no row has a value")

    def _clock(self, count: int) -> list[int]:
        """Times for the next ``count`` rows: event k happens k / rate seconds after the start."""
        first, self._event = self._event + 1, self._event + count
        return [round(k * 1000 / self._layout.rate) for k in range(first, first + count)]

    def _next(self, rows: int | None) -> Piece | None:
        """At most ``rows`` further rows; None at the end."""
        piece = self._left or next(self._pieces, None)
        self._left = None
        if piece is not None and rows is not None and len(piece.numbers) > rows:
            piece, self._left = piece.cut(rows)
        return piece

    def _read(self) -> Iterator[Piece]:
        """The rows of all files in their order."""
        layout, times = self._layout, self._times
        reading = TableReading(self.remarks, self._known, frozenset(layout.ignore))
        rows, names = 0, None
        for at, file in enumerate(self._files):
            if at:
                self._starts.append(rows)
            for chunk in read_chunks(file, reading):
                names = names or (file, set(chunk.columns), chunk.open_ended)
                if not chunk.open_ended and (differing := names[1] ^ set(chunk.columns)) and not names[2]:
                    raise FormatError(f"{file}: column {min(differing)!r} is not in both this file and {names[0]}")
                numbers = range(rows + 1, rows + chunk.rows + 1)
                moments = None
                if layout.timestamp is not None:
                    self._roles(chunk.columns)
                    own = range(chunk.first_row, chunk.first_row + chunk.rows)
                    moments = times.column(_plain(chunk.columns[layout.timestamp]), own, file, layout.timestamp)
                rows += chunk.rows
                yield Piece(chunk.columns, numbers, moments)

    def _sorted(self) -> Iterator[Piece]:
        """All rows by their times; rows of one time stay in their order."""
        joined: dict[str, list[Any]] = {}
        numbers: list[int] = []
        moments: list[int] = []
        for piece in self._read():
            for name, column in piece.columns.items():
                into = joined.setdefault(name, [None] * len(numbers))
                into.extend(_plain(column))
            numbers.extend(piece.numbers)
            moments.extend(piece.moments or ())
            for into in joined.values():
                into.extend([None] * (len(numbers) - len(into)))
            if len(numbers) * len(joined) > MOST_SORTED_CELLS:
                raise FormatError(
                    f"{self._layout.file}: times run backwards, and the table is too large to be sorted here; "
                    f"sort the file by {self._layout.timestamp}"
                )
        order = np.argsort(np.array(moments, np.int64), kind="stable").tolist()
        at = iter(order)
        while part := list(islice(at, CHUNK_ROWS)):
            yield Piece(
                {name: [column[row] for row in part] for name, column in joined.items()},
                [numbers[row] for row in part],
                [moments[row] for row in part],
            )

    def _roles(self, columns: Columns) -> dict[str, str]:
        """The feature key of each monitored column. Raises FormatError for a column that the file does not have."""
        layout = self._layout
        wanted = (layout.prediction, layout.label, layout.timestamp, *layout.ignore, *(layout.columns or ()))
        for name in wanted:
            if name is not None and name not in columns:
                known = ", ".join(list(columns)[:50])
                raise FormatError(f"{layout.file}: has no column {name!r}; its columns are {known}")
        aside = {layout.prediction, layout.label, layout.timestamp, *layout.ignore}
        roles: dict[str, str] = {}
        for name in columns if layout.columns is None else layout.columns:
            if name not in aside:
                reason = values.refused_name(name)
                if reason is None:
                    roles[name] = name
                else:
                    self.remarks.leave_out(name, reason)
        if layout.prediction is not None:
            roles[layout.prediction] = features.PREDICTION
        if not roles:
            raise FormatError(f"{layout.file}: no column is left to monitor")
        return roles

    def _watched(self, piece: Piece) -> dict[str, str]:
        """The roles of the columns that can be watched, by the first rows in which a column has a value."""
        found = {}
        for name, key in self._roles(piece.columns).items():
            if key in self.remarks.not_watched:
                continue
            if name not in self._with_value and key not in self._with_value:
                column = piece.columns[name]
                reason = values.unwatched(column)
                if reason is None:
                    self._with_value.add(name)
                elif not reason.startswith("empty"):
                    self.remarks.leave_out(key, reason)
                    continue
            found[name] = key
        return found


def _plain(column: Any) -> Sequence[Any]:
    """The values as those of JSON, from an array or a list."""
    if hasattr(column, "tolist"):
        found: Sequence[Any] = column.tolist()
        return found
    if all(type(value) in _JSON for value in column):
        return column  # type: ignore[no-any-return]
    return [plain_values.plain(value) for value in column]


_JSON = frozenset((type(None), str, int, float, bool, list, dict))


def _encoded(event: dict[str, Any]) -> bytes:
    try:
        return _encoder.encode(event)
    except (TypeError, ValueError, OverflowError, UnicodeError, RecursionError):  # an integer beyond 64 bits
        return json.dumps(event, default=str).encode()

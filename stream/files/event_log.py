"""JSON files of events as one log, from files or standard input."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import msgspec

from detectors import values
from detectors.reference.reference import Reference
from stream.files import documents, event_rows, sources
from stream.files.layout import FileLayout
from stream.files.ordering import Times
from stream.files.reference_rows import Row, built, check_enough
from stream.files.remarks import Remarks
from stream.formats.row import EARLIEST_MS

LOOK_AHEAD = 1_000
"""Events without a time before the first with one: they take its time. A log without any has the clock of the rate."""

EXAMINED = 10_000
"""The names and types of features are examined for the report in so many events."""

_EMPTY = "empty: no row has a value"


class _Event(NamedTuple):
    number: int
    moment: int | None
    data: bytes
    readable: bool


class EventLog:
    """JSON events, one a line, as an array, or as columns. They contain no labels."""

    __slots__ = (
        "_doubtful", "_event", "_examined", "_files", "_fine", "_from_zero", "_layout", "_starts", "_timed", "_times",
        "labels", "remarks",
    )  # fmt: skip

    def __init__(self, layout: FileLayout, files: Sequence[str], *, late_ms: int | None, sort: bool) -> None:
        self._layout, self._files = layout, files
        self._event = self._examined = 0
        self._from_zero: bool | None = None  # unknown before the first time
        self._starts = [0]
        self._fine: set[str] = set()
        self._doubtful: dict[str, str] = {}
        self.labels: dict[int, Any] = {}
        self.remarks = Remarks()
        self._times = Times(self.remarks, late_ms, accept=sort)
        rows = self._with_times()
        if sort:
            rows = iter(sorted(rows, key=lambda row: (row[1] is None, row[1] or 0)))
        self._timed = rows

    def place(self, number: int) -> str:
        """The file and the row in it that have a number."""
        at = bisect_right(self._starts, number - 1) - 1
        return f"{self._files[at]}: row {number - self._starts[at]}"

    @property
    def has_times(self) -> bool:
        """Whether the events that were read have times; one without takes the time of another."""
        return self._times.rows > 0

    def reference(self, rows: int | None) -> Reference:
        """The reference of the next events."""
        lines = list(islice(self.events(), rows))
        if rows is not None:
            self._times.refuse_disorder()
        check_enough(self._layout, len(lines), rows)
        self._event = 0
        columns, moments, owner = event_rows.feature_columns(lines, self._layout, self.remarks, self.place)
        self.remarks.refuse_invalid(len(lines))
        self._report()
        layout = msgspec.structs.replace(self._layout, model=owner.model, version=owner.version)
        return built(layout, columns, moments, len(moments), self.remarks)

    def events(self) -> Iterator[Row]:
        """The remaining events."""
        for number, moment, data in self._timed:
            self._event += 1
            yield number, round(self._event * 1000 / self._layout.rate) if moment is None else moment, data
        self._report()

    def _report(self) -> None:
        for name, reason in self._doubtful.items():
            self.remarks.leave_out(name, reason)
        if self._fine:  # a name that had a value later
            for name in self._fine & self.remarks.not_watched.keys():
                if self.remarks.not_watched[name] == _EMPTY:
                    del self.remarks.not_watched[name]

    def _with_times(self) -> Iterator[tuple[int, int | None, bytes]]:
        """The events with their times; None in a log that has no times."""
        times, events = self._times, self._chosen()
        begin = []
        for event in islice(events, LOOK_AHEAD):
            begin.append(event)
            if event.moment is not None:
                break
        first = begin[-1].moment if begin else None
        for event in chain(begin, events):
            moment = event.moment
            if moment is None and not event.readable:
                moment = first if times.last_ms is None else times.last_ms
            elif moment is not None or first is not None or times.last_ms is not None:
                moment = times.next(moment, first or 0)
                times.check(moment, self._layout.file, event.number - self._starts[-1], "ts")
            yield event.number, moment, event.data

    def _chosen(self) -> Iterator[_Event]:
        """The events of the chosen model and version, or all. Unreadable ones stay, so that they are counted."""
        last = 0
        for at, file in enumerate(self._files):
            start = last
            if at:
                self._starts.append(start)
            with sources.opened(file) as source:
                sources.refuse_foreign(source)
                for document in documents.values(source):
                    last = start + document.number
                    body = document.body
                    if isinstance(body, dict):
                        if not self._is_chosen(body):
                            continue
                        self._examine(body.get("features"))
                    moment = self._moment(body.get("ts")) if isinstance(body, dict) else None
                    yield _Event(last, moment, document.data, isinstance(body, dict))

    def _moment(self, stamp: Any) -> int | None:
        """The time of an event; in a log whose clock starts at zero, small numbers are milliseconds."""
        moment = values.time_ms(stamp)
        if stamp is not None and self._from_zero is None:
            self._from_zero = moment is None
        if moment is None and self._from_zero and isinstance(stamp, int | float) and not isinstance(stamp, bool):
            return int(stamp) if 0 <= stamp < EARLIEST_MS else None
        return moment

    def _is_chosen(self, event: Mapping[str, Any]) -> bool:
        layout = self._layout
        model, version = event.get("model", layout.model), event.get("version", layout.version)
        return layout.model in (None, model) and layout.version in (None, str(version))

    def _examine(self, features: Any) -> None:
        """Notes which features cannot be watched."""
        self._examined += 1
        if self._examined > EXAMINED or not isinstance(features, dict):
            return
        for name, value in features.items():
            if name in self._fine:
                continue
            refused = values.refused_name(name)
            if refused is None and values.value_kind(value) is not None:
                self._fine.add(name)
                self._doubtful.pop(name, None)
            elif len(self._doubtful) < EXAMINED:
                reason = refused or values.unwatched([value]) or _EMPTY
                if self._doubtful.get(name, _EMPTY) == _EMPTY:
                    self._doubtful[name] = reason

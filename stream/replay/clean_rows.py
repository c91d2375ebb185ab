"""The clean events of a history: which events the user named as clean, and their values for the calibration."""

from collections.abc import Sequence

import msgspec
import numpy as np

from detectors import values
from detectors.calibration.calibration import Calibrator
from detectors.calibration.rehearsal import Monitor
from detectors.calibration.stretch import Column, Stretch, category_cells
from detectors.columns import Bytes8, Floats
from detectors.errors import FormatError
from detectors.features import Kind, UnitKey
from detectors.reference.reference import FeatureReference, Reference
from stream.files import event_rows
from stream.files.ordering import moment_ms
from stream.files.reference_rows import Row
from stream.formats.row import Row as Event
from stream.judge.settings import JudgeSettings
from stream.replay.options import ReplayOptions

LEAST_ROWS = 500
"""With fewer rows there are too few places where an injected change can begin."""

MOST_ROWS = 2_000_000
"""With 20 features this many rows need 0.4 GB here, and 1 GB more while they are judged."""

CHUNK = 4_096


class Span(msgspec.Struct, frozen=True):
    """A part of a history, by event numbers or by times. ``low`` or ``high`` is None if that end is open.

    Event numbers: the events after the ``low``-th, up to and with the ``high``-th. Times: from ``low`` ms to before
    ``high`` ms.
    """

    low: int | None
    high: int | None
    timed: bool

    def holds(self, event: int, moment_ms: int) -> bool:
        """Whether the span contains the ``event``-th event of the history, which happened at ``moment_ms``."""
        place = moment_ms if self.timed else event - 1
        return (self.low is None or place >= self.low) and (self.high is None or place < self.high)


def span(text: str) -> Span:
    """The span that ``FROM:TO`` names (``FROM..TO`` for times with colons). Either end may be left out.

    Raises FormatError for any other text.

    >>> span("0:7000")
    Span(low=0, high=7000, timed=False)
    >>> span("2024-03-01..2024-03-01T12:00")
    Span(low=1709251200000, high=1709294400000, timed=True)
    """
    ends = [end.strip() for end in (text.split("..") if ".." in text else text.split(":"))]
    if len(ends) != 2:
        raise FormatError(f"--clean {text}: must be FROM:TO (or FROM..TO for times with colons)")
    timed = not all(end.isdecimal() or not end for end in ends)
    low, high = (_end(end, timed, text) if end else None for end in ends)
    if low is not None and high is not None and low >= high:
        raise FormatError(f"--clean {text}: FROM must be before TO")
    return Span(low, high, timed)


def _end(end: str, timed: bool, text: str) -> int:
    return moment_ms(end, f"--clean {text}") if timed else int(end)


class CalibrationOptions(msgspec.Struct, frozen=True):
    """The options of ``replay --clean``. ``copies``: how often to resample; None: as often as the budget needs."""

    clean: Span
    copies: int | None = None
    seed: int = 1


class CleanRows:
    """Gathers the values of the clean events during a replay, as the decoder reads them.

    ``timed``: the rows have times of their own. Raises FormatError when they have none and the calibration names times.
    """

    def __init__(
        self, options: ReplayOptions, calibration: CalibrationOptions, reference: Reference, timed: bool
    ) -> None:
        if calibration.clean.timed and not timed:
            raise FormatError(
                f"{options.file}: --clean names times, but the rows have none: use event numbers, or --timestamp"
            )
        self._options, self._calibration, self._reference, self._timed = options, calibration, reference, timed
        self._events = 0
        self._unit: UnitKey | None = None
        self.first_event = self.last_event = 0
        self.seed = calibration.seed
        self._pending: list[Event] = []
        self._moments: list[int] = []
        self._chunks: list[list[tuple[Floats, Bytes8]]] = []

    def gather(self, rows: Sequence[Row]) -> None:
        """Keeps the clean events among the next ``rows`` of the history. Raises FormatError if there are too many."""
        for row in rows:
            for event in self._events_of(row):
                self._events += 1
                if self._calibration.clean.holds(self._events, event.timestamp_ms):
                    self.first_event, self.last_event = self.first_event or self._events, self._events
                    self._one_unit(event.unit, row[0])
                    self._pending.append(event)
        if len(self._pending) >= CHUNK:
            self._convert_pending()

    @staticmethod
    def _events_of(row: Row) -> list[Event]:
        """The events of a row; none of a row that cannot be read, which the replay counts."""
        try:
            return event_rows.rows_of(row)
        except FormatError:
            return []

    def _one_unit(self, unit: UnitKey, row: int) -> None:
        self._unit = self._unit or unit
        if unit != self._unit:
            raise FormatError(
                f"{self._options.file}: row {row}: is of {unit}, but the clean rows before it are of {self._unit}; "
                "segments are judged separately, so replay a file with one segment"
            )

    def _convert_pending(self) -> None:
        self._moments += [event.timestamp_ms for event in self._pending]
        if len(self._moments) > MOST_ROWS:
            raise FormatError(f"{self._options.file}: --clean selects more than {MOST_ROWS:,} events: select fewer")
        self._chunks.append([_values(feature, self._pending) for feature in self._reference.features])
        self._pending = []

    def stretch(self) -> Stretch:
        """The clean events. Raises FormatError if there are fewer than ``LEAST_ROWS``."""
        self._convert_pending()
        if len(self._moments) < LEAST_ROWS:
            raise FormatError(
                f"{self._options.file}: --clean selects {len(self._moments):,} of {self._events:,} events; "
                f"at least {LEAST_ROWS} are needed"
            )
        columns = [
            Column(feature, np.concatenate([v for v, _ in parts]), np.concatenate([s for _, s in parts]))
            for feature, parts in zip(self._reference.features, zip(*self._chunks, strict=True), strict=True)
        ]
        return Stretch(columns, np.array(self._moments, np.int64), self._timed)

    def calibrator(self, settings: JudgeSettings, look_events: int) -> Calibrator:
        """The calibrator, which judges the clean events with the settings of the replay."""
        monitor = Monitor(
            self._reference,
            settings.evidence,
            look_events=look_events,
            resolve_after=settings.resolve_after_events,
        )
        return Calibrator(monitor, self.stretch(), copies=self._calibration.copies, seed=self.seed)


def _values(feature: FeatureReference, events: Sequence[Event]) -> tuple[Floats, Bytes8]:
    given = [event.values.get(feature.feature) for event in events]
    if feature.kind is Kind.NUMERIC:
        return values.as_numbers(given)
    categories, status = values.as_categories(given, feature.kind)
    return category_cells(feature, categories), status

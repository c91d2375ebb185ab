"""The newest predictions of a unit, which wait for their labels, and the tallies of all outcomes. No I/O.

A label is joined to a prediction by its id. Of several labels for one prediction the one with the highest rank counts.
A label that is read again changes nothing. So the state does not depend on the order in which events and labels are
read, as long as the prediction of a label is still kept.
"""

from array import array
from enum import StrEnum
from math import nan
from typing import Any

import msgspec
import numpy as np

from detectors.columns import PRESENT, Bools, Columns, Floats, Integers
from detectors.errors import CheckpointError
from detectors.features import ERROR, LATENCY_MS, PREDICTION
from detectors.outcomes import HOUR_MS, NOTHING, Outcomes, Tally, Value, compared, pruned, residual, residual_cell
from stream.formats.ids import NONE, Identities, of_snapshot
from stream.labels.record import Label


class Match(StrEnum):
    """The result of joining a label to a unit."""

    UNMATCHED = "unmatched"
    MATCHED = "matched"  # the first label of its prediction
    REPLACED = "replaced"  # newer than the label before, with another value
    DUPLICATE = "duplicate"  # not newer than the label before, or with the same value
    KNOWN = "known"  # the same record as the label that is held: read again after a restart


class PredictionRules(msgspec.Struct, frozen=True):
    """How many predictions are kept, and the objective for latency.

    ``kept``: the newest predictions of one unit in one partition, to which labels are joined; 0: no label is joined. A
    prediction takes some 150 bytes while labels arrive, and 24 bytes without labels and in a checkpoint.
    ``latency_below_ms``: the objective; None when there is none.
    """

    kept: int
    latency_below_ms: float | None = None


class _State(msgspec.Struct, frozen=True):
    """The snapshot of a ``Predictions``.

    Where a value is a text, ``values`` and ``times`` hold the predictions. Otherwise ``numbers`` (float64, NaN for no
    value) and ``moments`` (int64) do. ``identities``: uint64. ``ids``: ids as texts, in checkpoints of version 1.
    """

    ids: list[str | None]
    values: list[str | float | None]
    times: list[int]
    labels: dict[int, tuple[tuple[int, str, int], Value]]
    latency_below_ms: float | None
    tallies: bytes  # JSON, whose integers have no limit
    numbers: bytes = b""
    moments: bytes = b""
    identities: bytes = b""


_states = msgspec.msgpack.Decoder(_State)
_tallies = msgspec.json.Decoder(Outcomes)


class Predictions:
    """The newest ``rules.kept`` predictions of one unit in one partition, and the tallies of all outcomes so far."""

    __slots__ = ("_begin", "_hours", "_ids", "_index", "_indexed", "_labels", "_residuals", "_rules", "_times",
                 "_total", "_values")  # fmt: skip

    def __init__(self, rules: PredictionRules) -> None:
        self._rules = rules
        self._ids = array("Q")  # see ``stream.formats.ids``
        self._values: array[float] | list[str | float | None] = array("d")  # NaN: no value; a list after the first text
        self._times = array("q")
        self._begin = 0  # number of the first row that is kept
        self._index: dict[int, int] = {}  # id -> number of a row below ``_indexed``; built when labels arrive
        self._indexed = 0
        self._labels: dict[int, tuple[tuple[int, str, int], Value]] = {}
        self._total, self._hours = NOTHING, dict[int, Tally]()
        self._residuals: dict[int, int] = {}

    def remember(self, columns: Columns, identities: Identities) -> None:
        """Appends accepted events, in the order of the log. Cost: 0.1 us an event where there are many in one call."""
        self._ids.frombytes(identities.tobytes())
        self._times.frombytes(columns.timestamps_ms.tobytes())
        if isinstance(self._values, array) and not any(spec.feature == PREDICTION for spec in columns.categorical):
            numbers = _numbers(columns, PREDICTION)
            numbers = np.full(len(columns), nan) if numbers is None else numbers
            self._values.frombytes(numbers.tobytes())
            given = ~np.isnan(numbers)
        else:
            values = _column(columns, PREDICTION)
            self._values = [*map(_given, self._values), *values]
            given = np.array([value is not None for value in values], np.bool_)
        given &= identities != NONE
        self._tally(columns.timestamps_ms, given, _failed(columns), _numbers(columns, LATENCY_MS))
        if len(self._ids) >= 2 * self._rules.kept:  # rare, so that a row is moved about once
            self._drop()

    def continue_from(self, before: "Predictions", *, tallies_only: bool) -> None:
        """Continues the tallies of ``before`` and, without ``tallies_only`` and if they are whole, its predictions.

        ``before`` is not used any more.
        """
        self._total, self._hours, self._residuals = before._total, before._hours, before._residuals
        if not tallies_only and len(before._ids) == len(before._values) == len(before._times):
            self._ids, self._values, self._times, self._labels = (
                before._ids, before._values, before._times, before._labels,
            )  # fmt: skip
            self._begin, self._index, self._indexed = before._begin, before._index, before._indexed

    def outcomes(self, labels_next: int) -> Outcomes:
        """The outcomes to publish. ``labels_next``: sum of the next offsets of the label partitions."""
        return Outcomes(self._total, dict(self._hours), labels_next, dict(sorted(self._residuals.items())))

    def join(self, label: Label) -> tuple[Match, int]:
        """Joins a label: the result, and the label's delay in ms where it matched. Cost: about 3 us for a match."""
        self._trim()
        row = self._index.get(label.identity)
        if row is None:
            return Match.UNMATCHED, 0
        before = self._labels.get(row)
        if before is not None and label.rank <= before[0]:
            return (Match.KNOWN if label.rank == before[0] else Match.DUPLICATE), 0
        self._labels[row] = (label.rank, label.value)
        if before is not None:
            self._count(row, *before, sign=-1)
        self._count(row, label.rank, label.value)
        match = Match.MATCHED if before is None else Match.REPLACED
        if before is not None and before[1] == label.value:
            match = Match.DUPLICATE
        return match, max(label.timestamp_ms - self._times[row - self._begin], 0)

    def _count(self, row: int, rank: tuple[int, str, int], value: Value, sign: int = 1) -> None:
        prediction, made_ms = _given(self._values[row - self._begin]), self._times[row - self._begin]
        assert prediction is not None
        tally, hour = compared(prediction, value, rank[0] - made_ms), made_ms // HOUR_MS
        add = Tally.plus if sign > 0 else Tally.minus
        self._total = add(self._total, tally)
        if hour in self._hours:
            self._hours[hour] = add(self._hours[hour], tally)
        error = residual(prediction, value)
        if error is None:
            return
        cell = residual_cell(error)
        self._residuals[cell] = self._residuals.get(cell, 0) + sign
        if not self._residuals[cell]:
            del self._residuals[cell]

    def _tally(self, times: Integers, predicted: Bools, failed: Bools | None, latency: Floats | None) -> None:
        """Counts rows in the total and in their hours. ``failed`` and ``latency`` are None when no row has a value."""
        first, last = int(times.min()) // HOUR_MS, int(times.max()) // HOUR_MS
        hours = [first] if first == last else np.unique(times // HOUR_MS).tolist()
        below = self._rules.latency_below_ms
        for hour in hours:
            at: Any = slice(None) if first == last else times // HOUR_MS == hour
            timed = None if latency is None else latency[at][~np.isnan(latency[at])]
            tally = Tally(
                events=len(times[at]),
                errors=0 if failed is None else int(np.count_nonzero(failed[at])),
                timed=0 if timed is None else len(timed),
                in_time=0 if timed is None or below is None else int(np.count_nonzero(timed <= below)),
                predicted=int(np.count_nonzero(predicted[at])),
            )
            self._total = self._total.plus(tally)
            self._hours[hour] = self._hours.get(hour, NOTHING).plus(tally)
        self._hours = pruned(self._hours)

    def _drop(self) -> None:
        """Removes all rows but the newest ``rules.kept``."""
        gone = len(self._ids) - self._rules.kept
        if gone <= 0:
            return
        for row in range(self._begin, min(self._begin + gone, self._indexed)):
            name = self._ids[row - self._begin]
            if self._index.get(name) == row:
                del self._index[name]
            self._labels.pop(row, None)
        del self._ids[:gone], self._values[:gone], self._times[:gone]
        self._begin += gone

    def _trim(self) -> None:
        """Removes old rows and indexes the new ones. Of several rows with one id the newest counts."""
        self._drop()
        end = self._begin + len(self._ids)
        for row in range(max(self._indexed, self._begin), end):
            name = self._ids[row - self._begin]
            if name != NONE and _given(self._values[row - self._begin]) is not None:
                self._index[name] = row
        self._indexed = end

    def snapshot(self) -> bytes:
        """The whole state as bytes."""
        self._drop()
        labels = {row - self._begin: given for row, given in self._labels.items()}
        tallies = msgspec.json.encode(Outcomes(self._total, self._hours, 0, dict(sorted(self._residuals.items()))))
        below = self._rules.latency_below_ms
        values, times = self._values, self._times
        if not isinstance(values, array):
            texts = any(isinstance(value, str) for value in values)
            values = values if texts else array("d", [nan if v is None else float(v) for v in values])
        if isinstance(values, array):
            state = _State([], [], [], labels, below, tallies, values.tobytes(), times.tobytes(), self._ids.tobytes())
        else:
            state = _State([], values, times.tolist(), labels, below, tallies, identities=self._ids.tobytes())
        return msgspec.msgpack.encode(state)

    def restore(self, blob: bytes, where: str) -> None:
        """Continues from a snapshot. Raises CheckpointError.

        When the objective for latency is another one than in the snapshot, latencies are counted from zero.
        """
        try:
            state = _states.decode(blob)
            tallies = _tallies.decode(state.tallies)
            self._ids = array("Q", of_snapshot(state.identities, state.ids).tobytes())
            self._values, self._times = array("d", state.numbers), array("q", state.moments)
        except (msgspec.MsgspecError, ValueError) as error:
            raise CheckpointError(f"{where}: not a unit's predictions: {error}") from error
        if state.values:
            self._values, self._times = state.values, array("q", state.times)
        self._total, self._hours, self._residuals = tallies.total, tallies.hours, dict(tallies.residuals)
        self._labels = dict(state.labels)
        if state.latency_below_ms != self._rules.latency_below_ms:
            self._total = msgspec.structs.replace(self._total, timed=0, in_time=0)
            self._hours = {h: msgspec.structs.replace(t, timed=0, in_time=0) for h, t in self._hours.items()}
        if self._labels:
            self._trim()


def _given(value: str | float | None) -> str | float | None:
    return None if value != value else value  # NaN


def _numbers(columns: Columns, name: str) -> Floats | None:
    """A feature's numbers, NaN where a row has none; None when no row has one."""
    if name not in columns.numeric:
        return None
    at = columns.numeric.index(name)
    if columns.number_status is None:
        return columns.numbers[:, at]
    return np.where(columns.number_status[:, at] == PRESENT, columns.numbers[:, at], np.nan)


def _column(columns: Columns, name: str) -> list[Any]:
    """A feature's values of any kind, None where a row has none."""
    numbers = _numbers(columns, name)
    values: list[Any] = [None] * len(columns) if numbers is None else list(map(_given, numbers.tolist()))
    for at, spec in enumerate(columns.categorical):
        if spec.feature == name:
            values = [
                value if category is None else category
                for value, category in zip(values, columns.categories[at], strict=True)
            ]
    return values


def _failed(columns: Columns) -> Bools | None:
    """Rows whose ``error`` is neither absent nor false, empty or 0; None when no row has an ``error``."""
    if ERROR in columns.numeric or any(spec.feature == ERROR for spec in columns.categorical):
        return np.array([value not in (None, "", "false", 0.0) for value in _column(columns, ERROR)], np.bool_)
    return None

"""River's detectors on the reference's own scale. The only module that imports river.

ADWIN runs river's own core, fed a column at a time. Page-Hinkley is computed for all features at once and reproduces
river's detections; both start afresh after a detection, as river does. A value is fed once, in log order, and state
does not depend on how the values were cut into batches.
"""

import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
from river.drift import ADWIN

from detectors.columns import Floats, Integers
from detectors.errors import SettingsError

MIN_INSTANCES = 30
"""As river's PageHinkley: it says nothing before so many values."""

ADWIN_CORE = type(ADWIN()._helper).__module__ + "/5"
"""Names the layout of the core's state; another one starts the detector cold."""


class Detection(NamedTuple):
    """A detector's statement: at row ``row`` of the block, on column ``column``."""

    row: int
    column: int
    detector: str
    channel: str


class AdwinSet:
    """One ADWIN a column. ADWIN: Bifet and Gavalda (2007), "Learning from time-changing data with adaptive windowing".

    ``delta`` is the probability of a false cut as ADWIN's bound has it, for values in [0, 1]. Cost: 48 ns a value.

    >>> import random
    >>> rng = random.Random(1)
    >>> values = [rng.random() / 2 for _ in range(1000)] + [0.5 + rng.random() / 2 for _ in range(1000)]
    >>> AdwinSet(1, 0.002).update_column(0, values)
    [1023]
    """

    __slots__ = ("cold_starts", "cores", "delta", "updates")

    def __init__(self, columns: int, delta: float) -> None:
        self.delta = delta
        self.cores = [self._new() for _ in range(columns)]
        self.updates: list[Any] = [core.update for core in self.cores]
        self.cold_starts = 0

    def _new(self) -> Any:
        return ADWIN(delta=self.delta)._helper

    def update_column(self, column: int, values: list[float]) -> list[int]:
        """Feeds ``values``; returns where changes were found, counted within ``values``."""
        found: list[int] = []
        rest: Any = iter(values)  # a list's iterator knows how much is left
        while any(map(self.updates[column], rest)):
            found.append(len(values) - rest.__length_hint__() - 1)
            self.cores[column] = core = self._new()
            self.updates[column] = core.update
        return found

    def snapshot(self) -> list[bytes]:
        """Plain state of every core, as river gives it."""
        return [core.__getstate__() for core in self.cores]

    def restore(self, version: str, states: Sequence[bytes]) -> None:
        """Takes ``snapshot`` back; a core that refuses its state, or one of another version, starts cold, counted."""
        for column, state in enumerate(states[: len(self.cores)]):
            try:
                if version != ADWIN_CORE:
                    raise ValueError(version)
                self.cores[column].__setstate__(state)
            except (ValueError, TypeError):
                self.cores[column] = core = self._new()
                self.updates[column] = core.update
                self.cold_starts += 1


class PageHinkleyState(msgspec.Struct, frozen=True):
    """All columns side by side; each list has one entry a column."""

    count: list[int]
    total: list[float]
    up: list[float]
    up_least: list[float]
    down: list[float]
    down_most: list[float]


class PageHinkleySet:
    """One Page-Hinkley test a column, both ways, with ``alpha`` = 1: E. S. Page (1954), Biometrika 41.

    With the mean m_t so far: up_t = up_{t-1} + x_t - m_t - delta, an alarm when up_t - min up > threshold; down the
    same with + delta and the maximum. Values are normal scores, so ``delta`` and ``threshold`` are in standard deviations.
    Cost: 13 ns a value in blocks of 512 rows.

    >>> x = np.concatenate([np.tile([-0.5, 0.5], 100), np.full(100, 3.0)])[:, None]
    >>> PageHinkleySet(1, delta=0.125, threshold=50.0).update(x, None)
    [(218, 0, True)]
    """

    __slots__ = ("columns", "count", "delta", "sums", "threshold")

    def __init__(self, columns: int, delta: float, threshold: float) -> None:
        self.columns = columns
        self.delta = delta
        self.threshold = threshold
        self.count = np.zeros(columns, np.int64)
        self.sums = np.zeros((5, columns))  # total, up, least up, down, most down
        self._reset(slice(None))

    def _reset(self, at: int | slice) -> None:
        self.count[at] = 0
        self.sums[:, at] = 0.0
        self.sums[2, at] = np.inf
        self.sums[4, at] = -1.0  # river's own start

    def update(self, values: Floats, present: npt.NDArray[np.bool_] | None) -> list[tuple[int, int, bool]]:
        """Feeds ``values``, shape (n, columns), where ``present``; returns (row, column, upwards) of every alarm."""
        n = len(values)
        if not n:
            return []
        whole = np.ones(self.columns, bool) if present is None else present.all(axis=0)
        found: list[tuple[int, int, bool]] = []
        if whole.all():
            found += self._block(values, np.arange(self.columns), np.arange(n))
            return sorted(found)
        if whole.any():
            columns = np.flatnonzero(whole)
            found += self._block(values[:, columns], columns, np.arange(n))
        for column in np.flatnonzero(~whole).tolist():
            assert present is not None
            rows = np.flatnonzero(present[:, column])
            if len(rows):
                found += self._block(values[rows, column][:, None], np.array([column]), rows)
        return sorted(found)

    def _block(self, values: Floats, columns: Integers, rows: Integers) -> list[tuple[int, int, bool]]:
        n = len(values)
        before = self.sums[:, columns]
        counts = self.count[columns] + np.arange(1, n + 1)[:, None]
        totals = _running(before[0], values)
        deviations = values - totals / counts
        ups = _running(before[1], deviations - self.delta)
        least = np.minimum.accumulate(np.minimum(ups, before[2]), axis=0)
        downs = _running(before[3], deviations + self.delta)
        most = np.maximum.accumulate(np.maximum(downs, before[4]), axis=0)
        upward = ups - least > self.threshold
        alarm = (upward | (most - downs > self.threshold)) & (counts >= MIN_INSTANCES)
        self.count[columns] = counts[-1]
        self.sums[:, columns] = totals[-1], ups[-1], least[-1], downs[-1], most[-1]
        found: list[tuple[int, int, bool]] = []
        if alarm.any():
            for place in np.flatnonzero(alarm.any(axis=0)).tolist():
                row, column = int(alarm[:, place].argmax()), int(columns[place])
                found.append((int(rows[row]), column, bool(upward[row, place])))
                self._reset(column)
                if row + 1 < n:
                    found += self._block(
                        values[row + 1 :, place : place + 1], columns[place : place + 1], rows[row + 1 :]
                    )
        return found

    def snapshot(self) -> PageHinkleyState:
        """Everything, as plain numbers."""
        return PageHinkleyState(self.count.tolist(), *(row.tolist() for row in self.sums))

    def restore(self, state: PageHinkleyState) -> None:
        """Takes ``snapshot`` back."""
        self.count = np.array(state.count, np.int64)
        self.sums = np.array([state.total, state.up, state.up_least, state.down, state.down_most])


def _running(start: Floats, values: Floats) -> Floats:
    """start + cumulative sums, added strictly in order, so that any cut of the stream gives the same bits."""
    stacked = np.empty((len(values) + 1, values.shape[1]))
    stacked[0] = start
    stacked[1:] = values
    np.cumsum(stacked, axis=0, out=stacked)
    return stacked[1:]


class Detector(Protocol):
    """What a detector of a user's own must offer: river's interface. ``update`` sees u of one feature, in log order."""

    @property
    def drift_detected(self) -> bool: ...

    def update(self, x: float) -> object: ...


def make_detector(name: str) -> Detector:
    """The detector that ``name`` ("module:Class", or "river.drift:KSWIN") names, made with its defaults.

    Raises SettingsError when there is none or it does not speak the protocol.
    """
    module_name, _, attribute = name.replace(":", ".").rpartition(".")
    try:
        made: Any = getattr(importlib.import_module(module_name), attribute)()
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise SettingsError(
            f"detection.detectors: {name!r} cannot be made: {error}; "
            "known are 'adwin', 'page_hinkley' and 'module:Class'"
        ) from error
    if not (callable(getattr(made, "update", None)) and hasattr(made, "drift_detected")):
        raise SettingsError(f"detection.detectors: {name!r} has no update(x) and drift_detected")
    detector: Detector = made
    return detector


def run_detector(detector: Detector, values: list[float]) -> list[int]:
    """Where ``detector`` found changes, counted within ``values``."""
    found = []
    for index, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            found.append(index)
    return found

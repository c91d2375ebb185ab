"""river, wrapped once: ADWIN and Page-Hinkley over many features at a time, with river's own detections.

river defines what is detected; what runs here is only faster. Nothing here counts, publishes or knows what a feature
is: values go in as columns, rows at which a detector fired come out.
"""

import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec
import numpy as np
import river
from river.drift import ADWIN

from detectors.columns import Floats
from detectors.errors import CheckpointError, SettingsError

SCHEMA = 1

BoolMatrix = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


class Detection(msgspec.Struct, frozen=True):
    """A detector fired on ``row`` of ``column``; ``channel`` is what it was looking at."""

    row: int
    column: int
    channel: str


class _Cores(msgspec.Struct, frozen=True):
    """Envelope of river states: bytes that only the same river can read."""

    schema: int
    river: str
    parameters: str
    states: list[bytes]


class Adwin:
    """river's ADWIN, one for each of F features, exactly ``river.drift.ADWIN(delta)`` on each.

    ADWIN keeps a window of variable length and cuts it where two parts have means further apart than
    ``sqrt(2/m sigma^2 ln(2/d')) + 2/(3m) ln(2/d')``, ``d' = delta / ln n``. The bound wants values in [0, 1].

    :param features: F >= 0.
    :param delta: in (0, 1); smaller is rarer.

    After a detection a fresh core starts, as river does before its next update. Cost: 50 ns a value, the loop running
    inside ``any(map(...))``. Memory: 1-3 KB a feature.
    Source: Bifet and Gavalda (2007), doi:10.1137/1.9781611972771.42.

    >>> import random
    >>> rng = random.Random(12345)
    >>> stream = rng.choices([0, 1], k=1000) + rng.choices(range(4, 8), k=1000)
    >>> Adwin(1, 0.002).update(0, [float(value) for value in stream])
    [1023]
    """

    __slots__ = ("_cores", "_updates", "delta")

    def __init__(self, features: int, delta: float) -> None:
        self.delta = delta
        self._cores = [self._fresh() for _ in range(features)]
        self._updates = [core.update for core in self._cores]

    def _fresh(self) -> Any:
        return ADWIN(delta=self.delta)._helper

    def update(self, column: int, values: Sequence[float]) -> list[int]:
        """Feeds finite ``values`` to one feature's detector; the rows at which it fired."""
        fired: list[int] = []
        rest = values
        while any(map(self._updates[column], rows := iter(rest))):
            rest = list(rows)
            fired.append(len(values) - len(rest) - 1)
            core = self._cores[column] = self._fresh()
            self._updates[column] = core.update
        return fired

    def snapshot(self) -> bytes:
        """The cores' own state bytes in a versioned envelope."""
        cores = _Cores(SCHEMA, river.__version__, repr(self.delta), [core.__getstate__() for core in self._cores])
        return msgspec.msgpack.encode(cores)

    def restore(self, data: bytes) -> int:
        """Takes up a snapshot; returns how many detectors had to start cold: all or none."""
        try:
            cores = msgspec.msgpack.decode(data, type=_Cores)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return len(self._cores)
        known = (cores.schema, cores.river, cores.parameters) == (SCHEMA, river.__version__, repr(self.delta))
        if not known or len(cores.states) != len(self._cores):
            return len(self._cores)
        for core, state in zip(self._cores, cores.states, strict=True):
            core.__setstate__(state)
        return 0


class PageHinkley:
    """river's PageHinkley(alpha=1, mode="both") on F features at once.

    With ``dev_t = x_t - mean(x_1..x_t)``: fires up when ``U_t - min U > threshold``, ``U_t = sum(dev - delta)``; down
    when ``max D - D_t > threshold``, ``D_t = sum(dev + delta)``, after 30 values; then starts anew.

    :param threshold: in units of x (here normal scores): 34.5 / 44 / 53 give one false alarm in 1e5 / 1e6 / 1e7
        independent events.
    :param delta: in units of x.

    The sums are ``cumsum`` that begins with the carried value, which adds in sequence: state does not depend on how
    rows were cut into batches. Its rounding differs from river's recurrence by some 1e-12 of the sums, and detections
    are the same. A value that is not ``present`` does not exist for the detector. Cost: about 15 ns a value.
    Source: Page (1954), doi:10.1093/biomet/41.1-2.100.

    >>> z = np.concatenate((np.tile([-1.0, 1.0], 200), np.full(40, 3.0)))[:, None]
    >>> [(d.row, d.channel) for d in PageHinkley(1, threshold=53.0, delta=0.125).update(z)]
    [(418, 'z.up')]
    """

    MIN_VALUES = 30
    __slots__ = ("_state", "delta", "threshold")

    def __init__(self, features: int, threshold: float = 53.0, delta: float = 0.125) -> None:
        self.threshold, self.delta = threshold, delta
        self._state = np.zeros((6, features))  # values, sum of x, U, D, min U, max D
        self._start(slice(None))

    def _start(self, columns: slice) -> None:
        self._state[:, columns] = 0.0
        self._state[4, columns] = np.inf
        self._state[5, columns] = -1.0

    def update(self, values: Floats, present: BoolMatrix | None = None) -> list[Detection]:
        """Feeds rows, shape (n, F); all detections, in no order."""
        found: list[Detection] = []
        before = self._state
        firing, rising, self._state = self._pass(values, present, before)
        if not firing.any():
            return found
        for column in np.flatnonzero(firing.any(axis=0)).tolist():
            one = slice(column, column + 1)
            start, fires, rises = 0, firing[:, column], rising[:, column]
            while fires.any():
                row = int(fires.argmax())
                found.append(Detection(start + row, column, "z.up" if rises[row] else "z.down"))
                start += row + 1
                self._start(one)
                rest = None if present is None else present[start:, one]
                fire, rise, self._state[:, one] = self._pass(values[start:, one], rest, self._state[:, one])
                fires, rises = fire[:, 0], rise[:, 0]
        return found

    def _pass(self, values: Floats, present: BoolMatrix | None, state: Floats) -> tuple[BoolMatrix, BoolMatrix, Floats]:
        """Where the tests exceed the threshold, where the upper one does, and the state after the last row."""
        rows = len(values)
        if not rows:
            none = np.zeros(values.shape, np.bool_)
            return none, none, state
        counts = state[0] + (np.arange(1.0, rows + 1)[:, None] if present is None else np.cumsum(present, axis=0))
        total = _running(values.copy() if present is None else values * present, state[1])
        deviation = values - total / (counts if present is None else np.maximum(counts, 1.0))
        up, down = deviation - self.delta, deviation + self.delta
        if present is not None:
            up *= present
            down *= present
        rises, falls = _running(up, state[2]), _running(down, state[3])
        lowest = np.minimum(np.minimum.accumulate(rises, axis=0), state[4])
        highest = np.maximum(np.maximum.accumulate(falls, axis=0), state[5])
        rising = rises - lowest > self.threshold
        firing = (rising | (highest - falls > self.threshold)) & (counts >= self.MIN_VALUES)
        after = np.array([counts[-1], total[-1], rises[-1], falls[-1], lowest[-1], highest[-1]])
        if present is not None:
            firing &= present
            unseen = counts[-1] == 0
            after[:, unseen] = state[:, unseen]
        return firing, rising, after

    def snapshot(self) -> bytes:
        """Six float64 a feature, little-endian."""
        return self._state.tobytes()

    def restore(self, data: bytes) -> int:
        """Takes up a snapshot; returns how many detectors had to start cold: all or none."""
        if len(data) != self._state.nbytes:
            return self._state.shape[1]
        self._state = np.frombuffer(data, np.float64).reshape(self._state.shape).copy()
        return 0


def _running(steps: Floats, carried: Floats) -> Floats:
    """Running sums of ``steps`` from ``carried``, added in sequence, in the place of the steps."""
    steps[0] += carried
    return np.cumsum(steps, axis=0, out=steps)


@runtime_checkable
class FeatureDetector(Protocol):
    """A detector of a user's own: one object per feature, named in the settings as ``package.module:Class``.

    It is made without arguments. It must be a pure function of the values it was given: no clock, no randomness, no
    dependence on how they were cut into calls. ``channel`` (class attribute, optional) is what it is fed: ``u``
    (default; the rank under the reference, in (0, 1)), ``spread`` (|u - 1/2|) or ``z`` (the normal score).
    """

    def update_many(self, values: list[float]) -> Sequence[int]:
        """Rows of ``values`` at which it fired."""
        ...

    def snapshot(self) -> bytes:
        """Its whole state."""
        ...

    def restore(self, data: bytes) -> None:
        """Takes up what ``snapshot`` gave; any exception makes it start cold, and is counted."""
        ...


class RiverDetector:
    """Any drift detector of river by name, such as ``river.drift.KSWIN``; seeded where it is random.

    river has no state format but pickles, which never enter a checkpoint: it starts cold after a restore.
    """

    channel = "u"
    __slots__ = ("_detector",)

    def __init__(self, make: Callable[..., Any]) -> None:
        seeded = "seed" in inspect.signature(make).parameters
        self._detector = make(seed=0) if seeded else make()

    def update_many(self, values: list[float]) -> list[int]:
        """Rows at which it fired."""
        detector, fired = self._detector, []
        for row, value in enumerate(values):
            detector.update(value)
            if detector.drift_detected:
                fired.append(row)
        return fired

    def snapshot(self) -> bytes:
        """Nothing that would be safe to load."""
        return b""

    def restore(self, data: bytes) -> None:
        """Refuses: it starts cold."""
        raise CheckpointError("river's detectors other than ADWIN and Page-Hinkley start cold after a restore")


BUILT_IN = ("adwin", "page_hinkley")


def detector_factory(name: str) -> Callable[[], FeatureDetector]:
    """What makes the detector that a settings name means. Raises SettingsError.

    >>> isinstance(detector_factory("river.drift.KSWIN")(), FeatureDetector)
    True
    """
    module_name, colon, class_name = name.partition(":")
    if not colon:
        module_name, _, class_name = name.rpartition(".")
    try:
        made = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(
            f"detector {name!r}: {error}; it is one of {', '.join(BUILT_IN)}, a river detector such as "
            "river.drift.KSWIN, or your own as package.module:Class"
        ) from error
    if module_name.split(".")[0] == "river":
        return lambda: RiverDetector(made)
    if not issubclass(made, FeatureDetector):
        raise SettingsError(f"detector {name!r} lacks update_many, snapshot or restore")
    return made  # type: ignore[no-any-return]

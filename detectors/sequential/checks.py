"""The test kit for detectors of a user's own: a list of checks that any ``FeatureDetector`` must pass.

::

    import pytest
    from detectors import checks

    @pytest.mark.parametrize("check", checks.CHECKS, ids=checks.name_of)
    def test_my_detector(check):
        check(MyDetector)

Outside a test, ``checks.check_detector(MyDetector)`` runs all checks and raises one error with all that failed. The
model are the generated checks of river and scikit-learn, where every estimator passes the same list.
"""

from collections.abc import Callable, Sequence

import numpy as np

from detectors.errors import DetectorCheckError
from detectors.sequential.plugins import FeatureDetector

Factory = Callable[[], FeatureDetector]
Check = Callable[[Factory], None]

CHANNELS = ("u", "spread", "z")
SNAPSHOT_BYTES = 16_384
"""The largest snapshot. A unit's checkpoint is one record of at most 4 MB, for all its features and detectors."""

QUIET_VALUES, HEARD_VALUES = 2_000, 2_000
FALSE_SIGNALS = 20
"""Signals allowed in QUIET_VALUES independent values: one in a hundred values is noise and no signal."""


def name_of(check: Check) -> str:
    """The name of a check, for test ids."""
    return check.__name__


def _demand(holds: bool, problem: str) -> None:
    if not holds:
        raise DetectorCheckError(problem)


def _channel(detector: FeatureDetector) -> str:
    return str(getattr(detector, "channel", "u"))


def _quiet(channel: str, rows: int, seed: int) -> list[float]:
    """Values on the channel of a stream that follows its reference."""
    rng = np.random.default_rng(seed)
    if channel == "z":
        return [float(v) for v in rng.normal(size=rows)]
    return [float(v) for v in rng.random(rows) / (2 if channel == "spread" else 1)]


def _changed(channel: str, rows: int, seed: int) -> list[float]:
    """Values on the channel of a stream at the upper end of its reference."""
    rng = np.random.default_rng(seed)
    low, high = {"u": (0.9, 1.0), "spread": (0.4, 0.5), "z": (1.3, 4.0)}[channel]
    return [float(v) for v in rng.uniform(low, high, rows)]


def _stream(channel: str) -> list[float]:
    return _quiet(channel, 500, 1) + _changed(channel, 300, 2) + _quiet(channel, 400, 3)


def check_protocol(make: Factory) -> None:
    """The detector is made without arguments, has the three methods, and names an existing channel."""
    detector = make()
    for method in ("update_many", "snapshot", "restore"):
        _demand(callable(getattr(detector, method, None)), f"it has no method {method}")
    _demand(_channel(detector) in CHANNELS, f"channel {_channel(detector)!r} is none of {', '.join(CHANNELS)}")
    _demand(make() is not detector, "every feature needs a detector of its own: two calls gave the same object")


def check_rows(make: Factory) -> None:
    """The detector returns rows of that call's values, ascending, each once."""
    detector = make()
    for values in (_stream(_channel(detector)), _quiet(_channel(detector), 10, 4)):
        rows = list(detector.update_many(list(values)))
        _demand(all(isinstance(r, int | np.integer) for r in rows), f"rows must be whole numbers: {rows[:5]}")
        _demand(all(0 <= r < len(values) for r in rows), f"rows beyond the {len(values)} values given: {rows[-5:]}")
        _demand(rows == sorted(set(rows)), f"rows must rise, each once: {rows[:10]}")


def check_nothing(make: Factory) -> None:
    """A call without values finds nothing and changes nothing."""
    detector = make()
    before = detector.snapshot()
    _demand(len(detector.update_many([])) == 0, "it fired on no values at all")
    _demand(detector.snapshot() == before, "a call without values changed its state")


def check_values_are_left_alone(make: Factory) -> None:
    """The detector does not write into its list of values, which other detectors read too."""
    detector = make()
    values = _stream(_channel(detector))
    given = list(values)
    detector.update_many(given)
    _demand(given == values, "it changed the list of values")


def check_cuts_do_not_matter(make: Factory) -> None:
    """The same values give the same rows for any cuts between calls, which depend on the size of a poll."""
    values = _stream(_channel(make()))
    whole = _rows_of(make(), values, [len(values)])
    _demand(_rows_of(make(), values, [1] * len(values)) == whole, "value by value it fires elsewhere than in one call")
    lengths = np.random.default_rng(5).integers(1, 200, len(values)).tolist()
    _demand(_rows_of(make(), values, lengths) == whole, "cut into pieces it fires elsewhere than in one call")


def check_runs_are_equal(make: Factory) -> None:
    """Two detectors over the same values, side by side, fire equally: no clock, no chance, no shared state."""
    one, other = make(), make()
    values = _stream(_channel(one))
    found: tuple[list[int], list[int]] = ([], [])
    for start in range(0, len(values), 100):
        for detector, rows in zip((one, other), found, strict=True):
            rows += [start + int(r) for r in detector.update_many(values[start : start + 100])]
    _demand(found[0] == found[1], "two detectors over the same values fired at different rows")
    _demand(one.snapshot() == other.snapshot(), "two detectors over the same values have different snapshots")


def check_snapshots_continue(make: Factory) -> None:
    """A restored detector continues as if it had never stopped. Or ``restore`` raises, and it starts cold."""
    values = _stream(_channel(make()))
    whole = _rows_of(make(), values, [len(values)])
    detector, found, start = make(), [], 0
    for end in [*sorted(np.random.default_rng(6).integers(0, len(values), 12).tolist()), len(values)]:
        found += [start + int(r) for r in detector.update_many(values[start:end])]
        data, detector, start = detector.snapshot(), make(), end
        try:
            detector.restore(data)
        except Exception:
            return
        _demand(detector.snapshot() == data, "a snapshot taken straight after restoring differs from what was restored")
    _demand(found == whole, "restored between calls it fires elsewhere than without")


def check_snapshots_are_small_bytes(make: Factory) -> None:
    """A snapshot is bytes, and does not grow with the stream."""
    detector = make()
    values = _quiet(_channel(detector), 4_000, 7)
    for start in range(0, len(values), 500):
        detector.update_many(values[start : start + 500])
    data = detector.snapshot()
    _demand(isinstance(data, bytes), f"a snapshot must be bytes, not {type(data).__name__}")
    _demand(len(data) <= SNAPSHOT_BYTES, f"a snapshot of {len(data):,} bytes; at most {SNAPSHOT_BYTES:,} are kept")


def check_foreign_snapshots_are_refused(make: Factory) -> None:
    """``restore`` raises for bytes that are no snapshot of the detector, so that it starts cold and is counted."""
    for foreign in (b"not a snapshot of this detector", b"\x00"):
        try:
            make().restore(foreign)
        except Exception:
            continue
        raise DetectorCheckError(f"restore took {foreign!r} for a snapshot")


def check_extremes(make: Factory) -> None:
    """Constants, repeats and the ends of the scale cause no exception."""
    channel = _channel(make())
    low, high = {"u": (0.0, 1.0), "spread": (0.0, 0.5), "z": (-8.3, 8.3)}[channel]
    for values in ([low] * 500, [high] * 500, [low, high] * 250, [(low + high) / 2] * 500):
        make().update_many(values)


def check_quiet(make: Factory) -> None:
    """The detector hardly fires on independent values that follow the reference."""
    detector = make()
    fired = len(detector.update_many(_quiet(_channel(detector), QUIET_VALUES, 8)))
    _demand(fired <= FALSE_SIGNALS, f"{fired} signals in {QUIET_VALUES:,} values that did not change")


def check_hears(make: Factory) -> None:
    """The detector fires within 2,000 values when all values move to the upper end of its channel."""
    detector = make()
    detector.update_many(_quiet(_channel(detector), HEARD_VALUES, 9))
    fired = detector.update_many(_changed(_channel(detector), HEARD_VALUES, 10))
    _demand(len(fired) > 0, f"no signal in {HEARD_VALUES:,} values at the upper end of {_channel(detector)!r}")


def _rows_of(detector: FeatureDetector, values: list[float], lengths: Sequence[int]) -> list[int]:
    found, start = [], 0
    for length in lengths:
        found += [start + int(r) for r in detector.update_many(values[start : start + length])]
        start += length
    return found


CHECKS: tuple[Check, ...] = (
    check_protocol,
    check_rows,
    check_nothing,
    check_values_are_left_alone,
    check_cuts_do_not_matter,
    check_runs_are_equal,
    check_snapshots_continue,
    check_snapshots_are_small_bytes,
    check_foreign_snapshots_are_refused,
    check_extremes,
    check_quiet,
    check_hears,
)
"""All checks. A new one is added at the end."""


def check_detector(make: Factory) -> None:
    """Runs all ``CHECKS``. Raises DetectorCheckError, which names every failed check and the reason.

    >>> from detectors.sequential import detector_factory
    >>> check_detector(detector_factory("river.drift.ADWIN"))
    """
    problems = []
    for check in CHECKS:
        try:
            check(make)
        except Exception as error:  # a user's code
            problems.append(f"{check.__name__}: {error}")
    if problems:
        raise DetectorCheckError("; ".join(problems))

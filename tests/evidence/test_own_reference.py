"""A reference whose rows are those of the stream: what its order says of dependence holds from the first event on."""

import msgspec
import numpy as np
import pytest

from detectors.columns import Floats
from detectors.evidence.sheets import EvidenceSettings, Sheets
from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch
from detectors.reference.builder import build_reference
from detectors.reference.dependence import RunningDependence, local_factor, local_ratios
from tests.evidence.test_explanations import (
    DAY_MS,
    START_MS,
    Stream,
    alarms,
    dependent,
    independent,
    sessions,
    sine,
    times,
)


def watch_on(training: Floats, *, own: bool, span_ms: int | None = None) -> Watch:
    moments = None if span_ms is None else np.linspace(0, span_ms, len(training)).astype(np.int64)
    reference = build_reference("m", "1", {"x": training}, timestamps_ms=moments)
    sheets = Sheets(reference.features, EvidenceSettings(1.0, 0.02, 4.5, event_times="all"), own=own)
    return Watch(sheets, [Yardstick(sheets.layout, 0)], 1_000)


@pytest.mark.parametrize("rate", [10, 200])
@pytest.mark.parametrize("shift", [1.0, 4.0])
def test_a_model_that_learned_from_500_events_is_judged_from_the_next_one_on(rate: int, shift: float) -> None:
    rng = np.random.default_rng(5)
    at = START_MS + (np.arange(4_000) * 1_000 / rate).astype(np.int64)
    values = rng.normal(size=len(at))
    values[1_200:] += shift
    found = alarms(watch_on(values[:500], own=True), values[500:], at[500:], max(32 // rate, 1))
    assert found
    assert 700 < found[0] <= 700 + 3 * max(rate, 64)


def test_a_slow_stream_of_an_own_reference_is_judged_within_some_hours() -> None:
    at = START_MS + np.arange(2_000) * 60_000
    values = np.random.default_rng(5).normal(size=len(at))
    values[1_500:] += 3.0
    watch = watch_on(values[:1_000], own=True, span_ms=60_000_000)
    found = alarms(watch, values[1_000:], at[1_000:], 1_920)
    assert found
    assert 500 < found[0] <= 500 + 200


@pytest.mark.parametrize("learned", [500, 2_000, 10_000])
@pytest.mark.parametrize("stream", [independent, sine, dependent, sessions], ids=lambda stream: stream.__name__)
def test_a_stream_that_does_not_change_raises_no_alarm(stream: Stream, learned: int) -> None:
    at = times(6)
    values = stream(np.random.default_rng(11), at)
    watch = watch_on(values[:learned], own=True, span_ms=int(at[learned] - at[0]))
    assert not alarms(watch, values[learned:], at[learned:], 320)


def test_a_change_of_five_days_is_one_alarm() -> None:
    """While it lasts, what came since its report does not become usual, though the days before it are known."""
    at = times(28)
    values = independent(np.random.default_rng(0), at)
    values[(at - START_MS) // DAY_MS >= 23] += 0.6
    watch = watch_on(values[:10_000], own=True, span_ms=int(at[10_000] - at[0]))
    found = alarms(watch, values[10_000:], at[10_000:], 320)
    assert len(found) == 1


@pytest.mark.parametrize(("stream", "low", "high"), [(independent, 1.0, 1.0), (sine, 1.0, 1.0), (dependent, 6.0, 12.0)])
def test_the_local_factor_is_that_of_theory_and_does_not_see_a_season(stream: Stream, low: float, high: float) -> None:
    at = times(2)
    values = stream(np.random.default_rng(3), at)
    found = local_factor(local_ratios(values), len(values), 2 * DAY_MS)
    assert low <= found <= high


def test_local_ratios_do_not_depend_on_how_the_stream_is_cut_or_saved() -> None:
    rng = np.random.default_rng(3)
    values = dependent(rng, times(0.5))
    pieces, at = RunningDependence(), 0
    while at < len(values):
        size = int(rng.integers(1, 300))
        pieces.update(values[at : at + size])
        pieces = RunningDependence.from_state(pieces.snapshot())
        at += size
    assert pieces.local_ratios == local_ratios(values)
    assert max(pieces.local_ratios or []) > 3


def test_a_checkpoint_of_a_version_before_knows_no_local_dependence() -> None:
    running = RunningDependence()
    running.update(np.random.default_rng(3).normal(size=1_000))
    before = RunningDependence.from_state(msgspec.structs.replace(running.snapshot(), differences=[]))
    before.update(np.random.default_rng(4).normal(size=1_000))
    assert before.local_ratios is None
    assert local_factor([], 2_000, None) == 0.0

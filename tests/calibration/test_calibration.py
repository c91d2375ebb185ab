"""Calibration predicts what the whole path does, and its figures hold for processes whose rate is known."""

import numpy as np
import pytest

from detectors.calibration import evaluation, synthetic
from detectors.calibration.calibration import Calibration, Calibrator, alarm_rate
from detectors.calibration.injection import Injected
from detectors.calibration.rehearsal import Monitor
from detectors.calibration.stretch import Column, Stretch
from detectors.columns import Floats
from detectors.reference.builder import build_reference
from tests.settings.defaults import evidence_settings

REFERENCE = 4_000


def calibrator(values: Floats, copies: int | None = 2, seed: int = 1, budget: float = 1.0) -> Calibrator:
    """A calibrator of ``values``, shape (n, F), whose first REFERENCE rows are the reference; one row a second."""
    columns = {f"x{f}": values[:REFERENCE, f] for f in range(values.shape[1])}
    reference = build_reference("m", "1", columns)
    rest = values[REFERENCE:]
    monitor = Monitor(reference, evidence_settings(false_alarms_per_month=budget), look_events=32, resolve_after=1_000)
    area = [Column(f, rest[:, k].copy(), np.zeros(len(rest), np.uint8)) for k, f in enumerate(reference.features)]
    moments = np.arange(1, len(rest) + 1) * 1_000
    return Calibrator(monitor, Stretch(area, moments, False), copies=copies, seed=seed)


def normal(rows: int, features: int = 3, seed: int = 7) -> Floats:
    return np.random.default_rng(seed).normal(size=(REFERENCE + rows, features))


def medians(found: Calibration, feature: str = "x0") -> dict[Injected, float | None]:
    return {d.change: d.delay.median for d in found.delays if d.feature == feature and d.delay is not None}


def test_a_larger_shift_is_found_sooner() -> None:
    found = calibrator(normal(6_000)).run()
    for feature in ("x0", "x1", "x2"):
        delays = medians(found, feature)
        sizes = [delays[c] for c in (Injected.SIGMA, Injected.HALF_SIGMA, Injected.QUARTER_SIGMA)]
        assert [2 * found.horizon if d is None else d for d in sizes] == sorted(d or 2 * found.horizon for d in sizes)
        assert sizes[0] is not None
        assert sizes[0] < 150


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    one, same, other = (calibrator(normal(3_000), seed=seed).run() for seed in (1, 1, 2))
    assert one == same
    assert one.starts != other.starts


def test_the_work_that_was_announced_is_done() -> None:
    maker = calibrator(normal(3_000, 1))
    heard: list[int] = []
    maker.run(heard.append)
    assert sum(heard) == maker.work


def test_a_clean_stretch_has_no_false_alarm() -> None:
    found = calibrator(normal(10_000), copies=20).run()
    assert (found.as_it_was.alarms, found.resampled.alarms, found.resampled.low) == (0, 0, 0.0)
    assert found.resampled.months == pytest.approx(200_000 / (365.2425 / 12 * 86_400))
    assert found.resampled.months_between_at_least == pytest.approx(found.resampled.months / 3, rel=2e-3)


def test_rows_that_all_have_one_time_give_figures() -> None:
    maker = calibrator(normal(1_000, 1))
    area = Stretch(maker.area.columns, np.zeros(1_000, np.int64), True)
    found = Calibrator(maker.monitor, area, copies=2, seed=1).run()
    assert np.isfinite(found.resampled.high)


def test_an_alarm_that_never_ends_is_told_by_how_long_it_was_open() -> None:
    values = normal(4_000, 1)
    values[REFERENCE:] += 1.0
    found = calibrator(values).run()
    assert found.resampled.alarms == 1
    assert found.resampled.open_share > 0.9


def test_an_alarm_of_the_stretch_itself_is_no_finding_of_what_was_injected() -> None:
    values = normal(4_000, 2)
    values[REFERENCE + 2_000 :, 0] += 0.6
    found = calibrator(values).run()
    runs = {(d.feature, d.change): d.delay for d in found.delays}
    own, other = runs["x0", Injected.QUARTER_SIGMA], runs["x1", Injected.QUARTER_SIGMA]
    assert own is not None
    assert other is not None
    assert own.runs < other.runs == 20


def test_a_stretch_full_of_short_changes_is_seen_to_break_the_budget() -> None:
    values = normal(16_000, 1)
    for start in range(REFERENCE, len(values), 4_000):
        values[start : start + 400] += 2.0
    found = calibrator(values, copies=4).run()
    assert found.as_it_was.alarms == 4
    assert found.resampled.low > found.budget


def test_blocks_at_their_time_of_day_keep_a_season_that_blocks_from_anywhere_would_break() -> None:
    rng = np.random.default_rng(6)
    rows, days = synthetic.DAY_EVENTS, 15
    values = synthetic.daily_sine(1.5)(rng, 2 * days * rows, 0)
    moments = 1_700_006_400_000 + np.arange(len(values)) * 60_000  # midnight
    half = days * rows
    reference = build_reference("m", "1", {"x": values[:half]}, timestamps_ms=moments[:half])
    assert reference.features[0].strata
    monitor = Monitor(reference, evidence_settings(), look_events=32, resolve_after=1_000)
    area = [Column(reference.features[0], values[half:], np.zeros(half, np.uint8))]
    found = {
        timed: Calibrator(monitor, Stretch(area, moments[half:], timed), copies=2, seed=1).run()
        for timed in (True, False)
    }
    assert found[True].at_their_time
    assert found[True].resampled.alarms == 0
    assert found[False].resampled.alarms > 0


def test_without_a_number_there_are_as_many_copies_as_the_budget_takes() -> None:
    few, many = calibrator(normal(2_000, 1), None, budget=1_000.0), calibrator(normal(2_000, 1), None, budget=30.0)
    assert few.copies == 20
    months = 2_000 / (365.2425 / 12 * 86_400)
    assert many.copies == int(np.ceil(3 / (30.0 * months)))


@pytest.mark.parametrize("mean", [0.3, 3.0, 12.0])
def test_the_interval_holds_the_true_rate_of_a_poisson_process_19_times_in_20(mean: float) -> None:
    counts = np.random.default_rng(8).poisson(mean, 2_000)
    intervals = {count: evaluation.poisson_interval(count) for count in set(counts.tolist())}
    inside = [intervals[count][0] <= mean <= intervals[count][1] for count in counts.tolist()]
    assert np.mean(inside) >= 0.945


def test_alarms_in_bunches_widen_the_interval() -> None:
    even, bunched = [2] * 20, [0] * 19 + [40]
    assert alarm_rate(40, 10.0, bunched).high > alarm_rate(40, 10.0, even).high
    assert alarm_rate(40, 10.0, even) == alarm_rate(40, 10.0)


def test_the_interval_of_a_median_holds_it_19_times_in_20() -> None:
    rng = np.random.default_rng(9)
    inside = 0
    for _ in range(1_000):
        found = evaluation.median_delay([int(d) for d in rng.exponential(1_000, 20)])
        assert found.low is not None
        assert found.high is not None
        inside += found.low <= 1_000 * np.log(2) <= found.high + 1
    assert inside >= 945


def test_more_than_half_missed_has_no_median() -> None:
    found = evaluation.median_delay([100] * 4 + [None] * 16)
    assert (found.median, found.high, found.missed) == (None, None, 0.8)
    assert evaluation.median_delay([]).runs == 0
    assert evaluation.median_delay([5, 6]).high is None

"""A stable stream joins its reference: small references later miss few changes, and no false alarm is raised."""

import numpy as np
import pytest

from benchmarks.detection import looks
from detectors.calibration import synthetic
from detectors.calibration.evaluation import delays
from detectors.evidence.e_detector import Evidence
from detectors.evidence.sheets import Sheets
from detectors.reference.builder import build_reference, numeric_reference
from tests.settings.defaults import evidence_settings

SEED = 20_263


@pytest.mark.parametrize("rows", [200, 500])
@pytest.mark.parametrize("name", ["normal", "student-t3", "lognormal", "ar1-.8"])
def test_a_reference_of_a_few_hundred_rows_raises_nothing(name: str, rows: int) -> None:
    bench = looks.Bench(synthetic.NULLS[name], rows, 5, SEED)
    assert looks.alarms(bench, 8_000) == 0


def test_after_a_while_of_nothing_a_small_reference_finds_what_a_larger_one_does() -> None:
    bench = looks.Bench(synthetic.normal, 500, 1, SEED)
    late = delays([looks.delay(bench, synthetic.shift(0.5), 4_000, warm=4_096) for _ in range(9)])
    assert late.missed == 0
    assert late.median is not None
    assert late.median <= 400


def test_smallest_shift_falls_as_rows_grow_and_by_what_joined_the_reference() -> None:
    found = []
    for rows in (200, 2_000, 20_000):
        bench = looks.Bench(synthetic.normal, rows, 1, SEED)
        found.append(bench.watch().evidence.smallest_shift(bench.sheets.base, 0))
    assert found == sorted(found, reverse=True)
    assert 0.05 < found[-1] < 0.15
    bench = looks.Bench(synthetic.normal, 200, 1, SEED)
    watch = bench.watch()
    for i, counts in enumerate(bench.looks(bench.stream(5_000, 0), 50)):
        watch.look(counts, i * 1_000, (i + 1) * 50)
    assert watch.evidence.smallest_shift(bench.sheets.base, 0) < found[0] / 2


def test_a_reported_feature_is_compared_with_its_reference_alone_until_it_is_back() -> None:
    bench = looks.Bench(synthetic.normal, 2_000, 1, SEED)
    watch = bench.watch()
    for i, counts in enumerate(bench.looks(bench.stream(3_000, 0) + 1.0, 50)):
        watch.look(counts, i * 1_000, (i + 1) * 50)
    assert watch.probes
    assert watch.evidence.smallest_shift(bench.sheets.base, 0) == pytest.approx(
        bench.watch().evidence.smallest_shift(bench.sheets.base, 0)
    )
    peak = watch.model_log10
    for i, counts in enumerate(bench.looks(bench.stream(500, 0) + 1.0, 50)):
        watch.look(counts, (60 + i) * 1_000, 3_000 + (i + 1) * 50)
    assert watch.model_log10 > peak


def test_of_one_distribution_each_looks_factor_has_a_mean_of_at_most_one() -> None:
    rng = np.random.default_rng(SEED)
    factors = []
    for _ in range(300):
        reference = build_reference("m", "1", {"x": rng.normal(size=200)})
        sheets = Sheets(reference.features, evidence_settings())
        evidence = Evidence(sheets)
        edges = np.asarray(reference.features[0].edges)
        cells = np.bincount(edges.searchsorted(rng.normal(size=50), side="right"), minlength=sheets.layout.total)
        evidence.look(sheets.base, sheets.base.table(cells, np.array([[50, 0, 0]])), 0, 50, 50)
        factors.append(np.exp(evidence._block[0]))
    mean, error = np.mean(factors, axis=0), np.std(factors, axis=0) / np.sqrt(len(factors))
    assert (mean <= 1 + 4 * error).all()


def test_days_that_differ_slow_the_evidence_and_leave_large_changes_early() -> None:
    rng = np.random.default_rng(SEED)
    rows = 20 * synthetic.DAY_EVENTS
    times = np.arange(rows, dtype=np.int64) * looks.EVENT_MS
    present = np.zeros(rows, np.uint8)
    made = numeric_reference("x", synthetic.day_effects()(rng, rows, 0), present, times)
    assert made.strata
    assert made.tau > 30
    assert 1.0 <= made.tau_within < made.tau / 4
    plain = numeric_reference("x", synthetic.normal(rng, rows), present, times)
    assert plain.tau_within == 0.0


def test_gaps_are_found_though_values_depend_on_each_other() -> None:
    rng = np.random.default_rng(SEED)
    values = synthetic.autoregressive(0.99)(rng, 10_000, 0)
    made = numeric_reference("x", values, np.zeros(len(values), np.uint8))
    assert made.tau > 20
    assert made.tau_presence == 1.0
    sheets = Sheets([made], evidence_settings())
    evidence = Evidence(sheets)
    for look in range(60):
        cells = np.bincount([len(made.edges) // 2] * 45, minlength=sheets.layout.total)
        evidence.look(sheets.base, sheets.base.table(cells, np.array([[45, 5, 0]])), look * 1_000, look * 50, 50)
    assert evidence.model_log10 > evidence.threshold_log10
    assert evidence.beginning(0).status


HALF_HOUR_MS = 1_800_000


def test_a_column_that_is_the_time_of_day_raises_nothing_however_many_hours_a_look_spans() -> None:
    times = np.arange(60 * 48, dtype=np.int64) * HALF_HOUR_MS
    reference = build_reference("m", "1", {"x": (times // HALF_HOUR_MS % 48).astype(np.float64)}, timestamps_ms=times)
    feature = reference.features[0]
    sheets = Sheets([feature], evidence_settings(), kept=48)
    assert sheets.seasonal
    evidence = Evidence(sheets)
    edges = np.asarray(feature.edges)
    now_ms = int(times[-1])
    for look in range(200):
        after = now_ms + HALF_HOUR_MS * np.arange(1, 33)
        cells = np.bincount(edges.searchsorted(after // HALF_HOUR_MS % 48, side="right"), minlength=sheets.layout.total)
        sheet = sheets.over(now_ms, int(after[-1]))
        now_ms = int(after[-1])
        evidence.look(sheet, sheet.table(cells, np.array([[32, 0, 0]])), now_ms, look * 32, 32)
    assert evidence.model_log10 <= np.log10(200 * 600.0)  # the evidence that the clock alone adds


def test_a_season_of_many_categories_makes_a_sheet_of_every_hour() -> None:
    rng = np.random.default_rng(SEED)
    times = np.arange(20 * 1_440, dtype=np.int64) * looks.EVENT_MS
    names = np.array([f"c{i}" for i in range(50)])
    values = names[(rng.integers(0, 25, len(times)) + 25 * (times % 86_400_000 > 43_200_000)).astype(int)]
    reference = build_reference("m", "1", {"c": values.tolist()}, timestamps_ms=times)
    assert reference.features[0].strata
    sheets = Sheets(reference.features, evidence_settings(), kept=48)
    for hour in range(24):
        assert np.isfinite(sheets.at(hour * 3_600_000).gains).all()

"""Evidence over streams: no alarm without a change, an early one with a change, and no effect of looks and restarts."""

import numpy as np
import pytest

from benchmarks.detection import looks
from detectors.calibration import synthetic
from detectors.calibration.evaluation import delays
from detectors.evidence.e_detector import Evidence
from detectors.evidence.sheets import Sheets, evidence_bins
from detectors.features import Kind
from detectors.reference.builder import build_reference
from tests.settings.defaults import evidence_settings

SEED = 20_261


@pytest.mark.parametrize("name", ["normal", "student-t3", "lognormal", "ar1-.8", "ar1-.95", "daily-sine"])
@pytest.mark.parametrize("rows", [1_000, 20_000])
def test_null_streams_raise_nothing(name: str, rows: int) -> None:
    bench = looks.Bench(synthetic.NULLS[name], rows, 5, SEED)
    assert looks.alarms(bench, 8_000) == 0


@pytest.mark.parametrize(
    ("name", "within"), [(".5 sigma", 400), ("1 sigma", 100), ("variance x2", 480), ("shape", 700)]
)
def test_changes_are_found_within_the_targets(name: str, within: int) -> None:
    bench = looks.Bench(synthetic.normal, 100_000, 1, SEED)
    found = delays([looks.delay(bench, synthetic.CHANGES[name], 4_000) for _ in range(15)])
    assert found.missed == 0
    assert found.median is not None
    assert found.median <= within


def test_a_season_that_the_reference_knows_raises_nothing_and_hides_no_shift() -> None:
    bench = looks.Bench(synthetic.daily_sine(), 20 * synthetic.DAY_EVENTS, 2, SEED, seasonal=True)
    assert bench.sheets.seasonal
    assert looks.alarms(bench, 3 * synthetic.DAY_EVENTS) == 0
    found = delays([looks.delay(bench, synthetic.shift(0.5), 8_000) for _ in range(3)])
    assert found.missed == 0


def test_evidence_goes_on_after_a_restore_bit_for_bit() -> None:
    bench = looks.Bench(synthetic.normal, 5_000, 3, SEED)
    straight, broken = bench.watch(), bench.watch()
    for i, counts in enumerate(bench.looks(bench.stream(2_000, 0) + 0.3, 50)):
        straight.look(counts, i * 700, (i + 1) * 50)
        broken.look(counts, i * 700, (i + 1) * 50)
        state = broken.snapshot()
        broken = bench.watch()
        assert broken.restore(state)
        assert (broken.feature_log10 == straight.feature_log10).all()


def test_a_snapshot_of_another_family_is_not_taken() -> None:
    one, other = looks.Bench(synthetic.normal, 500, 1, SEED), looks.Bench(synthetic.normal, 500, 2, SEED)
    assert not other.watch().restore(one.watch().snapshot())


def test_one_burst_does_not_page_but_the_same_values_over_time_do() -> None:
    bench = looks.Bench(synthetic.normal, 20_000, 1, SEED)
    burst = next(iter(bench.looks(np.full((900, 1), 4.0), 900)))
    watch = bench.watch()
    for look in range(5):
        part = next(iter(bench.looks(bench.stream(50, 0), 50)))
        assert not watch.look(part, look * 1_000, 50 * (look + 1)).fired
    assert not watch.look(burst, 4_500, 1_150).fired
    fired = [watch.look(burst, 6_000 + 1_000 * i, 2_050 + 900 * i).fired for i in range(4)]
    assert any(fired)


def test_only_the_feature_that_changed_is_blamed() -> None:
    bench = looks.Bench(synthetic.normal, 20_000, 10, SEED)
    watch, blamed = bench.watch(), set()
    values = bench.stream(3_000, 0)
    values[:, 7] += 0.7
    for i, counts in enumerate(bench.looks(values, 50)):
        blamed |= set(watch.look(counts, i * 1_000, (i + 1) * 50).fired)
    assert blamed == {7}


def test_many_categories_share_bins_and_identifiers_say_nothing_by_being_new() -> None:
    many = build_reference("m", "1", {"c": [f"c{i % 500}" for i in range(5_000)]}).features[0]
    assert evidence_bins(many).max() == 31
    unique = build_reference("m", "1", {"id": [f"id{i}" for i in range(2_000)]}).features[0]
    assert unique.identifier
    sheets = Sheets([unique], evidence_settings())
    evidence = Evidence(sheets)
    cells = np.zeros(sheets.layout.total, np.int64)
    cells[-1] = 100
    for look in range(50):
        evidence.look(sheets.base, sheets.base.table(cells, np.array([[100, 0, 0]])), look * 1_000, look * 100, 100)
    assert evidence.model_log10 < evidence.threshold_log10


@pytest.mark.parametrize("value", [0.0, 7.5, -3.0])
def test_a_constant_that_changes_is_found(value: float) -> None:
    sheets = Sheets(build_reference("m", "1", {"x": [value] * 3_000}).features, evidence_settings())
    evidence = Evidence(sheets)
    assert sheets.layout.features[0].kind is Kind.NUMERIC
    for shift, expected in ((0.0, False), (1.0, True)):
        cell = int(np.searchsorted(sheets.layout.features[0].edges, value + shift, side="right"))
        cells = np.bincount([cell] * 20, minlength=sheets.layout.total)
        for look in range(20):
            now_ms = (look + 1) * 1_000 + int(100_000 * shift)
            evidence.look(sheets.base, sheets.base.table(cells, np.array([[20, 0, 0]])), now_ms, look * 20, 20)
        assert (evidence.model_log10 >= evidence.threshold_log10) is expected


def test_time_alone_is_no_evidence_where_there_is_nothing_to_bet_on() -> None:
    reference = build_reference("m", "1", {"id": [f"id{i}" for i in range(2_000)]})
    sheets = Sheets(reference.features, evidence_settings(share_tolerance=1.0))  # nor on what is missing
    evidence = Evidence(sheets)
    cells = np.zeros(sheets.layout.total, np.int64)
    cells[-1] = 10
    table = sheets.base.table(cells, np.array([[10, 0, 0]]))
    for look in range(10_000):  # of 600 s: two months
        evidence.look(sheets.base, table, look * 600_000, look * 10, 10)
    assert evidence.model_log10 < evidence.threshold_log10

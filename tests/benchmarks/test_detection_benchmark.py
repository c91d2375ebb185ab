"""The detection benchmark itself: planted alarms are counted, contenders are made equal, opponents answer."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.detection import changes, comparison, environments, equal, opponents, parts, pictures, real, report
from benchmarks.detection.environments import LeftOut
from benchmarks.detection.opponents import Asked, Opponent
from benchmarks.detection.ours import Ours
from benchmarks.detection.workers.protocol import Scores
from detectors.columns import Floats

SEED = 20_262
RIVER = opponents.OPPONENTS[0]


class Toy:
    """A detector that alarms where a value exceeds its parameter, 4 by default."""

    one_by_one = True

    def alarms(self, parameter: float | None, reference: Floats, streams: Floats) -> list[list[int]]:
        return [(np.flatnonzero(run > (parameter or 4.0)) + 1).tolist() for run in streams]

    def named(self, parameter: float | None, reference: Floats, streams: Floats, after: int) -> list[int]:
        found = self.alarms(parameter, reference, streams)
        return [feature for feature, events in enumerate(found) for event in events if event > after]


def test_bisection_makes_a_detector_keep_to_the_allowed_alarms_and_no_stricter() -> None:
    stream = np.random.default_rng(SEED).normal(size=(1, 100_000))
    tried = equal.loosest(lambda limit: len(Toy().alarms(limit, stream, stream)[0]), 10.0, 0.1, 25)
    assert tried is not None
    assert len(Toy().alarms(tried, stream, stream)[0]) == 25


def test_a_detector_that_alarms_at_every_parameter_cannot_be_made_equal() -> None:
    assert equal.loosest(lambda parameter: 100, 10.0, 0.1, 25) is None


def test_a_planted_alarm_is_counted_once_and_the_events_after_it_rest() -> None:
    values = np.zeros((2, 50))
    values[0, [9, 10, 30]] = 7.0
    scores = Scores(np.arange(1, 51), values, values > 5.0, rest=10)
    assert scores.alarms(6.0) == [[10, 31], []]
    assert scores.alarms(None) == [[10, 31], []]
    assert scores.alarms(8.0) == [[], []]


def test_a_contender_is_told_at_its_default_and_at_the_equal_rate() -> None:
    plan = comparison.Plan(100_000, 5, 1)
    rows = comparison._compared("toy", comparison.nullcontext(Toy()), (10.0, 0.1), plan, SEED, blame=True)
    default, tuned = rows["false_alarms"]
    assert (default["setting"], tuned["setting"]) == ("default", "equal")
    assert tuned["alarms"] == 100_000 // comparison.TARGET
    one_sigma = {row["setting"]: row for row in rows["comparison"] if row["change"] == "1 sigma"}
    assert one_sigma["default"]["missed"] == 0.0
    everything = [row for row in rows["blame"] if row["changed"] == "20 of 20"]
    assert all(row["precision"] == 1.0 for row in everything)


def test_an_opponent_answers_from_its_own_process_as_the_library_does_here() -> None:
    from river import drift

    rng = np.random.default_rng(SEED)
    reference, streams = rng.normal(size=3_000), rng.normal(size=(2, 1_500))
    streams[1, 700:] += 3.0
    detector, expected = drift.ADWIN(delta=0.01), []
    for value in reference[-2_000:].tolist():
        detector.update(value)
    for event, value in enumerate(streams[1].tolist(), 1):
        detector.update(value)
        if detector.drift_detected:
            expected.append(event)
    with Asked(RIVER) as asked:
        assert asked.alarms(0.01, reference, streams)[1] == expected
        assert expected[0] > 700
        assert set(asked.named(0.01, reference, streams, 700)) == {1}
        unlike = streams.copy()
        unlike[1, 700:] -= 3.0
        assert asked.alarms(0.01, reference, unlike)[1] != expected


def test_a_worker_that_ends_is_left_out_with_its_last_word() -> None:
    missing = Opponent("nothing", "river", "river_raw", "no_such_method", "p", 1.0, 0.1, quick=True)
    rows = comparison.theirs(missing, True, SEED)
    assert "no_such_method" in rows["left_out"][0]["reason"]


def test_a_library_that_does_not_install_is_left_out_with_pips_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "nothing.txt").write_text("nothing==0\n")
    monkeypatch.setattr(environments, "PINS", tmp_path)
    monkeypatch.setattr(environments, "KEPT", tmp_path / "kept")
    monkeypatch.setattr(environments.venv, "create", lambda folder, **_: _with_a_pip_that_fails(Path(folder)))
    with pytest.raises(LeftOut, match="no room on the shelf"):
        environments.python_of("nothing")


def _with_a_pip_that_fails(folder: Path) -> None:
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no room on the shelf')\n")
    python.chmod(0o755)


def test_every_opponent_has_a_worker_and_pins_without_a_host() -> None:
    for opponent in opponents.OPPONENTS:
        worker = environments.ROOT / "benchmarks" / "detection" / "workers" / f"{opponent.worker}.py"
        assert f'"{opponent.method}"' in worker.read_text()
        if opponent.library != environments.OWN:
            pins = (environments.PINS / f"{opponent.library}.txt").read_text().splitlines()
            assert f"{opponent.library}==" in "\n".join(pins)
            assert all(line.count("==") == 1 and "/" not in line and "@" not in line for line in pins)


def test_driftline_as_a_contender_finds_the_features_that_changed() -> None:
    rng = np.random.default_rng(SEED)
    reference, streams = rng.normal(size=20_000), rng.normal(size=(4, 2_500))
    streams[2, 500:] += 1.0
    assert Ours().named(None, reference, streams, 500)[:1] == [2]
    assert [bool(alarms) for alarms in Ours().alarms(None, reference, streams)] == [False, False, True, False]


def test_a_ramp_ends_at_its_size_and_is_found_later_than_a_step() -> None:
    values = changes.ramp(2.0, 100)(np.random.default_rng(SEED), np.zeros(300))
    assert values[49] == 1.0
    assert (values[100:] == 2.0).all()


def test_a_target_is_late_when_something_is_missed_or_the_median_is_beyond() -> None:
    row = {"change": ".5 sigma", "reference": 100_000, "median": 300.0, "missed": 0.0, "target": 400}
    assert changes.late([row, row | {"target": None, "missed": 1.0}]) == []
    assert len(changes.late([row | {"median": 401.0}, row | {"missed": 0.1}, row | {"median": None}])) == 3


def test_real_streams_that_are_not_there_are_named() -> None:
    rows = real.suite("elec2", Path("nowhere"), SEED)
    assert rows["left_out"][0]["detector"] == "elec2 (data)"


def test_rows_stand_in_an_order_that_no_process_decides() -> None:
    first = [{"detector": "KSWIN, raw"}, {"detector": "driftline"}, {"detector": "ADWIN, raw"}]
    assert parts.ordered({"comparison": first}) == parts.ordered({"comparison": first[::-1]})
    assert parts.ordered({"comparison": first})["comparison"][0]["detector"] == "driftline"


def test_page_and_pictures_are_made_from_the_rows(tmp_path: Path) -> None:
    plan = comparison.Plan(100_000, 3, 1)
    rows = comparison._compared("driftline", comparison.nullcontext(Toy()), (10.0, 0.1), plan, SEED, blame=True)
    null = {"stream": "normal", "alarms": 0, "feature_events": 3_000_000, "counts": True}
    pipeline = {"stream": "normal", "partitions": 1, "incidents": 3, "months": 1.0, "kept": False}
    results = {**rows, "arguments": "--seed 1", "nulls": [null], "changes": [], "pipeline_nulls": [pipeline]}
    page = report.page(results)
    assert "made with `--seed 1`" in page
    assert "one in at least 1e+06" in page
    assert "pipeline: 3 incidents" in page
    pictures.delay(rows["comparison"], tmp_path / "delay.png")
    pictures.false_alarms(rows["false_alarms"], tmp_path / "alarms.png")
    assert (tmp_path / "delay.png").stat().st_size > 10_000

"""The benchmark of scale: its loads have the stated sizes, missing figures count, and processes share the events."""

import math
from collections import Counter

import msgspec
import pytest

from benchmarks.scale import fleet, latency, load, runs
from benchmarks.scale.load import Load
from benchmarks.scale.report import Row
from benchmarks.throughput.traffic import PARTITIONS
from detectors.features import UnitKey
from stream.topics.record import Partition, Record
from tests.kafka.server import Cluster
from tests.settings.defaults import default_decoder

MEASURED = {
    "features": 20.0,
    "models_cpu_micros": 12.0,
    "profile_micros": 400.0,
    "row_micros": 800.0,
    "view_micros": 2_000.0,
    "shard_bytes": 16_384.0,
    "reference_bytes": 16_384.0,
    "checkpoint_bytes": 30_000.0,
    "profile_bytes": 35_000.0,
}


@pytest.mark.parametrize("spread", [False, True])
def test_every_unit_of_a_load_gets_as_many_events(spread: bool) -> None:
    many = Load("events", models=8, spread=spread)
    dealt = Counter(many.place(number) for number in range(320))
    assert len(dealt) == many.units
    assert len(set(dealt.values())) == 1
    assert len({partition for _, partition in dealt}) == PARTITIONS


def test_an_event_of_a_load_is_read_by_the_fast_path_with_all_its_features() -> None:
    value = load.event(7, 3, 1_763_700_000_000, load.bodies(20, 1, rows=1)[0])
    batch = default_decoder().decode(Partition("events", 0), [Record(0, 1_763_700_000_000, None, value)]).batches[0]
    assert batch.columns.unit == UnitKey("model_3", "3", None)
    assert batch.columns.numbers.shape == (1, 21)
    assert msgspec.json.decode(value)["id"] == "00000007"


def test_a_change_that_was_never_reported_counts_as_infinitely_late() -> None:
    assert latency.percentiles([0.5, 0.7, 0.6], 3) == (0.6, 0.7)
    assert latency.percentiles([0.5, 0.6], 3) == (0.6, math.inf)


def test_a_row_says_which_of_its_targets_it_reaches() -> None:
    assert [Row("", "", value, "s", 10, 3).reached for value in (2.9, 9, 11)] == ["goal", "first", "no"]
    assert [Row("", "", value, "x", 1.7, 1.9, more=True).reached for value in (1.95, 1.8, 1.6)] == [
        "goal",
        "first",
        "no",
    ]


def test_more_models_cost_a_fleet_more_judging_memory_and_checkpoints_and_no_more_workers() -> None:
    fleets = [fleet.fleet(MEASURED, 80.0, models, spread=True) for models in fleet.MODELS]
    assert len({one.workers for one in fleets}) == 1
    for field in ("profiles_per_second", "judge_cores", "memory_bytes", "checkpoint_bytes_per_second"):
        figures = [getattr(one, field) for one in fleets]
        assert figures == sorted(figures), field


def test_events_that_have_a_partition_for_their_model_cost_less_than_spread_ones() -> None:
    keyed, spread = (fleet.fleet(MEASURED, 80.0, 1_000, spread=spread) for spread in (False, True))
    assert keyed.memory_bytes < spread.memory_bytes
    assert keyed.judge_cores < spread.judge_cores


@pytest.mark.kafka
def test_two_observing_processes_count_every_event_once_and_another_restores_all_units(kafka: Cluster) -> None:
    many = Load("scale-test", models=8)
    runs.prepare(kafka, many, 8_000)
    mark = runs.deploy(kafka, many, "two")
    cost = runs.observe(kafka, many, mark, 8_000, workers=2, skip=0.0)
    assert sum(one.events for one in cost.done) == 8_000
    assert not any(one.other for one in cost.done)
    assert runs.restore(kafka, many, mark).units == many.units

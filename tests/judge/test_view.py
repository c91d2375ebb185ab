"""The numbers of a unit's view are those of its shards."""

import msgspec
import numpy as np

from detectors.profiles import Epoch
from detectors.reference.builder import build_reference
from stream.judge.judge import Judge
from tests.judge.shards import MiniShard
from tests.settings.defaults import judge_settings

START_MS = 1_763_700_000_000
RNG = np.random.default_rng(4)
REFERENCE = build_reference("m", "1", {"x": RNG.normal(5.0, 2.0, 4_000)})


def test_mean_and_standard_deviation_are_those_of_all_values_while_a_unit_learns() -> None:
    judge, parts = Judge(judge_settings()), [RNG.normal(5.0, 2.0, 300), RNG.normal(9.0, 1.0, 200)]
    for partition, values in enumerate(parts):
        shard = MiniShard(REFERENCE, partition)
        profile = shard.add({"x": values}, START_MS)
        moments = {"mean": float(values.mean()), "m2": float(((values - values.mean()) ** 2).sum())}
        features = [msgspec.structs.replace(profile.features[0], sum1=None, sum2=None, cells=b"", **moments)]
        learning = msgspec.structs.replace(profile, epoch=Epoch(None, "s", 0), features=features)
        judge.on_profile(learning, START_MS, partition)
    (feature,) = judge.model_view(learning.unit)["features"]
    whole = np.concatenate(parts)
    assert feature["count"] == 500
    assert np.isclose(feature["mean"], whole.mean())
    assert np.isclose(feature["std"], whole.std())


def test_mean_and_standard_deviation_are_those_of_all_values_under_a_reference() -> None:
    judge, parts = Judge(judge_settings(), [REFERENCE]), [RNG.normal(5.0, 2.0, 300), RNG.normal(5.0, 2.0, 200)]
    for partition, values in enumerate(parts):
        profile = MiniShard(REFERENCE, partition).add({"x": values}, START_MS)
        judge.on_profile(profile, START_MS, partition)
    (feature,) = judge.model_view(profile.unit)["features"]
    whole = np.concatenate(parts)
    assert np.isclose(feature["mean"], whole.mean(), atol=1e-6)
    assert np.isclose(feature["std"], whole.std(), atol=1e-6)


def test_the_last_event_is_that_of_the_shard_that_is_furthest() -> None:
    judge = Judge(judge_settings(), [REFERENCE])
    for partition, at_ms in enumerate((START_MS + 9_000, START_MS)):
        profile = MiniShard(REFERENCE, partition).add({"x": RNG.normal(5.0, 2.0, 50)}, at_ms)
        judge.on_profile(profile, START_MS + 9_000, partition)
    view = judge.model_view(profile.unit)
    assert (view["last_event_ms"], view["events"]) == (START_MS + 9_000, 100)

"""The sum of a unit's shards, where not every shard has every feature."""

import msgspec
import numpy as np

from detectors import merging
from detectors.reference.builder import build_reference
from tests.judge.shards import MiniShard

START_MS = 1_763_700_000_000


def test_events_of_a_shard_that_never_had_a_feature_are_missing_ones() -> None:
    rng = np.random.default_rng(1)
    made = build_reference("m", "1", {"x": rng.normal(size=2_000), "y": rng.normal(size=2_000)})
    both, one = MiniShard(made, 0), MiniShard(made, 1)
    whole = both.add({"x": rng.normal(size=300), "y": rng.normal(size=300)}, START_MS)
    other = one.add({"x": rng.normal(size=200), "y": rng.normal(size=200)}, START_MS)
    part = msgspec.structs.replace(other, features=[f for f in other.features if f.feature == "x"])
    totals = {total.feature: total for total in merging.totals([whole, part])}
    assert (totals["x"].count, totals["x"].missing) == (500, 0)
    assert (totals["y"].count, totals["y"].missing) == (300, 200)

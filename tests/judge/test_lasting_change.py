"""An incident stays open while its change lasts, and resolves when the present fits the reference."""

import numpy as np

from detectors.reference.builder import build_reference
from stream.judge.effects import DriftEvent
from stream.judge.judge import Judge
from tests.judge.shards import MiniShard
from tests.settings.defaults import judge_settings

FROM, TO = 20, 45


def test_a_change_that_lasts_does_not_return_where_the_reference_has_much_serial_dependence() -> None:
    """The rows of a reference that was put together from files have long runs: standard errors alone allow anything."""
    random = np.random.default_rng(3)
    rows = np.concatenate([random.normal(mean, 1.0, 5_000) for mean in (-1.2, -0.4, 0.4, 1.2)])
    reference = build_reference("m", "1", {"x": rows})
    assert reference.features[0].tau > 50
    judge, shard, kinds = Judge(judge_settings(), [reference]), MiniShard(reference, 0), list[str]()
    for look in range(70):
        values = random.permutation(rows)[:400] + 3.0 * (FROM <= look < TO)
        shard.add({"x": values}, 1_000 * (look + 1))
        effects = judge.on_profiles([shard.profile()], 0)
        kinds += [e.kind.value.split(".")[-2] for e in effects if isinstance(e, DriftEvent)]
        if look == TO - 1:
            assert [kind for kind in kinds if kind in ("opened", "resolved", "reopened")] == ["opened"]
    assert [kind for kind in kinds if kind in ("opened", "resolved", "reopened")] == ["opened", "resolved"]

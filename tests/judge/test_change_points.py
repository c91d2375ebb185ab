"""The beginning of a change in an incident: the interval contains the true event, and is not too wide."""

import numpy as np
import pytest

from tests.judge.streams import reference_of, replayed


@pytest.mark.parametrize(("shift", "after", "widest"), [(2.0, 200, 96), (0.5, 800, 400), (0.25, 3_200, 1_300)])
def test_the_interval_holds_the_true_event(shift: float, after: int, widest: int) -> None:
    held, widths = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        at = 1_000 + 7 * seed
        values = rng.normal(size=at + after)
        values[at:] += shift
        report = replayed(reference_of({"x": rng.normal(size=20_000)}), {"x": values})
        if report["incidents"]:
            incident = report["incidents"][0]
            low, high = incident["began_interval"]
            assert low <= incident["began_at_event"] <= high
            held.append(low <= at <= high)
            widths.append(high - low)
    assert len(held) >= 10
    assert np.mean(held) >= 0.9
    assert np.median(widths) <= widest

"""The last 24 hours of a feature beside earlier days."""

import numpy as np
import pytest

from detectors.evidence.day_band import day_band
from tests.evidence.test_explanations import DAY_MS, START_MS, independent, looks, shuffled, sine, times, watch_on


def test_the_band_holds_the_season_and_a_change_lies_outside_of_it() -> None:
    at = times(6)
    values, watch = sine(np.random.default_rng(7), at), watch_on(shuffled(sine, 3))
    values[at >= START_MS + 5.75 * DAY_MS] += 1.5
    for counts, now_ms, end in looks(watch, values, at, 320):
        watch.look(counts, now_ms, end)
    found = watch.day_band(0)
    assert found is not None
    assert (found.days, len(found.present), found.end_ms) == (5, 24, START_MS + 6 * DAY_MS)
    hours = np.arange(24)
    expected = np.sin(2 * np.pi * (hours + 0.5) / 24)
    assert np.array(found.low, float) == pytest.approx(expected, abs=0.35)
    assert np.array(found.high, float) == pytest.approx(expected, abs=0.35)
    present, high = np.array(found.present, float), np.array(found.high, float)
    assert (present[-6:] > high[-6:] + 0.5).all()
    assert (present[:18] < high[:18] + 0.3).all()


def test_there_is_no_band_before_two_earlier_days_for_other_kinds_and_without_a_season() -> None:
    at = times(2)
    values = independent(np.random.default_rng(7), at)
    for event_times, days in (("all", 1.5), ("none", 2)):
        watch = watch_on(shuffled(independent, 3), event_times)
        part = at < START_MS + days * DAY_MS
        for counts, now_ms, end in looks(watch, values[part], at[part], 320):
            watch.look(counts, now_ms, end)
        assert watch.day_band(0) is None


def test_an_hour_with_few_values_has_no_median() -> None:
    at = times(4)
    keep = ~((at // 3_600_000 % 24 == 3) & (at % 3_600_000 > 200_000))
    values, watch = independent(np.random.default_rng(7), at)[keep], watch_on(shuffled(independent, 3))
    for counts, now_ms, end in looks(watch, values, at[keep], 60):
        watch.look(counts, now_ms, end)
    assert watch.explanations is not None
    found = day_band(watch.explanations.hours, 0, watch.yardsticks[0].feature)
    assert found is not None
    assert [place for place, value in enumerate(found.present) if value is None] == [3]
    assert found.low[3] is None
    assert found.high[3] is None

"""What a survey says of dependence and season in a sample."""

import numpy as np
import pytest

from stream.survey import survey, views
from stream.survey.rhythm import rhythm
from tests.evidence.test_explanations import (
    DAY_MS,
    START_MS,
    Stream,
    dependent,
    independent,
    office,
    sessions,
    sine,
    times,
)
from tests.survey.test_survey import columns


@pytest.mark.parametrize(
    ("stream", "low", "high", "hours"),
    [
        (independent, 1.0, 1.0, (0.0, 0.05)),
        (sine, 1.0, 1.0, (0.5, 0.65)),
        (office, 1.0, 1.0, (0.15, 0.35)),
        (dependent, 6.0, 12.0, (0.0, 0.1)),
        (sessions, 10.0, 40.0, (0.0, 0.25)),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_dependence_and_hours_are_those_of_the_stream(
    stream: Stream, low: float, high: float, hours: tuple[float, float]
) -> None:
    at = times(4)
    found = rhythm(stream(np.random.default_rng(3), at), at)
    assert found is not None
    assert low <= found.dependence <= high
    assert found.hours_differ is not None
    assert hours[0] <= found.hours_differ <= hours[1]
    assert found.half_sigma_events == pytest.approx(150 * found.dependence, rel=0.02)


def test_the_order_of_arrival_does_not_matter_where_there_are_times() -> None:
    at = times(3)
    values, order = dependent(np.random.default_rng(3), at), np.random.default_rng(4).permutation(len(at))
    assert rhythm(values[order], at[order]) == rhythm(values, at)


def test_a_short_sample_has_no_season_and_a_counter_or_a_constant_no_rhythm() -> None:
    at = START_MS + np.arange(2_000) * 100
    values = np.random.default_rng(3).normal(size=2_000)
    found = rhythm(values, at)
    assert found is not None
    assert found.hours_differ is None
    assert rhythm(values[:50], at[:50]) is None
    assert rhythm(np.arange(2_000.0), at) is None
    assert rhythm(np.ones(2_000), at) is None
    assert rhythm(np.array([1e308, -1e308] * 100), at[:200]) is not None


def test_the_lines_name_the_feature_and_the_cost() -> None:
    part = columns()
    part.numbers[:, 0] = np.repeat(np.random.default_rng(3).normal(size=40), 10)
    [model] = survey.models([part])
    dependence, season = views.rhythm_lines(model)
    assert dependence.startswith("dependence: ")
    assert "(amount); a shift of half a standard deviation needs about " in dependence
    assert season == "season: not known, the sample spans less than two days"
    part.timestamps_ms = np.arange(400) * DAY_MS // 100
    [model] = survey.models([part])
    assert len(views.rhythm_lines(model)) == 2

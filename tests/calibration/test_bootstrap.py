"""Blocks are as long as the dependence needs, consist of whole rows, and keep their time of day."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.calibration import bootstrap, synthetic
from detectors.calibration.bootstrap import DAY_MS


def test_independent_rows_need_no_block_and_dependent_ones_longer_blocks_the_more_they_depend() -> None:
    lengths = []
    for coefficient in (0.0, 0.5, 0.8, 0.95):
        channel = synthetic.autoregressive(coefficient)(np.random.default_rng(4), 20_000, 0)
        lengths.append(bootstrap.block_length(channel).rows)
    assert lengths[0] < 10
    assert lengths == sorted(lengths)
    expected = (1.5 * (2 * 0.8 / (1 - 0.8**2)) ** 2 * 20_000) ** (1 / 3)  # the formula with the true autocovariances
    assert 0.7 < lengths[2] / expected < 1.4


def test_dependence_that_reaches_beyond_the_longest_block_is_told() -> None:
    walk = np.cumsum(np.random.default_rng(5).normal(size=4_000))
    found = bootstrap.block_length(walk)
    assert not found.enough
    assert found.rows <= 3 * 4_000**0.5 + 1


@pytest.mark.parametrize("channel", [np.zeros(1_000), np.ones(3), np.zeros(0), np.tile([0.0, 1.0], 500)])
def test_any_channel_has_a_block_length(channel: np.ndarray) -> None:
    assert bootstrap.block_length(channel).rows >= 1


@given(st.integers(1, 500), st.integers(1, 600), st.integers(0, 2**32 - 1))
def test_circular_blocks_keep_neighbours_and_draw_every_row_there_is(rows: int, block: int, seed: int) -> None:
    drawn = bootstrap.circular_rows(np.random.default_rng(seed), rows, block)
    assert len(drawn) == rows
    assert drawn.min() >= 0
    assert drawn.max() < rows
    inside = np.arange(1, rows) % block != 0
    assert ((np.diff(drawn) % rows == 1 % rows) | ~inside).all()


@given(
    st.lists(st.integers(0, DAY_MS // 4), min_size=30, max_size=200),
    st.integers(1, 50),
    st.integers(0, 2**32 - 1),
    st.integers(-3 * DAY_MS, 30 * DAY_MS),
)
def test_blocks_at_their_time_keep_the_time_of_day_and_go_forward(
    gaps: list[int], block: int, seed: int, begin_ms: int
) -> None:
    moments = np.concatenate(([0], np.cumsum(gaps), [sum(gaps) + 3 * DAY_MS]))
    period = bootstrap.period_ms(moments, weekly=False)
    assert period == DAY_MS
    drawn = bootstrap.rows_at_their_time(np.random.default_rng(seed), moments, block, period, begin_ms)
    assert len(drawn.rows) == len(drawn.moments_ms) == len(moments)
    assert (moments[drawn.rows] % DAY_MS == drawn.moments_ms % DAY_MS).all()
    assert (np.diff(drawn.moments_ms) >= 0).all()
    assert drawn.moments_ms[0] >= begin_ms
    assert drawn.next_ms >= drawn.moments_ms[-1]


def test_a_stretch_of_few_days_has_no_time_of_day_to_keep() -> None:
    hours = np.arange(0, 2 * DAY_MS, 3_600_000)
    assert bootstrap.period_ms(hours, weekly=False) is None
    weeks = np.arange(0, 22 * DAY_MS, 3_600_000)
    assert bootstrap.period_ms(weeks, weekly=True) == bootstrap.WEEK_MS

"""Sketches: merging obeys its laws exactly, content depends on the multiset alone, and errors are within their
bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.errors import CheckpointError
from detectors.sketches import categories, moments, quantiles
from detectors.sketches.quantiles import QuantileSketch

FINITE = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.lists(FINITE, max_size=60)
SMALL = 8
"""A limit that forces coarse buckets."""


def sketch(values: list[float], limit: int = SMALL) -> QuantileSketch:
    made = QuantileSketch(limit)
    made.update_many(np.array(values, np.float64))
    return made


def joined(*parts: QuantileSketch) -> QuantileSketch:
    total = QuantileSketch(SMALL)
    for part in parts:
        total.merge(part)
    return total


@given(VALUES, VALUES, VALUES)
def test_merging_quantiles_is_associative_commutative_and_equal_to_having_seen_all(
    a: list[float], b: list[float], c: list[float]
) -> None:
    whole = sketch(a + b + c).to_bytes()
    left = joined(joined(sketch(a), sketch(b)), sketch(c)).to_bytes()
    right = joined(sketch(c), joined(sketch(b), sketch(a))).to_bytes()
    assert left == right == whole


@given(VALUES, st.randoms(use_true_random=False))
def test_a_quantile_sketch_depends_on_the_multiset_alone(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    single = QuantileSketch(SMALL)
    for value in shuffled:
        single.update_many(np.array([value]))
    assert single.to_bytes() == sketch(values).to_bytes()


@given(st.lists(FINITE, min_size=1, max_size=200), st.sampled_from([4, 16, 64]))
def test_the_rank_error_is_no_more_than_it_says(values: list[float], limit: int) -> None:
    made = sketch(values, limit)
    low, high, counts = made.buckets()
    ordered = np.sort(np.array(values))
    at_most, below = np.searchsorted(ordered, high, side="right"), np.searchsorted(ordered, low, side="left")
    assert (at_most == np.cumsum(counts)).all()
    assert (below == np.cumsum(counts) - counts).all()
    probabilities = np.array([0.01, 0.1, 0.5, 0.9, 0.99])
    answers = made.quantiles(probabilities)
    rank = np.searchsorted(ordered, answers, side="right") / len(ordered)
    before = np.searchsorted(ordered, answers, side="left") / len(ordered)
    slack = made.rank_error + 1 / len(values) + 1e-12
    assert (before - slack <= probabilities).all()
    assert (probabilities <= rank + slack).all()


@given(VALUES)
def test_quantile_keys_sort_as_values_do_and_come_back(values: list[float]) -> None:
    array = np.array(values, np.float64)
    keys = quantiles.ordered_keys(array)
    assert (np.sort(array) == array[np.argsort(keys)]).all()
    assert (quantiles.key_values(keys) == array).all()


def test_both_zeros_are_one_value_and_extremes_survive() -> None:
    made = sketch([0.0, -0.0, 5e-324, -5e-324, 1e308, -1e308])
    assert made.counts.tolist() == [1, 1, 2, 1, 1]
    assert made.quantiles(np.array([0.0, 1.0])).tolist() == [-1e308, 1e308]


@given(VALUES)
def test_a_quantile_sketch_comes_back_from_its_bytes(values: list[float]) -> None:
    data = sketch(values).to_bytes()
    assert QuantileSketch.from_bytes(data, SMALL).to_bytes() == data


@pytest.mark.parametrize("data", [b"x", b"\x02\x00\x00\x00\x00\x00", b"\x01\x00\x05\x00\x00\x00abc"])
def test_broken_bytes_of_a_quantile_sketch_are_refused(data: bytes) -> None:
    with pytest.raises(CheckpointError):
        QuantileSketch.from_bytes(data)


def sums(values: list[float]) -> tuple[int, int]:
    if not values:
        return 0, 0
    made = moments.Moments(np.array([0.3]), np.array([2.0]))
    made.update(np.array(values)[:, None])
    first, second = made.sums()
    return first[0], second[0]


@settings(max_examples=60)
@given(VALUES, VALUES)
def test_moment_sums_are_exact_in_any_order_and_cut(a: list[float], b: list[float]) -> None:
    together, one, two = sums(a + b), sums(a), sums(b)
    assert together == (one[0] + two[0], one[1] + two[1]) == sums((a + b)[::-1])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100))
def test_moments_are_the_mean_and_the_variance_within_their_grid(values: list[float]) -> None:
    mean, std = moments.mean_and_std(len(values), *sums(values), 0.3, 2.0)
    assert mean == pytest.approx(np.mean(values), abs=1e-3)
    assert std is not None
    grid = 2.0 * np.abs(np.array(values) - 0.3).max() * 2.0 * 2.0**-13 + 1e-7
    assert std**2 == pytest.approx(np.var(values), rel=1e-9, abs=grid)


@given(st.lists(st.text(max_size=3), max_size=80), st.lists(st.text(max_size=3), max_size=80))
def test_merging_distinct_counts_is_commutative_and_equal_to_having_seen_all(a: list[str], b: list[str]) -> None:
    def seen(values: list[str]) -> bytes:
        made = categories.DistinctSketch()
        made.update_many(values)
        return made.to_bytes()

    ways = [[seen(a), seen(b)], [seen(b), seen(a)], [seen(a + b)], [seen(b + a)]]
    assert len({categories.estimate_distinct(way) for way in ways}) == 1


def test_distinct_counts_are_within_their_error() -> None:
    made = categories.DistinctSketch()
    made.update_many(map(str, range(20_000)))
    assert made.estimate() == pytest.approx(20_000, rel=0.1)


@given(st.lists(st.sampled_from("abcdef"), max_size=50), st.integers(1, 6))
def test_category_counts_lose_nothing_beyond_their_limit(values: list[str], limit: int) -> None:
    kept: dict[str, int] = {}
    overflow = sum(categories.add_counts(kept, {value: 1}, limit) for value in values)
    assert sum(kept.values()) + overflow == len(values)
    assert len(kept) <= limit

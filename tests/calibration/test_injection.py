"""Injected changes have their stated size, in the feature's own unit, and change nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.calibration.injection import MISSING_SHARE, MIX_SHARE, SHIFTS, Injected, inject
from detectors.calibration.stretch import Column, category_cells
from detectors.columns import MISSING, PRESENT
from detectors.features import Kind
from detectors.reference.builder import categorical_reference, numeric_reference
from detectors.values import as_categories, as_numbers


def numeric(values: list[float | None] | np.ndarray) -> Column:
    numbers, status = as_numbers(values)
    return Column(numeric_reference("x", numbers, status), numbers, status)


def categorical(values: list[str | None]) -> Column:
    categories, status = as_categories(values, Kind.CATEGORICAL)
    feature = categorical_reference("c", Kind.CATEGORICAL, categories, status)
    return Column(feature, category_cells(feature, categories), status)


def changed(column: Column, change: Injected, seed: int = 1) -> Column:
    found = inject(column, change, np.random.default_rng(seed))
    assert found is not None
    return found


@pytest.mark.parametrize("change", list(SHIFTS))
@given(st.integers(0, 2**32 - 1), st.floats(1e-6, 1e6))
def test_a_shift_moves_every_value_by_its_share_of_sigma(change: Injected, seed: int, scale: float) -> None:
    column = numeric(np.random.default_rng(seed).normal(size=200) * scale)
    moved = changed(column, change)
    assert np.allclose(moved.values - column.values, SHIFTS[change] * (column.feature.std or 0.0))
    assert (moved.status == column.status).all()


@given(st.integers(0, 2**32 - 1))
def test_a_doubled_variance_keeps_the_median(seed: int) -> None:
    column = numeric(np.random.default_rng(seed).lognormal(size=301))
    moved = changed(column, Injected.VARIANCE)
    assert np.isclose(np.median(moved.values), np.median(column.values))
    assert np.isclose(moved.values.var(), 2 * column.values.var())


def test_a_discrete_feature_keeps_its_values_and_its_mean_moves_as_said() -> None:
    column = numeric(np.random.default_rng(2).poisson(20.0, 20_000).astype(float))
    moved = changed(column, Injected.HALF_SIGMA)
    assert set(moved.values) <= set(column.values)
    assert float((moved.values - column.values).mean() / (column.feature.std or 1.0)) == pytest.approx(0.5, abs=0.02)


def test_missing_takes_away_its_share_of_what_was_there() -> None:
    column = numeric([None if k % 10 == 0 else float(k) for k in range(20_000)])
    moved = changed(column, Injected.MISSING)
    assert (moved.status[column.status == MISSING] == MISSING).all()
    gone = (moved.status == MISSING) & (column.status == PRESENT)
    assert gone.sum() / (column.status == PRESENT).sum() == pytest.approx(MISSING_SHARE, abs=0.01)


def test_a_mix_moves_its_share_to_the_second_category() -> None:
    column = categorical(["a"] * 6_000 + ["b"] * 3_000 + ["c"] * 1_000)
    moved = changed(column, Injected.MIX)
    assert float((moved.values == 1.0).mean()) == pytest.approx(0.3 + MIX_SHARE, abs=0.01)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        (numeric([4.0] * 100), Injected.SIGMA),
        (numeric([4.0] * 100), Injected.VARIANCE),
        (numeric([1.0, 2.0] * 50), Injected.MIX),
        (numeric([None] * 100), Injected.SIGMA),
        (categorical(["a", "b"] * 50), Injected.SIGMA),
        (categorical(["a"] * 100), Injected.MIX),
        (categorical([f"id-{k}" for k in range(300)]), Injected.MIX),
    ],
)
def test_what_cannot_change_so_is_left_out(column: Column, change: Injected) -> None:
    assert inject(column, change, np.random.default_rng(1)) is None


def test_huge_values_stay_usable() -> None:
    moved = changed(numeric([1e308, -1e308, 1.0, 5.0] * 30), Injected.SIGMA)
    assert moved.cells().max() <= len(moved.feature.edges)

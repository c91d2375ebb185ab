"""Bets are e-values under every distribution of their band, for any reference; checked by linear programming."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from detectors.evidence import bets

shares = st.lists(st.floats(0.001, 1.0), min_size=2, max_size=16).map(lambda v: np.array(v) / sum(v))


@settings(max_examples=25, deadline=None)
@given(shares, st.floats(0.001, 0.2))
def test_ordered_bets_pay_at_most_one_on_average_under_all_of_the_band(p: np.ndarray, size: float) -> None:
    borders = np.cumsum(p)[:-1]
    eps = size * np.sqrt(borders * (1 - borders)) + 1e-4
    lower = np.tril(np.ones((len(p) - 1, len(p))))
    walls, bounds = np.vstack((lower, -lower)), np.concatenate((borders + eps, eps - borders))
    for bet in bets.ordered(p, eps)[::7]:
        worst = linprog(-bet, A_ub=walls, b_ub=bounds, A_eq=np.ones((1, len(p))), b_eq=[1], bounds=(0, 1))
        assert -worst.fun <= 1 + 1e-6
        assert bet.min() >= bets.LEAST


@settings(max_examples=25, deadline=None)
@given(shares, st.floats(0.0005, 0.1))
def test_unordered_bets_pay_at_most_one_on_average_under_all_of_the_band(p: np.ndarray, size: float) -> None:
    eps = np.full(len(p), size)
    for bet in bets.unordered(p, eps, range(len(p)))[::5]:
        limits = list(zip(np.maximum(p - eps, 0), p + eps, strict=True))
        worst = linprog(-bet, A_eq=np.ones((1, len(p))), b_eq=[1], bounds=limits)
        assert -worst.fun <= 1 + 1e-6


def test_no_bet_of_the_family_gains_while_the_change_stays_in_the_band() -> None:
    """A tolerance of .02 is a shift of .05 sigma."""
    p = np.full(16, 1 / 16)
    eps = bets.band(np.cumsum(p)[:-1], 1e9, 0.02, 4.5)
    values = np.random.default_rng(1).normal(size=400_000) + 0.04
    edges = [bets._normal.inv_cdf(q) for q in np.cumsum(p)[:-1].tolist()]
    present = np.bincount(np.searchsorted(edges, values), minlength=16) / len(values)
    assert (np.log(bets.ordered(p, eps)) @ present).max() <= 0


@pytest.mark.parametrize("size", [0.25, 0.5, 1.0])
def test_a_shift_gains_close_to_the_most_that_the_band_allows(size: float) -> None:
    p = np.full(16, 1 / 16)
    borders = np.cumsum(p)[:-1]
    eps = bets.band(borders, 1e5, 0.02, 4.5)
    cumulative = [bets._normal.cdf(bets._normal.inv_cdf(q) - size) for q in borders.tolist()]
    f = np.diff([0.0, *cumulative, 1.0])
    most = float(f @ -np.log(bets.taut_string(f.tolist(), (borders - eps).tolist(), (borders + eps).tolist())))
    assert (np.log(bets.ordered(p, eps)) @ f).max() >= 0.8 * most

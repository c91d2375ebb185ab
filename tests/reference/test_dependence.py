"""The running estimate of serial dependence, which learning shards carry."""

import numpy as np
import pytest

from detectors.reference.dependence import RunningDependence, dependence_factor


def autoregression(random: np.random.Generator, coefficient: float, rows: int) -> np.ndarray:  # type: ignore[type-arg]
    noise = random.normal(size=rows)
    values = np.empty(rows)
    values[0] = noise[0]
    for i in range(1, rows):
        values[i] = coefficient * values[i - 1] + noise[i]
    return values


def test_it_does_not_matter_how_the_stream_is_cut_or_where_it_was_saved() -> None:
    random = np.random.default_rng(3)
    values = autoregression(random, 0.8, 5_000)
    whole = RunningDependence()
    whole.update(values)
    pieces = RunningDependence()
    at = 0
    while at < len(values):
        size = int(random.integers(1, 300))
        pieces.update(values[at : at + size])
        pieces = RunningDependence.from_state(pieces.snapshot())
        at += size
    assert pieces.snapshot() == whole.snapshot()
    assert pieces.factor == whole.factor


@pytest.mark.parametrize(("coefficient", "theory"), [(0.0, 1.0), (0.8, 9.0), (0.95, 39.0)])
def test_it_is_near_what_theory_has_for_an_autoregression(coefficient: float, theory: float) -> None:
    values = autoregression(np.random.default_rng(5), coefficient, 20_000)
    running = RunningDependence()
    running.update(values)
    assert 0.6 * theory <= running.factor <= 1.7 * theory
    assert running.factor == pytest.approx(dependence_factor(values), rel=0.5)

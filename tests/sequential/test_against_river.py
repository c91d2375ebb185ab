"""ADWIN and Page-Hinkley compared with river itself, value by value."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from detectors.errors import SettingsError
from detectors.sequential import FeatureDetector, detector_factory
from detectors.sequential.adwin import Adwin
from detectors.sequential.page_hinkley import PageHinkley


def stream(seed: int, rows: int, features: int) -> tuple[np.ndarray, np.ndarray]:
    """Values that change level and spread now and then, and a mask of those present."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.normal(0, 0.4, (rows // 5_000 + 1, features)), 5_000, axis=0)[:rows]
    return rng.normal(level, 1.0), rng.random((rows, features)) > 0.05


def cuts(seed: int, rows: int) -> list[tuple[int, int]]:
    edges = [0, *np.sort(np.random.default_rng(seed).integers(0, rows, rows // 300)).tolist(), rows]
    return list(itertools.pairwise(edges))


def test_page_hinkley_detects_what_river_detects_over_missing_values_and_checkpoints() -> None:
    values, present = stream(1, 60_000, 10)
    ours: set[tuple[int, int]] = set()
    bank = PageHinkley(10, 34.5, 0.125)
    for number, (start, end) in enumerate(cuts(2, len(values))):
        ours |= {(start + d.row, d.column) for d in bank.update(values[start:end], present[start:end])}
        if number % 10 == 0:
            data, bank = bank.snapshot(), PageHinkley(10, 34.5, 0.125)
            assert bank.restore(data) == 0
    theirs = set()
    for column in range(10):
        detector = drift.PageHinkley(alpha=1, delta=0.125, threshold=34.5)
        for row in np.flatnonzero(present[:, column]).tolist():
            detector.update(float(values[row, column]))
            if detector.drift_detected:
                theirs.add((row, column))
    assert len(theirs) > 50
    assert ours == theirs


def test_adwin_detects_what_river_detects_over_a_million_values_and_checkpoints() -> None:
    values, present = stream(3, 100_000, 10)
    values = 1 / (1 + np.exp(-values))
    bank, ours = Adwin(10, 0.002), set()
    for number, (start, end) in enumerate(cuts(4, len(values))):
        ours |= {(start + row, column) for row, column in bank.update(values[start:end], present[start:end])}
        if number % 50 == 0:
            data, bank = bank.snapshot(), Adwin(10, 0.002)
            assert bank.restore(data) == 0
    theirs = set()
    for column in range(10):
        detector = drift.ADWIN(delta=0.002)
        for row in np.flatnonzero(present[:, column]).tolist():
            detector.update(float(values[row, column]))
            if detector.drift_detected:
                theirs.add((row, column))
    assert len(theirs) > 50
    assert ours == theirs


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.lists(st.integers(1, 400), min_size=1, max_size=20), st.booleans())
def test_state_does_not_depend_on_how_rows_were_cut(seed: int, lengths: list[int], holes: bool) -> None:
    rows = sum(lengths)
    values, present = stream(seed, rows, 3)
    values[rows // 2 :] += 3.0
    mask = present if holes else None
    whole, cut, one = PageHinkley(3, 10.0), PageHinkley(3, 10.0), PageHinkley(3, 10.0)
    expected = {(d.row, d.column, d.channel) for d in whole.update(values, mask)}
    found, single, start = set(), set(), 0
    for length in lengths:
        part = None if mask is None else mask[start : start + length]
        found |= {(start + d.row, d.column, d.channel) for d in cut.update(values[start : start + length], part)}
        start += length
    for row in range(rows):
        part = None if mask is None else mask[row : row + 1]
        single |= {(row, d.column, d.channel) for d in one.update(values[row : row + 1], part)}
    assert found == expected == single
    assert whole.snapshot() == cut.snapshot() == one.snapshot()


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\x93\x01\x02\x03", Adwin(3, 0.002).snapshot(), Adwin(2, 0.01).snapshot()]
)
def test_a_foreign_snapshot_starts_cold_and_is_counted(data: bytes) -> None:
    assert Adwin(2, 0.002).restore(data) == 2
    assert PageHinkley(2).restore(data) == 2


def test_a_river_detector_by_name_is_a_feature_detector() -> None:
    made = detector_factory("river.drift.KSWIN")()
    assert isinstance(made, FeatureDetector)
    rng = np.random.default_rng(5)
    values = np.concatenate((rng.normal(0, 1, 500), rng.normal(9, 1, 500)))
    assert made.update_many(values.tolist())


@pytest.mark.parametrize("name", ["nothing", "river.drift.NOPE", "no.such.module:Class", "collections:OrderedDict"])
def test_a_name_that_means_nothing_is_a_settings_error(name: str) -> None:
    with pytest.raises(SettingsError, match="detector"):
        detector_factory(name)

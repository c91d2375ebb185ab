"""A shard's signals are river's own detections on the transformed values, for any missing values and any restarts."""

import itertools

import numpy as np
import pytest
from river import drift

from detectors.bank.bank import Bank
from detectors.columns import INVALID, MISSING, PRESENT, Columns
from detectors.features import UnitKey
from detectors.reference.builder import build_reference
from detectors.reference.transform import Transform
from tests.settings.defaults import bank_settings

UNIT = UnitKey("m", "1", None)
FEATURES = 10
SETTINGS = bank_settings(adwin_delta=0.002, page_hinkley_threshold=34.5, max_signals=1_000_000)
Found = set[tuple[int, str, str, str]]


def drawn(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Values that change level every few thousand rows, and their status: some single values and one run of values are
    missing."""
    level = np.repeat(rng.normal(0, 0.4, (rows // 4_000 + 1, FEATURES)), 4_000, axis=0)[:rows]
    status = np.where(rng.random((rows, FEATURES)) < 0.03, MISSING, PRESENT).astype(np.uint8)
    status[rng.random((rows, FEATURES)) < 0.01] = INVALID
    status[rows // 3 : rows // 3 + 2_000, 0] = MISSING
    return np.where(status == PRESENT, rng.normal(level, 1.0), 0.0), status


def ours(rng: np.random.Generator, numbers: np.ndarray, status: np.ndarray, bank: Bank, make) -> Found:  # type: ignore[no-untyped-def]
    """Signals of a bank that gets its rows in pieces of random size and is restored between some of them."""
    rows, names = len(numbers), tuple(f"f{k}" for k in range(FEATURES))
    edges = [0, *np.sort(rng.integers(0, rows, rows // 400)).tolist(), rows]
    offsets = np.arange(1, rows + 1)
    for number, (start, end) in enumerate(itertools.pairwise(edges)):
        part = slice(start, end)
        if start < end:
            bank.update(Columns(UNIT, offsets[part], offsets[part], names, numbers[part], status[part]))
        if number % 20 == 0:
            bank = make(bank.snapshot())
            assert bank.cold == 0
    return {(s.event, s.feature, s.detector, s.channel) for s in bank.profile().signals}


def theirs(u: np.ndarray, z: np.ndarray, status: np.ndarray) -> Found:
    found: Found = set()
    for column in range(FEATURES):
        rows = np.flatnonzero(status[:, column] == PRESENT)
        name = f"f{column}"
        for channel, values in (("u", u[rows, column]), ("spread", np.abs(u[rows, column] - 0.5))):
            adwin = drift.ADWIN(delta=SETTINGS.adwin_delta)
            for row, value in zip(rows.tolist(), values.tolist(), strict=True):
                adwin.update(value)
                if adwin.drift_detected:
                    found.add((row + 1, name, "adwin", channel))
        page = drift.PageHinkley(alpha=1, delta=0.125, threshold=SETTINGS.page_hinkley_threshold)
        for row, value in zip(rows.tolist(), z[rows, column].tolist(), strict=True):
            page.update(value)
            if page.drift_detected:
                found.add((row + 1, name, "page_hinkley", ""))
    return found


@pytest.mark.parametrize(
    "rows", [pytest.param(25_000, id="750,000 values"), pytest.param(250_000, id="7.5 million", marks=pytest.mark.slow)]
)
def test_signals_are_rivers_detections_over_missing_values_and_checkpoints(rows: int) -> None:
    rng = np.random.default_rng(rows)
    reference = build_reference("m", "1", {f"f{k}": rng.normal(size=5_000) for k in range(FEATURES)})
    numbers, status = drawn(rng, rows)
    u, z = Transform(reference.features).ranks(numbers, Transform(reference.features).cells(numbers))

    def make(snapshot: bytes | None = None) -> Bank:
        return Bank(UNIT, "t", 0, SETTINGS, reference, 0, snapshot=snapshot)

    found = {(e, f, d, "" if d == "page_hinkley" else c) for e, f, d, c in ours(rng, numbers, status, make(), make)}
    expected = theirs(u, z, status)
    assert len(expected) > rows // 500
    assert found == expected

"""Changes of one numeric feature: delay and misses of the evidence, at a guarantee of one in 1e10 feature-events."""

from typing import Any

import numpy as np

from benchmarks.detection import looks
from benchmarks.detection.nulls import SEASONAL, Rows
from detectors.calibration import evaluation, synthetic
from detectors.columns import Floats

TARGETS = {".5 sigma": 400, "1 sigma": 100, "variance x2": 400, "shape": 700}
TARGET_ROWS = 100_000
"""Fewest rows of a reference for which the targets hold."""

SIZES = (1_000, 10_000, 20_000, 100_000, 1_000_000)
HORIZON = 10_000


def ramp(size: float, events: int) -> synthetic.Change:
    """The mean moves by ``size`` in the course of ``events``, then stays."""

    def change(rng: np.random.Generator, values: Floats) -> Floats:
        return values + size * np.minimum(np.arange(1, len(values) + 1) / events, 1)

    return change


CHANGES: dict[str, synthetic.Change] = {
    **synthetic.CHANGES,
    "ramp to 1 sigma in 1,000": ramp(1.0, 1_000),
    "ramp to 1 sigma in 5,000": ramp(1.0, 5_000),
}


def suite(size: int, quick: bool, seed: int) -> Rows:
    """Every change of an independent normal feature, against a reference of ``size`` rows."""
    bench = looks.Bench(synthetic.normal, size, 1, seed)
    runs, rows = 20 if quick else 50, []
    for name, change in CHANGES.items():
        target = TARGETS.get(name) if size >= TARGET_ROWS else None
        rows.append({"change": name, "reference": size, **_delays(bench, change, runs), "target": target})
    return {"changes": rows}


def dependent(quick: bool, seed: int) -> Rows:
    """Delays on dependent, seasonal and heavy-tailed streams, on which a change is found later."""
    rows = []
    for name in ("ar1-.8", "daily-sine") if quick else ("ar1-.8", "ar1-.95", "daily-sine", "student-t3", "lognormal"):
        bench = looks.Bench(synthetic.NULLS[name], 40_000, 1, seed, name in SEASONAL)
        for change in (".5 sigma", "1 sigma"):
            told = _delays(bench, synthetic.CHANGES[change], 6 if quick else 20, 3 * HORIZON)
            rows.append({"stream": name, "change": change, **told})
    return {"dependent": rows}


def _delays(bench: looks.Bench, change: synthetic.Change, runs: int, horizon: int = HORIZON) -> dict[str, Any]:
    found = evaluation.delays([looks.delay(bench, change, horizon) for _ in range(runs)])
    return {"median": found.median, "p90": found.p90, "missed": found.missed, "runs": runs}


def late(rows: list[dict[str, Any]]) -> list[str]:
    """Changes that were missed, or found later than their target."""
    return [
        f"{row['change']} against {row['reference']:,} rows"
        for row in rows
        if row["target"] and (row["missed"] or (row["median"] or 1e9) > row["target"])
    ]

"""Null streams, in which nothing changes: false alarms of the evidence at a guarantee of one in 1e10 feature-events."""

from typing import Any

from benchmarks.detection import looks
from detectors.calibration import evaluation, synthetic
from detectors.evidence.sheets import MONTH_SECONDS

SIZES = (1_000, 10_000, 100_000, 1_000_000)
QUICK_SIZES = (10_000, 100_000)
FEATURE_EVENTS, QUICK_SHARE = 1_500_000, 10
SEASONAL = ("daily-sine", "day-effects")
DAYS = 15
"""Fewest days of a reference from which seasons can be learned."""

Rows = dict[str, list[dict[str, Any]]]


def suite(size: int, quick: bool, seed: int) -> Rows:
    """Runs every null stream against a reference of ``size`` rows."""
    features = 20 if size < 1_000_000 else 5
    events = FEATURE_EVENTS // (QUICK_SHARE if quick else 1) // features
    return {"nulls": [_row(name, size, features, events, seed) for name in synthetic.NULLS]}


def wide(quick: bool, seed: int) -> Rows:
    """Runs null streams of a model with 300 features."""
    events = 2 * FEATURE_EVENTS // (QUICK_SHARE if quick else 1) // 300
    return {"nulls": [_row(name, 20_000, 300, events, seed) for name in ("normal", "ar1-.8")]}


def _row(name: str, size: int, features: int, events: int, seed: int) -> dict[str, Any]:
    seasonal = name in SEASONAL and size >= DAYS * synthetic.DAY_EVENTS
    bench = looks.Bench(synthetic.NULLS[name], size, features, seed, seasonal)
    found = looks.alarms(bench, events)
    return {
        "stream": name,
        "reference": size,
        "features": features,
        "feature_events": events * features,
        "alarms": found,
        "per_model_month": found / (events * looks.EVENT_MS / 1000 / MONTH_SECONDS),
        "at_least": evaluation.false_alarms(found, events * features).mean_time_at_least,
        "tau": max(f.tau for f in bench.reference.features),
        "strata": len(bench.reference.features[0].strata),
        "counts": not (name == "day-effects" and not seasonal),
    }

"""Plain rows and texts of features, as incidents, views and summaries show them."""

from collections.abc import Mapping, Sequence
from typing import Any

from detectors.evidence.sizes import Sizes
from detectors.evidence.watch import Watch
from detectors.incidents.verdict import Symptom

MISSING_BURST_SIZE, LARGE_PSI, LARGE_SHIFT = 0.05, 0.1, 0.25
"""From these on a change is large: more missing values (a share of events), PSI, and Wasserstein distance."""


def difference(row: Mapping[str, Any]) -> str:
    """An environment difference as a text, such as ``numpy 2.1.0 instead of 1.26.4``."""
    return f"{row['name']} {row['present']} instead of {row['reference']}"


def sizes_of(sizes: Sizes) -> dict[str, float | None]:
    """The four effect sizes by name, six digits each."""
    return {
        "psi": _rounded(sizes.psi),
        "wasserstein": _rounded(sizes.wasserstein),
        "kolmogorov_smirnov": _rounded(sizes.kolmogorov_smirnov),
        "jensen_shannon": _rounded(sizes.jensen_shannon),
    }


def incident_feature(watch: Watch, feature: int, sizes: Sizes, symptom: Symptom) -> dict[str, Any]:
    """The row of a blamed feature in an incident."""
    begin = watch.beginning(feature)
    _, _, values = watch.present(feature, begin.latest)
    yardstick = watch.yardsticks[feature]
    return {
        "feature": symptom.feature,
        "evidence_log10": watch.evidence_of(feature),
        **sizes_of(sizes),
        "missing_share": _rounded(symptom.missing_share),
        "reference_missing_share": _rounded(symptom.reference_missing_share),
        "invalid_share": _rounded(symptom.invalid_share),
        "unexpected_share": _rounded(symptom.unexpected_share),
        "reference_unexpected_share": _rounded(symptom.reference_unexpected_share),
        "mean": _rounded(symptom.mean),
        "reference_mean": _rounded(symptom.reference_mean),
        "began_at_event": begin.event,
        "began_interval": [begin.earliest, begin.latest],
        **watch.unlike(feature),
        "reference_histogram": yardstick.reference_histogram,
        "histogram": yardstick.histogram(values),
    }


def severity(rows: Sequence[dict[str, Any]]) -> str:
    """Critical where the change of a feature is large, however much evidence there is; else warning."""
    for row in rows:
        if row["psi"] >= LARGE_PSI or (row["wasserstein"] or 0.0) >= LARGE_SHIFT:
            return "critical"
        if row["missing_share"] - row["reference_missing_share"] >= MISSING_BURST_SIZE:
            return "critical"
    return "warning"


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")

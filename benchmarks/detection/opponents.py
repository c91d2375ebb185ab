"""What a user would pick instead, run as its users run it: river on raw values, and tests on windows."""

from collections.abc import Callable

import numpy as np
from river import drift
from scipy import stats

from detectors.columns import Floats

WINDOW = 1_000
"""Rows of the present window of a windowed test, as in its users' hourly or daily reports."""

Opponent = Callable[[Floats, Floats], list[int]]
"""(reference values, stream) -> events at which it alarmed."""


def _river(make: Callable[[], object]) -> Opponent:
    def run(reference: Floats, stream: Floats) -> list[int]:
        detector = make()
        for value in reference[-2_000:].tolist():
            detector.update(value)  # type: ignore[attr-defined]
        found = []
        for i, value in enumerate(stream.tolist()):
            detector.update(value)  # type: ignore[attr-defined]
            if detector.drift_detected:  # type: ignore[attr-defined]
                found.append(i + 1)
        return found

    return run


def ks_windows(reference: Floats, stream: Floats) -> list[int]:
    """Two-sample Kolmogorov-Smirnov at p < .05 a window, Evidently's default below 1,000 reference rows."""
    sample = reference[:: max(len(reference) // 2_000, 1)]
    return [
        end
        for end in range(WINDOW, len(stream) + 1, WINDOW)
        if stats.ks_2samp(sample, stream[end - WINDOW : end]).pvalue < 0.05
    ]


def wasserstein_windows(reference: Floats, stream: Floats) -> list[int]:
    """Normalised Wasserstein distance above .1 a window, Evidently's default for larger references."""
    sample = reference[:: max(len(reference) // 5_000, 1)]
    scale = max(float(sample.std()), 0.001)
    return [
        end
        for end in range(WINDOW, len(stream) + 1, WINDOW)
        if stats.wasserstein_distance(sample, stream[end - WINDOW : end]) / scale >= 0.1
    ]


def psi_windows(reference: Floats, stream: Floats) -> list[int]:
    """Population stability index over deciles above .1 a window."""
    edges = np.quantile(reference, np.linspace(0.1, 0.9, 9))
    p = np.maximum(np.bincount(np.searchsorted(edges, reference), minlength=10) / len(reference), 1e-4)
    found = []
    for end in range(WINDOW, len(stream) + 1, WINDOW):
        counts = np.bincount(np.searchsorted(edges, stream[end - WINDOW : end]), minlength=10)
        q = np.maximum(counts / WINDOW, 1e-4)
        if float(((q - p) * np.log(q / p)).sum()) >= 0.1:
            found.append(end)
    return found


OPPONENTS: dict[str, Opponent] = {
    "ADWIN (river, raw)": _river(drift.ADWIN),
    "Page-Hinkley (river, raw)": _river(drift.PageHinkley),
    "KSWIN (river, raw)": _river(lambda: drift.KSWIN(seed=1)),
    "KS p<.05, windows": ks_windows,
    "Wasserstein .1, windows": wasserstein_windows,
    "PSI .1, windows": psi_windows,
}

"""The size of a change, and the two histograms that it is computed from. Sizes are shown beside evidence and never
alarm.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from detectors.columns import Floats
from detectors.evidence import distances
from detectors.evidence.sheets import Layout, bin_counts, own_bins
from detectors.features import Kind
from detectors.reference import transform
from detectors.reference.reference import FeatureReference
from detectors.sketches.moments import BITS


class Sizes(msgspec.Struct, frozen=True):
    """Sizes of the difference between reference and present.

    ``wasserstein`` is in the reference's standard deviations. Sizes that need an order are None without one.
    """

    psi: float
    wasserstein: float | None
    kolmogorov_smirnov: float | None
    jensen_shannon: float


NO_SIZES = Sizes(0.0, None, None, 0.0)


def compile_loops() -> None:
    """Compiles every loop before the first view needs it. This takes seconds once on a machine."""
    for size in (distances.psi, distances.jensen_shannon, distances.kolmogorov_smirnov):
        size([1], [1])
    distances.wasserstein([1, 1], [1, 1], [0.0], 1.0)


class Yardstick:
    """One feature's reference in its evidence bins. It is built once for each reference."""

    __slots__ = ("borders", "categories", "centre", "counts", "feature", "reference_histogram", "scale")

    def __init__(self, layout: Layout, index: int) -> None:
        self.feature: FeatureReference = layout.features[index]
        bins = layout.bins[index]
        self.counts: Floats = bin_counts(self.feature, bins)
        edges = np.asarray(self.feature.edges)
        self.borders: Floats = edges[np.flatnonzero(np.diff(bins))] if len(edges) else edges
        self.categories: list[str] = []
        if self.feature.kind is not Kind.NUMERIC:
            own = own_bins(self.feature)
            rare = [f"(rare {k})" for k in range(1, len(self.counts) - own)]
            last = "(not listed)" if self.feature.other else "(unseen)"
            self.categories = [*self.feature.categories[:own], *rare, last]
        self.centre, self.scale = transform.centre_and_scale(self.feature)
        self.reference_histogram = self.histogram(self.counts)
        """Plain data, which does not change."""

    def sizes(self, present: Floats, mean: float | None = None) -> Sizes:
        """The sizes of the difference to ``present``, counts in the evidence bins.

        ``mean``: the present mean; it counts where it moved further than the bins can show.
        """
        reference, now = self.counts, present[: len(self.counts)]
        if not reference.sum() or not now.sum():
            return NO_SIZES
        psi, js = distances.psi(reference, now), distances.jensen_shannon(reference, now)
        if self.feature.kind is not Kind.NUMERIC:
            return Sizes(psi, None, None, js)
        std = self.feature.std or 0.0
        low, high = self.feature.edges[0], self.feature.edges[-1]
        moved = (
            distances.wasserstein(reference, now, self.borders, std, low=low, high=high) if len(self.borders) else 0.0
        )
        if mean is not None and self.feature.mean is not None:
            moved = max(moved, min(abs(mean - self.feature.mean) / max(std, distances.STD_FLOOR), 1e300))
        return Sizes(psi, moved, distances.kolmogorov_smirnov(reference, now), js)

    def moments(self, count: float, sums: Floats) -> tuple[float | None, float | None]:
        """Mean and standard deviation from a window's moment sums: differences of floats, good to six digits."""
        if self.feature.kind is not Kind.NUMERIC or count <= 0:
            return None, None
        first, second = float(sums[0]) / 2**BITS / count, float(sums[1]) / 4**BITS / count
        variance = second - first * first
        if variance < 1e-11 * (1 + second):  # what differences of long sums in float64 can leave
            variance = 0.0
        mean, std = self.centre + first * self.scale, variance**0.5 * self.scale
        return (mean, std) if np.isfinite(mean) and np.isfinite(std) else (None, None)

    def histogram(self, counts: Floats) -> dict[str, Any]:
        """Plain data for display: edges or categories, and counts."""
        shown = [int(v) for v in counts[: len(self.counts)].tolist()]
        if self.categories:
            return {"labels": self.categories, "counts": shown}
        if not self.feature.edges:
            return {"edges": [], "counts": []}
        borders = self.borders.tolist()
        return {"edges": [*_ends(self.feature.edges, borders)], "counts": shown}


def _ends(edges: Sequence[float], borders: list[float]) -> list[float]:
    """The borders between the bins with the reference's extremes outside, so that k bins have k + 1 edges."""
    low, high = edges[0], edges[-1]
    return [
        low if not borders or low < borders[0] else borders[0],
        *borders,
        high if not borders or high > borders[-1] else borders[-1],
    ]

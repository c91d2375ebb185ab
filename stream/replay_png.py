"""A replay as a PNG, where matplotlib is installed."""

from typing import Any

from detectors.errors import DriftlineError
from stream import replay_plot, svg
from stream.replay_report import Replayed

SHOWN_FEATURES = 9


def write(found: Replayed, path: str) -> None:
    """Raises DriftlineError where matplotlib is missing or the file cannot be written."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise DriftlineError(
            f"{path}: a PNG needs matplotlib (pip install matplotlib); a name that ends in .html needs nothing"
        ) from None
    figure = Figure(figsize=(11, 10), layout="constrained")
    panels: Any = figure.subfigures(2, 1, height_ratios=(1, 2))
    top, below = panels
    _evidence(top.subplots(), found)
    features = sorted(found.detail.get("features", []), key=lambda f: -(f.get("evidence_log10") or 0.0))
    axes = below.subplots(3, 3).flatten()
    for axis, feature in zip(axes, features[:SHOWN_FEATURES], strict=False):
        _feature(axis, feature)
    for axis in axes[len(features) :]:
        axis.set_visible(False)
    try:
        figure.savefig(path, dpi=120, metadata={"Software": None})
    except OSError as error:
        raise DriftlineError(f"{path}: cannot be written: {error.strerror or error}") from None


def _evidence(axis: Any, found: Replayed) -> None:
    axis.plot([p.event for p in found.points], [p.evidence_log10 for p in found.points], color="#1c2330", lw=1)
    if found.threshold_log10 is not None:
        axis.axhline(found.threshold_log10, color="#d9480f", ls="--", lw=1)
        axis.set_ylim(top=min(axis.get_ylim()[1], svg.CEILING * max(found.threshold_log10, 1.0)))
    for incident in found.incidents:
        end = incident.get("resolved_at_event") or found.events
        axis.axvspan(incident["opened_at_event"], end, color="#e03131", alpha=0.2, lw=0)
    axis.set_title(f"{found.model}/{found.version}: {found.state}")
    axis.set_xlabel("event")
    axis.set_ylabel("log10 evidence")


def _feature(axis: Any, feature: dict[str, Any]) -> None:
    reference, _ = replay_plot.bins(feature.get("reference_histogram"))
    present, _ = replay_plot.bins(feature.get("histogram"))
    for counts, color, width in ((reference, "#9db4d3", 0.96), (present, "#d9480f", 0.48)):
        total = sum(counts) or 1.0
        axis.bar(range(len(counts)), [count / total for count in counts], width=width, color=color)
    axis.set_title(str(feature.get("feature")), fontsize=9)
    axis.tick_params(labelsize=7)

"""The picture of a replay as a PNG file; needs matplotlib."""

from typing import Any

from detectors.errors import DriftlineError
from stream.charts import svg
from stream.replay import calibration_report, html
from stream.replay.calibration_report import Calibrated
from stream.replay.report import Replayed

SHOWN_FEATURES, SHOWN_DELAYS = 9, 40


def write(found: Replayed, path: str) -> None:
    """Writes the picture to ``path``. Raises DriftlineError where matplotlib is missing or the file cannot be
    written."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise DriftlineError(
            f"{path}: a PNG file needs matplotlib (pip install matplotlib); a plot named .html needs no library"
        ) from None
    calibration = found.calibration
    heights = [3.4, 6.6] if calibration is None else [3.4, 6.6, 1.6 + 0.22 * _lines(calibration)]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    panels: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
    top, below = panels[:2]
    _evidence(top.subplots(), found)
    if calibration is not None:
        _calibration(panels[2].subplots(), calibration)
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
        lowest = min([0.0, *(p.evidence_log10 for p in found.points)])
        axis.set_ylim(lowest, min(axis.get_ylim()[1], svg.CEILING * max(found.threshold_log10, 1.0)))
    if found.calibration is not None:
        axis.axvspan(found.calibration.first_event, found.calibration.last_event, color="#2b8a3e", alpha=0.1, lw=0)
    for incident in found.incidents:
        end = incident.get("resolved_at_event") or found.events
        axis.axvspan(incident["opened_at_event"], end, color="#e03131", alpha=0.2, lw=0)
    axis.set_title(f"{found.model}/{found.version}: {found.state}")
    axis.set_xlabel("event number")
    axis.set_ylabel("evidence (log10)")


def _feature(axis: Any, feature: dict[str, Any]) -> None:
    reference, _ = html.bins(feature.get("reference_histogram"))
    present, _ = html.bins(feature.get("histogram"))
    for counts, color, width in ((reference, "#9db4d3", 0.96), (present, "#d9480f", 0.48)):
        total = sum(counts) or 1.0
        axis.bar(range(len(counts)), [count / total for count in counts], width=width, color=color)
    axis.set_title(str(feature.get("feature")), fontsize=9)
    axis.tick_params(labelsize=7)


def _lines(calibration: Calibrated) -> int:
    return min(len(calibration_report.rows(calibration.figures)), SHOWN_DELAYS)


def _calibration(axis: Any, calibration: Calibrated) -> None:
    """Draws the delays of every feature, one colour for each change. A cross at the right edge is a change that most
    runs missed."""
    figures = calibration.figures
    found = calibration_report.rows(figures)[:SHOWN_DELAYS]
    changes = calibration_report.changes(figures)
    for k, change in enumerate(changes):
        color = f"C{k}"
        shown = [(y, delays[change].delay) for y, (_, delays) in enumerate(found)]
        known = [(y + 0.12 * (k - len(changes) / 2), delay) for y, delay in shown if delay is not None and delay.runs]
        axis.plot([], [], "o", color=color, label=change.value)
        for y, delay in known:
            ends = (delay.low or figures.horizon, delay.high or figures.horizon)
            axis.plot(ends, (y, y), color=color, lw=1)
            axis.plot(delay.median or figures.horizon, y, "x" if delay.median is None else "o", color=color, ms=4)
    axis.set_xscale("log")
    axis.set_yticks(range(len(found)), [name for name, _ in found], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(f"events until a change is found (x: missed within {figures.horizon:,} events)")
    axis.set_title(f"resampled: {calibration_report.rate_words(figures.resampled)}", fontsize=9)
    axis.legend(fontsize=8, ncols=len(changes), loc="lower center", bbox_to_anchor=(0.5, 1.08))

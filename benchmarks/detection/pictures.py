"""Two pictures of the results: delays at equal false alarms, and false alarms at defaults."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot

from benchmarks.detection.ours import TITLE

OURS, OTHERS, MISSED = "#0b7285", "#9aa5b1", "#e8590c"
SHOWN = (".25 sigma", ".5 sigma", "1 sigma", "variance x2", "shape")
MOSTLY = 0.5


def delay(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws a panel for every change and a bar for every contender; a cross when more than half was missed."""
    rows = [row for row in rows if row["setting"] == "equal"]
    titles = list(dict.fromkeys(row["detector"] for row in rows))[::-1]
    figure, panels = pyplot.subplots(1, len(SHOWN), figsize=(13, 0.32 * len(titles) + 1.4), sharey=True)
    for axes, change in zip(panels, SHOWN, strict=True):
        of = {row["detector"]: row for row in rows if row["change"] == change}
        for place, title in enumerate(titles):
            row = of.get(title)
            if row is None:
                continue
            if row["missed"] > MOSTLY or row["median"] is None:
                axes.text(12, place, f"missed {100 * row['missed']:.0f} %", color=MISSED, va="center", fontsize=8)
                continue
            axes.barh(place, row["median"], color=OURS if title == TITLE else OTHERS)
            axes.text(row["median"] * 1.1, place, f"{row['median']:,.0f}", va="center", fontsize=8)
        axes.set(xscale="log", xlim=(10, 30_000), title=change)
        _bare(axes)
    panels[0].set_yticks(range(len(titles)), titles)
    figure.supxlabel("median delay in events, at one measured false alarm in 100,000 events", fontsize=9)
    _save(figure, path)


def false_alarms(rows: list[dict[str, Any]], path: Path) -> None:
    """Draws false alarms per 100,000 events at defaults, by null stream. None is drawn at the left edge."""
    rows = [row for row in rows if row["setting"] == "default"][::-1]
    streams = ("normal", "student-t3", "ar1-.8", "daily-sine")
    figure, panels = pyplot.subplots(1, len(streams), figsize=(13, 0.32 * len(rows) + 1.4), sharey=True)
    for axes, stream in zip(panels, streams, strict=True):
        values = np.array([row[stream] for row in rows])
        colours = [OURS if row["detector"] == TITLE else OTHERS for row in rows]
        axes.barh(range(len(rows)), np.maximum(values, 0.1), color=colours)
        for place, value in enumerate(values):
            axes.text(max(value, 0.1) * 1.15, place, f"{value:,.3g}", va="center", fontsize=8)
        axes.set(xscale="log", xlim=(0.1, 30_000), title=stream)
        _bare(axes)
    panels[0].set_yticks(range(len(rows)), [row["detector"] for row in rows])
    figure.supxlabel("false alarms per 100,000 events, as the libraries come", fontsize=9)
    _save(figure, path)


def _bare(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.title.set_fontsize(10)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)

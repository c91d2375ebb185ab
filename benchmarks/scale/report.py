"""The rows of scale and their targets: a table, scale.json and a picture of the distance to the target."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple


class Row(NamedTuple):
    """One figure. ``first`` and ``goal``: the targets; ``more``: a larger figure is better."""

    name: str
    title: str
    value: float
    unit: str
    first: float
    goal: float
    more: bool = False
    note: str = ""

    def reaches(self, target: float) -> bool:
        return self.value >= target if self.more else self.value <= target

    @property
    def reached(self) -> str:
        return "goal" if self.reaches(self.goal) else "first" if self.reaches(self.first) else "no"


def show(rows: Sequence[Row]) -> None:
    width = max(len(row.title) for row in rows)
    print(f"\n{'':{width}}  {'measured':>12} {'first':>8} {'goal':>8}  reached")
    for row in rows:
        value = f"{_short(row.value)} {row.unit}"
        print(f"{row.title:{width}}  {value:>12} {row.first:8g} {row.goal:8g}  {row.reached:7}  {row.note}")


def write(rows: Sequence[Row], about: Mapping[str, Any], measured: Mapping[str, float], folder: Path) -> None:
    """Writes scale.json, scale.svg and scale.png. ``measured``: the measurements behind the figures."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        **about,
        "rows": [{**row._asdict(), "value": _rounded(row.value), "reached": row.reached} for row in rows],
        "measured": {name: _rounded(value) for name, value in measured.items()},
    }
    (folder / "scale.json").write_text(json.dumps(document, indent=2) + "\n")
    draw(rows, folder)
    print(f"written: {folder / 'scale.json'}, .svg, .png")


def draw(rows: Sequence[Row], folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "driftline"
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(rows) + 1.2))
    places = list(range(len(rows)))[::-1]
    far = [_distance(row, row.value) for row in rows]
    shown = [min(max(value, 0.05), 20.0) for value in far]
    colors = ["#0b7285" if value <= 1 else "#c92a2a" for value in far]
    axes.barh(places, shown, color=colors, height=0.6)
    axes.scatter([_distance(row, row.goal) for row in rows], places, marker="|", s=200, color="#495057", label="goal")
    axes.axvline(1, color="#212529", linewidth=1, label="first target")
    for place, row in zip(places, rows, strict=True):
        figures = f"{_short(row.value)} {row.unit}"
        axes.text(1.01, place, figures, va="center", fontsize=8, transform=axes.get_yaxis_transform())
    axes.set_yticks(places, [row.title for row in rows], fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(0.04, 25)
    axes.set_xlabel("measured, as a multiple of the first target, log scale; left is better", fontsize=8)
    axes.legend(fontsize=7, loc="upper right", frameon=False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(folder / "scale.svg", metadata={"Date": None})
    figure.savefig(folder / "scale.png", dpi=140)
    plt.close(figure)


def _distance(row: Row, value: float) -> float:
    return row.first / value if row.more else value / row.first


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _rounded(value: float) -> float | None:
    """A figure with four digits; None for infinity, which JSON does not have."""
    return float(f"{value:.4g}") if math.isfinite(value) else None

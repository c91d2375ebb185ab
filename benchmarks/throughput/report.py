"""The measurements as a table, as JSON and as a picture.

The picture shows processor time, because wall time means little on a machine that also does something else.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

COLORS = {"peer": "#9aa5b1", "limit": "#d7dde3", "ours": "#0b7285"}
RATIOS = (
    ("Faust agent, orjson, river", "times as fast as the Faust agent with river", True),
    ("aiokafka getmany, orjson, the same", "times as fast as the aiokafka loop with river", True),
    ("aiokafka getmany and msgspec typed decode", "times the time of only reading and decoding", False),
)


class Row(NamedTuple):
    """The best round of one program: microseconds of wall time and of processor time per event."""

    title: str
    kind: str
    micros: float
    cpu_micros: float


def ratios(rows: Sequence[Row]) -> list[tuple[str, float, float]]:
    """Ratios between driftline, on plain events, and the programs that it is compared with: by wall time, by CPU."""
    ours = next((row for row in rows if row.kind == "ours"), None)
    found = []
    for start, words, faster in RATIOS:
        other = next((row for row in rows if row.title.startswith(start)), None)
        if ours is not None and other is not None:
            wall, cpu = other.micros / ours.micros, other.cpu_micros / ours.cpu_micros
            found.append((words, wall, cpu) if faster else (words, 1 / wall, 1 / cpu))
    return found


def show(rows: Sequence[Row], left_out: Sequence[str]) -> None:
    width = max(len(row.title) for row in rows)
    print(f"\n{'':{width}}  us/event   events/s  us of CPU")
    for row in rows:
        print(f"{row.title:{width}}  {row.micros:8.1f} {1e6 / row.micros:10,.0f}  {row.cpu_micros:9.1f}")
    for words, ratio, cpu in ratios(rows):
        print(f"driftline: {cpu:.1f} {words} by CPU, {ratio:.1f} by the wall")
    if left_out:
        print("left out: " + ", ".join(left_out))


def write(rows: Sequence[Row], about: Mapping[str, Any], folder: Path) -> None:
    """Writes throughput.json, throughput.svg and throughput.png."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        **about,
        "programs": [
            {
                "title": row.title,
                "kind": row.kind,
                "us_per_event": round(row.micros, 2),
                "cpu_us_per_event": round(row.cpu_micros, 2),
            }
            for row in rows
        ],
        "ratios": {words: {"wall": round(wall, 2), "cpu": round(cpu, 2)} for words, wall, cpu in ratios(rows)},
    }
    (folder / "throughput.json").write_text(json.dumps(document, indent=2) + "\n")
    draw(rows, about, folder)
    print(f"written: {folder / 'throughput.json'}, .svg, .png")


def draw(rows: Sequence[Row], about: Mapping[str, Any], folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "driftline"
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(rows) + 1.2))
    places = range(len(rows))[::-1]
    rates = [1e6 / row.cpu_micros for row in rows]
    axes.barh(places, rates, color=[COLORS[row.kind] for row in rows])
    axes.set_yticks(list(places), [row.title for row in rows], fontsize=8)
    axes.set_xscale("log")
    for place, rate in zip(places, rates, strict=True):
        axes.text(rate * 1.05, place, f"{rate:,.0f}", va="center", fontsize=8)
    axes.set_xlim(min(rates) / 2, max(rates) * 2.5)
    axes.set_xlabel(
        f"events per second of processor, log scale\n{about['features']} features, 4 partitions, one Apache Kafka "
        f"{about['kafka']} on the same {about['cpus']} CPUs",
        fontsize=8,
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(folder / "throughput.svg", metadata={"Date": None})
    figure.savefig(folder / "throughput.png", dpi=140)
    plt.close(figure)

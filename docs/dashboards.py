"""Draws the pictures of the dashboards: ``python docs/dashboards.py`` (two minutes; needs an installed Prometheus).

Runs the demo, lets a Prometheus scrape it every second, runs the queries of deploy/grafana/dashboards, and draws the
first panels. Every number was returned by Prometheus; the drawing is made here and not by Grafana.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import board_picture  # noqa: E402
from board_picture import Line, Region, Shown, Table  # noqa: E402
from board_words import Json, named  # noqa: E402

from tests.deploy.prometheus import Prometheus, replaced, scraping  # noqa: E402
from tests.kafka.server import free_ports  # noqa: E402
from tests.service.processes import DRIFTLINE  # noqa: E402

IMAGES = ROOT / "docs" / "images"
BOARDS = ROOT / "deploy" / "grafana" / "dashboards"
SECONDS = 60
SHOWN_ROWS = 30
"""Height of the grid that fits a screen."""


class Asking:
    """Runs the queries of a panel for one range, as Grafana does: lines over it, numbers and tables at its end."""

    def __init__(self, prometheus: Prometheus, span: tuple[float, float], variables: dict[str, str]) -> None:
        self._prometheus = prometheus
        self.span = span
        self._variables = variables

    def lines(self, expression: str, legend: str = "") -> list[Line]:
        start, end = (f"{at:.3f}" for at in self.span)
        query = replaced(expression, self._variables)
        found = self._prometheus.ask("query_range", query=query, start=start, end=end, step="1")
        made = []
        for series in found["result"]:
            times, values = np.array(series["values"], float).T
            made.append(Line(named(legend, series["metric"]), times, values))
        return made

    def instant(self, expression: str) -> list[tuple[dict[str, str], float]]:
        query = replaced(expression, self._variables)
        found = self._prometheus.ask("query", query=query, time=f"{self.span[1]:.3f}")
        return [(series["metric"], float(series["value"][1])) for series in found["result"]]

    def panel(self, panel: Json) -> Shown:
        if panel["type"] == "stat":
            ((_, value),) = self.instant(panel["targets"][0]["expr"])
            return Shown(panel, value)
        if panel["type"] == "table":
            return Shown(panel, self._table(panel))
        return Shown(panel, [line for t in panel["targets"] for line in self.lines(t["expr"], t["legendFormat"])])

    def _table(self, panel: Json) -> Table:
        """The table merged by labels, then renamed and sorted by the panel's transformations."""
        rows: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
        for target in panel["targets"]:
            for labels, value in self.instant(target["expr"]):
                row = rows.setdefault(tuple(sorted(labels.items())), dict(labels))
                row[f"Value #{target['refId']}"] = value
        titles = list(dict.fromkeys(name for row in rows.values() for name in row))
        titles.sort(key=lambda name: name if name.startswith("Value #") else "")
        names = panel["transformations"][1]["options"]["renameByName"]
        columns = [names.get(title, title) for title in titles]
        (order,) = panel["options"]["sortBy"]
        by = titles[columns.index(order["displayName"])]
        ordered = sorted(rows.values(), key=lambda row: row.get(by, -math.inf), reverse=order["desc"])
        return Table(columns, [[row.get(title) for title in titles] for row in ordered])

    def regions(self, board: Json) -> list[Region]:
        """Every interval in which the query of an annotation has a value."""
        found = []
        for annotation in board["annotations"]["list"]:
            for line in self.lines(annotation["expr"]):
                breaks = np.flatnonzero(np.diff(line.times) > 1.5) + 1
                found += [
                    Region(annotation["iconColor"], float(part[0]), float(part[-1]))
                    for part in np.split(line.times, breaks)
                ]
        return found


@contextmanager
def scraped_demo() -> Iterator[Prometheus]:
    """A Prometheus that has scraped the whole demo."""
    (port,) = free_ports(1)
    demo = [str(DRIFTLINE), "demo", "--headless", "--seconds", str(SECONDS), "--port", str(port)]
    with tempfile.TemporaryDirectory() as folder, scraping(Path(folder), port) as prometheus:
        subprocess.run(demo, cwd=ROOT, check=True)
        yield prometheus


def last_minute(prometheus: Prometheus) -> tuple[float, float]:
    """The time range of the demo's traffic, up to its last event."""
    (last,) = prometheus.values("max(max_over_time(driftline_last_event_timestamp_seconds[5m]))")
    return math.floor(last) - SECONDS, math.floor(last)


def first_drifted(prometheus: Prometheus, span: tuple[float, float]) -> dict[str, str]:
    """Dashboard variables for the model that drifted first."""
    lines = prometheus.ask(
        "query_range",
        query='driftline_model_state{state="drift"} == 1',
        start=str(span[0]),
        end=str(span[1]),
        step="1",
    )["result"]
    labels = min(lines, key=lambda series: float(series["values"][0][0]))["metric"]
    return {"model": labels["model"], "version": labels["model_version"], "segment": ".*"}


def picture(prometheus: Prometheus, name: str) -> None:
    """Draws one dashboard into docs/images."""
    board = json.loads((BOARDS / f"driftline-{name}.json").read_text(encoding="utf-8"))
    span = last_minute(prometheus)
    variables = first_drifted(prometheus, span)
    asking = Asking(prometheus, span, variables)
    panels = [asking.panel(p) for p in board["panels"] if p["gridPos"]["y"] + p["gridPos"]["h"] <= SHOWN_ROWS]
    used = [v for v in board["templating"]["list"] if v["name"] in variables]
    chosen = {v["label"]: "All" if v["includeAll"] else variables[v["name"]] for v in used}
    start, end = (datetime.fromtimestamp(at, UTC) for at in span)
    when = f"{start:%Y-%m-%d %H:%M:%S} to {end:%H:%M:%S} UTC"
    sheet = board_picture.draw(board["title"], chosen, when, panels, span, asking.regions(board))
    sheet.save(IMAGES / f"dashboard-{name}.png")


def main() -> None:
    """Writes ``docs/images/dashboard-model.png`` and ``dashboard-fleet.png``."""
    with scraped_demo() as prometheus:
        for name in ("model", "fleet"):
            picture(prometheus, name)


if __name__ == "__main__":
    main()

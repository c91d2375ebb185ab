"""Texts and colours of a dashboard: values with units, value mappings, thresholds, names of lines."""

import math
import re
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]

PAPER, PANEL, FRAME, INK, QUIET, LINK = "#f4f5f5", "#ffffff", "#e2e4e7", "#24292e", "#6a7079", "#1f62c9"
COLOURS = {
    "green": "#37872d",
    "blue": "#3274d9",
    "orange": "#e8871e",
    "purple": "#8f3bb8",
    "red": "#d1324b",
    "text": INK,
    "transparent": PANEL,
}
LINES = (
    "#3274d9", "#e8871e", "#37872d", "#8f3bb8", "#c9a200", "#d1324b", "#1aa3a3", "#8a6d5a", "#e377b8", "#6a7079",
)  # fmt: skip
THOUSANDS = ((1e9, " Bil"), (1e6, " Mil"), (1e3, " K"))
BYTES = ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B"))
TIMES = ((86_400, " d"), (3_600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"))


def properties(panel: Json, name: str) -> Json:
    """The settings of a field: those of the panel, with the overrides for its name."""
    found = dict(panel["fieldConfig"]["defaults"])
    for override in panel["fieldConfig"]["overrides"]:
        if override["matcher"] == {"id": "byName", "options": name}:
            found |= {item["id"]: item["value"] for item in override["properties"]}
    return found


def mapped(value: float, settings: Json) -> Json:
    """The text and colour that a value is mapped to, if any."""
    for mapping in settings.get("mappings", ()):
        if mapping["type"] == "value" and f"{value:g}" in mapping["options"]:
            return dict(mapping["options"][f"{value:g}"])
    return {}


def said(value: float, settings: Json) -> str:
    """A value as its mapped text, or with its unit."""
    if math.isnan(value):
        return "NaN"
    known = mapped(value, settings).get("text")
    return str(known) if known else in_unit(value, settings["unit"], settings.get("decimals"))


def colour(value: float, settings: Json) -> str:
    """The colour of a value: by mapping, else by threshold."""
    name = mapped(value, settings).get("color")
    for step in settings.get("thresholds", {}).get("steps", ()) if name is None else ():
        if step["value"] is None or value >= step["value"]:
            name = step["color"]
    return COLOURS[name or "transparent"]


def in_unit(value: float, unit: str, decimals: int | None = None) -> str:
    """A value in one of Grafana's units, as far as the dashboards use them."""
    if unit == "percentunit":
        return number(100 * value, decimals) + "%"
    if unit == "locale":
        return f"{value:,.0f}"
    if unit == "cps":
        return number(value, decimals) + " c/s"
    scales = {"s": TIMES, "bytes": BYTES, "short": THOUSANDS}[unit]
    for size, suffix in scales:
        if abs(value) >= size:
            return number(value / size, decimals) + suffix
    return number(value, decimals) + (" s" if unit == "s" else "")


def number(value: float, decimals: int | None = None) -> str:
    """A number with three significant digits if no decimals are set; integers in full."""
    if decimals is None:
        whole = value == int(value)
        decimals = 0 if whole else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}".replace("-", "−")


def named(legend: str, labels: Mapping[str, str]) -> str:
    """A line's name."""
    return " ".join(re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend).split())

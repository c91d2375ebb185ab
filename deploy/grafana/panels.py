"""Builds queries and panels in Grafana's format. Each dashboard has a module of its own.

Every expression drops ``instance``: two workers may show the same model during a rebalance. A sum over states has no
data when nothing is scraped, because a zero that means "unknown" must not be drawn. Quantiles read classic histograms
and, where these were converted, native ones.
"""

import re
from typing import Any

Json = dict[str, Any]

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNIT = "model, model_version, segment"
"""Labels that identify a unit."""

ONE = 'model=~"$model", model_version=~"$version", segment=~"$segment"'
"""Selector for the values of the dashboard's variables. A unit without segment matches ``.*``."""

STATES = (
    (1, "stable", "green"),
    (2, "quiet", "light-blue"),
    (3, "learning", "blue"),
    (4, "warning", "orange"),
    (5, "blind", "purple"),
    (6, "drift", "red"),
)

PAINTED = {"type": "color-background", "mode": "basic"}
"""Option of a table's cell: its background has the colour of the value."""

DRIFTED = [{"type": "value", "options": {"0": {"text": "unchanged"}, "1": {"text": "drifted", "color": "red"}}}]
"""Texts for whether a feature has drifted. Unchanged features keep the colour of the panel."""

EVIDENCE = 'statistic="evidence_log10"'
LABEL = "{{model}} {{model_version}} {{segment}}"


def state_code(selector: str = "") -> str:
    """The query that gives 1 to 6 by state, for value mappings."""
    more = f", {selector}" if selector else ""
    return " + ".join(
        f'{code} * max by ({UNIT}) (driftline_model_state{{state="{name}"{more}}})' for code, name, _ in STATES
    )


def quantile(share: float, name: str, by: str = "", selector: str = "") -> str:
    """The query for a quantile of a classic histogram, or of the native one it was converted to."""
    labels = f"le, {by}" if by else "le"
    native = f"by ({by}) " if by else ""
    chosen = f"{{{selector}}}" if selector else ""
    return (
        f"histogram_quantile({share}, sum by ({labels}) (rate(driftline_{name}_bucket{chosen}[$__rate_interval]))"
        f" or sum {native}(rate(driftline_{name}{chosen}[$__rate_interval])))"
    )


def or_none(counted: str, label: str, shown_by: str) -> str:
    """``counted``, or 0 while it has no series yet and ``shown_by`` is scraped."""
    return f'{counted} or label_replace(0 * count({shown_by}) unless on () ({counted}), "{label}", "none", "", "")'


def highest(expression: str) -> str:
    """The whole lines of the ten series that are highest at the end; ``topk`` alone chooses again at every point."""
    return f"{expression} and topk(10, {at_the_end(expression)})"


def at_the_end(expression: str) -> str:
    return re.sub(r"(driftline_\w+(\{[^}]*\})?)", r"\1 @ end()", expression)


def latency(selector: str = "") -> list[Json]:
    """The queries for the latency of all incidents since the workers started: they are too rare for a rate."""
    chosen = f"{{{selector}}}" if selector else ""
    buckets = f"sum by (le) (driftline_detection_latency_seconds_bucket{chosen})"
    return targets((f"histogram_quantile(0.5, {buckets})", "median"), (f"histogram_quantile(0.99, {buckets})", "99 %"))


def target(expression: str, legend: str = "", ref: str = "A", *, instant: bool = False) -> Json:
    return {
        "datasource": DATASOURCE,
        "expr": expression,
        "legendFormat": legend or "__auto",
        "refId": ref,
        "instant": instant,
        "range": not instant,
        **({"format": "table"} if instant and not legend else {}),
    }


def targets(*pairs: tuple[str, str], instant: bool = False) -> list[Json]:
    return [
        target(expression, legend, chr(ord("A") + index), instant=instant)
        for index, (expression, legend) in enumerate(pairs)
    ]


def panel(
    kind: str,
    title: str,
    description: str,
    unit: str,
    queries: list[Json],
    width: int,
    height: int = 8,
    defaults: Json | None = None,
    **more: Any,
) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": width, "h": height},
        "targets": queries,
        "fieldConfig": {"defaults": {"unit": unit, "noValue": "no data", **(defaults or {})}, "overrides": []},
        **more,
    }


def steps(*pairs: tuple[float | None, str]) -> Json:
    return {
        "color": {"mode": "thresholds"},
        "thresholds": {"mode": "absolute", "steps": [{"value": value, "color": color} for value, color in pairs]},
    }


NEUTRAL = steps((None, "transparent"))
"""Colours of a tile without a state. The colour of the text would give a black tile on a light dashboard."""


def stat(
    title: str, description: str, expression: str, width: int, colours: Json, unit: str = "short", **more: Any
) -> Json:
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "colorMode": "background_solid",
        "graphMode": "none",
        "textMode": "value",
    }
    queries = [target(expression, title, instant=True)]
    return panel("stat", title, description, unit, queries, width, 4, colours, options=options, **more)


def lines(title: str, description: str, unit: str, queries: list[Json], width: int = 12, **more: Any) -> Json:
    defaults = {"min": 0, **more.pop("defaults", {})}
    custom = {"lineWidth": 1, "fillOpacity": 6, "showPoints": "never", "spanNulls": False, **defaults.get("custom", {})}
    defaults = {**defaults, "custom": custom}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, description, unit, queries, width, 8, defaults, options=options, **more)


OUTLINED = {"fillOpacity": 0}
"""Option of a chart with many lines: no filled areas, which would cover each other."""


def limits(*pairs: tuple[float, str]) -> Json:
    """Options of a panel with dashed lines at fixed values."""
    drawn = steps((None, "text"), *pairs)["thresholds"]
    return {"custom": {**OUTLINED, "thresholdsStyle": {"mode": "dashed"}}, "thresholds": drawn}


def against(name: str, made: Json) -> Json:
    """The panel with its line ``name`` drawn as a limit: dashed, red, without a filled area."""
    style = {
        "custom.lineStyle": {"fill": "dash", "dash": [10, 10]},
        "custom.fillOpacity": 0,
        "color": {"mode": "fixed", "fixedColor": "red"},
    }
    made["fieldConfig"]["overrides"].append(override(name, **style))
    return made


def state_mappings() -> list[Json]:
    options = {str(code): {"text": name, "color": colour, "index": code} for code, name, colour in STATES}
    return [{"type": "value", "options": options}]


def timeline(title: str, description: str, expression: str, legend: str, width: int, height: int = 8) -> Json:
    defaults = {"mappings": state_mappings(), "color": {"mode": "thresholds"}, "custom": {"fillOpacity": 80}}
    options = {"showValue": "never", "mergeValues": True, "legend": {"displayMode": "list", "placement": "bottom"}}
    queries = [target(expression, legend)]
    return panel("state-timeline", title, description, "short", queries, width, height, defaults, options=options)


def override(name: str, **properties: Any) -> Json:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def table(title: str, description: str, queries: list[Json], names: Json, overrides: list[Json], width: int) -> Json:
    hidden = {"Time": True, "__name__": True, "job": True, "instance": True}
    made = panel("table", title, description, "short", queries, width, 10, {"custom": {"align": "auto"}})
    made["fieldConfig"]["overrides"] = overrides
    made["transformations"] = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": hidden, "renameByName": names, "indexByName": {}}},
    ]
    made["options"] = {"showHeader": True, "cellHeight": "sm", "sortBy": [{"displayName": "Evidence", "desc": True}]}
    return made

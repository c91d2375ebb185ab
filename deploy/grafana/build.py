"""Writes the dashboards: ``python -m deploy.grafana.build``. The JSON is what Grafana reads; edit this file instead.

Every expression drops ``instance``, so that two workers which show a model during a rebalance are one. A sum over
states is no data when nothing is scraped: a zero that means "unknown" must not be drawn. Quantiles read classic
histograms and, where they have been converted, native ones.
"""

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]

HERE = Path(__file__).parent
SCHEMA_VERSION = 41
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
UNIT = "model, model_version, segment"
"""The labels of what is judged as one."""

ONE = 'model=~"$model", model_version=~"$version", segment=~"$segment"'
"""Selects what the variables name. A unit without segment matches ``.*``."""

STATES = (
    (1, "stable", "green"),
    (2, "learning", "blue"),
    (3, "warning", "orange"),
    (4, "blind", "purple"),
    (5, "drift", "red"),
)


def state_code(selector: str = "") -> str:
    """1 to 5 by state, for value mappings."""
    more = f", {selector}" if selector else ""
    return " + ".join(
        f'{code} * max by ({UNIT}) (driftline_model_state{{state="{name}"{more}}})' for code, name, _ in STATES
    )


def quantile(share: float, name: str, by: str = "", selector: str = "") -> str:
    """Of a classic histogram, or of the native one it was converted to."""
    labels = f"le, {by}" if by else "le"
    native = f"by ({by}) " if by else ""
    chosen = f"{{{selector}}}" if selector else ""
    return (
        f"histogram_quantile({share}, sum by ({labels}) (rate(driftline_{name}_bucket{chosen}[$__rate_interval]))"
        f" or sum {native}(rate(driftline_{name}{chosen}[$__rate_interval])))"
    )


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
    style = {"custom": {"lineWidth": 1, "fillOpacity": 6, "showPoints": "never", "spanNulls": False}, "min": 0}
    defaults = {**style, **more.pop("defaults", {})}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return panel("timeseries", title, description, unit, queries, width, 8, defaults, options=options, **more)


def state_mappings() -> list[Json]:
    options = {str(code): {"text": name, "color": colour, "index": code} for code, name, colour in STATES}
    return [{"type": "value", "options": options}]


def timeline(title: str, description: str, expression: str, legend: str, width: int, height: int = 8) -> Json:
    defaults = {"mappings": state_mappings(), "color": {"mode": "thresholds"}, "custom": {"fillOpacity": 80}}
    options = {"showValue": "never", "mergeValues": True, "legend": {"displayMode": "list", "placement": "bottom"}}
    queries = [target(expression, legend)]
    return panel("state-timeline", title, description, "short", queries, width, height, defaults, options=options)


def link(title: str, uid: str, variables: str) -> Json:
    return {"title": title, "url": f"/d/{uid}?{variables}&${{__url_time_range}}&var-datasource=${{datasource}}"}


TO_MODEL = link(
    "Open the model",
    "driftline-model",
    "var-model=${__data.fields.model}&var-version=${__data.fields.model_version}",
)
TO_FEATURE = link(
    "Open the feature",
    "driftline-feature",
    "var-model=${model}&var-version=${version}&var-feature=${__data.fields.feature}",
)


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


def query_variable(name: str, label: str, query: str, *, every: bool) -> Json:
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": False,
        "includeAll": every,
        **({"allValue": ".*", "current": {"text": "All", "value": "$__all"}} if every else {}),
    }


def variables(*more: Json) -> Json:
    source = {"type": "datasource", "name": "datasource", "label": "Data source", "query": "prometheus", "refresh": 1}
    return {"list": [source, *more]}


def annotation(name: str, expression: str, colour: str, text: str) -> Json:
    return {
        "name": name,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "datasource": DATASOURCE,
        "expr": expression,
        "step": "15s",
        "titleFormat": name,
        "textFormat": text,
        "tagKeys": "model,model_version,segment",
        "useValueForTime": False,
    }


def annotations(selector: str) -> Json:
    named = "{{model}} {{model_version}} {{segment}}"
    return {
        "list": [
            annotation(
                "Incident",
                f'max by ({UNIT}) (driftline_model_state{{state="drift", {selector}}}) == 1',
                "red",
                f"{named} drifts",
            ),
            annotation(
                "Blind",
                f'max by ({UNIT}) (driftline_model_state{{state="blind", {selector}}}) == 1',
                "purple",
                f"{named} cannot be seen",
            ),
        ]
    }


def dashboard(uid: str, title: str, description: str, rows: list[list[Json]], selector: str, own: Json) -> Json:
    """Panels of a row stand side by side, as high as the first."""
    placed, top = [], 0
    for row in rows:
        left = 0
        for item in row:
            placed.append({**item, "id": len(placed) + 1, "gridPos": {**item["gridPos"], "x": left, "y": top}})
            left += item["gridPos"]["w"]
        top += row[0]["gridPos"]["h"]
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["driftline"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "templating": own,
        "annotations": annotations(selector),
        "links": [
            {
                "type": "dashboards",
                "tags": ["driftline"],
                "title": "driftline",
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "panels": placed,
    }


def main() -> None:
    from deploy.grafana import boards

    for made in boards.every():
        text = json.dumps(made, indent=2, ensure_ascii=False) + "\n"
        (HERE / "dashboards" / f"{made['uid']}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

"""The dashboard around the panels: variables, annotations, links."""

from deploy.grafana.panels import DATASOURCE, UNIT, Json

SCHEMA_VERSION = 41


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


MODEL = query_variable("model", "Model", "label_values(driftline_model_info, model)", every=False)
VERSION = query_variable(
    "version", "Version", 'label_values(driftline_model_info{model="$model"}, model_version)', every=False
)
SEGMENT = query_variable(
    "segment",
    "Segment",
    'label_values(driftline_model_info{model="$model", model_version="$version"}, segment)',
    every=True,
)
FEATURE = query_variable(
    "feature",
    "Feature",
    'label_values(driftline_feature_drifted{model="$model", model_version="$version"}, feature)',
    every=False,
)


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
                f"{named} has drifted",
            ),
            annotation(
                "Blind",
                f'max by ({UNIT}) (driftline_model_state{{state="blind", {selector}}}) == 1',
                "purple",
                f"{named} cannot be observed",
            ),
            annotation(
                "Silenced",
                f"max by ({UNIT}) (driftline_silenced_until_timestamp_seconds{{{selector}}}) > time()",
                "text",
                f"{named}: alerts are silenced",
            ),
        ]
    }


def dashboard(uid: str, title: str, description: str, rows: list[list[Json]], selector: str, own: Json) -> Json:
    """The dashboard with ``rows`` of panels. Panels of a row have the height of the first."""
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

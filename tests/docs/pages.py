"""Writes the parts of the documentation that are generated from the code: ``python -m tests.docs.pages``.

docs/metrics.md from the metrics' families, docs/events-out.md, docs/asyncapi.json and docs/schemas/ from the records of the
events and labels, docs/scale.md from the figures of docs/scale.json, and the module map in docs/architecture.md.
"""

# ruff: noqa: E501 - the pages' own text

import ast
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from prometheus_client import Metric

from benchmarks.scale import fleet
from detectors.incidents.states import SHOWN
from detectors.profiles import Signal
from stream.formats.row import MAX_ID
from stream.labels.record import MAX_LABELS
from stream.metrics.models import STATISTICS, ModelFamilies
from stream.metrics.outcomes import OutcomeFamilies
from stream.metrics.registry import Metrics
from stream.metrics.worker import ServiceFamilies
from stream.service import versions
from stream.settings.settings import TopicSettings
from stream.topics import schemas as event_schemas
from stream.topics.drift_events import EventType
from stream.topics.record import Partition
from stream.topics.views import Views
from tests.architecture import folders

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

WHEN = {
    EventType.SIGNAL: "River's ADWIN or Page-Hinkley found a change of one feature in one partition. A second opinion, which raises no alert.",
    EventType.INCIDENT_OPENED: "The evidence passed the threshold, or a library differs from training.",
    EventType.INCIDENT_UPDATED: "More features joined, or the verdict or another member changed.",
    EventType.INCIDENT_REOPENED: "A resolved incident opened again: the same features changed within `detection.reopen_seconds`. The id stays.",
    EventType.INCIDENT_RESOLVED: "The features match the reference again, or the reference was replaced.",
    EventType.MODEL_STATE: "A model became learning, stable, quiet, warning, drift or blind, or a person had it forgotten.",
    EventType.RETRAIN_REQUESTED: "The verdict is that the world changed, and neither the cooldown nor the weekly cap withholds the request.",
}


def metric_families() -> list[Metric]:
    """All metric families of a worker with both roles."""
    metrics = Metrics()
    views = Views()
    models = ModelFamilies(views, list, lambda _: 1.0, metrics.suppressed, 100, lambda: 0)
    observing = SimpleNamespace(lags={Partition("t", 0): 0}, checkpoint_at_ms=0, checkpoint_bytes=0, units=0)
    judging = SimpleNamespace(topic="t", partitions={0}, row_bytes=0)
    metrics.live = [ServiceFamilies("", "", "", observing, judging)]
    metrics.of_models = [models, OutcomeFamilies(views, list)]
    return list(metrics.collect())


def labels_of(family: Metric) -> tuple[str, ...]:
    return tuple(family._labelnames)  # type: ignore[attr-defined]


def metrics_page() -> str:
    """docs/metrics.md."""
    head = f"""# Metrics

Every worker serves `GET /metrics`. A worker shows the models that it judges and the partitions that it reads, so sums over workers count
nothing twice. During a rebalance two workers may show the same model for a short time: use `max by (model, ...)`. Counters start at zero with the
process. An unknown value is absent, never zero.

* `model_version` is the version; `segment` is empty for the whole population.
* `state` is one of {", ".join(f"`{state}`" for state in SHOWN)}; exactly one of them is 1.
* `statistic` is one of {", ".join(f"`{name}`" for name in STATISTICS)}. Only `evidence_log10` raises alarms. The others show how
  large a difference is. [What an alarm means](detection.md) explains them.
* At most `limits.feature_series_per_model` features of a model version have series: first those that have drifted, then those with the most
  evidence. `driftline_series_suppressed_total` counts the others.

Alerts on these metrics are in `deploy/prometheus/rules.yml`. [Operating](operations.md) lists what to do about each.
This page is written from the code by `python -m tests.docs.pages`.
"""
    parts = [head]
    for title, kind in (("Gauges", "gauge"), ("Counters", "counter"), ("Histograms", "histogram")):
        parts.append(f"\n## {title}\n\n| name | labels | meaning |\n|---|---|---|")
        for family in sorted(metric_families(), key=lambda family: family.name):
            if family.type == kind:
                name = family.name + ("_total" if kind == "counter" else "")
                labels = " ".join(f"`{label}`" for label in labels_of(family))
                parts.append(f"| `{name}` | {labels} | {family.documentation} |")
    return "\n".join(parts) + "\n"


def schema_file(kind: str) -> str:
    """`incident.opened.v1.json`"""
    return kind.removeprefix("io.driftline.") + ".json"


def all_schemas() -> dict[str, dict[str, Any]]:
    """JSON Schemas by event type. A signal is the record of the detectors with the unit added."""
    found = dict(event_schemas.schemas())
    signal = msgspec.defstruct(
        "SignalData",
        [
            *((field.name, field.type) for field in msgspec.structs.fields(Signal)),
            ("model", str),
            ("version", str),
            ("segment", str | None),
            ("shard", str),
        ],
        frozen=True,
    )
    if EventType.SIGNAL.value not in found:
        template = found[EventType.MODEL_STATE.value]
        shape = msgspec.json.schema(signal, ref_template="#/$defs/{name}")
        properties = {
            **template["properties"],
            "type": {"const": EventType.SIGNAL.value},
            "data": {"$ref": shape["$ref"]},
        }
        found[EventType.SIGNAL.value] = {
            **template,
            "title": EventType.SIGNAL.value,
            "properties": properties,
            "$defs": shape["$defs"],
        }
    return found


def events_page() -> str:
    """docs/events-out.md."""
    topics = TopicSettings()
    parts = [
        f"""# Events out

driftline publishes [CloudEvents 1.0](https://cloudevents.io) on two topics, in structured JSON, keyed by the model's name:
`{topics.drift_events}` for people and dashboards, `{topics.retrain_requests}` for pipelines.

* Delivery is at least once. `id` is a UUIDv5 that is the same after a restart or a replay: a consumer that drops repeated ids sees each event once.
* `time` is event time.
* Members may be added, and are never renamed within a version. Read the members you know and ignore the others.
* A retrain request has at most ten members under `data` and stays below 64 KB, the limits of GitHub's `repository_dispatch`.

The schemas below are JSON Schema 2020-12; [asyncapi.json](asyncapi.json) describes the topics for tools that read AsyncAPI 3.0.
`examples/drift_events.py` is a plain consumer. `examples/retrain_requests.py` hands requests to Airflow, GitHub, Kubeflow or MLflow.
This page is written from the code by `python -m tests.docs.pages`.

| type | topic | when | schema |
|---|---|---|---|"""
    ]
    schemas = all_schemas()
    for kind in EventType:
        topic = topics.retrain_requests if kind is EventType.RETRAIN_REQUESTED else topics.drift_events
        file = schema_file(kind.value)
        parts.append(f"| `{kind.value}` | `{topic}` | {WHEN[kind]} | [{file}](schemas/{file}) |")
    for kind in (EventType.INCIDENT_OPENED, EventType.MODEL_STATE, EventType.SIGNAL, EventType.RETRAIN_REQUESTED):
        title = "an incident (opened, updated, resolved)" if kind is EventType.INCIDENT_OPENED else kind.value
        parts.append(f"\n## `data` of {title}\n\n| member | type | presence |\n|---|---|---|")
        schema = schemas[kind.value]
        data = schema["$defs"][schema["properties"]["data"]["$ref"].rsplit("/", 1)[1]]
        required = set(data.get("required", ()))
        for name, member in data["properties"].items():
            parts.append(
                f"| `{name}` | {_type(member, schema['$defs'])} | {'' if name in required else 'may be absent'} |"
            )
    return "\n".join(parts) + "\n"


def _type(member: dict[str, Any], defs: dict[str, Any]) -> str:
    if "anyOf" in member:
        return " or ".join(_type(one, defs) for one in member["anyOf"])
    if "$ref" in member:
        return _type(defs[member["$ref"].rsplit("/", 1)[1]], defs)
    if "enum" in member:
        return ", ".join(f"`{value}`" for value in member["enum"])
    if member.get("type") == "array" and "items" in member and member["items"]:
        return f"array of {_type(member['items'], defs)}"
    if member.get("type") == "object" and member.get("properties"):
        return "{" + ", ".join(member["properties"]) + "}"
    return str(member.get("type", "any"))


def asyncapi() -> dict[str, Any]:
    """AsyncAPI 3.0 of the topics for labels, drift events and retrain requests."""
    topics = TopicSettings()
    out = {topics.drift_events: "driftEvents", topics.retrain_requests: "retrainRequests"}
    messages = {
        kind.value: {
            "name": kind.value,
            "contentType": "application/cloudevents+json",
            "summary": WHEN[kind],
            "payload": {
                "schemaFormat": "application/schema+json;version=2020-12",
                "schema": {"$ref": f"schemas/{schema_file(kind.value)}"},
            },
        }
        for kind in EventType
    }
    of_topic = {
        topic: [
            kind.value for kind in EventType if (kind is EventType.RETRAIN_REQUESTED) == (name == "retrainRequests")
        ]
        for topic, name in out.items()
    }
    messages["label"] = {
        "name": "label",
        "contentType": "application/json",
        "summary": "The true outcome of one inference. One message may hold an array of labels.",
        "payload": {
            "schemaFormat": "application/schema+json;version=2020-12",
            "schema": {"$ref": "schemas/label.json"},
        },
    }
    labels = {
        "address": topics.labels[0],
        "messages": {"label": {"$ref": "#/components/messages/label"}},
        "bindings": {"kafka": {"topic": topics.labels[0]}},
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "driftline", "version": versions.installed()["driftline"]},
        "channels": {
            out[topic]: {
                "address": topic,
                "messages": {_short(kind): {"$ref": f"#/components/messages/{kind}"} for kind in kinds},
                "bindings": {"kafka": {"topic": topic}},
            }
            for topic, kinds in of_topic.items()
        }
        | {"labels": labels},
        "operations": {
            f"send{name[0].upper()}{name[1:]}": {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
            for name in out.values()
        }
        | {"receiveLabels": {"action": "receive", "channel": {"$ref": "#/channels/labels"}}},
        "components": {"messages": messages},
    }


def label_schema() -> dict[str, Any]:
    """One label, as ``stream.labels.record`` reads it, or an array of them."""
    one = {
        "type": "object",
        "required": ["id", "model", "label"],
        "properties": {
            "id": {"oneOf": [{"type": "string", "minLength": 1, "maxLength": MAX_ID}, {"type": "integer"}]},
            "model": {"type": "string", "minLength": 1},
            "label": {"oneOf": [{"type": "string", "minLength": 1}, {"type": "number"}, {"type": "boolean"}]},
            "ts": {
                "type": ["integer", "number", "string", "null"],
                "description": "milliseconds or RFC 3339; else the broker's time",
            },
        },
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "label",
        "oneOf": [
            {"$ref": "#/$defs/label"},
            {"type": "array", "minItems": 1, "maxItems": MAX_LABELS, "items": {"$ref": "#/$defs/label"}},
        ],
        "$defs": {"label": one},
    }


def _short(kind: str) -> str:
    return kind.removeprefix("io.driftline.").replace(".", "-")


MAP_BEGIN, MAP_END = "<!-- module map: begin -->\n", "<!-- module map: end -->"


def architecture_page() -> str:
    """docs/architecture.md: its own text, with the module map between two marks."""
    before, _, rest = (DOCS / "architecture.md").read_text(encoding="utf-8").partition(MAP_BEGIN)
    _, _, after = rest.partition(MAP_END)
    return f"{before}{MAP_BEGIN}\n{module_map()}\n{MAP_END}{after}"


def module_map() -> str:
    """Each folder with what it holds and may import, then its modules with the first sentence of the docstring."""
    parts = [
        "### driftline/\n\n"
        + _sentence(ROOT / "driftline" / "__init__.py").split(":")[0]
        + ". It has no module of its own and is loaded by nothing else.\n"
    ]
    for name, folder in folders.FOLDERS.items():
        files = [path for path in sorted((ROOT / name).glob("*.py")) if path.name != "__init__.py"]
        pure = " Pure." if folder.pure else ""
        parts.append(
            f"### {name}/\n\n{folder.holds}{pure} May import: {_allowed(folder.imports)}.\n\n"
            "| module | contents |\n|---|---|"
        )
        parts.extend(f"| `{path.relative_to(ROOT)}` | {_sentence(path)} |" for path in files)
        parts.append("")
    parts.append("### Libraries and where they are imported\n\n| library | imported only in |\n|---|---|")
    parts.extend(
        f"| {library} | {', '.join(f'`{home}*`' if home.endswith('.') else f'`{home}`' for home in homes)} |"
        for library, homes in folders.HOMES.items()
    )
    return "\n".join(parts) + "\n"


def _allowed(imports: tuple[str, ...]) -> str:
    """The folders of one entry of the map; a package with all that is in it is named once."""
    whole = [name for name in imports if f"{name}/*" in imports]
    rest = [name for name in imports if name not in whole and name.removesuffix("/*") not in whole]
    return ", ".join([f"all of `{name}/`" for name in whole] + [f"`{name}/`" for name in rest]) or "nothing"


def _sentence(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).split(". ")[0].rstrip(".").replace("|", "\\|").replace("``", "`")


def contributing_page() -> str:
    """docs/contributing.md: the same text as CONTRIBUTING.md, which code hosts look for at the top."""
    return (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def files() -> dict[Path, str]:
    """Path and content of every generated file."""
    found = {
        DOCS / "metrics.md": metrics_page(),
        DOCS / "events-out.md": events_page(),
        DOCS / "asyncapi.json": _json(asyncapi()),
        DOCS / "architecture.md": architecture_page(),
        DOCS / "contributing.md": contributing_page(),
        DOCS / "scale.md": fleet.text(DOCS),
    }
    found[DOCS / "schemas" / "label.json"] = _json(label_schema())
    for kind, schema in all_schemas().items():
        found[DOCS / "schemas" / schema_file(kind)] = _json(schema)
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")

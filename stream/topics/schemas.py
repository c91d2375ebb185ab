"""The records inside driftline's events, for those who read them, and their JSON Schemas. Nothing is decided here.

The judge fills plain dicts; a test holds them against these records. Members may be added, never renamed.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from detectors.incidents.incident import Incident
from detectors.incidents.states import State
from stream.topics.drift_events import RETRAIN_FEATURES, CloudEvent, EventType

Severity = Literal["warning", "critical"]


class ModelState(msgspec.Struct, frozen=True):
    """``data`` of a model's change of state."""

    model: str
    version: str
    segment: str | None
    state: State
    previous: State | None = None
    reason: str = ""
    events: int = 0
    season_covered: bool = False  # the reference tells hours of the day apart
    moved_while_learned: list[str] = []  # features whose reference is no level that they stayed at


class Window(msgspec.Struct, frozen=True):
    """The events a retrain request rests on."""

    start: str
    end: str
    events: int
    offsets: dict[str, list[int]]  # topic/partition -> first and next offset


class RetrainFeature(msgspec.Struct, frozen=True):
    feature: str
    statistic: str
    score: float
    threshold: float


class ReferenceName(msgspec.Struct, frozen=True):
    digest: str | None
    uri: str | None = None
    data_revision: str | None = None


class Because(msgspec.Struct, frozen=True):
    """The incident event that led to the request."""

    event_id: str
    url: str | None = None


class RetrainRequest(msgspec.Struct, frozen=True):
    """``data`` of a retrain request: ten members at most, so that it fits a GitHub repository_dispatch."""

    request_id: str
    model: str
    model_version: str
    reason: str
    severity: Severity
    requested_at: str
    window: Window
    features: Annotated[list[RetrainFeature], Meta(max_length=RETRAIN_FEATURES)]
    reference: ReferenceName
    evidence: Because


DATA: dict[EventType, type[msgspec.Struct]] = {
    EventType.INCIDENT_OPENED: Incident,
    EventType.INCIDENT_UPDATED: Incident,
    EventType.INCIDENT_REOPENED: Incident,
    EventType.INCIDENT_RESOLVED: Incident,
    EventType.MODEL_STATE: ModelState,
    EventType.RETRAIN_REQUESTED: RetrainRequest,
}


def schemas() -> dict[str, dict[str, Any]]:
    """JSON Schema (2020-12) of the whole event, by its type."""
    found = {}
    for kind, data in DATA.items():
        (_, body), components = msgspec.json.schema_components((CloudEvent, data), ref_template="#/$defs/{name}")
        shape = dict(components.pop("CloudEvent"))
        components.pop("EventType", None)
        shape["properties"] = {**shape["properties"], "type": {"const": kind.value}, "data": body}
        found[kind.value] = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": kind.value,
            **{name: value for name, value in shape.items() if name != "title"},
            "$defs": components,
        }
    return found

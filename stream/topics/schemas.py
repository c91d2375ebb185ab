"""The ``data`` of drift events as records, for consumers, and their JSON Schemas.

The judge fills plain dicts; a test compares them with these records. Members may be added, never renamed.
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
    season_covered: bool = False  # the reference distinguishes the hours of the day
    moved_while_learned: list[str] = []  # features that were unstable while the reference was learned


class Window(msgspec.Struct, frozen=True):
    """The events behind a retrain request."""

    start: str
    end: str
    events: int
    offsets: dict[str, list[int]]  # by topic/partition: the first offset, and the one after the last


class RetrainFeature(msgspec.Struct, frozen=True):
    """A feature that drifted."""

    feature: str
    statistic: str
    score: float
    threshold: float


class ReferenceName(msgspec.Struct, frozen=True):
    """The reference that the model was compared with."""

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
    """The JSON Schema (2020-12) of each type of event."""
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

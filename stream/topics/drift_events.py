"""Drift events: CloudEvents 1.0 in structured JSON, on the topics drift-events and retrain-requests.

An event's ``id`` is a UUIDv5 of what happened and never random: a consumer that drops repeated ids processes each event
once, however often it was delivered. The key is the model's name, so the events of one model stay in order.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid5

import msgspec

from detectors.features import UnitKey
from stream.topics.record import OutRecord

NAMESPACE = UUID("5f0e8f5c-5d0b-5a44-9a2e-6f3d3a1c7b10")
"""Namespace of all ids. A change of it would give new ids to all events that are sent again."""

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"

RETRAIN_FEATURES = 20
"""Only the worst features: a retrain request has under 64 KB and ten top-level members, which is GitHub's limit."""

RETRAIN_BYTES = 65_536


class EventType(StrEnum):
    """The ``type`` of a CloudEvent. A type whose meaning changes gets a new version."""

    SIGNAL = "io.driftline.signal.v1"
    INCIDENT_OPENED = "io.driftline.incident.opened.v1"
    INCIDENT_UPDATED = "io.driftline.incident.updated.v1"
    INCIDENT_REOPENED = "io.driftline.incident.reopened.v1"
    INCIDENT_RESOLVED = "io.driftline.incident.resolved.v1"
    MODEL_STATE = "io.driftline.model.state.v1"
    RETRAIN_REQUESTED = "io.driftline.retrain.requested.v1"


class CloudEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A CloudEvent. ``subject``: the segment, absent for the whole population."""

    specversion: str
    id: str
    source: str
    type: EventType
    time: str
    datacontenttype: str
    data: dict[str, Any]
    subject: str | None = None


_encoder = msgspec.json.Encoder(order="deterministic")


def event_id(kind: EventType, unit: UnitKey, *what: object) -> str:
    """The id of an event of ``unit``. ``what`` (incident, count, offset) makes it unique among those of its kind.

    >>> event_id(EventType.MODEL_STATE, UnitKey("fraud", "3", None), 7) == event_id(
    ...     EventType.MODEL_STATE, UnitKey("fraud", "3", None), 7)
    True
    >>> event_id(EventType.MODEL_STATE, UnitKey("a", "b/c", None), 1) == event_id(
    ...     EventType.MODEL_STATE, UnitKey("a/b", "c", None), 1)
    False
    """
    parts = [kind.value, unit.model, unit.version, unit.segment, *map(str, what)]
    return str(uuid5(NAMESPACE, msgspec.json.encode(parts).decode()))


def envelope(kind: EventType, unit: UnitKey, at_ms: int, data: Mapping[str, Any], *what: object) -> CloudEvent:
    """The CloudEvent of what happened at ``at_ms`` in event time, so that a second run writes the same bytes."""
    return CloudEvent(
        specversion="1.0",
        id=event_id(kind, unit, *what),
        source=f"/driftline/models/{quote(unit.model, safe='')}/{quote(unit.version, safe='')}",
        type=kind,
        time=rfc3339(at_ms),
        datacontenttype="application/json",
        data=dict(data),
        subject=unit.segment or None,
    )


def record(topic: str, unit: UnitKey, event: CloudEvent) -> OutRecord:
    """The event as a record. Equal events have the same bytes."""
    headers = (("content-type", CONTENT_TYPE.encode()),)
    return OutRecord(topic, unit.model.encode(), _encoder.encode(event), headers)


def rfc3339(at_ms: int) -> str:
    """Milliseconds UTC as text. A time before year 1 or after 9999 becomes the nearest one within these years.

    >>> rfc3339(1763700000123)
    '2025-11-21T04:40:00.123Z'
    """
    within = min(max(at_ms, -62_135_596_800_000), 253_402_300_799_999)
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=within)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")

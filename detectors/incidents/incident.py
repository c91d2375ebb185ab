"""Incidents: what is published to people, and the incident's lifecycle as a table.

::

              opened ──► open ──acknowledge──► acknowledged
                          │ ▲ update             │ ▲ update
                          └─┴───── resolve ──────┴─┘
                                      ▼
                                  resolved ──reopen──► open
"""

from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import UNSET, UnsetType

from detectors.features import UnitKey

NAMESPACE = UUID("0c7a4c52-6a0a-5e0f-9f0c-6b1f5cbf7a11")
"""The namespace of all incident ids. If it changed, every replayed incident would have another id."""


class IncidentKind(StrEnum):
    """What an incident is about."""

    FEATURE = "feature"
    PERFORMANCE = "performance"  # accuracy or errors, from labels
    ENVIRONMENT = "environment"


class Status(StrEnum):
    """The state of an incident in its lifecycle."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Action(StrEnum):
    """A lifecycle step of an incident."""

    UPDATE = "update"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    NOTE = "note"
    REOPEN = "reopen"


class Change(StrEnum):
    """What a person can request for an incident."""

    ACK = "ack"
    SILENCE = "silence"
    RESOLVE = "resolve"
    ACCEPT = "accept"
    NOTE = "note"


SOON, LATEST = 512, 1_024
"""Events after an incident's opening within which a change still belongs to it: at least SOON, at most LATEST."""

NOTES_KEPT = 200
"""Notes of one incident; beyond them only its end is recorded."""


class Note(msgspec.Struct, frozen=True):
    """What a person did, when and why. ``id`` is the request's own id, so that no request is applied twice."""

    id: str
    action: Change
    by: str
    at_ms: int
    text: str = ""


class Resolution(StrEnum):
    """Why an incident ended."""

    BACK = "back-to-reference"
    REFERENCE_CHANGED = "reference-changed"
    ACCEPTED = "accepted"
    BY_HAND = "by-hand"


LIFECYCLE: dict[tuple[Status, Action], Status] = {
    (Status.OPEN, Action.UPDATE): Status.OPEN,
    (Status.OPEN, Action.ACKNOWLEDGE): Status.ACKNOWLEDGED,
    (Status.OPEN, Action.RESOLVE): Status.RESOLVED,
    (Status.ACKNOWLEDGED, Action.UPDATE): Status.ACKNOWLEDGED,
    (Status.ACKNOWLEDGED, Action.ACKNOWLEDGE): Status.ACKNOWLEDGED,
    (Status.ACKNOWLEDGED, Action.RESOLVE): Status.RESOLVED,
    (Status.OPEN, Action.NOTE): Status.OPEN,
    (Status.ACKNOWLEDGED, Action.NOTE): Status.ACKNOWLEDGED,
    (Status.RESOLVED, Action.NOTE): Status.RESOLVED,
    (Status.RESOLVED, Action.REOPEN): Status.OPEN,
}
"""All steps. A step that is not in the table cannot happen."""


class Incident(msgspec.Struct, frozen=True):
    """One incident as it is published. Times are event time; ``began_*`` estimate where the change began."""

    id: str
    model: str
    version: str
    segment: str | None
    kind: IncidentKind
    status: Status
    severity: str
    verdict: str
    reason: str
    summary: str
    episode: int
    opened_at_event: int
    opened_at_ms: int
    verdict_events: int = 0  # events since it was found that the verdict is based on; 0: only those of the alarm
    features: list[dict[str, Any]] = []
    began_at_event: int | None = None
    began_at_ms: int | None = None
    began_interval: tuple[int, int] | None = None
    updates: int = 0
    resolved_at_event: int | None = None
    resolved_at_ms: int | None = None
    resolution: Resolution | None = None
    resolved_by: str | None = None
    acknowledged_by: str | None = None
    acknowledged_at_ms: int | None = None
    environment_differences: list[dict[str, Any]] = []
    reference: str | None = None
    silenced_until_ms: int | None = None  # wall time; no notification until then
    silenced_by: str | None = None
    notes: list[Note] = []
    reopened: int | UnsetType = UNSET  # how often it opened again; not there before it did
    reopened_at_ms: int | UnsetType = UNSET  # when it last did

    def as_json(self) -> dict[str, Any]:
        """The incident as plain data."""
        plain = msgspec.to_builtins(self)
        assert isinstance(plain, dict)
        return plain


def incident_id(unit: UnitKey, episode: int) -> str:
    """The id of a unit's episode: the same on every worker and however often it is computed.

    >>> incident_id(UnitKey("fraud", "3", None), 1) == incident_id(UnitKey("fraud", "3", None), 1)
    True
    """
    return str(uuid5(NAMESPACE, msgspec.json.encode([unit.model, unit.version, unit.segment, episode]).decode()))


def apply(incident: Incident, action: Action, **changes: Any) -> Incident | None:
    """The incident after ``action``, or None if the table has no such step."""
    status = LIFECYCLE.get((incident.status, action))
    if status is None:
        return None
    if action is not Action.RESOLVE:
        changes["updates"] = incident.updates + 1
    return msgspec.structs.replace(incident, status=status, **changes)


def same_change(began_at_event: int, known_began_at_event: int, known_opened_at_event: int) -> bool:
    """Whether a change belongs to an open incident.

    It does when it began before the incident was found, or soon after: the estimate for a slow feature may be late.
    "Soon" is as long as the finding took, between SOON and LATEST events.

    >>> same_change(1_400, 900, 1_000), same_change(1_600, 900, 1_000)
    (True, False)
    """
    took = known_opened_at_event - known_began_at_event
    return began_at_event <= known_opened_at_event + min(max(took, SOON), LATEST)

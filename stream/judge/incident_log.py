"""The incidents of one unit: how they are opened, changed and resolved, and what is published of each step."""

from collections.abc import Collection
from typing import Any

import msgspec

from detectors.features import UnitKey
from detectors.incidents import incident as incidents
from detectors.incidents.incident import (
    NOTES_KEPT,
    Action,
    Change,
    Incident,
    IncidentKind,
    Note,
    Resolution,
    Status,
)
from stream.judge.effects import DriftEvent, Effect, IncidentRecord
from stream.judge.look import Look
from stream.topics import requests
from stream.topics.drift_events import EventType

INCIDENTS_KEPT = 50

_EVENTS = {Action.RESOLVE: EventType.INCIDENT_RESOLVED, Action.REOPEN: EventType.INCIDENT_REOPENED}


class IncidentsState(msgspec.Struct, frozen=True):
    """The snapshot of an ``IncidentLog``."""

    episodes: int
    incidents: list[Incident]


class IncidentLog:
    """A unit's incidents, oldest first, at most INCIDENTS_KEPT. ``episodes``: how many there ever were."""

    __slots__ = ("_unit", "episodes", "incidents")

    def __init__(self, unit: UnitKey) -> None:
        self._unit = unit
        self.episodes = 0
        self.incidents: list[Incident] = []

    def open_of(self, kind: IncidentKind) -> Incident | None:
        """The open incident of a kind; the newest where there are several."""
        for incident in reversed(self.incidents):  # a loop: a generator takes twice as long, at every tick and look
            if incident.kind is kind and incident.status is not Status.RESOLVED:
                return incident
        return None

    def find(self, identifier: str) -> Incident | None:
        """The incident of that id."""
        return next((i for i in self.incidents if i.id == identifier), None)

    def of_same_change(self, began_at_event: int) -> Incident | None:
        """The oldest open feature incident that a change which began at that event belongs to."""
        for known in self.incidents:
            if known.kind is not IncidentKind.FEATURE or known.status is Status.RESOLVED:
                continue
            if incidents.same_change(began_at_event, known.began_at_event or 0, known.opened_at_event):
                return known
        return None

    def to_reopen(self, features: Collection[str], look: Look, within_ms: int) -> Incident | None:
        """The newest feature incident that resolved by itself at most ``within_ms`` of event time ago, under the same
        reference, and that has all of ``features``."""
        for known in reversed(self.incidents):
            if known.kind is not IncidentKind.FEATURE or known.resolution is not Resolution.BACK:
                continue
            recent = known.resolved_at_ms is not None and look.at_ms - known.resolved_at_ms <= within_ms
            had = {feature["feature"] for feature in known.features}
            if recent and known.reference == look.digest and had.issuperset(features):
                return known
        return None

    def reopen(self, incident: Incident, look: Look, **changes: Any) -> list[Effect]:
        """Opens a resolved incident again as of ``look``, under its id. Who acknowledged it before is in no member."""
        return self.change(
            incident,
            Action.REOPEN,
            look.at_ms,
            resolved_at_event=None,
            resolved_at_ms=None,
            resolution=None,
            resolved_by=None,
            acknowledged_by=None,
            acknowledged_at_ms=None,
            reopened=(incident.reopened or 0) + 1,
            reopened_at_ms=look.at_ms,
            **changes,
        )

    def open_incident(self, kind: IncidentKind, look: Look, **members: Any) -> list[Effect]:
        """Opens an incident as of ``look``; ``members`` are its other members. ``look`` has a clock."""
        assert look.clock_ms is not None
        self.episodes += 1
        incident = Incident(
            id=incidents.incident_id(self._unit, self.episodes),
            model=self._unit.model,
            version=self._unit.version,
            segment=self._unit.segment,
            kind=kind,
            status=Status.OPEN,
            episode=self.episodes,
            opened_at_event=look.events,
            opened_at_ms=look.clock_ms,
            **members,
        )
        self.incidents = [*self.incidents[-INCIDENTS_KEPT + 1 :], incident]
        return self._publication(incident, EventType.INCIDENT_OPENED, look.clock_ms)

    def change(self, incident: Incident, action: Action, at_ms: int, **changes: Any) -> list[Effect]:
        """Applies ``action`` and ``changes`` to ``incident``; does nothing if its lifecycle has no such step."""
        after = incidents.apply(incident, action, **changes)
        if after is None:
            return []
        self._replace(after)
        return self._publication(after, _EVENTS.get(action, EventType.INCIDENT_UPDATED), at_ms)

    def resolve(self, incident: Incident, why: Resolution, look: Look, by: str | None = None) -> list[Effect]:
        """Resolves ``incident`` as of ``look``. ``by``: the person who asked for it."""
        return self.change(
            incident,
            Action.RESOLVE,
            look.at_ms,
            resolved_at_event=look.events,
            resolved_at_ms=look.at_ms,
            resolution=why,
            resolved_by=by,
        )

    def addressed(self, request: requests.IncidentRequest) -> Incident | None:
        """The incident that ``request`` changes. None if it is not known, has the request already or has no such step:
        a resolved incident accepts only notes, and one with NOTES_KEPT notes can only be resolved or accepted."""
        incident = self.find(request.incident)
        if incident is None or any(note.id == request.id for note in incident.notes):
            return None
        ends = request.change in (Change.RESOLVE, Change.ACCEPT)
        if incident.status is Status.RESOLVED and request.change is not Change.NOTE:
            return None
        return None if len(incident.notes) >= NOTES_KEPT and not ends else incident

    def apply_request(self, incident: Incident, request: requests.IncidentRequest) -> list[Effect]:
        """Adds what a person asked for to the notes of ``incident``, which is ``addressed``. A request to resolve
        publishes nothing here: the resolution that follows contains the note."""
        note = Note(request.id, request.change, request.by, request.at_ms, request.note)
        changes: dict[str, object] = {"notes": [*incident.notes, note]}
        if request.change is Change.RESOLVE:
            self._replace(msgspec.structs.replace(incident, **changes))
            return []
        if request.until_ms is not None:
            changes |= {"silenced_until_ms": request.until_ms, "silenced_by": request.by}
        step = Action.NOTE
        if request.change is Change.ACK:
            step = Action.ACKNOWLEDGE
            changes |= {"acknowledged_by": request.by, "acknowledged_at_ms": request.at_ms}
        return self.change(incident, step, request.at_ms, **changes)

    def _replace(self, after: Incident) -> None:
        self.incidents = [after if i.id == after.id else i for i in self.incidents]

    def _publication(self, incident: Incident, kind: EventType, at_ms: int) -> list[Effect]:
        """The drift event and the incident record to publish."""
        data = incident.as_json()
        what = (incident.id, incident.status.value, incident.updates)
        return [DriftEvent(kind, self._unit, at_ms, data, what), IncidentRecord(self._unit, incident.id, data)]

    def snapshot(self) -> IncidentsState:
        return IncidentsState(self.episodes, self.incidents)

    def restore(self, state: IncidentsState) -> None:
        self.episodes, self.incidents = state.episodes, state.incidents

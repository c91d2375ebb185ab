"""The incidents of one unit: opened, changed and told; and whether an incident asks for a retraining."""

from collections.abc import Sequence
from typing import Any

from detectors.features import UnitKey
from detectors.incidents import incident as incidents
from detectors.incidents.incident import Action, Incident, IncidentKind, Resolution, Status
from detectors.incidents.retrain import WEEK_MS, Outcome, RetrainGuard
from detectors.incidents.verdict import Decision
from detectors.reference.accepted import Tally
from stream.judge.effects import DriftEvent, Effect, IncidentRecord
from stream.topics.drift_events import EventType

INCIDENTS_KEPT = 50
RETRAIN_LOG = 50

MISSING_BURST_SIZE, LARGE_PSI, LARGE_SHIFT = 0.05, 0.1, 0.25


class IncidentLog:
    """A unit's incidents, oldest first, at most INCIDENTS_KEPT. ``episodes``: how many there ever were."""

    __slots__ = ("_guard", "_unit", "baselines", "episodes", "incidents", "requested_ms", "retrain_log")

    def __init__(self, unit: UnitKey, guard: RetrainGuard) -> None:
        self._unit = unit
        self._guard = guard
        self.episodes = 0
        self.incidents: list[Incident] = []
        self.retrain_log: list[dict[str, Any]] = []
        self.requested_ms: list[int] = []
        self.baselines: dict[str, Tally] = {}  # of open incidents: what was counted when they were found

    def open(self, kind: IncidentKind) -> Incident | None:
        """The open incident of a kind."""
        return next((i for i in reversed(self.incidents) if i.kind is kind and i.status is not Status.RESOLVED), None)

    def together(self, began_at_event: int) -> Incident | None:
        """The open feature incident, the oldest first, that a change which began then belongs to."""
        for known in self.incidents:
            if known.kind is not IncidentKind.FEATURE or known.status is Status.RESOLVED:
                continue
            if incidents.same_change(began_at_event, known.began_at_event or 0, known.opened_at_event):
                return known
        return None

    def add(self, kind: IncidentKind, event: int, at_ms: int, **what: Any) -> Incident:
        """A new incident, opened at the unit's ``event``."""
        self.episodes += 1
        incident = Incident(
            id=incidents.incident_id(self._unit, self.episodes),
            model=self._unit.model,
            version=self._unit.version,
            segment=self._unit.segment,
            kind=kind,
            status=Status.OPEN,
            episode=self.episodes,
            opened_at_event=event,
            opened_at_ms=at_ms,
            **what,
        )
        self.incidents = [*self.incidents[-INCIDENTS_KEPT + 1 :], incident]
        return incident

    def change(self, incident: Incident, action: Action, at_ms: int, **changes: Any) -> list[Effect]:
        """Takes the step, where the lifecycle has it."""
        after = incidents.apply(incident, action, **changes)
        if after is None:
            return []
        self.replace(after)
        over = action is Action.RESOLVE
        return self.told(after, EventType.INCIDENT_RESOLVED if over else EventType.INCIDENT_UPDATED, at_ms)

    def replace(self, after: Incident) -> None:
        """Its newest form, told nobody."""
        self.incidents = [after if i.id == after.id else i for i in self.incidents]

    def resolve(
        self, incident: Incident, why: Resolution, event: int, at_ms: int, by: str | None = None
    ) -> list[Effect]:
        """It is over."""
        return self.change(
            incident,
            Action.RESOLVE,
            at_ms,
            resolved_at_event=event,
            resolved_at_ms=at_ms,
            resolution=why,
            resolved_by=by,
        )

    def told(self, incident: Incident, kind: EventType, at_ms: int) -> list[Effect]:
        """What goes out of it."""
        data = incident.as_json()
        what = (incident.id, incident.status.value, incident.updates)
        return [DriftEvent(kind, self._unit, at_ms, data, what), IncidentRecord(self._unit, incident.id, data)]

    def may_retrain(self, incident: Incident, decision: Decision, now_ms: int) -> Outcome:
        """Asks the guard, and remembers what it said and why."""
        outcome = self._guard.decide(decision.verdict, self.requested_ms, now_ms)
        self.retrain_log.append(
            {"at_ms": now_ms, "outcome": outcome.value, "reason": decision.detail, "incident": incident.id}
        )
        del self.retrain_log[:-RETRAIN_LOG]
        if outcome in (Outcome.REQUESTED, Outcome.DRY_RUN):
            self.requested_ms = [*(at for at in self.requested_ms if now_ms - at < WEEK_MS), now_ms]
        return outcome


def severity(rows: Sequence[dict[str, Any]]) -> str:
    """Critical where the change is large, whatever the evidence of it."""
    for row in rows:
        if row["psi"] >= LARGE_PSI or (row["wasserstein"] or 0.0) >= LARGE_SHIFT:
            return "critical"
        if row["missing_share"] - row["reference_missing_share"] >= MISSING_BURST_SIZE:
            return "critical"
    return "warning"

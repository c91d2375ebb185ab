"""Whether an incident asks for a retraining: at most one request an incident, and only if the guard allows it."""

from typing import Any

import msgspec

from detectors.features import UnitKey
from detectors.incidents.incident import Incident
from detectors.incidents.retrain import WEEK_MS, Outcome, RetrainGuard
from detectors.incidents.verdict import Decision
from stream.judge.effects import DriftEvent, Effect, RetrainDecided
from stream.judge.look import Look
from stream.topics import drift_events
from stream.topics.drift_events import RETRAIN_FEATURES, EventType, rfc3339

RETRAIN_LOG = 50


class RetrainingState(msgspec.Struct, frozen=True):
    """The snapshot of a ``Retraining``."""

    retrain_log: list[dict[str, Any]]
    requested_ms: list[int]


class Retraining:
    """``log``: the newest RETRAIN_LOG decisions of the guard. ``requested_ms``: event times of the requests of the last
    week, those of a dry run included."""

    __slots__ = ("_guard", "_unit", "log", "requested_ms")

    def __init__(self, unit: UnitKey, guard: RetrainGuard) -> None:
        self._unit, self._guard = unit, guard
        self.log: list[dict[str, Any]] = []
        self.requested_ms: list[int] = []

    def ask(self, incident: Incident, decision: Decision, look: Look, threshold_log10: float) -> list[Effect]:
        """Decides about ``incident``, unless that has been done: the guard's decision and, where it allows one, the
        request. ``threshold_log10``: the evidence from which on a feature of the incident is blamed."""
        if any(asked["incident"] == incident.id for asked in self.log):
            return []
        outcome = self._decide(incident, decision, look.at_ms)
        effects: list[Effect] = [RetrainDecided(self._unit, outcome)]
        if outcome is Outcome.REQUESTED:
            data = self._request(incident, look, threshold_log10)
            effects.append(DriftEvent(EventType.RETRAIN_REQUESTED, self._unit, look.at_ms, data, (incident.id,)))
        return effects

    def _decide(self, incident: Incident, decision: Decision, now_ms: int) -> Outcome:
        outcome = self._guard.decide(decision.verdict, self.requested_ms, now_ms)
        self.log.append({"at_ms": now_ms, "outcome": outcome.value, "reason": decision.detail, "incident": incident.id})
        del self.log[:-RETRAIN_LOG]
        if outcome in (Outcome.REQUESTED, Outcome.DRY_RUN):
            self.requested_ms = [*(at for at in self.requested_ms if now_ms - at < WEEK_MS), now_ms]
        return outcome

    def _request(self, incident: Incident, look: Look, threshold_log10: float) -> dict[str, Any]:
        """``data`` of a retrain request; its shape is schemas.RetrainRequest."""
        unit, threshold = self._unit, round(threshold_log10, 3)
        begin_ms = incident.began_at_ms if incident.began_at_ms is not None else incident.opened_at_ms
        source = look.reference.source if look.reference is not None else {}
        return {
            "request_id": drift_events.event_id(EventType.RETRAIN_REQUESTED, unit, incident.id),
            "model": unit.model,
            "model_version": unit.version,
            "reason": incident.summary,
            "severity": incident.severity,
            "requested_at": rfc3339(look.at_ms),
            "window": {
                "start": rfc3339(begin_ms),
                "end": rfc3339(look.at_ms),
                "events": look.events - (incident.began_at_event or 0),
                "offsets": {p.shard: [p.epoch.first_offset, p.next_offset] for p in look.present},
            },
            "features": [
                {
                    "feature": row["feature"],
                    "statistic": "evidence_log10",
                    "score": row["evidence_log10"],
                    "threshold": threshold,
                }
                for row in incident.features[:RETRAIN_FEATURES]
            ],
            "reference": {
                "digest": incident.reference,
                "uri": source.get("uri"),
                "data_revision": source.get("data_revision") or source.get("revision"),
            },
            "evidence": {
                "event_id": drift_events.event_id(EventType.INCIDENT_OPENED, unit, incident.id, "open", 0),
                "url": None,
            },
        }

    def snapshot(self) -> RetrainingState:
        return RetrainingState(self.log, self.requested_ms)

    def restore(self, state: RetrainingState) -> None:
        self.log, self.requested_ms = state.retrain_log, state.requested_ms

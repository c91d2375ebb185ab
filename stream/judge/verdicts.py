"""The verdict of an open incident once it can rest on hundreds of events; only then is a retraining asked for."""

from typing import Any

from detectors.incidents.diagnosis import Case, diagnose
from detectors.incidents.incident import Action, Incident, IncidentKind, Status
from detectors.incidents.retrain import Outcome
from detectors.incidents.verdict import Decision
from detectors.reference import accepted
from stream.judge import environment, feature_rows
from stream.judge.effects import DriftEvent, Effect, RetrainDecided
from stream.judge.unit import UnitJudge
from stream.topics.drift_events import EventType

SETTLED_AFTER = (512, 4_096)
"""Events since an incident was found: enough to tell most broken data, and enough to tell a factor of 1.8 from 2."""


def settle(judge: UnitJudge) -> list[Effect]:
    """Looks again at incidents that have come to enough events since they were found (see ``judge_actions.follow``)."""
    effects: list[Effect] = []
    for incident in judge.log.incidents:
        before = judge.log.baselines.get(incident.id)
        if before is None or incident.kind is not IncidentKind.FEATURE or incident.status is Status.RESOLVED:
            continue
        seen = judge.epoch_events - before.events
        if any(incident.verdict_events < wanted <= seen for wanted in SETTLED_AFTER):
            effects += _settle(judge, incident)
    return effects


def _settle(judge: UnitJudge, incident: Incident) -> list[Effect]:
    assert judge.reference is not None
    before, now = judge.log.baselines[incident.id], accepted.tally(judge.present, judge.clock_ms)
    if not accepted.comparable(before, now):
        return []
    names = [row["feature"] for row in incident.features]
    present = accepted.present_reference(
        judge.reference, before, now, segment=judge.unit.segment, source={}, only=set(names)
    )
    known = {f.feature: f for f in judge.reference.features}
    new = {f.feature: f for f in present.features}
    cases = [Case(known[name], new[name]) for name in names if name in new]
    decision = diagnose(cases, environment.open_differences(judge))
    changes: dict[str, Any] = {
        "verdict": decision.verdict.value,
        "reason": decision.reason.value,
        "summary": decision.detail,
        "verdict_events": now.events - before.events,
    }
    effects = judge.log.change(incident, Action.UPDATE, judge.clock_ms or 0, **changes)
    return [*effects, *_retrain(judge, incident.id, decision)]


def _retrain(judge: UnitJudge, incident_id: str, decision: Decision) -> list[Effect]:
    """Asks for a retraining where the guard lets it, once an incident."""
    assert judge.watch is not None
    incident = next(i for i in judge.log.incidents if i.id == incident_id)
    now_ms = judge.clock_ms or 0
    if any(asked["incident"] == incident_id for asked in judge.log.retrain_log):
        return []
    outcome = judge.log.may_retrain(incident, decision, now_ms)
    decided = RetrainDecided(judge.unit, outcome)
    if outcome is not Outcome.REQUESTED:
        return [decided]
    data = feature_rows.retrain_request(
        judge.unit, incident, judge.watch, judge.reference, judge.present, judge.events, now_ms
    )
    return [decided, DriftEvent(EventType.RETRAIN_REQUESTED, judge.unit, now_ms, data, (incident_id,))]

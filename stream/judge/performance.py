"""Incidents of a unit's outcomes: opened when its answers are right to another degree than when they were learned.

A drop is taken for a changed world, for which the model can be retrained, unless an open incident of its features says
that their data is broken.
"""

from itertools import pairwise
from typing import Any

from detectors.evidence.sizes import Yardstick
from detectors.evidence.watch import Watch
from detectors.incidents.incident import Action, Incident, IncidentKind, Resolution
from detectors.incidents.retrain import Outcome
from detectors.incidents.verdict import Decision, Reason, Verdict
from detectors.performance.outcome_watch import CORRECT
from stream.judge import feature_rows, incident_log
from stream.judge.acceptance import accepted_by
from stream.judge.effects import DriftEvent, Effect, RetrainDecided
from stream.judge.unit import UnitJudge
from stream.topics.drift_events import EventType

SETTLED_AFTER_LABELS = 512
"""Labels since an incident was found, as events for those of features: only then is a retraining asked for."""


def follow(judge: UnitJudge) -> list[Effect]:
    """To be called after every look at the unit's features: looks at what labels said since."""
    if judge.watch is None or judge.clock_ms is None:
        return []
    incident = judge.log.open(IncidentKind.PERFORMANCE)
    effects: list[Effect] = []
    if incident is not None and (by := accepted_by(incident)) is not None:
        judge.outcomes.learn()
        effects += judge.log.resolve(incident, Resolution.ACCEPTED, judge.events, judge.clock_ms, by)
    evidence = judge.watch.evidence
    findings = judge.outcomes.look(judge.clock_ms, evidence.share, evidence.features)
    watch = judge.outcomes.watch.watch
    if watch is None:
        return [*effects, *judge.settle()] if effects else []
    if incident is not None and findings is not None and findings.returned:
        effects += judge.log.resolve(incident, Resolution.BACK, judge.events, judge.clock_ms)
    elif findings is not None and findings.fired:
        effects += _open(judge, watch)
    elif incident is not None and watch.probes:
        effects += _settle(judge, watch, incident)
    return [*effects, *judge.settle()] if effects else []


def _open(judge: UnitJudge, watch: Watch) -> list[Effect]:
    assert judge.clock_ms is not None
    decision, row = _decision(judge, watch)
    incident = judge.log.add(
        IncidentKind.PERFORMANCE,
        judge.events,
        judge.clock_ms,
        features=[row],
        severity=incident_log.severity([row]),
        verdict=decision.verdict.value,
        reason=decision.reason.value,
        summary=decision.detail,
        began_at_ms=watch.beginning(0).at_ms,
    )
    return judge.log.told(incident, EventType.INCIDENT_OPENED, judge.clock_ms)


def _settle(judge: UnitJudge, watch: Watch, incident: Incident) -> list[Effect]:
    """Tells again what it is once there are hundreds of labels, and asks for a retraining where answers are worse."""
    assert judge.clock_ms is not None
    seen = judge.outcomes.watch.since_found
    if incident.verdict_events or seen < SETTLED_AFTER_LABELS:
        return []
    decision, row = _decision(judge, watch)
    effects = judge.log.change(
        incident, Action.UPDATE, judge.clock_ms, features=[row], verdict=decision.verdict.value,
        reason=decision.reason.value, summary=decision.detail, verdict_events=seen,
    )  # fmt: skip
    if not _worse(watch):
        return effects
    outcome = judge.log.may_retrain(incident, decision, judge.clock_ms)
    effects.append(RetrainDecided(judge.unit, outcome))
    if outcome is Outcome.REQUESTED:
        data = feature_rows.retrain_request(
            judge.unit, incident, watch, judge.reference, judge.present, judge.events, judge.clock_ms
        )
        effects.append(DriftEvent(EventType.RETRAIN_REQUESTED, judge.unit, judge.clock_ms, data, (incident.id,)))
    return effects


def _decision(judge: UnitJudge, watch: Watch) -> tuple[Decision, dict[str, Any]]:
    sizes, symptom, _ = watch.present(0, watch.beginning(0).latest)
    row = feature_rows.incident_feature(watch, 0, sizes, symptom)
    del row["began_at_event"], row["began_interval"]  # they count labels
    broken = judge.log.open(IncidentKind.FEATURE)
    verdict = Verdict.WORLD_CHANGED
    detail = _told(watch, row)
    if broken is not None and broken.verdict == Verdict.BROKEN_DATA:
        verdict, detail = Verdict.BROKEN_DATA, f"{detail}; {broken.summary}"
    return Decision(verdict, Reason.PERFORMANCE_CHANGE, detail), row


def _told(watch: Watch, row: dict[str, Any]) -> str:
    before, now = _error(watch)
    if watch.yardsticks[0].feature.feature == CORRECT:
        return f"{1 - now:.1%} of its predictions are right, {1 - before:.1%} were when this was learned"
    return f"its errors are about {now:.3g} in size, {before:.3g} when this was learned; on average {row['mean']:.3g}"


def _worse(watch: Watch) -> bool:
    before, now = _error(watch)
    return now > before


def _error(watch: Watch) -> tuple[float, float]:
    """The share of wrong answers, or the mean size of errors as far as bins tell it: of the reference, and now."""
    yardstick: Yardstick = watch.yardsticks[0]
    _, _, values = watch.present(0, watch.beginning(0).latest)
    now, before = values[: len(yardstick.counts)], yardstick.counts
    if yardstick.categories:
        sizes = [float(category != "true") for category in yardstick.categories]
    else:
        edges = yardstick.histogram(before)["edges"]
        sizes = [abs(low + high) / 2 for low, high in pairwise(edges)]
    pairs = [(float(b), float(n), size) for b, n, size in zip(before, now, sizes, strict=False)]
    rows_before, rows_now = sum(b for b, _, _ in pairs) or 1.0, sum(n for _, n, _ in pairs) or 1.0
    return sum(b * s for b, _, s in pairs) / rows_before, sum(n * s for _, n, s in pairs) / rows_now

"""Incidents of features: opened or updated when the watch reports features, resolved when all of them are back."""

from collections.abc import Sequence
from typing import Any

from detectors.evidence.watch import Watch
from detectors.incidents.incident import Action, Incident, IncidentKind, Resolution, Status
from detectors.incidents.verdict import Symptom, decide
from stream.judge import feature_rows
from stream.judge.effects import Effect
from stream.judge.environment import Environment
from stream.judge.incident_log import IncidentLog
from stream.judge.look import Look


class FeatureIncidents:
    """Opens, updates, resolves and reopens feature incidents. It has no state besides the incidents and the watch.

    ``reopen_ms``: see JudgeSettings.
    """

    __slots__ = ("_environment", "_log", "_reopen_ms")

    def __init__(self, log: IncidentLog, environment: Environment, reopen_ms: int) -> None:
        self._log, self._environment, self._reopen_ms = log, environment, reopen_ms

    def report_fired(self, look: Look, watch: Watch, fired: Sequence[int]) -> list[Effect]:
        """Features whose change belongs to an open incident update it; the others become an incident together, or
        reopen the one that resolved shortly before."""
        groups: dict[str, tuple[Incident | None, list[int]]] = {}
        for feature in fired:
            known = self._log.of_same_change(watch.beginning(feature).event)
            groups.setdefault(known.id if known else "", (known, []))[1].append(feature)
        return [effect for known, members in groups.values() for effect in self._report(look, watch, members, known)]

    def _report(self, look: Look, watch: Watch, fired: list[int], known: Incident | None) -> list[Effect]:
        begin = min((watch.beginning(f) for f in fired), key=lambda b: b.event)
        members = list(fired)
        if known is not None:
            index = watch.sheets.layout.index
            members += [index[f["feature"]] for f in known.features if index[f["feature"]] in watch.probes]
        evidence = watch.feature_log10
        rows, symptoms = _rows(watch, sorted(set(members), key=lambda f: (-evidence[f], f)), begin.latest)
        decision = decide(symptoms, self._environment.open_differences())
        changes: dict[str, Any] = {
            "features": rows,
            "severity": feature_rows.severity(rows),
            "verdict": decision.verdict.value,
            "reason": decision.reason.value,
            "summary": decision.detail,
            "verdict_events": 0,
        }
        if known is not None:
            return self._log.change(known, Action.UPDATE, look.at_ms, **changes)
        before = (
            self._log.to_reopen([row["feature"] for row in rows], look, self._reopen_ms) if self._reopen_ms else None
        )
        if before is not None:
            return self._log.reopen(before, look, **changes)
        return self._log.open_incident(
            IncidentKind.FEATURE,
            look,
            reference=look.digest,
            began_at_event=begin.event,
            began_at_ms=begin.at_ms,
            began_interval=(begin.earliest, begin.latest),
            **changes,
        )

    def report_returned(self, look: Look, watch: Watch) -> list[Effect]:
        """Resolves the incidents whose features are all back."""
        still = {watch.sheets.layout.names[f] for f in watch.probes}
        effects: list[Effect] = []
        for incident in self._log.incidents:
            is_open = incident.kind is IncidentKind.FEATURE and incident.status is not Status.RESOLVED
            if is_open and still.isdisjoint(f["feature"] for f in incident.features):
                effects += self._log.resolve(incident, Resolution.BACK, look)
        return effects

    def release(self, look: Look, incident: Incident) -> None:
        """Starts the evidence of the incident's features again; does nothing for an incident of another kind."""
        if incident.kind is not IncidentKind.FEATURE or look.watch is None:
            return
        names = {f["feature"] for f in incident.features}
        layout = look.watch.sheets.layout
        look.watch.release([f for f in look.watch.probes if layout.names[f] in names])


def _rows(watch: Watch, features: Sequence[int], since: int) -> tuple[list[dict[str, Any]], list[Symptom]]:
    """The features' rows in an incident, and the symptoms from which the verdict is decided."""
    rows, symptoms = [], []
    for f in features:
        sizes, symptom, _ = watch.present(f, since)
        symptoms.append(symptom)
        rows.append(feature_rows.incident_feature(watch, f, sizes, symptom))
    return rows, symptoms

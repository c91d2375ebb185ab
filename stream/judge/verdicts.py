"""The verdict of an open incident once it rests on hundreds of events; only then a retraining is asked for."""

from detectors.incidents.diagnosis import Case, diagnose
from detectors.incidents.incident import Action, Incident, IncidentKind, Status
from detectors.reference import accepted
from stream.judge.baselines import Baselines
from stream.judge.effects import Effect
from stream.judge.environment import Environment
from stream.judge.incident_log import IncidentLog
from stream.judge.look import Look
from stream.judge.retraining import Retraining

CONFIRMED_AFTER = (512, 4_096)
"""Events since an incident was found: enough to recognise most broken data, and enough to distinguish a factor of 1.8
from 2."""


class Verdicts:
    """Confirms the verdicts of feature incidents. Its only state is in the incidents: ``verdict_events``."""

    __slots__ = ("_baselines", "_environment", "_log", "_retraining")

    def __init__(
        self, log: IncidentLog, baselines: Baselines, environment: Environment, retraining: Retraining
    ) -> None:
        self._log, self._baselines = log, baselines
        self._environment, self._retraining = environment, retraining

    def follow(self, look: Look) -> list[Effect]:
        """Decides again about incidents that have reached one of CONFIRMED_AFTER since they were found."""
        effects: list[Effect] = []
        if look.watch is None or not self._baselines.tallies:
            return effects
        for incident in self._log.incidents:
            before = self._baselines.tallies.get(incident.id)
            if before is None or incident.kind is not IncidentKind.FEATURE or incident.status is Status.RESOLVED:
                continue
            seen = look.epoch_events - before.events
            if any(incident.verdict_events < wanted <= seen for wanted in CONFIRMED_AFTER):
                effects += self._confirm(incident, look)
        return effects

    def _confirm(self, incident: Incident, look: Look) -> list[Effect]:
        """Diagnoses what was counted since the incident was found, and asks for a retraining."""
        assert look.reference is not None
        assert look.watch is not None
        before, now = self._baselines.tallies[incident.id], accepted.tally(look.present, look.clock_ms)
        if not accepted.comparable(before, now):
            return []
        names = [row["feature"] for row in incident.features]
        present = accepted.present_reference(
            look.reference, before, now, segment=look.reference.segment, source={}, only=set(names)
        )
        known = {f.feature: f for f in look.reference.features}
        new = {f.feature: f for f in present.features}
        cases = [Case(known[name], new[name]) for name in names if name in new]
        decision = diagnose(cases, self._environment.open_differences())
        effects = self._log.change(
            incident,
            Action.UPDATE,
            look.at_ms,
            verdict=decision.verdict.value,
            reason=decision.reason.value,
            summary=decision.detail,
            verdict_events=now.events - before.events,
        )
        changed = self._log.find(incident.id)
        assert changed is not None
        return [*effects, *self._retraining.ask(changed, decision, look, look.watch.evidence.blame_log10)]
